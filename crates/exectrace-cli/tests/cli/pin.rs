//! `--pin`: what the kernel's half saw while nobody read it is in the log of who takes over; `unpin` lets it go.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::fixture;
use crate::ledger::Verdict;
use crate::line::{Line, cmdlines, with_msg};
use crate::program::{Ended, Program, exectrace};
use crate::workspace::{BpfFs, Workspace};

/// A workspace, a pin and a log.
struct Pinned {
    // Before the file system, which can go only when nobody uses it.
    program: Option<Program>,
    workspace: Workspace,
    number: String,
    bpf: BpfFs,
    folder: TempDir,
}

impl Pinned {
    #[track_caller]
    fn new() -> Pinned {
        let mut workspace = Workspace::new();
        let number = workspace.number();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Pinned { program: None, workspace, number, bpf: BpfFs::new(), folder }
    }

    /// A trace that has begun.
    #[track_caller]
    fn started(options: &[&str]) -> Pinned {
        let mut pinned = Pinned::new();
        pinned.start(options);
        pinned
    }

    fn log(&self) -> String {
        self.folder.path().join("log").to_str().expect("a path in UTF-8").to_owned()
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        let mut command = exectrace(["trace", "--pid-ns", &self.number, "--pin", &self.bpf.pin()]);
        command.args(["--log", &self.log()]).args(options);
        command
    }

    #[track_caller]
    fn start(&mut self, options: &[&str]) {
        let mut program = Program::start(&mut self.command(options));
        program.wait_for_message("tracing");
        self.program = Some(program);
    }

    #[track_caller]
    fn kill(&mut self) {
        let program = self.program.take().expect("a trace");
        program.signal(Signal::KILL);
        assert_eq!(program.end().0.code(), None);
    }

    #[track_caller]
    fn stop(&mut self) {
        let (_, stopped) = self.program.take().expect("a trace").stop();
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
    }

    #[track_caller]
    fn run(&mut self, word: &str) {
        self.workspace.tell(&format!("/bin/true {word}"));
    }

    #[track_caller]
    fn lines(&self) -> Vec<Line> {
        Line::parse_all(&fs::read_to_string(self.log()).expect("the log"))
    }

    #[track_caller]
    fn verify(&self) -> Verdict {
        Verdict::on(Path::new(&self.log()), &[])
    }

    fn unpin(&self) -> Ended {
        unpin(&self.bpf.pin())
    }
}

fn unpin(folder: &str) -> Ended {
    Ended::of(&mut exectrace(["unpin", folder]))
}

#[track_caller]
fn messages(ended: &Ended) -> Vec<Line> {
    ended.stderr.lines().map(Line::parse).collect()
}

#[test]
fn root_a_stop_leaves_the_pin_and_says_so() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    pinned.stop();
    assert!(Path::new(&pinned.bpf.pin()).join("map_journal").exists());
    let lines = pinned.lines();
    assert_eq!(lines.last().expect("a line").field("stop")["pinned"], true);
    // What happens from now on is in the kernel, and in no log that `verify` was shown.
    let verdict = pinned.verify();
    assert_eq!((verdict.code, verdict.kinds().len()), (Some(1), 1), "{:#}", verdict.report);
    let why = verdict.report["findings"][0]["why"].as_str().expect("words").to_owned();
    assert!(why.contains("no run in these files took over"), "{why}");
}

#[test]
fn root_who_starts_after_a_stop_takes_over_and_nothing_is_missing() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    pinned.stop();
    let first = pinned.lines();
    pinned.run("between");
    pinned.start(&[]);
    pinned.run("two");
    pinned.stop();
    let lines = pinned.lines();
    assert_eq!(cmdlines(&lines), ["/bin/true one", "/bin/true between", "/bin/true two"]);
    let second = &lines[first.len()..];
    let start = second[0].field("start");
    let resumed = &start["resumed"];
    let stop = &first[first.len() - 1];
    assert_eq!(stop.msg(), "stop");
    assert_eq!((resumed["run"].as_str(), resumed["line"].as_u64()), (stop.run(), stop.line_number()), "{start}");
    assert_eq!((&resumed["seen"], &resumed["written"]), (&1.into(), &1.into()), "{start}");
    assert!(start["unwatched"].is_null() && start["running"].is_null(), "{start}");
    assert!(with_msg(second, "running").is_empty(), "a snapshot is for who begins");
    let account = second[second.len() - 2].field("ledger");
    assert_eq!((&account["seen"], &account["written"], &account["waiting"]), (&3.into(), &3.into(), &0.into()));
    pinned.unpin();
    let verdict = pinned.verify();
    // The second left a pin as well; of what was before, nothing is missing.
    assert_eq!(
        (verdict.kinds().len(), &verdict.report["findings"][0]["run"]),
        (1, &second[0].run().expect("a run").into())
    );
}

#[test]
fn root_who_starts_after_a_kill_takes_over_and_nothing_is_missing() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    let log = pinned.log();
    pinned.workspace.wait_for_lines(&log, "/bin/true", 1);
    pinned.kill();
    let first = pinned.lines();
    pinned.run("between");
    pinned.start(&[]);
    pinned.run("two");
    pinned.stop();
    let lines = pinned.lines();
    let second = &lines[first.len()..];
    let resumed = &second[0].field("start")["resumed"];
    assert_eq!(resumed["run"].as_str(), first[0].run(), "{resumed}");
    let told = cmdlines(second);
    // The exec before the kill is told again if the kill came before its commit, and is then not counted twice.
    assert_eq!(told[told.len() - 2..], ["/bin/true between", "/bin/true two"]);
    let verdict = pinned.verify();
    assert_eq!((&verdict.report["totals"]["execs"], verdict.kinds().len()), (&3.into(), 1), "{:#}", verdict.report);
    assert_eq!(verdict.report["findings"][0]["run"].as_str(), second[0].run(), "of the pin that the second left");
}

/// Two workspaces, two accounts, two runs.
#[test]
fn root_the_account_of_each_scope_goes_on_after_a_kill() {
    let mut pinned = Pinned::new();
    let mut other = Workspace::new();
    let options = ["--pid-ns", &other.number()];
    pinned.start(&options);
    pinned.run("one");
    pinned.run("two");
    other.tell("/bin/true three");
    let log = pinned.log();
    pinned.workspace.wait_for_lines(&log, "/bin/true", 3);
    pinned.kill();
    let first = pinned.lines();
    other.tell("/bin/true between");
    pinned.start(&options);
    pinned.run("four");
    pinned.stop();
    drop(pinned.unpin());
    let lines = pinned.lines();
    let second = &lines[first.len()..];
    let before = second[0].field("start")["resumed"].clone();
    let written = |account: &Value, at: usize| account["scopes"][at]["written"].as_u64().expect("a count");
    assert_eq!(written(&before, 0) + written(&before, 1), before["written"].as_u64().expect("a count"), "{before}");
    let ledger = second[second.len() - 2].field("ledger").clone();
    let of = |at: usize| ["scope", "seen", "written", "waiting"].map(|name| ledger["scopes"][at][name].as_u64());
    assert_eq!((of(0), of(1)), ([1, 3, 3, 0].map(Some), [2, 2, 2, 0].map(Some)), "{ledger}");
    let verdict = pinned.verify();
    let runs = verdict.report["runs"].as_array().expect("runs");
    let execs = |at: usize| runs.iter().map(|run| run["scopes"][at]["execs"].as_u64().expect("a count")).sum::<u64>();
    assert_eq!((execs(0), execs(1)), (3, 2), "{:#}", verdict.report);
}

/// What an output did not take before exectrace had to end is still in the ring.
#[test]
fn root_what_a_stalled_output_did_not_take_is_in_the_log_of_who_takes_over() {
    const STORM: usize = 1_000;
    let mut pinned = Pinned::new();
    let words = ["trace", "--pid-ns", &pinned.number, "--pin", &pinned.bpf.pin(), "--ring-size", "16MiB"];
    let (mut first, mut stdout) = Program::start_unread(&mut exectrace(words));
    first.wait_for_message("tracing");
    pinned.workspace.tell(&format!("i=0; while [ $i -lt {STORM} ]; do /bin/true $i; i=$((i+1)); done"));
    let (_, stopped) = first.stop();
    assert_eq!(stopped.code, Some(5), "{stopped:?}");
    let mut log = String::new();
    stdout.read_to_string(&mut log).expect("what it did take");
    assert!(log.lines().count() < STORM, "the output did not stall");
    let mut second = Program::start(&mut exectrace(words));
    second.wait_for_message("tracing");
    let (_, stopped) = second.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let second = stopped.log();
    let resumed = &second[0].field("start")["resumed"];
    assert!(resumed["written"].as_u64() < Some(STORM as u64), "{resumed}");
    fs::write(pinned.log(), format!("{}\n{}", log.trim_end_matches('\n'), stopped.text())).expect("a file");
    let verdict = pinned.verify();
    let totals = &verdict.report["totals"];
    assert_eq!((&totals["seen"], &totals["execs"]), (&STORM.into(), &STORM.into()), "{:#}", verdict.report);
    assert_eq!(totals["lost"], serde_json::json!({}));
}

#[test]
fn root_a_stop_can_take_the_pin_with_it() {
    let mut pinned = Pinned::started(&["--unpin-on-stop"]);
    pinned.run("one");
    pinned.stop();
    assert!(!Path::new(&pinned.bpf.pin()).exists());
    let lines = pinned.lines();
    assert_eq!(cmdlines(&lines), ["/bin/true one"]);
    assert!(lines.last().expect("a line").field("stop")["pinned"].is_null());
    pinned.verify().is_whole();
}

/// It is for a stop alone: a kill leaves the pin, and nothing is missing.
#[test]
fn root_a_pin_that_goes_with_a_stop_outlives_a_kill() {
    let mut pinned = Pinned::started(&["--unpin-on-stop"]);
    pinned.run("one");
    pinned.kill();
    pinned.run("between");
    pinned.start(&["--unpin-on-stop"]);
    pinned.stop();
    assert!(!Path::new(&pinned.bpf.pin()).exists());
    let verdict = pinned.verify();
    assert_eq!(verdict.report["totals"]["execs"], 2, "{:#}", verdict.report);
    assert!(verdict.kinds().iter().all(|kind| *kind == "torn"), "{:#}", verdict.report);
}

/// What it had seen by then is told by the next one, and what ran after that is a gap with a name.
#[test]
fn root_a_kill_in_the_middle_of_a_stop_that_takes_the_pin_loses_nothing_that_was_seen() {
    let mut pinned = Pinned::started(&["--unpin-on-stop"]);
    pinned.run("one");
    pinned.kill();
    pinned.run("between");
    // The stop notes when, and begins to detach: as far as it came.
    let journal = MapHandle::from_pinned_path(Path::new(&pinned.bpf.pin()).join("map_journal")).expect("a pinned map");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    journal.update(&3u32.to_ne_bytes(), &nanos.to_ne_bytes(), MapFlags::ANY).expect("a word");
    for entry in fs::read_dir(pinned.bpf.pin()).expect("the folder").map(|entry| entry.expect("an entry")) {
        if entry.file_name().to_string_lossy().starts_with("link_exec") {
            fs::remove_file(entry.path()).expect("a pinned link");
        }
    }
    pinned.run("unseen");
    pinned.start(&["--unpin-on-stop"]);
    pinned.run("two");
    pinned.stop();
    let lines = pinned.lines();
    let stops: Vec<_> = with_msg(&lines, "stop").iter().map(|line| line.field("stop")["why"].clone()).collect();
    assert_eq!(stops, ["detached", "signal"]);
    let verdict = pinned.verify();
    assert_eq!(verdict.report["totals"]["execs"], 3, "{:#}", verdict.report);
    let mut kinds = verdict.kinds();
    kinds.retain(|kind| *kind != "torn");
    assert_eq!(kinds, ["unwatched"], "{:#}", verdict.report);
    let starts = with_msg(&lines, "start");
    let unwatched = &starts[starts.len() - 1].field("start")["unwatched"];
    let at = now_minus(nanos);
    assert_eq!(unwatched["from"].as_str().map(|from| &from[..19]), Some(&at[..19]), "{unwatched}");
}

/// The wall clock's reading at a time since boot.
fn now_minus(nanos: i64) -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ago = u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec - nanos).expect("the past");
    let at = std::time::SystemTime::now() - std::time::Duration::from_nanos(ago);
    humantime::format_rfc3339_nanos(at).to_string()
}

/// Who read it comes back and wants what it missed.
#[test]
fn root_an_output_that_goes_away_is_no_word_to_give_up_the_pin() {
    let mut pinned = Pinned::new();
    let words = ["trace", "--pid-ns", &pinned.number, "--pin", &pinned.bpf.pin(), "--unpin-on-stop"];
    let (mut first, stdout) = Program::start_unread(&mut exectrace(words));
    first.wait_for_message("tracing");
    drop(stdout);
    pinned.workspace.tell("/bin/true unread");
    let (status, ..) = first.end();
    assert_eq!(status.code(), Some(5));
    pinned.start(&["--unpin-on-stop"]);
    pinned.stop();
    assert_eq!(cmdlines(&pinned.lines()), ["/bin/true unread"]);
    assert!(!Path::new(&pinned.bpf.pin()).exists());
}

/// What a kill cut in a file that a shell adds to must not swallow the start of the next run.
#[test]
fn root_a_line_that_a_kill_cut_is_ended_where_stdout_is_a_file_too() {
    let pinned = Pinned::new();
    let log = pinned.log();
    fs::write(&log, "{\"ts\":\"cut in the mi").expect("a file");
    let stdout = fs::OpenOptions::new().append(true).open(&log).expect("the file");
    let mut command = exectrace(["trace", "--pid-ns", &pinned.number]);
    let mut child = command.stdout(stdout).stderr(std::process::Stdio::piped()).spawn().expect("a program");
    let mut messages = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut message = String::new();
    while !message.contains("\"tracing\"") {
        message.clear();
        assert!(std::io::BufRead::read_line(&mut messages, &mut message).expect("a message") > 0);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).expect("ours");
    assert!(crate::program::wait(&mut child).expect("an end").success());
    let verdict = pinned.verify();
    assert_eq!(verdict.kinds(), ["torn"], "{:#}", verdict.report);
}

/// Nothing of a start that is refused gets into the log.
#[test]
fn root_a_start_that_is_refused_writes_no_line() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    pinned.stop();
    let before = fs::read_to_string(pinned.log()).expect("the log");
    let mut other = Workspace::new();
    refused(pinned.command(&["--pid-ns", &other.number()]), &["fewer scopes", "exectrace unpin"]);
    pinned.start(&[]);
    pinned.stop();
    let both = ["--pid-ns", &other.number()];
    drop(pinned.unpin());
    pinned.start(&both);
    pinned.stop();
    let during = fs::read_to_string(pinned.log()).expect("the log");
    assert!(during.starts_with(&before));
    refused(pinned.command(&[]), &["more scopes", "exectrace unpin"]);
    assert_eq!(fs::read_to_string(pinned.log()).expect("the log"), during);
}

/// Whoever gets its number next is not exectrace, and what that one starts is the workspace's.
#[test]
fn root_who_gets_the_number_of_an_exectrace_that_was_killed_is_not_taken_for_it() {
    const ATTEMPTS: usize = 20;
    let mut pinned = Pinned::started(&[]);
    let own = pinned.program.as_ref().expect("a trace").pid();
    pinned.kill();
    for _ in 0..ATTEMPTS {
        // The number before the one that the next fork of the node gets.
        if let Err(error) = fs::write("/proc/sys/kernel/ns_last_pid", (own - 1).to_string()) {
            return println!("skipped: the next process's number cannot be chosen: {error}");
        }
        pinned.workspace.tell("sh -c '/bin/true child; :'");
    }
    pinned.start(&[]);
    pinned.stop();
    let lines = pinned.lines();
    if !with_msg(&lines, "exec").iter().any(|line| line.event("pid") == own && line.cmdline().starts_with("sh")) {
        println!("skipped: somebody else got the number each time");
    }
    let children = cmdlines(&lines).into_iter().filter(|line| *line == "/bin/true child").count();
    assert_eq!(children, ATTEMPTS);
}

#[track_caller]
fn refused(mut command: std::process::Command, words: &[&str]) {
    let ended = Ended::of(&mut command);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    let message = ended.message();
    assert!(words.iter().all(|word| message.msg().contains(word)), "{words:?}: {message:?}");
}

#[test]
fn root_other_settings_are_refused_with_advice_and_the_pin_stays_as_it_is() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    pinned.stop();
    for options in [&["--exits"][..], &["--exclude-path", "/opt/seven/"], &["--ring-size", "1MiB"]] {
        refused(pinned.command(options), &[&pinned.bpf.pin(), "other settings", "exectrace unpin"]);
    }
    let mut other = Workspace::new();
    let number = other.number();
    let mut elsewhere = exectrace(["trace", "--pid-ns", &number, "--pin", &pinned.bpf.pin()]);
    elsewhere.args(["--log", &pinned.log()]);
    refused(elsewhere, &[&pinned.bpf.pin(), "something else", "exectrace unpin"]);
    pinned.run("between");
    pinned.start(&[]);
    pinned.stop();
    assert_eq!(cmdlines(&pinned.lines()), ["/bin/true one", "/bin/true between"]);
}

#[test]
fn root_a_pin_that_is_in_use_is_left_to_who_uses_it() {
    let mut pinned = Pinned::started(&[]);
    refused(pinned.command(&[]), &[&pinned.bpf.pin(), "another exectrace"]);
    let ended = pinned.unpin();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.message().msg().contains("another exectrace"), "{ended:?}");
    pinned.run("still seen");
    pinned.stop();
    assert_eq!(cmdlines(&pinned.lines()), ["/bin/true still seen"]);
}

#[test]
fn root_unpin_removes_the_pin_and_says_what_goes_with_it() {
    let mut pinned = Pinned::started(&[]);
    pinned.run("one");
    let log = pinned.log();
    pinned.workspace.wait_for_lines(&log, "/bin/true", 1);
    pinned.stop();
    for word in ["two", "three", "four"] {
        pinned.run(word);
    }
    let ended = pinned.unpin();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert!(!Path::new(&pinned.bpf.pin()).exists());
    let messages = messages(&ended);
    let removed = messages.iter().find(|line| line.msg() == "removed a pinned tracer").expect("what was removed");
    let numbers = ["scopes", "seen"].map(|name| removed.field(name).as_u64());
    assert_eq!(numbers, [Some(1), Some(4)], "{removed:?}");
    let gone = messages.iter().find(|line| line.msg().contains("that no log has")).expect("a warning");
    let numbers = ["unlogged", "unread"].map(|name| gone.field(name).as_u64());
    assert_eq!(numbers, [Some(3), Some(3)], "{gone:?}");
    // Who starts now begins anew, and says that nobody watched.
    pinned.start(&[]);
    pinned.stop();
    let lines = pinned.lines();
    let start = with_msg(&lines, "start")[1].field("start");
    assert!(start["resumed"].is_null() && start["unwatched"].is_object(), "{start}");
}

/// What proves that exectrace sees is no exec that a log should have.
#[test]
fn root_unpin_does_not_count_what_exectrace_itself_executed() {
    let mut pinned = Pinned::started(&["--watchdog", "1s", "--ledger-interval", "1s"]);
    let log = pinned.log();
    pinned.workspace.wait_for_lines(&log, "\"msg\":\"ledger\"", 2);
    pinned.run("one");
    pinned.workspace.wait_for_lines(&log, "/bin/true", 1);
    pinned.workspace.wait_for_lines(&log, "\"msg\":\"ledger\"", 4);
    pinned.kill();
    let ended = pinned.unpin();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // The only message: nothing is gone.
    let message = ended.message();
    let numbers = ["scopes", "seen"].map(|name| message.field(name).as_u64());
    assert_eq!(numbers, [Some(1), Some(1)], "{message:?}");
}

/// What found no room in the ring that nobody read is gone as well.
#[test]
fn root_unpin_counts_what_the_ring_had_no_room_for() {
    let mut pinned = Pinned::started(&["--ring-size", "128KiB"]);
    pinned.stop();
    let (storm, target) = (fixture("storm"), fixture("target"));
    pinned.workspace.tell(&format!("{storm} {target} 2 2000 100 1 >/dev/null"));
    let ended = pinned.unpin();
    let messages = messages(&ended);
    let gone = messages.iter().find(|line| line.msg().contains("that no log has")).expect("a warning");
    let [unlogged, unread] = ["unlogged", "unread"].map(|name| gone.field(name).as_u64().expect("a number"));
    assert_eq!(unlogged, 2001, "{gone:?}");
    assert!(unread > 10 && unread < 1000, "{gone:?}");
}

#[test]
fn root_unpin_says_what_is_wrong_with_a_folder() {
    let bpf = BpfFs::new();
    let plain = tempfile::tempdir().expect("a temporary folder");
    let plain_path = plain.path().to_str().expect("a path in UTF-8");
    let pin = bpf.pin();
    for (folder, why) in
        [(plain_path, "not on a bpf file system"), ("/nonexistent/pin", "cannot be opened"), (&pin, "cannot be opened")]
    {
        let ended = unpin(folder);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
        let message = ended.message();
        assert!(message.msg().contains(folder) && message.msg().contains(why), "{message:?}");
    }
    assert!(plain.path().exists());
    // Somebody else's folder is left as it is.
    let theirs = Path::new(&pin).join("theirs");
    fs::create_dir_all(&theirs).expect("a folder");
    let ended = unpin(&pin);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.message().msg().contains("theirs"), "{ended:?}");
    assert!(theirs.exists());
    fs::remove_dir(theirs).expect("a folder");
    // One that never held anything goes.
    let ended = unpin(&pin);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.message().msg().contains("never ran"), "{ended:?}");
    assert!(!Path::new(&pin).exists());
}

#[test]
fn root_a_folder_that_cannot_hold_a_pin_is_told_with_advice() {
    let plain = tempfile::tempdir().expect("a temporary folder");
    let pin = plain.path().join("pin").display().to_string();
    refused(exectrace(["trace", "--all", "--pin", &pin]), &[&pin, "mount -t bpf"]);
    // Whoever can write there could put something else in the place of what is pinned.
    let bpf = BpfFs::new();
    let pin = bpf.pin();
    fs::create_dir(&pin).expect("a folder");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o777)).expect("a folder of ours");
    refused(exectrace(["trace", "--all", "--pin", &pin]), &[&pin, "chmod go-w"]);
    fs::remove_dir(&pin).expect("an empty folder");
}

#[test]
fn root_a_sidecar_takes_over_without_a_second_handshake() {
    let bpf = BpfFs::new();
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log").display().to_string();
    let words = ["sidecar", "--init-address", "127.0.0.1:0", "--pin", &bpf.pin(), "--log", &log, "--label", "a=b"];
    let mut program = Program::start(&mut exectrace(words));
    let message = program.wait_for_message("waiting for the workspace's PID namespace");
    let address = message.field("address").as_str().expect("an address").parse().expect("an address");
    crate::sidecar::accepted(&crate::sidecar::post(address, "", &number));
    workspace.tell("/bin/true one");
    workspace.wait_for_lines(&log, "/bin/true", 1);
    program.signal(Signal::KILL);
    assert_eq!(program.end().0.code(), None);
    workspace.tell("/bin/true between");
    let mut program = Program::start(&mut exectrace(words));
    program.wait_for_message("a pinned tracer knows");
    workspace.tell("/bin/true two");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let lines = Line::parse_all(&fs::read_to_string(&log).expect("the log"));
    let starts = with_msg(&lines, "start");
    assert_eq!(starts[1].field("start")["resumed"]["run"].as_str(), starts[0].run());
    let told = cmdlines(&lines);
    assert_eq!((told[0], &told[told.len() - 2..]), ("/bin/true one", &["/bin/true between", "/bin/true two"][..]));
    assert!(lines.iter().all(|line| line.label("a") == Some("b")));
    let verdict = Verdict::on(Path::new(&log), &[]);
    assert_eq!((&verdict.report["totals"]["execs"], verdict.kinds().len()), (&3.into(), 1), "{:#}", verdict.report);
}
