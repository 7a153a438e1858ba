//! The sidecar that the webhook adds, in real containers: the image, the security context, the volumes and the probe are
//! those that the webhook says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use exectrace_k8s::mutate::{Operation, Outcome, mutate};
use exectrace_k8s::names::CONTAINER;
use exectrace_k8s::settings::Settings;
use serde_json::{Value, json};

use crate::line::{Line, with_msg};
use crate::podman::{Changes, Pod, Sidecar};

/// The container that the webhook adds to a pod.
fn injected() -> Value {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "coder-jessie-main" },
        "spec": { "containers": [{ "name": "dev", "image": "example.com/dev:1" }] },
    });
    let Outcome::Admitted(admission) = mutate(&pod, &Settings::default()) else { panic!("it is not let in") };
    let added = admission.patch.into_iter().find_map(|Operation::Add { value, .. }| {
        let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        list.into_iter().find(|value| value["name"] == CONTAINER && !value["command"].is_null())
    });
    added.expect("a container")
}

/// A downward-API volume, as the kubelet makes and changes it.
fn tell(folder: &Path, version: &str, username: &str) {
    let data = folder.join(version);
    fs::create_dir(&data).expect("a folder");
    let labels = format!("com.coder.user.username=\"{username}\"\ncom.coder.workspace.name=\"main\"\n");
    let annotations = "com.coder.user.email=\"jessie@example.com\"\n";
    for (name, content) in
        [("labels", labels.as_str()), ("annotations", annotations), ("name", "coder-jessie-main"), ("namespace", "ws")]
    {
        fs::write(data.join(name), content).expect("a file");
        let _ = symlink(Path::new("..data").join(name), folder.join(name));
    }
    symlink(version, folder.join("..data_tmp")).expect("a link");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the swap");
}

fn pod_info() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    tell(folder.path(), "..1", "jessie");
    folder
}

/// Execs that are the workspace's: a runtime's own, on the way into a container, are the node's.
fn of_the_workspace(lines: &[Line]) -> Vec<&Line> {
    lines.iter().filter(|line| line.is_exec() && line.event("ns_level") != 0).collect()
}

#[test]
fn root_the_injected_sidecar_logs_its_pod_and_nobody_else() {
    let (pod, other, info, container) = (Pod::new(), Pod::new(), pod_info(), injected());
    let mut sidecar = Sidecar::start(&container, &pod, info.path(), &Changes::default());
    sidecar.wait_until_ready(&container);
    // Who may look into the container can ask it nothing else, and is not part of the workspace.
    let other_use = sidecar.exec(&["trace", "--all"]);
    assert!(other_use.code == Some(2) && other_use.stderr.contains("its own pod"), "{other_use:?}");
    let check = sidecar.exec(&["check", "--pod-uid", &pod.uid]);
    assert!(
        check.code == Some(0) && check.stdout.contains(&format!("a cgroup of pod {} is above", pod.uid)),
        "{check:?}"
    );
    pod.run(&[], "target first; exec target second");
    other.run(&[], "exec target stranger");
    pod.run(&["--cap-add=SYS_ADMIN"], "unshare --pid --fork target nested; exec target last");
    sidecar.program().wait_for_exec("target last");
    let stopped = sidecar.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let log = stopped.log();

    let start = with_msg(&log, "start")[0].field("start");
    assert_eq!(start["pod"], json!({ "name": "coder-jessie-main", "namespace": "ws", "node": "node-1" }));
    assert_eq!(start["scopes"], json!([{ "scope": 1, "kind": "pod", "of": pod.uid }]));
    let execs = of_the_workspace(&log);
    let told: Vec<_> = execs.iter().map(|line| (line.cmdline(), line.event("nested") == true)).collect();
    let expected = [
        ("sh -c 'target first; exec target second'", false),
        ("target first", false),
        ("target second", false),
        ("sh -c 'unshare --pid --fork target nested; exec target last'", false),
        ("unshare --pid --fork target nested", false),
        ("target nested", true),
        ("target last", false),
    ];
    assert_eq!(told, expected);
    let containers: Vec<_> = execs.iter().map(|line| line.event_text("container").expect("a container")).collect();
    assert!(containers.iter().all(|id| id.len() == 64), "{containers:?}");
    assert!(containers[..3].iter().all(|id| *id == containers[0]), "{containers:?}");
    assert!(containers[3..].iter().all(|id| *id == containers[3] && *id != containers[0]), "{containers:?}");
    assert_eq!(execs[0].event("vpid"), 1);
    for line in &log {
        assert_eq!((line.label("username"), line.label("user_email")), (Some("jessie"), Some("jessie@example.com")));
    }
}

#[test]
fn root_what_is_put_into_a_container_is_told_from_what_it_began_with() {
    let (pod, info, container) = (Pod::new(), pod_info(), injected());
    let mut sidecar = Sidecar::start(&container, &pod, info.path(), &Changes::default());
    sidecar.wait_until_ready(&container);
    pod.run(&[], "target first; exec target second");
    pod.enter(&[], &["sh", "-c", "target entered; exec target last"]);
    sidecar.program().wait_for_exec("target last");
    let log = sidecar.stop().log();
    let execs = of_the_workspace(&log);
    let kind = |cmdline: &str| {
        let line = execs.iter().find(|line| line.cmdline() == cmdline).expect(cmdline);
        line.event("origin")["kind"].as_str().expect("a kind").to_owned()
    };
    for (cmdline, expected) in [
        ("sh -c 'target first; exec target second'", "container"),
        ("target first", "container"),
        ("target second", "container"),
        ("busybox sleep 600", "container"),
        ("sh -c 'target entered; exec target last'", "exec"),
        ("target entered", "exec"),
        ("target last", "exec"),
    ] {
        assert_eq!(kind(cmdline), expected, "{cmdline}");
    }
}

#[test]
fn root_a_pod_that_changes_hands_says_so_in_its_log() {
    let (pod, info, container) = (Pod::new(), pod_info(), injected());
    let mut sidecar = Sidecar::start(&container, &pod, info.path(), &Changes::default());
    sidecar.wait_until_ready(&container);
    pod.run(&[], "exec target before");
    tell(info.path(), "..2", "zac");
    let changed = sidecar.program().wait_for_line("labels-changed");
    assert_eq!(changed.field("changed")["before"]["username"], "jessie");
    pod.run(&[], "exec target after");
    assert_eq!(sidecar.program().wait_for_exec("target after").label("username"), Some("zac"));
    let log = sidecar.stop().log();
    let owner =
        |cmdline: &str| log.iter().find(|line| line.cmdline() == cmdline).expect("in the log").label("username");
    assert_eq!((owner("target before"), owner("target after")), (Some("jessie"), Some("zac")));
}

#[test]
fn root_a_sidecar_that_cannot_trace_ends_with_advice() {
    let (pod, other, info, container) = (Pod::new(), Pod::new(), pod_info(), injected());
    let cases: [(&str, Changes<'_>, &str); 4] = [
        (
            "no capabilities",
            Changes { no_capabilities: true, ..Changes::default() },
            "securityContext.capabilities.add",
        ),
        ("a seccomp profile that does not know them", Changes { old_seccomp: true, ..Changes::default() }, "seccomp"),
        (
            "a kernel without type information",
            Changes { flags: &["--security-opt=mask=/sys/kernel/btf"], ..Changes::default() },
            "CONFIG_DEBUG_INFO_BTF=y",
        ),
        ("another pod's UID", Changes { cgroup: Some(other.cgroup()), ..Changes::default() }, "no cgroup of pod"),
    ];
    for (what, changes, advice) in cases {
        let ended = Sidecar::fail(&container, &pod, info.path(), &changes);
        assert_eq!(ended.code, Some(3), "{what}: {ended:?}");
        assert!(ended.stderr.contains(advice), "{what}: {ended:?}");
        assert_eq!(ended.stdout, "", "{what}: nothing is logged");
    }
}

#[test]
fn root_where_the_cgroup_drivers_differ_the_sidecar_does_not_guess() {
    let (pod, info, container) = (Pod::new(), pod_info(), injected());
    let changes = Changes { cgroup: Some(pod.cgroup_of_another_driver()), ..Changes::default() };
    let ended = Sidecar::fail(&container, &pod, info.path(), &changes);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("different cgroup drivers") && ended.stderr.contains("SystemdCgroup"), "{ended:?}");
}
