//! An output that stalls, breaks or is full: what is missing is told, and the workspace does not wait for it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::fixtures::fixture;
use crate::ledger::assert_books_agree;
use crate::line::{Line, cmdlines, with_msg};
use crate::program::{EXECTRACE, Ended, Program, exectrace};
use crate::trace::A_SECOND;
use crate::workspace::Workspace;

/// More lines than a pipe and a small queue hold together.
const STORM: u64 = 1_000;

/// A trace of a PID namespace whose output nobody reads.
#[track_caller]
fn unread(options: &[&str]) -> (ChildStdout, Program, Workspace) {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let (mut program, stdout) = Program::start_unread(exectrace(["trace", "--pid-ns", &number]).args(options));
    program.wait_for_message("tracing");
    (stdout, program, workspace)
}

/// Makes the workspace execute that many programs; returns when it is through.
#[track_caller]
fn storm(workspace: &mut Workspace) {
    workspace.tell(&format!("i=0; while [ $i -lt {STORM} ]; do /bin/true $i; i=$((i+1)); done"));
}

/// Reads up to an exec, then goes away.
#[track_caller]
fn head(stdout: ChildStdout) -> Line {
    let mut lines = BufReader::new(stdout).lines().map(|line| Line::parse(&line.expect("a line")));
    lines.find(Line::is_exec).expect("an exec")
}

#[test]
fn root_a_reader_that_goes_away_ends_the_trace() {
    let (stdout, program, mut workspace) = unread(&[]);
    workspace.tell("/bin/true one");
    assert_eq!(head(stdout).cmdline(), "/bin/true one");
    workspace.tell("/bin/true two");
    let (status, _, messages) = program.end();
    assert_eq!(status.code(), Some(5), "{messages:?}");
    assert!(messages.iter().any(|line| Line::parse(line).msg().contains("the log could not be written")));
    assert_eq!(workspace.ask("echo alive"), "alive");
}

#[test]
fn root_a_reader_that_goes_away_ends_the_sidecar() {
    let mut workspace = Workspace::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = folder.path().join("status");
    let sidecar = format!("({EXECTRACE} sidecar --use-local-pidns; echo $? >{})", status.display());
    let fifo = folder.path().join("fifo");
    workspace
        .tell(&format!("mkfifo {0}; {sidecar} >{0} & grep -m 1 /bin/true <{0} >/dev/null & head=$!", fifo.display()));
    workspace.wait_for_message("tracing the PID namespace of this container");
    workspace.tell("/bin/true one; wait $head; /bin/true two; wait");
    assert_eq!(fs::read_to_string(status).expect("the status").trim(), "5");
}

#[test]
fn root_a_reader_that_goes_away_does_not_end_the_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let done = folder.path().join("done");
    let script =
        "exec >/dev/null; read go; i=0; while [ $i -lt 30 ]; do /bin/true $i; i=$((i+1)); done; >\"$0\"; exit 7";
    let mut command = exectrace(["run", "--", "sh", "-c", script]);
    command.arg(&done).stdin(Stdio::piped());
    let (mut program, stdout) = Program::start_unread(&mut command);
    head(stdout);
    drop(program.stdin.take());
    let (status, _, messages) = program.end();
    assert_eq!(status.code(), Some(7), "{messages:?}");
    assert!(done.exists());
    assert!(messages.iter().any(|line| Line::parse(line).msg().contains("the log could not be written")));
}

#[test]
fn root_a_stalled_output_holds_up_nobody_and_every_exec_is_accounted_for() {
    let (stdout, mut program, mut workspace) = unread(&["--queue-size", "64KiB"]);
    storm(&mut workspace);
    program.read(stdout);
    workspace.tell("/bin/true after the storm");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let lines = stopped.parsed();
    let lost = with_msg(&lines, "lost");
    assert!(!lost.is_empty(), "{} lines and no loss", lines.len());
    assert!(lost.iter().all(|line| line.lost_reason() == Some("queue_full")), "{lost:?}");
    assert_eq!(lines.iter().map(Line::execs).sum::<u64>(), STORM + 1);
    // The loss is told at its place: the numbers before and after it differ by what it says.
    let mut next = 0;
    for line in &lines {
        let number = line.cmdline().strip_prefix("/bin/true ").and_then(|word| word.parse::<u64>().ok());
        assert!(number.is_none_or(|number| number == next), "{} after {next}", line.cmdline());
        next += line.execs();
    }
    let messages: Vec<_> = stopped.messages.iter().map(|line| Line::parse(line)).collect();
    let account = messages.iter().find(|message| message.msg() == "stopped").expect("an account");
    assert_eq!((account.field("seen").as_u64(), account.field("sent").as_u64()), (Some(STORM + 1), Some(STORM + 1)));
}

#[test]
fn root_a_stop_does_not_wait_for_a_stalled_output() {
    let (mut stdout, program, mut workspace) = unread(&["--queue-size", "64KiB"]);
    storm(&mut workspace);
    let (took, stopped) = program.stop();
    assert_eq!(stopped.code, Some(5), "{stopped:?}");
    assert!(took < A_SECOND, "{took:?}");
    stopped.says("the output takes nothing");
    let mut written = String::new();
    stdout.read_to_string(&mut written).expect("what was written");
    let (whole, _) = written.rsplit_once('\n').expect("whole lines");
    let lines = Line::parse_all(&format!("{whole}\n"));
    assert!(lines.iter().all(|line| ["start", "running", "exec"].contains(&line.msg())), "nothing is told to be lost");
}

/// Takes so many bytes every 100 ms. It sleeps to be slow, not to wait for anything.
fn read_slowly(mut stdout: ChildStdout, at_a_time: usize) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut taken, mut chunk) = (Vec::new(), vec![0; at_a_time]);
        while let Ok(count) = stdout.read(&mut chunk)
            && count > 0
        {
            taken.extend_from_slice(&chunk[..count]);
            thread::sleep(Duration::from_millis(100));
        }
        String::from_utf8(taken).expect("ASCII")
    })
}

/// The log of a storm, and how long a stop took, with an output that nobody read until then and that is slow then.
#[track_caller]
fn slowly_read(execs: u64, at_a_time: usize) -> (Vec<Line>, Duration) {
    let (stdout, program, mut workspace) = unread(&["--queue-size", "128MiB", "--ring-size", "16MiB"]);
    let (storm, target) = (fixture("storm"), fixture("target"));
    workspace.tell(&format!("{storm} {target} 2 {} 0 >/dev/null", execs - 1));
    let reader = read_slowly(stdout, at_a_time);
    let (took, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let log = reader.join().expect("a reader that ends");
    (Line::parse_all(&log), took)
}

/// 640 KiB in a second.
const AS_A_LOG_SHIPPER: usize = 64 << 10;

#[test]
fn root_a_stop_gives_an_output_the_time_that_it_needs() {
    let (log, took) = slowly_read(4_000, AS_A_LOG_SHIPPER);
    assert!(took > A_SECOND, "the output was not slow: {took:?}");
    assert_eq!((cmdlines(&log).len(), with_msg(&log, "lost").len()), (4_000, 0));
    assert_books_agree(&log);
}

/// 80 KiB in a second: each piece that is taken counts, and not only each batch.
#[test]
fn root_a_very_slow_output_is_not_taken_for_a_stalled_one() {
    let (log, took) = slowly_read(400, 8 << 10);
    assert!(took > A_SECOND, "the output was not slow: {took:?}");
    assert_eq!((cmdlines(&log).len(), with_msg(&log, "lost").len()), (400, 0));
    assert_books_agree(&log);
}

#[test]
fn root_a_stop_does_not_wait_for_ever_for_an_output_that_is_slow_and_says_what_is_missing() {
    let (log, took) = slowly_read(20_000, AS_A_LOG_SHIPPER);
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(13), "{took:?}");
    let lost = with_msg(&log, "lost");
    assert!(lost.iter().any(|line| line.lost_reason() == Some("stop_deadline")), "{lost:?}");
    assert_eq!(log.iter().map(Line::execs).sum::<u64>(), 20_000);
    assert_books_agree(&log);
}

/// A terminal, or a shell's `2>&1 |`: what nobody reads there either holds up nothing.
#[test]
fn root_a_stop_does_not_wait_for_messages_that_nobody_reads() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut command = exectrace(["trace", "--pid-ns", &number, "--watchdog", "0"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer.try_clone().expect("its end")).stderr(writer);
    let mut child = command.spawn().expect("a program");
    drop(command);
    let mut both = BufReader::new(reader);
    let mut line = String::new();
    while !line.contains("\"msg\":\"tracing\"") {
        line.clear();
        assert!(both.read_line(&mut line).expect("a line") > 0);
    }
    // Fills the pipe, of which nobody reads on.
    storm(&mut workspace);
    let start = std::time::Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("ours");
    let status = crate::program::wait(&mut child).expect("an end");
    assert_eq!(status.code(), Some(5));
    assert!(start.elapsed() < 2 * A_SECOND, "{:?}", start.elapsed());
}

#[test]
fn root_a_full_device_is_told() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let mut program = Program::start(&mut exectrace(["trace", "--pid-ns", &number, "--log", "/dev/full"]));
    program.wait_for_message("tracing");
    workspace.tell("/bin/true one");
    program.wait_for_message("the log cannot be written");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(5), "{stopped:?}");
    stopped.says("missing from the end of the log: 1 execs");
    let ended = Ended::of(&mut exectrace(["run", "--log", "/dev/full", "--", "sh", "-c", "exit 7"]));
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("the log cannot be written"), "{ended:?}");
    assert!(ended.stderr.contains("missing from the end of the log: 1 execs"), "{ended:?}");
}

/// A small file system fills up and is made larger: from then on the log goes on, and says what it lacks.
#[test]
fn root_a_device_that_was_full_gets_the_count_of_what_is_missing() {
    let mut workspace = Workspace::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().display();
    workspace.tell(&format!("mount -t tmpfs -o size=64k none {path}"));
    let pid = workspace.ask(&format!("{EXECTRACE} sidecar --use-local-pidns --log {path}/log & echo $!"));
    workspace.wait_for_message("tracing the PID namespace of this container");
    storm(&mut workspace);
    workspace.wait_for_message("the log cannot be written");
    workspace.tell(&format!("mount -o remount,size=4m {path}; /bin/true after"));
    workspace.wait_for_message("the log can be written again");
    assert_eq!(workspace.ask(&format!("kill -TERM {pid}; wait {pid}; echo $?")), "0");
    let written = workspace.tell(&format!("while read -r line; do printf '%s\\n' \"$line\"; done <{path}/log"));
    workspace.tell(&format!("umount {path}"));
    // A line that was cut is broken, and its exec is counted as missing.
    let is_whole = |line: &&String| line.ends_with('}') && serde_json::from_str::<serde_json::Value>(line).is_ok();
    let lines: Vec<_> = written.iter().filter(is_whole).map(|line| Line::parse(line)).collect();
    let lost = with_msg(&lines, "lost");
    assert!(!lost.is_empty() && lost.iter().all(|line| line.lost_reason() == Some("write_failed")), "{lost:?}");
    assert_eq!(cmdlines(&lines).last(), Some(&"/bin/true after"));
    let remount = 1;
    assert_eq!(lines.iter().map(Line::execs).sum::<u64>(), STORM + remount + 1);
}

#[test]
fn root_a_log_that_cannot_be_opened_is_told_before_anything_starts() {
    let ended = Ended::of(&mut exectrace(["trace", "--all", "--log", "/nonexistent/log"]));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(5), ""), "{ended:?}");
    assert!(ended.message().msg().contains("/nonexistent/log"), "{ended:?}");
}
