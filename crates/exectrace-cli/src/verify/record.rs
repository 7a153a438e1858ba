//! What is kept of a line: tens of bytes, so that a log of many million lines fits into memory, in any order of files.
//!
//! 56 bytes for each line, and 48 more for each that is chained without a key (or with one that was not given): its
//! chain can only be followed when the line before it is known. And 88 more for each exec or attempt that is part of a
//! roll-up: what the roll-up says can only be checked when all of its lines are known.

use std::fmt;

use super::dropped::Dropped;
use super::finding::Place;
use super::line::{Ledger, Lost, Rollup, Start, Stop, Time, Watchdog};
use super::parts::Continued;
use crate::seal::Tag;

/// One line of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) time: Time,
    /// A hash of the line up to its seal, to tell doubled lines from forged ones, and to find it in the log beside. 64 bits
    /// under a random key: two different lines of one number pass for the same once in 2^64.
    pub(super) content: u64,
    /// An exec: a hash of its id, 0 if it has none. Start, lost, ledger, rollup, watchdog, stop, continued, dropped: index of
    /// its [`Detail`]. What is part of a roll-up ([`FOLDED`]): index of its [`Folded`]; an end: twice the roll-up's number,
    /// and 1 more if it was a failure.
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

const _: () = assert!(size_of::<Record>() == 56 && size_of::<Link>() == 48 && size_of::<Folded>() == 88);

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
/// All that a line's tag says.
pub(super) const CHAIN: u8 = TAGGED | KEY_FITS | KEY_TOO_FAR | LINK_FITS | LINK_BROKEN;
/// It stands after a line of its run and file with a higher number.
pub(super) const OUT_OF_ORDER: u8 = 32;
/// An exec whose arguments are cut.
pub(super) const TRUNCATED: u8 = 64;
/// It is part of a roll-up of the log beside this one.
pub(super) const FOLDED: u8 = 128;

impl Record {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Of an exec: the hash of its id, 0 if it has none.
    pub(super) fn exec_id(&self, folded: &[Folded]) -> u64 {
        self.folded(folded).map_or(self.detail, |folded| folded.id)
    }

    /// Of an exec or an attempt that is part of a roll-up.
    pub(super) fn folded<'a>(&self, folded: &'a [Folded]) -> Option<&'a Folded> {
        let is_one = self.has(FOLDED) && self.kind != LineKind::Exit;
        usize::try_from(self.detail).ok().filter(|_| is_one).and_then(|at| folded.get(at))
    }

    /// Of a rare line.
    pub(super) fn detail<'a>(&self, details: &'a [Detail]) -> Option<&'a Detail> {
        usize::try_from(self.detail).ok().and_then(|at| details.get(at))
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
    Rollup,
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

/// What checking a roll-up takes, of an exec or an attempt that is part of it.
#[derive(Debug)]
pub(super) struct Folded {
    /// The roll-up's.
    pub(super) number: u64,
    /// A hash of its id, 0 if it has none.
    pub(super) id: u64,
    /// The id itself, as roll-ups hash its text.
    pub(super) name: Name,
    /// SHA-256 of its arguments.
    pub(super) args: [u8; 32],
    /// A hash of its file, or of why it failed; 0 if that is not told.
    pub(super) of: u64,
    pub(super) uid: u32,
}

/// The text of an id, in few bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    None,
    /// Boot, start, pid and number, which have the text `BOOT-START-PID-NUMBER`.
    Parts {
        boot: [u8; 6],
        start: u64,
        pid: u32,
        number: u32,
    },
    /// One that has another form.
    Other(Box<str>),
}

impl Name {
    pub(super) fn of(text: Option<&str>) -> Name {
        let Some(text) = text else { return Name::None };
        Name::parts(text).filter(|name| name.to_string() == text).unwrap_or_else(|| Name::Other(text.into()))
    }

    fn parts(text: &str) -> Option<Name> {
        let mut parts = text.split('-');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let [_, _, boot @ ..] = next()?.to_be_bytes();
        let (start, pid, number) = (next()?, u32::try_from(next()?).ok()?, u32::try_from(next()?).ok()?);
        Some(Name::Parts { boot, start, pid, number })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::None => Ok(()),
            Name::Parts { boot, start, pid, number } => {
                boot.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, "-{start:x}-{pid:x}-{number:x}")
            }
            Name::Other(text) => f.write_str(text),
        }
    }
}

/// What a rare line says.
#[derive(Debug)]
pub(super) enum Detail {
    Start(Box<Start>),
    Lost(Lost),
    Rollup(Box<Rollup>),
    Ledger(Box<Ledger>),
    Watchdog(Watchdog),
    Stop(Stop),
    Continued(Continued),
    Dropped(Dropped),
}
