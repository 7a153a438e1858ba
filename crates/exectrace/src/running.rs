//! What runs in a scope already when a tracer begins: a snapshot from a proc file system. Not execs; nobody saw them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::event::Args;
use crate::procfs::{Procfs, Status};
use crate::scope::Scope;

/// A process that was there when it was looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The process, as the proc file system numbers it.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Its name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// Path of the file that runs; empty if it does not let itself be looked at.
    pub exe: Vec<u8>,
    /// The current folder; empty if it does not let itself be looked at.
    pub cwd: Vec<u8>,
    /// Its arguments as they are now, up to 4 KiB; a process can change them.
    pub argv: Args,
    /// When it started, to the hundredth of a second.
    pub started: SystemTime,
}

impl Scope {
    /// The processes that are in the scope now, as far as `/proc` below `proc` shows them, oldest first; `None` if they are
    /// out of sight.
    pub fn running(&self, proc: &Path) -> Option<Vec<Running>> {
        let procfs = Procfs::new(proc);
        let pids: Vec<u32> = match self {
            Scope::Node => procfs.pids().collect(),
            Scope::Tree(tree) => procfs.descendants(tree.root, &HashSet::new()),
            Scope::Cgroup(cgroup) => in_cgroup(Path::new(&format!("/proc/self/fd/{}", cgroup.folder().as_raw_fd()))),
            Scope::PidNamespace(namespace) => {
                if !namespace.is_held() {
                    return None;
                }
                let mut known = HashMap::from([(namespace.number(), true)]);
                procfs.pids().filter(|pid| procfs.is_in_namespace(*pid, &mut known)).collect()
            }
            // A pod's other containers have PID namespaces of their own.
            Scope::Pod(_) | Scope::Children | Scope::Pinned(_) => return None,
        };
        let boot = boot_time();
        let mut running: Vec<Running> = pids.into_iter().filter_map(|pid| look_at(&procfs, pid, boot)).collect();
        running.sort_by_key(|process| (process.started, process.pid));
        Some(running)
    }
}

/// Bytes of arguments that are kept of a process.
const MAX_ARGS: usize = 4096;

/// Processes of a cgroup's folder and those below it; a process that cannot be seen from here has number 0.
fn in_cgroup(folder: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(in_cgroup(&entry.path()));
        }
    }
    pids
}

/// `None` if it is gone meanwhile.
fn look_at(procfs: &Procfs, pid: u32, boot: SystemTime) -> Option<Running> {
    let Status { comm, ppid, start_ticks } = procfs.status(pid)?;
    let (uid, gid) = procfs.real_ids(pid)?;
    // A process can let its arguments be any part of its memory: no more is read than is kept.
    let mut block = procfs.cmdline(pid, MAX_ARGS + 1);
    let total = block.len() as u64;
    block.truncate(MAX_ARGS);
    let count = u32::try_from(block.split(|byte| *byte == 0).count().saturating_sub(1)).unwrap_or(u32::MAX);
    Some(Running {
        pid,
        ppid,
        uid,
        gid,
        comm,
        exe: procfs.link(pid, "exe"),
        cwd: procfs.link(pid, "cwd"),
        argv: Args::new(block, count, total, None),
        started: boot + Duration::from_millis(start_ticks.saturating_mul(1000 / TICKS)),
    })
}

/// `USER_HZ` of the kernel's ABI, in which `/proc/PID/stat` tells times.
const TICKS: u64 = 100;

fn boot_time() -> SystemTime {
    let since_boot = Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime));
    SystemTime::now() - since_boot.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_described() {
        let own = std::process::id();
        let running = look_at(&Procfs::new(Path::new("/proc")), own, boot_time()).expect("ourselves");
        assert_eq!(running.exe, std::env::current_exe().expect("a path").into_os_string().into_encoded_bytes());
        assert_eq!(running.cwd, std::env::current_dir().expect("a folder").into_os_string().into_encoded_bytes());
        assert_eq!(running.argv.count as usize, std::env::args_os().count());
        assert!(running.started < SystemTime::now());
    }

    #[test]
    fn the_own_tree_begins_with_its_oldest() {
        let tree = crate::scope::Tree::of_process(Path::new("/proc"), std::process::id()).expect("ourselves");
        let running = Scope::Tree(tree).running(Path::new("/proc")).expect("in sight");
        assert_eq!(running.first().map(|process| process.pid), Some(std::process::id()));
    }
}
