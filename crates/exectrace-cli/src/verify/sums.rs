//! Numbers of what happened, by kind and by reason, and how they are put together.

use std::collections::BTreeMap;
use std::fmt;

use super::line::{Reasons, Sums};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    Execs,
    Failed,
    Exits,
    /// The execs of one scope, where there are several.
    ExecsOf(u32),
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counted::Execs => f.write_str("execs"),
            Counted::Failed => f.write_str("failed"),
            Counted::Exits => f.write_str("exits"),
            Counted::ExecsOf(scope) => write!(f, "execs of scope {scope}"),
        }
    }
}

/// What lines tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) written: u64,
    /// What roll-ups stand for.
    pub(super) rolled_up: u64,
    pub(super) lost: Reasons,
}

/// What became of the execs of a run, of a scope or of all runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// In the log, those left out that a later run tells again.
    pub(super) execs: u64,
    /// What lines stand for that stand for many.
    pub(super) rolled_up: u64,
    pub(super) excluded: Reasons,
    pub(super) lost: Reasons,
    /// Of lines that are missing, as far as ledgers tell them.
    pub(super) missing: u64,
    /// As ledgers say; `None` where there is none.
    pub(super) seen: Option<u64>,
}

impl Totals {
    /// Those of nothing, to which others can be added.
    pub(super) fn zero() -> Totals {
        Totals { seen: Some(0), ..Totals::default() }
    }

    pub(super) fn add(&mut self, other: &Totals) {
        self.execs = self.execs.saturating_add(other.execs);
        self.rolled_up = self.rolled_up.saturating_add(other.rolled_up);
        self.missing = self.missing.saturating_add(other.missing);
        self.seen = self.seen.zip(other.seen).map(|(sum, seen)| sum.saturating_add(seen));
        other.excluded.iter().for_each(|(reason, count)| add(&mut self.excluded, reason, *count));
        other.lost.iter().for_each(|(reason, count)| add(&mut self.lost, reason, *count));
    }

    /// In the log, rolled up, missing, excluded or lost.
    pub(super) fn told(&self) -> u64 {
        let all = [self.execs, self.rolled_up, self.missing, total(&self.excluded), total(&self.lost)];
        all.into_iter().fold(0, u64::saturating_add)
    }
}

impl Sums {
    pub(super) fn zero() -> Sums {
        Sums { seen: 0, written: 0, rolled_up: 0, excluded: Reasons::new(), lost: Reasons::new(), waiting: 0 }
    }
}

pub(super) fn add(reasons: &mut Reasons, reason: &str, more: u64) {
    match reasons.get_mut(reason) {
        Some(count) => *count = count.saturating_add(more),
        None => {
            reasons.insert(reason.to_owned(), more);
        }
    }
}

pub(super) fn total(reasons: &Reasons) -> u64 {
    reasons.values().copied().fold(0, u64::saturating_add)
}

pub(super) fn count(reasons: &Reasons, reason: &str) -> u64 {
    reasons.get(reason).copied().unwrap_or_default()
}

/// Whether both have the same counts, whatever reasons they name that there were none of.
pub(super) fn is_same(a: &Reasons, b: &Reasons) -> bool {
    a.keys().chain(b.keys()).all(|reason| count(a, reason) == count(b, reason))
}

pub(super) fn plus(a: &Reasons, b: &Reasons) -> Reasons {
    let mut sum = a.clone();
    b.iter().for_each(|(reason, more)| add(&mut sum, reason, *more));
    sum
}

pub(super) fn minus(a: &Reasons, b: &Reasons) -> Reasons {
    a.iter().map(|(reason, all)| (reason.clone(), all.saturating_sub(count(b, reason)))).collect()
}

/// Numbers that began before the lines that are there.
#[derive(Debug, Default)]
pub(super) struct Bases {
    known: BTreeMap<Counted, Sums>,
    /// What is not known was nothing: the run began with its first line.
    from_nothing: bool,
}

impl Bases {
    pub(super) fn nothing() -> Bases {
        Bases { known: BTreeMap::new(), from_nothing: true }
    }

    /// From here on they are known.
    pub(super) fn set(&mut self, counted: Counted, sums: Sums) {
        self.known.insert(counted, sums);
    }

    /// `None` if the first ledger must tell.
    pub(super) fn get(&self, counted: Counted) -> Option<Sums> {
        self.known.get(&counted).cloned().or_else(|| self.from_nothing.then(Sums::zero))
    }
}
