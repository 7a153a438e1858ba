//! What is left out is counted, by the rule that left it out.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{LeftOut, Partial, Rule, Scope, ScopeStats, Tracer, TracerBuilder};

use crate::support::*;

#[track_caller]
fn assert_sum(stats: &ScopeStats) {
    assert_eq!(stats.seen, stats.sent + stats.excluded_rule + stats.lost_ring_full, "{stats:?} does not add up");
}

fn of_user(uid: u32) -> Rule {
    Rule { uid: Some(uid), ..Rule::default() }
}

fn keep(rule: Rule) -> Rule {
    Rule { keep: true, ..rule }
}

fn workspace(rules: impl IntoIterator<Item = Rule>) -> Workspace {
    Workspace::with(rules.into_iter().fold(Tracer::builder(), TracerBuilder::rule))
}

impl Workspace {
    /// Runs each as a user, and returns which of them came: their path and user.
    #[track_caller]
    fn kept(&mut self, execs: &[(&str, u32)]) -> Vec<(String, u32)> {
        for (path, uid) in execs {
            self.namespace.run(Command::new(path).uid(*uid));
        }
        let kept = self.settle().iter().map(|event| (show(&event.filename), event.uid)).collect();
        assert_sum(&self.tracer.stats(self.scope).expect("stats"));
        kept
    }

    /// How many execs each rule that leaves out left out.
    #[track_caller]
    fn left_out(&self) -> Vec<(usize, u64)> {
        let rules = self.tracer.left_out().expect("counters");
        let sum: u64 = rules.iter().map(|rule| rule.execs).sum();
        assert_eq!(self.tracer.stats(self.scope).expect("stats").excluded_rule, sum, "{rules:?}");
        rules.iter().map(|LeftOut { rule, execs, .. }| (*rule, *execs)).collect()
    }
}

fn owned(execs: &[(&str, u32)]) -> Vec<(String, u32)> {
    execs.iter().map(|(path, uid)| ((*path).to_owned(), *uid)).collect()
}

#[test]
fn root_a_user_s_execs_that_are_left_out_are_counted_and_not_sent() {
    let folder = public_folder();
    let target = copy(target(), folder.path(), "target");
    let mut workspace = workspace([of_user(12_345), of_user(12_346)]);
    for (uid, word) in [(12_345, "a"), (12_347, "b"), (12_346, "c"), (0, "d"), (12_345, "e")] {
        workspace.namespace.run(Command::new(&target).uid(uid).arg(word));
    }
    let events = workspace.settle();
    assert_calls(&events, &["b", "d"].map(|word| call(&target, [target.as_str(), word])));
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    assert_eq!((stats.seen, stats.sent, stats.excluded_rule), (6, 3, 3));
    assert_sum(&stats);
    assert_eq!(workspace.left_out(), [(0, 2), (1, 1)]);
}

#[test]
fn root_the_user_that_counts_is_the_real_one() {
    let folder = public_folder();
    let copy = format!("{}/copy", real(folder.path()));
    let mut workspace = workspace([of_user(12_345)]);
    if let Some(run) = workspace.run_if_supported(command("setuid").args([target(), "12345", &copy])) {
        assert_calls(&run.events, &[]);
        assert_eq!(workspace.left_out(), [(0, 1)]);
    }
}

#[test]
fn root_execs_below_a_path_that_is_left_out_are_counted_and_not_sent() {
    let folder = public_folder();
    let place = real(folder.path());
    for name in ["in", "in/deep", "inside"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    let at = |name: &str| copy(target(), &folder.path().join(name), "target");
    let [outer, deep, beside] = ["in", "in/deep", "inside"].map(at);
    std::os::unix::fs::symlink(&outer, folder.path().join("link")).expect("a link");
    let link = format!("{place}/link");
    let mut workspace = workspace([prefix(format!("{place}/in/"))]);
    for path in [&outer, &deep, &beside, &link] {
        workspace.namespace.run(Command::new(path).arg("x"));
    }
    assert_calls(&workspace.settle(), &[call(&beside, [beside.as_str(), "x"])]);
    let relative = workspace.run(shell("./target x; ../inside/target x; :", &[]).current_dir(format!("{place}/in")));
    assert_calls(&relative.events, &[call("../inside/target", ["../inside/target", "x"])]);
    let stats = workspace.tracer.stats(workspace.scope).expect("stats");
    // The four by path, the sentinel, then the shell, two targets and a sentinel.
    assert_eq!((stats.seen, stats.sent, stats.excluded_rule), (9, 5, 4));
    assert_sum(&stats);
}

#[test]
fn root_a_rule_holds_where_all_of_its_conditions_do() {
    let folder = public_folder();
    let [a, b] = ["a", "b"].map(|name| copy(target(), folder.path(), name));
    let mut workspace = workspace([Rule { uid: Some(12_345), ..exact(&a) }]);
    let kept = workspace.kept(&[(&a, 12_345), (&a, 0), (&b, 12_345), (&b, 0)]);
    assert_eq!(kept, owned(&[(&a, 0), (&b, 12_345), (&b, 0)]));
    assert_eq!(workspace.left_out(), [(0, 1)]);
}

#[test]
fn root_a_rule_can_ask_for_a_terminal_or_for_none() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip("no script(1) of util-linux");
    }
    let folder = public_folder();
    let target = copy(target(), folder.path(), "target");
    for (asked, left) in [(Some(true), "with"), (Some(false), "without"), (None, "both")] {
        let mut workspace = workspace([Rule { tty: asked, ..exact(&target) }]);
        let mut with = Command::new("script");
        with.args(["-qec", &format!("{target} with"), "/dev/null"]);
        let mut without = Command::new(&target);
        // SAFETY: setsid(2) alone is called between fork and exec.
        unsafe {
            without.arg("without").pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
        }
        workspace.namespace.run(&mut with);
        workspace.namespace.run(&mut without);
        let events = workspace.settle();
        let came: Vec<String> = events.iter().map(word).filter(|word| word.starts_with("with")).collect();
        let due: Vec<&str> = ["with", "without"].into_iter().filter(|word| left != "both" && *word != left).collect();
        assert_eq!(came, due, "{asked:?}");
        assert_eq!(workspace.left_out(), [(0, 2 - due.len() as u64)]);
    }
}

/// With and without a path on either side, in either order: what is known without one must not decide too early.
#[test]
fn root_a_rule_that_keeps_wins_over_all_that_leave_out() {
    let folder = public_folder();
    let [a, b] = ["a", "b"].map(|name| copy(target(), folder.path(), name));
    let all = prefix("/");
    let execs = [(&*a, 12_345), (&*a, 0), (&*b, 12_345), (&*b, 0)];
    let run = |rules: [Rule; 2]| {
        let reversed = [rules[1].clone(), rules[0].clone()];
        let [kept, again] = [rules, reversed].map(|rules| {
            // What tells that all has come is kept, too.
            workspace(rules.into_iter().chain([keep(exact(target()))])).kept(&execs)
        });
        assert_eq!(kept, again, "the order does not matter");
        kept
    };
    assert_eq!(run([all.clone(), keep(exact(&a))]), owned(&[(&a, 12_345), (&a, 0)]));
    assert_eq!(run([all.clone(), keep(of_user(0))]), owned(&[(&a, 0), (&b, 0)]));
    assert_eq!(run([Rule::default(), keep(exact(&a))]), owned(&[(&a, 12_345), (&a, 0)]));
    assert_eq!(run([of_user(12_345), keep(exact(&a))]), owned(&[(&a, 12_345), (&a, 0), (&b, 0)]));
    assert_eq!(run([of_user(12_345), keep(of_user(12_345))]), owned(&execs));
    assert_eq!(run([exact(&a), keep(Rule { uid: Some(0), ..exact(&a) })]), owned(&[(&a, 0), (&b, 12_345), (&b, 0)]));
}

#[test]
fn root_an_exec_counts_for_the_first_rule_that_leaves_it_out() {
    let folder = public_folder();
    let place = real(folder.path());
    std::fs::create_dir(folder.path().join("deep")).expect("a folder");
    let [shallow, deep] = ["", "deep"].map(|name| copy(target(), &folder.path().join(name), "target"));
    let [all, inner] = [format!("{place}/"), format!("{place}/deep/")].map(prefix);
    let execs = [(&*shallow, 0), (&*deep, 0), (&*deep, 0), (&*deep, 12_345), (&*shallow, 12_345)];
    let left_out = |rules: &[&Rule]| {
        let mut workspace = workspace(rules.iter().copied().cloned());
        assert_eq!(workspace.kept(&execs), []);
        workspace.left_out().into_iter().map(|(_, execs)| execs).collect::<Vec<_>>()
    };
    let (user, other) = (of_user(12_345), of_user(12_346));
    assert_eq!(left_out(&[&all, &inner, &user, &other]), [5, 0, 0, 0]);
    assert_eq!(left_out(&[&inner, &all, &user]), [3, 2, 0]);
    assert_eq!(left_out(&[&user, &inner, &all]), [2, 2, 1]);
    assert_eq!(left_out(&[&inner, &user, &all]), [3, 1, 1]);
    assert_eq!(left_out(&[&other, &inner, &all, &inner]), [0, 3, 2, 0]);
}

#[test]
fn root_rules_that_keep_have_a_place_and_no_count() {
    let folder = public_folder();
    let [a, b] = ["a", "b"].map(|name| copy(target(), folder.path(), name));
    let mut workspace = workspace([keep(exact(&a)), exact(&a), keep(of_user(7)), exact(&b)]);
    assert_eq!(workspace.kept(&[(&a, 0), (&b, 0), (&b, 7)]), owned(&[(&a, 0), (&b, 7)]));
    assert_eq!(workspace.left_out(), [(1, 0), (3, 1)]);
}

#[test]
fn root_64_rules_hold_at_once_and_each_is_counted() {
    let folder = public_folder();
    let target = copy(target(), folder.path(), "target");
    let files: Vec<String> = (0..32).map(|number| copy(&target, folder.path(), &format!("file-{number:02}"))).collect();
    // Rules of users and of files take turns, so that each half of the bits has both.
    let rules = (0..64).map(|bit| match bit % 2 {
        0 => of_user(20_000 + bit),
        _ => exact(&files[bit as usize / 2]),
    });
    let mut workspace = workspace(rules);
    let mut execs: Vec<(&str, u32)> = (0..64).step_by(2).map(|bit| (&*target, 20_000 + bit)).collect();
    execs.extend(files.iter().map(|file| (&**file, 0)));
    execs.push((&target, 20_001));
    assert_eq!(workspace.kept(&execs), owned(&[(&target, 20_001)]));
    assert_eq!(workspace.left_out(), (0..64).map(|rule| (rule, 1)).collect::<Vec<_>>());
}

#[test]
fn root_a_whole_path_and_a_beginning_of_one_are_told_apart() {
    let folder = public_folder();
    let place = real(folder.path());
    let [b, bc, c] = ["b", "bc", "c"].map(|name| copy(target(), folder.path(), name));
    std::fs::create_dir(folder.path().join("d")).expect("a folder");
    let below = copy(target(), &folder.path().join("d"), "c");
    let execs = [(&*b, 0), (&*bc, 0), (&*c, 0), (&*below, 0)];
    let mut workspace = workspace([exact(&b), exact(format!("{place}/d")), exact(format!("{place}/"))]);
    assert_eq!(workspace.kept(&execs), owned(&execs[1..]));
    assert_eq!(workspace.left_out(), [(0, 1), (1, 0), (2, 0)]);
}

#[test]
fn root_beginnings_and_whole_paths_that_lie_within_one_another_all_hold() {
    let folder = public_folder();
    let place = real(folder.path());
    let [b, bc] = ["b", "bc"].map(|name| copy(target(), folder.path(), name));
    let execs = [(&*b, 0), (&*bc, 0), (&*b, 1), (&*bc, 1), (&*b, 2), (&*bc, 2)];
    let of = |uid, rule| Rule { uid: Some(uid), ..rule };
    // Only the longest row is found, and it must know of the shorter ones.
    let mut workspace =
        workspace([of(2, prefix(&place)), of(1, prefix(&b)), of(0, exact(&b)), keep(of(2, exact(&bc)))]);
    assert_eq!(workspace.kept(&execs), owned(&[(&bc, 0), (&bc, 2)]));
    assert_eq!(workspace.left_out(), [(0, 1), (1, 2), (2, 1)]);
}

#[test]
fn root_what_the_tracer_starts_to_see_that_it_sees_is_not_left_out() {
    let mut tracer = Tracer::builder().rule(of_user(0)).rule(prefix("/")).open().expect("a tracer");
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
    let execs = [(&*a, 0), (&*ab, 0), (&*b, 0)];
    assert_eq!(workspace([prefix(format!("{place}/a"))]).kept(&execs), owned(&[(&b, 0)]));
    assert_eq!(workspace([prefix(&ab)]).kept(&execs), owned(&[(&a, 0), (&b, 0)]));
}

#[test]
fn root_the_longest_prefix_is_one_of_256_bytes_and_the_longest_path_one_of_255() {
    let folder = public_folder();
    let place = real(folder.path());
    let of_len = |len: usize, last: &str| {
        let name = "n".repeat(len - 1 - place.len() - last.len()) + last;
        copy(target(), folder.path(), &name)
    };
    let [shorter, path, longer] = [255, 256, 257].map(|len| of_len(len, ""));
    let other = of_len(256, "o");
    assert_eq!((shorter.len(), path.len(), longer.len(), other.len()), (255, 256, 257, 256));
    let execs = [(&*shorter, 0), (&*path, 0), (&*longer, 0), (&*other, 0)];
    assert_eq!(workspace([prefix(&path)]).kept(&execs), owned(&[(&shorter, 0), (&other, 0)]));
    assert_eq!(workspace([exact(&shorter)]).kept(&execs), owned(&execs[1..]));
}

#[test]
fn root_a_path_of_which_the_front_is_missing_falls_under_no_rule_of_paths() {
    let mut workspace = workspace([prefix("/"), keep(exact(target()))]);
    // It runs a copy of the target in a folder 150 deep.
    let events = no_loss(workspace.run_for_items(command("deep_path").arg(target())).2);
    assert_eq!(events.iter().map(|event| event.partial).collect::<Vec<_>>(), [Partial::EXE_CUT]);
    assert_eq!(workspace.left_out(), [(0, 1)], "what the copy was made by");
}

/// A hole that the documentation names: who can mount decides what lies at a path.
#[test]
fn root_what_is_mounted_over_a_path_that_is_left_out_is_left_out_and_counted() {
    let folder = public_folder();
    let excluded = program(folder.path(), "excluded", b"");
    let mut workspace = workspace([exact(&excluded)]);
    let script = "mount --bind \"$1\" \"$2\" && \"$2\" hidden";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", target(), &excluded]);
    let run = workspace.run(&mut command);
    assert!(run.events.iter().all(|event| event.filename != excluded.as_bytes()), "{:?}", calls(&run.events));
    assert_eq!(workspace.left_out(), [(0, 1)]);
    assert_sum(&workspace.tracer.stats(workspace.scope).expect("stats"));
}
