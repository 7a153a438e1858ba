//! Counts of what was lost on the way through the program, by scope and reason, until they can be told.

use std::collections::BTreeMap;

use exectrace::{ScopeId, What};

use crate::ledger::Reason;
use crate::line::Lost;

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

    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// What is to be told, each once.
    pub(crate) fn take(&mut self) -> Vec<Lost> {
        let counts = std::mem::take(&mut self.counts);
        counts.into_iter().map(|((what, scope, reason), count)| Lost { what, scope, reason, count }).collect()
    }
}
