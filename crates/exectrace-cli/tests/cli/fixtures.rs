//! Programs of the library's tests that these tests run too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of a fixture program, without links.
pub(crate) fn fixture(name: &str) -> String {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(build);
    folder.join(name).into_os_string().into_string().expect("a path in UTF-8")
}

fn build() -> PathBuf {
    let tmp = fs::canonicalize(env!("CARGO_TARGET_TMPDIR")).expect("cargo makes the folder");
    let lock = File::create(tmp.join("fixtures.lock")).expect("a file to lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    let folder = tmp.join("fixtures");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exectrace/tests/fixtures/build.sh");
    let status = Command::new(script).arg(&folder).status().expect("build.sh runs");
    assert!(status.success(), "the fixtures do not build");
    folder
}
