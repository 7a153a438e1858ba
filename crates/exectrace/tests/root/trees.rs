//! A process and its descendants, who cannot leave their tree.

use std::path::Path;
use std::process::{Command, Stdio};

use exectrace::{Event, Scope, Tracer, TracerError, Tree};

use crate::support::*;

fn tree(root: u32) -> Scope {
    Scope::Tree(Tree::of_process(Path::new("/proc"), root).expect("a process of ours"))
}

/// The events up to a sentinel that a member of the tree executes.
#[track_caller]
fn settle_by(tracer: &mut Tracer, shell: &mut Shell) -> Vec<Event> {
    let last = sentinel();
    shell.tell(&format!("{} {last}", target()));
    no_loss(items_before(tracer, &last))
}

fn fifo() -> (tempfile::TempDir, String) {
    let folder = public_folder();
    let path = format!("{}/fifo", real(folder.path()));
    assert!(wait(&mut spawn(Command::new("mkfifo").arg(&path))).success());
    (folder, path)
}

fn of_target(events: &[Event]) -> Vec<String> {
    let of_target = |event: &&Event| show(&event.filename) == target();
    events.iter().filter(of_target).map(word).collect()
}

#[test]
fn root_the_root_of_a_tree_and_its_children_are_inside_and_others_are_not() {
    let [mut inside, mut outside] = [(); 2].map(|()| Shell::start("exec sh", spawn));
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let scope = tracer.add_scope(tree(inside.pid())).expect("a scope");
    outside.tell(&format!("{} outside", target()));
    inside.tell(&format!("{} inside", target()));
    inside.tell(&format!("( ( {} deep; : ); : )", target()));
    assert!(wait(&mut spawn(Command::new(target()).arg("beside"))).success());
    outside.tell(&format!("( {} outside; : )", target()));
    inside.tell(&format!("sh -c '{} again; :'", target()));
    let events = settle_by(&mut tracer, &mut inside);
    assert!(events.iter().all(|event| event.scope == scope));
    let words: Vec<String> = events.iter().map(word).collect();
    assert_eq!(words, ["inside", "deep", "-c", "again"], "{:?}", calls(&events));
    assert_eq!(tracer.stats(scope).expect("stats").seen, 5);
}

#[test]
fn root_sessions_double_forks_and_new_parents_do_not_lead_out_of_a_tree() {
    let mut shell = Shell::start("exec sh", spawn);
    let mut tracer = Tracer::builder().open().expect("a tracer");
    tracer.add_scope(tree(shell.pid())).expect("a scope");
    for name in ["double_fork", "parent_gone", "tree", "vfork", "thread_exec", "nested_ns"] {
        shell.tell(&format!("{} {} </dev/null", fixture(name), target()));
    }
    shell.tell(&format!("setsid --fork --wait {} setsid </dev/null", target()));
    let events = settle_by(&mut tracer, &mut shell);
    let expected =
        ["double_fork", "parent_gone", "depth-1", "depth-2", "depth-3", "vfork", "thread_exec", "nested_ns", "setsid"];
    assert_eq!(of_target(&events), expected);
    let [double_fork, parent_gone] = [1, 3].map(|at| &events[at]);
    assert_eq!([word(double_fork), word(parent_gone)], ["double_fork", "parent_gone"]);
    assert!([double_fork, parent_gone].iter().all(|event| event.ppid != shell.pid()), "they have other parents");
}

#[test]
fn root_the_root_of_a_tree_is_inside_itself_whatever_it_becomes() {
    let mut command = shell("read line; exec \"$1\" 2", &[fixture("exec_chain")]);
    let mut root = spawn(command.stdin(Stdio::piped()));
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let scope = tracer.add_scope(tree(root.id())).expect("a scope");
    drop(root.stdin.take());
    assert!(wait(&mut root).success());
    let mut items = Vec::new();
    tracer.stop(|item| items.push(item)).expect("a tracer that reads");
    let events = no_loss(items);
    let own = fixture("exec_chain");
    assert_calls(&events, &["2", "1", "0"].map(|left| call(own, [own, left])));
    assert!(events.iter().all(|event| (event.scope, event.pid) == (scope, root.id())));
    assert_eq!(events[0].parent_id, None, "what the shell was is from before the scope");
    assert_eq!(events[2].parent_id, Some(events[1].id));
}

#[test]
fn root_children_that_a_tree_had_before_are_inside() {
    let mut tracer = Tracer::builder().open().expect("a tracer");
    // The shell that is told is a grandchild of the root, and has it for an ancestor since before the scope.
    let mut shell = Shell::start("exec 3<&0; ( sh <&3; : ) ; :", spawn);
    let told: u32 = shell.tell("echo $$").trim().parse().expect("a pid");
    assert_ne!(told, shell.pid());
    let scope = tracer.add_scope(tree(shell.pid())).expect("a scope");
    shell.tell(&format!("{} inside", target()));
    let events = settle_by(&mut tracer, &mut shell);
    assert_calls(&events, &[call(target(), [target(), "inside"])]);
    assert_eq!((events[0].scope, events[0].ppid), (scope, told));
}

#[test]
fn root_a_tree_that_is_removed_gets_no_more_events() {
    let [mut gone, mut stays] = [(); 2].map(|()| Shell::start("exec sh", spawn));
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let [first, second] = [&gone, &stays].map(|shell| tracer.add_scope(tree(shell.pid())).expect("a scope"));
    gone.tell(&format!("{} before", target()));
    stays.tell(&format!("{} stays", target()));
    tracer.remove_scope(first);
    gone.tell(&format!("{} after", target()));
    let events = settle_by(&mut tracer, &mut stays);
    let seen: Vec<_> = events.iter().map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(first, "before".to_owned()), (second, "stays".to_owned())]);
}

#[test]
fn root_a_tree_that_is_removed_and_added_again_is_traced_again() {
    let mut shell = Shell::start("exec sh", spawn);
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let first = tracer.add_scope(tree(shell.pid())).expect("a scope");
    shell.tell(&format!("{} first", target()));
    tracer.remove_scope(first);
    shell.tell(&format!("{} between", target()));
    let second = tracer.add_scope(tree(shell.pid())).expect("a scope");
    shell.tell(&format!("{} second", target()));
    let events = settle_by(&mut tracer, &mut shell);
    let seen: Vec<_> = events.iter().map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(first, "first".to_owned()), (second, "second".to_owned())]);
}

#[test]
fn root_a_tree_comes_before_the_namespace_it_lives_in() {
    let mut workspace = Workspace::new();
    let mut shell = Shell::start("exec sh", |command| workspace.namespace.spawn(command));
    let tree = workspace.tracer.add_scope(tree(shell.pid())).expect("a scope");
    shell.tell(&format!("{} tree", target()));
    workspace.namespace.run(Command::new(target()).arg("namespace"));
    let events = workspace.settle();
    let seen: Vec<_> = events.iter().skip(2).map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(tree, "tree".to_owned()), (workspace.scope, "namespace".to_owned())], "{:?}", calls(&events));
    // With the tree gone its members are the namespace's.
    workspace.tracer.remove_scope(tree);
    shell.tell(&format!("{} removed", target()));
    let events = workspace.settle();
    let seen: Vec<_> = events.iter().map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(workspace.scope, "removed".to_owned())]);
}

#[test]
fn root_of_two_trees_one_within_the_other_the_inner_one_wins() {
    let (_folder, fifo) = fifo();
    let mut outer = Shell::start("exec sh", spawn);
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let scope = tracer.add_scope(tree(outer.pid())).expect("a scope");
    let inner: u32 =
        outer.tell(&format!("( read line <{fifo}; {} inner; : ) & echo $!", target())).trim().parse().expect("a pid");
    let inner_scope = tracer.add_scope(tree(inner)).expect("a scope");
    outer.tell(&format!("echo go >{fifo}; wait; {} outer", target()));
    let events = settle_by(&mut tracer, &mut outer);
    let seen: Vec<_> = events.iter().map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(inner_scope, "inner".to_owned()), (scope, "outer".to_owned())]);
}

#[test]
fn root_a_tree_larger_than_the_table_of_processes_is_refused() {
    let (_folder, fifo) = fifo();
    let mut shell = Shell::start("exec sh", spawn);
    let mut tracer = Tracer::builder().max_processes(16).open().expect("a tracer");
    // They wait for a writer and do nothing else, so that no claim is redeemed meanwhile.
    shell
        .tell(&format!("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do ( read line <{fifo} ) & done"));
    let refused = tracer.add_scope(tree(shell.pid()));
    shell.tell(&format!("echo >{fifo}; wait"));
    assert!(matches!(refused, Err(TracerError::TooManyProcesses { processes: 17.., max: 16 })), "{refused:?}");
}

#[test]
fn root_an_inner_tree_stays_the_inner_one_when_the_outer_one_comes_later() {
    let (_folder, fifo) = fifo();
    let mut outer = Shell::start("exec sh", spawn);
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let line = format!("( read line <{fifo}; {} inner; : ) & echo $!", target());
    let inner: u32 = outer.tell(&line).trim().parse().expect("a pid");
    let inner_scope = tracer.add_scope(tree(inner)).expect("a scope");
    let scope = tracer.add_scope(tree(outer.pid())).expect("a scope");
    outer.tell(&format!("echo go >{fifo}; wait; {} outer", target()));
    let events = settle_by(&mut tracer, &mut outer);
    let seen: Vec<_> = events.iter().map(|event| (event.scope, word(event))).collect();
    assert_eq!(seen, [(inner_scope, "inner".to_owned()), (scope, "outer".to_owned())]);
}

#[test]
fn root_a_tree_is_found_from_within_a_namespace_by_the_pids_seen_there() {
    const NAME: &str = "trees::root_a_tree_is_found_from_within_a_namespace_by_the_pids_seen_there";
    if inside().is_none() {
        let mut command = rerun_inside(NAME, "");
        let output = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
            .wait_with_output()
            .expect("a child of ours");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    assert!(std::process::id() < 10, "the test is in a namespace of its own");
    let mut tracer = Tracer::builder().open().expect("a tracer");
    let mut shell = Shell::start("exec 3<&0; ( sh <&3; : ) ; :", spawn);
    let mut outside = Shell::start("exec sh", spawn);
    let scope = tracer.add_scope(tree(shell.pid())).expect("a scope");
    outside.tell(&format!("{} outside", target()));
    shell.tell(&format!("{} inside", target()));
    shell.tell(&format!("{} {} </dev/null", fixture("double_fork"), target()));
    let events = settle_by(&mut tracer, &mut shell);
    assert_eq!(of_target(&events), ["inside", "double_fork"]);
    assert!(events.iter().all(|event| event.scope == scope && event.ns_level > 0));
    assert!(events.iter().all(|event| event.vpid <= event.pid));
    assert!(events.iter().all(|event| event.vpid < 100), "no scope of namespaces: the process's own number");
}
