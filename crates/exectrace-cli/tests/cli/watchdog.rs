//! exectrace executes something of its own now and then: a kernel program that sees nothing any more cannot be taken for
//! a workspace in which nothing happens.

use std::fs;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use rustix::process::Signal;

use crate::ledger::Verdict;
use crate::line::{Line, cmdlines, with_msg};
use crate::program::{EXECTRACE, Program};
use crate::trace::trace;
use crate::workspace::{BpfFs, CgroupFolder, Workspace};

/// Ticks at which a probe is executed and the one before it must have been seen; a ledger tells that one is over.
const EVERY_SECOND: [&str; 4] = ["--watchdog", "1s", "--ledger-interval", "1s"];
/// By this name exectrace executes itself.
const PROBE: &str = "exectrace-watchdog";

/// The index by which the kernel program knows its scopes: without it, nothing is anybody's.
struct Index {
    map: MapHandle,
    content: Vec<u8>,
}

impl Index {
    #[track_caller]
    fn pinned_in(folder: &str) -> Index {
        let map = MapHandle::from_pinned_path(Path::new(folder).join("map_bss")).expect("a pinned map");
        let content = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).expect("a map").expect("its one value");
        assert!(content.iter().any(|byte| *byte != 0));
        Index { map, content }
    }

    #[track_caller]
    fn write(&self, content: &[u8]) {
        self.map.update(&0u32.to_ne_bytes(), content, MapFlags::ANY).expect("a map that can be written");
    }

    /// From now on the program sees nothing.
    #[track_caller]
    fn wipe(&self) {
        self.write(&vec![0; self.content.len()]);
    }

    #[track_caller]
    fn restore(&self) {
        self.write(&self.content);
    }
}

#[track_caller]
fn wait_for_intervals(program: &mut Program, count: usize) {
    for _ in 0..count {
        program.wait_for_line("ledger");
    }
}

/// Nothing but probes comes, and no line and no ledger; what they take of a pinned ring must be given back all the same.
#[test]
fn root_probes_of_a_quiet_workspace_do_not_fill_a_pinned_ring() {
    let bpf = BpfFs::new();
    let mut workspace = Workspace::new();
    let (number, pin) = (workspace.number(), bpf.pin());
    let words = ["--pid-ns", &number, "--pin", &pin, "--watchdog", "1s", "--ledger-interval", "0"];
    let program = trace(&words);
    // Somebody else sees the probes.
    let mut observer = trace(&["--pid", &program.pid().to_string()]);
    for _ in 0..4 {
        observer.wait_for_exec_that("a probe", |line| line.cmdline().starts_with(PROBE));
    }
    program.signal(Signal::KILL);
    drop(program.end());
    let left = exectrace::unpin(Path::new(&pin)).expect("a pin");
    // The position is committed a second after a probe at the latest, so of four probes two are beyond doubt.
    let of_a_probe = 250;
    assert!(left.progress.position >= 2 * of_a_probe, "{left:?}");
    assert_eq!(left.seen, 0, "{left:?}");
}

#[test]
fn root_a_kernel_program_that_sees_nothing_is_found_out() {
    let bpf = BpfFs::new();
    let mut workspace = Workspace::new();
    let (number, pin) = (workspace.number(), bpf.pin());
    let mut program = trace(&["--pid-ns", &number, "--pin", &pin, "--watchdog", "1s"]);
    workspace.tell("/bin/true before");
    program.wait_for_exec("/bin/true before");
    let index = Index::pinned_in(&pin);
    index.wipe();
    workspace.tell("/bin/true unseen");
    // That it is an error the schema says.
    let blind = program.wait_for_line("watchdog");
    let told = blind.field("watchdog");
    assert_eq!((&told["seen"], &told["missed"]), (&false.into(), &1.into()));
    let words = "did not see what exectrace itself executed";
    let message = program.stderr.wait_for(words, |line| line.contains(words));
    assert!(message.contains("\"level\":\"ERROR\"") && message.contains("restart exectrace"), "{message}");
    index.restore();
    let sees = loop {
        let line = program.wait_for_line("watchdog");
        if line.field("watchdog")["seen"] == true {
            break line;
        }
    };
    program.wait_for_message("sees what is executed again");
    workspace.tell("/bin/true after");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert_eq!(cmdlines(&log), ["/bin/true before", "/bin/true after"]);
    let missed = sees.field("watchdog")["missed"].as_u64().expect("a number");
    let unseen = with_msg(&log, "watchdog").iter().filter(|line| line.field("watchdog")["seen"] == false).count();
    assert_eq!(missed, unseen as u64, "one line for each probe that was not seen");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log");
    fs::write(&path, stopped.text()).expect("a file");
    let verdict = Verdict::on(&path, &[]);
    assert_eq!(verdict.code, Some(1), "{:#}", verdict.report);
    let findings = verdict.report["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|finding| finding["kind"] == "blind").unwrap_or_else(|| panic!("{findings:#?}"));
    let (from, to) = (finding["from_line"].as_u64(), finding["to_line"].as_u64());
    assert!(from <= blind.line_number() && to >= sees.line_number().map(|line| line - 1), "{finding:#}");
}

#[test]
fn root_a_kernel_program_that_sees_is_not_talked_about() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut program = trace(&[&["--pid-ns", &number][..], &EVERY_SECOND].concat());
    wait_for_intervals(&mut program, 4);
    workspace.tell("/bin/true x");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert!(with_msg(&log, "watchdog").is_empty(), "{log:?}");
    assert_eq!(cmdlines(&log), ["/bin/true x"]);
    assert_eq!(log[log.len() - 2].field("ledger")["seen"], 1, "a probe is nothing that the workspace did");
    let scopes = log[0].field("start")["scopes"].as_array().expect("scopes");
    assert_eq!(scopes.len(), 1, "{scopes:?}");
}

/// Rules that leave out everything leave the watchdog its probes.
#[test]
fn root_exclusions_do_not_blind_the_watchdog() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let options = ["--pid-ns", &number, "--exclude-uid", "0", "--exclude-path", "/"];
    let mut program = trace(&[&options[..], &EVERY_SECOND].concat());
    wait_for_intervals(&mut program, 4);
    workspace.tell("/bin/true x");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert!(with_msg(&log, "watchdog").is_empty(), "{log:?}");
    let ledger = log[log.len() - 2].field("ledger");
    assert_eq!((&ledger["seen"], &ledger["excluded"]["rule"]), (&1.into(), &1.into()), "{ledger}");
    assert_eq!(ledger["rules"], serde_json::json!([{ "rule": "uid=0", "execs": 1 }, { "rule": "path=/", "execs": 0 }]));
}

/// Another one sees them, so they are not merely not executed.
#[test]
fn root_what_exectrace_executes_is_hidden_in_its_own_log_alone() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner_log = folder.path().join("log").display().to_string();
    let outer = trace(&["--pid-ns", &number]);
    let options = EVERY_SECOND.join(" ");
    let command = format!("{EXECTRACE} sidecar --use-local-pidns {options} --log {inner_log}");
    let pid = workspace.ask(&format!("{command} & echo $!"));
    workspace.wait_for_message("tracing the PID namespace of this container");
    workspace.wait_for_lines(&inner_log, "\"msg\":\"ledger\"", 3);
    workspace.tell("/bin/true x");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let (_, stopped) = outer.stop();
    let inner = Line::parse_all(&fs::read_to_string(&inner_log).expect("the log"));
    assert_eq!(cmdlines(&inner), ["/bin/true x"]);
    let outer = stopped.log();
    let probes: Vec<_> = cmdlines(&outer).into_iter().filter(|line| line.starts_with(PROBE)).collect();
    assert!(probes.len() >= 3, "{:?}", cmdlines(&outer));
    assert_eq!(probes[..2], ["exectrace-watchdog 1", "exectrace-watchdog 2"]);
}

#[test]
fn root_without_a_watchdog_nothing_is_executed() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let inner_log = folder.path().join("log").display().to_string();
    let outer = trace(&["--pid-ns", &number]);
    let options = "--watchdog 0 --ledger-interval 1s";
    let command = format!("{EXECTRACE} sidecar --use-local-pidns {options} --log {inner_log}");
    let pid = workspace.ask(&format!("{command} & echo $!"));
    workspace.wait_for_message("tracing the PID namespace of this container");
    workspace.wait_for_lines(&inner_log, "\"msg\":\"ledger\"", 2);
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let (_, stopped) = outer.stop();
    assert_eq!(cmdlines(&stopped.log()), [command]);
}

#[test]
fn root_in_the_cgroup_that_it_traces_exectrace_logs_nothing_of_itself() {
    let Some(cgroup) = CgroupFolder::new() else { return };
    let mut workspace = Workspace::shared();
    cgroup.add(workspace.pid());
    let path = cgroup.path().to_str().expect("a path in UTF-8");
    // It moves there before it begins.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"", "sh", path, EXECTRACE, "trace"]);
    let mut program = Program::start(command.args(["--cgroup", path]).args(EVERY_SECOND));
    program.wait_for_message("tracing");
    let own = program.pid();
    wait_for_intervals(&mut program, 3);
    workspace.tell("/bin/true x");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert_eq!(cmdlines(&log), ["/bin/true x"]);
    assert_eq!(log[log.len() - 2].field("ledger")["seen"], 1);
    assert!(with_msg(&log, "watchdog").is_empty(), "{log:?}");
    // It is there, though, and told to be.
    assert!(with_msg(&log, "running").iter().any(|line| *line.event("pid") == own), "{log:?}");
}

#[test]
fn root_below_the_process_that_it_traces_exectrace_logs_nothing_of_itself() {
    let mut workspace = Workspace::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log").display().to_string();
    let options = EVERY_SECOND.join(" ");
    let pid = workspace.ask(&format!("{EXECTRACE} trace --pid $$ {options} --log {log} & echo $!"));
    workspace.wait_for_message("tracing");
    workspace.wait_for_lines(&log, "\"msg\":\"ledger\"", 3);
    workspace.tell("/bin/true x");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let lines = Line::parse_all(&fs::read_to_string(&log).expect("the log"));
    assert_eq!(cmdlines(&lines), ["/bin/true x"]);
    assert!(with_msg(&lines, "watchdog").is_empty(), "{lines:?}");
    assert_eq!(lines[lines.len() - 2].field("ledger")["seen"], 1);
}

#[test]
fn root_ends_and_failures_of_probes_are_not_logged_either() {
    let mut workspace = Workspace::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log").display().to_string();
    let options = EVERY_SECOND.join(" ");
    let pid = workspace.ask(&format!("{EXECTRACE} trace --pid $$ {options} --exits --log {log} & echo $!"));
    workspace.wait_for_message("tracing");
    workspace.wait_for_lines(&log, "\"msg\":\"ledger\"", 3);
    workspace.tell("/bin/true x");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let lines = Line::parse_all(&fs::read_to_string(&log).expect("the log"));
    assert_eq!((cmdlines(&lines), with_msg(&lines, "exit").len()), (vec!["/bin/true x"], 1));
    assert_eq!(lines[lines.len() - 2].field("ledger")["exits"]["seen"], 1);
}

/// `run` ends with its command and has none.
#[test]
fn root_a_command_is_run_without_a_watchdog() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let outer = trace(&["--pid-ns", &number]);
    let command = format!("{EXECTRACE} run --log /dev/null /bin/true");
    workspace.tell(&command);
    let (_, stopped) = outer.stop();
    assert_eq!(cmdlines(&stopped.log()), [&command, "/bin/true"]);
}

/// As the first process of its container it gets the orphans of those who enter the container. What these execute is not
/// its own.
#[test]
fn root_an_orphan_that_exectrace_inherits_is_logged() {
    let Some(cgroup) = CgroupFolder::new() else { return };
    let path = cgroup.path().to_str().expect("a path in UTF-8");
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", EXECTRACE, "trace", "--cgroup", path]);
    let mut program = Program::start(command.args(["--watchdog", "1s"]));
    program.wait_for_message("tracing");
    let mut workspace = Workspace::beside_the_child_of(program.pid(), &cgroup);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fifo = folder.path().join("go").display().to_string();
    workspace.tell(&format!("mkfifo {fifo}"));
    // Its parent is gone when it goes on.
    workspace.tell(&format!("sh -c '(read go <{fifo}; exec /bin/true orphan) &'; echo go >{fifo}"));
    let orphan = program.wait_for_exec("/bin/true orphan");
    assert_eq!(*orphan.event("ppid"), first_child_of(program.pid()));
}

fn first_child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process of ours");
    children.split(' ').next().and_then(|child| child.parse().ok()).expect("a child")
}
