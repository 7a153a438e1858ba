//! The pod in which the tracer itself is a container: found by asking the kernel, and traced but for the tracer.
//!
//! Cgroups of the test's own stand for a pod and its containers. The tracer runs in one of them, in a PID namespace of its
//! own, as a sidecar does; it is this test once more, and talks to it by pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use exectrace::{Pod, PodError, Scope, ScopeError, Tracer, TracerError};

use crate::support::*;

const UID: &str = "621d2e52-1b7a-4d6c-9c55-0123456789ab";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Folders in the order in which they are removed.
struct PodFolders {
    workspace: CgroupFolder,
    sidecar: CgroupFolder,
    _pod: CgroupFolder,
    outside: CgroupFolder,
    _node: CgroupFolder,
}

impl PodFolders {
    fn new() -> Option<PodFolders> {
        let node = CgroupFolder::new()?;
        let pod = node.child(&format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_")));
        let workspace = pod.child(&format!("cri-containerd-{}.scope", id('a')));
        let sidecar = pod.child(&format!("cri-containerd-{}.scope", id('b')));
        Some(PodFolders { workspace, sidecar, outside: node.child("outside"), _pod: pod, _node: node })
    }

    /// A shell that is the init of a container: in its cgroup, and in a PID namespace of its own.
    fn container(folder: &CgroupFolder) -> Shell {
        Shell::start("exec unshare --pid --fork --kill-child sh", |command| folder.spawn(command))
    }
}

/// This test once more, as the sidecar.
struct Sidecar {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Sidecar {
    fn start(test: &str, folder: &CgroupFolder) -> Sidecar {
        let mut command = rerun_inside(test, UID);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = folder.spawn(&mut command);
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut sidecar = Sidecar { child, lines };
        sidecar.lines_until("attached");
        sidecar
    }

    /// What it saw before the exec that has this word.
    fn seen(mut self, sentinel: &str) -> Vec<String> {
        let mut stdin = self.child.stdin.take().expect("a pipe");
        writeln!(stdin, "{sentinel}").expect("it listens");
        let seen = self.lines_until("that is all");
        drop(stdin);
        assert!(wait(&mut self.child).success());
        seen
    }

    fn lines_until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("text") > 0, "it ended after {lines:?}");
            match line.trim_end() {
                line if line == last => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

/// The sidecar's side: traces the pod that it is in, and tells what it saw.
fn be_the_sidecar(uid: &str) {
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let pod = Pod::of_this_process(uid).expect("the pod");
    tracer.add_scope(Scope::Pod(pod.clone())).expect("a scope");
    let second = tracer.add_scope(Scope::Pod(pod));
    assert!(matches!(second, Err(TracerError::SecondPod)), "{second:?}");
    println!("\nattached");
    let mut sentinel = String::new();
    std::io::stdin().read_line(&mut sentinel).expect("text");
    // What is the tracer's own is no part of the workspace, in whatever namespace.
    assert!(wait(&mut spawn(Command::new(target()).arg("the tracer's"))).success());
    let mut nested = Command::new("unshare");
    assert!(wait(&mut spawn(nested.args(["--pid", "--fork", target(), "the tracer's, nested"]))).success());
    let events = no_loss(items_before(&mut tracer, sentinel.trim()));
    for event in events.iter().filter(|event| show(&event.filename) == target()) {
        let container = event.container.as_deref().map_or_else(|| "-".to_owned(), |id| show(&id[..1]));
        let nested = if event.traits.contains(exectrace::Traits::NESTED) { "nested" } else { "direct" };
        println!("{container} {nested} {} {}", event.vpid, word(event));
    }
    println!("that is all");
}

#[test]
fn root_a_pod_is_its_containers_and_what_runs_within_them_and_nothing_else() {
    const NAME: &str = "pods::root_a_pod_is_its_containers_and_what_runs_within_them_and_nothing_else";
    if let Some(uid) = inside() {
        return be_the_sidecar(&uid);
    }
    let Some(folders) = PodFolders::new() else { return };
    let sidecar = Sidecar::start(NAME, &folders.sidecar);
    let mut workspace = PodFolders::container(&folders.workspace);
    let mut other = PodFolders::container(&folders.outside);
    workspace.tell(&format!("{} direct", target()));
    other.tell(&format!("{} stranger", target()));
    // A runtime on the node puts a process there that is in no container's namespace yet.
    folders.workspace.run(Command::new(target()).arg("the node's, in the container's cgroup"));
    workspace.tell(&format!("unshare --pid --fork {} namespace", target()));
    // As a container engine does that sees the node's cgroups: its containers lie beside the pod.
    let escape = format!("echo 0 >{}/cgroup.procs", show(folders.outside.path().as_os_str().as_encoded_bytes()));
    workspace.tell(&format!("unshare --pid --fork sh -c '{escape}; exec {} engine'", target()));
    workspace.tell(&format!("sh -c '{escape}; exec {} moved'", target()));
    let sentinel = sentinel();
    workspace.tell(&format!("{} {sentinel}", target()));
    let seen = sidecar.seen(&sentinel);
    let told: Vec<_> = seen.iter().map(|line| line.rsplitn(3, ' ').collect::<Vec<_>>()).collect();
    assert!(told.iter().all(|line| line.len() == 3), "{seen:?}");
    let without_vpid: Vec<String> = seen
        .iter()
        .map(|line| {
            let mut words: Vec<_> = line.splitn(4, ' ').collect();
            let vpid: u32 = words.remove(2).parse().expect("a number");
            assert!(vpid < 50 || line.contains("the node's"), "told as the container numbers it: {line}");
            words.join(" ")
        })
        .collect();
    let expected = [
        "a direct direct",
        "a direct the node's, in the container's cgroup",
        "a nested namespace",
        "a nested engine",
        "a nested moved",
    ];
    assert_eq!(without_vpid, expected);
}

#[test]
fn root_who_is_in_no_pod_is_told_where_it_is() {
    let error = Pod::of_this_process(UID).expect_err("this test is in no pod");
    let expected = matches!(
        &error,
        TracerError::Scope(ScopeError::Pod(PodError::NotThere { uid, .. })) if uid == UID
    ) || matches!(&error, TracerError::Scope(ScopeError::Pod(PodError::NoUnifiedHierarchy)));
    assert!(expected, "{error}");
}
