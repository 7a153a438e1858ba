//! Forks, deaths and sessions: who a process descends from, whatever became of those in between.

use std::collections::HashSet;
use std::process::Stdio;

use exectrace::{Partial, Tracer};

use crate::support::*;

#[test]
fn root_a_daemon_s_exec_has_its_own_session_and_init_for_a_parent() {
    let mut workspace = Workspace::new();
    let run = workspace.run(command("double_fork").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "double_fork"])]);
    let event = run.event();
    assert_eq!(event.sid, event.pid);
    assert_eq!(event.ppid, workspace.namespace.init());
    assert_eq!(event.parent_id, Some(run.own.id), "no exec lies between");
}

#[test]
fn root_an_orphan_is_told_from_a_daemon_by_its_session() {
    let mut workspace = Workspace::new();
    let run = workspace.run(command("parent_gone").arg(target()));
    assert_calls(&run.events, &[call(target(), [target(), "parent_gone"])]);
    let event = run.event();
    assert_eq!(event.sid, run.own.sid);
    assert_eq!(event.ppid, workspace.namespace.init());
    assert_eq!(event.parent_id, Some(run.own.id));
}

#[test]
fn root_who_flees_three_times_is_followed() {
    let mut workspace = Workspace::new();
    let run = workspace.run(command("tree").arg(target()));
    let expected = ["depth-1", "depth-2", "depth-3"].map(|word| call(target(), [target(), word]));
    assert_calls(&run.events, &expected);
    assert!(run.events.iter().all(|event| event.parent_id == Some(run.own.id)));
    let sessions: HashSet<u32> = run.events.iter().map(|event| event.sid).collect();
    assert_eq!(sessions.len(), 3);
    assert!(run.events.iter().all(|event| event.ppid == event.sid), "the parent of each leads its session");
}

#[test]
fn root_the_parent_is_found_across_forks_without_an_exec() {
    let mut workspace = Workspace::new();
    let run = workspace.run(&mut shell("( ( ( \"$1\" inner; : ); : ); : ); \"$1\" outer; :", &[target()]));
    assert_calls(&run.events, &[call(target(), [target(), "inner"]), call(target(), [target(), "outer"])]);
    assert_eq!(run.events.iter().map(|event| event.parent_id).collect::<Vec<_>>(), [Some(run.own.id); 2]);
    assert_ne!(run.events[0].ppid, run.pid);
    assert_eq!(run.events[1].ppid, run.pid);
}

#[test]
fn root_the_parent_of_an_exec_below_an_excluded_one_is_the_nearest_that_was_logged() {
    let folder = public_folder();
    let middle = copy("/bin/sh", folder.path(), "middle");
    let mut workspace = Workspace::with(Tracer::builder().rule(exact(&middle)));
    let run = workspace.run(&mut shell("\"$2\" -c '\"$1\" below; :' sh \"$1\"; :", &[target(), &middle]));
    assert_calls(&run.events, &[call(target(), [target(), "below"])]);
    assert_eq!(run.event().parent_id, Some(run.own.id));
    assert_ne!(run.event().ppid, run.pid);
    assert_eq!(workspace.tracer.stats(workspace.scope).expect("stats").excluded_rule, 1);
}

#[test]
fn root_the_first_exec_in_a_namespace_has_no_parent_and_knows_it() {
    let run = Workspace::new().run(&mut command("target"));
    assert_eq!((run.own.parent_id, run.own.partial), (None, Partial::empty()));
}

#[test]
fn root_ids_are_unique_in_a_storm() {
    let run = Workspace::new().run(command("storm").args([target(), "2", "500", "0"]));
    assert_eq!(run.events.len(), 500);
    let ids: HashSet<_> = run.events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 500);
    let written: HashSet<_> = run.events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!(written.len(), 500);
}

#[test]
fn root_two_tracers_give_one_exec_the_same_id() {
    let mut workspace = Workspace::new();
    let mut second = Tracer::builder().open().expect("a tracer");
    second.add_scope(workspace.namespace.scope()).expect("a scope");
    let run = workspace.run(command("exec_chain").arg("3"));
    let ids = |events: &[exectrace::Event]| events.iter().map(|event| (event.id, event.parent_id)).collect::<Vec<_>>();
    let mut seen = Vec::new();
    second.stop(|item| seen.push(item)).expect("a tracer that reads");
    let seen = no_loss(seen);
    assert_eq!(ids(&seen[..1]), ids(&[run.own]));
    assert_eq!(ids(&seen[1..4]), ids(&run.events));
}

#[test]
fn root_more_processes_than_the_table_holds_are_seen_and_say_what_is_not_known() {
    const PROCESSES: usize = 60;
    let mut workspace = Workspace::with(Tracer::builder().max_processes(16));
    let mut shell = Shell::start("exec sh", |command| workspace.namespace.spawn(command));
    let cats: Vec<_> = (0..PROCESSES)
        .map(|_| workspace.namespace.spawn(std::process::Command::new("cat").stdin(Stdio::piped())))
        .collect();
    shell.tell(&format!("{} after", target()));
    let events = workspace.settle();
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    for mut cat in cats {
        cat.stdin.take();
        assert!(wait(&mut cat).success());
    }
    // The shell twice, the cats, and what the shell executed.
    assert_eq!(events.len(), 2 + PROCESSES + 1, "{:?}", calls(&events));
    let unknown = |event: &&exectrace::Event| event.partial.contains(Partial::PARENT);
    let silent: Vec<_> = events.iter().filter(|event| event.parent_id.is_none() && !unknown(event)).collect();
    assert!(silent.len() < 2 + 16 + 16, "{}", silent.len());
    let told = events.iter().filter(unknown).count();
    assert!(told >= PROCESSES - 32, "{told}");
    // The sentinel, which is not among the events, may be one more.
    assert!(stats.process_table_full >= told as u64, "{stats:?}");
    assert!(events.iter().filter(unknown).all(|event| event.parent_id.is_none()));
}

#[test]
fn root_a_fork_for_which_the_table_had_no_room_does_not_lose_the_parent_in_silence() {
    let mut workspace = Workspace::with(Tracer::builder().max_processes(16));
    let mut shell = Shell::start("exec sh", |command| workspace.namespace.spawn(command));
    let folder = public_folder();
    let fifo = folder.path().join("fifo");
    let fifo = fifo.to_str().expect("UTF-8");
    workspace.namespace.run(std::process::Command::new("mkfifo").arg(fifo));
    let mut cats: Vec<_> =
        (0..40).map(|_| workspace.namespace.spawn(std::process::Command::new("cat").stdin(Stdio::piped()))).collect();
    // The subshell is forked while the table is full, and comes to its exec when there is room again.
    shell.tell(&format!("( read line <{fifo}; exec {} late ) &", target()));
    for cat in &mut cats {
        cat.stdin.take();
        assert!(wait(cat).success());
    }
    shell.tell(&format!("echo go >{fifo}; wait"));
    let events = workspace.settle();
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    let parent = events.iter().find(|event| event.pid == shell.pid() && event.argv.count == 1).expect("the shell");
    let late = events.iter().find(|event| word(event) == "late").expect("the exec");
    let in_events = events.iter().filter(|event| event.partial.contains(Partial::PARENT)).count() as u64;
    assert!(
        late.parent_id == Some(parent.id)
            || late.partial.contains(Partial::PARENT)
            || stats.process_table_full > in_events,
        "{:?} {:?} {stats:?}, {in_events} execs without a parent",
        late.parent_id,
        late.partial,
    );
}
