//! Several sources that go on -> one, by time as far as that can be had. What a source will say next nobody knows, so a
//! line waits for those of other sources that may be on their way, but never for longer than [`HOLD`].

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::merge::first;

/// How long a line waits for others: a log line takes less from a node through the API server, as a rule.
pub(crate) const HOLD: Duration = Duration::from_millis(500);
/// More lines than these are not held, whatever their time: a storm must not fill the memory.
const MAX_HELD: usize = 65_536;

/// Lines that wait. What time it is comes in by argument.
#[derive(Default)]
pub(crate) struct Held {
    sources: BTreeMap<usize, Source>,
    count: usize,
}

#[derive(Default)]
struct Source {
    /// Each with the time at which it need not wait any more.
    lines: VecDeque<(Instant, Entry)>,
    is_closed: bool,
}

impl Held {
    /// From now on lines of this source are waited for.
    pub(crate) fn open(&mut self, source: usize) {
        self.sources.entry(source).or_default();
    }

    /// Nothing more comes from it; what still waits keeps its place.
    pub(crate) fn close(&mut self, source: usize) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.is_closed = true;
        }
        self.forget_ended();
    }

    pub(crate) fn push(&mut self, source: usize, entry: Entry, now: Instant) {
        self.sources.entry(source).or_default().lines.push_back((now + HOLD, entry));
        self.count += 1;
    }

    /// The next line that need not wait any more.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Entry> {
        let all_have_come = self.sources.values().all(|source| !source.lines.is_empty());
        let is_due = self.due().is_some_and(|due| due <= now);
        if !all_have_come && !is_due && self.count <= MAX_HELD {
            return None;
        }
        self.pop_first()
    }

    /// When the next line need not wait any more, if nothing comes until then.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.sources.values().filter_map(|source| source.lines.front()).map(|(due, _)| *due).min()
    }

    /// The next line, without waiting for others: at the end.
    pub(crate) fn pop_first(&mut self) -> Option<Entry> {
        let waiting = self.sources.values().filter_map(|source| source.lines.front());
        let at = first(waiting.map(|(_, entry)| entry))?;
        let source = self.sources.values_mut().filter(|source| !source.lines.is_empty()).nth(at)?;
        let (_, entry) = source.lines.pop_front()?;
        self.count -= 1;
        self.forget_ended();
        Some(entry)
    }

    fn forget_ended(&mut self) {
        self.sources.retain(|_, source| !source.is_closed || !source.lines.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge::tests::{entry, text};
    use super::*;

    fn all(held: &mut Held, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| held.pop(now)).map(|entry| text(&entry)).collect()
    }

    fn of_two() -> (Held, Instant) {
        let mut held = Held::default();
        held.open(1);
        held.open(2);
        (held, Instant::now())
    }

    #[test]
    fn the_lines_of_one_source_do_not_wait() {
        let mut held = Held::default();
        let now = Instant::now();
        held.open(1);
        held.push(1, entry(5, "a"), now);
        held.push(1, entry(4, "b"), now);
        assert_eq!(all(&mut held, now), ["a", "b"]);
        assert_eq!(held.due(), None);
    }

    #[test]
    fn a_line_waits_for_another_source_but_not_for_ever() {
        let (mut held, now) = of_two();
        held.push(1, entry(5, "later"), now);
        assert_eq!(all(&mut held, now), [""; 0]);
        held.push(2, entry(4, "earlier"), now + HOLD / 2);
        assert_eq!(all(&mut held, now + HOLD / 2), ["earlier"], "and now the second source may have more");
        assert_eq!(held.due(), Some(now + HOLD));
        assert_eq!(all(&mut held, now + HOLD), ["later"]);
    }

    #[test]
    fn what_is_due_takes_what_is_before_it_along() {
        let (mut held, now) = of_two();
        held.open(3);
        held.push(1, entry(5, "due"), now);
        held.push(2, entry(4, "earlier"), now + HOLD / 2);
        held.push(2, entry(6, "later"), now + HOLD / 2);
        assert_eq!(all(&mut held, now + HOLD), ["earlier", "due"]);
        assert_eq!(all(&mut held, now + HOLD * 2), ["later"]);
    }

    #[test]
    fn a_source_that_ended_is_not_waited_for() {
        let (mut held, now) = of_two();
        held.push(1, entry(5, "a"), now);
        held.close(2);
        assert_eq!(all(&mut held, now), ["a"]);
        held.push(2, entry(6, "its last"), now);
        held.close(2);
        held.push(1, entry(7, "b"), now);
        held.push(1, entry(8, "c"), now);
        assert_eq!(all(&mut held, now), ["its last", "b", "c"]);
    }

    #[test]
    fn at_the_end_all_comes_in_order() {
        let (mut held, now) = of_two();
        held.push(1, entry(5, "b"), now);
        held.push(1, entry(2, "c"), now);
        held.push(3, entry(3, "a"), now);
        let rest: Vec<_> = std::iter::from_fn(|| held.pop_first()).map(|entry| text(&entry)).collect();
        assert_eq!(rest, ["a", "b", "c"]);
    }

    #[test]
    fn a_storm_is_not_held() {
        let (mut held, now) = of_two();
        (0..=MAX_HELD).for_each(|_| held.push(1, entry(1, "x"), now));
        assert_eq!(all(&mut held, now), ["x"]);
    }
}
