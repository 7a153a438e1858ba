//! The status, kept by one of several.

use std::sync::Arc;
use std::time::Duration;

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use exectrace_k8s::keeper::{LEASE, Pace, keep};
use exectrace_k8s::settings::Settings;
use exectrace_k8s::switch::throw;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::{client, events, namespace, node, switch, workspace};

/// Fast, and with a lease that outlasts any test that does not want it to end.
const PACE: Pace = Pace {
    lease: Duration::from_secs(60),
    renew: Duration::from_millis(20),
    look: Duration::from_millis(5),
    beat: Duration::from_secs(60),
};

struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    settings: watch::Sender<Arc<Settings>>,
}

impl Keeper {
    async fn start(server: &ApiServer, identity: &'static str, pace: Pace) -> Keeper {
        let client = client(server).await;
        let (settings, seen) = watch::channel(Arc::new(Settings::default()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            keep(client, seen, "exectrace", identity, pace, async { drop(stopped.await) }).await;
        });
        Keeper { stop, task, settings }
    }

    async fn stop(self) {
        self.stop.send(()).expect("a keeper that runs");
        self.task.await.expect("no panic");
    }
}

fn status(server: &ApiServer) -> Value {
    server.get("processloggings", "", "default").unwrap_or_default()["status"].clone()
}

fn summary(server: &ApiServer) -> String {
    status(server)["workspaces"]["summary"].as_str().unwrap_or_default().to_owned()
}

fn holder(server: &ApiServer) -> Value {
    server.get("leases", "exectrace", LEASE).unwrap_or_default()["spec"]["holderIdentity"].clone()
}

fn cluster() -> ApiServer {
    let server = ApiServer::start();
    for object in [
        switch(true),
        namespace("workspaces", true),
        namespace("other", false),
        node("node-1"),
        workspace("workspaces", "main", true),
        workspace("workspaces", "old", false),
        workspace("other", "x", false),
    ] {
        server.put(object);
    }
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_follows_what_happens() {
    let server = cluster();
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a first status", |server| summary(server) == "1/2");
    let first = status(&server);
    assert_eq!((&first["nodesReady"], &first["workspaces"]["needsRebuild"]), (&"1/1".into(), &1.into()));
    assert_eq!(first["observedGeneration"], 1);
    assert_eq!(first["image"], Settings::default().image.as_str());
    server.put(workspace("workspaces", "old", true));
    server.wait_until("a rebuilt workspace", |server| summary(server) == "2/2");
    server.delete("pods", "workspaces", "old");
    server.wait_until("a workspace that is gone", |server| summary(server) == "1/1");
    server.put(namespace("other", true));
    server.wait_until("a namespace that is selected", |server| summary(server) == "1/2");
    server.put(namespace("other", false));
    server.wait_until("a namespace that is not any more", |server| summary(server) == "1/1");
    server.put(node("node-2"));
    server.wait_until("another node", |server| status(server)["nodesReady"] == "1/2");
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_did_not_change_is_not_written() {
    let server = cluster();
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a first status", |server| summary(server) == "1/2");
    let writes = |server: &ApiServer| {
        server.requests().iter().filter(|seen| seen.method == "PATCH" && seen.path.ends_with("/status")).count()
    };
    let before = writes(&server);
    // What is looked at and changes nothing, then what does.
    server.put(namespace("more", false));
    server.put(workspace("other", "y", false));
    keeper.settings.send_replace(Arc::new(Settings::default()));
    server.put(node("node-2"));
    server.wait_until("another node", |server| status(server)["nodesReady"] == "1/2");
    assert_eq!(writes(&server), before + 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_written_from_time_to_time_all_the_same() {
    let server = cluster();
    let keeper = Keeper::start(&server, "a", Pace { beat: Duration::from_millis(30), ..PACE }).await;
    server.wait_until("a first status", |server| summary(server) == "1/2");
    let first = status(&server)["observedAt"].clone();
    server.wait_until("another time", |server| status(server)["observedAt"] != first);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_keeps_it_and_another_takes_over_when_that_one_stops() {
    let server = cluster();
    let first = Keeper::start(&server, "a", PACE).await;
    server.wait_until("the first to hold the lease", |server| holder(server) == "a");
    let second = Keeper::start(&server, "b", PACE).await;
    server.wait_until("a first status", |server| summary(server) == "1/2");
    first.stop().await;
    server.wait_until("the second to hold the lease", |server| holder(server) == "b");
    server.put(workspace("workspaces", "old", true));
    server.wait_until("a status by the second", |server| summary(server) == "2/2");
    second.stop().await;
    assert_eq!(holder(&server), Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_taken_from_who_does_not_renew_it_and_from_nobody_else() {
    let server = cluster();
    let held_since = |time: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": "exectrace"},
            "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 15, "leaseTransitions": 1, "renewTime": time},
        })
    };
    server.put(held_since("2100-01-01T00:00:00.000000Z"));
    let keeper = Keeper::start(&server, "a", PACE).await;
    let asked = |server: &ApiServer| {
        server.requests().iter().filter(|seen| seen.method == "GET" && seen.path.contains("/leases/")).count()
    };
    server.wait_until("it to ask again and again", |server| asked(server) >= 3);
    assert_eq!(holder(&server), "gone");
    server.put(held_since("2026-01-01T00:00:00.000000Z"));
    server.wait_until("it to take the lease", |server| holder(server) == "a");
    let lease = server.get("leases", "exectrace", LEASE).expect("a lease");
    assert_eq!(lease["spec"]["leaseTransitions"], 2);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_lease_writes_no_more() {
    let server = cluster();
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a first status", |server| summary(server) == "1/2");
    let mut lease = server.get("leases", "exectrace", LEASE).expect("a lease");
    lease["spec"]["holderIdentity"] = json!("b");
    lease["spec"]["leaseDurationSeconds"] = json!(3600);
    server.put(lease);
    let asked = |server: &ApiServer| {
        server.requests().iter().filter(|seen| seen.method == "GET" && seen.path.contains("/leases/")).count()
    };
    let before = asked(&server);
    // The first time it learns that it lost the lease; the next time it has ended what it did.
    server.wait_until("it to ask again", |server| asked(server) >= before + 3);
    server.put(workspace("workspaces", "old", true));
    let before = asked(&server);
    server.wait_until("it to ask again", |server| asked(server) >= before + 3);
    assert_eq!(summary(&server), "1/2");
    keeper.stop().await;
    assert_eq!(holder(&server), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_another_program_leaves_an_event_and_ours_none_twice() {
    let server = cluster();
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a status", |server| status(server)["observedGeneration"] == 1);
    server.wait_until("an event for what was there", |server| events(server).len() == 1);
    throw(&client(&server).await, false).await.expect("thrown");
    server.wait_until("the next status", |server| status(server)["observedGeneration"] == 2);
    let mut object = server.get("processloggings", "", "default").expect("the object");
    object["spec"]["enabled"] = json!(true);
    object["metadata"]["managedFields"] =
        json!([{"manager": "kubectl-edit", "operation": "Update", "time": "2030-01-01T00:00:00Z"}]);
    server.put(object);
    server.wait_until("an event for it", |server| events(server).iter().any(|note| note.contains("kubectl-edit")));
    assert_eq!(events(&server).len(), 3, "{:?}", events(&server));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_of_a_check_is_kept_until_the_node_boots_again() {
    let server = cluster();
    let mut object = switch(true);
    object["status"] = json!({"nodes": [{"name": "node-1", "verdict": "cannot-trace", "reason": "btf: missing",
        "btf": false, "checkedBoot": "boot-1", "checkedAt": "2026-01-01T00:00:00Z"}]});
    server.put(object);
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a status", |server| !status(server)["observedAt"].is_null());
    assert_eq!(status(&server)["nodes"][0]["reason"], "btf: missing");
    let mut booted = node("node-1");
    booted["status"]["nodeInfo"]["bootID"] = json!("boot-2");
    server.put(booted);
    server.wait_until("it to be forgotten", |server| status(server)["nodes"][0]["reason"].is_null());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_outlives_an_api_server_that_fails() {
    let server = cluster();
    for (method, part) in [("GET", "leases"), ("GET", "pods"), ("PATCH", "status")] {
        server.fail(Fault::new(method, part, How::Status(500)).times(1));
        server.fail(Fault::new(method, part, How::Dropped).times(1));
    }
    let keeper = Keeper::start(&server, "a", PACE).await;
    server.wait_until("a status after all", |server| summary(server) == "1/2");
    keeper.stop().await;
}
