//! The kernel's half outlives who made it, and who comes next takes over.

use std::path::{Path, PathBuf};
use std::process::Command;

use exectrace::{
    Event, Item, Known, LossReason, Pin, Progress, Rule, Scope, Tracer, TracerBuilder, TracerError, Tree, What, unpin,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::support::*;

/// A bpf file system of the test's own.
struct BpfFs(tempfile::TempDir);

impl BpfFs {
    fn mount() -> BpfFs {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status().expect("mount");
        assert!(mounted.success(), "a bpf file system can be mounted by root");
        BpfFs(folder)
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("pin")
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // What a test that failed left there would go on running.
        drop(unpin(&self.folder()));
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

fn builder(fs: &BpfFs) -> TracerBuilder {
    Tracer::builder().pin(fs.folder())
}

/// A tracer of the namespace. Letting it go is what a kill does: nothing is detached or committed.
#[track_caller]
fn tracer(builder: TracerBuilder, namespace: &Namespace) -> Tracer {
    let mut tracer = builder.open().expect("a tracer");
    tracer.add_scope(namespace.scope()).expect("a scope");
    tracer
}

fn run(namespace: &Namespace, words: std::ops::Range<u32>) {
    for word in words {
        namespace.run(Command::new(target()).arg(word.to_string()));
    }
}

#[track_caller]
fn assert_words(items: Vec<Item>, expected: std::ops::Range<u32>) -> Vec<Event> {
    let events = no_loss(items);
    assert_eq!(words(&events), expected.map(|word| word.to_string()).collect::<Vec<_>>());
    events
}

#[test]
fn root_what_nobody_committed_comes_again_and_what_ran_meanwhile_too() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    assert_eq!((first.known_scopes(), first.resumed()), (0, None));
    run(&namespace, 0..5);
    let seen = assert_words(drain(&mut first), 0..5);
    drop(first);
    run(&namespace, 5..10);
    let mut second = tracer(builder(&fs), &namespace);
    assert_eq!(second.known_scopes(), 1);
    run(&namespace, 10..12);
    let again = assert_words(drain(&mut second), 0..12);
    assert_eq!(
        seen.iter().map(|event| event.id).collect::<Vec<_>>(),
        again[..5].iter().map(|event| event.id).collect::<Vec<_>>()
    );
    let stats = second.stats(again[0].scope).expect("stats");
    assert_eq!((stats.seen, stats.sent), (12, 12), "the counters go on");
}

#[test]
fn root_what_was_committed_does_not_come_again() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    run(&namespace, 0..6);
    let events = assert_words(drain(&mut first), 0..6);
    let mut progress = Progress::up_to(events[3].origin.position);
    progress.notes[7] = 42;
    progress.of_mut(Some(events[3].scope)).notes[3] = 43;
    first.journal().expect("a pin").commit(&progress);
    drop(first);
    let mut second = tracer(builder(&fs), &namespace);
    assert_eq!(second.resumed(), Some(progress));
    assert_words(drain(&mut second), 4..6);
    // What the first had read and the second committed is let go of by the third, too.
    second.journal().expect("a pin").commit(&Progress::up_to(second.position()));
    drop(second);
    run(&namespace, 6..8);
    assert_words(drain(&mut tracer(builder(&fs), &namespace)), 6..8);
}

/// A position divides what was given from what was not, also where one exec's arguments lie between others' records.
#[test]
fn root_a_commit_among_pieces_of_large_arguments_loses_and_doubles_nothing() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs).ring_bytes(16 << 20), &namespace);
    // On both CPUs: arguments of 16 pieces, and small execs in between.
    let mut large = namespace.spawn(command("storm").args([target(), "1", "12", "131071", "4"]));
    let mut small = namespace.spawn(command("storm").args([target(), "1", "300", "0"]));
    wait(&mut small);
    wait(&mut large);
    let events = no_loss(drain(&mut first));
    for cut in (0..events.len()).step_by(37) {
        let position = events[cut].origin.position;
        first.journal().expect("a pin").commit(&Progress::up_to(position));
        drop(first);
        first = tracer(builder(&fs).ring_bytes(16 << 20), &namespace);
        let rest = no_loss(drain(&mut first));
        let ids = |events: &[Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&rest), ids(&events[cut + 1..]), "after event {cut}");
        assert!(rest.iter().all(|event| event.partial.is_empty()), "after event {cut}");
    }
}

#[test]
fn root_what_found_no_room_while_nobody_read_is_told_once() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let small = || builder(&fs).ring_bytes(128 << 10);
    let mut first = tracer(small(), &namespace);
    let scope = first.scopes().next().expect("a scope").0;
    namespace.run(command("storm").args([target(), "2", "2000", "100"]));
    let (told, losses) = part(drain(&mut first));
    let lost: u64 = losses.iter().map(|loss| loss.count).sum();
    assert_eq!(told.len() as u64 + lost, 2001);
    // The first commits what it has told; the second must not tell it again.
    let mut progress = Progress::up_to(first.position());
    *progress.of_mut(Some(scope)).told_mut(What::Exec, LossReason::RingFull) = lost;
    first.journal().expect("a pin").commit(&progress);
    drop(first);
    namespace.run(command("storm").args([target(), "2", "2000", "100"]));
    let mut second = tracer(small(), &namespace);
    namespace.run(Command::new(target()).arg("last"));
    let (events, losses) = part(drain(&mut second));
    let lost_then: u64 = losses.iter().map(|loss| loss.count).sum();
    assert!(lost > 500 && lost_then > 500, "{lost} {lost_then}");
    assert_eq!(events.len() as u64 + lost_then, 2002);
    assert_eq!(words(&events).last().map(String::as_str), Some("last"));
    assert!(drain(&mut second).is_empty(), "nothing is told twice");
    let stats = second.stats(scope).expect("stats");
    assert_eq!((stats.seen, stats.lost_ring_full), (4003, lost + lost_then));
}

/// Whose it is, is known although nobody read it.
#[test]
fn root_what_several_scopes_lost_while_nobody_read_is_told_of_each() {
    let (fs, one, other) = (BpfFs::mount(), Namespace::new(), Namespace::new());
    let both = || {
        let mut tracer = tracer(builder(&fs).ring_bytes(128 << 10), &one);
        tracer.add_scope(other.scope()).expect("a scope");
        tracer
    };
    let mut first = both();
    let scopes: Vec<_> = first.scopes().map(|(id, _)| id).collect();
    assert!(drain(&mut first).is_empty());
    drop(first);
    one.run(command("storm").args([target(), "2", "2000", "100"]));
    other.run(command("storm").args([target(), "2", "1000", "100"]));
    let (events, losses) = part(drain(&mut both()));
    for (scope, ran) in scopes.into_iter().zip([2001, 1001]) {
        let told = events.iter().filter(|event| event.scope == scope).count() as u64;
        let lost: u64 = losses.iter().filter(|loss| loss.scope == Some(scope)).map(|loss| loss.count).sum();
        assert_eq!(told + lost, ran, "{scope}");
        assert!(lost > 0, "{scope}");
    }
}

/// What lies in the folder has a layout that only its own version knows.
#[test]
fn root_a_pin_of_another_version_is_refused_with_advice_and_can_be_removed() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    run(&namespace, 0..2);
    let journal = MapHandle::from_pinned_path(fs.folder().join("map_journal")).expect("a pinned map");
    // The first of the four words by which a version names what it keeps there.
    let layout = 8u32.to_ne_bytes();
    let word = journal.lookup(&layout, MapFlags::ANY).expect("a map").expect("a word");
    let other: Vec<u8> = word.iter().map(|byte| !byte).collect();
    journal.update(&layout, &other, MapFlags::ANY).expect("a word");
    let why = refusal(builder(&fs).open());
    assert!(why.contains("another version") && why.contains("exectrace unpin"), "{why}");
    assert!(fs.folder().join("map_journal").exists(), "it is left as it is");
    let left = unpin(&fs.folder()).expect("a pin");
    assert_eq!((left.was, left.seen), (Pin::OfAnotherVersion, 0), "of another version nothing is read");
    assert!(!fs.folder().exists());
}

#[test]
fn root_a_pin_that_nobody_reads_ends_with_counting() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs).ring_bytes(128 << 10), &namespace));
    namespace.run(command("storm").args([target(), "2", "5000", "100"]));
    let left = unpin(&fs.folder()).expect("a pin");
    assert_eq!((left.was, left.scopes, left.seen), (Pin::Whole, 1, 5001));
    assert!(left.unread > 100 && left.unread < 2000, "{left:?}");
    assert!(!fs.folder().exists());
}

#[track_caller]
fn refusal(result: Result<Tracer, TracerError>) -> String {
    let error = result.err().expect("a refusal");
    assert!(matches!(error, TracerError::Pin { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn root_other_settings_are_refused_with_advice() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    let by_rule = builder(&fs).rule(Rule { uid: Some(7), ..Rule::default() });
    for other in [builder(&fs).exits(true), builder(&fs).ring_bytes(8 << 20), by_rule] {
        let why = refusal(other.open());
        assert!(why.contains("other settings") && why.contains("exectrace unpin"), "{why}");
    }
    // How much of an event is kept concerns user space alone.
    assert!(builder(&fs).max_args_bytes(7).open().is_ok());
}

#[test]
fn root_rules_and_what_they_left_out_outlive_a_tracer_in_their_order() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let others = (1..63).map(|uid| Rule { uid: Some(uid), ..Rule::default() });
    let mut rules: Vec<Rule> = others.chain([exact("/nowhere"), exact(target())]).collect();
    let with = |rules: &[Rule]| rules.iter().cloned().fold(builder(&fs), TracerBuilder::rule);
    drop(tracer(with(&rules), &namespace));
    run(&namespace, 0..3);
    let second = tracer(with(&rules), &namespace);
    run(&namespace, 3..5);
    let left_out = second.left_out().expect("counters");
    assert_eq!((left_out.len(), left_out[63].rule, left_out[63].execs), (64, 63, 5));
    assert!(left_out[..63].iter().all(|rule| rule.execs == 0));
    drop(second);
    rules.swap(0, 63);
    let why = refusal(with(&rules).open());
    assert!(why.contains("other settings"), "{why}");
    assert_eq!(unpin(&fs.folder()).expect("a pin").excluded, 5);
}

#[test]
fn root_another_scope_is_refused_with_advice() {
    let (fs, namespace, other) = (BpfFs::mount(), Namespace::new(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    let mut second = builder(&fs).open().expect("a tracer");
    let why = second.add_scope(other.scope()).expect_err("another namespace").to_string();
    assert!(why.contains("something else") && why.contains("exectrace unpin"), "{why}");
}

#[test]
fn root_a_pin_with_more_scopes_than_are_named_is_refused_with_advice() {
    let (fs, namespace, other) = (BpfFs::mount(), Namespace::new(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    first.add_scope(other.scope()).expect("a scope");
    drop(first);
    let mut second = tracer(builder(&fs), &namespace);
    assert_eq!(second.known_scopes(), 2);
    let why = second.poll(std::time::Duration::ZERO, |_| ()).expect_err("one is missing").to_string();
    assert!(why.contains("more scopes") && why.contains("exectrace unpin"), "{why}");
}

#[test]
fn root_another_process_of_a_tree_is_refused() {
    let fs = BpfFs::mount();
    let [own, other] = [(); 2].map(|()| Shell::start("exec sh", spawn));
    let tree = |shell: &Shell| Scope::Tree(Tree::of_process(Path::new("/proc"), shell.pid()).expect("ours"));
    let mut first = builder(&fs).open().expect("a tracer");
    first.add_scope(tree(&own)).expect("a scope");
    drop(first);
    let mut second = builder(&fs).open().expect("a tracer");
    assert!(second.add_scope(tree(&other)).is_err());
    assert!(second.add_scope(Scope::Pinned(Known::Tree(other.pid()))).is_err());
    assert!(second.add_scope(Scope::Pinned(Known::PidNamespace(7))).is_err());
    second.add_scope(Scope::Pinned(Known::Tree(own.pid()))).expect("the one that is pinned");
}

/// What the test starts itself is its own child; this starts something that starts it.
fn run_below(namespace: &Namespace, words: std::ops::Range<u32>) {
    for word in words {
        namespace.run(&mut shell("\"$1\" \"$2\"; exit 0", &[target(), &word.to_string()]));
    }
}

/// Whoever takes over may look at its own children, or not, whatever the one before it did.
#[test]
fn root_the_own_children_of_the_one_before_are_nobody_s() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    let own = first.add_scope(Scope::Children).expect("a scope");
    wait(&mut spawn(Command::new(target()).arg("a probe")));
    run_below(&namespace, 0..2);
    drop(first);
    let mut second = tracer(builder(&fs), &namespace);
    assert_eq!(second.known_scopes(), 1);
    run_below(&namespace, 2..3);
    wait(&mut spawn(Command::new(target()).arg("no probe any more")));
    assert_words(drain(&mut second), 0..3);
    second.journal().expect("a pin").commit(&Progress::up_to(second.position()));
    drop(second);
    let mut third = tracer(builder(&fs), &namespace);
    assert_eq!(third.add_scope(Scope::Children).expect("the same scope"), own);
    wait(&mut spawn(Command::new(target()).arg("3")));
    let events = assert_words(drain(&mut third), 3..4);
    assert_eq!(events[0].scope, own);
}

#[test]
fn root_losses_of_the_own_children_are_not_told_as_the_workspace_s() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let small = || builder(&fs).ring_bytes(128 << 10);
    let mut first = tracer(small(), &namespace);
    let scope = first.scopes().next().expect("a scope").0;
    first.add_scope(Scope::Children).expect("a scope");
    namespace.run(command("storm").args([target(), "2", "2000", "100"]));
    for _ in 0..200 {
        wait(&mut spawn(Command::new(target()).arg("a probe")));
    }
    drop(first);
    let mut second = tracer(small(), &namespace);
    second.add_scope(Scope::Children).expect("a scope");
    let (events, losses) = part(drain(&mut second));
    let own = |event: &&Event| event.scope == scope;
    let lost: u64 = losses.iter().filter(|loss| loss.scope == Some(scope)).map(|loss| loss.count).sum();
    // The storm itself is a child of the test.
    assert_eq!(events.iter().filter(own).count() as u64 + lost, 2000);
}

#[test]
fn root_a_start_that_failed_leaves_nothing_in_the_way() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    // It was opened, and never got a scope.
    drop(builder(&fs).exits(true).open().expect("a tracer"));
    let mut second = tracer(builder(&fs), &namespace);
    run(&namespace, 0..2);
    assert_words(drain(&mut second), 0..2);
}

#[test]
fn root_a_folder_that_others_may_write_to_is_refused() {
    let fs = BpfFs::mount();
    std::fs::create_dir(fs.folder()).expect("a folder");
    std::fs::set_permissions(fs.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("ours");
    let why = refusal(builder(&fs).open());
    assert!(why.contains("others may write"), "{why}");
    std::fs::set_permissions(fs.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    std::os::unix::fs::chown(fs.folder(), Some(12_345), None).expect("ours");
    let why = refusal(builder(&fs).open());
    assert!(why.contains("user 12345"), "{why}");
    std::os::unix::fs::chown(fs.folder(), Some(0), None).expect("ours");
}

#[test]
fn root_a_pin_that_lacks_a_program_is_refused() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    std::fs::remove_file(fs.folder().join("link_exec_first"))
        .or_else(|_| std::fs::remove_file(fs.folder().join("link_exec_backup")))
        .expect("a pinned link");
    let why = refusal(builder(&fs).open());
    assert!(why.contains("programs are missing"), "{why}");
}

#[test]
fn root_a_pin_can_be_given_up_without_losing_what_waits() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    run(&namespace, 0..3);
    first.unpin_programs().expect("a pin of ours");
    first.detach();
    run(&namespace, 3..5);
    assert_words(drain(&mut first), 0..3);
    assert!(fs.folder().exists());
    first.unpin().expect("a pin of ours");
    assert!(!fs.folder().exists());
}

/// A kill between the last look of the programs and the last line of the log.
#[test]
fn root_what_was_seen_before_a_pin_was_being_given_up_comes_to_who_takes_over() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    run(&namespace, 0..3);
    let before = std::time::SystemTime::now();
    first.unpin_programs().expect("a pin of ours");
    drop(first);
    run(&namespace, 3..5);
    let mut second = tracer(builder(&fs), &namespace);
    let since = second.detached_since().expect("a time");
    let a_moment = std::time::Duration::from_secs(1);
    assert!(since + a_moment > before && since < std::time::SystemTime::now() + a_moment, "{since:?}");
    // The kernel may take a moment to detach what nobody holds any more, and sees until then.
    let seen = words(&no_loss(drain(&mut second)));
    assert!(
        seen.len() >= 3 && (0..).map(|word| word.to_string()).zip(&seen).all(|(due, word)| due == *word),
        "{seen:?}"
    );
    // A second kill changes nothing.
    second.unpin_programs().expect("a pin of ours");
    drop(second);
    let mut third = tracer(builder(&fs), &namespace);
    assert!(third.detached_since().is_some_and(|again| again < since + a_moment));
    assert_eq!(words(&no_loss(drain(&mut third))), seen);
    third.unpin().expect("a pin of ours");
    let mut anew = tracer(builder(&fs), &namespace);
    assert_eq!((anew.known_scopes(), anew.detached_since()), (0, None));
    run(&namespace, 5..6);
    assert_words(drain(&mut anew), 5..6);
}

#[test]
fn root_a_pin_with_fewer_scopes_than_are_named_is_refused_with_advice() {
    let (fs, namespace, other) = (BpfFs::mount(), Namespace::new(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    // The first was killed before it had said anything, so it may have been about to name another.
    let mut killed = tracer(builder(&fs), &namespace);
    run(&namespace, 0..1);
    let events = assert_words(drain(&mut killed), 0..1);
    killed.journal().expect("a pin").commit(&Progress::up_to(events[0].origin.position));
    drop(killed);
    let mut second = tracer(builder(&fs), &namespace);
    let why = second.add_scope(other.scope()).expect_err("one more").to_string();
    assert!(why.contains("fewer scopes") && why.contains("exectrace unpin"), "{why}");
    // Once it has begun, more may come.
    assert!(drain(&mut second).is_empty());
    second.add_scope(other.scope()).expect("a scope");
}

#[test]
fn root_a_start_that_was_killed_between_two_scopes_is_in_nobody_s_way() {
    let (fs, namespace, other) = (BpfFs::mount(), Namespace::new(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    run(&namespace, 0..1);
    let mut second = tracer(builder(&fs), &namespace);
    second.add_scope(other.scope()).expect("the one that was not named any more");
    run(&other, 1..2);
    assert_words(drain(&mut second), 0..2);
}

#[test]
fn root_a_cgroup_that_is_gone_is_taken_over_by_its_path_alone() {
    let (fs, Some(folder)) = (BpfFs::mount(), CgroupFolder::new()) else { return };
    let path = folder.path().to_owned();
    let mut first = builder(&fs).open().expect("a tracer");
    first.add_scope(Scope::Cgroup(exectrace::Cgroup::open(&path).expect("ours"))).expect("a scope");
    folder.run(Command::new(target()).arg("0"));
    drop(first);
    drop(folder);
    let mut second = builder(&fs).open().expect("a tracer");
    let elsewhere = Known::Cgroup(path.join("elsewhere"));
    assert!(second.add_scope(Scope::Pinned(elsewhere)).is_err());
    let scope = second.add_scope(Scope::Pinned(Known::Cgroup(path))).expect("the one that is pinned");
    let mut items = Vec::new();
    second.drain(|item| items.push(item)).expect("a tracer that reads");
    assert!(matches!(items.pop(), Some(Item::Gone(gone)) if gone.scope == scope));
    assert_words(items, 0..1);
}

#[test]
fn root_a_pin_that_is_in_use_is_left_alone() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    let mut first = tracer(builder(&fs), &namespace);
    assert!(refusal(builder(&fs).open()).contains("another exectrace"));
    assert!(unpin(&fs.folder()).expect_err("in use").to_string().contains("another exectrace"));
    run(&namespace, 0..2);
    assert_words(drain(&mut first), 0..2);
}

#[test]
fn root_a_folder_that_is_no_place_for_a_pin_is_refused_and_left_as_it_is() {
    let fs = BpfFs::mount();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let why = refusal(Tracer::builder().pin(elsewhere.path().join("pin")).open());
    assert!(why.contains("mount -t bpf"), "{why}");
    let why = refusal(Tracer::builder().pin("/nowhere/at/all").open());
    assert!(why.contains("/nowhere/at/all"), "{why}");
    // Somebody else's folder.
    std::fs::create_dir(fs.folder()).expect("a folder");
    let theirs = fs.folder().join("theirs");
    std::fs::create_dir(&theirs).expect("a folder");
    let why = refusal(builder(&fs).open());
    assert!(why.contains("theirs"), "{why}");
    assert!(theirs.exists());
    std::fs::remove_dir(&theirs).expect("ours");
    assert!(unpin(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn root_a_pin_that_was_made_only_in_part_is_made_anew() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    std::fs::remove_file(fs.folder().join("map_journal")).expect("a pinned map");
    let mut anew = tracer(builder(&fs), &namespace);
    assert_eq!(anew.known_scopes(), 0);
    run(&namespace, 0..2);
    assert_words(drain(&mut anew), 0..2);
}

#[test]
fn root_a_scope_without_a_name_can_be_taken_over_but_not_made() {
    let (fs, namespace) = (BpfFs::mount(), Namespace::new());
    drop(tracer(builder(&fs), &namespace));
    run(&namespace, 0..2);
    let mut second = builder(&fs).open().expect("a tracer");
    second.add_scope(Scope::Pinned(Known::Any)).expect("a known scope");
    second.add_scope(Scope::Pinned(Known::Any)).expect_err("no second one");
    run(&namespace, 2..4);
    assert_words(drain(&mut second), 0..4);
}

/// A tree's members are in the kernel's table, which nobody fills again.
#[test]
fn root_a_tree_is_taken_over_with_its_members() {
    let fs = BpfFs::mount();
    let mut shell = Shell::start("exec sh", spawn);
    let tree = |shell: &Shell| Scope::Tree(Tree::of_process(Path::new("/proc"), shell.pid()).expect("ours"));
    let mut first = builder(&fs).open().expect("a tracer");
    first.add_scope(tree(&shell)).expect("a scope");
    shell.tell(&format!("{} 0", target()));
    drop(first);
    shell.tell(&format!("{} 1", target()));
    let mut second = builder(&fs).open().expect("a tracer");
    second.add_scope(tree(&shell)).expect("a scope");
    shell.tell(&format!("{} 2", target()));
    assert_words(drain(&mut second), 0..3);
}

/// After the namespace is gone, a pinned program must not take its number's next owner for it.
#[test]
fn root_a_number_that_was_given_away_again_is_not_traced() {
    let fs = BpfFs::mount();
    let namespace = Namespace::new();
    let number = namespace.number();
    let first = tracer(builder(&fs), &namespace);
    run(&namespace, 0..1);
    drop(first);
    drop(namespace);
    // Numbers are handed out again, the lowest first.
    let mut others = Vec::new();
    let heir = loop {
        let other = Namespace::new();
        if other.number() == number {
            break other;
        }
        others.push(other);
        if others.len() == 64 {
            return skip("the kernel does not give the number away again");
        }
    };
    run(&heir, 1..5);
    let mut second = builder(&fs).open().expect("a tracer");
    second.add_scope(Scope::Pinned(Known::Any)).expect("a known scope");
    assert_words(drain(&mut second), 0..1);
}
