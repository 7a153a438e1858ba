use std::time::Duration;

use exectrace::{Args, Event, What};
use sha2::{Digest, Sha256};

use super::build::Build;
use super::made::{EACCES, ENOENT, World, args, on};
use super::{LINE, by_rules, folding, folding_by, only, rare};
use crate::{Item, Of, Rare, Verdict};

#[test]
fn each_has_a_line_until_there_are_more_than_so_many() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash"]);
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    assert_eq!([&shell, &make].map(|event| sift.verdict(event)), [Verdict::Line(None); 2]);
    for at in 1..=25 {
        let verdict = sift.verdict(&world.exec(&make, "/usr/bin/cc", &["cc"]));
        assert_eq!(verdict, if at <= 10 { Verdict::Line(None) } else { Verdict::Folded(1) }, "{at}");
    }
    assert_eq!(only(sift.finish()).count, 15);
}

#[test]
fn what_a_script_executes_one_after_the_other_is_folded_below_the_root() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash", "x.sh"]);
    sift.judge(&shell);
    let verdicts: Vec<_> = (0..12).map(|_| sift.verdict(&world.exec(&shell, "/bin/ls", &["ls"]))).collect();
    assert_eq!(verdicts[9..], [Verdict::Line(None), Verdict::Folded(1), Verdict::Folded(1)]);
    let rollup = only(sift.finish());
    assert_eq!((rollup.root, &*rollup.root_exe), (shell.id, &b"/bin/bash"[..]));
}

#[test]
fn what_is_deep_below_counts_for_the_same_job() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash"]);
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    let sub = world.exec(&make, "/usr/bin/make", &["make", "-C", "x"]);
    for event in [&shell, &make, &sub] {
        sift.judge(event);
    }
    for _ in 0..9 {
        let sh = world.exec(&sub, "/bin/sh", &["sh", "-c", "x"]);
        assert_eq!(sift.verdict(&sh), Verdict::Line(None));
    }
    assert_eq!(sift.verdict(&world.exec(&sub, "/bin/sh", &["sh", "-c", "x"])), Verdict::Folded(1));
    assert_eq!(only(sift.finish()).root, make.id);
}

#[test]
fn it_is_folded_by_root_and_file() {
    let mut build = Build::busy();
    build.seen("/usr/bin/as", &["as"]);
    let second = build.world.exec(&build.shell, "/usr/bin/make", &["make"]);
    build.sift.judge(&second);
    for _ in 0..10 {
        let cc = build.world.exec(&second, "/usr/bin/cc", &["cc"]);
        build.sift.judge(&cc);
    }
    build.sift.finish();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        for make in [build.make.clone(), second.clone()] {
            for path in ["/usr/bin/cc", "/usr/bin/as"] {
                let event = build.world.exec(&make, path, &["x"]);
                numbers.extend(build.sift.verdict(&event).number());
            }
        }
    }
    assert_eq!(numbers.len(), 12);
    assert_eq!(numbers[..4], numbers[4..8]);
    let rollups = build.sift.finish();
    assert_eq!(rollups.len(), 4);
    let first = &rollups[0];
    assert_eq!(
        (first.root, &first.of, first.uid),
        (build.make.id, &Of::Exe(b"/usr/bin/cc"[..].into()), build.make.uid)
    );
    assert!(rollups.iter().all(|rollup| rollup.count == 3 && rollup.session.root == Some(build.shell.id)));
}

#[test]
fn a_roll_up_ends_with_its_window_and_what_follows_begins_another() {
    let mut build = Build::busy();
    let first = build.cc().number().expect("busy");
    let since = build.world.now;
    assert!(build.sift.rolled_up(since + Duration::from_secs(58)).is_empty());
    let ended = only(build.sift.rolled_up(since + Duration::from_secs(61)));
    assert_eq!((ended.number, ended.times[1]), (first, since));
    assert!(ended.times[0] < since);
    build.world.wait(61);
    assert_eq!(build.cc(), Verdict::Folded(first + 1));
    assert!(build.sift.rolled_up(build.world.now).is_empty());
    assert_eq!(only(build.sift.finish()).number, first + 1);
    assert!(build.sift.finish().is_empty(), "told once");
}

#[test]
fn no_roll_up_stands_for_more_than_its_window_however_late_it_is_asked_for() {
    let mut build = Build::busy();
    let first = build.cc();
    build.world.wait(90);
    assert_ne!(build.cc(), first);
}

#[test]
fn a_clock_that_is_set_back_keeps_no_roll_up_open() {
    let mut build = Build::busy();
    build.world.now -= Duration::from_secs(86_400);
    build.seen("/usr/bin/as", &["as"]);
    assert!(build.sift.verdict(&build.world.exec(&build.make, "/usr/bin/as", &["as"])).number().is_some());
    assert_eq!(build.sift.rolled_up(build.world.now + Duration::from_secs(120)).len(), 2);
}

#[test]
fn one_that_goes_on_stays_busy_and_one_that_rested_begins_anew() {
    let mut build = Build::busy();
    // In the middle of a window, of which more than enough is over.
    for second in 0..270 {
        build.world.wait(1);
        assert!(build.cc().number().is_some(), "{second}");
    }
    build.world.wait(180);
    for at in 0..10 {
        assert_eq!(build.cc(), Verdict::Line(None), "{at}");
    }
    assert!(build.cc().number().is_some());
}

#[test]
fn what_was_busy_hours_ago_is_not_busy_any_more() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash"]);
    let daemon = world.exec(&shell, "/usr/bin/python3", &["python3"]);
    sift.judge(&shell);
    sift.judge(&daemon);
    for _ in 0..12 {
        sift.judge(&world.exec(&shell, "/bin/ls", &["ls"]));
    }
    world.wait(7_200);
    assert_eq!(sift.verdict(&world.exec(&daemon, "/bin/ls", &["ls"])), Verdict::Line(None));
    assert_eq!(sift.verdict_of_attempt(&world.attempt(&daemon, &["x"], ENOENT)), Verdict::Line(None));
}

#[test]
fn ends_are_folded_with_what_ended_and_failures_counted() {
    let mut build = Build::busy();
    build.sift.finish();
    let number = build.cc().number().expect("busy");
    for status in [0, 1 << 8, 9, 0x8b] {
        let cc = build.exec("/usr/bin/cc", &["cc"]);
        build.sift.judge(&cc);
        let end = build.world.end(&cc, status);
        assert_eq!(build.sift.verdict_of_end(&end), Verdict::Folded(number));
    }
    let end = build.world.end(&build.make, 0);
    assert_eq!(build.sift.verdict_of_end(&end), Verdict::Line(None), "who has a line has one for its end");
    let rollup = only(build.sift.finish());
    assert_eq!((rollup.count, rollup.ends, rollup.failures, rollup.bytes), (5, 4, 3, 9 * LINE));
    assert_eq!(rollup.counts(), [(What::Exec, 5), (What::Exit, 4)]);
}

#[test]
fn an_end_that_comes_when_the_roll_up_is_over_is_folded_alone() {
    let mut build = Build::busy();
    let cc = build.exec("/usr/bin/cc", &["cc"]);
    build.sift.judge(&cc);
    let last = only(build.sift.finish()).number;
    build.world.wait(7_200);
    let end = build.world.end(&cc, 1 << 8);
    assert_eq!(build.sift.verdict_of_end(&end), Verdict::Folded(last + 1));
    let rollup = only(build.sift.finish());
    assert_eq!((rollup.count, rollup.ends, rollup.failures, rollup.distinct), (0, 1, 1, 0));
    assert_eq!((rollup.times, rollup.root), ([end.time; 2], build.make.id));
    assert_eq!(rollup.sha256[..], Sha256::digest([])[..]);
}

#[test]
fn searches_along_a_path_are_folded_and_other_failures_are_not() {
    let mut build = Build::busy();
    build.sift.finish();
    let mut attempt = |argv: &[&str], errno| {
        let failed = build.world.attempt(&build.make, argv, errno);
        build.sift.verdict_of_attempt(&failed)
    };
    let first = attempt(&["/usr/local/bin/cc"], ENOENT);
    assert_eq!(attempt(&["/opt/bin/cc"], ENOENT), first);
    for errno in [EACCES, 7, 8, 1] {
        assert_eq!(attempt(&["/usr/bin/cc"], errno), rare(Rare::Failure), "{errno}");
    }
    let rollup = only(build.sift.finish());
    assert_eq!((Verdict::Folded(rollup.number), &rollup.of), (first, &Of::Failed(ENOENT)));
    assert_eq!(rollup.counts(), [(What::Failed, 2), (What::Exit, 0)]);
    assert_eq!((rollup.distinct, rollup.bytes), (2, 2 * LINE));
}

#[test]
fn an_attempt_below_what_is_not_busy_or_on_a_terminal_has_a_line() {
    let mut build = Build::busy();
    let second = build.world.exec(&build.shell, "/usr/bin/make", &["make"]);
    build.sift.judge(&second);
    let failed = build.world.attempt(&second, &["x"], ENOENT);
    assert_eq!(build.sift.verdict_of_attempt(&failed), Verdict::Line(None));
    let mut failed = build.world.attempt(&build.make, &["x"], ENOENT);
    failed.attempt.tty = Some(b"pts/0".to_vec());
    assert_eq!(build.sift.verdict_of_attempt(&failed), rare(Rare::Tty));
}

#[test]
fn numbers_are_counted_from_1_and_each_is_there_once() {
    let mut build = Build::busy();
    let paths: Vec<String> = (0..40).map(|at| format!("/usr/bin/tool-{at}")).collect();
    let mut told = Vec::new();
    for _ in 0..4 {
        for path in &paths {
            build.seen(path, &["tool"]);
        }
        build.world.wait(61);
        told.extend(build.sift.rolled_up(build.world.now));
    }
    told.extend(build.sift.finish());
    let numbers: Vec<u64> = told.iter().map(|rollup| rollup.number).collect();
    let expected: Vec<u64> = (1..=told.len() as u64).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.len() > 100);
}

#[test]
fn when_too_many_are_open_the_oldest_ends() {
    let mut build = Build::busy();
    let mut last = 0;
    for at in 0..1_100 {
        let path = format!("/usr/bin/tool-{at}");
        build.seen(&path, &["tool"]);
        let tool = build.exec(&path, &["tool"]);
        last = build.sift.verdict(&tool).number().expect("seen and busy");
    }
    assert_eq!(last, 1_101);
    let (ended, open) = (build.sift.rolled_up(build.world.now), build.sift.finish());
    assert_eq!((ended.len(), open.len()), (1_101 - 1_024, 1_024));
    assert!(ended.iter().chain(&open).map(|rollup| rollup.number).eq(1..=1_101));
}

#[test]
fn its_samples_are_the_first_that_differ_and_lack_their_middle_between_characters() {
    let mut build = Build::busy();
    build.sift.finish();
    let [head, between, tail] = ["x".repeat(28), "y".repeat(22), "z".repeat(63)];
    // Bytes 31 and 32, and 55 and 56 of 120: what is left out is from 32 to 56.
    let long = format!("{head}\u{e9}{between}\u{e9}{tail}");
    for argv in [&["cc", "a"][..], &["cc", "a"], &["cc", &long], &["cc a"], &["cc", "z"]] {
        let cc = build.exec("/usr/bin/cc", argv);
        assert!(build.sift.verdict(&cc).number().is_some());
    }
    let rollup = only(build.sift.finish());
    assert_eq!((rollup.count, rollup.distinct, rollup.distinct_at_least), (5, 4, false), "`cc a` is one word or two");
    let whole = (b"cc a".to_vec(), Vec::new());
    assert_eq!(rollup.samples, [whole.clone(), (format!("cc {head}").into(), tail.into()), whole]);
}

#[test]
fn its_bytes_are_those_of_the_lines_and_what_would_be_several_is_not_folded() {
    let mut build = Build::busy();
    build.sift.finish();
    for bytes in [300, 500, 7] {
        let cc = build.exec("/usr/bin/cc", &["cc"]);
        assert!(build.sift.exec(&cc, |_| Some(bytes)).verdict.number().is_some());
    }
    let cc = build.exec("/usr/bin/cc", &["cc"]);
    assert_eq!(build.sift.exec(&cc, |_| None).verdict, rare(Rare::Long));
    let failed = build.world.attempt(&build.make, &["x"], ENOENT);
    assert_eq!(build.sift.failed(&failed, |_| None).verdict, rare(Rare::Long));
    let curl = build.exec("/usr/bin/curl", &["curl"]);
    let verdict = build.sift.exec(&curl, |_| panic!("nobody asks for the bytes of what has a line")).verdict;
    assert_eq!(verdict, rare(Rare::Program));
    assert_eq!(only(build.sift.finish()).bytes, 807);
}

#[test]
fn its_hash_is_of_ids_and_arguments_in_their_order() {
    let mut build = Build::busy();
    build.sift.finish();
    let argvs = [&["cc", "a", ""][..], &["cc", "a"], &[""], &["cc", "a", ""]];
    let mut list = Sha256::new();
    for argv in argvs {
        let cc = build.exec("/usr/bin/cc", argv);
        build.sift.judge(&cc);
        let id = cc.id;
        list.update(format!("{:012x}-{:x}-{:x}-{:x}\0", id.boot, id.start, id.pid, id.exec));
        list.update(Sha256::digest(argv.iter().map(|arg| format!("{arg}\0")).collect::<String>()));
    }
    assert_eq!(only(build.sift.finish()).sha256[..], list.finalize()[..]);
}

#[test]
fn the_hash_of_attempts_has_no_ids() {
    let mut build = Build::busy();
    build.sift.finish();
    for argv in [["/a/cc"], ["/b/cc"]] {
        let failed = build.world.attempt(&build.make, &argv, ENOENT);
        build.sift.verdict_of_attempt(&failed);
    }
    let list = [&b"\0"[..], &Sha256::digest("/a/cc\0"), b"\0", &Sha256::digest("/b/cc\0")].concat();
    assert_eq!(only(build.sift.finish()).sha256[..], Sha256::digest(list)[..]);
}

#[test]
fn no_argument_is_another_item_than_an_empty_one() {
    assert_ne!(Item::of(args(&[]).iter()), Item::of(args(&[""]).iter()));
    assert_ne!(Item::of(args(&["a", "b"]).iter()), Item::of(args(&["a b"]).iter()));
}

#[test]
fn without_roll_up_nothing_is_folded() {
    let (mut world, mut sift) = (World::new(), by_rules(&[], &[]));
    let make = world.begin("/usr/bin/make", &["make"]);
    sift.judge(&make);
    for _ in 0..100 {
        let cc = world.exec(&make, "/usr/bin/cc", &["cc"]);
        assert_eq!(sift.verdict(&cc), Verdict::Line(None));
        assert_eq!(sift.verdict_of_end(&world.end(&cc, 0)), Verdict::Line(None));
    }
    assert!(sift.rolled_up(world.now).is_empty() && sift.finish().is_empty());
}

#[test]
fn what_an_agent_executes_itself_has_a_line_and_what_that_executes_is_folded() {
    let (mut world, mut sift) = (World::new(), folding());
    let agent = world.begin("/usr/local/bin/claude", &["claude"]);
    sift.judge(&agent);
    for _ in 0..10 {
        sift.judge(&world.exec(&agent, "/bin/bash", &["bash", "-c", "x"]));
    }
    for _ in 0..20 {
        let bash = world.exec(&agent, "/bin/bash", &["bash", "-c", "x"]);
        assert_eq!(sift.verdict(&bash), rare(Rare::Agent));
    }
    let bash = world.exec(&agent, "/bin/bash", &["bash", "-c", "make"]);
    sift.judge(&bash);
    sift.judge(&world.exec(&bash, "/usr/bin/cc", &["cc"]));
    assert!(sift.verdict(&world.exec(&bash, "/usr/bin/cc", &["cc"])).number().is_some());
}

#[test]
fn what_descends_from_before_the_log_has_lines_and_can_be_a_root() {
    let (mut world, mut sift) = (World::new(), folding());
    sift.ran(&super::made::running(900, 1, "/bin/bash", &["bash"]));
    for _ in 0..30 {
        let ls = world.begin("/bin/ls", &["ls"]);
        assert_eq!(sift.verdict(&ls), Verdict::Line(None));
    }
    let make = world.begin("/usr/bin/make", &["make"]);
    sift.judge(&make);
    for at in 0..12 {
        let cc = world.exec(&make, "/usr/bin/cc", &["cc"]);
        assert_eq!(sift.verdict(&cc).number().is_some(), at >= 10, "{at}");
    }
    let rollup = only(sift.finish());
    assert_eq!((rollup.root, rollup.session.root), (make.id, None));
}

#[test]
fn where_only_what_is_typed_has_a_line_what_that_executes_is_folded() {
    let (mut world, mut sift) = (World::new(), folding_by("[rollup]\ntty = 'typed'"));
    let shell = on("pts/0", world.begin("/bin/bash", &["bash"]));
    sift.judge(&shell);
    for _ in 0..30 {
        let ls = world.exec(&shell, "/bin/ls", &["ls"]);
        assert!(sift.verdict(&ls).number().is_none());
    }
    assert_eq!(sift.verdict(&world.exec(&shell, "/bin/ls", &["ls"])), rare(Rare::Tty));
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    sift.judge(&make);
    sift.judge(&world.exec(&make, "/usr/bin/cc", &["cc"]));
    assert!(sift.verdict(&world.exec(&make, "/usr/bin/cc", &["cc"])).number().is_some());
}

#[test]
fn what_is_typed_into_a_shell_within_a_shell_has_a_line() {
    let (mut world, mut sift) = (World::new(), folding_by("[rollup]\ntty = 'typed'"));
    let shell = on("pts/0", world.begin("/bin/bash", &["bash"]));
    let inner = world.exec(&shell, "/bin/bash", &["bash"]);
    sift.judge(&shell);
    sift.judge(&inner);
    for at in 0..30 {
        assert!(sift.verdict(&world.exec(&inner, "/bin/ls", &["ls"])).number().is_none(), "{at}");
    }
}

#[test]
fn the_root_of_a_roll_up_is_not_folded_itself() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash"]);
    sift.judge(&shell);
    for _ in 0..12 {
        sift.judge(&world.exec(&shell, "/bin/sh", &["sh", "-c", "x"]));
    }
    let job = world.exec(&shell, "/bin/sh", &["sh", "-c", "what nobody shall see"]);
    assert!(sift.verdict(&job).number().is_some());
    for _ in 0..15 {
        sift.judge(&world.exec(&job, "/bin/sh", &["sh"]));
    }
    assert!(sift.finish().iter().all(|rollup| rollup.root != job.id));
}

#[test]
fn the_root_of_a_roll_up_is_not_left_out() {
    let (mut world, mut sift) = (World::new(), folding_by("[[exclude]]\nexe = 'make'"));
    let shell = world.begin("/bin/bash", &["bash"]);
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    sift.judge(&shell);
    sift.judge(&make);
    for _ in 0..30 {
        let verdict = sift.verdict(&world.exec(&make, "/usr/bin/cc", &["cc"]));
        assert_eq!(verdict, Verdict::Line(None), "what it would be folded below has no line");
    }
}

#[test]
fn its_first_time_is_the_earliest() {
    let mut build = Build::busy();
    build.sift.finish();
    build.cc();
    let cc = build.exec("/usr/bin/cc", &["cc"]);
    let time = cc.time - Duration::from_secs(1);
    build.sift.judge(&Event { time, ..cc });
    assert_eq!(only(build.sift.finish()).times[0], time);
}

#[test]
fn an_attempt_of_which_something_is_missing_has_a_line() {
    let mut build = Build::busy();
    let mut failed = build.world.attempt(&build.make, &["x"], ENOENT);
    failed.attempt.argv = Args::new(b"x".to_vec(), 3, 1 << 20, None);
    failed.attempt.partial = exectrace::Partial::ARGS_FAULT;
    assert_eq!(build.sift.verdict_of_attempt(&failed), rare(Rare::Partial));
}
