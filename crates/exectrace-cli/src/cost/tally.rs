//! Who takes up how much: sums by name, of so many names at most.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;

/// Names that are told apart; the others are together.
pub(super) const MAX_NAMES: usize = 65_536;
/// Of a name that is longer, only so many bytes are kept.
const MAX_NAME: usize = 512;

/// What there is of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sum {
    pub(crate) execs: u64,
    /// Of its lines where each has one.
    pub(crate) bytes: u64,
    /// Of its lines where they are rolled up.
    pub(crate) rolled_up_bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, other: Sum) {
        self.execs = self.execs.saturating_add(other.execs);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.rolled_up_bytes = self.rolled_up_bytes.saturating_add(other.rolled_up_bytes);
    }
}

/// Sums by name.
#[derive(Debug)]
pub(super) struct Tally<K> {
    rows: HashMap<K, Sum>,
    /// What has no row any more.
    others: Sum,
}

impl<K> Default for Tally<K> {
    fn default() -> Tally<K> {
        Tally { rows: HashMap::new(), others: Sum::default() }
    }
}

impl<K: Eq + Hash + Ord + Clone> Tally<K> {
    pub(super) fn add(&mut self, key: &K, sum: Sum) {
        let has_room = self.rows.len() < MAX_NAMES;
        match self.rows.get_mut(key) {
            Some(row) => row.add(sum),
            None if has_room => drop(self.rows.insert(key.clone(), sum)),
            None => self.others.add(sum),
        }
    }

    /// The largest, and all others together if there are any.
    pub(super) fn top(&self, most: usize) -> (Vec<(K, Sum)>, Option<Sum>) {
        let mut rows: Vec<(K, Sum)> = self.rows.iter().map(|(key, sum)| (key.clone(), *sum)).collect();
        rows.sort_unstable_by(|(a, of_a), (b, of_b)| {
            (of_b.bytes, of_b.rolled_up_bytes, a).cmp(&(of_a.bytes, of_a.rolled_up_bytes, b))
        });
        let mut others = self.others;
        rows.drain(most.min(rows.len())..).for_each(|(_, sum)| others.add(sum));
        (rows, (others != Sum::default()).then_some(others))
    }
}

/// By whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) user: Arc<str>,
    pub(super) workspace: Arc<str>,
    pub(super) parent: Arc<str>,
    pub(super) exe: Arc<str>,
}

/// Workspace, parent, file.
pub(super) type Place = [Arc<str>; 3];

/// All sums; each of the tallies has the same in all.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) user: Tally<Arc<str>>,
    pub(super) workspace: Tally<Arc<str>>,
    pub(super) parent: Tally<Arc<str>>,
    pub(super) exe: Tally<Arc<str>>,
    pub(super) place: Tally<Place>,
    pub(super) whole: Sum,
}

impl Tallies {
    pub(super) fn add(&mut self, whose: &Whose, sum: Sum) {
        let Whose { user, workspace, parent, exe } = whose;
        self.user.add(user, sum);
        self.workspace.add(workspace, sum);
        self.parent.add(parent, sum);
        self.exe.add(exe, sum);
        self.place.add(&[workspace, parent, exe].map(Arc::clone), sum);
        self.whole.add(sum);
    }
}

/// A name as it is kept.
pub(super) fn name(text: &str) -> Arc<str> {
    let end = text.floor_char_boundary(MAX_NAME);
    if end == text.len() { Arc::from(text) } else { Arc::from(format!("{}\u{2026}", &text[..end])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: u64) -> Sum {
        Sum { execs: 1, bytes, rolled_up_bytes: bytes / 2 }
    }

    #[test]
    fn the_largest_come_first_and_nothing_is_left_out() {
        let mut tally = Tally::default();
        for (name, bytes) in [("b", 5), ("a", 5), ("c", 1), ("d", 9), ("c", 2)] {
            tally.add(&name, sum(bytes));
        }
        let (rows, others) = tally.top(2);
        assert_eq!(rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["d", "a"]);
        assert_eq!(others, Some(Sum { execs: 3, bytes: 8, rolled_up_bytes: 3 }));
        assert_eq!((tally.top(9).0.len(), tally.top(9).1), (4, None));
    }

    #[test]
    fn more_names_than_there_is_room_for_are_others() {
        let mut tally = Tally::default();
        let count = MAX_NAMES as u64 + 10;
        (0..count).for_each(|number| tally.add(&number, sum(2)));
        (0..count).for_each(|number| tally.add(&number, sum(2)));
        let (rows, others) = tally.top(usize::MAX);
        assert_eq!(rows.len(), MAX_NAMES);
        assert_eq!(others, Some(Sum { execs: 20, bytes: 40, rolled_up_bytes: 20 }));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(&*name("short"), "short");
        let long = name(&"\u{e9}a".repeat(400));
        assert!(long.len() <= MAX_NAME + 3 && long.ends_with('\u{2026}'));
    }
}
