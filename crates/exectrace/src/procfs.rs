//! Facts from a proc file system, whose root the caller gives. No rules, only what stands there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// A mounted proc file system.
#[derive(Debug, Clone)]
pub(crate) struct Procfs {
    root: PathBuf,
}

/// Parts of `/proc/PID/stat`.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) comm: Vec<u8>,
    pub(crate) ppid: u32,
    /// Since boot.
    pub(crate) start_ticks: u64,
}

/// `NS_GET_PARENT` of uapi/linux/nsfs.h: opens the namespace above one.
struct Parent;

// SAFETY: the operation takes no argument, and what it returns is a new descriptor.
unsafe impl Ioctl for Parent {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::none(0xb7, 2)
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut std::ffi::c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: the kernel has just made it, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// How a search for a namespace ended.
#[derive(Debug)]
pub(crate) enum Search {
    /// A hold on it.
    Found(File),
    /// No visible process lives in it.
    NotHere,
    /// Some processes do not let themselves be looked at (that takes their user's identity or CAP_SYS_PTRACE).
    Unclear,
}

impl Procfs {
    pub(crate) fn new(root: &Path) -> Procfs {
        Procfs { root: root.to_owned() }
    }

    /// The PID namespace of a process, held open, and its number.
    pub(crate) fn pid_namespace(&self, pid: u32) -> io::Result<(File, u32)> {
        self.namespace(&pid.to_string())
    }

    /// The same of the calling process.
    pub(crate) fn own_pid_namespace(&self) -> io::Result<(File, u32)> {
        self.namespace("self")
    }

    fn namespace(&self, process: &str) -> io::Result<(File, u32)> {
        let path = self.root.join(process).join("ns/pid");
        let file = File::open(&path)?;
        // The number of what was opened, not of what the link says a moment later.
        let inode = rustix::fs::fstat(&file)?.st_ino;
        let number = u32::try_from(inode)
            .map_err(|_| io::Error::other(format!("{} has inode {inode}: no namespace", path.display())))?;
        Ok((file, number))
    }

    /// Looks for a process that lives in the PID namespace with this number.
    pub(crate) fn find_pid_namespace(&self, number: u32) -> Search {
        let mut result = Search::NotHere;
        for pid in self.pids() {
            match self.pid_namespace(pid) {
                Ok((file, found)) if found == number => return Search::Found(file),
                // The init needs no look: the namespace in which it lives is the one that is shown here.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid != 1 => result = Search::Unclear,
                _ => {}
            }
        }
        result
    }

    /// Whether the pids here are those that the calling process knows.
    pub(crate) fn is_of_own_namespace(&self) -> bool {
        let own = std::process::id().to_string();
        fs::read_link(self.root.join("self")).is_ok_and(|link| link == Path::new(&own))
    }

    /// Whether there is such a process.
    pub(crate) fn process_exists(&self, pid: u32) -> io::Result<()> {
        fs::metadata(self.root.join(pid.to_string()).join("stat")).map(drop)
    }

    /// Descendants of a process that live now, itself first, without those of `without` and their descendants.
    pub(crate) fn descendants(&self, root: u32, without: &HashSet<u32>) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in self.pids() {
            if let Some(parent) = self.parent(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let (mut found, mut seen, mut next) = (Vec::new(), without.clone(), vec![root]);
        while let Some(pid) = next.pop() {
            if seen.insert(pid) {
                found.push(pid);
                next.extend(children.remove(&pid).unwrap_or_default());
            }
        }
        found
    }

    /// Whether a process lives in a PID namespace that is `known` to be wanted, or below one; what is found out on the way
    /// becomes known too.
    pub(crate) fn is_in_namespace(&self, pid: u32, known: &mut HashMap<u32, bool>) -> bool {
        let Ok((file, mut number)) = self.pid_namespace(pid) else { return false };
        let (mut namespace, mut passed) = (OwnedFd::from(file), Vec::new());
        let wanted = loop {
            if let Some(wanted) = known.get(&number) {
                break *wanted;
            }
            passed.push(number);
            // SAFETY: the descriptor is a namespace's, which knows this operation.
            let Ok(above) = (unsafe { ioctl(&namespace, Parent) }) else { break false };
            let Ok(inode) = rustix::fs::fstat(&above).map(|stat| stat.st_ino) else { break false };
            number = u32::try_from(inode).unwrap_or_default();
            namespace = above;
        };
        known.extend(passed.into_iter().map(|number| (number, wanted)));
        wanted
    }

    /// What `/proc/PID/stat` says; `None` if the process is gone.
    pub(crate) fn status(&self, pid: u32) -> Option<Status> {
        let stat = fs::read(self.root.join(pid.to_string()).join("stat")).ok()?;
        // The name in parentheses may hold anything, parentheses too.
        let (open, close) = (stat.iter().position(|byte| *byte == b'(')?, stat.iter().rposition(|byte| *byte == b')')?);
        let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Status {
            comm: stat.get(open + 1..close)?.to_vec(),
            ppid: fields.nth(1)?.parse().ok()?,
            start_ticks: fields.nth(17)?.parse().ok()?,
        })
    }

    /// Real user and group.
    pub(crate) fn real_ids(&self, pid: u32) -> Option<(u32, u32)> {
        let status = fs::read(self.root.join(pid.to_string()).join("status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let first = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        Some((first("Uid:")?, first("Gid:")?))
    }

    /// The first bytes of the arguments, each with its NUL; empty for a process that has none or does not let itself be
    /// looked at.
    pub(crate) fn cmdline(&self, pid: u32, max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(pid.to_string()).join("cmdline"));
        let read = file.and_then(|file| file.take(max as u64).read_to_end(&mut bytes));
        read.map_or_else(|_| Vec::new(), |_| bytes)
    }

    /// Where a link such as `exe` leads; empty if the process does not let itself be looked at.
    pub(crate) fn link(&self, pid: u32, name: &str) -> Vec<u8> {
        let target = fs::read_link(self.root.join(pid.to_string()).join(name));
        target.map(|path| path.into_os_string().into_vec()).unwrap_or_default()
    }

    /// Numbers of the processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    }

    fn parent(&self, pid: u32) -> Option<u32> {
        self.status(pid).map(|status| status.ppid)
    }

    /// The random number that the kernel drew when it booted.
    pub(crate) fn boot_id(&self) -> io::Result<String> {
        fs::read_to_string(self.root.join("sys/kernel/random/boot_id")).map(|id| id.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(processes: &[(u32, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (pid, stat) in processes {
            let folder = root.path().join(pid.to_string());
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("stat"), format!("{stat}{}", " 0".repeat(16))).expect("a file");
        }
        root
    }

    #[test]
    fn descendants_are_found_below_their_root_only() {
        let root = tree(&[
            (1, "1 (init) S 0 1 1"),
            (10, "10 (bash) S 1 10 10"),
            (11, "11 (a) b) (c) S 10 10 10"),
            (12, "12 (make) S 11 10 10"),
            (20, "20 (sshd) S 1 20 20"),
        ]);
        let mut found = Procfs::new(root.path()).descendants(10, &HashSet::new());
        found.sort_unstable();
        assert_eq!(found, [10, 11, 12]);
        assert_eq!(Procfs::new(root.path()).descendants(10, &HashSet::from([11])), [10]);
    }

    #[test]
    fn a_process_that_vanishes_meanwhile_is_passed_over() {
        let root = tree(&[(10, "10 (bash) S 1")]);
        fs::create_dir(root.path().join("11")).expect("a folder");
        assert_eq!(Procfs::new(root.path()).descendants(10, &HashSet::new()), [10]);
    }
}
