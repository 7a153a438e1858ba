//! The example, run as a user would.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::*;

/// The example's program, as new as the library: a run of this test alone does not make cargo build it.
pub(crate) fn watch_pid_namespace() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match std::env::var_os("EXECTRACE_EXAMPLES") {
        Some(folder) => PathBuf::from(folder),
        None => build(),
    });
    let path = folder.join("watch_pid_namespace");
    assert!(path.exists(), "{} is not there", path.display());
    path
}

fn build() -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    let profile = own.ancestors().nth(2).expect("target/TRIPLE/PROFILE/deps/root-HASH");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", "watch_pid_namespace"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = spawn(&mut cargo).wait().expect("cargo runs");
    assert!(status.success(), "the example does not build");
    profile.join("examples")
}

#[test]
fn root_the_example_prints_the_execs_of_a_namespace_until_its_input_ends() {
    let namespace = Namespace::new();
    let mut example = Command::new(watch_pid_namespace());
    example.arg(namespace.init().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut example = Watching::start(&mut example);
    let first = namespace.spawn(Command::new(target()).args(["one", "two three"]));
    let second = namespace.spawn(Command::new(target()).arg("last"));
    let pids = [first, second].map(|mut child| {
        assert!(wait(&mut child).success());
        child.id()
    });
    let (status, output) = example.end();
    assert!(status.success(), "{status}");
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_by_key(|line| !line.contains("one"));
    assert_eq!(lines, [format!("{} {} one two three", pids[0], target()), format!("{} {} last", pids[1], target())]);
}
