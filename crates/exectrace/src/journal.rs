//! How far the log was written, in memory that outlives the process: what a tracer that takes over after a kill goes by.
//!
//! A commit is one whole statement, "all before this position is written, and so much was told". It goes to one of two
//! places in turn, and a single word says which holds, so that a kill between two stores leaves the last one standing.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::loss::{LossReason, What};
use crate::mapped::{Access, Mapped};

/// Numbers of its own that a program may keep with each commit.
pub const NOTES: usize = 64;

/// The kernel's losses that a log has told: one number for each thing and reason.
pub(crate) const TOLD: usize = What::COUNT * LossReason::COUNT;

/// What is written for good, or told to be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Up to where in the ring; see [`crate::Origin::position`].
    pub position: u64,
    /// Losses that were told, by thing and reason, as [`Progress::told_mut`] has them.
    told: [u64; TOLD],
    /// Whatever the program wants to find again.
    pub notes: [u64; NOTES],
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { position: 0, told: [0; TOLD], notes: [0; NOTES] }
    }
}

impl Progress {
    /// All up to a position, with nothing said about it yet.
    pub fn up_to(position: u64) -> Progress {
        Progress { position, ..Progress::default() }
    }

    /// How many of these losses were told.
    pub fn told(&self, what: What, reason: LossReason) -> u64 {
        self.told[what.index() * LossReason::COUNT + reason.index()]
    }

    /// The same, to be changed.
    pub fn told_mut(&mut self, what: What, reason: LossReason) -> &mut u64 {
        &mut self.told[what.index() * LossReason::COUNT + reason.index()]
    }
}

/// Where commits go. Any thread may commit, one at a time.
#[derive(Debug, Clone)]
pub struct Journal {
    words: Arc<Mapped>,
}

/// Words of the map `journal`.
pub(crate) const WORDS: usize = 512;
const CURRENT: usize = 0;
const SCOPES: usize = 1;
const LINKS: usize = 2;
const FINGERPRINT: usize = 4;
const LAYOUT: usize = 8;
const SLOTS: [usize; 2] = [16, 16 + SLOT];
const SLOT: usize = 1 + TOLD + NOTES;
const _: () = assert!(SLOTS[1] + SLOT <= WORDS);

impl Journal {
    pub(crate) fn open(map: impl AsFd) -> io::Result<Journal> {
        let len = WORDS * 8;
        Ok(Journal { words: Arc::new(Mapped::new(map, 0, len, Access::ReadWrite)?) })
    }

    /// States what is written.
    pub fn commit(&self, progress: &Progress) {
        let next = 1 - self.current();
        let fields = std::iter::once(progress.position).chain(progress.told).chain(progress.notes);
        for (word, field) in (SLOTS[next]..).zip(fields) {
            self.set(word, field);
        }
        self.words.u64_at(CURRENT * 8).store(next as u64, Ordering::Release);
    }

    /// The last statement.
    pub fn progress(&self) -> Progress {
        let slot = SLOTS[self.current()];
        let told = slot + 1;
        let notes = told + TOLD;
        Progress {
            position: self.get(slot),
            told: std::array::from_fn(|at| self.get(told + at)),
            notes: std::array::from_fn(|at| self.get(notes + at)),
        }
    }

    /// Up to where the last statement goes, also while another thread makes the next two.
    pub(crate) fn position(&self) -> u64 {
        loop {
            let current = self.current();
            let position = self.get(SLOTS[current]);
            std::sync::atomic::fence(Ordering::Acquire);
            if self.current() == current {
                return position;
            }
        }
    }

    /// How many scopes were added; their numbers begin with 1.
    pub(crate) fn scopes(&self) -> u64 {
        self.get(SCOPES)
    }

    pub(crate) fn set_scopes(&self, scopes: u64) {
        self.set(SCOPES, scopes);
    }

    /// How many programs were attached.
    pub(crate) fn links(&self) -> u64 {
        self.get(LINKS)
    }

    pub(crate) fn set_links(&self, links: u64) {
        self.set(LINKS, links);
    }

    /// Names the settings of who made this.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.digest(FINGERPRINT)
    }

    pub(crate) fn set_fingerprint(&self, fingerprint: &[u8; 32]) {
        self.set_digest(FINGERPRINT, fingerprint);
    }

    /// Names the version of who made this, by which all that lies here is to be read.
    pub(crate) fn layout(&self) -> [u8; 32] {
        self.digest(LAYOUT)
    }

    pub(crate) fn set_layout(&self, layout: &[u8; 32]) {
        self.set_digest(LAYOUT, layout);
    }

    fn digest(&self, word: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (at, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.get(word + at).to_ne_bytes());
        }
        bytes
    }

    fn set_digest(&self, word: usize, digest: &[u8; 32]) {
        for (at, chunk) in digest.chunks_exact(8).enumerate() {
            self.set(word + at, u64::from_ne_bytes(chunk.try_into().unwrap_or_default()));
        }
    }

    fn current(&self) -> usize {
        usize::from(self.words.u64_at(CURRENT * 8).load(Ordering::Acquire) == 1)
    }

    fn get(&self, word: usize) -> u64 {
        self.words.u64_at(word * 8).load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.words.u64_at(word * 8).store(value, Ordering::Relaxed);
    }
}
