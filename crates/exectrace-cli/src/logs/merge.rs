//! Several finite sources -> one, by time. A line never overtakes one of its own source, nor one of its own run with a
//! smaller number in another source: rotated files are cut anywhere, and times within a run can be out of order by
//! microseconds.

use super::entry::Entry;

/// Gives the entries of all sources. Holds one of each.
pub(crate) struct Merge<I> {
    /// Those that have entries left, each with its next one, as far as that was asked for.
    heads: Vec<(Option<Entry>, I)>,
}

impl<I: Iterator<Item = Entry>> Merge<I> {
    pub(crate) fn of(sources: impl IntoIterator<Item = I>) -> Merge<I> {
        Merge { heads: sources.into_iter().map(|source| (None, source)).collect() }
    }
}

impl<I: Iterator<Item = Entry>> Iterator for Merge<I> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        // Not as soon as an entry is taken: a pipe may be long in coming to its next one.
        self.heads.retain_mut(|(head, source)| {
            *head = head.take().or_else(|| source.next());
            head.is_some()
        });
        let at = first(self.heads.iter().filter_map(|(head, _)| head.as_ref()))?;
        self.heads[at].0.take()
    }
}

/// Which of the next entries of several sources comes first.
pub(super) fn first<'a>(heads: impl Iterator<Item = &'a Entry> + Clone) -> Option<usize> {
    let (at, earliest) = heads.clone().enumerate().min_by_key(|(_, entry)| entry.time)?;
    let Some((run, number)) = earliest.number else { return Some(at) };
    let of_its_run = heads.enumerate().filter_map(|(at, entry)| match entry.number {
        Some((other, number)) if other == run => Some((number, at)),
        _ => None,
    });
    Some(of_its_run.min().filter(|(smallest, _)| *smallest < number).map_or(at, |(_, at)| at))
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::super::entry::{Kind, Owner};
    use super::*;
    use crate::seal::Run;

    pub(in crate::logs) fn entry(seconds: u64, text: &str) -> Entry {
        Entry {
            bytes: text.into(),
            kind: Kind::Ours,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            number: None,
            owner: Rc::new(Owner::default()),
        }
    }

    pub(in crate::logs) fn text(entry: &Entry) -> String {
        String::from_utf8(entry.bytes.clone()).expect("text")
    }

    fn merged(sources: Vec<Vec<Entry>>) -> Vec<Entry> {
        Merge::of(sources.into_iter().map(Vec::into_iter)).collect()
    }

    #[test]
    fn lines_of_several_sources_come_by_time() {
        let sources = vec![
            vec![entry(1, "a1"), entry(4, "a2"), entry(5, "a3")],
            vec![],
            vec![entry(2, "b1"), entry(4, "b2"), entry(9, "b3")],
        ];
        let all: Vec<_> = merged(sources).iter().map(text).collect();
        assert_eq!(all, ["a1", "b1", "a2", "b2", "a3", "b3"], "of the same time: as the sources were given");
    }

    #[test]
    fn a_run_that_was_cut_in_two_files_keeps_its_order() {
        let of_run = |seconds, number, text| Entry { number: Some((Run(7), number)), ..entry(seconds, text) };
        let older = vec![of_run(1, 1, "1"), of_run(5, 2, "2")];
        let newer = vec![of_run(4, 3, "3"), of_run(6, 4, "4")];
        for sources in [vec![older.clone(), newer.clone()], vec![newer, older]] {
            assert_eq!(merged(sources).iter().map(text).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        }
    }

    #[test]
    fn an_entry_does_not_wait_for_the_next_one_of_its_source() {
        let lines = std::iter::once(entry(1, "a")).chain(std::iter::from_fn(|| panic!("nobody asked for it")));
        assert_eq!(Merge::of([lines]).next().map(|entry| text(&entry)).as_deref(), Some("a"));
    }

    fn sources() -> impl Strategy<Value = Vec<Vec<u64>>> {
        proptest::collection::vec(proptest::collection::vec(0..20_u64, 0..12), 0..6)
    }

    fn entries(times: &[Vec<u64>]) -> Vec<Vec<Entry>> {
        let name = |source: usize, number: usize| format!("{source}-{number}");
        let source = |(source, times): (usize, &Vec<u64>)| {
            times.iter().enumerate().map(|(number, time)| entry(*time, &name(source, number))).collect()
        };
        times.iter().enumerate().map(source).collect()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_source_keeps_its_order(times in sources()) {
            let sources = entries(&times);
            let all: Vec<String> = merged(sources.clone()).iter().map(text).collect();
            for (number, source) in sources.iter().enumerate() {
                let begin = format!("{number}-");
                let of_source: Vec<_> = all.iter().filter(|text| text.starts_with(&begin)).cloned().collect();
                prop_assert_eq!(of_source, source.iter().map(text).collect::<Vec<_>>());
            }
            prop_assert_eq!(all.len(), times.iter().map(Vec::len).sum::<usize>());
        }

        #[test]
        fn sorted_sources_give_a_sorted_whole(mut times in sources()) {
            times.iter_mut().for_each(|source| source.sort_unstable());
            let all = merged(entries(&times));
            prop_assert!(all.is_sorted_by_key(|entry| entry.time));
        }

        #[test]
        fn however_one_run_is_cut_it_comes_whole(times in proptest::collection::vec(0..20_u64, 1..30), cut in 1..6_usize) {
            let run: Vec<Entry> = (1..).zip(&times).map(|(number, time)| Entry {
                number: Some((Run(7), number)),
                ..entry(*time, &number.to_string())
            }).collect();
            let mut files: Vec<Vec<Entry>> = run.chunks(cut).map(<[Entry]>::to_vec).collect();
            files.reverse();
            let numbers: Vec<_> = merged(files).iter().map(|entry| entry.number).collect();
            prop_assert_eq!(numbers, run.iter().map(|entry| entry.number).collect::<Vec<_>>());
        }
    }
}
