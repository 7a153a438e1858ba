//! A ring that gets full: what goes first, and that a scope that floods leaves room for its neighbours.

use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::Duration;

use exectrace::{Event, Item, Loss, LossReason, Partial, ScopeId, Tracer};

use crate::loss::on_one_cpu;
use crate::support::*;

/// What is there of an exec, from all to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    All,
    Strings,
    Fixed,
}

#[track_caller]
fn kept(event: &Event) -> Kept {
    let tight = Partial::ARGS_RING_FULL | Partial::STRINGS_RING_FULL;
    assert_eq!(event.partial - tight, Partial::empty(), "{event:?}");
    if event.partial.contains(Partial::STRINGS_RING_FULL) {
        Kept::Fixed
    } else if event.partial.contains(Partial::ARGS_RING_FULL) {
        Kept::Strings
    } else {
        Kept::All
    }
}

#[test]
fn root_when_the_ring_gets_full_arguments_go_first_then_strings_then_execs() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(256 << 10));
    workspace.namespace.run(on_one_cpu(command("storm").args([target(), "1", "3000", "500"])));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    let (events, losses) = part(drain(&mut workspace.tracer));
    let steps: Vec<Kept> = events.iter().map(kept).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    let count = |step: Kept| steps.iter().filter(|kept| **kept == step).count();
    let counted = |step: Kept| count(step) as u64;
    for step in [Kept::All, Kept::Strings, Kept::Fixed] {
        assert!(count(step) > 50, "{step:?}: {}", count(step));
    }
    let lost: u64 = losses.iter().map(|loss| loss.count).sum();
    assert_eq!(events.len() as u64 + lost, 3001);
    assert_eq!(stats.args_ring_full, counted(Kept::Strings) + counted(Kept::Fixed));
    assert_eq!(stats.strings_ring_full, counted(Kept::Fixed));

    let whole = &events[1..count(Kept::All)];
    assert!(whole.iter().all(|event| !event.truncated()));
    let strings = &events[count(Kept::All)..count(Kept::All) + count(Kept::Strings)];
    for (number, event) in (whole.len()..).zip(strings) {
        // The name, "0-N" and as much of the third argument as fits.
        assert_eq!(word(event), format!("0-{number}"));
        assert_eq!((event.argv.count, event.argv.kept_bytes(), event.truncated()), (3, 256, true));
        assert_eq!((event.filename.as_slice(), event.exe.as_slice()), (target().as_bytes(), target().as_bytes()));
    }
    for event in &events[count(Kept::All) + count(Kept::Strings)..] {
        assert!(event.filename.is_empty() && event.exe.is_empty() && event.cwd.is_empty() && event.tty.is_none());
        assert_eq!((event.argv.count, event.argv.kept_bytes(), event.truncated()), (3, 0, true));
        assert_eq!((event.comm.as_slice(), event.uid, event.inode), (b"storm".as_slice(), 0, inode(target())));
        assert_eq!(event.parent_id, Some(events[0].id));
    }
}

#[test]
fn root_short_arguments_are_whole_as_long_as_there_are_strings() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(128 << 10));
    workspace.namespace.run(command("storm").args([target(), "2", "2000", "0"]));
    let (events, _) = part(drain(&mut workspace.tracer));
    assert!(events.iter().any(|event| kept(event) == Kept::Fixed));
    assert!(events.iter().all(|event| kept(event) != Kept::Strings));
}

#[test]
fn root_the_smallest_records_outnumber_the_whole_ones_that_would_have_fit() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(256 << 10));
    workspace.namespace.run(command("storm").args([target(), "2", "3000", "4096"]));
    let (events, _) = part(drain(&mut workspace.tracer));
    // Whole, an exec takes more than 4,400 bytes of the 262,144.
    assert!(events.len() > 3 * 262_144 / 4_400, "{}", events.len());
}

/// Who has enough for now finds the rest in the ring, in order and whole.
#[test]
fn root_what_a_reader_cannot_take_waits_in_the_ring() {
    let mut workspace = Workspace::with(Tracer::builder().ring_bytes(4 << 20));
    workspace.namespace.run(on_one_cpu(command("storm").args([target(), "1", "2000", "0"])));
    let (mut items, mut parts) = (Vec::new(), 0);
    let mut flow = ControlFlow::Break(());
    while flow.is_break() {
        let before = items.len();
        flow = workspace
            .tracer
            .try_drain(|item| {
                items.push(item);
                ControlFlow::Break(())
            })
            .expect("a tracer that reads");
        assert!(items.len() - before <= 256, "{} at a time", items.len() - before);
        parts += 1;
    }
    assert!(parts > 2001 / 256, "{parts}");
    let words: Vec<String> = no_loss(items).iter().skip(1).map(word).collect();
    assert_eq!(words, (0..2000).map(|number| format!("0-{number}")).collect::<Vec<_>>());
}

/// Two workspaces of one tracer.
struct Neighbours {
    tracer: Tracer,
    flood: ScopeId,
    quiet: ScopeId,
    flooding: Namespace,
    quiet_one: Namespace,
}

impl Neighbours {
    fn with_ring(bytes: u32) -> Neighbours {
        let (flooding, quiet_one) = (Namespace::new(), Namespace::new());
        let mut tracer = Tracer::builder().ring_bytes(bytes).open().expect("a tracer");
        let flood = tracer.add_scope(flooding.scope()).expect("a scope");
        let quiet = tracer.add_scope(quiet_one.scope()).expect("a scope");
        Neighbours { tracer, flood, quiet, flooding, quiet_one }
    }
}

fn of(scope: ScopeId, events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| event.scope == scope).collect()
}

#[test]
fn root_a_scope_that_has_filled_its_share_leaves_room_for_another() {
    let mut both = Neighbours::with_ring(256 << 10);
    both.flooding.run(command("storm").args([target(), "2", "3000", "500"]));
    for number in 0..10 {
        both.quiet_one.run(Command::new(target()).arg(number.to_string()));
    }
    let [flood, quiet] = [both.flood, both.quiet].map(|scope| both.tracer.stats(scope).expect("stats"));
    let (events, losses) = part(drain(&mut both.tracer));
    assert!(flood.lost_ring_full > 1000, "{flood:?}");
    assert_eq!((quiet.seen, quiet.sent, quiet.lost_ring_full), (10, 10, 0));
    assert!(losses.iter().all(|loss| loss.scope == Some(both.flood) && loss.reason == LossReason::RingFull));
    let quiet: Vec<&Event> = of(both.quiet, &events);
    let words: Vec<String> = quiet.iter().map(|event| word(event)).collect();
    assert_eq!(words, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(quiet.iter().all(|event| kept(event) == Kept::All), "its own records are few, so they are whole");
}

/// The flood is read only when it has lost something again, and the quiet one's execs fall anywhere in between.
#[test]
fn root_a_flooding_scope_never_blinds_a_quiet_one() {
    let mut both = Neighbours::with_ring(512 << 10);
    let execs = scaled(20_000);
    let mut storm = command("storm");
    storm.args([target(), "2", &execs.to_string(), "1000"]).stdout(Stdio::null());
    let mut storm = both.flooding.spawn(&mut storm);
    let deadline = Deadline::new("a storm to end");
    let (mut items, mut quiet, mut lost) = (Vec::new(), 0_u64, 0);
    let mut runs = || storm.try_wait().expect("our child").is_none();
    while runs() {
        let has_lost = |lost: u64| both.tracer.stats(both.flood).expect("stats").lost_ring_full > lost;
        while runs() && !has_lost(lost) {
            deadline.check();
            both.quiet_one.run(Command::new(target()).arg(quiet.to_string()));
            quiet += 1;
        }
        lost = both.tracer.stats(both.flood).expect("stats").lost_ring_full;
        both.tracer.poll(Duration::ZERO, |item| items.push(item)).expect("a tracer that reads");
    }
    items.extend(drain(&mut both.tracer));
    let (events, losses) = part(items);
    let flood = both.tracer.stats(both.flood).expect("stats");
    let lost: u64 = losses.iter().map(|loss| loss.count).sum();
    println!("{quiet} quiet execs, {lost} of {} of the flood lost", flood.seen);
    assert!(quiet >= 10 && lost > 0, "{quiet} quiet execs, {lost} lost");
    // A kernel from 7.0 on may skip the programs, which is no matter of room, and is told.
    let of_quiet: Vec<&Loss> = losses.iter().filter(|loss| loss.scope == Some(both.quiet)).collect();
    assert!(of_quiet.iter().all(|loss| loss.reason == LossReason::ProgramSkipped), "{of_quiet:?}");
    let skipped: u64 = of_quiet.iter().map(|loss| loss.count).sum();
    let words: Vec<String> = of(both.quiet, &events).into_iter().map(word).collect();
    assert!(words.iter().map(|word| word.parse::<u64>().expect("a number")).is_sorted_by(|a, b| a < b));
    assert_eq!((words.len() as u64 + skipped, lost - skipped > 0), (quiet, true));
    let lost = lost - skipped;
    assert_eq!(of(both.flood, &events).len() as u64 + lost, execs as u64 + 1);
}

/// What is read is given back, in each scope's own account: otherwise everything would be cut in the end.
#[test]
fn root_what_was_read_is_free_again() {
    let mut both = Neighbours::with_ring(128 << 10);
    for round in 0..20 {
        both.flooding.run(command("storm").args([target(), "1", "100", "100"]));
        both.quiet_one.run(Command::new(target()).arg(round.to_string()));
        let items = drain(&mut both.tracer);
        assert_eq!(items.len(), 102, "round {round}");
        for item in items {
            let Item::Exec(event) = item else { panic!("{item:?}") };
            assert_eq!(kept(&event), Kept::All, "round {round}");
        }
    }
}
