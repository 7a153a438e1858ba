//! Between the thread that reads the ring and the one that writes the log: bounded, and never a wait for the reader.
//!
//! What does not fit is counted, and told at its place as soon as something fits again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use exectrace::Event;

use crate::line::{Entry, Lost};
use crate::tally::Tally;

/// Reason of a loss in the queue, as the log has it.
const QUEUE_FULL: &str = "queue_full";

/// Entries of the smallest size that the bytes could hold; the channel reserves their slots.
const SLOTS: usize = 16_384;

/// A queue that holds entries of at most `bytes` bytes together.
pub(crate) fn queue(bytes: u64) -> (QueueIn, QueueOut) {
    let (sender, receiver) = bounded(SLOTS);
    let used = Arc::new(AtomicU64::new(0));
    (QueueIn { sender, used: Arc::clone(&used), bytes, refused: Tally::default() }, QueueOut { receiver, used })
}

/// Where the reader puts entries.
pub(crate) struct QueueIn {
    sender: Sender<(Entry, u64)>,
    used: Arc<AtomicU64>,
    bytes: u64,
    refused: Tally,
}

impl QueueIn {
    /// Puts an entry at the end, or counts it if there is no room.
    pub(crate) fn push(&mut self, entry: Entry) {
        // The gap is told together with what follows it, once and in its place.
        let told = self.refused.is_empty() || (self.has_room(size(&entry)) && self.tell_gap());
        let refused = if told { self.offer(entry).err() } else { Some(entry) };
        if let Some(entry) = refused {
            self.refused.add(&Lost::of(&entry, QUEUE_FULL));
        }
    }

    fn tell_gap(&mut self) -> bool {
        for lost in self.refused.take() {
            if let Err(entry) = self.offer(Entry::Lost(lost)) {
                self.refused.add(&Lost::of(&entry, QUEUE_FULL));
            }
        }
        self.refused.is_empty()
    }

    /// One entry larger than the whole queue goes in when nothing else is there.
    fn has_room(&self, size: u64) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        used == 0 || used + size <= self.bytes
    }

    fn offer(&self, entry: Entry) -> Result<(), Entry> {
        let size = size(&entry);
        if !self.has_room(size) {
            return Err(entry);
        }
        self.used.fetch_add(size, Ordering::Relaxed);
        self.sender.try_send((entry, size)).map_err(|error| {
            self.used.fetch_sub(size, Ordering::Relaxed);
            match error {
                TrySendError::Full((entry, _)) | TrySendError::Disconnected((entry, _)) => entry,
            }
        })
    }

    /// Ends the queue. Tells a gap at the end, waiting for room for it at most for `patience`; returns what could not be
    /// told.
    pub(crate) fn close(mut self, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        for lost in self.refused.take() {
            if let Err(SendTimeoutError::Timeout((entry, _)) | SendTimeoutError::Disconnected((entry, _))) =
                self.sender.send_deadline((Entry::Lost(lost), 0), deadline)
            {
                self.refused.add(&Lost::of(&entry, QUEUE_FULL));
            }
        }
        self.refused.total()
    }
}

/// Where the writer takes them.
pub(crate) struct QueueOut {
    receiver: Receiver<(Entry, u64)>,
    used: Arc<AtomicU64>,
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

    fn free(&self, (entry, size): (Entry, u64)) -> Entry {
        self.used.fetch_sub(size, Ordering::Relaxed);
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
        Entry::Lost(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::samples;

    fn exec() -> Entry {
        Entry::Exec(Box::new(samples::uname()))
    }

    fn drain(queue: &QueueOut) -> Vec<Option<u64>> {
        std::iter::from_fn(|| queue.take())
            .map(|entry| match entry {
                Entry::Exec(_) => None,
                Entry::Lost(lost) => Some(lost.count),
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_told_where_it_is_missing() {
        let (mut sender, receiver) = queue(2 * size(&exec()));
        for _ in 0..5 {
            sender.push(exec());
        }
        assert_eq!(drain(&receiver), [None, None]);
        sender.push(exec());
        assert_eq!(drain(&receiver), [Some(3), None]);
    }

    #[test]
    fn a_loss_of_the_kernel_s_that_does_not_fit_is_not_forgotten() {
        let (mut sender, receiver) = queue(size(&exec()));
        sender.push(exec());
        sender.push(exec());
        for _ in 0..SLOTS {
            let _ = sender.sender.try_send((exec(), 0));
        }
        sender.push(Entry::Lost(Lost { scope: None, reason: "ring_full", count: 7 }));
        drain(&receiver);
        sender.push(exec());
        assert_eq!(drain(&receiver), [Some(7), Some(1), None]);
    }

    #[test]
    fn one_entry_larger_than_the_queue_passes() {
        let (mut sender, receiver) = queue(1);
        sender.push(exec());
        sender.push(exec());
        assert_eq!(drain(&receiver), [None]);
    }

    #[test]
    fn a_gap_at_the_end_is_told_on_closing() {
        let (mut sender, receiver) = queue(1);
        sender.push(exec());
        sender.push(exec());
        assert_eq!(sender.close(Duration::ZERO), 0);
        assert_eq!(drain(&receiver), [None, Some(1)]);
        assert!(matches!(receiver.wait(Duration::ZERO), Taken::End));
    }

    #[test]
    fn a_gap_that_cannot_be_told_on_closing_is_returned() {
        let (mut sender, receiver) = queue(1);
        sender.push(exec());
        sender.push(exec());
        for _ in 0..SLOTS {
            let _ = sender.sender.try_send((exec(), 0));
        }
        assert_eq!(sender.close(Duration::ZERO), 1);
        drop(receiver);
    }
}
