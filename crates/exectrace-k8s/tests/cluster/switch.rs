//! The switch, thrown.

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use exectrace_k8s::switch::{SwitchError, read, throw};

use crate::{client, events};

#[tokio::test]
async fn the_first_throw_makes_the_object_and_says_who_did_it() {
    let server = ApiServer::start();
    let client = client(&server).await;
    let outcome = throw(&client, true).await.expect("thrown");
    assert!(outcome.changed && outcome.by == "jessie@example.com" && outcome.untold.is_none(), "{outcome:?}");
    let object = server.get("processloggings", "", "default").expect("the object");
    assert_eq!(object["spec"]["enabled"], true);
    assert_eq!(object["metadata"]["annotations"]["exectrace.dev/changed-by"], "jessie@example.com");
    let event = server.list("events").remove(0);
    assert_eq!((&event["reason"], &event["metadata"]["namespace"]), (&"Enabled".into(), &"default".into()));
    assert!(event["note"].as_str().is_some_and(|note| note.contains("jessie@example.com")), "{event}");
}

#[tokio::test]
async fn a_throw_to_where_it_is_changes_nothing_and_leaves_no_event() {
    let server = ApiServer::start();
    let client = client(&server).await;
    throw(&client, true).await.expect("thrown");
    let before = server.get("processloggings", "", "default");
    assert!(!throw(&client, true).await.expect("thrown").changed);
    assert_eq!(server.get("processloggings", "", "default"), before);
    assert_eq!(events(&server).len(), 1);
    assert!(throw(&client, false).await.expect("thrown").changed);
    assert_eq!(events(&server).len(), 2);
}

#[tokio::test]
async fn an_api_server_that_tells_no_user_leaves_it_unknown() {
    let server = ApiServer::start();
    server.set_user(None);
    let outcome = throw(&client(&server).await, true).await.expect("thrown");
    assert_eq!(outcome.by, "unknown");
}

#[tokio::test]
async fn a_conflict_is_tried_again() {
    let server = ApiServer::start();
    server.put(crate::switch(false));
    server.fail(Fault::new("PATCH", "processloggings", How::Status(409)).times(2));
    assert!(throw(&client(&server).await, true).await.expect("thrown").changed);
    server.fail(Fault::new("PATCH", "processloggings", How::Status(409)));
    let error = throw(&client(&server).await, false).await.expect_err("always in conflict");
    assert!(matches!(error, SwitchError::Contended), "{error}");
}

#[tokio::test]
async fn a_change_without_rights_for_events_is_made_and_says_so() {
    let server = ApiServer::start();
    server.fail(Fault::new("POST", "events", How::Status(403)));
    let outcome = throw(&client(&server).await, true).await.expect("thrown");
    assert!(outcome.changed && outcome.untold.is_some(), "{outcome:?}");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let server = ApiServer::start();
    let client = client(&server).await;
    server.fail(Fault::new("GET", "processloggings", How::Status(403)));
    let error = throw(&client, true).await.expect_err("no rights").to_string();
    assert!(error.contains("rights"), "{error}");
    server.mend();
    server.fail(Fault::new("GET", "processloggings", How::Dropped));
    let error = throw(&client, true).await.expect_err("a dropped connection").to_string();
    assert!(error.contains("--kubeconfig"), "{error}");
    server.mend();
    assert!(read(&client).await.expect("an answer").is_none());
    server.uninstall("processloggings");
    let error = throw(&client, true).await.expect_err("no such kind");
    assert!(matches!(error, SwitchError::NotInstalled) && error.to_string().contains("chart"), "{error}");
}
