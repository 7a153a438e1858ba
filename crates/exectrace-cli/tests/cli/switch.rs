//! `exectrace enable` and `exectrace disable`.

use std::os::unix::process::CommandExt;

use exectrace_api_server_fixture::{ApiServer, Fault, How};

use crate::cluster::asked;
use crate::program::{Ended, exectrace};

#[test]
fn the_switch_is_thrown_once_and_says_by_whom() {
    let server = ApiServer::start();
    let ended = asked(&server, &["enable"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("on, switched by jessie@example.com"), "{ended:?}");
    assert!(asked(&server, &["enable"]).stdout.contains("was on already"));
    assert_eq!(server.list("events").len(), 1);
    assert!(asked(&server, &["disable"]).stdout.contains("off, switched by jessie@example.com"));
    assert_eq!(server.get("processloggings", "", "default").expect("the object")["spec"]["enabled"], false);
}

#[test]
fn errors_end_with_1_and_say_what_to_do() {
    let server = ApiServer::start();
    server.fail(Fault::new("GET", "processloggings", How::Status(401)));
    let ended = asked(&server, &["enable"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.message().msg().contains("rights"), "{ended:?}");
    server.mend();
    server.uninstall("processloggings");
    let ended = asked(&server, &["enable"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.message().msg().contains("install exectrace's chart"), "{ended:?}");
}

#[test]
fn a_cluster_that_is_not_there_ends_with_1_and_a_wrong_configuration_with_2() {
    let server = ApiServer::start();
    let kubeconfig = server.folder().join("gone");
    std::fs::write(&kubeconfig, server.kubeconfig_text("nowhere.invalid")).expect("a file");
    let ended = Ended::of(exectrace(["enable", "--kubeconfig"]).arg(&kubeconfig));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.message().msg().contains("--kubeconfig"), "{ended:?}");
    for words in [&["enable", "--kubeconfig", "/nonexistent"][..], &["enable", "--context", "none"]] {
        let ended = Ended::of(exectrace(words).env("KUBECONFIG", server.kubeconfig()));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.message().msg().contains("--kubeconfig"), "{ended:?}");
    }
}

#[test]
fn a_name_of_this_machine_is_resolved_by_the_static_program() {
    let server = ApiServer::start();
    let kubeconfig = server.folder().join("by-name");
    std::fs::write(&kubeconfig, server.kubeconfig_text("localhost")).expect("a file");
    let ended = Ended::of(exectrace(["enable", "--kubeconfig"]).arg(&kubeconfig));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn as_a_plugin_of_kubectl_it_names_itself_so() {
    let help = Ended::of(exectrace(["--help"]).arg0("/usr/local/bin/kubectl-exectrace"));
    assert!(help.stdout.contains("Usage: kubectl exectrace"), "{help:?}");
    let wrong = Ended::of(exectrace(["status", "--nonsense"]).arg0("kubectl-exectrace"));
    assert!(wrong.stderr.contains("kubectl exectrace status"), "{wrong:?}");
    let sidecar = Ended::of(exectrace(["--init-address", "nowhere"]).arg0("kubectl-exectrace"));
    assert!(sidecar.stderr.contains("--init-address"), "{sidecar:?}");
}
