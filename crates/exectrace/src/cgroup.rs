//! Facts about a cgroup of the unified hierarchy, from its folder.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat, fstatfs, openat};

/// `CGROUP2_SUPER_MAGIC` of include/uapi/linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// The root of every kernfs has this inode number (fs/kernfs/dir.c numbers from 1).
const ROOT_ID: u64 = 1;

/// A cgroup's folder and what is known of it.
pub(crate) struct Found {
    pub(crate) folder: OwnedFd,
    pub(crate) id: u64,
    pub(crate) level: Option<u32>,
}

/// Opens the cgroup whose folder is `path`.
pub(crate) fn open(path: &Path) -> io::Result<Found> {
    let folder = open_folder(rustix::fs::CWD, path)?;
    if !is_cgroup2(&folder)? {
        return Err(io::Error::other("not on a cgroup2 file system (mount -t cgroup2 shows where that is)"));
    }
    let id = fstat(&folder)?.st_ino;
    Ok(Found { id, level: level(&folder)?, folder })
}

/// How many levels below the hierarchy's root a folder lies, if the root can be seen.
fn level(folder: &OwnedFd) -> io::Result<Option<u32>> {
    let mut above = folder.try_clone()?;
    for level in 0.. {
        let id = fstat(&above)?.st_ino;
        if id == ROOT_ID {
            return Ok(Some(level));
        }
        let next = open_folder(&above, Path::new(".."))?;
        if !is_cgroup2(&next)? {
            return Ok(None);
        }
        above = next;
    }
    Ok(None)
}

fn open_folder(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn is_cgroup2(folder: impl AsFd) -> io::Result<bool> {
    Ok(u64::try_from(fstatfs(folder)?.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_elsewhere_is_refused_with_advice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = open(folder.path()).err().expect("no cgroup").to_string();
        assert!(error.contains("mount -t cgroup2"), "{error}");
    }
}
