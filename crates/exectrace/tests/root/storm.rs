//! At full speed nothing is lost, doubled or mixed up.

use std::collections::{BTreeMap, HashSet};

use exectrace::{Event, Hook, Partial};

use crate::backup::SKIPPING;
use crate::support::*;

/// Each of the `count` execs of two workers once, each worker's in order, and every stream without a gap.
#[track_caller]
pub(crate) fn assert_storm(events: &[Event], count: usize, args: usize) {
    let words = words(events);
    let distinct: HashSet<&str> = words.iter().map(String::as_str).collect();
    assert_eq!((words.len(), distinct.len()), (count, count));
    for worker in 0..2 {
        let prefix = format!("{worker}-");
        let numbers = words.iter().filter_map(|word| word.strip_prefix(&prefix));
        assert!(numbers.eq((0..count / 2).map(|number| number.to_string())), "worker {worker} out of order");
    }
    // Where programs are skipped, the one that keeps the caller's name can be.
    let skipped = if kernel() < SKIPPING { Partial::empty() } else { Partial::COMM };
    let mut next: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    for event in events {
        assert_eq!((event.filename.as_slice(), event.partial - skipped), (target().as_bytes(), Partial::empty()));
        assert_eq!(event.argv.count as usize, args);
        assert!(!event.truncated());
        let expected = next.entry((event.origin.cpu, event.origin.hook.name())).or_insert(event.origin.seq);
        assert_eq!(event.origin.seq, *expected, "a gap in the sequence");
        *expected += 1;
    }
}

#[test]
fn root_20_000_execs_at_full_speed_are_all_seen_once() {
    let run = Workspace::new().run(command("storm").args([target(), "2", "20000", "0"]));
    println!("{}", run.line());
    assert_storm(&run.events, 20_000, 2);
    if kernel() < SKIPPING {
        assert!(run.events.iter().all(|event| event.origin.hook == Hook::Exec));
    }
}

#[test]
fn root_20_000_execs_with_4096_bytes_each_are_all_seen_once_and_whole() {
    let mut filler = b"2".to_vec();
    filler.extend((1..4096u32).map(|at| b'a' + u8::try_from((2 + at) % 26).expect("below 26")));
    let run = Workspace::new().run(command("storm").args([target(), "2", "20000", "4096"]));
    println!("{}", run.line());
    assert_storm(&run.events, 20_000, 3);
    assert!(run.events.iter().all(|event| event.argv.iter().nth(2) == Some(&filler[..])));
}
