//! A file that is put aside when it has grown large: compressed, and kept among the last ones.
//!
//! `exectrace.log` becomes `exectrace.log.20261124T214300.123456789Z.zst`; names in their order are the log in its order,
//! and `exectrace verify` reads them. A kill in between leaves a file that is not compressed yet, which the next start does.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use super::lines::{LineSink, Stopped};

/// When a file is put aside, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Bytes; 0: never.
    pub(crate) max_bytes: u64,
    /// Files besides the one that is written; 0: all.
    pub(crate) keep: usize,
}

/// A file that lines are added to.
pub(crate) struct RotatedFile {
    path: PathBuf,
    sink: LineSink,
    bytes: u64,
    /// Put aside when it has so many; `None`: never, as what is written is no regular file.
    limit: Option<u64>,
    rotation: Rotation,
    archivist: Option<JoinHandle<()>>,
}

const COMPRESSED: &str = "zst";
/// Of a file that is being compressed.
const UNFINISHED: &str = "part";

impl RotatedFile {
    /// Opens a file, which is made if missing and added to at its end.
    pub(crate) fn open(path: &Path, rotation: Rotation) -> anyhow::Result<RotatedFile> {
        let sink = LineSink::file(path)?;
        let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file);
        let mut file = RotatedFile {
            path: path.to_owned(),
            sink,
            bytes: meta.as_ref().map_or(0, fs::Metadata::len),
            limit: meta.map(|_| rotation.max_bytes).filter(|bytes| *bytes > 0),
            rotation,
            archivist: None,
        };
        if file.limit.is_some() {
            file.tidy();
        }
        Ok(file)
    }

    /// How many bytes it took, for who waits for it.
    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        self.sink.taken()
    }

    /// Writes whole lines; see [`LineSink::write_lines`].
    pub(crate) fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        let mut written = 0;
        while written < lines.len() {
            let rest = &lines[written..];
            let piece = self.fitting(rest);
            if piece == 0 {
                self.put_aside();
                continue;
            }
            let result = self.sink.write_lines(&rest[..piece]);
            result.map_err(|stopped| Stopped { whole_bytes: written + stopped.whole_bytes, ..stopped })?;
            self.bytes += piece as u64;
            written += piece;
        }
        Ok(())
    }

    /// How many bytes of lines the file has room for; one line that is larger than the limit has a file of its own.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Some(limit) = self.limit else { return lines.len() };
        let room = usize::try_from(limit.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        let end = |line: usize| line + 1;
        let whole = lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, end);
        if whole == 0 && self.bytes == 0 {
            return lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), end);
        }
        whole
    }

    /// Waits until all that was put aside is compressed.
    pub(crate) fn finish(mut self) {
        self.archivist.take().map(JoinHandle::join);
        if self.limit.is_some() {
            // What was put aside while it did its last round.
            self.tidy();
            self.archivist.map(JoinHandle::join);
        }
    }

    /// Nothing is lost if that fails: the file grows on, and it is tried again when it has grown by as much again.
    fn put_aside(&mut self) {
        let aside = name_aside(&self.path, SystemTime::now());
        let begun = fs::rename(&self.path, &aside).map_err(anyhow::Error::from).and_then(|()| {
            let taken = self.sink.taken();
            // A file that cannot be made leaves the old one, under its old name.
            LineSink::file(&self.path)
                .map(|sink| sink.counting(taken))
                .inspect_err(|_| drop(fs::rename(&aside, &self.path)))
        });
        match begun {
            Ok(sink) => {
                (self.sink, self.bytes, self.limit) = (sink, 0, Some(self.rotation.max_bytes));
                self.tidy();
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), "the log cannot be put aside and grows on: {error:#}");
                self.limit = Some(self.bytes + self.rotation.max_bytes);
            }
        }
    }

    /// Compresses what was put aside and removes the oldest, in a thread of its own: lines do not wait for it.
    fn tidy(&mut self) {
        if self.archivist.as_ref().is_some_and(|archivist| !archivist.is_finished()) {
            // It looks again when it is done.
            return;
        }
        let (path, keep) = (self.path.clone(), self.rotation.keep);
        let archivist = thread::Builder::new().name("archivist".to_owned()).spawn(move || {
            if let Err(error) = archive(&path, keep) {
                tracing::error!(file = %path.display(), "what was put aside cannot be tidied up: {error}");
            }
        });
        self.archivist = archivist.inspect_err(|error| tracing::error!("no thread to compress the log: {error}")).ok();
    }
}

/// Compresses all that is not, and removes what is too much; until there is nothing to do any more.
fn archive(path: &Path, keep: usize) -> io::Result<()> {
    loop {
        let aside = files_aside(path)?;
        let is_compressed = |file: &&PathBuf| file.extension() == Some(OsStr::new(COMPRESSED));
        for file in aside.iter().filter(|file| !is_compressed(file)) {
            compress(file)?;
        }
        let aside = files_aside(path)?;
        let too_many = if keep == 0 { 0 } else { aside.len().saturating_sub(keep) };
        for file in &aside[..too_many] {
            fs::remove_file(file)?;
        }
        if aside.iter().all(|file| is_compressed(&file)) {
            return Ok(());
        }
    }
}

fn compress(file: &Path) -> io::Result<()> {
    let (unfinished, finished) = (with_suffix(file, UNFINISHED), with_suffix(file, COMPRESSED));
    let mut input = File::open(file)?;
    let output = File::create(&unfinished)?;
    let mut encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    // So that who reads it finds out about a bit that fell over.
    encoder.include_checksum(true)?;
    io::copy(&mut input, &mut encoder)?;
    // What it was made of is removed next.
    encoder.finish()?.sync_all()?;
    fs::rename(&unfinished, &finished)?;
    fs::remove_file(file)
}

/// What was put aside of a log, oldest first. What a kill left half compressed is removed: what it is made of is there.
fn files_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begin = with_suffix(Path::new(path.file_name().unwrap_or_default()), "").into_os_string();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(rest) = name.as_encoded_bytes().strip_prefix(begin.as_encoded_bytes()) else { continue };
        let rest = String::from_utf8_lossy(rest).into_owned();
        let (time, suffix) = rest.split_once("Z").map_or((rest.as_str(), None), |(time, suffix)| (time, Some(suffix)));
        if !is_time(time) {
            continue;
        }
        match suffix {
            Some("" | ".zst") => files.push(folder.join(&name)),
            Some(".part") => fs::remove_file(folder.join(&name))?,
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

/// `20261124T214300.123456789`.
fn is_time(text: &str) -> bool {
    let is_shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'.',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 25 && text.bytes().enumerate().all(is_shape)
}

fn name_aside(path: &Path, now: SystemTime) -> PathBuf {
    let time = humantime::format_rfc3339_nanos(now).to_string().replace(['-', ':'], "");
    with_suffix(path, &time)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// All of a log, oldest first.
    fn read(folder: &Path, path: &Path) -> Vec<u8> {
        let mut all = Vec::new();
        for file in files_aside(path).expect("a folder") {
            let bytes = fs::read(&file).expect("a file");
            let is_compressed = file.extension() == Some(OsStr::new(COMPRESSED));
            all.extend(if is_compressed { zstd::decode_all(&bytes[..]).expect("zstd") } else { bytes });
        }
        all.extend(fs::read(path).expect("the log"));
        assert!(!names(folder).iter().any(|name| name.ends_with(UNFINISHED)));
        all
    }

    fn line(number: usize) -> Vec<u8> {
        format!("line {number:06}\n").into_bytes()
    }

    #[test]
    fn all_lines_are_in_the_files_in_their_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let mut file = RotatedFile::open(&path, Rotation { max_bytes: 100, keep: 0 }).expect("a file");
        (0..100).for_each(|number| file.write_lines(&line(number)).expect("room"));
        file.finish();
        assert_eq!(read(folder.path(), &path), (0..100).flat_map(line).collect::<Vec<_>>());
        let aside = files_aside(&path).expect("a folder");
        // 8 lines of 12 bytes each; the last one is still being written.
        assert_eq!(aside.len(), 12, "{aside:?}");
        assert!(aside.iter().all(|file| file.extension() == Some(OsStr::new(COMPRESSED))), "{aside:?}");
    }

    #[test]
    fn the_oldest_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let mut file = RotatedFile::open(&path, Rotation { max_bytes: 100, keep: 2 }).expect("a file");
        (0..100).for_each(|number| file.write_lines(&line(number)).expect("room"));
        file.finish();
        let mut file = RotatedFile::open(&path, Rotation { max_bytes: 100, keep: 2 }).expect("a file");
        file.write_lines(&line(100)).expect("room");
        file.finish();
        assert_eq!(read(folder.path(), &path), (80..101).flat_map(line).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_kill_left_is_compressed_by_the_next_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let old = name_aside(&path, SystemTime::UNIX_EPOCH);
        fs::write(&old, "old\n").expect("a file");
        fs::write(with_suffix(&old, UNFINISHED), "half").expect("a file");
        fs::write(folder.path().join("log.txt"), "somebody else's").expect("a file");
        fs::write(folder.path().join("log.19700101T000000.00000000xZ"), "somebody else's").expect("a file");
        let mut file = RotatedFile::open(&path, Rotation { max_bytes: 100, keep: 1 }).expect("a file");
        file.write_lines(b"new\n").expect("room");
        file.finish();
        assert_eq!(
            names(folder.path()),
            ["log", "log.19700101T000000.000000000Z.zst", "log.19700101T000000.00000000xZ", "log.txt"]
        );
        assert_eq!(read(folder.path(), &path), b"old\nnew\n");
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_grows_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let mut file = RotatedFile::open(&path, Rotation { max_bytes: 20, keep: 0 }).expect("a file");
        file.write_lines(&line(0)).expect("room");
        // Where the log was is nothing that could be renamed any more.
        fs::remove_file(&path).expect("the log");
        file.write_lines(&line(1)).expect("room");
        file.write_lines(&line(2)).expect("room");
        assert_eq!((file.bytes, file.limit), (36, Some(44)));
    }

    #[test]
    fn what_is_no_file_is_never_put_aside() {
        let mut file = RotatedFile::open(Path::new("/dev/null"), Rotation { max_bytes: 1, keep: 0 }).expect("a device");
        (0..3).for_each(|number| file.write_lines(&line(number)).expect("room"));
        assert!(file.limit.is_none());
    }
}
