//! Which lines of a pod were given already. The API can only be asked for a log from a second on, so a log that is opened
//! again says lines again; its lines have names by which they are known.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// Lines without a name that are remembered; they are few.
const REMEMBERED: usize = 1024;

/// What names a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The run that it belongs to.
    pub run: u32,
    /// Its number there; later lines have larger ones.
    pub line: u64,
    /// When it was logged.
    pub time: SystemTime,
}

/// Reads a line's name; `None` if it has none.
pub type ReadMark = fn(&[u8]) -> Option<Mark>;

/// What was given of one pod.
#[derive(Debug, Default)]
pub struct Given {
    /// The last line of each run.
    runs: HashMap<u32, u64>,
    time: Option<SystemTime>,
    /// The last lines that have no name.
    unnamed: VecDeque<u64>,
    hasher: RandomState,
    /// The log was opened again, and nothing new has come since.
    is_repeated: bool,
}

impl Given {
    /// Whether a line was not given yet. It is, from now on.
    pub fn is_new(&mut self, line: &[u8], mark: Option<Mark>) -> bool {
        let Some(Mark { run, line: number, time }) = mark else { return self.is_new_unnamed(line) };
        let last = self.runs.entry(run).or_default();
        if number <= *last {
            return false;
        }
        *last = number;
        self.time = self.time.max(Some(time));
        self.is_repeated = false;
        true
    }

    fn is_new_unnamed(&mut self, line: &[u8]) -> bool {
        let hash = self.hasher.hash_one(line);
        if self.is_repeated && self.unnamed.contains(&hash) {
            return false;
        }
        self.unnamed.push_back(hash);
        if self.unnamed.len() > REMEMBERED {
            self.unnamed.pop_front();
        }
        true
    }

    /// The log is opened again, and says again what was given since the time of the last line.
    pub(super) fn reopen(&mut self) -> Option<SystemTime> {
        self.is_repeated = true;
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(run: u32, line: u64) -> Option<Mark> {
        Some(Mark { run, line, time: SystemTime::UNIX_EPOCH })
    }

    #[test]
    fn a_log_that_is_opened_again_gives_what_is_new() {
        let mut given = Given::default();
        assert!(given.is_new(b"1", mark(7, 1)));
        assert!(given.is_new(b"words", None));
        assert!(given.is_new(b"words", None), "a line that stands there twice is two lines");
        assert_eq!(given.reopen(), Some(SystemTime::UNIX_EPOCH));
        assert!(!given.is_new(b"1", mark(7, 1)));
        assert!(!given.is_new(b"words", None));
        assert!(given.is_new(b"other words", None));
        assert!(given.is_new(b"2", mark(7, 2)));
        assert!(given.is_new(b"words", None), "from here on all is new");
        assert!(given.is_new(b"1", mark(8, 1)), "another run");
    }
}
