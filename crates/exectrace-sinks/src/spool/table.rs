//! The table of a spool: chunks in the order in which they were put.
//!
//! A full disk must not keep chunks from being removed, nor what is in the write-ahead log from getting into the file. So
//! the file grows ahead of what is put, by room that the disk has given before SQLite is told of it; chunks then take up
//! free pages only. The log has its room from the beginning, and begins anew where it cannot grow.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::{Chunk, SpoolError, SpoolOptions, Sync, WhenFull, count};
use crate::dropped::Number;

/// Of the table's form.
const VERSION: i64 = 1;
/// What a chunk takes up besides its lines, about.
const CHUNK: u64 = 64;
/// By how much the file grows, and what the log can take from the beginning.
const STEP: u64 = 1 << 20;
/// Free pages beyond those that a chunk needs: what else changes with it.
const SPARE_PAGES: u64 = 8;

pub(super) struct Table {
    connection: Connection,
    /// Open as long as the connection: closing it would give up SQLite's lock.
    file: File,
    page_bytes: u64,
    options: SpoolOptions,
    lines: u64,
    bytes: u64,
    /// The last chunk that was handed out and is not removed: it is being sent.
    taken: i64,
    /// The last chunk could not be put.
    pub(super) is_failing: bool,
}

/// A row, as it is there.
pub(super) struct Row {
    pub(super) id: i64,
    run: i64,
    first: i64,
    lines: i64,
    crc: i64,
    bytes: Vec<u8>,
}

impl Row {
    /// The chunk, or the numbers of what is no more what was put.
    pub(super) fn checked(self) -> Result<Chunk, (Number, u64)> {
        let number = Number {
            run: u32::try_from(self.run).unwrap_or_default(),
            line: u64::try_from(self.first).unwrap_or_default(),
        };
        if i64::from(checksum(number, &self.bytes)) == self.crc {
            Ok(Chunk { id: self.id, first: number, lines: self.bytes })
        } else {
            Err((number, u64::try_from(self.lines).unwrap_or_default()))
        }
    }
}

fn checksum(first: Number, lines: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&first.run.to_be_bytes());
    crc.update(&first.line.to_be_bytes());
    crc.update(lines);
    crc.finalize()
}

/// Where SQLite writes before it writes to the file.
pub(super) fn write_ahead_log(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

impl Table {
    pub(super) fn open(file: &Path, options: SpoolOptions) -> Result<Table, SpoolError> {
        // SQLite would make it for all to read.
        let room = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(file)
            .map_err(|error| SpoolError::Folder { folder: file.to_owned(), error })?;
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SpoolError::InUse(file.to_owned()),
            _ => SpoolError::Sqlite { file: file.to_owned(), error },
        };
        let connection = Connection::open(file).map_err(failed)?;
        let version = prepare(&connection, options.sync).map_err(failed)?;
        if version != VERSION {
            return Err(SpoolError::Version { file: file.to_owned(), version });
        }
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let page_bytes = u64::try_from(page_bytes).unwrap_or_default().max(512);
        let sums = "SELECT coalesce(sum(lines), 0), coalesce(sum(length(bytes) + ?1), 0) FROM chunks";
        let (lines, bytes): (i64, i64) = connection
            .query_row(sums, params![CHUNK.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        let (lines, bytes) = (u64::try_from(lines).unwrap_or_default(), u64::try_from(bytes).unwrap_or_default());
        let table = Table { connection, file: room, page_bytes, options, lines, bytes, taken: 0, is_failing: false };
        if table.free_bytes().map_err(failed)? < STEP {
            // A full disk shows when something is put.
            let _ = table.grow(STEP).map_err(failed)?;
        }
        Ok(table)
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts a chunk; `dropped` is told what had to make room for it, or the chunk itself, by first line and count.
    pub(super) fn put(
        &mut self,
        first: Number,
        lines: &[u8],
        mut dropped: impl FnMut(Number, u64),
    ) -> Result<(), rusqlite::Error> {
        let cost = lines.len() as u64 + CHUNK;
        while self.bytes + cost > self.options.max_bytes {
            if !self.drop_oldest(&mut dropped)? {
                dropped(first, count(lines));
                return Ok(());
            }
        }
        let needed = cost + SPARE_PAGES * self.page_bytes;
        while self.free_bytes()? < needed {
            if !self.grow(needed.max(STEP))? && !self.drop_oldest(&mut dropped)? {
                dropped(first, count(lines));
                return Ok(());
            }
        }
        let inserted = self.insert(first, lines);
        self.or_restart_log(inserted, |table| table.insert(first, lines))?;
        self.bytes += cost;
        self.lines += count(lines);
        Ok(())
    }

    fn insert(&self, first: Number, lines: &[u8]) -> Result<(), rusqlite::Error> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO chunks (run, first, lines, crc, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        insert.execute(params![
            first.run,
            first.line.cast_signed(),
            count(lines).cast_signed(),
            checksum(first, lines),
            lines
        ])?;
        Ok(())
    }

    /// Removes what has waited longest and is not being sent; false if there is nothing, or nothing is to be dropped.
    fn drop_oldest(&mut self, dropped: &mut impl FnMut(Number, u64)) -> Result<bool, rusqlite::Error> {
        if self.options.when_full == WhenFull::DropNewest {
            return Ok(false);
        }
        let Some(row) = self.row_after(self.taken)? else { return Ok(false) };
        let (id, lines) = (row.id, u64::try_from(row.lines).unwrap_or_default());
        let first = row.checked().map_or_else(|(first, _)| first, |chunk| chunk.first);
        self.remove(id, id)?;
        dropped(first, lines);
        Ok(true)
    }

    /// Hands out the chunk after another one.
    pub(super) fn next(&mut self, after: i64) -> Result<Option<Row>, rusqlite::Error> {
        let row = self.row_after(after)?;
        if let Some(row) = &row {
            self.taken = self.taken.max(row.id);
        }
        Ok(row)
    }

    fn row_after(&self, after: i64) -> Result<Option<Row>, rusqlite::Error> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, run, first, lines, crc, bytes FROM chunks WHERE id > ?1 ORDER BY id LIMIT 1")?;
        let row = select.query_row([after], |row| {
            let [id, run, first, lines, crc] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            Ok(Row { id, run, first, lines, crc, bytes: row.get(5)? })
        });
        row.optional()
    }

    /// Removes the chunks from one to another.
    pub(super) fn remove(&mut self, from: i64, to: i64) -> Result<(), rusqlite::Error> {
        let deleted = self.delete(from, to);
        self.or_restart_log(deleted, |table| table.delete(from, to))
    }

    /// A log that cannot grow takes up no more room when it begins anew.
    fn or_restart_log(
        &mut self,
        done: Result<(), rusqlite::Error>,
        again: impl FnOnce(&mut Table) -> Result<(), rusqlite::Error>,
    ) -> Result<(), rusqlite::Error> {
        match done {
            Err(error) if is_full(&error) => {
                self.restart_log()?;
                again(self)
            }
            done => done,
        }
    }

    fn free_bytes(&self) -> Result<u64, rusqlite::Error> {
        let pages: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        Ok(u64::try_from(pages).unwrap_or_default() * self.page_bytes)
    }

    /// Makes free pages; false if the disk has no room for them.
    fn grow(&self, bytes: u64) -> Result<bool, rusqlite::Error> {
        let pages: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let end = u64::try_from(pages).unwrap_or_default() * self.page_bytes;
        let room = bytes + SPARE_PAGES * self.page_bytes;
        // Where a file system cannot do that it shows below.
        let given = rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), end, room);
        if let Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) = given {
            return Ok(false);
        }
        let make = || {
            self.restart_log()?;
            let insert = "INSERT INTO chunks (run, first, lines, crc, bytes) VALUES (0, 0, 0, 0, zeroblob(?1))";
            self.connection.execute(insert, [bytes.cast_signed()])?;
            self.connection.execute("DELETE FROM chunks WHERE lines = 0", [])?;
            self.restart_log()
        };
        match make() {
            Err(error) if is_full(&error) => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn delete(&mut self, from: i64, to: i64) -> Result<(), rusqlite::Error> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM chunks WHERE id BETWEEN ?1 AND ?2 RETURNING lines, length(bytes)")?;
        let mut rows = delete.query([from, to])?;
        while let Some(row) = rows.next()? {
            let (lines, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
            self.lines = self.lines.saturating_sub(u64::try_from(lines).unwrap_or_default());
            self.bytes = self.bytes.saturating_sub(u64::try_from(bytes).unwrap_or_default() + CHUNK);
        }
        Ok(())
    }

    /// Writes the log into the file, so that the next change is written at the log's beginning.
    fn restart_log(&self) -> Result<(), rusqlite::Error> {
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
    }
}

/// Makes the table if there is none; returns which version is there.
fn prepare(connection: &Connection, sync: Sync) -> Result<i64, rusqlite::Error> {
    // Nobody else may have it, so there is no wait; and no memory that others share.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match sync {
        Sync::Never => "OFF",
        Sync::Batch => "NORMAL",
        Sync::Always => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version != 0 || tables != 0 {
        if version == VERSION {
            // What a kill left of a step by which the file grew.
            connection.execute("DELETE FROM chunks WHERE lines = 0", [])?;
        }
        return Ok(version);
    }
    connection.execute_batch(
        "BEGIN;
        CREATE TABLE chunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL,
            first INTEGER NOT NULL,
            lines INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            bytes BLOB NOT NULL
        ) STRICT;
        PRAGMA user_version = 1;
        COMMIT;
        PRAGMA wal_checkpoint(RESTART);",
    )?;
    Ok(VERSION)
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
