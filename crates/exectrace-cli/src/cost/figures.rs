//! What is added up while lines are read: how much there is in each setting, and of whom.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::SystemTime;

use super::size::Size;
use super::tally::Tallies;

/// All sums.
pub(super) struct Figures {
    /// Lines as they are, by what they tell of.
    pub(super) kinds: BTreeMap<&'static str, Size>,
    /// Every exec with a line of its own, as far as these lines are there.
    pub(super) unrolled: Compressed,
    /// What roll-ups stand for whose lines are not there: how many lines, and their bytes.
    pub(super) unseen: Size,
    /// Rolled up.
    pub(super) rolled_up: Compressed,
    /// In a file beside what is rolled up: all lines, with what marks them there.
    pub(super) complete: Size,
    /// Lines about processes; of each of them it is known whose it is.
    pub(super) processes: Size,
    pub(super) tallies: Tallies,
    pub(super) notes: Notes,
    /// The first and the last line's.
    pub(super) times: Option<[SystemTime; 2]>,
}

/// What is to be said beside the sums.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Notes {
    /// Runs that are rolled up already, and those that were replayed.
    pub(super) rolled_up_runs: u64,
    pub(super) replayed_runs: u64,
    /// Execs and others that were folded when they were replayed, and into how many lines.
    pub(super) folded: u64,
    pub(super) rollups: u64,
    /// What the configuration's rules leave out.
    pub(super) excluded: u64,
    /// Execs without an id, which cannot be folded.
    pub(super) without_id: u64,
    /// Lines that follow one that is not there.
    pub(super) orphans: u64,
    /// Execs that the log says are missing.
    pub(super) lost: u64,
    /// Runs that were put away because there were too many at a time.
    pub(super) put_away: u64,
    pub(super) torn: u64,
    pub(super) unreadable: u64,
    pub(super) foreign: u64,
    pub(super) diagnostics: u64,
    /// Lines of a container's stderr.
    pub(super) stderr: u64,
    /// Inputs whose compressed data ends early or is broken.
    pub(super) damaged: Vec<String>,
}

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) unrolled: bool,
    pub(super) rolled_up: bool,
    pub(super) complete: bool,
}

impl Within {
    pub(super) const ALL: Within = Within { unrolled: true, rolled_up: true, complete: true };
    /// Folded.
    pub(super) const BUT_ROLLED_UP: Within = Within { rolled_up: false, ..Within::ALL };
    /// Left out.
    pub(super) const ONLY_NOW: Within = Within { complete: false, ..Within::BUT_ROLLED_UP };
    /// Stands for others.
    pub(super) const ONLY_ROLLED_UP: Within = Within { unrolled: false, rolled_up: true, complete: false };
}

impl Figures {
    pub(super) fn new() -> io::Result<Figures> {
        Ok(Figures {
            kinds: BTreeMap::new(),
            unrolled: Compressed::new()?,
            unseen: Size::default(),
            rolled_up: Compressed::new()?,
            complete: Size::default(),
            processes: Size::default(),
            tallies: Tallies::default(),
            notes: Notes::default(),
            times: None,
        })
    }

    /// A line, and the members that it has more of where others are folded.
    pub(super) fn put(&mut self, line: &[u8], size: Size, within: Within, mark: &str) {
        let mark = Size::of_member(mark);
        if within.unrolled {
            self.unrolled.add(line, size);
        }
        if within.rolled_up {
            self.rolled_up.add(line, size + mark);
        }
        if within.complete {
            self.complete += size + mark;
        }
    }

    pub(super) fn saw(&mut self, time: SystemTime) {
        let [first, last] = self.times.unwrap_or([time, time]);
        self.times = Some([first.min(time), last.max(time)]);
    }
}

/// Lines, and what they come to when they are compressed as a file that is put aside.
pub(super) struct Compressed {
    pub(super) size: Size,
    /// Bytes that went into it.
    bytes: u64,
    encoder: zstd::Encoder<'static, Counted>,
}

/// Bytes that nobody keeps.
#[derive(Default)]
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressed {
    fn new() -> io::Result<Compressed> {
        let encoder = zstd::Encoder::new(Counted::default(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
        Ok(Compressed { size: Size::default(), bytes: 0, encoder })
    }

    fn add(&mut self, line: &[u8], size: Size) {
        self.size += size;
        self.bytes += line.len() as u64 + 1;
        // Nothing that only counts can fail.
        let _counted = self.encoder.write_all(line).and_then(|()| self.encoder.write_all(b"\n"));
    }

    /// The sizes, and what part of them is left when they are compressed.
    pub(super) fn finish(self) -> (Size, f64) {
        let compressed = self.encoder.finish().map_or(self.bytes, |counted| counted.0);
        #[allow(clippy::cast_precision_loss, reason = "a ratio")]
        let part = if self.bytes == 0 { 0.0 } else { compressed as f64 / self.bytes as f64 };
        (self.size, part)
    }
}
