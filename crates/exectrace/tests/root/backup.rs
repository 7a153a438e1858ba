//! The second program, which sees what a kernel skips in the first.

use exectrace::{Backup, Hook, LossReason, Partial, Tracer};

use crate::storm::assert_storm;
use crate::support::*;

/// Kernels from here on can preempt a program, and skip it meanwhile.
pub(crate) const SKIPPING: (u32, u32) = (7, 0);

/// What an event can lack where programs are skipped: the caller's name, and its parent if a fork was not seen.
pub(crate) fn lacking_where_skipped() -> Partial {
    if kernel() < SKIPPING { Partial::empty() } else { Partial::COMM | Partial::PARENT }
}

#[test]
fn root_the_second_program_alone_sees_what_the_first_sees() {
    let [mut first, mut second] =
        [Backup::Off, Backup::Alone].map(|backup| Workspace::with(Tracer::builder().backup(backup)));
    for fixture in ["execveat", "memfd", "vfork", "thread_exec", "double_fork", "comm_before", "bytes", "failed"] {
        let mut command = command(fixture);
        if fixture != "failed" {
            command.arg(target());
        }
        let [first, second] = [&mut first, &mut second].map(|workspace| workspace.run(&mut command));
        assert_eq!(calls(&first.events), calls(&second.events), "{fixture}");
        let facts = |run: &Finished| {
            run.events
                .iter()
                .map(|event| (event.exe.clone(), event.comm.clone(), event.traits, event.partial, event.argv.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(facts(&first), facts(&second), "{fixture}");
        assert!(first.events.iter().chain([&first.own]).all(|event| event.origin.hook == Hook::Exec));
        assert!(second.events.iter().chain([&second.own]).all(|event| event.origin.hook == Hook::Backup));
    }
    let [first, second] = [&first, &second].map(|workspace| workspace.tracer.stats(workspace.scope).expect("stats"));
    assert!(first.seen > 8);
    assert_eq!(first, second);
}

/// Whichever programs there are, each exec is seen once or counted as missed.
#[test]
fn root_what_a_kernel_skips_is_counted_exactly() {
    let storm = scaled(5000);
    for backup in [Backup::Off, Backup::Alone, Backup::On] {
        let mut workspace = Workspace::with(Tracer::builder().backup(backup));
        let (_, _, items) = workspace.run_for_items(command("storm").args([target(), "2", &storm.to_string(), "4096"]));
        let (events, losses) = part(items);
        let stats = workspace.tracer.stats(workspace.scope).expect("stats");
        println!("{backup:?}: {} of {} execs missed", stats.missed, stats.seen + stats.missed);
        // The storm's, the program that makes it, and the sentinel behind it.
        assert_eq!(stats.seen + stats.missed, storm as u64 + 2, "{backup:?}: {stats:?}");
        assert_eq!(events.len() as u64 + 1, stats.seen, "{backup:?}: {stats:?}");
        assert!(losses.iter().all(|loss| loss.reason == LossReason::ProgramSkipped), "{losses:?}");
        assert!(losses.iter().map(|loss| loss.count).sum::<u64>() <= stats.missed, "{losses:?} of {stats:?}");
        if kernel() < SKIPPING {
            assert_eq!(stats.missed, 0, "{backup:?}");
        }
    }
}

#[test]
fn root_both_programs_together_tell_no_exec_twice() {
    let mut workspace = Workspace::with(Tracer::builder().backup(Backup::On));
    let storm = scaled(5000);
    let run = workspace.run(command("storm").args([target(), "2", &storm.to_string(), "0"]));
    assert_storm(&run.events, storm, 2);
    if kernel() < SKIPPING {
        assert!(run.events.iter().all(|event| event.origin.hook == Hook::Exec), "nothing is skipped before 7.0");
    }
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent), (storm as u64 + 2, storm as u64 + 2), "{stats:?}");
}

/// The program that counts is the last one of those that were attached, also when none is any more.
#[test]
fn root_what_was_skipped_is_known_after_detaching_too() {
    let mut workspace = Workspace::with(Tracer::builder().backup(Backup::Alone));
    let before = workspace.tracer.skipped().expect("a number");
    workspace.tracer.detach();
    assert_eq!(workspace.tracer.skipped().expect("the same number"), before);
    assert!(drain(&mut workspace.tracer).is_empty());
}
