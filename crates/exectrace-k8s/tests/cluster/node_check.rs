//! Checks of nodes, in pods that a kubelet of the test's own runs.

use std::sync::Arc;

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use exectrace_k8s::api::{NodeStatus, NodeVerdict};
use exectrace_k8s::node_check::{Plan, check, save};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{client, node, switch};

const WORKS: &str = "{\n  \"tracing_works\": true,\n  \"checks\": [{\"name\": \"btf\", \"level\": \"ok\", \
                     \"found\": \"there\", \"advice\": null}]\n}\n";
const FAILS: &str = "{\"tracing_works\": false, \"checks\": [{\"name\": \"btf\", \"level\": \"fail\", \
                     \"found\": \"missing\", \"advice\": \"use another kernel\"}]}\n";

fn plan() -> Plan {
    Plan { image: "example.com/exectrace:1".to_owned(), namespace: "exectrace".to_owned() }
}

async fn checked(server: &ApiServer, names: &[&str], stop: &watch::Receiver<bool>) -> Vec<NodeStatus> {
    let nodes: Vec<_> =
        names.iter().map(|name| Arc::new(serde_json::from_value(node(name)).expect("a node"))).collect();
    check(&client(server).await, &plan(), &nodes, stop, |_| {}).await
}

fn end(pod: &mut Value, phase: &str) {
    pod["status"] = json!({"phase": phase});
}

#[tokio::test]
async fn each_node_gets_a_pod_and_a_verdict_and_no_pod_is_left() {
    let server = ApiServer::start();
    server.put(switch(true));
    server.run_pods(|pod| {
        let works = pod["spec"]["nodeName"] != "node-2";
        end(pod, if works { "Succeeded" } else { "Failed" });
        Some(if works { WORKS } else { FAILS }.to_owned())
    });
    let names: Vec<String> = (1..=25).map(|n| format!("node-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_go, stop) = watch::channel(false);
    let found = checked(&server, &names, &stop).await;
    assert_eq!(found.len(), 25);
    for node in &found {
        let expected = if node.name == "node-2" { NodeVerdict::CannotTrace } else { NodeVerdict::Ready };
        assert_eq!((node.verdict, node.btf), (expected, Some(node.name != "node-2")), "{node:?}");
    }
    assert!(server.list("pods").is_empty());
    assert!(save(&client(&server).await, &found).await.expect("saved"));
    let object = server.get("processloggings", "", "default").expect("the object");
    assert_eq!(object["status"]["nodes"].as_array().map(Vec::len), Some(25));
    assert_eq!(object["status"]["nodes"][0]["checkedBoot"], "boot-1");
}

#[tokio::test]
async fn only_linux_and_only_nodes_that_are_ready_are_tried() {
    let server = ApiServer::start();
    let mut windows = node("node-1");
    windows["status"]["nodeInfo"]["operatingSystem"] = json!("windows");
    let mut unready = node("node-2");
    unready["status"]["conditions"][0]["status"] = json!("Unknown");
    let nodes = [windows, unready].map(|node| Arc::new(serde_json::from_value(node).expect("a node")));
    let (_go, stop) = watch::channel(false);
    assert!(check(&client(&server).await, &plan(), &nodes, &stop, |_| {}).await.is_empty());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_pod_that_cannot_be_made_or_does_not_start_is_told_and_no_verdict() {
    let server = ApiServer::start();
    let (_go, stop) = watch::channel(false);
    server.run_pods(|pod| {
        let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
        pod["status"] = json!({"phase": "Pending", "containerStatuses": [{"name": "check", "state": state, "image": "",
            "imageID": "", "ready": false, "restartCount": 0}]});
        None
    });
    let found = checked(&server, &["node-1"], &stop).await;
    assert_eq!((found[0].verdict, found[0].checked_boot.as_ref()), (NodeVerdict::Unchecked, None));
    assert!(found[0].reason.as_ref().is_some_and(|reason| reason.contains("no such image")), "{found:?}");
    assert!(server.list("pods").is_empty());
    server.fail(Fault::new("POST", "pods", How::Status(403)));
    let found = checked(&server, &["node-1"], &stop).await;
    assert!(found[0].reason.as_ref().is_some_and(|reason| reason.contains("--check-namespace")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_deletes_the_pods_that_were_made_and_makes_no_more() {
    let server = Arc::new(ApiServer::start());
    let (go, stop) = watch::channel(false);
    let of_task = Arc::clone(&server);
    let names: Vec<String> = (1..=30).map(|n| format!("node-{n}")).collect();
    let task = tokio::spawn(async move {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        checked(&of_task, &names, &stop).await
    });
    // Nobody runs these pods.
    server.wait_until("as many pods as are run at once", |server| server.list("pods").len() == 10);
    go.send_replace(true);
    assert!(task.await.expect("no panic").is_empty());
    assert!(server.list("pods").is_empty());
    let made = server.requests().iter().filter(|seen| seen.method == "POST" && seen.path.ends_with("/pods")).count();
    assert_eq!(made, 10);
}

#[tokio::test]
async fn verdicts_are_kept_beside_what_the_keeper_writes_at_the_same_time() {
    let server = ApiServer::start();
    let client = client(&server).await;
    let node = NodeStatus { name: "node-1".to_owned(), checked_boot: Some("b".to_owned()), ..NodeStatus::default() };
    assert!(!save(&client, std::slice::from_ref(&node)).await.expect("an answer"));
    server.put(switch(true));
    server.fail(Fault::new("PATCH", "status", How::Status(409)).times(2));
    assert!(save(&client, &[node]).await.expect("saved"));
}
