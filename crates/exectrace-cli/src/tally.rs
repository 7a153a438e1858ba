//! Counts of what was lost on the way through the program, by scope and reason, until they can be told.

use std::collections::BTreeMap;
use std::fmt;

use exectrace::{ScopeId, What};

use crate::ledger::Reason;
use crate::line::{Lost, in_words};

/// What is not in the log and not told yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<(What, Option<ScopeId>, Reason), u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, lost: &Lost) {
        *self.counts.entry((lost.what, lost.scope, lost.reason)).or_default() += lost.count;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Takes over what another one has counted.
    pub(crate) fn add_all(&mut self, mut other: Tally) {
        other.take().iter().for_each(|lost| self.add(lost));
    }

    /// What is to be told, each once.
    pub(crate) fn take(&mut self) -> Vec<Lost> {
        let counts = std::mem::take(&mut self.counts);
        counts.into_iter().map(|((what, scope, reason), count)| Lost { what, scope, reason, count }).collect()
    }
}

/// For people: how many of each kind.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds = BTreeMap::new();
        for ((what, ..), count) in &self.counts {
            *kinds.entry(*what).or_insert(0) += count;
        }
        let words: Vec<_> = kinds.iter().map(|(what, count)| format!("{count} {}", in_words(*what))).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_with_its_sum() {
        let mut tally = Tally::default();
        for (what, reason, count) in [
            (What::Exec, Reason::QueueFull, 2),
            (What::Exec, Reason::WriteFailed, 3),
            (What::Exit, Reason::WriteFailed, 1),
        ] {
            tally.add(&Lost { what, scope: None, reason, count });
        }
        assert_eq!(tally.to_string(), "5 execs, 1 ends of processes");
        let mut all = Tally::default();
        all.add_all(tally);
        assert_eq!(all.to_string(), "5 execs, 1 ends of processes");
    }
}
