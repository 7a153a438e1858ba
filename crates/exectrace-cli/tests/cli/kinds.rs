//! What the log can tell besides execs: how processes ended, and attempts that failed.

use std::path::Path;
use std::process::Command;

use crate::line::{Line, cmdlines, with_msg};
use crate::program::{Ended, NO_FAILED_ATTEMPTS, Program, exectrace};
use crate::trace::trace;
use crate::workspace::Workspace;

/// Tells a workspace, under a trace with these options, and returns the log.
#[track_caller]
fn log_of(options: &[&str], line: &str) -> Vec<Line> {
    let (program, mut workspace) = traced(options);
    workspace.tell(line);
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    stopped.log()
}

#[track_caller]
fn traced(options: &[&str]) -> (Program, Workspace) {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    (trace(&[&["--pid-ns", &number], options].concat()), workspace)
}

/// tracefs where programs look for it, as long as the value lives.
struct Tracefs {
    is_ours: bool,
}

impl Tracefs {
    const FOLDER: &str = "/sys/kernel/tracing";

    /// `None`, and a line that says so, where it cannot be mounted or knows no system calls.
    fn mounted() -> Option<Tracefs> {
        let has_it = || Path::new(Tracefs::FOLDER).join("events/syscalls/sys_exit_execve").exists();
        if has_it() {
            return Some(Tracefs { is_ours: false });
        }
        let mounted = Command::new("mount").args(["-t", "tracefs", "tracefs", Tracefs::FOLDER]).status();
        let tracefs = Tracefs { is_ours: mounted.is_ok_and(|status| status.success()) };
        if !has_it() {
            println!("skipped: no tracefs with system calls here");
            return None;
        }
        Some(tracefs)
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = Command::new("umount").arg(Tracefs::FOLDER).status();
        }
    }
}

#[test]
fn root_the_end_of_a_process_is_told_with_its_code_or_signal() {
    let log = log_of(&["--exits"], "sh -c 'exit 7'; sh -c 'kill -KILL $$'; /bin/true");
    let (execs, exits) = (with_msg(&log, "exec"), with_msg(&log, "exit"));
    assert_eq!(execs.len(), 3);
    // Each names the exec that it is the end of.
    let of = |exec: &Line| {
        let found: Vec<_> = exits.iter().filter(|exit| exit.event("id") == exec.event("id")).collect();
        assert_eq!(found.len(), 1, "{exec:?} {exits:?}");
        assert_eq!(found[0].event("pid"), exec.event("pid"));
        (found[0].event("code").clone(), found[0].event("signal").clone())
    };
    let null = serde_json::Value::Null;
    assert_eq!(of(execs[0]), (7.into(), null.clone()));
    assert_eq!(of(execs[1]), (null.clone(), "SIGKILL".into()));
    assert_eq!(of(execs[2]), (0.into(), null));
    assert_eq!(exits.len(), 3, "of the shell nobody saw an exec");
    let account = &log[log.len() - 2].field("ledger")["exits"];
    assert_eq!((&account["seen"], &account["written"], &account["waiting"]), (&3.into(), &3.into(), &0.into()));
}

/// A process that executes twice ends once, and its end is that of what it was last.
#[test]
fn root_a_process_ends_as_what_it_executed_last() {
    let log = log_of(&["--exits"], "sh -c 'exec /bin/true last'");
    let (execs, exits) = (with_msg(&log, "exec"), with_msg(&log, "exit"));
    assert_eq!((execs.len(), exits.len()), (2, 1));
    assert_eq!(execs[1].cmdline(), "/bin/true last");
    assert_eq!(exits[0].event("id"), execs[1].event("id"));
    assert_eq!(exits[0].event_text("comm"), Some("true"));
}

#[test]
fn root_ends_are_told_only_if_asked_for() {
    let log = log_of(&[], "/bin/true");
    assert!(with_msg(&log, "exit").is_empty());
    assert!(log[log.len() - 2].field("ledger")["exits"].is_null());
}

const TRACEPOINT: [&str; 2] = ["--failed-hook", "tracepoint"];

#[test]
fn root_all_attempts_that_failed_are_told_with_the_error_s_name() {
    let Some(_tracefs) = Tracefs::mounted() else { return };
    let options = [&["--failed", "all"], &TRACEPOINT[..]].concat();
    let log = log_of(&options, "/etc/passwd 'a claim' 2>/dev/null; /nonexistent 2>/dev/null; /bin/true");
    let failed = with_msg(&log, "exec-failed");
    let told: Vec<_> = failed.iter().map(|line| (line.event_text("filename"), line.event_text("error"))).collect();
    assert_eq!(told, [(Some("/etc/passwd"), Some("EACCES")), (Some("/nonexistent"), Some("ENOENT"))]);
    assert_eq!(failed[0].field("cmdline"), "/etc/passwd 'a claim'");
    for line in &failed {
        assert_eq!((line.event("claim"), line.event_text("comm")), (&true.into(), Some("sh")), "{line:?}");
    }
    assert_eq!(cmdlines(&log), ["/bin/true"], "an attempt is no exec");
    let account = &log[log.len() - 2].field("ledger")["failed"];
    assert_eq!((&account["seen"], &account["written"], &account["waiting"]), (&2.into(), &2.into(), &0.into()));
}

#[test]
fn root_of_notable_attempts_those_of_files_that_are_not_there_are_counted() {
    let Some(_tracefs) = Tracefs::mounted() else { return };
    // Who names the hook has it used, and what is notable is the default.
    for options in [[&["--failed", "notable"], &TRACEPOINT[..]].concat(), TRACEPOINT.to_vec()] {
        let log = log_of(&options, "/etc/passwd 2>/dev/null; /nonexistent 2>/dev/null");
        let failed = with_msg(&log, "exec-failed");
        let told: Vec<_> = failed.iter().map(|line| line.event_text("error")).collect();
        assert_eq!(told, [Some("EACCES")], "{options:?}");
        let account = &log[log.len() - 2].field("ledger")["failed"];
        assert_eq!((&account["seen"], &account["written"]), (&2.into(), &1.into()), "{account}");
        assert_eq!(account["excluded"]["errno"], 1, "{account}");
    }
}

/// `None` where this machine has fexit.
fn without_fexit(words: &[&str]) -> Option<Ended> {
    let ended = Ended::of(&mut exectrace(words));
    if ended.code == Some(0) {
        println!("skipped: fexit works here");
        return None;
    }
    Some(ended)
}

#[test]
fn root_attempts_that_were_asked_for_and_cannot_be_seen_are_an_error_with_advice() {
    for options in [&["--failed", "notable"][..], &["--failed", "all"], &["--failed-hook", "fexit"]] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let started = folder.path().join("started");
        let touch = ["--", "touch", started.to_str().expect("a path in UTF-8")];
        let Some(run) = without_fexit(&[&["run", "--log", "/dev/null"], options, &touch].concat()) else { return };
        assert_eq!(run.code, Some(125), "{run:?}");
        assert!(!started.exists(), "the command is not started");
        let trace = Ended::of(exectrace(["trace", "--all"]).args(options));
        assert_eq!((trace.code, trace.stdout.as_str()), (Some(3), ""), "{trace:?}");
        for ended in [run, trace] {
            let message = ended.message();
            assert!(message.msg().contains("--failed-hook tracepoint"), "{message:?}");
        }
    }
}

#[test]
fn root_attempts_that_were_not_asked_for_are_told_to_be_out_of_sight_once_and_the_trace_goes_on() {
    if without_fexit(&["run", "--log", "/dev/null", "--failed", "all", "/bin/true"]).is_none() {
        return;
    }
    let (program, mut workspace) = traced(&[]);
    workspace.tell("/etc/passwd 2>/dev/null; /bin/true on");
    let (_, stopped) = program.stop();
    assert_eq!(cmdlines(&stopped.log()), ["/bin/true on"]);
    // That is said before it is said that the trace has begun, so this run shows it.
    let run = Ended::of(&mut exectrace(["run", "--log", "/dev/null", "/bin/true"]));
    assert_eq!(run.code, Some(0));
    let messages: Vec<Line> = run.stderr.lines().map(Line::parse).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].msg().starts_with(NO_FAILED_ATTEMPTS), "{messages:?}");
    assert!(messages[0].field("why").as_str().is_some_and(|why| why.contains("fexit")), "{messages:?}");
    let silent = Ended::of(&mut exectrace(["run", "--log", "/dev/null", "--failed", "none", "/bin/true"]));
    assert_eq!((silent.code, silent.stderr.as_str()), (Some(0), ""));
}

#[test]
fn root_people_read_of_ends_and_failures_too() {
    let Some(_tracefs) = Tracefs::mounted() else { return };
    let options = [&["-f", "text", "--exits", "--failed", "all"], &TRACEPOINT[..]].concat();
    let (program, mut workspace) = traced(&options);
    workspace.tell("/etc/passwd 'a claim' 2>/dev/null; sh -c 'exit 7'; sh -c 'kill -KILL $$'");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let has = |words: &[&str]| {
        let found = stopped.lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).count();
        assert_eq!(found, 1, "{words:?}: {:#?}", stopped.lines);
    };
    has(&["EACCES: /etc/passwd", "[/etc/passwd 'a claim']"]);
    has(&["sh: exit 7 after", "of processor time"]);
    has(&["sh: SIGKILL after"]);
    assert_eq!(stopped.lines.len(), 5, "two execs, their ends and a failure: {:#?}", stopped.lines);
}
