//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

/// A file system of the test's own, of which the size can be told.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn new(size: &str) -> SmallDisk {
        let disk = SmallDisk(tempfile::tempdir().expect("a temporary folder"));
        disk.mount(&format!("size={size}"));
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn mount(&self, options: &str) {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).status();
        assert!(mounted.expect("mount").success());
    }

    pub(crate) fn grow(&self, size: &str) {
        self.mount(&format!("remount,size={size}"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}
