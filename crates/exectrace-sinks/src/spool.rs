//! Lines that wait on disk for a place over the network: bounded, in order, and there after a kill.
//!
//! SQLite keeps them, in a file for each sink. Lines come in chunks as they were written, and each chunk has a checksum of
//! its own. What was put is removed when the place has taken it; what is there at a start was left by a process before, and
//! goes first.
//!
//! | `sync` | a kill of the process costs | a power failure costs |
//! | --- | --- | --- |
//! | `Never` | nothing | what the kernel had not written, some 30 s; perhaps the file |
//! | `Batch` | nothing | the last chunks, up to 4 MiB; never the file |
//! | `Always` | nothing | nothing that was put |
//!
//! (<https://www.sqlite.org/pragma.html#pragma_synchronous>, for a write-ahead log.)

mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ErrorCode;
use tokio::sync::Notify;

use self::table::Table;
use crate::counts::Counts;
use crate::dropped::{Dropped, DroppedLines, Number, Reason};

/// How a spool behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The sink's name; also the file's, below the folder.
    pub name: &'static str,
    /// Bytes of lines that it holds. The file takes up a quarter and 8 MiB more at most.
    pub max_bytes: u64,
    /// What to drop when it is full.
    pub when_full: WhenFull,
    /// When the disk is told to keep what it was given.
    pub sync: Sync,
}

/// What a full spool drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// What has waited longest, but for what is being sent.
    DropOldest,
    /// What comes.
    DropNewest,
}

/// When the disk is told to keep what it was given (fsync).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Never.
    Never,
    /// Every few megabytes.
    Batch,
    /// Before a chunk counts as put.
    Always,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be made, or not be written to.
    #[error("the spool's folder {} cannot be used: {error}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process has it.
    #[error("the spool {} is in use by another process: give each its own folder", .0.display())]
    InUse(PathBuf),
    /// Another version wrote it.
    #[error("the spool {} was written by another version ({version}): let that one empty it, or remove it", file.display())]
    Version {
        /// Its file.
        file: PathBuf,
        /// Which version.
        version: i64,
    },
    /// The disk, or the file, is not as it should be.
    #[error("the spool {}: {error}", file.display())]
    Sqlite {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        error: rusqlite::Error,
    },
}

/// Lines that were put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its place among all: a later one has a higher number.
    pub id: i64,
    /// The number of its first line; the others follow.
    pub first: Number,
    /// Whole lines with their breaks.
    pub lines: Vec<u8>,
}

/// A spool. Clones are the same one: one thread puts, another takes.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    name: &'static str,
    table: Mutex<Table>,
    /// Something was put.
    put: Notify,
    dropped: DroppedLines,
    counts: Arc<Counts>,
}

impl Spool {
    /// Opens the spool of a sink below a folder, which is made if missing. One that is damaged is put aside.
    pub fn open(
        folder: &Path,
        options: SpoolOptions,
        dropped: DroppedLines,
        counts: Arc<Counts>,
    ) -> Result<Spool, SpoolError> {
        let unusable = |error| SpoolError::Folder { folder: folder.to_owned(), error };
        // Command lines are nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let file = folder.join(options.name).with_extension("spool");
        let table = match Table::open(&file, options) {
            Err(SpoolError::Sqlite { error, .. }) if is_damage(&error) => {
                put_aside(&file, &error).map_err(unusable)?;
                let unknown =
                    Dropped { sink: options.name, reason: Reason::SpoolDamaged, lines: 0, first: None, last: None };
                dropped.add(unknown);
                Table::open(&file, options)?
            }
            table => table?,
        };
        counts.spooled(table.lines(), table.bytes());
        let shared = Shared { name: options.name, table: Mutex::new(table), put: Notify::new(), dropped, counts };
        Ok(Spool(Arc::new(shared)))
    }

    /// Puts whole lines with consecutive numbers. What has no room, and what had to make room, is told as dropped.
    pub fn put(&self, first: Number, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut table = self.table();
        let failed = table.put(first, lines, |first, lines| self.drop_lines(Reason::SpoolFull, first, lines));
        if let Err(error) = failed {
            let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
            let reason = if is_full { Reason::SpoolFull } else { Reason::SpoolFailed };
            self.drop_lines(reason, first, count(lines));
            if !table.is_failing {
                tracing::error!(
                    sink = self.0.name,
                    "the spool cannot be written, what is missing will be counted: {error}"
                );
            }
            table.is_failing = true;
        } else if std::mem::take(&mut table.is_failing) {
            tracing::info!(sink = self.0.name, "the spool can be written again");
        }
        self.0.counts.spooled(table.lines(), table.bytes());
        drop(table);
        self.0.put.notify_one();
    }

    /// The chunk that was put next after another one; `after` is 0 before the first. It stays until it is acknowledged.
    /// One that is not what was put is dropped, and told.
    pub fn next(&self, after: i64) -> Result<Option<Chunk>, rusqlite::Error> {
        let mut after = after;
        loop {
            let mut table = self.table();
            let Some(row) = table.next(after)? else { return Ok(None) };
            after = row.id;
            match row.checked() {
                Ok(chunk) => return Ok(Some(chunk)),
                Err((first, lines)) => {
                    table.remove(after, after)?;
                    self.drop_lines(Reason::SpoolDamaged, first, lines);
                    tracing::error!(sink = self.0.name, lines, "lines in the spool are damaged, and are dropped");
                }
            }
        }
    }

    /// Removes all chunks up to one that the place has taken.
    pub fn acknowledge(&self, up_to: i64) {
        let mut table = self.table();
        // What is not removed is sent again by the next start: twice is better than never.
        if let Err(error) = table.remove(0, up_to) {
            tracing::warn!(sink = self.0.name, "what was sent cannot be removed from the spool: {error}");
        }
        self.0.counts.spooled(table.lines(), table.bytes());
    }

    /// Lines and bytes that wait.
    pub fn size(&self) -> (u64, u64) {
        let table = self.table();
        (table.lines(), table.bytes())
    }

    /// Waits until something was put since it was last waited for.
    pub(crate) async fn was_put(&self) {
        self.0.put.notified().await;
    }

    /// Tells lines that will not get to the place.
    pub(crate) fn drop_lines(&self, reason: Reason, first: Number, lines: u64) {
        let last = Number { line: first.line + lines.max(1) - 1, ..first };
        self.0.counts.drop_lines(reason, lines);
        self.0.dropped.add(Dropped { sink: self.0.name, reason, lines, first: Some(first), last: Some(last) });
    }

    /// Tells lines that are among those that were sent, nobody knows which.
    pub(crate) fn drop_some(&self, reason: Reason, lines: u64) {
        self.0.counts.drop_lines(reason, lines);
        self.0.dropped.add(Dropped { sink: self.0.name, reason, lines, first: None, last: None });
    }

    /// What is counted of its sink.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.0.counts
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Gives a damaged file a name of its own, for who wants to look into it.
fn put_aside(file: &Path, why: &rusqlite::Error) -> std::io::Result<()> {
    let aside = (1..).map(|number| file.with_extension(format!("damaged-{number}"))).find(|aside| !aside.exists());
    let aside = aside.unwrap_or_else(|| file.with_extension("damaged"));
    tracing::error!(file = %file.display(), aside = %aside.display(), "the spool is damaged and put aside: {why}");
    fs::rename(file, aside)?;
    match fs::remove_file(table::write_ahead_log(file)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
