//! `exectrace status`.

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use serde_json::{Value, json};

use crate::cluster::{asked, namespace, node, switch, workspace};
use crate::program::{Ended, Program, exectrace};

fn cluster() -> ApiServer {
    let server = ApiServer::start();
    let mut switch = switch(true);
    switch["metadata"]["annotations"] = json!({"exectrace.dev/changed-by": "jessie@example.com"});
    for object in [
        switch,
        namespace("workspaces"),
        node("node-1", "6.1.0-56-amd64"),
        node("node-2", "5.4.0-100-generic"),
        workspace("jessie", "main", true),
        workspace("zac", "main", true),
    ] {
        server.put(object);
    }
    server
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn the_table_has_every_workspace_and_node_in_columns() {
    let server = cluster();
    server.put(workspace("zac", "old", false));
    let ended = asked(&server, &["status"]);
    assert_eq!(ended.stderr, "");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let expected = [
        "Switch:       on, switched by jessie@example.com",
        "Workspaces:   2/3 traced, 1 needs-rebuild",
        "Nodes:        1/2 ready",
        "Kept status:  has written nothing yet: look whether the webhook runs",
        "",
        "USER    WORKSPACE  NAMESPACE   POD          NODE    VERDICT        WHY",
        "jessie  main       workspaces  jessie-main  node-1  traced",
        "zac     main       workspaces  zac-main     node-1  traced",
    ];
    assert_eq!(lines[..8], expected, "{}", ended.stdout);
    assert!(
        lines[8].starts_with("zac     old        workspaces  zac-old      node-1  needs-rebuild  it has no sidecar")
    );
    assert_eq!(lines[10], "NODE    KERNEL             BTF  VERDICT       WHY");
    assert_eq!(lines[11], "node-1  6.1.0-56-amd64     -    ready");
    assert!(lines[12].starts_with("node-2  5.4.0-100-generic  -    cannot-trace  the kernel"), "{}", lines[12]);
}

#[test]
fn the_exit_code_is_0_only_when_every_workspace_is_traced() {
    let server = cluster();
    assert_eq!(asked(&server, &["status"]).code, Some(0));
    server.put(workspace("zac", "old", false));
    assert_eq!(asked(&server, &["status"]).code, Some(1));
    server.put(switch(false));
    assert_eq!(asked(&server, &["status", "-A"]).code, Some(1));
    server.delete("pods", "workspaces", "zac-old");
    let ended = asked(&server, &["status"]);
    assert_eq!(ended.code, Some(1), "what comes next is not traced: {ended:?}");
    let ended = asked(&server, &["status", "-n", "empty"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    server.fail(Fault::new("GET", "/pods", How::Status(403)));
    let ended = asked(&server, &["status"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.message().msg().contains("docs/status.md"), "{ended:?}");
}

#[test]
fn json_has_the_documented_shape() {
    let server = cluster();
    server.put(workspace("zac", "old", false));
    let ended = asked(&server, &["status", "-o", "json"]);
    let report = json_of(&ended);
    assert_eq!(ended.code, Some(1));
    let mut keys: Vec<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["changedBy", "enabled", "keeper", "nodes", "nodesReady", "notes", "pods", "workspaces"]);
    assert_eq!(
        report["workspaces"],
        json!({"total": 3, "traced": 2, "starting": 0, "needsRebuild": 1, "notTraced": 0, "otherSettings": 0,
               "summary": "2/3"})
    );
    assert_eq!(report["pods"][0]["user"], "jessie");
    assert_eq!(report["pods"][0]["advice"], Value::Null);
    assert_eq!(
        (&report["pods"][2]["verdict"], &report["pods"][2]["reason"]),
        (&"needs-rebuild".into(), &"no-sidecar".into())
    );
    assert_eq!((&report["nodesReady"], &report["nodes"][1]["verdict"]), (&"1/2".into(), &"cannot-trace".into()));
}

#[test]
fn a_status_that_nobody_keeps_is_told() {
    let server = cluster();
    let mut object = switch(true);
    object["status"] = json!({"observedAt": "2026-01-01T00:00:00Z", "observedGeneration": 1});
    server.put(object);
    assert!(asked(&server, &["status"]).stdout.contains("2026-01-01T00:00:00Z, which is stale"));
    assert_eq!(json_of(&asked(&server, &["status", "-o", "json"]))["keeper"]["stale"], true);
}

#[test]
fn what_a_pod_says_of_itself_does_not_steer_the_terminal() {
    let server = cluster();
    let mut pod = workspace("zac", "odd", false);
    let stamp = json!({"version": "1", "mode": null, "settings": "", "reason": "\u{1b}[2J\nroot traced"}).to_string();
    pod["metadata"]["annotations"] = json!({"exectrace.dev/status": stamp});
    server.put(pod);
    let ended = asked(&server, &["status"]);
    assert!(ended.stdout.contains("not-traced") && !ended.stdout.contains('\u{1b}'), "{ended:?}");
    assert!(!ended.stdout.contains("\nroot traced"), "{ended:?}");
}

#[test]
fn nodes_are_checked_in_pods_and_the_verdicts_kept() {
    let server = cluster();
    server.put(node("node-3", "6.1.0-56-amd64"));
    server.run_pods(|pod| {
        pod["status"] = json!({"phase": "Succeeded"});
        Some(
            "{\"tracing_works\": true, \"checks\": [{\"name\": \"btf\", \"level\": \"ok\", \"found\": \"there\"}]}\n"
                .to_owned(),
        )
    });
    let ended = asked(&server, &["status", "--check-nodes"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.message().msg().contains("--image"), "{ended:?}");
    let words = ["status", "--check-nodes", "--image", "example.com/exectrace:1", "-o", "json"];
    let ended = asked(&server, &words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(json_of(&ended)["nodes"][2]["btf"], true);
    // An old kernel is old, whatever a check says.
    assert_eq!(json_of(&ended)["nodesReady"], "2/3");
    let made = server.requests().into_iter().find(|seen| seen.method == "POST" && seen.path.ends_with("/pods"));
    let made = made.expect("a pod");
    assert_eq!(
        (made.path.as_str(), &made.body["spec"]["containers"][0]["image"]),
        ("/api/v1/namespaces/exectrace/pods", &"example.com/exectrace:1".into())
    );
    assert_eq!(server.list("pods").len(), 2);
    server.put(node("node-4", "6.1.0-56-amd64"));
    server.fail(Fault::new("PATCH", "status", How::Status(403)));
    let ended = asked(&server, &words);
    assert!(ended.stderr.contains("the verdicts are not kept"), "{ended:?}");
    assert_eq!(json_of(&ended)["nodesReady"], "3/4");
    server.delete("nodes", "", "node-4");
    assert_eq!(json_of(&asked(&server, &["status", "-o", "json"]))["nodesReady"], "2/3");
}

#[test]
fn nodes_are_checked_with_the_image_that_the_webhook_adds() {
    let server = cluster();
    let mut object = switch(true);
    object["status"] = json!({"image": "example.com/exectrace:2"});
    server.put(object);
    server.run_pods(|pod| {
        pod["status"] = json!({"phase": "Failed"});
        Some("exectrace: error: x\n".to_owned())
    });
    let ended = asked(&server, &["status", "--check-nodes", "--check-namespace", "checks"]);
    let made = server.requests().into_iter().find(|seen| seen.method == "POST").expect("a pod");
    assert_eq!(made.path, "/api/v1/namespaces/checks/pods");
    assert_eq!(made.body["spec"]["containers"][0]["image"], "example.com/exectrace:2");
    assert!(ended.stderr.contains("said nothing that can be read"), "{ended:?}");
}

#[test]
fn an_interrupted_check_leaves_no_pod() {
    let server = cluster();
    let words = ["status", "--check-nodes", "--image", "example.com/exectrace:1", "--kubeconfig"];
    let program = Program::start(exectrace(words).arg(server.kubeconfig()));
    let checks = |server: &ApiServer| server.list("pods").len() - 2;
    server.wait_until("the pods of the check", |server| checks(server) == 2);
    program.signal(rustix::process::Signal::INT);
    let (status, ..) = program.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(checks(&server), 0);
}
