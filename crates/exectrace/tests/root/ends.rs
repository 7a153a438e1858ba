//! How and when processes end whose exec was logged.

use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use exectrace::{Ended, Event, Item, Tracer, What};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::backup::SKIPPING;
use crate::support::*;

fn workspace() -> Workspace {
    Workspace::with(Tracer::builder().exits(true))
}

/// Execs and ends, each in order.
fn parted(items: Vec<Item>) -> (Vec<Event>, Vec<Ended>) {
    let (mut execs, mut ends) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Exec(event) => execs.push(*event),
            Item::Ended(ended) => ends.push(*ended),
            other => panic!("{other:?}"),
        }
    }
    (execs, ends)
}

/// The end of the process that is the first to exec a command.
#[track_caller]
fn end_of(workspace: &mut Workspace, command: &mut Command) -> (Event, Ended) {
    let mut child = workspace.namespace.spawn(command);
    wait(&mut child);
    let (execs, ends) = parted(drain(&mut workspace.tracer));
    let own = execs.into_iter().find(|exec| exec.pid == child.id()).expect("its exec");
    let ended = ends.into_iter().find(|ended| ended.pid == child.id()).expect("its end");
    assert_eq!(ended.id, own.id);
    assert!(ended.time >= own.time);
    (own, ended)
}

#[test]
fn root_an_end_tells_the_code_and_its_exec() {
    let mut workspace = workspace();
    for code in [0, 7, 255] {
        let (_, ended) = end_of(&mut workspace, &mut shell(&format!("exit {code}"), &[]));
        assert_eq!((ended.status.code(), ended.status.signal()), (Some(code), None));
        assert_eq!((ended.scope, ended.uid, ended.comm.as_slice()), (workspace.scope, 0, b"sh".as_slice()));
    }
}

#[test]
fn root_an_end_by_a_signal_tells_the_signal() {
    let mut workspace = workspace();
    for (name, number) in [("KILL", 9), ("TERM", 15)] {
        let (_, ended) = end_of(&mut workspace, &mut shell(&format!("kill -{name} $$"), &[]));
        assert_eq!((ended.status.code(), ended.status.signal()), (None, Some(number)));
        assert!(!ended.status.dumped_core());
    }
    // No core where none may be written.
    let mut abort = shell("kill -ABRT $$", &[]);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // SAFETY: setrlimit(2) alone is called between fork and exec.
    unsafe { abort.pre_exec(move || Ok(setrlimit(Resource::Core, none)?)) };
    let (_, ended) = end_of(&mut workspace, &mut abort);
    assert_eq!((ended.status.signal(), ended.status.dumped_core()), (Some(6), false));
}

#[test]
fn root_an_end_tells_how_long_how_much_and_how_large() {
    let mut workspace = workspace();
    // Two million rounds keep any processor busy for more than ten ms.
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
    let (_, ended) = end_of(&mut workspace, &mut shell(busy, &[]));
    assert!(ended.cpu_time > Duration::from_millis(10), "{ended:?}");
    assert!(ended.lived >= ended.cpu_time / 2, "one thread has one processor: {ended:?}");
    assert!((500_000..200_000_000).contains(&ended.max_rss_bytes), "{ended:?}");
}

#[test]
fn root_a_process_has_one_end_which_is_of_its_last_exec() {
    let mut workspace = workspace();
    let run = workspace.run_for_items(command("exec_chain").arg("3")).2;
    let (execs, ends) = parted(run);
    let chain: Vec<&Event> = execs.iter().filter(|exec| exec.pid == execs[0].pid).collect();
    assert!(chain.len() > 2, "{:?}", calls(&execs));
    let of_chain: Vec<&Ended> = ends.iter().filter(|ended| ended.pid == execs[0].pid).collect();
    let [ended] = of_chain[..] else { panic!("one end, not {of_chain:?}") };
    assert_eq!(ended.id, chain[chain.len() - 1].id);
}

#[test]
fn root_a_process_that_only_forked_has_no_end() {
    let mut workspace = workspace();
    workspace.namespace.run(&mut shell("(exit 3); (exit 4) & wait; exit 0", &[]));
    let (execs, ends) = parted(drain(&mut workspace.tracer));
    assert_eq!((execs.len(), ends.len()), (1, 1));
    assert_eq!(ends[0].status.code(), Some(0));
}

#[test]
fn root_an_exec_by_a_thread_that_is_not_the_leader_has_an_end() {
    let mut workspace = workspace();
    let (_, _, items) = workspace.run_for_items(command("thread_exec").arg(target()));
    let (execs, ends) = parted(items);
    for exec in &execs {
        let replaced = execs.iter().any(|later| later.pid == exec.pid && later.id > exec.id);
        let of_exec = ends.iter().filter(|ended| ended.id == exec.id).count();
        assert_eq!(of_exec, usize::from(!replaced), "{:?}", calls(std::slice::from_ref(exec)));
    }
}

/// The last threads of a process can go down on several CPUs at one moment.
#[test]
fn root_a_process_with_many_threads_ends_once() {
    let mut workspace = workspace();
    for _ in 0..100 {
        workspace.namespace.run(command("many_threads").arg("8"));
    }
    let (execs, ends) = parted(drain(&mut workspace.tracer));
    let ids: Vec<_> = ends.iter().map(|ended| ended.id).collect();
    assert_eq!(ids, execs.iter().map(|exec| exec.id).collect::<Vec<_>>());
}

#[test]
fn root_each_of_20_000_execs_ends_once_or_is_counted() {
    let mut workspace = workspace();
    let storm = scaled(20_000);
    let (_, _, items) = workspace.run_for_items(command("storm").args([target(), "2", &storm.to_string(), "0"]));
    let stats = workspace.tracer.stats_of(workspace.scope, What::Exit).expect("stats");
    let (execs, mut ends) = parted(items);
    let sentinel = ends.iter().position(|ended| execs.iter().all(|exec| exec.id != ended.id));
    sentinel.into_iter().for_each(|at| drop(ends.remove(at)));
    let ids = |ids: Vec<_>| ids.into_iter().collect::<HashSet<_>>();
    let executed = ids(execs.iter().map(|exec| exec.id).collect());
    let ended = ids(ends.iter().map(|ended| ended.id).collect());
    assert_eq!((executed.len(), ended.len()), (storm + 1, ends.len()), "nothing is told twice");
    assert!(ended.is_subset(&executed));
    let missing = (executed.len() - ended.len()) as u64;
    let skipped = workspace.tracer.skipped_of(What::Exit).expect("a count");
    assert!(missing <= skipped, "{missing} ends are missing, {skipped} were skipped");
    assert!(missing == 0 || kernel() >= SKIPPING, "nothing is skipped before 7.0");
    // And the sentinel's, perhaps.
    assert!(stats.seen - ended.len() as u64 <= 1 && stats.lost_ring_full == 0, "{stats:?}");
}

#[test]
fn root_ends_that_find_no_room_are_counted_apart_from_execs() {
    let mut workspace = Workspace::with(Tracer::builder().exits(true).ring_bytes(128 << 10));
    workspace.namespace.run(command("storm").args([target(), "2", "3000", "0"]));
    let [execs, ends] =
        [What::Exec, What::Exit].map(|what| workspace.tracer.stats_of(workspace.scope, what).expect("stats"));
    let items = drain(&mut workspace.tracer);
    let lost = |what: What| -> u64 {
        let of = |item: &Item| match item {
            Item::Lost(loss) if loss.what == what => loss.count,
            _ => 0,
        };
        items.iter().map(of).sum()
    };
    let got = |is: fn(&Item) -> bool| items.iter().filter(|item| is(item)).count() as u64;
    let (got_execs, got_ends) = (got(|item| matches!(item, Item::Exec(_))), got(|item| matches!(item, Item::Ended(_))));
    assert!(lost(What::Exec) > 500 && lost(What::Exit) > 50, "{execs:?} {ends:?}");
    assert_eq!((execs.seen, got_execs + lost(What::Exec)), (3001, 3001));
    // Of an exec that was lost, no end is told.
    assert_eq!((ends.seen, got_ends + lost(What::Exit)), (execs.sent, execs.sent));
}

#[test]
fn root_nobody_is_told_of_ends_who_did_not_ask() {
    let mut workspace = Workspace::new();
    workspace.namespace.run(&mut shell("exit 0", &[]));
    assert_eq!(no_loss(drain(&mut workspace.tracer)).len(), 1);
    assert_eq!(workspace.tracer.stats_of(workspace.scope, What::Exit).expect("stats").seen, 0);
}
