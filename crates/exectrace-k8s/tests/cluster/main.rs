//! What talks to an API server, against a small one on loopback.

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
