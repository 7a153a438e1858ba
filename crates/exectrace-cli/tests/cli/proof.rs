//! Whatever happens to exectrace, its log says how many execs there were: those that are in it, those that were left out
//! and those that were lost are all that ran, exactly, and `verify` says the same.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::disk::SmallDisk;
use crate::fixtures::fixture;
use crate::program::{Ended, Program, exectrace};
use crate::workspace::{BpfFs, Workspace};

/// A workspace, and the log of it.
struct Proof {
    // Before the workspace, so that the tracer ends before the namespace does.
    program: Option<Program>,
    workspace: Workspace,
    /// Of its PID namespace.
    number: String,
    log: PathBuf,
    /// Execs of the workspace so far.
    ran: u64,
    _folder: tempfile::TempDir,
}

impl Proof {
    /// A trace with these options, whose log is a file.
    #[track_caller]
    fn begin(options: &[&str]) -> Proof {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        Proof::with(folder, log, options)
    }

    #[track_caller]
    fn with(folder: tempfile::TempDir, log: PathBuf, options: &[&str]) -> Proof {
        let mut proof = Proof::without_a_trace(folder, log);
        proof.program = Some(proof.trace(options));
        proof
    }

    #[track_caller]
    fn without_a_trace(folder: tempfile::TempDir, log: PathBuf) -> Proof {
        let mut workspace = Workspace::new();
        // Asked once, before anybody looks: it takes an exec.
        let number = workspace.number();
        Proof { program: None, workspace, number, log, ran: 0, _folder: folder }
    }

    #[track_caller]
    fn trace(&self, options: &[&str]) -> Program {
        let mut command = exectrace(["trace", "--pid-ns", &self.number, "--log"]);
        command.arg(&self.log).args(options);
        let mut program = Program::start(&mut command);
        program.wait_for_message("tracing");
        program
    }

    /// Runs a storm to its end: `count` execs and its own.
    #[track_caller]
    fn storm(&mut self, count: u64, bytes: u64, args: u64) {
        let (storm, target) = (fixture("storm"), fixture("target"));
        self.workspace.tell(&format!("{storm} {target} 2 {count} {bytes} {args} >/dev/null"));
        self.ran += count + 1;
    }

    fn pid(&self) -> u32 {
        self.program.as_ref().expect("a trace").pid()
    }

    fn signal(&self, signal: Signal) {
        self.program.as_ref().expect("a trace").signal(signal);
    }

    /// Ends the trace and compares what its log and `verify` say with what ran.
    #[track_caller]
    fn end(mut self) -> Verdict {
        if let Some(program) = self.program.take() {
            program.stop();
        }
        Verdict::on(&self.log, self.ran)
    }
}

/// What `verify` says of a log in which `ran` execs must be accounted for.
#[derive(Debug)]
struct Verdict {
    code: Option<i32>,
    report: Value,
    execs: u64,
    excluded: u64,
    lost: u64,
}

impl Verdict {
    #[track_caller]
    fn on(log: &Path, ran: u64) -> Verdict {
        let ended = Ended::of(exectrace(["verify", "-o", "json"]).arg(log));
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let totals = &report["totals"];
        let sum = |reasons: &Value| -> u64 {
            reasons.as_object().expect("reasons").values().map(|count| count.as_u64().expect("a count")).sum()
        };
        let number = |name: &str| totals[name].as_u64().expect(name);
        let (execs, excluded, lost) = (number("execs"), sum(&totals["excluded"]), sum(&totals["lost"]));
        println!("{execs} in the log, {excluded} excluded, {} lost, of {ran}", totals["lost"]);
        assert_eq!(execs + excluded + lost, ran, "{report:#}");
        assert_eq!(number("seen"), ran, "{report:#}");
        Verdict { code: ended.code, report, execs, excluded, lost }
    }

    /// Nothing is missing.
    #[track_caller]
    fn is_whole(&self) {
        assert_eq!((self.code, self.lost), (Some(0), 0), "{:#}", self.report);
    }

    /// Findings of these kinds, and no others.
    #[track_caller]
    fn has_findings_of(&self, kinds: &[&str]) {
        for finding in self.report["findings"].as_array().expect("findings") {
            assert!(kinds.contains(&finding["kind"].as_str().expect("a kind")), "{finding:#}");
        }
    }

    /// Nothing is missing but what the log itself says is lost.
    #[track_caller]
    fn names_all_gaps(&self) {
        if self.lost == 0 {
            return self.is_whole();
        }
        assert_eq!((self.code, &self.report["verdict"]), (Some(1), &"gaps".into()), "{:#}", self.report);
        let findings = self.report["findings"].as_array().expect("findings");
        let named: u64 = findings.iter().map(|finding| finding["execs"].as_u64().expect("a number")).sum();
        assert_eq!(named, self.lost, "{:#}", self.report);
    }
}

#[test]
fn root_20_000_execs_at_full_speed() {
    let mut proof = Proof::begin(&[]);
    proof.storm(20_000, 0, 0);
    proof.end().is_whole();
}

#[test]
fn root_20_000_execs_with_4_kib_of_arguments() {
    let mut proof = Proof::begin(&["--chain"]);
    proof.storm(20_000, 4096, 1);
    proof.end().names_all_gaps();
}

#[test]
fn root_10_000_execs_with_30_arguments_of_1_kb() {
    let mut proof = Proof::begin(&[]);
    proof.storm(10_000, 1000, 30);
    proof.end().names_all_gaps();
}

#[test]
fn root_2_mib_of_arguments_on_both_processors() {
    let mut proof = Proof::begin(&[]);
    proof.storm(100, 131_071, 15);
    proof.end().names_all_gaps();
}

#[test]
fn root_a_reader_that_stands_still_for_a_whole_storm() {
    let mut proof = Proof::begin(&["--ring-size", "256KiB"]);
    proof.signal(Signal::STOP);
    proof.storm(20_000, 100, 1);
    proof.signal(Signal::CONT);
    let verdict = proof.end();
    assert!(verdict.lost > 1000 && verdict.execs > 100, "{verdict:?}");
    verdict.names_all_gaps();
}

/// What does not fit into the queue waits in the ring, as long as the output takes something.
#[test]
fn root_a_queue_that_is_much_smaller_than_what_comes() {
    let mut proof = Proof::begin(&["--queue-size", "16KiB", "--ring-size", "16MiB"]);
    proof.storm(20_000, 100, 1);
    proof.end().is_whole();
}

#[test]
fn root_an_output_that_stalls() {
    let mut proof = Proof::without_a_trace(tempfile::tempdir().expect("a temporary folder"), PathBuf::new());
    let options = ["--queue-size", "256KiB", "--ring-size", "256KiB", "--ledger-interval", "1s"];
    let mut trace = exectrace(["trace", "--pid-ns", &proof.number]);
    let (mut program, stdout) = Program::start_unread(trace.args(options));
    program.wait_for_message("tracing");
    proof.storm(20_000, 0, 0);
    program.read(stdout);
    // Until then the ring may be as full as the queue.
    let is_accounted_for = |ledger: &Value| ledger["seen"] == proof.ran && ledger["waiting"] == 0;
    while !is_accounted_for(program.wait_for_line("ledger").field("ledger")) {}
    // So that the log goes on after the gap.
    let marker = proof.workspace.ask("/bin/echo after");
    assert_eq!(marker, "after");
    proof.ran += 1;
    let first = program.wait_for_exec("/bin/echo after");
    assert_eq!(first.event_text("filename"), Some("/bin/echo"));
    let (_, stopped) = program.stop();
    proof.log = proof._folder.path().join("log");
    // All that was read so far is what `wait_for_exec` passed over, and the rest.
    let lines: Vec<&String> = stopped.seen.iter().chain(&stopped.lines).collect();
    fs::write(&proof.log, lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>()).expect("a file");
    let verdict = Verdict::on(&proof.log, proof.ran);
    assert!(verdict.lost > 1000, "{verdict:?}");
    verdict.names_all_gaps();
}

#[test]
fn root_a_disk_that_is_full_and_has_room_again() {
    let disk = SmallDisk::new("1m");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut proof = Proof::with(folder, disk.path().join("log"), &["--chain"]);
    proof.storm(20_000, 0, 0);
    proof.program.as_mut().expect("a trace").wait_for_message("the log cannot be written");
    disk.grow("64m");
    proof.storm(1_000, 0, 0);
    let verdict = proof.end();
    assert!(verdict.lost > 1000 && verdict.execs > 1000, "{verdict:?}");
    // The line in which the disk became full is torn, which is told apart from the execs that are lost.
    let findings = verdict.report["findings"].as_array().expect("findings");
    let kinds = |kind: &str| findings.iter().filter(|finding| finding["kind"] == kind).count();
    assert_eq!(findings.len(), kinds("lost") + kinds("torn"), "{:#}", verdict.report);
    assert_eq!(verdict.report["verdict"], "gaps");
}

/// What the run begins with is written as soon as it can be, and not only the first line of it.
#[test]
fn root_a_disk_that_is_full_from_the_beginning() {
    let disk = SmallDisk::new("64k");
    fs::write(disk.path().join("filler"), vec![0; 1 << 20]).expect_err("a disk that is full");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut proof = Proof::without_a_trace(folder, disk.path().join("log"));
    proof.workspace.tell("sleep 600 & sleep 600 &");
    let mut program = proof.trace(&[]);
    // Two threads say that and that tracing has begun.
    program.wait_until_said("the log cannot be written");
    disk.grow("64m");
    program.wait_for_message("the log can be written again");
    proof.program = Some(program);
    proof.workspace.tell("/bin/true");
    proof.ran += 1;
    let verdict = proof.end();
    verdict.is_whole();
    assert!(verdict.report["notes"]["running"].as_u64() >= Some(3), "{:#}", verdict.report);
}

/// A cgroup that may use a twentieth of one processor.
struct Slow(PathBuf);

impl Slow {
    fn new() -> Option<Slow> {
        let name = format!("exectrace-slow-{}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/cpu").join(&name);
        let v2 = Path::new("/sys/fs/cgroup").join(&name);
        for (folder, file, value) in [(v1, "cpu.cfs_quota_us", "5000"), (v2, "cpu.max", "5000 100000")] {
            if fs::create_dir(&folder).is_ok() {
                let slow = Slow(folder);
                if fs::write(slow.0.join(file), value).is_ok() {
                    return Some(slow);
                }
            }
        }
        println!("skipped: no cgroup here can bound processor time");
        None
    }

    fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a cgroup of ours");
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn root_a_process_that_has_5_percent_of_a_processor() {
    let Some(slow) = Slow::new() else { return };
    let mut proof = Proof::begin(&["--ring-size", "64KiB"]);
    slow.add(proof.pid());
    proof.storm(20_000, 100, 1);
    let verdict = proof.end();
    assert!(verdict.lost > 0, "{verdict:?}");
    verdict.names_all_gaps();
}

/// What is left out is no gap.
#[test]
fn root_execs_that_are_left_out() {
    let mut proof = Proof::begin(&["--exclude-path", &fixture("target")]);
    proof.storm(5_000, 0, 0);
    let verdict = proof.end();
    assert_eq!((verdict.execs, verdict.excluded), (1, 5_000));
    verdict.is_whole();
}

/// Numbers that look random, of a seed that a failure tells.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Kills a trace while a storm goes on, and starts it again, each time somewhere between two lines that it writes; the
/// moments differ from run to run.
#[track_caller]
fn killed_at_random(kills: u64, (count, bytes, args): (u64, u64, u64)) -> Verdict {
    let seed = u64::from(std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos());
    println!("seed {seed}");
    let mut random = Random(seed);
    let bpf = BpfFs::new();
    let pin = bpf.pin();
    // The ring has room for all of it, however long a start takes.
    let options =
        ["--pin", pin.as_str(), "--ring-size", "64MiB", "--chain", "--ledger-interval", "1s", "--watchdog", "1s"];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let mut proof = Proof::without_a_trace(folder, log);
    let mut program = proof.trace(&options);
    let (storm, target) = (fixture("storm"), fixture("target"));
    proof.workspace.tell(&format!("{storm} {target} 2 {count} {bytes} {args} >/dev/null & storm=$!"));
    proof.ran += count + 1;
    for _ in 0..kills {
        let goal = size(&proof.log) + random.below(count * (bytes * args + 800) / kills / 2);
        // The storm may be over before the log has come so far.
        let mut runs = true;
        while runs && size(&proof.log) < goal {
            runs = proof.workspace.ask("kill -0 $storm 2>/dev/null && echo runs || echo over") == "runs";
        }
        program.signal(Signal::KILL);
        let (status, _, _) = program.end();
        assert!(status.code().is_none(), "{status}");
        program = proof.trace(&options);
    }
    proof.workspace.tell("wait $storm");
    // What a stop has no time for stays in the pin, and who takes over writes it.
    while program.stop().1.code != Some(0) {
        program = proof.trace(&options);
    }
    proof.end()
}

#[test]
fn root_killed_at_random_and_started_again() {
    let verdict = killed_at_random(12, (30_000, 200, 1));
    // Only lines that were cut by a kill may be told; no exec is missing.
    verdict.has_findings_of(&["torn", "not-resumed"]);
    assert_eq!((verdict.execs, verdict.lost), (30_001, 0), "{:#}", verdict.report);
}

/// Pieces of large arguments of both processors lie between each other, and the kill between them.
#[test]
fn root_killed_at_random_among_large_arguments() {
    let verdict = killed_at_random(8, (200, 131_071, 3));
    verdict.has_findings_of(&["torn", "not-resumed", "lost"]);
}

/// What a full disk refused has been told, and nothing after it was written, when the kill comes.
#[test]
fn root_killed_after_a_full_disk() {
    let (disk, bpf) = (SmallDisk::new("512k"), BpfFs::new());
    let pin = bpf.pin();
    let options = ["--pin", pin.as_str(), "--ledger-interval", "0", "--watchdog", "0"];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut proof = Proof::without_a_trace(folder, disk.path().join("log"));
    let mut program = proof.trace(&options);
    proof.storm(3_000, 0, 0);
    program.wait_for_message("the log cannot be written");
    disk.grow("64m");
    program.wait_for_message("the log can be written again");
    program.signal(Signal::KILL);
    program.end();
    proof.program = Some(proof.trace(&options));
    let verdict = proof.end();
    // What the first could not write is either told for good, or found in the ring by the second; never both.
    verdict.has_findings_of(&["lost", "torn", "not-resumed"]);
}

/// An output that goes on, but not fast enough for what a stop may take: the rest waits for who takes over.
#[test]
fn root_an_output_that_is_too_slow_for_a_stop_leaves_the_rest_in_the_pin() {
    let bpf = BpfFs::new();
    let pin = bpf.pin();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let mut proof = Proof::without_a_trace(folder, log);
    let options = ["--pin", pin.as_str(), "--queue-size", "256KiB"];
    let mut trace = exectrace(["trace", "--pid-ns", &proof.number]);
    let (mut program, mut stdout) = Program::start_unread(trace.args(options));
    program.wait_for_message("tracing");
    let mut slowly_read = fs::File::create(&proof.log).expect("a file");
    let slow = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut piece) {
            slowly_read.write_all(&piece[..count]).expect("a file");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    proof.storm(3_000, 0, 0);
    let (took, stopped) = program.stop();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert_eq!(stopped.code, Some(5), "{:?}", stopped.messages);
    stopped.says("stays in the pin");
    slow.join().expect("all that was written");
    proof.program = Some(proof.trace(&options));
    let verdict = proof.end();
    // The last line before the end may be cut.
    verdict.has_findings_of(&["torn", "not-resumed"]);
    assert_eq!((verdict.execs, verdict.lost), (3_001, 0), "{:#}", verdict.report);
}

fn size(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |meta| meta.len())
}

/// Without a pin, what ran between a kill and the next start is a gap, and named as one.
#[test]
fn root_a_kill_without_a_pin_is_a_gap_with_a_name() {
    let mut proof = Proof::begin(&[]);
    proof.workspace.tell("/bin/true before");
    proof.program.as_mut().expect("a trace").signal(Signal::KILL);
    drop(proof.program.take().map(Program::end));
    proof.workspace.tell("/bin/true between");
    let program = proof.trace(&[]);
    proof.workspace.tell("/bin/true after");
    program.stop();
    let ended = Ended::of(exectrace(["verify"]).arg(&proof.log));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("the run has no stop"), "{ended:?}");
    assert!(ended.stdout.contains("not watched"), "{ended:?}");
}

/// One that floods and one that does not, and an output that nobody reads.
#[test]
fn root_a_flooding_workspace_takes_no_room_from_a_quiet_one() {
    let (mut flood, mut quiet) = (Workspace::new(), Workspace::new());
    let numbers = [flood.number(), quiet.number()];
    let options = ["trace", "--pid-ns", &numbers[0], "--pid-ns", &numbers[1], "--queue-size", "512KiB"];
    let (mut program, stdout) = Program::start_unread(&mut exectrace(options));
    program.wait_for_message("tracing");
    let (storm, target) = (fixture("storm"), fixture("target"));
    flood.tell(&format!("{storm} {target} 2 20000 0 >/dev/null"));
    for number in 0..10 {
        quiet.tell(&format!("/bin/true {number}"));
    }
    program.read(stdout);
    let (_, stopped) = program.stop();
    let lines: Vec<crate::line::Line> =
        stopped.seen.iter().chain(&stopped.lines).map(|line| crate::line::Line::parse(line)).collect();
    let of_quiet = lines.iter().filter(|line| line.cmdline().starts_with("/bin/true")).count();
    assert_eq!(of_quiet, 10);
    let lost = lines.iter().filter(|line| line.msg() == "lost");
    assert!(lost.clone().count() > 0);
    assert!(lost.clone().all(|line| line.field("lost")["scope"] == 1), "{:?}", lost.collect::<Vec<_>>());
    let ledger = lines.iter().rev().find(|line| line.msg() == "ledger").expect("a ledger");
    let scopes = ledger.field("ledger")["scopes"].as_array().expect("an account for each");
    assert_eq!((&scopes[0]["seen"], &scopes[1]["seen"]), (&20_001.into(), &10.into()));
}
