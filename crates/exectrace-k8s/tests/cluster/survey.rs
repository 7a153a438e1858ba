//! What a caller with few rights still sees.

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use exectrace_k8s::survey::survey;
use exectrace_k8s::switch::SwitchError;

use crate::{client, namespace, node, switch, workspace};

fn cluster() -> ApiServer {
    let server = ApiServer::start();
    for object in [
        switch(true),
        namespace("workspaces", true),
        namespace("team", true),
        node("node-1"),
        workspace("workspaces", "main", true),
        workspace("team", "main", false),
    ] {
        server.put(object);
    }
    server
}

#[tokio::test]
async fn all_namespaces_with_workspaces_are_looked_at_or_one() {
    let server = cluster();
    let client = client(&server).await;
    let all = survey(&client, None).await.expect("a survey");
    assert_eq!((all.enabled, all.coverage.workspaces.summary.as_str()), (Some(true), "1/2"));
    assert!(all.notes.is_empty() && all.keeper.is_none(), "{all:?}");
    let one = survey(&client, Some("workspaces")).await.expect("a survey");
    assert!(one.coverage.is_whole(), "{one:?}");
    let none = survey(&client, Some("other")).await.expect("a survey");
    assert!(none.notes[0].contains("kubectl label namespace other"), "{none:?}");
}

#[tokio::test]
async fn who_may_not_list_nodes_sees_the_workspaces() {
    let server = cluster();
    server.fail(Fault::new("GET", "/api/v1/nodes", How::Status(403)));
    let found = survey(&client(&server).await, None).await.expect("a survey");
    assert_eq!((found.coverage.nodes_ready, found.coverage.pods.len()), (None, 2));
    assert!(found.notes[0].contains("nodes may not be listed"), "{:?}", found.notes);
}

#[tokio::test]
async fn who_may_not_list_namespaces_names_one() {
    let server = cluster();
    server.fail(Fault::new("GET", "/api/v1/namespaces?", How::Status(403)));
    let client = client(&server).await;
    let error = survey(&client, None).await.expect_err("refused");
    assert!(matches!(error, SwitchError::Refused(_)) && error.to_string().contains("-n"), "{error}");
    let found = survey(&client, Some("workspaces")).await.expect("a survey");
    assert_eq!(found.coverage.pods.len(), 1);
}
