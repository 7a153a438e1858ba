//! CAP_BPF and CAP_PERFMON are enough, and all that is kept.

use std::fs;
use std::process::Command;

use crate::line::{cmdlines, with_msg};
use crate::program::{EXECTRACE, Program};
use crate::workspace::{ONLY_WHAT_TRACING_NEEDS, Workspace};

/// Takes tracefs and debugfs away, then becomes the words that follow.
const WITHOUT_TRACEFS: &str =
    "umount -q -a -t tracefs,debugfs; grep -E ' (tracefs|debugfs) ' /proc/self/mounts && exit 1; exec \"$@\"";

fn least(words: &[&str]) -> Program {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITHOUT_TRACEFS, "sh", "setpriv"]).args(ONLY_WHAT_TRACING_NEEDS);
    let mut program = Program::start(command.arg(EXECTRACE).args(words));
    program.wait_for_message("tracing");
    program
}

fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    status.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned()
}

#[test]
fn root_two_capabilities_trace_without_tracefs_and_new_privileges() {
    let mut workspace = Workspace::of_nobody();
    let number = workspace.number();
    let program = least(&["trace", "--pid-ns", &number]);
    for (name, expected) in [
        ("Uid:", "65534\t65534\t65534\t65534"),
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", "000000c000000000"),
        ("CapEff:", "000000c000000000"),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
    ] {
        assert_eq!(status(program.pid(), name), expected, "{name}");
    }
    workspace.tell("/bin/true seen");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let lines = stopped.parsed();
    assert_eq!(cmdlines(&lines), ["/bin/true seen"]);
    let seen = with_msg(&lines, "exec")[0];
    assert_eq!(seen.event("uid"), 65534);
    assert!(seen.event("partial").is_null(), "{lines:?}");
}

/// Root's processes cannot be looked at, so their namespace is traced by its bare number, which is told.
#[test]
fn root_a_namespace_that_hides_is_traced_by_its_number() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut command = Command::new("setpriv");
    command.args(ONLY_WHAT_TRACING_NEEDS).args([EXECTRACE, "trace", "--pid-ns", &number]);
    let mut program = Program::start(&mut command);
    program.wait_for_message("cannot be held");
    program.wait_for_message("tracing");
    workspace.tell("/bin/true seen");
    program.wait_for_exec("/bin/true seen");
}

#[test]
fn root_a_process_of_another_user_can_be_traced_with_its_descendants() {
    let mut workspace = Workspace::shared();
    let program = least(&["trace", "--pid", &workspace.pid().to_string()]);
    workspace.tell("/bin/true seen");
    let (_, stopped) = program.stop();
    assert_eq!(cmdlines(&stopped.parsed()), ["/bin/true seen"]);
}

#[test]
fn root_the_sidecar_traces_its_own_namespace_with_two_capabilities() {
    let mut workspace = Workspace::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let options = ONLY_WHAT_TRACING_NEEDS.join(" ");
    let words = format!("setpriv {options} {EXECTRACE} sidecar --use-local-pidns >{} & echo $!", out.display());
    let pid = workspace.ask(&words);
    workspace.wait_for_message("tracing the PID namespace of this container");
    workspace.tell("/bin/true inside");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let lines = crate::line::Line::parse_all(&fs::read_to_string(out).expect("the log"));
    assert_eq!(cmdlines(&lines), ["/bin/true inside"]);
}
