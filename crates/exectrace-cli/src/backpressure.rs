//! What the reader does when the queue is full: it stops reading, and what comes waits in the kernel's ring, as long as
//! the output takes anything. One that takes nothing keeps nobody waiting: the reader reads on, and what finds no room is
//! counted. So what a slow output can lose begins where queue and ring are both full.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::line::Entry;
use crate::queue::QueueIn;

/// An output that takes nothing for so long will take nothing more.
pub(crate) const STALLED: Duration = Duration::from_millis(500);

/// The way into the queue.
pub(crate) struct Backpressure {
    /// In order, and none until the queue is full. Few: the reader stops with the first.
    held: VecDeque<Entry>,
    /// Bytes that the output took.
    taken: Arc<AtomicU64>,
    /// How many those were when it was last seen to take any, or was first waited for; `None` while there is room.
    waits: Option<(u64, Instant)>,
    patience: Duration,
}

impl Backpressure {
    /// `taken` counts the bytes that the output took.
    pub(crate) fn new(taken: Arc<AtomicU64>) -> Backpressure {
        Backpressure { held: VecDeque::new(), taken, waits: None, patience: STALLED }
    }

    /// Puts an entry into the queue, after all before it. `Break` if the reader should stop until there is room.
    pub(crate) fn push(&mut self, entry: Entry, queue: &mut QueueIn) -> ControlFlow<()> {
        self.held.push_back(entry);
        self.relieve(queue)
    }

    /// Puts into the queue what there is room for by now. `Break` while not all of it has found room.
    pub(crate) fn relieve(&mut self, queue: &mut QueueIn) -> ControlFlow<()> {
        while let Some(entry) = self.held.pop_front() {
            match queue.push(entry) {
                Ok(()) => self.waits = None,
                Err(entry) if self.is_stalled() => queue.refuse(&entry),
                Err(entry) => {
                    self.held.push_front(entry);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether the output has taken nothing for long.
    fn is_stalled(&mut self) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        if self.waits.is_none_or(|(before, _)| before != taken) {
            self.waits = Some((taken, Instant::now()));
        }
        self.gave_up()
    }

    /// From now on, nothing waits.
    pub(crate) fn give_up(&mut self) {
        self.patience = Duration::ZERO;
    }

    /// Whether what comes now is counted instead of held.
    pub(crate) fn gave_up(&self) -> bool {
        self.patience.is_zero() || self.waits.is_some_and(|(_, since)| since.elapsed() >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::samples;
    use crate::queue::queue;

    fn exec() -> Entry {
        Entry::Exec(Box::new(samples::uname()))
    }

    /// A queue with room for one entry, and the way into it.
    fn narrow() -> (Backpressure, QueueIn, crate::queue::QueueOut) {
        let (sender, receiver) = queue(1, 1);
        (Backpressure::new(Arc::default()), sender, receiver)
    }

    #[test]
    fn what_finds_no_room_waits_in_order() {
        let (mut way, mut sender, receiver) = narrow();
        assert_eq!(way.push(exec(), &mut sender), ControlFlow::Continue(()));
        assert_eq!(way.push(exec(), &mut sender), ControlFlow::Break(()));
        assert_eq!(way.push(Entry::Gone(samples::gone()), &mut sender), ControlFlow::Break(()));
        assert!(receiver.take().is_some());
        assert_eq!(way.relieve(&mut sender), ControlFlow::Continue(()));
        let rest: Vec<Entry> = std::iter::from_fn(|| receiver.take()).collect();
        assert!(matches!(rest[..], [Entry::Exec(_), Entry::Gone(_)]), "{} entries", rest.len());
    }

    #[test]
    fn an_output_that_takes_anything_is_waited_for() {
        let (mut way, mut sender, _receiver) = narrow();
        let _ = way.push(exec(), &mut sender);
        let long_ago = Instant::now().checked_sub(STALLED).expect("a machine that has run for long");
        for byte in 1..5 {
            // Each look finds that the output has moved since the last.
            way.taken.store(byte, Ordering::Relaxed);
            way.waits = Some((byte - 1, long_ago));
            assert_eq!(way.push(exec(), &mut sender), ControlFlow::Break(()));
        }
        way.waits = Some((4, long_ago));
        assert_eq!(way.push(exec(), &mut sender), ControlFlow::Continue(()), "it has not moved");
    }

    #[test]
    fn where_nothing_is_taken_it_is_counted() {
        let (mut way, mut sender, receiver) = narrow();
        let _ = way.push(exec(), &mut sender);
        assert!(way.push(exec(), &mut sender).is_break());
        way.give_up();
        assert!(way.push(exec(), &mut sender).is_continue());
        assert!(receiver.take().is_some());
        assert!(way.push(exec(), &mut sender).is_continue());
        assert!(matches!(receiver.take(), Some(Entry::Lost(lost)) if lost.count == 2));
    }
}
