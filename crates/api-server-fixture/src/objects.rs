//! Objects that many tests want, as small as our programs read them.

use serde_json::{Value, json};

/// The switch of process logging.
#[must_use]
pub fn switch(enabled: bool) -> Value {
    json!({
        "apiVersion": "exectrace.dev/v1alpha1",
        "kind": "ProcessLogging",
        "metadata": {"name": "default"},
        "spec": {"enabled": enabled},
    })
}

/// A namespace, which is to hold workspaces or not.
#[must_use]
pub fn namespace(name: &str, selected: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"exectrace.dev/workspaces": selected.to_string()}},
    })
}

/// A node that is ready, with this kernel.
#[must_use]
pub fn node(name: &str, kernel: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "nodeInfo": {
                "kernelVersion": kernel, "operatingSystem": "linux", "bootID": "boot-1", "architecture": "",
                "containerRuntimeVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
                "osImage": "", "systemUUID": "",
            },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// The pod of a user's workspace at `node-1`, with a sidecar that is attached or without one.
#[must_use]
pub fn workspace(namespace: &str, pod: &str, [user, workspace]: [&str; 2], traced: bool) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod,
            "namespace": namespace,
            "labels": {"com.coder.user.username": user, "com.coder.workspace.name": workspace},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "dev"}]},
        "status": {"phase": "Running"},
    });
    if traced {
        object["spec"]["initContainers"] = json!([sidecar()]);
        object["status"]["initContainerStatuses"] = json!([{
            "name": "exectrace", "started": true, "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}},
        }]);
    }
    object
}

/// What of the container counts that the webhook adds.
fn sidecar() -> Value {
    let from = |name: &str, field: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}});
    json!({
        "name": "exectrace",
        "restartPolicy": "Always",
        "command": ["/exectrace"],
        "args": [
            "sidecar", "--pod-uid=$(EXECTRACE_POD_UID)", "--node=$(EXECTRACE_NODE_NAME)",
            "--pod-info=/etc/exectrace/pod", "--ready-socket=/run/exectrace/ready.sock",
        ],
        "env": [from("EXECTRACE_POD_UID", "metadata.uid"), from("EXECTRACE_NODE_NAME", "spec.nodeName")],
        "startupProbe": {"exec": {"command": ["/exectrace", "probe", "/run/exectrace/ready.sock"]}},
    })
}
