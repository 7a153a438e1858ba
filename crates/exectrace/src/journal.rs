//! How far the log was written, in memory that outlives the process: what a tracer that takes over after a kill goes by.
//!
//! A commit is one whole statement, "all before this position is written, and so much was told". It goes to one of two
//! places in turn, and a single word says which holds, so that a kill between two stores leaves the last one standing.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::loss::{LossReason, What};
use crate::mapped::{Access, Mapped};
use crate::scope::ScopeId;

/// Numbers of its own that a program may keep with each commit.
pub const NOTES: usize = 8;
/// The same, for each scope.
pub const SCOPE_NOTES: usize = 15;

/// The kernel's losses that a log has told of one scope: one number for each thing and reason.
pub(crate) const TOLD: usize = What::COUNT * LossReason::COUNT;

/// What is written for good, or told to be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Up to where in the ring; see [`crate::Origin::position`].
    pub position: u64,
    /// Whatever the program wants to find again.
    pub notes: [u64; NOTES],
    /// By number of the scope; the first one is of what belongs to none.
    shares: Vec<Share>,
}

/// What is written of one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    told: [u64; TOLD],
    /// Whatever the program wants to find again.
    pub notes: [u64; SCOPE_NOTES],
}

impl Default for Share {
    fn default() -> Share {
        Share { told: [0; TOLD], notes: [0; SCOPE_NOTES] }
    }
}

impl Share {
    const WORDS: usize = TOLD + SCOPE_NOTES;

    /// How many of these losses were told.
    pub fn told(&self, what: What, reason: LossReason) -> u64 {
        self.told[what.index() * LossReason::COUNT + reason.index()]
    }

    /// The same, to be changed.
    pub fn told_mut(&mut self, what: What, reason: LossReason) -> &mut u64 {
        &mut self.told[what.index() * LossReason::COUNT + reason.index()]
    }
}

impl Progress {
    /// All up to a position, with nothing said about it yet.
    pub fn up_to(position: u64) -> Progress {
        Progress { position, ..Progress::default() }
    }

    /// What is written of a scope, or of what belongs to none.
    pub fn of(&self, scope: Option<ScopeId>) -> Share {
        self.shares.get(row(scope)).copied().unwrap_or_default()
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, scope: Option<ScopeId>) -> &mut Share {
        let row = row(scope);
        if self.shares.len() <= row {
            self.shares.resize(row + 1, Share::default());
        }
        &mut self.shares[row]
    }

    /// All shares that something was said about, or that stand before such a one.
    pub fn shares(&self) -> impl Iterator<Item = (Option<ScopeId>, &Share)> {
        (0..).map(ScopeId::new).zip(&self.shares)
    }
}

fn row(scope: Option<ScopeId>) -> usize {
    scope.map_or(0, |scope| scope.get() as usize)
}

/// Where commits go. Any thread may commit, one at a time.
#[derive(Debug, Clone)]
pub struct Journal {
    words: Arc<Mapped>,
    /// Scopes that there is room for.
    scopes: usize,
}

const CURRENT: usize = 0;
const SCOPES: usize = 1;
const LINKS: usize = 2;
const DETACHED: usize = 3;
const FINGERPRINT: usize = 4;
const LAYOUT: usize = 8;
/// Two slots follow: position, count of shares, notes, shares.
const SLOTS: usize = 16;
const SHARES: usize = 2 + NOTES;

/// Words of the map `journal` of a tracer with room for so many scopes.
pub(crate) fn words(scopes: u32) -> u32 {
    u32::try_from(SLOTS + 2 * slot_words(scopes as usize)).unwrap_or(u32::MAX)
}

const fn slot_words(scopes: usize) -> usize {
    SHARES + (scopes + 1) * Share::WORDS
}

impl Journal {
    /// A map of `words` words.
    pub(crate) fn open(map: impl AsFd, words: u32) -> io::Result<Journal> {
        let words = words as usize;
        // One of another version may have another size; what is read of it is its version.
        let shares = words.saturating_sub(SLOTS + 2 * SHARES) / (2 * Share::WORDS);
        let scopes = shares.checked_sub(1).ok_or_else(|| io::Error::other("the journal is too small"))?;
        Ok(Journal { words: Arc::new(Mapped::new(map, 0, words * 8, Access::ReadWrite)?), scopes })
    }

    fn slot(&self, number: usize) -> usize {
        SLOTS + number * slot_words(self.scopes)
    }

    /// States what is written.
    pub fn commit(&self, progress: &Progress) {
        let next = 1 - self.current();
        // Nothing of it before what said that the other slot holds.
        std::sync::atomic::fence(Ordering::Release);
        let shares = &progress.shares[..progress.shares.len().min(self.scopes + 1)];
        let numbers = [progress.position, shares.len() as u64].into_iter().chain(progress.notes);
        let numbers = numbers.chain(shares.iter().flat_map(|share| share.told.into_iter().chain(share.notes)));
        for (word, number) in (self.slot(next)..).zip(numbers) {
            self.set(word, number);
        }
        self.words.u64_at(CURRENT * 8).store(next as u64, Ordering::Release);
    }

    /// The last statement.
    pub fn progress(&self) -> Progress {
        let slot = self.slot(self.current());
        let numbers = |first: usize| move |at: usize| self.get(first + at);
        let share = |number: usize| {
            let first = slot + SHARES + number * Share::WORDS;
            Share { told: std::array::from_fn(numbers(first)), notes: std::array::from_fn(numbers(first + TOLD)) }
        };
        let count = usize::try_from(self.get(slot + 1)).unwrap_or(usize::MAX).min(self.scopes + 1);
        Progress {
            position: self.get(slot),
            notes: std::array::from_fn(numbers(slot + 2)),
            shares: (0..count).map(share).collect(),
        }
    }

    /// Up to where the last statement goes, also while another thread makes the next two.
    pub(crate) fn position(&self) -> u64 {
        loop {
            let current = self.current();
            let position = self.get(self.slot(current));
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

    /// When the programs were detached, since boot; `None` as long as they are not.
    pub(crate) fn detached(&self) -> Option<Duration> {
        Some(self.get(DETACHED)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    pub(crate) fn set_detached(&self, at: Duration) {
        self.set(DETACHED, u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
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
