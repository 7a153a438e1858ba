//! What is left out is counted.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Exclusion, LeftOut, Scope, ScopeStats, Tracer};

use crate::support::*;

#[track_caller]
fn assert_sum(stats: &ScopeStats) {
    assert_eq!(
        stats.seen,
        stats.sent + stats.excluded_uid + stats.excluded_path + stats.lost_ring_full,
        "{stats:?} does not add up"
    );
}

#[test]
fn root_an_excluded_user_s_execs_are_counted_and_not_sent() {
    let folder = public_folder();
    let target = copy(target(), folder.path(), "target");
    let mut workspace = Workspace::with(Tracer::builder().exclude_uid(12_345).exclude_uid(12_346));
    for (uid, word) in [(12_345, "a"), (12_347, "b"), (12_346, "c"), (0, "d"), (12_345, "e")] {
        workspace.namespace.run(Command::new(&target).uid(uid).arg(word));
    }
    let events = workspace.settle();
    assert_calls(&events, &["b", "d"].map(|word| call(&target, [target.as_str(), word])));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent, stats.excluded_uid, stats.excluded_path), (6, 3, 3, 0));
    assert_sum(&stats);
}

#[test]
fn root_the_user_that_counts_is_the_real_one() {
    let folder = public_folder();
    let copy = format!("{}/copy", real(folder.path()));
    let mut workspace = Workspace::with(Tracer::builder().exclude_uid(12_345));
    if let Some(run) = workspace.run_if_supported(command("setuid").args([target(), "12345", &copy])) {
        assert_calls(&run.events, &[]);
        assert_eq!(workspace.tracer.stats(workspace.scope).expect("stats").excluded_uid, 1);
    }
}

#[test]
fn root_execs_below_an_excluded_path_are_counted_and_not_sent() {
    let folder = public_folder();
    let place = real(folder.path());
    for name in ["in", "in/deep", "inside"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let at = |name: &str| copy(target(), &folder.path().join(name), "target");
    let [outer, deep, beside] = ["in", "in/deep", "inside"].map(at);
    std::os::unix::fs::symlink(&outer, folder.path().join("link")).expect("a link");
    let link = format!("{place}/link");
    let mut workspace = Workspace::with(Tracer::builder().exclude_path(format!("{place}/in/")));
    for path in [&outer, &deep, &beside, &link] {
        workspace.namespace.run(Command::new(path).arg("x"));
    }
    assert_calls(&workspace.settle(), &[call(&beside, [beside.as_str(), "x"])]);
    let relative = workspace.run(shell("./target x; ../inside/target x; :", &[]).current_dir(format!("{place}/in")));
    assert_calls(&relative.events, &[call("../inside/target", ["../inside/target", "x"])]);
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    // The four by path, the sentinel, then the shell, two targets and a sentinel.
    assert_eq!((stats.seen, stats.sent, stats.excluded_uid, stats.excluded_path), (9, 5, 0, 4));
    assert_sum(&stats);
}

/// Once, for the most particular one.
#[test]
fn root_each_exec_counts_for_the_rule_that_left_it_out() {
    let folder = public_folder();
    let place = real(folder.path());
    std::fs::create_dir(folder.path().join("deep")).expect("a folder");
    let [shallow, deep] = ["", "deep"].map(|name| copy(target(), &folder.path().join(name), "target"));
    let [all, inner] = [format!("{place}/"), format!("{place}/deep/")];
    let builder = Tracer::builder().exclude_path(&all).exclude_path(&inner).exclude_uid(12_345).exclude_uid(12_346);
    let mut workspace = Workspace::with(builder);
    for (path, uid, times) in [(&shallow, 0, 3), (&deep, 0, 2), (&deep, 12_345, 1)] {
        for _ in 0..times {
            workspace.namespace.run(Command::new(path).uid(uid));
        }
    }
    assert_calls(&workspace.settle(), &[]);
    let left_out = |by, execs| LeftOut { by, execs, failed: 0 };
    let [all, inner] = [all, inner].map(|path| Exclusion::Path(path.into()));
    let rules = [left_out(all, 3), left_out(inner, 2), left_out(Exclusion::Uid(12_345), 1)];
    let due: Vec<_> = rules.into_iter().chain([left_out(Exclusion::Uid(12_346), 0)]).collect();
    assert_eq!(workspace.tracer.left_out().expect("counters"), due);
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.excluded_path, stats.excluded_uid), (5, 1));
    assert_sum(&stats);
}

#[test]
fn root_what_the_tracer_starts_to_see_that_it_sees_is_not_left_out() {
    let mut tracer = Tracer::builder().exclude_uid(0).exclude_path("/").open().expect("a tracer");
    tracer.add_scope(Scope::Children).expect("a scope");
    wait(&mut spawn(Command::new(target()).arg("a probe")));
    assert_calls(&no_loss(drain(&mut tracer)), &[call(target(), [target(), "a probe"])]);
    assert!(tracer.left_out().expect("counters").iter().all(|rule| rule.execs == 0));
}

#[test]
fn root_a_prefix_ends_where_it_is_told_to() {
    let folder = public_folder();
    let place = real(folder.path());
    let [a, ab, b] = ["a", "ab", "b"].map(|name| copy(target(), folder.path(), name));
    let mut workspace = Workspace::with(Tracer::builder().exclude_path(format!("{place}/a")));
    for path in [&a, &ab, &b] {
        workspace.namespace.run(&mut Command::new(path));
    }
    assert_calls(&workspace.settle(), &[call(&b, [&b])]);
    let mut workspace = Workspace::with(Tracer::builder().exclude_path(&ab));
    for path in [&a, &ab, &b] {
        workspace.namespace.run(&mut Command::new(path));
    }
    assert_calls(&workspace.settle(), &[call(&a, [&a]), call(&b, [&b])]);
}

#[test]
fn root_the_longest_prefix_is_one_of_256_bytes() {
    let folder = public_folder();
    let place = real(folder.path());
    let name = "n".repeat(255 - place.len());
    let path = copy(target(), folder.path(), &name);
    assert_eq!(path.len(), 256);
    let longer = copy(target(), folder.path(), &(name.clone() + "n"));
    let other = copy(target(), folder.path(), &(name[1..].to_owned() + "o"));
    let mut workspace = Workspace::with(Tracer::builder().exclude_path(&path));
    for path in [&path, &longer, &other] {
        workspace.namespace.run(&mut Command::new(path));
    }
    assert_calls(&workspace.settle(), &[call(&other, [&other])]);
}

/// A hole that the documentation names: who can mount decides what lies at a path.
#[test]
fn root_what_is_mounted_over_an_excluded_path_is_left_out_and_counted() {
    let folder = public_folder();
    let excluded = program(folder.path(), "excluded", b"");
    let mut workspace = Workspace::with(Tracer::builder().exclude_path(&excluded));
    let script = "mount --bind \"$1\" \"$2\" && \"$2\" hidden";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", target(), &excluded]);
    let run = workspace.run(&mut command);
    assert!(run.events.iter().all(|event| event.filename != excluded.as_bytes()), "{:?}", calls(&run.events));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!(stats.excluded_path, 1);
    assert_sum(&stats);
}
