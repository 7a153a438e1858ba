//! Worlds in which things execute, as the kernel would tell of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use exectrace::{
    Args, Ended, Event, ExecId, FailedExec, Hook, Interpreter, Origin, Partial, Running, ScopeId, Status, Traits,
};

/// A world: processes have numbers, files have inodes, and time goes on with each exec.
pub(super) struct World {
    pub(super) now: SystemTime,
    pids: u32,
    inodes: u64,
    files: HashMap<Vec<u8>, u64>,
}

/// From one exec to the next.
const STEP: Duration = Duration::from_millis(10);
pub(super) const USER: u32 = 101_000;
pub(super) const ENOENT: u32 = 2;
pub(super) const EACCES: u32 = 13;

impl World {
    pub(super) fn new() -> World {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_646_080_000);
        World { now, pids: 1_000, inodes: 100, files: HashMap::new() }
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// An exec by a process of which nothing was logged before, in a session of its own.
    pub(super) fn begin(&mut self, path: &str, argv: &[&str]) -> Event {
        let pid = self.pid();
        let event = Event {
            time: self.now,
            scope: ScopeId::FIRST,
            id: ExecId { boot: 0xb7c9_e1d2_a4f0, start: u64::from(pid) << 20, pid, exec: 1 },
            parent_id: None,
            filename: Vec::new(),
            argv: Args::default(),
            pid,
            vpid: pid - 900,
            ppid: 900,
            sid: pid,
            caller_tid: pid,
            uid: USER,
            gid: USER,
            euid: USER,
            egid: USER,
            loginuid: None,
            audit_session: None,
            comm: b"init".to_vec(),
            exe: Vec::new(),
            interpreter: None,
            cwd: b"/home/jessie".to_vec(),
            tty: None,
            container: None,
            cgroup: 8_127,
            ns_level: 1,
            pid_ns: 4_026_532_412,
            mnt_ns: 4_026_532_410,
            inode: 0,
            device: (8, 1),
            mode: 0o100_755,
            traits: Traits::empty(),
            partial: Partial::empty(),
            env_marker: None,
            origin: Origin { cpu: 1, hook: Hook::Exec, seq: 1, position: 4_096 },
        };
        self.image(event, path, argv)
    }

    /// `parent` forks, and its child executes.
    pub(super) fn exec(&mut self, parent: &Event, path: &str, argv: &[&str]) -> Event {
        let pid = self.pid();
        let id = ExecId { pid, start: u64::from(pid) << 20, exec: parent.id.exec + 1, ..parent.id };
        let child = Event { id, pid, vpid: pid - 900, ppid: parent.pid, caller_tid: pid, ..parent.clone() };
        self.image(Event { parent_id: Some(parent.id), comm: comm(&parent.exe), ..child }, path, argv)
    }

    /// `process` executes without a fork.
    pub(super) fn replace(&mut self, process: &Event, path: &str, argv: &[&str]) -> Event {
        let id = ExecId { exec: process.id.exec + 1, ..process.id };
        let again = Event { id, parent_id: Some(process.id), comm: comm(&process.exe), ..process.clone() };
        self.image(again, path, argv)
    }

    /// As [`World::exec`], of a script that `interpreter` runs.
    pub(super) fn script(&mut self, parent: &Event, path: &str, interpreter: &str) -> Event {
        let event = self.exec(parent, interpreter, &[path]);
        let interpreter = Some(Interpreter { path: interpreter.into(), args: Vec::new() });
        Event { filename: path.into(), interpreter, ..event }
    }

    /// A child of `caller` tries to.
    pub(super) fn attempt(&mut self, caller: &Event, argv: &[&str], errno: u32) -> FailedExec {
        self.now += STEP;
        let pid = self.pid();
        let filename = argv.first().map(|path| path.as_bytes().to_vec()).unwrap_or_default();
        let comm = comm(&caller.exe);
        let attempt =
            Event { time: self.now, filename, argv: args(argv), pid, ppid: caller.pid, comm, ..caller.clone() };
        let origin = Origin { hook: Hook::Failed, ..attempt.origin };
        let attempt =
            Event { exe: Vec::new(), interpreter: None, inode: 0, device: (0, 0), mode: 0, origin, ..attempt };
        FailedExec { errno, attempt: Event { traits: Traits::empty(), ..attempt } }
    }

    /// The process ends; `status` is that of wait(2).
    pub(super) fn end(&mut self, process: &Event, status: u32) -> Ended {
        self.now += STEP;
        Ended {
            time: self.now,
            scope: process.scope,
            id: process.id,
            pid: process.pid,
            uid: process.uid,
            comm: comm(&process.exe),
            status: Status::from_wait(status),
            lived: STEP,
            cpu_time: STEP,
            max_rss_bytes: 1 << 20,
            origin: Origin { hook: Hook::Exit, ..process.origin },
        }
    }

    /// Another file is put where this one is.
    pub(super) fn put(&mut self, path: &str) {
        self.inodes += 1;
        self.files.insert(path.into(), self.inodes);
    }

    fn image(&mut self, event: Event, path: &str, argv: &[&str]) -> Event {
        self.now += STEP;
        if !self.files.contains_key(path.as_bytes()) {
            self.put(path);
        }
        let (filename, exe, inode) = (path.into(), path.into(), self.files[path.as_bytes()]);
        // What one image was, the next is not.
        let (traits, partial, interpreter) = (Traits::empty(), Partial::empty(), None);
        Event { time: self.now, filename, exe, inode, argv: args(argv), traits, partial, interpreter, ..event }
    }

    fn pid(&mut self) -> u32 {
        self.pids += 1;
        self.pids
    }
}

/// The same on a terminal.
pub(super) fn on(tty: &str, event: Event) -> Event {
    Event { tty: Some(tty.into()), ..event }
}

/// A process that ran before the log.
pub(super) fn running(pid: u32, ppid: u32, exe: &str, argv: &[&str]) -> Running {
    Running {
        pid,
        ppid,
        uid: USER,
        gid: USER,
        comm: comm(exe.as_bytes()),
        exe: exe.into(),
        cwd: b"/".to_vec(),
        argv: args(argv),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_646_070_000),
    }
}

pub(super) fn args(argv: &[&str]) -> Args {
    let block: Vec<u8> = argv.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
    let bytes = block.len() as u64;
    Args::new(block, u32::try_from(argv.len()).expect("few arguments"), bytes, None)
}

/// As the kernel keeps a task's name.
fn comm(exe: &[u8]) -> Vec<u8> {
    crate::pattern::name(exe).iter().take(15).copied().collect()
}
