//! Nothing opens a network connection; the sidecar has its listener and nothing else. Watched by strace.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{EXECTRACE, Ended, PATIENCE, Program};
use crate::workspace::Workspace;

/// `exectrace` under strace, and what that saw.
struct Watched {
    folder: TempDir,
}

impl Watched {
    /// `None`, and a line that says so, where there is no strace.
    fn new() -> Option<Watched> {
        if Command::new("strace").arg("-V").output().is_err() {
            println!("skipped: no strace here");
            return None;
        }
        Some(Watched { folder: tempfile::tempdir().expect("a temporary folder") })
    }

    /// strace and its options; it becomes the words that follow.
    fn strace(&self) -> Vec<String> {
        let calls = self.folder.path().join("calls").to_str().expect("a path in UTF-8").to_owned();
        let options = ["strace", "-f", "-qq", "-e", "trace=socket,connect,bind,listen", "-e", "signal=none", "-o"];
        options.map(str::to_owned).into_iter().chain([calls]).collect()
    }

    /// The command first tells its pid on stderr.
    fn command(&self, words: &[&str]) -> Command {
        let strace = self.strace();
        let mut command = Command::new(&strace[0]);
        command.args(&strace[1..]).args(["sh", "-c", "echo $$ >&2; exec \"$@\"", "sh", EXECTRACE]).args(words);
        command
    }

    #[track_caller]
    fn start(&self, words: &[&str]) -> (Program, Pid) {
        let mut program = Program::start(&mut self.command(words));
        let pid = program.stderr.wait_for("a pid", |_| true).parse().expect("a pid");
        (program, Pid::from_raw(pid).expect("a pid is not 0"))
    }

    #[track_caller]
    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).expect("what strace saw")
    }
}

#[test]
fn root_run_and_check_open_no_socket() {
    for words in [&["run", "--", "/bin/true"][..], &["check"]] {
        let Some(watched) = Watched::new() else { return };
        let ended = Ended::of(&mut watched.command(words));
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        assert_eq!(watched.calls(), "", "{words:?}");
    }
}

#[test]
fn root_trace_opens_no_socket() {
    let Some(watched) = Watched::new() else { return };
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, pid) = watched.start(&["trace", "--pid-ns", &number]);
    program.wait_for_message("tracing");
    workspace.tell("/bin/true x");
    program.wait_for_exec("/bin/true x");
    kill_process(pid, Signal::TERM).expect("exectrace lives");
    assert_eq!(program.end().0.code(), Some(0));
    assert_eq!(watched.calls(), "");
}

#[test]
fn root_the_sidecar_has_its_listener_and_nothing_else() {
    let Some(watched) = Watched::new() else { return };
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, pid) = watched.start(&["sidecar", "--init-address", "127.0.0.1:0"]);
    let message = program.wait_for_message("waiting for the workspace's PID namespace");
    let mut stream = TcpStream::connect(message.field("address").as_str().expect("an address")).expect("a server");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    write!(stream, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{number}", number.len()).expect("a server that reads");
    stream.read_to_string(&mut String::new()).expect("an answer");
    workspace.tell("/bin/true x");
    program.wait_for_exec("/bin/true x");
    kill_process(pid, Signal::TERM).expect("exectrace lives");
    assert_eq!(program.end().0.code(), Some(0));
    let calls = watched.calls();
    let count = |name: &str| calls.lines().filter(|line| line.contains(name)).count();
    assert_eq!([count("socket("), count("bind("), count("listen("), count("connect(")], [1, 1, 1, 0], "{calls}");
    assert!(calls.contains("inet_addr(\"127.0.0.1\")"), "{calls}");
}

#[test]
fn root_the_sidecar_of_its_own_namespace_opens_no_socket() {
    let Some(watched) = Watched::new() else { return };
    let mut workspace = Workspace::new();
    let pid = watched.folder.path().join("pid");
    let inner = format!("echo $$ >{}; exec {EXECTRACE} sidecar --use-local-pidns", pid.display());
    workspace.tell(&format!("{} sh -c '{inner}' >/dev/null &", watched.strace().join(" ")));
    workspace.wait_for_message("tracing the PID namespace of this container");
    workspace.tell("/bin/true x");
    assert_eq!(workspace.ask(&format!("read pid <{}; kill -TERM $pid; wait $!; echo $?", pid.display())), "0");
    assert_eq!(watched.calls(), "");
}
