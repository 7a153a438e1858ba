//! The second program, which sees what a kernel skips in the first.

use exectrace::{Backup, Hook, Tracer};

use crate::storm::assert_storm;
use crate::support::*;

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

#[test]
fn root_the_second_program_alone_sees_a_storm() {
    let run = Workspace::with(Tracer::builder().backup(Backup::Alone)).run(command("storm").args([
        target(),
        "2",
        "2000",
        "0",
    ]));
    assert_storm(&run.events, 2000, 2);
    assert!(run.events.iter().all(|event| event.origin.hook == Hook::Backup));
}

#[test]
fn root_both_programs_together_tell_no_exec_twice() {
    let mut workspace = Workspace::with(Tracer::builder().backup(Backup::On));
    let run = workspace.run(command("storm").args([target(), "2", "5000", "0"]));
    assert_storm(&run.events, 5000, 2);
    if kernel() < (7, 0) {
        assert!(run.events.iter().all(|event| event.origin.hook == Hook::Exec), "nothing is skipped before 7.0");
    }
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent), (5002, 5002), "{stats:?}");
}
