//! Under whom so much is executed that it is folded.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use exectrace::ExecId;
use lru::LruCache;

/// Execs whose descendants are counted; of one that was forgotten they are counted anew, and have lines until then.
const MAX_COUNTED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not 0");

/// Counts what is executed below an exec, a window at a time.
#[derive(Debug)]
pub(crate) struct Busy {
    counts: LruCache<ExecId, Count>,
    more_than: u64,
    window: Duration,
}

#[derive(Debug)]
struct Count {
    since: SystemTime,
    execs: u64,
    /// There were as many in the window before, so that what goes on need not prove itself in each window.
    was_busy: bool,
}

impl Busy {
    pub(crate) fn new(more_than: u64, window: Duration) -> Busy {
        Busy { counts: LruCache::new(MAX_COUNTED), more_than, window }
    }

    /// Something was executed below this one.
    pub(crate) fn add(&mut self, id: ExecId, now: SystemTime) {
        let count = self.counts.get_or_insert_mut(id, || Count { since: now, execs: 0, was_busy: false });
        let age = now.duration_since(count.since).unwrap_or_default();
        if age >= self.window {
            let was_busy = count.execs > self.more_than && age < 2 * self.window;
            *count = Count { since: now, execs: 0, was_busy };
        }
        count.execs += 1;
    }

    /// Whether that is more than a person would type.
    pub(crate) fn is_busy(&mut self, id: ExecId, now: SystemTime) -> bool {
        self.counts.get(&id).is_some_and(|count| {
            let age = now.duration_since(count.since).unwrap_or_default();
            let is_busy = count.execs > self.more_than;
            age < self.window && (count.was_busy || is_busy) || age < 2 * self.window && is_busy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ExecId = ExecId { boot: 1, start: 2, pid: 3, exec: 4 };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn who_executes_more_than_so_many_in_a_window_is_busy() {
        let mut busy = Busy::new(2, Duration::from_secs(60));
        let after: Vec<bool> =
            [0, 1, 2, 3].into_iter().map(|second| (busy.add(ID, at(second)), busy.is_busy(ID, at(second))).1).collect();
        assert_eq!(after, [false, false, true, true]);
        assert!(!busy.is_busy(ExecId { pid: 9, ..ID }, at(3)));
    }

    #[test]
    fn what_goes_on_stays_busy_and_what_rested_begins_anew() {
        let mut busy = Busy::new(2, Duration::from_secs(60));
        (0..3).for_each(|second| busy.add(ID, at(second)));
        busy.add(ID, at(70));
        assert!(busy.is_busy(ID, at(70)), "the window before was");
        busy.add(ID, at(300));
        assert!(!busy.is_busy(ID, at(300)), "there was a window without any");
    }

    #[test]
    fn slow_ones_never_are() {
        let mut busy = Busy::new(2, Duration::from_secs(60));
        for second in (0..6_000).step_by(31) {
            busy.add(ID, at(second));
            assert!(!busy.is_busy(ID, at(second)), "{second}");
        }
    }
}
