//! What is counted of one sink over the network, for who asks.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dropped::Reason;

/// Numbers that any thread may read at any time; they begin at 0 with the process.
#[derive(Debug, Default)]
pub struct Counts {
    lines_sent: AtomicU64,
    bytes_sent: AtomicU64,
    batches_sent: AtomicU64,
    retries: AtomicU64,
    dropped: [AtomicU64; Reason::ALL.len()],
    spool_lines: AtomicU64,
    spool_bytes: AtomicU64,
    /// 0: never.
    last_success: AtomicU64,
    failing: AtomicU64,
}

macro_rules! counted {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> u64 { self.$name.load(Ordering::Relaxed) })*
    };
}

impl Counts {
    counted! {
        /// Lines that the place took.
        lines_sent;
        /// Bytes of these, without what a protocol adds.
        bytes_sent;
        /// Batches that the place took.
        batches_sent;
        /// Attempts after one that failed.
        retries;
        /// Lines that wait on disk.
        spool_lines;
        /// Bytes of these.
        spool_bytes;
        /// When the place last took a batch, in seconds since 1970; 0: never.
        last_success;
        /// 1 while the last attempt failed.
        failing;
    }

    /// Lines that were dropped for a reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self, lines: u64, bytes: u64, unix_time: u64) {
        self.lines_sent.fetch_add(lines, Ordering::Relaxed);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.batches_sent.fetch_add(1, Ordering::Relaxed);
        self.last_success.store(unix_time, Ordering::Relaxed);
        self.failing.store(0, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.failing.store(1, Ordering::Relaxed);
    }

    pub(crate) fn drop_lines(&self, reason: Reason, lines: u64) {
        self.dropped[reason as usize].fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn spooled(&self, lines: u64, bytes: u64) {
        self.spool_lines.store(lines, Ordering::Relaxed);
        self.spool_bytes.store(bytes, Ordering::Relaxed);
    }
}
