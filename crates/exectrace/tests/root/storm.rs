//! At full speed nothing is lost, doubled or mixed up.

use std::collections::{BTreeMap, HashSet};
use std::process::Stdio;
use std::time::Duration;

use exectrace::{Event, Hook, Item, Partial};

use crate::backup::{SKIPPING, lacking_where_skipped};
use crate::support::*;

/// Each of the `count` execs of two workers once, each worker's in order, and every stream without a gap.
#[track_caller]
pub(crate) fn assert_storm(events: &[Event], count: usize, args: usize) {
    let words = words(events);
    let distinct: HashSet<&str> = words.iter().map(String::as_str).collect();
    assert_eq!((words.len(), distinct.len()), (count, count));
    if let Some(event) = events.iter().find(|event| word(event).is_empty()) {
        panic!("an exec without its arguments: {event:?}");
    }
    for worker in 0..2 {
        let prefix = format!("{worker}-");
        let numbers = words.iter().filter_map(|word| word.strip_prefix(&prefix));
        assert!(numbers.eq((0..count / 2).map(|number| number.to_string())), "worker {worker} out of order");
    }
    let skipped = lacking_where_skipped();
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
    let execs = scaled(20_000);
    let run = Workspace::new().run(command("storm").args([target(), "2", &execs.to_string(), "0"]));
    println!("{}", run.line());
    assert_storm(&run.events, execs, 2);
    if kernel() < SKIPPING {
        assert!(run.events.iter().all(|event| event.origin.hook == Hook::Exec));
    }
}

#[test]
fn root_20_000_execs_with_4096_bytes_each_are_all_seen_once_and_whole() {
    let mut filler = b"2".to_vec();
    filler.extend((1..4096u32).map(|at| b'a' + u8::try_from((2 + at) % 26).expect("below 26")));
    let execs = scaled(20_000);
    let run = Workspace::new().run(command("storm").args([target(), "2", &execs.to_string(), "4096"]));
    println!("{}", run.line());
    assert_storm(&run.events, execs, 3);
    assert!(run.events.iter().all(|event| event.argv.iter().nth(2) == Some(&filler[..])));
}

/// Large records fill the ring many times within the reader's timeout, so it must be woken in time, each time.
#[test]
fn root_a_reader_that_waits_to_be_woken_loses_nothing() {
    let mut workspace = Workspace::new();
    let made = scaled(20_000);
    let mut storm = command("storm");
    storm.args([target(), "2", &made.to_string(), "4096"]).stdout(Stdio::null());
    let mut storm = workspace.namespace.spawn(&mut storm);
    let deadline = Deadline::new("a storm to end");
    let (mut execs, mut lost) = (0, Vec::new());
    let mut look = |item| match item {
        Item::Exec(_) => execs += 1,
        Item::Lost(loss) => lost.push(loss),
        other => panic!("{other:?}, which nobody asked for"),
    };
    while storm.try_wait().expect("our child").is_none() {
        deadline.check();
        workspace.tracer.poll(Duration::from_millis(100), &mut look).expect("a tracer that reads");
    }
    workspace.tracer.drain(&mut look).expect("a tracer that reads");
    assert_eq!((execs, lost), (made + 1, Vec::new()));
}
