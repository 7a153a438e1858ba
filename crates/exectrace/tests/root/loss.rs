//! What finds no room is counted, and told where it is missing.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Item, Loss, LossReason, Partial, Tracer};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::backup::lacking_where_skipped;
use crate::support::*;

/// Pins a program to one CPU, so that its execs make one stream of records.
pub(crate) fn on_one_cpu(command: &mut Command) -> &mut Command {
    let allowed = rustix::thread::sched_getaffinity(None).expect("a mask");
    let cpu = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).expect("a CPU to run on");
    let mut one = CpuSet::new();
    one.set(cpu);
    // SAFETY: sched_setaffinity(2) alone is called between fork and exec.
    unsafe { command.pre_exec(move || Ok(sched_setaffinity(None, &one)?)) }
}

fn lost(losses: &[Loss]) -> u64 {
    losses.iter().map(|loss| loss.count).sum()
}

#[test]
fn root_events_and_losses_together_are_the_execs_that_there_were() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    // 3,000 execs, and that of the program itself.
    workspace.namespace.run(command("storm").args([target(), "2", "3000", "500"]));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    let (events, losses) = part(drain(&mut workspace.tracer));
    assert!(lost(&losses) > 2000 && events.len() > 50, "{} events, {losses:?}", events.len());
    assert_eq!(events.len() as u64 + lost(&losses), 3001);
    assert_eq!((stats.seen, stats.sent, stats.lost_ring_full), (3001, events.len() as u64, lost(&losses)));
    let expected = |loss: &Loss| loss.scope == Some(workspace.scope) && loss.reason == LossReason::RingFull;
    assert!(losses.iter().all(expected), "{losses:?}");
    assert!(drain(&mut workspace.tracer).is_empty(), "nothing is told twice");
    let tight = Partial::ARGS_RING_FULL | Partial::STRINGS_RING_FULL | lacking_where_skipped();
    for event in &events {
        assert_eq!(event.partial - tight, Partial::empty());
    }
}

#[test]
fn root_a_loss_is_told_where_the_execs_are_missing() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    let mut items = Vec::new();
    // Three times the ring is full; each time it is read, and then there is room again.
    for _ in 0..3 {
        workspace.namespace.run(on_one_cpu(command("storm").args([target(), "1", "1000", "500"])));
        items.push(drain(&mut workspace.tracer));
    }
    workspace.namespace.run(on_one_cpu(Command::new(target()).arg("last")));
    items.push(drain(&mut workspace.tracer));
    for items in &items[..3] {
        let place = items.iter().position(|item| matches!(item, Item::Lost(_))).expect("a loss");
        assert_eq!(place, items.len() - 1, "one loss, after the events that came before it");
        let words: Vec<String> = items[1..place].iter().map(word_of).collect();
        // Before the ring is full, what comes has no strings any more.
        let told = words.iter().position(String::is_empty).unwrap_or(words.len());
        let expected: Vec<String> = (0..told).map(|number| format!("0-{number}")).collect();
        assert_eq!(words[..told], expected);
        assert!(words[told..].iter().all(String::is_empty), "{words:?}");
        let Item::Lost(loss) = &items[place] else { unreachable!("that is where it is") };
        assert_eq!(loss.count, 1001 - place as u64);
    }
    assert_eq!(items[3].iter().map(word_of).collect::<Vec<_>>(), ["last"]);
}

#[test]
fn root_a_gap_between_two_reads_is_told_at_its_place_by_the_next_event() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    let mut items = Vec::new();
    workspace.namespace.run(on_one_cpu(command("storm").args([target(), "1", "1000", "500"])));
    // Poll looks at the counters once a second only; whichever tells of the gap first does it at its place.
    workspace.tracer.poll(std::time::Duration::ZERO, |item| items.push(item)).expect("a tracer that reads");
    let seen = items.len();
    assert!(seen > 50, "{seen}");
    workspace.namespace.run(on_one_cpu(Command::new(target()).arg("after the gap")));
    items.extend(drain(&mut workspace.tracer));
    let place = items.iter().position(|item| matches!(item, Item::Lost(_))).expect("a loss");
    let Item::Lost(loss) = &items[place] else { unreachable!("that is where it is") };
    assert_eq!(loss.count, 1001 - place as u64);
    assert_eq!(items[place + 1..].iter().map(word_of).collect::<Vec<_>>(), ["after the gap"]);
}

fn word_of(item: &Item) -> String {
    match item {
        Item::Exec(event) => word(event),
        other => format!("{other:?}"),
    }
}

#[test]
fn root_arguments_that_find_no_room_are_missing_from_an_event_that_is_there() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    workspace.namespace.run(command("many_args").args([target(), "20", "131071"]));
    let (events, losses) = part(drain(&mut workspace.tracer));
    assert!(losses.is_empty(), "the exec itself is there: {losses:?}");
    let [_, event] = &events[..] else { panic!("two execs, not {}", events.len()) };
    assert_eq!(show(&event.filename), target());
    assert_eq!(event.partial, Partial::ARGS_RING_FULL);
    assert_eq!(event.argv.count, 21);
    assert_eq!(event.argv.total_bytes, target().len() as u64 + 1 + 20 * 131_072);
    assert!(event.truncated() && event.argv.kept_bytes() > 65_536);
    assert_eq!(event.argv.sha256, None);
    let kept: Vec<&[u8]> = event.argv.iter().collect();
    assert_eq!(kept[0], target().as_bytes());
    assert!(kept[1].starts_with(b"1cdefghijklmnopqrstuvwxyzab"), "{}", show(&kept[1][..30]));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent, stats.lost_ring_full, stats.args_ring_full), (2, 2, 0, 1));
}

#[test]
fn root_after_arguments_that_found_no_room_nothing_else_is_missing() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    for round in 0..3 {
        let (_, _, mut items) = workspace.run_for_items(command("many_args").args([target(), "20", "131071"]));
        // An exec of which a piece is missing waits for it, at most two of the looks at the counters.
        let deadline = Deadline::new("the exec with many arguments");
        while !items.iter().any(|item| matches!(item, Item::Exec(event) if event.argv.count == 21)) {
            deadline.check();
            let poll = std::time::Duration::from_millis(50);
            workspace.tracer.poll(poll, |item| items.push(item)).expect("a tracer that reads");
        }
        let (events, losses) = part(items);
        assert!(losses.is_empty(), "round {round}: {losses:?}");
        assert_eq!(events.len(), 2, "round {round}: {:?}", calls(&events));
        let event = &events[1];
        assert_eq!(event.truncated(), event.partial == Partial::ARGS_RING_FULL, "{:?}", event.partial);
        assert_eq!(event.argv.total_bytes, target().len() as u64 + 1 + 20 * 131_072);
    }
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.lost_ring_full), (9, 0), "{stats:?}");
}

#[test]
fn root_arguments_that_were_given_up_are_not_told_again_as_a_lost_exec() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    workspace.namespace.run(on_one_cpu(command("many_args").args([target(), "20", "131071"])));
    // Drain gives up what waits for a piece; the next record of that CPU shows the gap where the piece was.
    let (events, losses) = part(drain(&mut workspace.tracer));
    assert_eq!((events.len(), losses.len()), (2, 0), "{losses:?}");
    assert_eq!(events[1].partial, Partial::ARGS_RING_FULL);
    workspace.namespace.run(on_one_cpu(Command::new(target()).arg("next")));
    let items = drain(&mut workspace.tracer);
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.sent, stats.lost_ring_full, stats.args_ring_full), (3, 0, 1), "{stats:?}");
    assert_eq!(items.iter().map(word_of).collect::<Vec<_>>(), ["next"]);
}
