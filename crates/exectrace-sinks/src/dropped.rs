//! What a sink did not take and never will: told to who writes the log, which says so in the log.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// Which run.
    pub run: u32,
    /// Which line of it, from 1 on.
    pub line: u64,
}

/// As at the end of a line: `RUN-N`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.run, self.line)
    }
}

/// Why lines do not get to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The spool was full.
    SpoolFull,
    /// The spool could not be written.
    SpoolFailed,
    /// What was in the spool is not what was put there.
    SpoolDamaged,
    /// The place said that it will never take them.
    Rejected,
    /// The output itself, a file or stdout, could not be written.
    WriteFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 5] =
        [Reason::SpoolFull, Reason::SpoolFailed, Reason::SpoolDamaged, Reason::Rejected, Reason::WriteFailed];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Reason::SpoolFull => "spool_full",
            Reason::SpoolFailed => "spool_failed",
            Reason::SpoolDamaged => "spool_damaged",
            Reason::Rejected => "rejected",
            Reason::WriteFailed => "write_failed",
        }
    }
}

/// Lines that one sink does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The sink's name.
    pub sink: &'static str,
    /// Why.
    pub reason: Reason,
    /// How many, as far as that is known.
    pub lines: u64,
    /// From this one on; `None`: nobody knows.
    pub first: Option<Number>,
    /// Up to this one; of the same run as `first`.
    pub last: Option<Number>,
}

/// Where threads put what was dropped, until the log tells it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DroppedLines(Arc<Mutex<VecDeque<Dropped>>>);

/// Entries that are kept apart; of more, the last ones are added up without their numbers.
const MOST: usize = 1024;

impl DroppedLines {
    /// Adds to what is to be told.
    pub fn add(&self, dropped: Dropped) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = waiting.back_mut().filter(|last| is_next(last, &dropped)) {
            last.lines += dropped.lines;
            last.last = dropped.last;
            return;
        }
        let full = waiting.len() >= MOST;
        match waiting.iter_mut().rev().find(|last| full && is_alike(last, &dropped)) {
            Some(last) => {
                last.lines += dropped.lines;
                (last.first, last.last) = (None, None);
            }
            None => waiting.push_back(dropped),
        }
    }

    /// Takes what is to be told, in the order in which it was dropped.
    pub fn take(&self) -> Vec<Dropped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

fn is_alike(one: &Dropped, other: &Dropped) -> bool {
    one.sink == other.sink && one.reason == other.reason
}

fn is_next(before: &Dropped, next: &Dropped) -> bool {
    let is_behind = |last: Number, first: Number| last.run == first.run && last.line + 1 == first.line;
    is_alike(before, next) && before.last.zip(next.first).is_some_and(|(last, first)| is_behind(last, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(reason: Reason, first: u64, last: u64) -> Dropped {
        let number = |line| Some(Number { run: 42, line });
        Dropped { sink: "otlp", reason, lines: last - first + 1, first: number(first), last: number(last) }
    }

    #[test]
    fn neighbours_are_told_together() {
        let lines = DroppedLines::default();
        lines.add(dropped(Reason::SpoolFull, 3, 4));
        lines.clone().add(dropped(Reason::SpoolFull, 5, 9));
        lines.add(dropped(Reason::SpoolFull, 11, 11));
        lines.add(dropped(Reason::Rejected, 12, 12));
        let told = [(Reason::SpoolFull, 3, 9), (Reason::SpoolFull, 11, 11), (Reason::Rejected, 12, 12)];
        assert_eq!(lines.take(), told.map(|(reason, first, last)| dropped(reason, first, last)));
        assert!(lines.take().is_empty());
    }

    #[test]
    fn more_than_can_be_kept_apart_is_added_up() {
        let lines = DroppedLines::default();
        for line in 0..2 * MOST as u64 {
            lines.add(dropped(Reason::SpoolFull, 2 * line + 1, 2 * line + 1));
        }
        let told = lines.take();
        assert_eq!((told.len(), told.iter().map(|told| told.lines).sum::<u64>()), (MOST, 2 * MOST as u64));
        assert_eq!(told.last().and_then(|last| last.first), None);
    }

    #[test]
    fn a_number_looks_as_in_a_line() {
        assert_eq!(Number { run: 42, line: 17 }.to_string(), "0000002a-17");
    }
}
