//! What talks to an API server, against a small one on loopback.

mod keeper;
mod node_check;
mod survey;
mod switch;

use exectrace_api_server_fixture::ApiServer;
use exectrace_k8s::client::Access;
use kube::Client;
use serde_json::{Value, json};

async fn client(server: &ApiServer) -> Client {
    let access = Access { kubeconfig: Some(server.kubeconfig()), ..Access::default() };
    access.connect().await.expect("a client")
}

fn switch(enabled: bool) -> Value {
    json!({
        "apiVersion": "exectrace.dev/v1alpha1",
        "kind": "ProcessLogging",
        "metadata": {"name": "default"},
        "spec": {"enabled": enabled},
    })
}

/// The notes of all Events, oldest first.
fn events(server: &ApiServer) -> Vec<String> {
    let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
    server.list("events").iter().map(note).collect()
}

fn namespace(name: &str, selected: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"exectrace.dev/workspaces": selected.to_string()}},
    })
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "nodeInfo": {
                "kernelVersion": "6.1.0-56-amd64", "operatingSystem": "linux", "bootID": "boot-1", "architecture": "",
                "containerRuntimeVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
                "osImage": "", "systemUUID": "",
            },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn workspace(namespace: &str, name: &str, traced: bool) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"com.coder.user.username": "jessie", "com.coder.workspace.name": name},
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
