//! An API server with workspaces, for the commands that talk to one.

use exectrace_api_server_fixture::ApiServer;
use serde_json::{Value, json};

use crate::program::{Ended, exectrace};

/// Runs the program against a server.
#[track_caller]
pub(crate) fn asked(server: &ApiServer, words: &[&str]) -> Ended {
    let mut command = exectrace(words);
    Ended::of(command.arg("--kubeconfig").arg(server.kubeconfig()))
}

pub(crate) fn switch(enabled: bool) -> Value {
    json!({
        "apiVersion": "exectrace.dev/v1alpha1",
        "kind": "ProcessLogging",
        "metadata": {"name": "default"},
        "spec": {"enabled": enabled},
    })
}

pub(crate) fn namespace(name: &str) -> Value {
    let labels = json!({"exectrace.dev/workspaces": "true"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub(crate) fn node(name: &str, kernel: &str) -> Value {
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

/// A pod of the namespace `workspaces` at `node-1`.
pub(crate) fn workspace(user: &str, name: &str, traced: bool) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("{user}-{name}"),
            "namespace": "workspaces",
            "labels": {"com.coder.user.username": user, "com.coder.workspace.name": name},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "dev"}]},
        "status": {"phase": "Running"},
    });
    if traced {
        pod["spec"]["initContainers"] = json!([{"name": "exectrace", "restartPolicy": "Always"}]);
        pod["status"]["initContainerStatuses"] = json!([{
            "name": "exectrace", "started": true, "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "state": {"running": {}},
        }]);
    }
    pod
}
