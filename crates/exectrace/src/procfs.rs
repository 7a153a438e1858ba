//! Facts from a proc file system, whose root the caller gives. No rules, only what stands there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A mounted proc file system.
#[derive(Debug, Clone)]
pub(crate) struct Procfs {
    root: PathBuf,
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

    fn pids(&self) -> impl Iterator<Item = u32> {
        fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    }

    fn parent(&self, pid: u32) -> Option<u32> {
        let stat = fs::read_to_string(self.root.join(pid.to_string()).join("stat")).ok()?;
        // The name in parentheses may hold anything, parentheses too.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(1)?.parse().ok()
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
            fs::write(folder.join("stat"), stat).expect("a file");
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
