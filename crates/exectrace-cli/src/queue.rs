//! Between the thread that reads the ring and the one that writes the log: bounded.
//!
//! The reader waits for room as long as there is hope (`backpressure`). What is refused for good is counted, and told at
//! its place as soon as something fits again. Where several scopes share it, one may take up a multiple of what is still
//! free, as in the kernel's ring, so that one that floods leaves room for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use exectrace::{Event, ScopeId};

use crate::ledger::Reason;
use crate::line::Entry;
use crate::tally::Tally;

/// Entries of the workspace that the channel holds. Each counts as so many of the bytes, at least, that the bytes are used
/// up first.
const SLOTS: usize = 16_384;
/// What it holds besides: lines about the log itself, which count for nothing and must not be refused.
const OTHER_SLOTS: usize = 4_096;
/// Of what is free, how many times as much one scope may take up that has neighbours: 9/10 of the queue if it is alone.
const SHARE: u64 = 9;

/// A queue that holds entries of at most `bytes` bytes together, of scopes up to number `scopes`.
pub(crate) fn queue(bytes: u64, scopes: u32) -> (QueueIn, QueueOut) {
    let (sender, receiver) = bounded(SLOTS + OTHER_SLOTS);
    let used = Arc::new(Used { all: AtomicU64::new(0), by_scope: (0..=scopes).map(|_| AtomicU64::new(0)).collect() });
    (QueueIn { sender, used: Arc::clone(&used), bytes, refused: Tally::default() }, QueueOut { receiver, used })
}

/// Bytes that wait, in all and by scope.
#[derive(Debug)]
struct Used {
    all: AtomicU64,
    by_scope: Vec<AtomicU64>,
}

impl Used {
    fn by(&self, scope: Option<ScopeId>) -> Option<&AtomicU64> {
        self.by_scope.get(usize::try_from(scope?.get()).ok()?)
    }

    fn add(&self, scope: Option<ScopeId>, bytes: u64) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        if let Some(used) = self.by(scope) {
            used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn remove(&self, scope: Option<ScopeId>, bytes: u64) {
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(used) = self.by(scope) {
            used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// Where the reader puts entries.
pub(crate) struct QueueIn {
    sender: Sender<(Entry, u64)>,
    used: Arc<Used>,
    bytes: u64,
    refused: Tally,
}

impl QueueIn {
    /// Puts an entry at the end, or returns it if there is no room.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), Entry> {
        // The gap is told together with what follows it, once and in its place.
        let told = self.refused.is_empty() || (self.has_room(&entry) && self.tell_gap());
        if told { self.offer(entry) } else { Err(entry) }
    }

    /// Counts what is missing by an entry that will not be put here.
    pub(crate) fn refuse(&mut self, entry: &Entry) {
        entry.missing(Reason::QueueFull).iter().flatten().for_each(|lost| self.refused.add(lost));
    }

    fn tell_gap(&mut self) -> bool {
        for lost in self.refused.take() {
            if let Err(entry) = self.offer(Entry::Lost(lost)) {
                self.refuse(&entry);
            }
        }
        self.refused.is_empty()
    }

    fn cost(&self, entry: &Entry) -> u64 {
        match size(entry) {
            0 => 0,
            size => size.max(self.bytes / SLOTS as u64),
        }
    }

    /// One entry larger than the whole queue goes in when nothing else is there.
    fn has_room(&self, entry: &Entry) -> bool {
        let (cost, used) = (self.cost(entry), self.used.all.load(Ordering::Relaxed));
        if used == 0 || cost == 0 {
            return true;
        }
        let scope = entry.what().map(|(_, scope)| scope);
        let own = self.used.by(scope).map_or(0, |used| used.load(Ordering::Relaxed));
        let has_neighbours = self.used.by_scope.len() > 2;
        used + cost <= self.bytes && (!has_neighbours || own + cost <= (self.bytes - used).saturating_mul(SHARE))
    }

    fn offer(&self, entry: Entry) -> Result<(), Entry> {
        let (cost, scope) = (self.cost(&entry), entry.what().map(|(_, scope)| scope));
        if !self.has_room(&entry) {
            return Err(entry);
        }
        self.used.add(scope, cost);
        self.sender.try_send((entry, cost)).map_err(|error| {
            self.used.remove(scope, cost);
            match error {
                TrySendError::Full((entry, _)) | TrySendError::Disconnected((entry, _)) => entry,
            }
        })
    }

    /// Ends the queue with these entries, after a gap that is not told yet, waiting for room for them at most for
    /// `patience`; returns what of the gap could not be told.
    pub(crate) fn close(mut self, last: Vec<Entry>, patience: Duration) -> Tally {
        let deadline = Instant::now() + patience;
        let gap: Vec<Entry> = self.refused.take().into_iter().map(Entry::Lost).collect();
        let mut is_told = true;
        for entry in gap.into_iter().chain(last) {
            // What follows a gap that was not told must not look as if there were none.
            let refused = match is_told {
                true => self.sender.send_deadline((entry, 0), deadline).err(),
                false => Some(SendTimeoutError::Timeout((entry, 0))),
            };
            if let Some(SendTimeoutError::Timeout((entry, _)) | SendTimeoutError::Disconnected((entry, _))) = refused {
                is_told = false;
                self.refuse(&entry);
            }
        }
        self.refused
    }
}

/// Where the writer takes them.
pub(crate) struct QueueOut {
    receiver: Receiver<(Entry, u64)>,
    used: Arc<Used>,
}

/// What the queue had.
pub(crate) enum Taken {
    Entry(Entry),
    Nothing,
    End,
}

impl QueueOut {
    /// The next entry, without waiting.
    pub(crate) fn take(&self) -> Option<Entry> {
        self.receiver.try_recv().ok().map(|taken| self.free(taken))
    }

    /// The next entry, after waiting for it at most for `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Taken {
        match self.receiver.recv_timeout(patience) {
            Ok(taken) => Taken::Entry(self.free(taken)),
            Err(RecvTimeoutError::Timeout) => Taken::Nothing,
            Err(RecvTimeoutError::Disconnected) => Taken::End,
        }
    }

    fn free(&self, (entry, cost): (Entry, u64)) -> Entry {
        self.used.remove(entry.what().map(|(_, scope)| scope), cost);
        entry
    }
}

/// About what an entry takes in memory.
fn size(entry: &Entry) -> u64 {
    let heap = |event: &Event| {
        let strings = [&event.filename, &event.comm, &event.exe, &event.cwd].map(Vec::len).iter().sum::<usize>();
        event.argv.kept_bytes() + strings as u64
    };
    match entry {
        Entry::Exec(event) => size_of::<Event>() as u64 + heap(event),
        Entry::Failed(failed) => size_of::<Event>() as u64 + heap(&failed.attempt),
        Entry::Ended(ended) => size_of_val(ended.as_ref()) as u64 + ended.comm.len() as u64,
        // Few, and never to be refused.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use exectrace::{LossReason, What};

    use super::*;
    use crate::line::{Lost, samples};

    fn exec() -> Entry {
        Entry::Exec(Box::new(samples::uname()))
    }

    fn put(sender: &mut QueueIn, entry: Entry) {
        if let Err(entry) = sender.push(entry) {
            sender.refuse(&entry);
        }
    }

    fn drain(queue: &QueueOut) -> Vec<Option<u64>> {
        std::iter::from_fn(|| queue.take())
            .map(|entry| match entry {
                Entry::Exec(_) => None,
                Entry::Lost(lost) => Some(lost.count),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_told_where_it_is_missing() {
        let (mut sender, receiver) = queue(2 * size(&exec()), 1);
        for _ in 0..5 {
            put(&mut sender, exec());
        }
        assert_eq!(drain(&receiver), [None, None]);
        put(&mut sender, exec());
        assert_eq!(drain(&receiver), [Some(3), None]);
    }

    #[test]
    fn a_loss_of_the_kernel_s_that_does_not_fit_is_not_forgotten() {
        let (mut sender, receiver) = queue(size(&exec()), 1);
        put(&mut sender, exec());
        put(&mut sender, exec());
        while sender.sender.try_send((exec(), 0)).is_ok() {}
        put(
            &mut sender,
            Entry::Lost(Lost { what: What::Exec, scope: None, reason: Reason::Kernel(LossReason::RingFull), count: 7 }),
        );
        drain(&receiver);
        put(&mut sender, exec());
        assert_eq!(drain(&receiver), [Some(7), Some(1), None]);
    }

    #[test]
    fn what_the_log_says_of_itself_passes_when_nothing_else_does() {
        let (mut sender, receiver) = queue(SLOTS as u64 * size(&exec()), 1);
        for _ in 0..SLOTS + 1 {
            put(&mut sender, exec());
        }
        put(&mut sender, Entry::Gone(samples::gone()));
        let taken: Vec<Entry> = std::iter::from_fn(|| receiver.take()).collect();
        assert_eq!(taken.len(), SLOTS + 2, "the gap before it too");
        assert!(matches!(taken.last(), Some(Entry::Gone(_))));
    }

    #[test]
    fn one_entry_larger_than_the_queue_passes() {
        let (mut sender, receiver) = queue(1, 1);
        put(&mut sender, exec());
        put(&mut sender, exec());
        assert_eq!(drain(&receiver), [None]);
    }

    #[test]
    fn a_gap_at_the_end_is_told_on_closing() {
        let (mut sender, receiver) = queue(1, 1);
        put(&mut sender, exec());
        put(&mut sender, exec());
        assert!(sender.close(Vec::new(), Duration::ZERO).is_empty());
        assert_eq!(drain(&receiver), [None, Some(1)]);
        assert!(matches!(receiver.wait(Duration::ZERO), Taken::End));
    }

    #[test]
    fn a_gap_that_cannot_be_told_on_closing_is_returned() {
        let (mut sender, receiver) = queue(1, 1);
        put(&mut sender, exec());
        put(&mut sender, exec());
        while sender.sender.try_send((exec(), 0)).is_ok() {}
        assert_eq!(sender.close(Vec::new(), Duration::ZERO).to_string(), "1 execs");
        drop(receiver);
    }

    #[test]
    fn a_scope_that_floods_leaves_room_for_its_neighbours() {
        let (mut sender, receiver) = queue(20 * size(&exec()), 2);
        let quiet = || {
            let mut event = samples::uname();
            event.scope = scope(2);
            Entry::Exec(Box::new(event))
        };
        for _ in 0..40 {
            put(&mut sender, exec());
        }
        put(&mut sender, quiet());
        let taken: Vec<Entry> = std::iter::from_fn(|| receiver.take()).collect();
        let of_quiet = taken.iter().filter(|entry| entry.what() == Some((What::Exec, scope(2)))).count();
        assert_eq!((taken.len(), of_quiet), (20, 1), "18 of the flood, its gap, and the quiet one");
    }

    /// Numbers of scopes are the tracer's to give; these come from a sample's.
    fn scope(number: u32) -> ScopeId {
        ScopeId::try_from(number).expect("not 0")
    }
}
