//! What is counted while a log is written, for who asks: any thread may look at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "ship")]
use std::sync::Arc;

use exectrace::What;
#[cfg(feature = "ship")]
use exectrace_sinks::counts::Counts;

use crate::ledger::{Books, Snapshot};
use crate::sink::Outputs;

/// All of it.
pub(crate) struct Stats {
    bytes: AtomicU64,
    redacted: AtomicU64,
    kinds: Mutex<[Numbers; What::COUNT]>,
    /// Of each sink over the network, with its name.
    #[cfg(feature = "ship")]
    sinks: Vec<(&'static str, Arc<Counts>)>,
}

/// Numbers of one thing, by [`What::index`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// As of the last ledger.
    pub(crate) seen: u64,
    /// As of the last ledger, by rule.
    pub(crate) excluded: BTreeMap<&'static str, u64>,
    pub(crate) written: u64,
    pub(crate) rolled_up: u64,
    /// What rules left out that are not the kernel's.
    pub(crate) excluded_here: u64,
    /// By reason.
    pub(crate) lost: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Nothing yet.
    pub(crate) fn of(outputs: &Outputs) -> Stats {
        let _ = outputs;
        Stats {
            bytes: AtomicU64::new(0),
            redacted: AtomicU64::new(0),
            kinds: Mutex::default(),
            #[cfg(feature = "ship")]
            sinks: outputs.counts(),
        }
    }

    /// So many bytes were given to the outputs, and this is what is in the log now.
    pub(crate) fn wrote(&self, books: &Books, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for what in What::ALL {
            let sums = books.of(what);
            let numbers = &mut kinds[what.index()];
            (numbers.written, numbers.rolled_up, numbers.lost) = (sums.written, sums.rolled_up, sums.lost());
            numbers.excluded_here = sums.excluded;
        }
    }

    /// So many secrets were replaced.
    pub(crate) fn redacted(&self, secrets: u32) {
        self.redacted.fetch_add(u64::from(secrets), Ordering::Relaxed);
    }

    /// This is what the kernel's half has counted.
    pub(crate) fn saw(&self, snapshot: &Snapshot) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for (numbers, counts) in kinds.iter_mut().zip(&snapshot.all) {
            if let Some(counts) = counts {
                (numbers.seen, numbers.excluded) = (counts.seen, counts.excluded.clone());
            }
        }
    }
}

#[cfg(feature = "metrics")]
impl Stats {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn secrets(&self) -> u64 {
        self.redacted.load(Ordering::Relaxed)
    }

    pub(crate) fn kinds(&self) -> [Numbers; What::COUNT] {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "ship")]
    pub(crate) fn sinks(&self) -> &[(&'static str, Arc<Counts>)] {
        &self.sinks
    }
}
