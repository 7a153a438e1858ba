//! The log as a stream that accounts for itself: who watches, what ran already, numbered lines, the books, the end, and
//! the chain that shows what was changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::line::{Line, cmdlines, with_msg};
use crate::program::{Ended, Program, exectrace};
use crate::trace::trace;
use crate::workspace::{CgroupFolder, Workspace};

/// A folder with a log.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of the log.
    fn log(&self) -> String {
        self.path("log").to_str().expect("a path in UTF-8").to_owned()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).expect("the log")
    }

    #[track_caller]
    fn lines(&self) -> Vec<Line> {
        Line::parse_all(&self.text())
    }

    /// `exectrace run` of a command that the log tells.
    #[track_caller]
    fn run(&self, options: &[&str], word: &str) {
        let ended = Ended::of(exectrace(["run", "--log", &self.log()]).args(options).args(["--", "/bin/true", word]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    /// A trace of the workspace that saw one exec.
    #[track_caller]
    fn trace(&self, workspace: &mut Workspace, number: &str, options: &[&str], word: &str) {
        let program = trace(&[&["--pid-ns", number, "--log", &self.log()], options].concat());
        workspace.tell(&format!("/bin/true {word}"));
        let (_, stopped) = program.stop();
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
    }

    /// What `verify` says of the log.
    #[track_caller]
    fn verify(&self, options: &[&str]) -> Verdict {
        Verdict::on(Path::new(&self.log()), options)
    }
}

/// Exit code and report of `verify`.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
}

impl Verdict {
    #[track_caller]
    pub(crate) fn on(log: &Path, options: &[&str]) -> Verdict {
        let ended = Ended::of(exectrace(["verify", "-o", "json"]).args(options).arg(log));
        let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        Verdict { code: ended.code, report }
    }

    #[track_caller]
    pub(crate) fn is_whole(&self) {
        assert_eq!((self.code, &self.report["findings"]), (Some(0), &Value::Array(vec![])), "{:#}", self.report);
    }

    /// Kinds of the findings, in their order.
    #[track_caller]
    pub(crate) fn kinds(&self) -> Vec<&str> {
        let findings = self.report["findings"].as_array().expect("findings");
        findings.iter().map(|finding| finding["kind"].as_str().expect("a kind")).collect()
    }
}

#[track_caller]
fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name}: {value}"))
}

#[track_caller]
fn sum(value: &Value, name: &str) -> u64 {
    let counts = value[name].as_object().unwrap_or_else(|| panic!("no {name}: {value}"));
    counts.values().map(|count| count.as_u64().expect("a count")).sum()
}

/// Each ledger's sums, and that each begins where the one before it ended.
#[track_caller]
pub(crate) fn assert_books_agree(log: &[Line]) {
    let mut next = 1;
    let (mut execs, mut lost) = (0, 0);
    for line in log {
        execs += u64::from(line.is_exec());
        lost += if line.is_exec() { 0 } else { line.execs() };
        if line.msg() != "ledger" {
            continue;
        }
        let (ledger, own) = (line.field("ledger"), line.line_number().expect("a number"));
        assert_eq!((count(ledger, "first"), count(ledger, "last")), (next, own - 1), "{ledger}");
        assert_eq!((count(ledger, "written"), sum(ledger, "lost")), (execs, lost), "{ledger}");
        let accounted = execs + lost + sum(ledger, "excluded") + count(ledger, "waiting");
        assert_eq!(count(ledger, "seen"), accounted, "{ledger}");
        next = own + 1;
    }
    let end: Vec<_> = log.iter().rev().take(2).map(Line::msg).collect();
    assert_eq!(end, ["stop", "ledger"]);
    assert_eq!(log[log.len() - 2].field("ledger")["waiting"], 0);
}

#[test]
fn root_a_log_begins_with_who_watches_what() {
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    let (_, stopped) = trace(&["--pid-ns", &namespace]).stop();
    let log = stopped.log();
    assert_eq!((log[0].msg(), log[0].line_number()), ("start", Some(1)));
    let start = log[0].field("start");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    for (name, file) in [("kernel", "osrelease"), ("boot_id", "random/boot_id")] {
        let path = Path::new("/proc/sys/kernel").join(file);
        assert_eq!(start[name], fs::read_to_string(path).expect("/proc is mounted").trim());
    }
    assert_eq!(start["scopes"], serde_json::json!([{ "scope": 1, "kind": "pid_ns", "of": namespace }]));
    for absent in ["chained", "unwatched", "resumed"] {
        assert!(start[absent].is_null(), "{absent}: {start}");
    }
}

#[test]
fn root_equal_settings_have_one_name_and_different_ones_have_others() {
    let settings = |options: &[&str]| {
        let folder = Folder::new();
        folder.run(options, "x");
        folder.lines()[0].field("start")["settings"].as_str().expect("a hash").to_owned()
    };
    let usual = settings(&[]);
    assert_eq!(settings(&[]), usual);
    // What changes no line that tells of the workspace changes no settings.
    assert_eq!(settings(&["--ledger-interval", "7s", "--queue-size", "1MiB", "--chain"]), usual);
    let mut names = vec![usual];
    for options in [
        &["--exits"][..],
        &["--fields", "full"],
        &["--max-args-bytes", "7"],
        &["--read-args-bytes", "7"],
        &["--exclude-uid", "7"],
        &["--exclude-uid", "8"],
        &["--exclude-path", "/usr/"],
    ] {
        let name = settings(options);
        assert!(!names.contains(&name), "{options:?}");
        names.push(name);
    }
}

/// A shell and what it started before anybody looked.
#[track_caller]
fn with_a_sleep(mut workspace: Workspace) -> Workspace {
    workspace.tell("sleep 600 & sleep=$!; until read -r comm </proc/$sleep/comm && [ \"$comm\" = sleep ]; do :; done");
    workspace
}

/// What a workspace can make of it must not fill the log: the oldest are told, and of each the first of its arguments.
#[test]
fn root_the_snapshot_has_bounds_and_says_where_it_ends() {
    const PROCESSES: usize = 1_100;
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let spawn = format!("i=0; while [ $i -lt {PROCESSES} ]; do sleep 600 & i=$((i+1)); done");
    workspace.tell(&format!("sh -c 'sleep 600; :' sh $(printf %05000d 0) & {spawn}"));
    let program = trace(&["--pid-ns", &number]);
    let messages: Vec<Line> = program.stderr.seen().iter().map(|line| Line::parse(line)).collect();
    let message = messages.iter().find(|line| line.msg().contains("the oldest are told")).expect("a warning");
    assert!(message.field("processes").as_u64() >= Some(PROCESSES as u64), "{message:?}");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    let running = with_msg(&log, "running");
    assert_eq!((running.len(), log[0].field("start")["running"].as_u64()), (1024, Some(1024)));
    // The shell is the oldest, and its first child has more arguments than are kept.
    let cut: Vec<_> = running.iter().filter(|line| line.event("truncated") == true).collect();
    assert_eq!(cut.len(), 1, "{cut:?}");
    let words = cut[0].event("argv").as_array().expect("argv");
    let kept: usize = words.iter().map(|word| word.as_str().map_or(0, str::len)).sum();
    assert_eq!(kept + words.len() - 1, 4096, "with the NULs between them");
}

/// The snapshot of these targets holds the shell and its child, oldest first, and tells of no exec.
#[track_caller]
fn assert_snapshot(mut workspace: Workspace, target: &[&str]) {
    let program = trace(target);
    workspace.tell("/bin/true new");
    let (_, stopped) = program.stop();
    workspace.tell("kill $sleep");
    let log = stopped.log();
    let running = with_msg(&log, "running");
    let told: Vec<_> = running.iter().map(|line| line.field("cmdline").as_str().expect("a command line")).collect();
    assert_eq!(told, ["sh", "sleep 600"], "{target:?}");
    assert_eq!(log[0].field("start")["running"], running.len(), "{target:?}");
    assert_eq!(log[1..3].iter().map(Line::msg).collect::<Vec<_>>(), ["running", "running"], "right after the start");
    assert_eq!(running[1].event("snapshot"), true);
    assert_eq!(running[1].event("ppid"), running[0].event("pid"));
    assert_eq!(running[1].event("argv"), &serde_json::json!(["sleep", "600"]));
    assert!(running[1].event_text("exe").is_some_and(|exe| exe.starts_with('/')), "{running:?}");
    assert!(running[1].event("id").is_null(), "nobody saw its exec");
    assert_eq!(cmdlines(&log), ["/bin/true new"], "{target:?}");
    assert_eq!(log[log.len() - 2].field("ledger")["seen"], 1, "what ran already was not seen");
}

#[test]
fn root_what_runs_already_is_told_as_such() {
    let mut workspace = with_a_sleep(Workspace::new());
    let number = workspace.number();
    assert_snapshot(workspace, &["--pid-ns", &number]);
    let workspace = with_a_sleep(Workspace::shared());
    let pid = workspace.pid().to_string();
    assert_snapshot(workspace, &["--pid", &pid]);
}

#[test]
fn root_what_runs_in_a_cgroup_already_is_told_as_such() {
    let Some(cgroup) = CgroupFolder::new() else { return };
    let workspace = Workspace::shared();
    cgroup.add(workspace.pid());
    assert_snapshot(with_a_sleep(workspace), &["--cgroup", cgroup.path().to_str().expect("a path in UTF-8")]);
}

/// Where the namespace cannot be looked into, that is told by the absence of a number, which is not zero.
#[test]
fn root_what_runs_already_and_cannot_be_seen_is_not_told_to_be_nothing() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut command = std::process::Command::new("setpriv");
    command.args(crate::workspace::ONLY_WHAT_TRACING_NEEDS);
    let mut program = Program::start(command.args([crate::program::EXECTRACE, "trace", "--pid-ns", &number]));
    program.wait_for_message("tracing");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert!(log[0].field("start")["running"].is_null(), "{:?}", log[0]);
    assert!(with_msg(&log, "running").is_empty());
}

#[test]
fn root_the_books_are_written_down_as_often_as_asked_for_and_at_the_end() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut program = trace(&["--pid-ns", &number, "--ledger-interval", "1s", "--exclude-uid", "65534"]);
    workspace.tell("/bin/true one; /bin/true two");
    let ledger = loop {
        let ledger = program.wait_for_line("ledger").field("ledger").clone();
        if ledger["written"] == 2 {
            break ledger;
        }
    };
    assert_eq!((count(&ledger, "seen"), count(&ledger, "waiting")), (2, 0));
    // Also of a scope in which nothing happens.
    assert_eq!(program.wait_for_line("ledger").field("ledger")["written"], 2);
    workspace.tell("setpriv --reuid=65534 /bin/true nobody; /bin/true three");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    assert_books_agree(&log);
    assert!(with_msg(&log, "ledger").len() >= 3);
    let last = log[log.len() - 2].field("ledger");
    assert_eq!((count(last, "seen"), count(last, "written")), (5, 4));
    assert_eq!(last["excluded"], serde_json::json!({ "rule": 1 }));
    assert_eq!(last["rules"], serde_json::json!([{ "rule": "uid=65534", "execs": 1 }]));
}

#[test]
fn root_without_an_interval_the_books_are_written_down_at_the_end_alone() {
    let folder = Folder::new();
    folder.run(&["--ledger-interval", "0"], "x");
    let lines = folder.lines();
    assert_eq!(lines.iter().map(Line::msg).collect::<Vec<_>>(), ["start", "exec", "ledger", "stop"]);
    assert_books_agree(&lines);
}

#[test]
fn root_the_end_of_a_log_says_why() {
    let folder = Folder::new();
    folder.run(&[], "x");
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    let (_, stopped) = trace(&["--pid-ns", &namespace]).stop();
    for (log, why) in [(folder.lines(), "command_ended"), (stopped.log(), "signal")] {
        let stop = log.last().expect("a line").field("stop");
        assert_eq!((&stop["why"], &stop["pinned"]), (&why.into(), &Value::Null));
        assert_books_agree(&log);
    }
}

#[test]
fn root_a_fresh_log_is_whole() {
    let folder = Folder::new();
    folder.run(&[], "x");
    let verdict = folder.verify(&[]);
    verdict.is_whole();
    assert_eq!(verdict.report["totals"]["execs"], 1);
    let folder = Folder::new();
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    folder.trace(&mut workspace, &namespace, &[], "x");
    folder.verify(&[]).is_whole();
    let folder = Folder::new();
    folder.trace(&mut workspace, &namespace, &["--fields", "seed", "--exits"], "x");
    folder.verify(&[]).is_whole();
}

fn time_of(line: &str) -> Value {
    serde_json::from_str::<Value>(line).expect("JSON")["ts"].clone()
}

#[test]
fn root_a_run_that_goes_on_with_a_log_says_how_long_nobody_watched() {
    let folder = Folder::new();
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    folder.trace(&mut workspace, &namespace, &[], "one");
    let last = folder.text().lines().last().expect("a line").to_owned();
    workspace.tell("/bin/true between");
    folder.trace(&mut workspace, &namespace, &[], "two");
    let lines = folder.lines();
    assert_eq!(cmdlines(&lines), ["/bin/true one", "/bin/true two"]);
    let starts = with_msg(&lines, "start");
    assert_eq!(starts.len(), 2);
    assert_ne!(starts[0].run(), starts[1].run());
    let unwatched = &starts[1].field("start")["unwatched"];
    assert_eq!(unwatched["from"], time_of(&last));
    assert!(unwatched["from"].as_str() < unwatched["to"].as_str(), "{unwatched}");
    let verdict = folder.verify(&[]);
    assert_eq!((verdict.code, verdict.kinds()), (Some(1), vec!["unwatched"]), "{:#}", verdict.report);
}

#[test]
fn root_a_log_that_ends_within_a_line_goes_on_with_a_new_one() {
    let folder = Folder::new();
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    folder.trace(&mut workspace, &namespace, &[], "one");
    let first = folder.text();
    let torn = "{\"ts\":\"2026-01-01T00:00:00.000000000Z\",\"lev";
    fs::write(folder.log(), format!("{first}{torn}")).expect("a file");
    folder.trace(&mut workspace, &namespace, &[], "two");
    let text = folder.text();
    let rest = text.strip_prefix(&format!("{first}{torn}\n")).expect("what was there is as it was");
    let second = Line::parse_all(rest);
    assert_eq!((second[0].msg(), cmdlines(&second)), ("start", vec!["/bin/true two"]));
    assert_eq!(second[0].field("start")["unwatched"]["from"], time_of(first.lines().last().expect("a line")));
    let verdict = folder.verify(&[]);
    assert_eq!(verdict.code, Some(1));
    assert!(verdict.kinds().contains(&"torn"), "{:#}", verdict.report);
}

/// A log that somebody else began is gone on with and not taken for ours.
#[test]
fn root_a_file_of_something_else_is_no_run_before() {
    let folder = Folder::new();
    fs::write(folder.log(), "hello\n").expect("a file");
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    folder.trace(&mut workspace, &namespace, &[], "one");
    let text = folder.text();
    let lines = Line::parse_all(text.strip_prefix("hello\n").expect("what was there is as it was"));
    assert!(lines[0].field("start")["unwatched"].is_null());
}

/// Between two commands nobody was to watch.
#[test]
fn root_a_command_has_no_time_before_it_that_somebody_should_have_watched() {
    let folder = Folder::new();
    folder.run(&[], "one");
    folder.run(&[], "two");
    let lines = folder.lines();
    let starts = with_msg(&lines, "start");
    assert_eq!(starts.len(), 2);
    for start in starts {
        assert!(start.field("start")["unwatched"].is_null(), "{start:?}");
    }
    folder.verify(&[]).is_whole();
}

const KEY: &str = "a key for the tests alone\n";

/// Puts another word into the line of an exec, as who wants to hide it would.
#[track_caller]
fn edit(folder: &Folder) {
    let text = folder.text();
    assert!(text.contains("secret"));
    fs::write(folder.log(), text.replace("secret", "lesson")).expect("a file");
}

#[test]
fn root_a_chained_log_shows_an_edit() {
    let folder = Folder::new();
    folder.run(&["--chain"], "secret");
    let lines = folder.lines();
    assert_eq!(lines[0].field("start")["chained"], "sha256");
    assert!(lines.iter().all(|line| line.body().is_some_and(|body| body["chain"].is_string())), "{lines:?}");
    folder.verify(&[]).is_whole();
    edit(&folder);
    let verdict = folder.verify(&[]);
    assert_eq!((verdict.code, &verdict.report["verdict"]), (Some(1), &"tampered".into()), "{:#}", verdict.report);
}

#[test]
fn root_a_log_with_a_key_can_be_checked_with_the_key_alone() {
    let folder = Folder::new();
    let key = folder.path("key");
    fs::write(&key, KEY).expect("a file");
    let key = key.to_str().expect("a path in UTF-8");
    folder.run(&["--chain-key", key], "secret");
    assert_eq!(folder.lines()[0].field("start")["chained"], "hmac-sha256");
    assert!(!folder.text().contains(KEY.trim_end()));
    folder.verify(&["--chain-key", key]).is_whole();
    let without = folder.verify(&[]);
    assert_eq!((without.code, without.kinds()), (Some(1), vec!["unchecked"]), "{:#}", without.report);
    edit(&folder);
    let verdict = folder.verify(&["--chain-key", key]);
    assert_eq!((verdict.code, verdict.kinds()), (Some(1), vec!["edited"]), "{:#}", verdict.report);
    assert_eq!(verdict.report["findings"][0]["from_line"], 2);
}

/// Also over several runs, each of which begins anew.
#[test]
fn root_runs_of_one_log_are_chained_each_for_itself() {
    let folder = Folder::new();
    let key = folder.path("key");
    fs::write(&key, KEY).expect("a file");
    let key = key.to_str().expect("a path in UTF-8");
    folder.run(&["--chain-key", key], "one");
    folder.run(&["--chain-key", key], "two");
    folder.verify(&["--chain-key", key]).is_whole();
    // Who asks for the key gets no run for whole that anybody could have written.
    folder.run(&["--chain"], "three");
    let verdict = folder.verify(&["--chain-key", key]);
    assert_eq!((verdict.code, verdict.kinds()), (Some(1), vec!["not-keyed"]), "{:#}", verdict.report);
}

#[test]
fn root_a_key_comes_by_a_pipe_too() {
    let folder = Folder::new();
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut command = exectrace(["trace", "--pid-ns", &number, "--log", &folder.log(), "--chain-key", "/dev/stdin"]);
    let mut program = Program::start(command.stdin(Stdio::piped()));
    // Without the line break that is no part of it.
    let mut stdin = program.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, KEY.trim_end().as_bytes()).expect("exectrace reads");
    drop(stdin);
    program.wait_for_message("tracing");
    workspace.tell("/bin/true x");
    program.stop();
    let key = folder.path("key");
    fs::write(&key, KEY).expect("a file");
    folder.verify(&["--chain-key", key.to_str().expect("a path in UTF-8")]).is_whole();
}

#[test]
fn a_key_that_does_not_do_is_told_before_anything_starts() {
    let folder = Folder::new();
    let short = folder.path("short");
    fs::write(&short, "fifteen letters\n").expect("a file");
    let missing = folder.path("missing");
    for (key, why) in [(&short, "at least 16 bytes"), (&missing, "cannot be read")] {
        let key = key.to_str().expect("a path in UTF-8");
        let log = folder.log();
        let trace = Ended::of(&mut exectrace(["trace", "--all", "--log", &log, "--chain-key", key]));
        assert_eq!((trace.code, trace.stdout.as_str()), (Some(2), ""), "{trace:?}");
        let sidecar = Ended::of(&mut exectrace(["sidecar", "--log", &log, "--chain-key", key]));
        assert_eq!(sidecar.code, Some(2), "{sidecar:?}");
        let run = Ended::of(&mut exectrace(["run", "--log", &log, "--chain-key", key, "/bin/echo", "x"]));
        assert_eq!((run.code, run.stdout.as_str()), (Some(125), ""), "{run:?}");
        for ended in [trace, sidecar, run] {
            let message = ended.message();
            assert!(message.msg().contains(key) && message.msg().contains(why), "{message:?}");
        }
    }
}
