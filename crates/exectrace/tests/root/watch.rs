//! A tracer that watches what it starts itself, to see that it sees.

use std::process::Command;

use exectrace::{Scope, Tracer};

use crate::support::*;

/// The test's own children, but none of theirs.
#[test]
fn root_the_tracer_s_own_children_are_a_scope_of_their_own() {
    let mut workspace = Workspace::new();
    let own = workspace.tracer.add_scope(Scope::Children).expect("a scope");
    let word = sentinel();
    wait(&mut spawn(Command::new(target()).arg(&word)));
    wait(&mut spawn(&mut shell("\"$@\" & wait", &[target(), "a child's child"])));
    let events = no_loss(drain(&mut workspace.tracer));
    let calls = calls(&events);
    assert!(events.iter().all(|event| event.scope == own), "{calls:?}");
    assert_eq!(calls[0], call(target(), [target(), &word]));
    assert!(events.iter().all(|event| event.ppid == std::process::id()), "{calls:?}");
    assert!(!calls.iter().any(|call| call.filename == target().as_bytes() && call.argv[1] == b"a child's child"));
}

/// In whatever other scope the tracer lives.
#[test]
fn root_the_tracer_s_own_children_belong_to_no_other_scope() {
    let Some(folder) = CgroupFolder::new() else { return };
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let cgroup = exectrace::Cgroup::open(folder.path()).expect("ours");
    let scope = tracer.add_scope(Scope::Cgroup(cgroup)).expect("a scope");
    let own = tracer.add_scope(Scope::Children).expect("a scope");
    // A child of the test that is in the cgroup by the time it execs.
    folder.run(Command::new(target()).arg("own"));
    let events = no_loss(drain(&mut tracer));
    assert_eq!(events.iter().map(|event| event.scope).collect::<Vec<_>>(), [own]);
    tracer.remove_scope(own);
    folder.run(Command::new(target()).arg("the cgroup's"));
    let events = no_loss(drain(&mut tracer));
    assert_eq!(events.iter().map(|event| event.scope).collect::<Vec<_>>(), [scope]);
}

/// The tracer's name, by which the kernel's half met it, is its own again.
#[test]
fn root_meeting_the_kernel_program_leaves_the_own_name_as_it_was() {
    let name = || std::fs::read("/proc/thread-self/comm").expect("our own name");
    let before = name();
    let mut tracer = Tracer::builder().open().expect("a tracer");
    tracer.add_scope(Scope::Children).expect("a scope");
    assert_eq!(name(), before);
}
