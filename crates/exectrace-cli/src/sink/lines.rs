//! Where lines go: stdout or a file. Knows how many lines of a batch were taken, whatever happens on the way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags};

use crate::exit::{Exit, Failed};

/// A pipe is given so much at a time (`PIPE_BUF` of linux/limits.h): a write of more returns only when all of it was
/// taken, which of a slow reader looks like nothing taken.
const PIECE_FOR_A_PIPE: usize = 4096;

/// An open output.
pub(crate) struct LineSink {
    file: File,
    /// The last write ended within a line.
    torn: bool,
    /// Bytes that are given to it at a time.
    piece: usize,
    /// Bytes that it took so far.
    taken: Arc<AtomicU64>,
}

impl LineSink {
    /// Stdout, by a descriptor of our own.
    pub(crate) fn stdout() -> anyhow::Result<LineSink> {
        let file = rustix::io::dup(rustix::stdio::stdout())
            .context(Failed(Exit::Output, "stdout cannot be used (--log FILE chooses another output)".to_owned()))?;
        // Where a shell adds it to a file, who wrote there before may have been killed within a line.
        Ok(LineSink::of(File::from(file), ends_within_a_line(Path::new("/proc/self/fd/1"))))
    }

    /// A file, which is made if missing and added to at its end.
    pub(crate) fn file(path: &Path) -> anyhow::Result<LineSink> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| Failed(Exit::Output, format!("cannot write the log to {}", path.display())))?;
        Ok(LineSink::of(file, ends_within_a_line(path)))
    }

    fn of(file: File, torn: bool) -> LineSink {
        let is_pipe = file.metadata().is_ok_and(|meta| meta.file_type().is_fifo());
        LineSink { file, torn, piece: if is_pipe { PIECE_FOR_A_PIPE } else { usize::MAX }, taken: Arc::default() }
    }

    /// Goes on counting where another one ended.
    pub(super) fn counting(self, taken: Arc<AtomicU64>) -> LineSink {
        LineSink { taken, ..self }
    }

    /// How many bytes it took, for who waits for it.
    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// Whether people look at it.
    pub(crate) fn is_terminal(&self) -> bool {
        rustix::termios::isatty(&self.file)
    }

    /// Writes lines. On an error, what stands before the last line break that was taken is written for good; returns how
    /// many bytes that are.
    pub(crate) fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        if std::mem::take(&mut self.torn) {
            // Ends the line that was cut, so that only it is broken and not the next one too.
            if let Err(error) = self.write_all(b"\n") {
                self.torn = true;
                return Err(Stopped { whole_bytes: 0, error: error.1 });
            }
        }
        self.write_all(lines).map_err(|(written, error)| {
            let whole_bytes = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.torn = whole_bytes < written;
            // A line that lacks only its break is whole: it gets the break before anything else.
            let whole_bytes = if lines.get(written) == Some(&b'\n') { written + 1 } else { whole_bytes };
            Stopped { whole_bytes, error }
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            let piece = &bytes[written..];
            match self.file.write(&piece[..piece.len().min(self.piece)]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.taken.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room(),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    /// Stdout may be non-blocking, because whoever shares it made it so.
    fn wait_for_room(&self) {
        let fd = self.file.as_fd();
        // An error shows again at the next write, which tells it.
        let _ = rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
    }
}

/// Whether who wrote a file before was ended in the middle of a line. What is no regular file has no end to look at.
fn ends_within_a_line(path: &Path) -> bool {
    let last = File::open(path).and_then(|mut file| {
        let mut last = [0];
        if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        Ok(last[0])
    });
    last.is_ok_and(|last| last != b'\n')
}

/// A write that ended early.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Bytes of whole lines that were written.
    pub(crate) whole_bytes: usize,
    /// Why it ended.
    pub(crate) error: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_added_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        for line in [b"one\n", b"two\n"] {
            LineSink::file(&path).expect("a file").write_lines(line).expect("room");
        }
        assert_eq!(std::fs::read(&path).expect("the file"), b"one\ntwo\n");
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntw").expect("a file");
        LineSink::file(&path).expect("a file").write_lines(b"three\n").expect("room");
        assert_eq!(std::fs::read(&path).expect("the file"), b"one\ntw\nthree\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = LineSink::file(Path::new("/nonexistent/log")).err().expect("an error");
        assert!(format!("{error:#}").contains("/nonexistent/log"));
    }

    /// A full pipe that does not block takes part of the lines; the reader then finds whole lines and one that is cut.
    #[test]
    fn a_write_that_ends_early_tells_the_whole_lines() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut sink = LineSink::of(File::from(writer), false);
        let lines = b"0123456789abcde\n".repeat(5_000);
        let reader = std::thread::spawn(move || {
            let mut taken = vec![0; 40_000];
            File::from(reader).read_exact(&mut taken).expect("as much as was written");
            taken.len()
        });
        let stopped = sink.write_lines(&lines.repeat(4)).expect_err("the reader went away");
        assert_eq!(stopped.error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(stopped.whole_bytes % 16, 0);
        assert!(stopped.whole_bytes >= reader.join().expect("the reader ends") / 16 * 16 - 16);
    }

    #[test]
    fn a_full_device_is_an_error_and_not_silence() {
        let file = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let stopped = LineSink::of(file, false).write_lines(b"line\n").expect_err("no room");
        assert_eq!((stopped.whole_bytes, stopped.error.kind()), (0, io::ErrorKind::StorageFull));
    }
}
