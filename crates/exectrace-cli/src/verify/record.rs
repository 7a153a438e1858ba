//! What is kept of a line: tens of bytes, so that a log of many million lines fits into memory, in any order of files.
//!
//! 56 bytes for each line, and 48 more for each that is chained without a key (or with one that was not given): its
//! chain can only be followed when the line before it is known.

use super::dropped::Dropped;
use super::finding::Place;
use super::line::{Ledger, Lost, Start, Stop, Time, Watchdog};
use super::parts::Continued;
use crate::seal::Tag;

/// One line of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) time: Time,
    /// A hash of the whole line, to tell doubled lines from forged ones. 64 bits under a random key: two different lines
    /// of one number pass for the same once in 2^64.
    pub(super) content: u64,
    /// An exec: a hash of its id, 0 if it has none. Start, lost, ledger, watchdog, stop, continued, dropped: index of its [`Detail`].
    pub(super) detail: u64,
    /// Index of the run.
    pub(super) run: u32,
    pub(super) place: Place,
    /// Index of its [`Link`], [`NO_LINK`] if it has none.
    pub(super) link: u32,
    /// Of an exec: its scope, 0 if that is not told.
    pub(super) scope: u32,
    pub(super) kind: LineKind,
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<Record>() == 56 && size_of::<Link>() == 48);

pub(super) const NO_LINK: u32 = u32::MAX;

/// The line has a tag.
pub(super) const TAGGED: u8 = 1;
/// Its tag is the key's.
pub(super) const KEY_FITS: u8 = 2;
/// Its number was too far ahead to make its key.
pub(super) const KEY_TOO_FAR: u8 = 4;
/// Its tag follows from the line before it.
pub(super) const LINK_FITS: u8 = 8;
/// Its tag does not.
pub(super) const LINK_BROKEN: u8 = 16;
/// It stands after a line of its run and file with a higher number.
pub(super) const OUT_OF_ORDER: u8 = 32;
/// An exec whose arguments are cut.
pub(super) const TRUNCATED: u8 = 64;

impl Record {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Exec,
    Running,
    LabelsChanged,
    ExecFailed,
    Exit,
    ScopeGone,
    Continued,
    Dropped,
    Lost,
    Ledger,
    Watchdog,
    Start,
    Stop,
    Unknown,
    Broken,
}

/// What following a chain without a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) digest: [u8; 32],
    pub(super) tag: Tag,
}

/// What a rare line says.
#[derive(Debug)]
pub(super) enum Detail {
    Start(Box<Start>),
    Lost(Lost),
    Ledger(Box<Ledger>),
    Watchdog(Watchdog),
    Stop(Stop),
    Continued(Continued),
    Dropped(Dropped),
}
