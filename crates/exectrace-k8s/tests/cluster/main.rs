//! What talks to an API server, against a small one on loopback.

mod keeper;
mod node_check;
mod survey;
mod switch;

use exectrace_api_server_fixture::ApiServer;
use exectrace_api_server_fixture::objects::{self, namespace, switch};
use exectrace_k8s::client::Access;
use kube::Client;
use serde_json::Value;

async fn client(server: &ApiServer) -> Client {
    let access = Access { kubeconfig: Some(server.kubeconfig()), ..Access::default() };
    access.connect().await.expect("a client")
}

/// The notes of all Events, oldest first.
fn events(server: &ApiServer) -> Vec<String> {
    let note = |event: &Value| event["note"].as_str().unwrap_or_default().to_owned();
    server.list("events").iter().map(note).collect()
}

fn node(name: &str) -> Value {
    objects::node(name, "6.1.0-56-amd64")
}

fn workspace(namespace: &str, name: &str, traced: bool) -> Value {
    objects::workspace(namespace, name, ["jessie", name], traced)
}
