//! A program of the test's own: started, listened to line by line, asked to end, waited for. Nothing waits for ever.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::line::Line;

/// The program under test.
pub(crate) const EXECTRACE: &str = env!("CARGO_BIN_EXE_exectrace");
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `exectrace` with these arguments.
pub(crate) fn exectrace<I: IntoIterator<Item: AsRef<OsStr>>>(words: I) -> Command {
    let mut command = Command::new(EXECTRACE);
    command.args(words);
    for name in ["EXECTRACE_LOG_FORMAT", "EXECTRACE_INIT_ADDRESS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// A command that runs to its end: its exit code, stdout and stderr.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Runs a command without input.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Ended {
        command.stdin(Stdio::null());
        let (status, stdout, stderr) = Program::start(command).end();
        Ended { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
    }
}

impl Ended {
    /// The same of one that must succeed.
    #[track_caller]
    pub(crate) fn well(command: &mut Command) -> Ended {
        let ended = Ended::of(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// The one thing that exectrace had to say, but for what this machine does not let it see.
    #[track_caller]
    pub(crate) fn message(&self) -> Line {
        let lines = self.stderr.lines().map(Line::parse);
        let mut told: Vec<Line> = lines.filter(|line| !line.msg().starts_with(NO_FAILED_ATTEMPTS)).collect();
        assert_eq!(told.len(), 1, "{self:?}");
        told.remove(0)
    }
}

/// Said at each start where attempts that fail cannot be had for nothing, unless `--failed` says what is wanted.
pub(crate) const NO_FAILED_ATTEMPTS: &str = "attempts to execute that fail are not logged";

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A running program. It is asked to end when the value goes, and made to if it does not.
pub(crate) struct Program {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    /// `None` where the test reads the pipe itself.
    stdout: Option<Lines>,
    pub(crate) stderr: Lines,
}

impl Program {
    /// Starts a program and reads its output and its messages from now on.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Program {
        let (mut program, stdout) = Program::start_unread(command);
        program.stdout = Some(Lines::of(stdout, "stdout"));
        program
    }

    /// Starts a program whose stdout nobody reads but the caller.
    #[track_caller]
    pub(crate) fn start_unread(command: &mut Command) -> (Program, ChildStdout) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("a pipe");
        let stderr: ChildStderr = child.stderr.take().expect("a pipe");
        (Program { child, stdin, stdout: None, stderr: Lines::of(stderr, "stderr") }, stdout)
    }

    /// Reads a stdout that was not read so far.
    pub(crate) fn read(&mut self, stdout: ChildStdout) {
        self.stdout = Some(Lines::of(stdout, "stdout"));
    }

    pub(crate) fn stdout(&mut self) -> &mut Lines {
        self.stdout.as_mut().expect("a stdout that is read")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a message on stderr that has these words.
    #[track_caller]
    pub(crate) fn wait_for_message(&mut self, words: &str) -> Line {
        let text = self.stderr.wait_for(words, |line| line.contains(words));
        Line::parse(&text)
    }

    /// Waits for a message on stderr that has these words, if it is not among those that were waited past.
    #[track_caller]
    pub(crate) fn wait_until_said(&mut self, words: &str) {
        if !self.stderr.seen().iter().any(|line| line.contains(words)) {
            self.wait_for_message(words);
        }
    }

    /// Waits for the next line of the log with this msg.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, msg: &str) -> Line {
        loop {
            let line = Line::parse(&self.stdout().wait_for(msg, |line| line.contains(msg)));
            if line.msg() == msg {
                return line;
            }
        }
    }

    /// Waits for the exec with this command line.
    #[track_caller]
    pub(crate) fn wait_for_exec(&mut self, cmdline: &str) -> Line {
        self.wait_for_exec_that(cmdline, |line| line.cmdline() == cmdline)
    }

    /// Waits for the next exec that is as wanted.
    #[track_caller]
    pub(crate) fn wait_for_exec_that(&mut self, wanted: &str, is_wanted: impl Fn(&Line) -> bool) -> Line {
        loop {
            let line = Line::parse(&self.stdout().wait_for(wanted, |_| true));
            if is_wanted(&line) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("a process of ours");
    }

    /// Asks the program to end, and waits until it did; how long that took, and the lines that nobody took so far.
    #[track_caller]
    pub(crate) fn stop(mut self) -> (Duration, Stopped) {
        let start = Instant::now();
        self.signal(Signal::TERM);
        let seen = self.stdout.as_mut().map(|stdout| std::mem::take(&mut stdout.seen)).unwrap_or_default();
        let (lines, status, messages) = self.wait();
        (start.elapsed(), Stopped { code: status.code(), seen, lines, messages })
    }

    /// Waits until the program has ended by itself.
    #[track_caller]
    pub(crate) fn end(self) -> (ExitStatus, Vec<String>, Vec<String>) {
        let (stdout, status, stderr) = self.wait();
        (status, stdout, stderr)
    }

    #[track_caller]
    fn wait(mut self) -> (Vec<String>, ExitStatus, Vec<String>) {
        drop(self.stdin.take());
        let Some(status) = wait(&mut self.child) else {
            panic!("{} does not end; it said {:?}", self.child.id(), self.stderr.seen);
        };
        let stdout = self.stdout.as_mut().map(Lines::rest).unwrap_or_default();
        (stdout, status, self.stderr.rest())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // A shell ends with its input; anything else must be told.
        if self.stdin.take().is_none() || thread::panicking() {
            let _ = kill_process(pid_of(&self.child), Signal::TERM);
        }
        if thread::panicking() || wait(&mut self.child).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a program left that was asked to end.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) code: Option<i32>,
    /// Lines that somebody took before.
    pub(crate) seen: Vec<String>,
    /// Lines that nobody took so far.
    pub(crate) lines: Vec<String>,
    pub(crate) messages: Vec<String>,
}

impl Stopped {
    /// The whole log, in which no number is missing.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Line> {
        Line::parse_all(&self.text())
    }

    /// The same as it was written.
    pub(crate) fn text(&self) -> String {
        text(&self.seen) + &text(&self.lines)
    }

    /// The lines that nobody took so far, of a log in which no number is missing.
    #[track_caller]
    pub(crate) fn parsed(&self) -> Vec<Line> {
        self.log().split_off(self.seen.len())
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        assert!(self.messages.iter().any(|line| Line::parse(line).msg().contains(words)), "no {words:?}: {self:?}");
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid is not 0")
}

/// `None` if it takes too long.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    let pidfd = pidfd_open(pid_of(child), PidfdFlags::empty());
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return Some(status);
        }
        let left = Timespec::try_from(deadline.checked_duration_since(Instant::now())?).expect("a short time");
        let pidfd = pidfd.as_ref().expect("a child that was not waited for");
        // An interrupted wait is an early one.
        let _ = rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left));
    }
}

/// Lines of a pipe, read by a thread so that who writes them is never held up.
pub(crate) struct Lines {
    from: Receiver<String>,
    what: &'static str,
    /// For the message of a test that fails.
    seen: Vec<String>,
}

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static, what: &'static str) -> Lines {
        let (to, from) = channel();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                // Whoever wanted to know went away.
                let _ = to.send(text);
                line.clear();
            }
        });
        Lines { from, what, seen: Vec::new() }
    }

    /// What somebody took so far.
    pub(crate) fn seen(&self) -> &[String] {
        &self.seen
    }

    /// The first line from here on that is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, wanted: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if is_wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {wanted:?} on {} in time: {:#?}", self.what, self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended without {wanted:?}: {:#?}", self.what, self.seen)
                }
            }
        }
    }

    /// All lines from here to the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end: {lines:#?}", self.what),
            }
        }
    }
}
