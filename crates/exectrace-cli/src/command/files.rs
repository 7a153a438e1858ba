//! Files of a log that a command reads from the first to the last, with a progress bar where that takes long.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{Exit, Failed};

/// What takes less than a second needs no progress bar.
const LARGE: u64 = 64 << 20;

/// Gives each file, with its name, to who reads it; `-` is stdin.
pub(super) fn read_each(
    files: &[PathBuf],
    mut read: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> anyhow::Result<()> {
    let bar = progress(files);
    for path in files {
        let name = path.display().to_string();
        let unreadable = || Failed(Exit::Usage, format!("cannot read {name}"));
        let input = open(path).with_context(unreadable)?;
        read(&name, &mut bar.wrap_read(input)).with_context(unreadable)?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// What was read is no log.
pub(super) fn no_log() -> Failed {
    Failed(Exit::Usage, "this is not a log of exectrace: no line of it has a run and a number".to_owned())
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// For people who wait for a large log; hidden otherwise.
fn progress(files: &[PathBuf]) -> ProgressBar {
    let bytes = files.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
    if bytes < LARGE || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
