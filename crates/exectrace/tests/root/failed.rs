//! Attempts to exec that failed, by each hook that the machine has.

use std::os::unix::process::CommandExt;
use std::process::Command;

use exectrace::{Event, Failed, FailedExec, FailedHook, Item, Partial, Rule, RulePath, Tracer, TracerBuilder, What};

use crate::support::*;

/// The same test by each hook that there is.
fn by_each_hook(failed: Failed, test: impl Fn(&mut Workspace, FailedHook)) {
    let mut tested = 0;
    for hook in [FailedHook::Fexit, FailedHook::Tracepoint] {
        match hook.check() {
            Ok(()) => {
                test(&mut Workspace::with(Tracer::builder().failed(failed, hook)), hook);
                tested += 1;
            }
            Err(why) => skip(format_args!("{hook:?}: {why}")),
        }
    }
    println!("by {tested} hooks");
}

fn parted(items: Vec<Item>) -> (Vec<Event>, Vec<FailedExec>) {
    let (mut execs, mut failed) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Exec(event) => execs.push(*event),
            Item::Failed(attempt) => failed.push(*attempt),
            other => panic!("{other:?}"),
        }
    }
    (execs, failed)
}

const ENOENT: u32 = 2;
const E2BIG: u32 = 7;
const EACCES: u32 = 13;
const EFAULT: u32 = 14;
const ENOTDIR: u32 = 20;

#[test]
fn root_each_failure_is_told_with_its_error_and_what_was_tried() {
    by_each_hook(Failed::All, |workspace, _| {
        workspace.namespace.run(&mut command("failed"));
        let (execs, failed) = parted(drain(&mut workspace.tracer));
        let errors: Vec<u32> = failed.iter().map(|failed| failed.errno).collect();
        assert_eq!(errors, [ENOENT, EACCES, EACCES, ENOTDIR, E2BIG, EFAULT]);
        let own = &execs[0];
        for FailedExec { attempt, .. } in &failed {
            assert_eq!((attempt.pid, attempt.scope, attempt.uid), (own.pid, workspace.scope, 0));
            assert_eq!(attempt.parent_id, Some(own.id), "who tried is known");
            assert_eq!((attempt.comm.as_slice(), &attempt.cwd), (b"failed".as_slice(), &own.cwd));
        }
        for failed in &failed[..4] {
            assert_eq!(argv(&failed.attempt), [b"failed"]);
            assert_eq!(failed.attempt.partial, Partial::empty());
        }
        assert!(failed[0].attempt.filename.ends_with(b"/missing"), "{}", show(&failed[0].attempt.filename));
        assert!(failed[1].attempt.filename.ends_with(b"/plain"));
        let too_long = &failed[4].attempt;
        assert_eq!(too_long.filename, b"/proc/self/exe");
        assert_eq!(too_long.partial, Partial::ARGS_READ_LIMIT);
        assert_eq!(argv(too_long)[1], vec![b'x'; 4095]);
        assert_eq!((failed[5].attempt.partial, failed[5].attempt.argv.count), (Partial::ARGS_FAULT, 0));
    });
}

#[test]
fn root_files_that_are_not_there_are_counted_and_not_told_unless_asked_for() {
    by_each_hook(Failed::Notable, |workspace, _| {
        workspace.namespace.run(&mut command("failed"));
        let (_, failed) = parted(drain(&mut workspace.tracer));
        let errors: Vec<u32> = failed.iter().map(|failed| failed.errno).collect();
        assert_eq!(errors, [EACCES, EACCES, ENOTDIR, E2BIG, EFAULT]);
        let stats = workspace.tracer.stats_of(workspace.scope, What::Failed).expect("stats");
        assert_eq!((stats.seen, stats.sent, stats.excluded_errno, stats.lost_ring_full), (6, 5, 1, 0));
    });
}

#[test]
fn root_what_succeeds_is_no_failure_and_what_fails_no_exec() {
    by_each_hook(Failed::All, |workspace, _| {
        for fixture in ["execveat", "vfork", "thread_exec", "fexecve", "bytes"] {
            let (_, _, items) = workspace.run_for_items(command(fixture).arg(target()));
            assert!(parted(items).1.is_empty(), "{fixture}");
        }
        workspace.namespace.run(&mut command("failed"));
        assert_eq!(parted(drain(&mut workspace.tracer)).0.len(), 1);
    });
}

#[test]
fn root_asking_whether_an_exec_would_be_allowed_is_no_attempt() {
    by_each_hook(Failed::All, |workspace, _| {
        let (_, stdout, items) = workspace.run_for_items(command("at_execve_check").arg(target()));
        if stdout.is_some() {
            assert!(parted(items).1.is_empty());
        }
    });
}

#[test]
fn root_a_search_along_the_path_shows_each_place_that_was_tried() {
    by_each_hook(Failed::All, |workspace, _| {
        let script = "PATH=/nowhere:/nowhere/else; exec nothing a 'b c'";
        let mut child = workspace.namespace.spawn(&mut shell(script, &[]));
        wait(&mut child);
        let (_, failed) = parted(drain(&mut workspace.tracer));
        let tried: Vec<_> = failed.iter().map(|failed| show(&failed.attempt.filename)).collect();
        assert_eq!(tried, ["/nowhere/nothing", "/nowhere/else/nothing"]);
        assert!(failed.iter().all(|failed| argv(&failed.attempt) == [&b"nothing"[..], b"a", b"b c"]));
    });
}

#[test]
fn root_an_attempt_that_a_rule_of_users_or_terminals_leaves_out_is_counted() {
    for hook in [FailedHook::Fexit, FailedHook::Tracepoint] {
        if hook.check().is_err() {
            continue;
        }
        // Of an attempt no path is known, so what asks for one neither leaves it out nor keeps it.
        let any_path = Some(RulePath::Prefix(b"/".to_vec()));
        let rules = [
            Rule { path: any_path.clone(), ..Rule::default() },
            Rule { path: any_path, keep: true, ..Rule::default() },
            Rule { uid: Some(12_345), ..Rule::default() },
            Rule { uid: Some(12_346), ..Rule::default() },
            Rule { uid: Some(12_346), keep: true, ..Rule::default() },
        ];
        let builder = Tracer::builder().failed(Failed::All, hook);
        let mut workspace = Workspace::with(rules.into_iter().fold(builder, TracerBuilder::rule));
        for uid in [12_345, 12_346, 12_347] {
            let mut child = workspace.namespace.spawn(shell("exec /nowhere/at/all", &[]).uid(uid));
            wait(&mut child);
        }
        let failed = parted(drain(&mut workspace.tracer)).1;
        assert_eq!(failed.iter().map(|failed| failed.attempt.uid).collect::<Vec<_>>(), [12_346, 12_347]);
        let stats = workspace.tracer.stats_of(workspace.scope, What::Failed).expect("stats");
        assert_eq!((stats.seen, stats.excluded_rule, stats.sent), (3, 1, 2));
        let left_out = workspace.tracer.left_out().expect("counters");
        assert_eq!(left_out.iter().map(|rule| (rule.rule, rule.failed)).collect::<Vec<_>>(), [(0, 0), (2, 1), (3, 0)]);
    }
}

#[test]
fn root_many_arguments_are_told_up_to_a_limit() {
    by_each_hook(Failed::All, |workspace, _| {
        let many: Vec<String> = (0..200).map(|number| format!("argument {number}")).collect();
        let words: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut child = workspace.namespace.spawn(&mut shell("exec /nowhere/at/all \"$@\"", &words));
        wait(&mut child);
        let (_, failed) = parted(drain(&mut workspace.tracer));
        let attempt = &failed[0].attempt;
        assert_eq!((attempt.argv.count, attempt.partial), (128, Partial::ARGS_READ_LIMIT));
        assert_eq!(argv(attempt)[1], b"argument 0");
    });
}

#[test]
fn root_a_32_bit_call_is_told_where_the_hook_sees_it() {
    if FailedHook::Fexit.check().is_err() {
        skip("only fexit sees the calls of 32-bit programs");
        return;
    }
    let mut workspace = Workspace::with(Tracer::builder().failed(Failed::All, FailedHook::Fexit));
    let (_, stdout, items) = workspace.run_for_items(command("int80").args(["/nowhere/at/all", "fails"]));
    if stdout.is_some() {
        let (_, failed) = parted(items);
        let [failed] = &failed[..] else { panic!("one attempt, not {failed:?}") };
        assert_eq!((failed.errno, show(&failed.attempt.filename)), (ENOENT, "/nowhere/at/all".to_owned()));
        assert_eq!(argv(&failed.attempt), [&b"/nowhere/at/all"[..], b"int80"]);
    }
}

#[test]
fn root_a_storm_of_failures_is_told_or_counted_and_takes_no_exec_s_room() {
    by_each_hook(Failed::All, |_, hook| {
        let builder = Tracer::builder().failed(Failed::All, hook).ring_bytes(128 << 10);
        let mut workspace = Workspace::with(builder);
        let script = "i=0; while [ $i -lt 1000 ]; do (exec /nowhere/at/all $i) 2>/dev/null; i=$((i + 1)); done; exit 0";
        workspace.namespace.run(&mut shell(script, &[]));
        workspace.namespace.run(Command::new(target()).arg("after"));
        let stats = workspace.tracer.stats_of(workspace.scope, What::Failed).expect("stats");
        let items = drain(&mut workspace.tracer);
        let told = items.iter().filter(|item| matches!(item, Item::Failed(_))).count() as u64;
        let lost: u64 = items
            .iter()
            .map(|item| match item {
                Item::Lost(loss) if loss.what == What::Failed => loss.count,
                Item::Lost(loss) => panic!("{loss:?}"),
                _ => 0,
            })
            .sum();
        assert_eq!((stats.seen, told + lost), (1000, 1000));
        assert!(lost > 100, "{lost}");
        let last = items.iter().rev().find_map(|item| match item {
            Item::Exec(event) => Some(word(event)),
            _ => None,
        });
        assert_eq!(last.as_deref(), Some("after"));
    });
}
