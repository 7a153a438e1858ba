//! A tracer on a PID namespace of the test's own, and what starts programs there.
//!
//! A process enters the namespace without a tool: a thread of the test moves what it forks next into it. So the first
//! exec that the namespace sees is that of the program itself. No wait is a sleep: what happened is known from the end
//! of a process, from a line in a pipe, or from the event of a sentinel that was executed last.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use exectrace::{
    Event, Gone, Item, Loss, Partial, PidNamespace, Rule, RulePath, Scope, ScopeId, Tracer, TracerBuilder,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// What a fixture exits with where the kernel lacks a feature.
const UNSUPPORTED: i32 = 77;
/// How long a call of `poll` waits; short, because the end of a process does not end it.
const POLL: Duration = Duration::from_millis(5);

// ---------------------------------------------------------------- fixtures and folders

/// The path of a fixture program, without links.
pub(crate) fn fixture(name: &str) -> &'static str {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match std::env::var_os("EXECTRACE_FIXTURES") {
        Some(folder) => fs::canonicalize(folder).expect("EXECTRACE_FIXTURES names a folder"),
        None => build_fixtures(),
    });
    let path = folder.join(name).into_os_string().into_string().expect("a path in UTF-8");
    Box::leak(path.into_boxed_str())
}

/// The program that the others execute: it exits at once.
pub(crate) fn target() -> &'static str {
    fixture("target")
}

fn build_fixtures() -> PathBuf {
    let tmp = fs::canonicalize(env!("CARGO_TARGET_TMPDIR")).expect("cargo makes the folder");
    let lock = File::create(tmp.join("fixtures.lock")).expect("a file to lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    let folder = tmp.join("fixtures");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/build.sh");
    let mut build = Command::new(script);
    let status = spawn(build.arg(&folder)).wait().expect("build.sh runs");
    assert!(status.success(), "the fixtures do not build");
    folder
}

/// A folder that every user may enter, gone with the value.
pub(crate) fn public_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its owner");
    folder
}

/// The folder's path without links, as the kernel will show it.
pub(crate) fn real(path: impl AsRef<Path>) -> String {
    let path = fs::canonicalize(path).expect("a path that is there");
    path.into_os_string().into_string().expect("a path in UTF-8")
}

/// Writes a file that can be executed, and returns its path without links.
pub(crate) fn program(folder: &Path, name: &str, content: &[u8]) -> String {
    // A file that a child of another thread has open for writing, if only until its exec, cannot be executed.
    let _no_fork = fork_lock();
    let path = folder.join(name);
    fs::write(&path, content).expect("a file in a folder of ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file");
    real(path)
}

/// Copies a program to a folder, and returns its path without links.
pub(crate) fn copy(from: &str, folder: &Path, name: &str) -> String {
    program(folder, name, &fs::read(from).expect("a program that is there"))
}

pub(crate) fn command(name: &str) -> Command {
    Command::new(fixture(name))
}

/// `sh -c SCRIPT`, where `$1`, `$2`, … are the words.
pub(crate) fn shell(script: &str, words: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).args(words);
    command
}

/// How many execs a test makes that wants many: fewer where `EXECTRACE_LOAD` says so, because each is slow.
pub(crate) fn scaled(execs: usize) -> usize {
    static PERCENT: OnceLock<usize> = OnceLock::new();
    let percent = *PERCENT.get_or_init(|| {
        let told = std::env::var("EXECTRACE_LOAD").ok();
        told.map_or(100, |percent| percent.parse().expect("EXECTRACE_LOAD is a number"))
    });
    execs * percent / 100
}

/// The first two numbers of the running kernel's version.
pub(crate) fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().expect("a number"));
    (numbers.next().expect("a major version"), numbers.next().expect("a minor version"))
}

pub(crate) fn skip(why: impl fmt::Display) {
    println!("skipped: {why}");
}

pub(crate) fn inode(path: impl AsRef<Path>) -> u64 {
    fs::metadata(path).expect("a file that is there").ino()
}

/// Number of a namespace, as in /proc/PID/ns/KIND.
pub(crate) fn namespace_number(pid: u32, kind: &str) -> u32 {
    u32::try_from(inode(format!("/proc/{pid}/ns/{kind}"))).expect("a namespace's number")
}

// ---------------------------------------------------------------- processes

/// A file that is being written and a fork must not meet, and a pipe must not pass to a stranger.
fn fork_lock() -> MutexGuard<'static, ()> {
    static FORK: Mutex<()> = Mutex::new(());
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program where the test itself is.
pub(crate) fn spawn(command: &mut Command) -> Child {
    try_spawn(command).unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

fn try_spawn(command: &mut Command) -> std::io::Result<Child> {
    let _alone = fork_lock();
    command.spawn()
}

pub(crate) struct Deadline(Instant, &'static str);

impl Deadline {
    pub(crate) fn new(what: &'static str) -> Deadline {
        static SECONDS: OnceLock<u64> = OnceLock::new();
        let seconds = *SECONDS.get_or_init(|| {
            let told = std::env::var("EXECTRACE_DEADLINE").ok();
            told.map_or(30, |seconds| seconds.parse().expect("EXECTRACE_DEADLINE is a number of seconds"))
        });
        Deadline(Instant::now() + Duration::from_secs(seconds), what)
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(Instant::now() < self.0, "waited too long for {}", self.1);
    }

    #[track_caller]
    fn wait_readable(&self, fd: impl AsFd) {
        let left = Timespec::try_from(self.0.saturating_duration_since(Instant::now())).expect("a short time");
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => panic!("waited too long for {}", self.1),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Waits for a process's end without looking at any tracer.
#[track_caller]
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Deadline::new("a process to end");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid is not 0");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a child that was not waited for");
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return status;
        }
        deadline.wait_readable(&pidfd);
    }
}

/// A program, its output in files, so that nobody must read it while it runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    what: String,
    stdout: File,
    stderr: File,
}

impl Running {
    fn start(command: &mut Command, spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>) -> Running {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
        command.stdin(Stdio::null());
        command.stdout(stdout.try_clone().expect("a descriptor"));
        command.stderr(stderr.try_clone().expect("a descriptor"));
        let child =
            spawn(command).unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
        Running { child, what: format!("{:?}", command.get_program()), stdout, stderr }
    }

    fn text(file: &mut File) -> Vec<u8> {
        let mut text = Vec::new();
        file.rewind().expect("a file of ours");
        file.read_to_end(&mut text).expect("a file of ours");
        text
    }

    /// What it printed, or `None` if this kernel lacks what it needs.
    #[track_caller]
    fn output(mut self, status: ExitStatus) -> Option<Vec<u8>> {
        let errors = String::from_utf8_lossy(&Running::text(&mut self.stderr)).into_owned();
        if status.code() == Some(UNSUPPORTED) {
            skip(errors.trim());
            return None;
        }
        assert!(status.success(), "{}: {status}: {errors}", self.what);
        Some(Running::text(&mut self.stdout))
    }
}

/// A shell that executes what it is told, until the value goes.
pub(crate) struct Shell {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    told: u32,
}

impl Shell {
    /// `script` is executed first; it must come to read commands from standard input.
    pub(crate) fn start(script: &str, spawn: impl FnOnce(&mut Command) -> Child) -> Shell {
        let mut command = shell(script, &[]);
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let mut shell = Shell { child, stdin, stdout, told: 0 };
        shell.tell(":");
        shell
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it printed when it is through with the line.
    #[track_caller]
    pub(crate) fn tell(&mut self, line: &str) -> String {
        self.told += 1;
        let end = format!("told {}\n", self.told);
        let stdin = self.stdin.as_mut().expect("a shell that is not ended");
        write!(stdin, "{line}\necho 'told' {}\n", self.told).expect("a shell that reads");
        let deadline = Deadline::new("a shell to do as it was told");
        let mut text = String::new();
        while !text.ends_with(&end) {
            deadline.wait_readable(&self.stdout);
            let mut bytes = [0; 4096];
            let read = self.stdout.read(&mut bytes).expect("a pipe");
            assert!(read > 0, "the shell ended at {line:?} and had said {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        text.truncate(text.len() - end.len());
        text
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.stdin.take();
        if thread::panicking() {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

// ---------------------------------------------------------------- PID namespaces

/// A PID namespace of the test's own. Its init does nothing; it ends, and with it all that lives there, with the value.
pub(crate) struct Namespace {
    init: Child,
    held: File,
}

impl Namespace {
    pub(crate) fn new() -> Namespace {
        Namespace::with_init(&mut Command::new("cat"))
    }

    /// `init` must stay until its standard input ends.
    pub(crate) fn with_init(init: &mut Command) -> Namespace {
        init.stdin(Stdio::piped());
        let init = from_thread(|| {
            // SAFETY: the thread's descriptors stay shared, and nobody else knows of the thread.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }?;
            init.spawn()
        })
        .expect("a PID namespace; these tests need root");
        let held = File::open(format!("/proc/{}/ns/pid", init.id())).expect("a namespace of ours");
        Namespace { init, held }
    }

    /// The init's pid where the test lives.
    pub(crate) fn init(&self) -> u32 {
        self.init.id()
    }

    pub(crate) fn number(&self) -> u32 {
        u32::try_from(self.held.metadata().expect("an open file").ino()).expect("a namespace's number")
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::PidNamespace(PidNamespace::of_process(Path::new("/proc"), self.init()).expect("a namespace of ours"))
    }

    pub(crate) fn try_spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        from_thread(|| {
            // Where this thread's children go; it stays itself where it is.
            move_into_link_name_space(self.held.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
            command.spawn()
        })
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        self.try_spawn(command).unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()))
    }

    /// Runs a program to its end, which must be a good one, and returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) -> Vec<u8> {
        let mut running = Running::start(command, |command| self.try_spawn(command));
        let status = wait(&mut running.child);
        running.output(status).expect("a program that exits with 0")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.init.kill().ok();
        self.init.wait().ok();
    }
}

/// A thread of its own forks, so that what is done to its namespaces concerns nobody else.
fn from_thread(fork: impl FnOnce() -> std::io::Result<Child> + Send) -> std::io::Result<Child> {
    let _alone = fork_lock();
    thread::scope(|scope| scope.spawn(fork).join()).expect("a thread that does not panic")
}

// ---------------------------------------------------------------- cgroups

/// Where the unified hierarchy is mounted, if it is.
pub(crate) fn cgroup_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let path = mount.split(' ').nth(4)?;
        source.starts_with("cgroup2 ").then(|| PathBuf::from(path))
    })
}

/// A cgroup, removed with the value. One below another must go first: keep them in that order.
pub(crate) struct CgroupFolder(PathBuf);

impl CgroupFolder {
    /// A new one right below the hierarchy's root; `None`, and a line that says so, where there can be none.
    pub(crate) fn new() -> Option<CgroupFolder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(mount) = cgroup_mount() else {
            skip("no cgroup v2 is mounted");
            return None;
        };
        let name = format!("exectrace-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        match fs::create_dir(mount.join(&name)) {
            Ok(()) => Some(CgroupFolder(mount.join(name))),
            Err(error) => {
                skip(format_args!("no cgroup can be made below {}: {error}", mount.display()));
                None
            }
        }
    }

    pub(crate) fn child(&self, name: &str) -> CgroupFolder {
        let path = self.0.join(name);
        fs::create_dir(&path).expect("a folder below our own");
        CgroupFolder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Cgroup(exectrace::Cgroup::open(&self.0).expect("a cgroup of ours"))
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        let procs: OwnedFd =
            fs::OpenOptions::new().write(true).open(self.0.join("cgroup.procs")).expect("a cgroup of ours").into();
        // SAFETY: write(2) alone is called between fork and exec.
        unsafe {
            command.pre_exec(move || Ok(rustix::io::write(&procs, b"0").map(drop)?));
        }
        spawn(command)
    }

    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) {
        let status = wait(&mut self.spawn(command));
        assert!(status.success(), "{:?}: {status}", command.get_program());
    }
}

impl Drop for CgroupFolder {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.0);
        if !thread::panicking() {
            removed.expect("an empty cgroup of ours");
        }
    }
}

// ---------------------------------------------------------------- tracers

/// A word that no other exec has.
pub(crate) fn sentinel() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("sentinel-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What comes before the event of the exec that has `sentinel` as its first argument.
#[track_caller]
pub(crate) fn items_before(tracer: &mut Tracer, sentinel: &str) -> Vec<Item> {
    let deadline = Deadline::new("a sentinel's event");
    let (mut items, mut found) = (Vec::new(), false);
    while !found {
        deadline.check();
        tracer
            .poll(POLL, |item| match &item {
                Item::Exec(event) if event.argv.iter().nth(1) == Some(sentinel.as_bytes()) => found = true,
                _ => items.push(item),
            })
            .expect("a tracer that reads");
    }
    items
}

/// The events; a loss is none of the things expected.
#[track_caller]
pub(crate) fn no_loss(items: Vec<Item>) -> Vec<Event> {
    let event = |item| match item {
        Item::Exec(event) => *event,
        other => panic!("{other:?} where only execs were to come"),
    };
    items.into_iter().map(event).collect()
}

/// All that is there, without waiting, but for scopes that are gone.
#[track_caller]
pub(crate) fn drain(tracer: &mut Tracer) -> Vec<Item> {
    let mut items = Vec::new();
    tracer.drain(|item| items.push(item)).expect("a tracer that reads");
    items.retain(|item| !matches!(item, Item::Gone(_)));
    items
}

/// Scopes that are gone, of all that is there.
#[track_caller]
pub(crate) fn gone(tracer: &mut Tracer) -> Vec<Gone> {
    let mut gone = Vec::new();
    tracer
        .drain(|item| {
            if let Item::Gone(scope) = item {
                gone.push(scope);
            }
        })
        .expect("a tracer that reads");
    gone
}

/// Events and losses apart, both in their order.
pub(crate) fn part(items: Vec<Item>) -> (Vec<Event>, Vec<Loss>) {
    let (mut events, mut losses) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Exec(event) => events.push(*event),
            Item::Lost(loss) => losses.push(loss),
            other => panic!("{other:?}, which nobody asked for"),
        }
    }
    (events, losses)
}

/// A rule that leaves out what begins so.
pub(crate) fn prefix(path: impl AsRef<OsStr>) -> Rule {
    Rule { path: Some(RulePath::Prefix(path.as_ref().as_bytes().to_vec())), ..Rule::default() }
}

/// A rule that leaves out this file.
pub(crate) fn exact(path: impl AsRef<OsStr>) -> Rule {
    Rule { path: Some(RulePath::Exact(path.as_ref().as_bytes().to_vec())), ..Rule::default() }
}

/// Runs a sentinel in a namespace and returns the events before it.
#[track_caller]
pub(crate) fn settle(tracer: &mut Tracer, namespace: &Namespace) -> Vec<Event> {
    let sentinel = sentinel();
    namespace.run(Command::new(target()).arg(&sentinel));
    no_loss(items_before(tracer, &sentinel))
}

/// A namespace and a tracer of it.
pub(crate) struct Workspace {
    // Before the namespace, so that the programs are detached when it goes.
    pub(crate) tracer: Tracer,
    pub(crate) scope: ScopeId,
    pub(crate) namespace: Namespace,
}

/// A program that ran to a good end in a workspace.
pub(crate) struct Finished {
    /// Its pid.
    pub(crate) pid: u32,
    /// The exec that started it.
    pub(crate) own: Event,
    /// The execs after that one.
    pub(crate) events: Vec<Event>,
    pub(crate) stdout: Vec<u8>,
}

impl Finished {
    pub(crate) fn lines(&self) -> Vec<&str> {
        std::str::from_utf8(&self.stdout).expect("text").lines().collect()
    }

    /// The only line that it printed.
    #[track_caller]
    pub(crate) fn line(&self) -> &str {
        match self.lines()[..] {
            [line] => line,
            ref lines => panic!("one line was to be printed, not {lines:?}"),
        }
    }

    /// The only exec that it made.
    #[track_caller]
    pub(crate) fn event(&self) -> &Event {
        match &self.events[..] {
            [event] => event,
            events => panic!("one exec was to be seen, not {:?}", calls(events)),
        }
    }
}

impl Workspace {
    pub(crate) fn new() -> Workspace {
        Workspace::with(Tracer::builder())
    }

    #[track_caller]
    pub(crate) fn with(builder: TracerBuilder) -> Workspace {
        Workspace::on(builder, Namespace::new())
    }

    #[track_caller]
    pub(crate) fn on(builder: TracerBuilder, namespace: Namespace) -> Workspace {
        let mut tracer = builder.open().expect("a tracer");
        let scope = tracer.add_scope(namespace.scope()).expect("a scope");
        Workspace { tracer, scope, namespace }
    }

    /// Runs a program to its end, which must be a good one, and returns it with all execs that it made.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &mut Command) -> Finished {
        self.run_if_supported(command).expect("a program that exits with 0")
    }

    /// The same of a program that exits with 77 where the kernel lacks what it needs; then a line says so.
    #[track_caller]
    pub(crate) fn run_if_supported(&mut self, command: &mut Command) -> Option<Finished> {
        let (pid, stdout, items) = self.run_for_items(command);
        let stdout = stdout?;
        let mut events = no_loss(items);
        assert!(!events.is_empty(), "no exec was seen of {:?}", command.get_program());
        let own = events.remove(0);
        assert_eq!((own.pid, own.caller_tid), (pid, pid), "the first exec is the program's own: {own:?}");
        assert!(events.iter().all(|event| event.scope == self.scope));
        Some(Finished { pid, own, events, stdout })
    }

    /// Runs a program to its end while the tracer is polled: its pid, what it printed, and all that came.
    #[track_caller]
    pub(crate) fn run_for_items(&mut self, command: &mut Command) -> (u32, Option<Vec<u8>>, Vec<Item>) {
        let mut running = Running::start(command, |command| self.namespace.try_spawn(command));
        let deadline = Deadline::new("a program to end");
        let mut items = Vec::new();
        let status = loop {
            deadline.check();
            self.tracer.poll(POLL, |item| items.push(item)).expect("a tracer that reads");
            if let Some(status) = running.child.try_wait().expect("our child") {
                break status;
            }
        };
        let pid = running.child.id();
        let sentinel = sentinel();
        self.namespace.run(Command::new(target()).arg(&sentinel));
        items.extend(items_before(&mut self.tracer, &sentinel));
        (pid, running.output(status), items)
    }

    /// The execs since the last look.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Vec<Event> {
        settle(&mut self.tracer, &self.namespace)
    }
}

// ---------------------------------------------------------------- what was expected

/// What an exec was told.
#[derive(PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) filename: Vec<u8>,
    pub(crate) argv: Vec<Vec<u8>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.filename.escape_ascii())?;
        for arg in self.argv.iter().take(16) {
            write!(f, " \"{}\"", arg[..arg.len().min(120)].escape_ascii())?;
        }
        let rest = if self.argv.len() > 16 { " …" } else { "" };
        write!(f, "{rest} )")
    }
}

pub(crate) fn call<A: AsRef<OsStr>>(filename: impl AsRef<OsStr>, argv: impl IntoIterator<Item = A>) -> Call {
    Call {
        filename: filename.as_ref().as_bytes().to_vec(),
        argv: argv.into_iter().map(|arg| arg.as_ref().as_bytes().to_vec()).collect(),
    }
}

pub(crate) fn calls(events: &[Event]) -> Vec<Call> {
    let call = |event: &Event| Call { filename: event.filename.clone(), argv: argv(event) };
    events.iter().map(call).collect()
}

pub(crate) fn argv(event: &Event) -> Vec<Vec<u8>> {
    event.argv.iter().map(<[u8]>::to_vec).collect()
}

/// These execs and no others, in this order, and nothing missing from any.
#[track_caller]
pub(crate) fn assert_calls(events: &[Event], expected: &[Call]) {
    assert_eq!(calls(events), expected);
    for event in events {
        assert_eq!(event.partial, Partial::empty(), "{:?}", calls(std::slice::from_ref(event)));
        assert_args_are_whole(event);
    }
}

/// The same of the exec that started a program.
#[track_caller]
pub(crate) fn assert_own_call(run: &Finished, expected: Call) {
    assert_calls(std::slice::from_ref(&run.own), &[expected]);
}

#[track_caller]
pub(crate) fn assert_args_are_whole(event: &Event) {
    let bytes: usize = event.argv.iter().map(|arg| arg.len() + 1).sum();
    assert!(!event.truncated());
    assert_eq!(event.argv.count as usize, event.argv.iter().count());
    assert_eq!(event.argv.total_bytes, bytes as u64);
    assert_eq!(event.argv.kept_bytes(), bytes as u64);
    assert_eq!(event.argv.sha256, None);
}

/// The word by which a test knows its execs apart.
pub(crate) fn word(event: &Event) -> String {
    String::from_utf8_lossy(event.argv.iter().nth(1).unwrap_or_default()).into_owned()
}

pub(crate) fn words(events: &[Event]) -> Vec<String> {
    events.iter().map(word).collect()
}

/// Bytes as the kernel has them, shown so that a difference can be read.
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The word that [`rerun_inside`] was given, in the process that it makes.
pub(crate) fn inside() -> Option<String> {
    std::env::var("EXECTRACE_TEST_INSIDE").ok()
}

/// Runs a test once more, alone, in a PID namespace that is not the initial one and has a `/proc` of its own.
pub(crate) fn rerun_inside(test: &str, word: &str) -> Command {
    // Built here and not there.
    let fixtures = Path::new(target()).parent().expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().expect("our own path")).args(["--exact", test, "--nocapture"]);
    command.env("EXECTRACE_TEST_INSIDE", word).env("EXECTRACE_FIXTURES", fixtures);
    command
}

/// A program that says "watching" on standard error, and ends with its standard input.
pub(crate) struct Watching {
    child: Child,
    errors: String,
}

impl Watching {
    /// Returns when it watches.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Watching {
        let mut watching = Watching { child: spawn(command), errors: String::new() };
        let deadline = Deadline::new("a program to watch");
        let mut stderr = watching.child.stderr.take().expect("a pipe");
        while !watching.errors.contains("watching\n") {
            deadline.wait_readable(&stderr);
            let mut bytes = [0; 4096];
            let read = stderr.read(&mut bytes).expect("a pipe");
            assert!(read > 0, "the program ended and said {:?}", watching.errors);
            watching.errors.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        watching
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its input, and returns what it printed.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        self.child.stdin.take();
        let status = wait(&mut self.child);
        let mut text = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
        (status, text)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
