//! Whose exec it is: scopes of namespaces and cgroups, beside and within one another, come and gone.

use std::path::Path;
use std::process::{Command, Stdio};

use exectrace::{Cgroup, Event, Item, PidNamespace, Scope, ScopeError, ScopeId, Tracer, TracerError};

use crate::support::*;

fn tracer() -> Tracer {
    Tracer::builder().open().expect("a tracer")
}

fn scopes_and_words(events: &[exectrace::Event]) -> Vec<(ScopeId, String)> {
    events.iter().map(|event| (event.scope, word(event))).collect()
}

#[test]
fn root_the_execs_of_another_namespace_come_to_nobody_and_are_not_counted() {
    let mut workspace = Workspace::new();
    let other = Namespace::new();
    for _ in 0..3 {
        other.run(command("storm").args([target(), "2", "20", "0"]));
        workspace.namespace.run(Command::new(target()).arg("ours"));
    }
    spawn_and_wait(Command::new(target()).arg("the test's own namespace"));
    assert_calls(&workspace.settle(), &[(); 3].map(|()| call(target(), [target(), "ours"])));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent), (4, 4), "{stats:?}");
}

/// With its init all others of a namespace end, and nothing can come to be there any more.
#[test]
fn root_a_namespace_whose_init_ends_is_gone_and_another_one_is_not() {
    let (namespace, other) = (Namespace::new(), Namespace::new());
    let mut tracer = tracer();
    let scope = tracer.add_scope(namespace.scope()).expect("a scope");
    tracer.add_scope(other.scope()).expect("a scope");
    namespace.run(Command::new(target()).arg("inside"));
    // One below is not the scope, and its first process is not the scope's.
    namespace.run(Command::new("unshare").args(["--pid", "--fork", target(), "below"]));
    assert!(gone(&mut tracer).is_empty());
    let before = std::time::SystemTime::now();
    drop(namespace);
    let told = gone(&mut tracer);
    assert_eq!(told.iter().map(|gone| gone.scope).collect::<Vec<_>>(), [scope]);
    let a_moment = std::time::Duration::from_millis(50);
    assert!(told[0].time + a_moment > before && told[0].time < std::time::SystemTime::now() + a_moment, "{told:?}");
    assert!(gone(&mut tracer).is_empty(), "once");
    other.run(Command::new(target()).arg("lives"));
}

#[test]
fn root_a_cgroup_that_is_removed_is_gone() {
    let Some(folder) = CgroupFolder::new() else { return };
    let mut tracer = tracer();
    let scope = tracer.add_scope(Scope::Cgroup(Cgroup::open(folder.path()).expect("ours"))).expect("a scope");
    folder.run(Command::new(target()).arg("inside"));
    assert!(gone(&mut tracer).is_empty());
    drop(folder);
    assert_eq!(gone(&mut tracer).iter().map(|gone| gone.scope).collect::<Vec<_>>(), [scope]);
}

#[track_caller]
fn spawn_and_wait(command: &mut Command) {
    assert!(wait(&mut spawn(command)).success());
}

#[test]
fn root_a_tracer_without_a_scope_sees_nothing() {
    let namespace = Namespace::new();
    namespace.run(Command::new(target()).arg("before"));
    let mut tracer = tracer();
    tracer.add_scope(namespace.scope()).expect("a scope");
    assert_calls(&settle(&mut tracer, &namespace), &[]);
}

#[test]
fn root_two_namespaces_are_two_scopes_of_one_tracer() {
    let namespaces = [Namespace::new(), Namespace::new()];
    let mut tracer = tracer();
    let scopes = namespaces.each_ref().map(|namespace| tracer.add_scope(namespace.scope()).expect("a scope"));
    assert_ne!(scopes[0], scopes[1]);
    for (namespace, word) in [(0, "a"), (1, "b"), (1, "c"), (0, "d")] {
        namespaces[namespace].run(Command::new(target()).arg(word));
    }
    let events = settle(&mut tracer, &namespaces[0]);
    let expected = [(0, "a"), (1, "b"), (1, "c"), (0, "d")].map(|(scope, word)| (scopes[scope], word.to_owned()));
    assert_eq!(scopes_and_words(&events), expected);
    assert_eq!(scopes.map(|scope| tracer.stats(scope).expect("stats").seen), [3, 2]);
}

#[test]
fn root_of_two_namespaces_one_within_the_other_the_inner_one_wins() {
    let outer = Namespace::new();
    let mut tracer = tracer();
    let scope = tracer.add_scope(outer.scope()).expect("a scope");
    // The inner one's init is a shell, which the outer one's `unshare` waits for.
    let mut shell = Shell::start("exec unshare --pid --fork --kill-child sh", |command| outer.spawn(command));
    let found = std::fs::read_dir("/proc").expect("/proc is mounted").find_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        (stat.rsplit_once(") ")?.1.split(' ').nth(1)? == shell.pid().to_string()).then_some(pid)
    });
    let init = found.expect("the shell in the inner namespace");
    let inner = PidNamespace::of_process(Path::new("/proc"), init).expect("a namespace");
    let number = inner.number();
    assert_ne!(number, outer.number());
    shell.tell(&format!("{} before", target()));
    let inner = tracer.add_scope(Scope::PidNamespace(inner)).expect("a scope");
    shell.tell(&format!("{} inside", target()));
    shell.tell(&format!("unshare --pid --fork {} deeper", target()));
    outer.run(Command::new(target()).arg("outside"));
    let events = settle(&mut tracer, &outer);
    let targets: Vec<_> = events.iter().filter(|event| show(&event.filename) == target()).cloned().collect();
    let expected = [(scope, "before"), (inner, "inside"), (inner, "deeper"), (scope, "outside")];
    assert_eq!(scopes_and_words(&targets), expected.map(|(scope, word)| (scope, word.to_owned())));
    assert_eq!(targets[1].pid_ns, number);
    assert!(targets[1].vpid > 1 && targets[1].vpid < 10, "told in the inner namespace: {}", targets[1].vpid);
    assert_eq!(targets[2].ns_level, targets[1].ns_level + 1);
    assert!(targets[0].vpid > targets[1].vpid, "told in the outer one: {}", targets[0].vpid);
    // Without the inner scope its execs are the outer one's again.
    tracer.remove_scope(inner);
    shell.tell(&format!("{} later", target()));
    assert_eq!(scopes_and_words(&settle(&mut tracer, &outer)), [(scope, "later".to_owned())]);
}

#[test]
fn root_a_scope_that_is_removed_gets_no_more_events() {
    let [gone, stays] = [Namespace::new(), Namespace::new()];
    let mut tracer = tracer();
    let [first, second] = [&gone, &stays].map(|namespace| tracer.add_scope(namespace.scope()).expect("a scope"));
    gone.run(Command::new(target()).arg("before"));
    tracer.remove_scope(first);
    gone.run(Command::new(target()).arg("after"));
    stays.run(Command::new(target()).arg("stays"));
    let events = settle(&mut tracer, &stays);
    let expected = [(first, "before".to_owned()), (second, "stays".to_owned())];
    assert_eq!(scopes_and_words(&events), expected, "what was sent before still comes");
    // And it can come back, under another number.
    let third = tracer.add_scope(gone.scope()).expect("a scope");
    assert!(third != first && third != second);
    gone.run(Command::new(target()).arg("again"));
    assert_eq!(scopes_and_words(&settle(&mut tracer, &stays)), [(third, "again".to_owned())]);
}

#[test]
fn root_a_namespace_that_is_added_twice_belongs_to_the_scope_added_last() {
    let namespace = Namespace::new();
    let mut tracer = tracer();
    let [first, second] = [(); 2].map(|()| tracer.add_scope(namespace.scope()).expect("a scope"));
    namespace.run(Command::new(target()).arg("x"));
    assert_eq!(scopes_and_words(&settle(&mut tracer, &namespace)), [(second, "x".to_owned())]);
    // Its going is not the other's: what the second one names is traced until the second one goes.
    tracer.remove_scope(first);
    namespace.run(Command::new(target()).arg("y"));
    assert_eq!(scopes_and_words(&settle(&mut tracer, &namespace)), [(second, "y".to_owned())]);
}

#[test]
fn root_more_scopes_than_the_tracer_was_opened_for_are_refused() {
    let namespaces = [Namespace::new(), Namespace::new()];
    let mut tracer = Tracer::builder().max_scopes(1).open().expect("a tracer");
    tracer.add_scope(namespaces[0].scope()).expect("a scope");
    assert!(matches!(tracer.add_scope(namespaces[1].scope()), Err(TracerError::TooManyScopes(1))));
    namespaces[1].run(Command::new(target()).arg("refused"));
    assert_calls(&settle(&mut tracer, &namespaces[0]), &[]);
}

fn every_process_can_be_seen() -> bool {
    let denied = |path| {
        std::fs::File::open(path)
            .is_err_and(|error: std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    let mut processes = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    !processes.any(|process| denied(process.path().join("ns/pid")))
}

#[test]
fn root_a_namespace_is_found_by_its_number_and_held() {
    let proc = Path::new("/proc");
    let namespace = Namespace::new();
    let number = namespace.number();
    let found = PidNamespace::by_number(proc, number).expect("a namespace that lives");
    assert!(found.is_held());
    assert_eq!(found.number(), number);
    let mut tracer = tracer();
    tracer.add_scope(Scope::PidNamespace(found)).expect("a scope");
    namespace.run(Command::new(target()).arg("x"));
    assert_calls(&settle(&mut tracer, &namespace), &[call(target(), [target(), "x"])]);
    drop(namespace);
    match PidNamespace::by_number(proc, number) {
        Err(ScopeError::NoSuchNamespace(refused)) => assert_eq!(refused, number),
        // A process that does not let itself be looked at might live in it.
        Ok(gone) => assert!(!gone.is_held() && !every_process_can_be_seen(), "{gone:?}"),
        Err(error) => panic!("{error}"),
    }
    // The scope holds it, so that the number does not pass to another namespace.
    let others: Vec<Namespace> = (0..20).map(|_| Namespace::new()).collect();
    assert!(others.iter().all(|other| other.number() != number));
    others[0].run(Command::new(target()).arg("stranger"));
    let mut items = Vec::new();
    tracer.stop(|item| items.push(item)).expect("a tracer that reads");
    assert!(matches!(items[..], [Item::Gone(_)]), "{items:?}");
}

#[test]
fn root_a_namespace_out_of_sight_is_told_by_its_number_and_is_not_held() {
    const NAME: &str = "scopes::root_a_namespace_out_of_sight_is_told_by_its_number_and_is_not_held";
    if let Some(number) = inside() {
        let number = number.parse().expect("a number");
        let out_of_sight = PidNamespace::by_number(Path::new("/proc"), number).expect("it may be there");
        assert_eq!((out_of_sight.is_held(), out_of_sight.number()), (false, number));
        let mut tracer = tracer();
        tracer.add_scope(Scope::PidNamespace(out_of_sight)).expect("a scope");
        eprintln!("watching");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("a pipe");
        let mut items = Vec::new();
        tracer.stop(|item| items.push(item)).expect("a tracer that reads");
        return println!("words: {:?}", words(&no_loss(items)));
    }
    let namespace = Namespace::new();
    let mut command = rerun_inside(NAME, &namespace.number().to_string());
    let mut watching = Watching::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    namespace.run(Command::new(target()).arg("seen"));
    let (status, output) = watching.end();
    assert!(status.success() && output.contains("1 passed"), "{output}");
    assert!(output.contains("words: [\"seen\"]\n"), "{output}");
}

#[test]
fn root_a_cgroup_70_deep_is_inside_a_scope_at_level_2() {
    let Some(top) = CgroupFolder::new() else { return };
    let scope_folder = top.child("scope");
    let sibling = top.child("sibling");
    let mut folders = vec![scope_folder.child("3")];
    for level in 4..=70 {
        let below = folders.last().expect("one at least").child(&level.to_string());
        folders.push(below);
    }
    // Dropped from the deepest up.
    folders.reverse();
    let deepest = &folders[0];
    let mut tracer = tracer();
    let scope = tracer.add_scope(scope_folder.scope()).expect("a scope");
    sibling.run(Command::new(target()).arg("beside"));
    top.run(Command::new(target()).arg("above"));
    scope_folder.run(Command::new(target()).arg("at"));
    deepest.run(Command::new(target()).arg("deepest"));
    let last = sentinel();
    scope_folder.run(Command::new(target()).arg(&last));
    let events = no_loss(items_before(&mut tracer, &last));
    assert_calls(&events, &["at", "deepest"].map(|word| call(target(), [target(), word])));
    assert_eq!(scopes_and_words(&events)[0].0, scope);
    assert_eq!(events[1].cgroup, inode(deepest.path()));
    assert_eq!(tracer.stats(scope).expect("stats").seen, 3);
    // A scope within the scope wins, and goes without leaving the outer one blind.
    let inner = tracer.add_scope(folders[30].scope()).expect("a scope");
    deepest.run(Command::new(target()).arg("inner"));
    tracer.remove_scope(inner);
    deepest.run(Command::new(target()).arg("outer"));
    let last = sentinel();
    scope_folder.run(Command::new(target()).arg(&last));
    let events = no_loss(items_before(&mut tracer, &last));
    assert_eq!(scopes_and_words(&events), [(inner, "inner".to_owned()), (scope, "outer".to_owned())]);
    drop(tracer);
    drop(folders);
    drop([scope_folder, sibling]);
}

#[test]
fn root_a_cgroup_too_deep_to_be_looked_for_is_refused() {
    let Some(top) = CgroupFolder::new() else { return };
    let mut folders = vec![top];
    for level in 2..=64 {
        let below = folders.last().expect("one at least").child(&level.to_string());
        folders.push(below);
    }
    folders.reverse();
    let mut tracer = tracer();
    // Level 63 is the deepest that bpf/scope.h looks at.
    let added = Cgroup::open(folders[1].path()).map(|cgroup| tracer.add_scope(Scope::Cgroup(cgroup)));
    let scope = added.expect("a cgroup").expect("a scope at level 63");
    let refused = match Cgroup::open(folders[0].path()) {
        Ok(cgroup) => tracer.add_scope(Scope::Cgroup(cgroup)).is_err(),
        Err(_) => true,
    };
    folders[0].run(Command::new(target()).arg("at level 64"));
    let last = sentinel();
    folders[1].run(Command::new(target()).arg(&last));
    let events = no_loss(items_before(&mut tracer, &last));
    assert_eq!(scopes_and_words(&events), [(scope, "at level 64".to_owned())]);
    drop(tracer);
    assert!(refused, "a scope at level 64 is accepted, and none of its execs is seen as its own");
}

#[test]
fn root_a_namespace_comes_before_a_cgroup() {
    let Some(folder) = CgroupFolder::new() else { return };
    let namespace = Namespace::new();
    let mut tracer = tracer();
    let cgroup = tracer.add_scope(folder.scope()).expect("a scope");
    let enter = |word: &str| {
        let procs = folder.path().join("cgroup.procs");
        let words = [target(), procs.to_str().expect("UTF-8"), word];
        namespace.run(&mut shell("echo 0 >\"$2\"; exec \"$1\" \"$3\"", &words));
    };
    enter("cgroup's");
    let scope = tracer.add_scope(namespace.scope()).expect("a scope");
    enter("namespace's");
    let events = settle(&mut tracer, &namespace);
    let expected = [(cgroup, "cgroup's"), (scope, "-c"), (scope, "namespace's")];
    assert_eq!(scopes_and_words(&events), expected.map(|(scope, word)| (scope, word.to_owned())));
    drop(tracer);
}

#[test]
fn root_what_is_no_cgroup_is_no_scope() {
    let refused = Cgroup::open(Path::new("/proc/self"));
    assert!(matches!(refused, Err(ScopeError::NoCgroup { .. })), "{refused:?}");
}

#[test]
fn root_a_namespace_of_which_the_first_of_two_scopes_goes_stays_the_second_s() {
    let namespace = Namespace::new();
    let mut tracer = tracer();
    let [first, second] = [(); 2].map(|()| tracer.add_scope(namespace.scope()).expect("a scope"));
    tracer.remove_scope(second);
    namespace.run(Command::new(target()).arg("x"));
    let events = settle(&mut tracer, &namespace);
    assert_eq!(scopes_and_words(&events), [(first, "x".to_owned())], "it is still asked for");
}

/// A cgroup holds whom the owner of its folders leaves there.
#[test]
fn root_a_process_is_in_a_cgroup_s_scope_as_long_as_it_is_in_the_cgroup() {
    let Some(inside) = CgroupFolder::new() else { return };
    let Some(outside) = CgroupFolder::new() else { return };
    let mut tracer = Tracer::builder().open().expect("a tracer");
    tracer.add_scope(inside.scope()).expect("a scope");
    let script = "\"$1\" a; echo $$ >\"$3/cgroup.procs\"; \"$1\" b; echo $$ >\"$2/cgroup.procs\"; \"$1\" c";
    let [inner, outer] = [&inside, &outside].map(|folder| real(folder.path()));
    inside.run(&mut shell(script, &[target(), &inner, &outer]));
    let (events, losses) = part(drain(&mut tracer));
    let targets: Vec<Event> = events.into_iter().filter(|event| event.filename == target().as_bytes()).collect();
    assert_eq!((words(&targets), losses), (vec!["a".to_owned(), "c".to_owned()], Vec::new()));
}
