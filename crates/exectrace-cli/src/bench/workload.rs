//! What is measured: processes that do nothing but vfork and exec a program that ends at once.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use tempfile::TempDir;

/// The programs of the kernel tests; `storm.c` says what it executes and prints.
const STORM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/storm"));
const TARGET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/target"));

/// The two programs as files, until this is dropped.
pub(crate) struct Programs {
    folder: TempDir,
}

impl Programs {
    pub(crate) fn unpack() -> anyhow::Result<Programs> {
        let folder = tempfile::Builder::new().prefix("exectrace-bench-").tempdir().context("making a folder")?;
        write_program(&folder.path().join("storm"), STORM)?;
        write_program(&folder.path().join("target"), TARGET)?;
        Ok(Programs { folder })
    }

    pub(crate) fn storm(&self) -> PathBuf {
        self.folder.path().join("storm")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }
}

fn write_program(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = fs::File::create_new(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.set_permissions(Permissions::from_mode(0o755))?)
}

/// What a storm says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Storm {
    pub(crate) execs: u64,
    pub(crate) execs_per_second: f64,
}
