//! [`Event`]: what is known of one exec. `docs/events.md` tells where in the kernel each field comes from.

use std::fmt;
use std::time::{Duration, SystemTime};

use bitflags::bitflags;

use crate::scope::ScopeId;

/// One exec that succeeded.
///
/// Strings are bytes as the kernel has them, without a NUL. Process and user numbers are those of the initial
/// namespaces (what the node's root sees) unless a field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When the new image stood, by the node's wall clock.
    pub time: SystemTime,
    /// The scope that the process belongs to.
    pub scope: ScopeId,
    /// This exec.
    pub id: ExecId,
    /// The nearest exec up the line that was logged: the previous image of this process or, across any number of
    /// forks, that of an ancestor, also of one that is gone.
    pub parent_id: Option<ExecId>,
    /// The path as it was asked for: relative, through links, or `/dev/fd/N` for an exec by descriptor.
    pub filename: Vec<u8>,
    /// The arguments as the caller gave them. For a script these are its path and what follows it; what the kernel put
    /// before them is in `interpreter`.
    pub argv: Args,
    /// The process (thread group).
    pub pid: u32,
    /// The process's number in the PID namespace of the scope, for a pod in that of its container; or in its own where the
    /// scope has none.
    pub vpid: u32,
    /// The parent when the exec happened.
    pub ppid: u32,
    /// The session's leader.
    pub sid: u32,
    /// The thread that called exec; the kernel gave it the number `pid` in the course of it.
    pub caller_tid: u32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective user, after the exec.
    pub euid: u32,
    /// Effective group, after the exec.
    pub egid: u32,
    /// Login user of the audit subsystem, if one was set.
    pub loginuid: Option<u32>,
    /// Session of the audit subsystem, if there is one.
    pub audit_session: Option<u32>,
    /// Name of the task that called exec, from before it; at most 15 bytes. Empty if [`Partial::COMM`].
    pub comm: Vec<u8>,
    /// Path of the file that runs, below the process's root: the interpreter of a script, the end of links. Empty if
    /// [`Partial::EXE`].
    pub exe: Vec<u8>,
    /// What the kernel put in front of a script's own arguments.
    pub interpreter: Option<Interpreter>,
    /// The current folder, below the process's root. Empty if [`Partial::CWD`].
    pub cwd: Vec<u8>,
    /// The controlling terminal, as in `pts/3`.
    pub tty: Option<Vec<u8>>,
    /// The container of the pod in which the process is, by the runtime's id, if the scope is a pod; for a nested one the
    /// container that it runs in. `None` where the process is in the pod and in none of its containers.
    pub container: Option<Vec<u8>>,
    /// Which marker the process, or an ancestor across any number of forks, had in its environment: its place in the order
    /// of [`crate::TracerBuilder::env_marker`]. `None` if none was found.
    pub env_marker: Option<u32>,
    /// Id of the cgroup in the unified hierarchy.
    pub cgroup: u64,
    /// Depth of the process's PID namespace; 0 is the initial one.
    pub ns_level: u32,
    /// Number of the process's PID namespace.
    pub pid_ns: u32,
    /// Number of the process's mount namespace.
    pub mnt_ns: u32,
    /// Inode number of the file that runs.
    pub inode: u64,
    /// Major and minor number of the device that holds it.
    pub device: (u32, u32),
    /// Type and permission bits of the file that runs, as in `st_mode`.
    pub mode: u32,
    /// What the exec is.
    pub traits: Traits,
    /// What could not be read, or not wholly.
    pub partial: Partial,
    /// Where in the stream of records it came.
    pub origin: Origin,
}

impl Event {
    /// Whether arguments are missing from `argv`.
    pub fn truncated(&self) -> bool {
        self.argv.kept_bytes() < self.argv.total_bytes
    }
}

/// An attempt to exec that failed.
///
/// What it tried is read when the system call ends, from memory that the caller's other threads can change: it is what
/// the caller claims. Only strings and numbers of the caller are known; nothing of a file was opened for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedExec {
    /// Why it failed, as in errno(3).
    pub errno: u32,
    /// What was tried: `filename` and `argv` as the caller has them, `comm` and the other numbers of the caller itself.
    /// `id` is that of the caller's image, `parent_id` that of the nearest one up the line that was logged. `exe`,
    /// `interpreter`, `inode`, `device` and `mode` are empty.
    pub attempt: Event,
}

/// The end of a process whose last exec was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When, by the node's wall clock.
    pub time: SystemTime,
    /// The scope of its last exec.
    pub scope: ScopeId,
    /// Its last exec.
    pub id: ExecId,
    /// The process.
    pub pid: u32,
    /// Real user.
    pub uid: u32,
    /// Name of the task that ended last.
    pub comm: Vec<u8>,
    /// How it ended.
    pub status: Status,
    /// From its last exec to its end.
    pub lived: Duration,
    /// Processor time of all its threads, of its earlier images too; without what it ran since the scheduler last looked,
    /// a tick at most.
    pub cpu_time: Duration,
    /// The most memory that was resident, of its earlier images too.
    pub max_rss_bytes: u64,
    /// Where in the stream of records it came.
    pub origin: Origin,
}

/// How a process ended, as wait(2) gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub(crate) u32);

impl Status {
    /// A status as wait(2) gives it.
    pub fn from_wait(status: u32) -> Status {
        Status(status)
    }

    /// What it gave to exit(3), if it ended by itself.
    pub fn code(self) -> Option<u32> {
        (self.0 & 0x7f == 0).then_some(self.0 >> 8 & 0xff)
    }

    /// The signal that ended it, if one did.
    pub fn signal(self) -> Option<u32> {
        Some(self.0 & 0x7f).filter(|signal| *signal != 0)
    }

    /// Whether its memory was dumped.
    pub fn dumped_core(self) -> bool {
        self.0 & 0x80 != 0 && self.signal().is_some()
    }
}

/// Identifies one exec on all nodes for all times: boot, start of the process, pid and number of the exec in it.
///
/// Two tracers that see the same exec give it the same id. Ids of one process differ in the last part only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecId {
    /// The first 48 bits of the kernel's random boot id.
    pub boot: u64,
    /// When the process started, in ns since boot.
    pub start: u64,
    /// The process.
    pub pid: u32,
    /// How many execs the process and its forefathers had made, this one included.
    pub exec: u32,
}

impl fmt::Display for ExecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{:x}-{:x}-{:x}", self.boot, self.start, self.pid, self.exec)
    }
}

/// Arguments: a block of strings that each end in a NUL, as they lie in the new image's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args {
    /// The block as far as it is kept; the last string lacks its end if it was cut.
    block: Vec<u8>,
    /// How many arguments there were.
    pub count: u32,
    /// Bytes of all arguments, each with its NUL.
    pub total_bytes: u64,
    /// SHA-256 of all arguments, each with its NUL, where all of them came to user space and not all are kept.
    pub sha256: Option<[u8; 32]>,
}

impl Args {
    /// `block` is what is kept: strings that each end in a NUL, but for the last if it was cut.
    pub fn new(block: Vec<u8>, count: u32, total_bytes: u64, sha256: Option<[u8; 32]>) -> Args {
        Args { block, count, total_bytes, sha256 }
    }

    /// The arguments that are kept, in order; the last may be cut if not all are.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let block = self.block.strip_suffix(b"\0").unwrap_or(&self.block);
        let strings = (!self.block.is_empty()).then(|| block.split(|byte| *byte == 0));
        strings.into_iter().flatten()
    }

    /// The same arguments in other words, as many; what was cut stays cut, and their hash is not known any more.
    pub fn reworded(&self, words: &[Vec<u8>]) -> Args {
        let mut block = words.join(&0);
        if self.block.ends_with(b"\0") {
            block.push(0);
        }
        let missing = self.total_bytes.saturating_sub(self.kept_bytes());
        Args { count: self.count, total_bytes: block.len() as u64 + missing, block, sha256: None }
    }

    /// Bytes that are kept.
    pub fn kept_bytes(&self) -> u64 {
        self.block.len() as u64
    }
}

/// What the kernel put before the arguments of a script, or of a file of a registered format (binfmt_misc).
///
/// The new image's own argument vector is `path`, `args`, and then the event's `argv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The interpreter, as the script or the registration names it.
    pub path: Vec<u8>,
    /// What stands between it and the script's path: the argument of the `#!` line, and inner scripts.
    pub args: Vec<Vec<u8>>,
}

bitflags! {
    /// What an exec is, beyond its strings and numbers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Traits: u32 {
        /// The file lives in memory only (memfd_create).
        const MEMFD = 1 << 0;
        /// The file's last name was removed before or during the exec.
        const DELETED = 1 << 1;
        /// A set-user-ID or set-group-ID bit of the file took effect.
        const SETUID = 1 << 2;
        /// The dynamic loader was called by its own name, to run a file that the event can only show as an argument.
        const LD_SO = 1 << 3;
        /// A thread that was not the leader called exec.
        const THREAD = 1 << 4;
        /// In a pod: the process runs in a container, or another PID namespace, within one of the pod's.
        const NESTED = 1 << 5;
    }

    /// Parts that could not be read, or not wholly, and why.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Partial: u32 {
        /// `filename` could not be read.
        const FILENAME = 1 << 0;
        /// `filename` lacks its end.
        const FILENAME_CUT = 1 << 1;
        /// The interpreter's name could not be read.
        const INTERPRETER = 1 << 2;
        /// The interpreter's name lacks its end.
        const INTERPRETER_CUT = 1 << 3;
        /// `exe` could not be read.
        const EXE = 1 << 4;
        /// `exe` lacks its beginning: more than 4,096 bytes or 96 components.
        const EXE_CUT = 1 << 5;
        /// `exe` is not below the process's root; it is told from the mount namespace's.
        const EXE_OUTSIDE_ROOT = 1 << 6;
        /// `cwd` could not be read.
        const CWD = 1 << 7;
        /// `cwd` lacks its beginning.
        const CWD_CUT = 1 << 8;
        /// `cwd` is not below the process's root.
        const CWD_OUTSIDE_ROOT = 1 << 9;
        /// The caller's name is not known.
        const COMM = 1 << 10;
        /// Argument memory could not be read (swapped out).
        const ARGS_FAULT = 1 << 11;
        /// The ring buffer had no room for all arguments, or what was left was kept for other execs.
        const ARGS_RING_FULL = 1 << 12;
        /// More arguments than the tracer was told to read.
        const ARGS_READ_LIMIT = 1 << 13;
        /// More arguments than the tracer was told to keep.
        const ARGS_KEEP_LIMIT = 1 << 14;
        /// Where the script's own arguments begin is not certain: its path stands in more than one place. `interpreter`
        /// and `argv` together are still what the new image got.
        const SCRIPT_ARGS = 1 << 15;
        /// The kernel's table of processes was full: `parent_id` is not known.
        const PARENT = 1 << 16;
        /// The ring buffer had no room for strings, or what was left was kept for other execs: `filename`, `argv`, `exe`,
        /// `interpreter`, `cwd` and `tty` are missing.
        const STRINGS_RING_FULL = 1 << 17;
        /// The environment, in which a marker was looked for, could not be read (swapped out).
        const ENV_FAULT = 1 << 18;
        /// No marker is among the first 256 variables of the environment, and it has more.
        const ENV_LIMIT = 1 << 19;
    }
}

impl Partial {
    /// The reasons' names as the log has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Partial, &str); 20] = [
            (Partial::FILENAME, "filename_fault"),
            (Partial::FILENAME_CUT, "filename_cut"),
            (Partial::INTERPRETER, "interpreter_fault"),
            (Partial::INTERPRETER_CUT, "interpreter_cut"),
            (Partial::EXE, "exe_fault"),
            (Partial::EXE_CUT, "exe_cut"),
            (Partial::EXE_OUTSIDE_ROOT, "exe_outside_root"),
            (Partial::CWD, "cwd_fault"),
            (Partial::CWD_CUT, "cwd_cut"),
            (Partial::CWD_OUTSIDE_ROOT, "cwd_outside_root"),
            (Partial::COMM, "comm_unknown"),
            (Partial::ARGS_FAULT, "args_fault"),
            (Partial::ARGS_RING_FULL, "args_ring_full"),
            (Partial::ARGS_READ_LIMIT, "args_read_limit"),
            (Partial::ARGS_KEEP_LIMIT, "args_keep_limit"),
            (Partial::SCRIPT_ARGS, "script_args_ambiguous"),
            (Partial::PARENT, "parent_unknown"),
            (Partial::STRINGS_RING_FULL, "strings_ring_full"),
            (Partial::ENV_FAULT, "env_fault"),
            (Partial::ENV_LIMIT, "env_limit"),
        ];
        NAMES.into_iter().filter_map(move |(reason, name)| self.contains(reason).then_some(name))
    }
}

/// Where in the kernel's stream of records an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The CPU.
    pub cpu: u32,
    /// The program: `exec`, or `backup` where a kernel skipped the first.
    pub hook: Hook,
    /// Counts the records of one scope, CPU and hook.
    pub seq: u64,
    /// Position in the ring: all that lies before it has been handed out with this or before it. See
    /// [`crate::Progress::position`].
    pub position: u64,
}

/// The program that saw an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// The first one.
    Exec,
    /// The one for execs that the kernel skips in the first.
    Backup,
    /// Those for attempts that failed.
    Failed,
    /// The one for the ends of processes.
    Exit,
}

impl Hook {
    /// The hook's name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Exec => "exec",
            Hook::Backup => "backup",
            Hook::Failed => "failed",
            Hook::Exit => "exit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(block: &[u8]) -> Vec<Vec<u8>> {
        Args::new(block.to_vec(), 0, 0, None).iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn empty_arguments_stay() {
        assert_eq!(args(b"\0\0x\0\0"), [&b""[..], b"", b"x", b""]);
        assert_eq!(args(b"\0"), [b""]);
        assert!(args(b"").is_empty());
    }

    #[test]
    fn a_cut_argument_is_kept_as_far_as_it_goes() {
        assert_eq!(args(b"a\0bc"), [&b"a"[..], b"bc"]);
    }

    #[test]
    fn ids_of_one_process_differ_in_the_last_part_only() {
        let first = ExecId { boot: 0xb7c9_e1d2_a4f0, start: 0x1a2b, pid: 920_684, exec: 3 };
        assert_eq!(first.to_string(), "b7c9e1d2a4f0-1a2b-e0c6c-3");
        assert_eq!(ExecId { exec: 4, ..first }.to_string(), "b7c9e1d2a4f0-1a2b-e0c6c-4");
    }

    #[test]
    fn a_status_is_a_code_or_a_signal() {
        assert_eq!((Status(7 << 8).code(), Status(7 << 8).signal()), (Some(7), None));
        assert_eq!((Status(9).code(), Status(9).signal()), (None, Some(9)));
        assert!(Status(11 | 0x80).dumped_core() && !Status(0x80).dumped_core());
    }

    #[test]
    fn every_reason_has_a_name() {
        assert_eq!(Partial::all().names().count(), Partial::all().iter().count());
    }
}
