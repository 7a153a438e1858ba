use exectrace::{Args, Event, Partial};

use super::made::{EACCES, ENOENT, World, on};
use super::{by_rules, folding_by};
use crate::Verdict;

const LINE: Verdict = Verdict::Line(None);

#[test]
fn what_no_rule_holds_for_has_a_line() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=git"], &[]));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/make", &["make"])), LINE);
}

#[test]
fn the_first_rule_that_holds_is_the_one_that_leaves_out() {
    let (mut world, mut sift) =
        (World::new(), by_rules(&["exe=cc", "exe=git", "path=/usr/bin/git", "uid=101000"], &[]));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/git", &["git"])), Verdict::Excluded(1));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/make", &["make"])), Verdict::Excluded(3));
}

#[test]
fn what_a_rule_keeps_has_a_line_whatever_others_leave_out() {
    let (mut world, mut sift) =
        (World::new(), by_rules(&["exe=git", "tty=no"], &["argv='* push *'", "exe=ssh tty=no"]));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/git", &["git", "push", "origin"])), LINE);
    assert_eq!(sift.verdict(&world.begin("/usr/bin/ssh", &["ssh", "host"])), LINE);
    assert_eq!(sift.verdict(&world.begin("/usr/bin/git", &["git", "status"])), Verdict::Excluded(0));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/ls", &["ls"])), Verdict::Excluded(1));
}

#[test]
fn a_rule_of_ancestors_holds_at_any_depth_and_not_for_the_ancestor_itself() {
    let (mut world, mut sift) = (World::new(), by_rules(&["ancestor=make"], &[]));
    let make = world.begin("/usr/bin/make", &["make"]);
    assert_eq!(sift.verdict(&make), LINE);
    let mut last = make;
    for depth in 0..50 {
        last = match depth % 2 {
            0 => world.exec(&last, "/bin/sh", &["sh"]),
            _ => world.replace(&last, "/usr/bin/env", &["env"]),
        };
        assert_eq!(sift.verdict(&last), Verdict::Excluded(0), "{depth}");
    }
    assert_eq!(sift.verdict(&world.begin("/bin/sh", &["sh"])), LINE, "no descendant");
}

#[test]
fn a_rule_of_ancestors_keeps_as_well() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &["ancestor=sudo"]));
    let sudo = world.begin("/usr/bin/sudo", &["sudo", "sh"]);
    let make = world.exec(&sudo, "/usr/bin/make", &["make"]);
    let sh = world.exec(&make, "/bin/sh", &["sh"]);
    assert_eq!([&sudo, &make, &sh].map(|event| sift.verdict(event)), [LINE; 3]);
}

#[test]
fn a_rule_of_the_parent_looks_at_one_exec_even_if_that_is_left_out() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh", "parent=sh"], &[]));
    let sh = world.begin("/bin/sh", &["sh"]);
    let make = world.exec(&sh, "/usr/bin/make", &["make"]);
    let cc = world.exec(&make, "/usr/bin/cc", &["cc"]);
    let verdicts = [&sh, &make, &cc].map(|event| sift.verdict(event));
    assert_eq!(verdicts, [Verdict::Excluded(0), Verdict::Excluded(1), LINE]);
}

#[test]
fn a_rule_of_the_origin_holds_for_a_whole_session() {
    let (mut world, mut sift) = (World::new(), by_rules(&["origin=ide tty=no"], &[]));
    let server = world.begin("/usr/lib/code-server/lib/node", &["node"]);
    let git = world.exec(&server, "/usr/bin/git", &["git", "status"]);
    let shell = on("pts/0", world.exec(&server, "/bin/bash", &["bash"]));
    let verdicts = [&server, &git, &shell].map(|event| sift.verdict(event));
    assert_eq!(verdicts, [Verdict::Excluded(0), Verdict::Excluded(0), LINE]);
}

#[test]
fn what_was_left_out_is_skipped_on_the_way_to_the_parent() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &[]));
    let make = world.begin("/usr/bin/make", &["make"]);
    sift.judge(&make);
    let mut last = make.clone();
    for _ in 0..5 {
        last = world.exec(&last, "/bin/sh", &["sh"]);
        let judged = sift.judge(&last);
        assert_eq!((judged.verdict, judged.parent), (Verdict::Excluded(0), Some(make.id)));
    }
    let cc = world.exec(&last, "/usr/bin/cc", &["cc"]);
    assert_eq!(sift.judge(&cc).parent, Some(make.id));
    let below = world.exec(&cc, "/usr/bin/as", &["as"]);
    assert_eq!(sift.judge(&below).parent, Some(cc.id));
    let first = world.begin("/bin/sh", &["sh"]);
    sift.judge(&first);
    assert_eq!(sift.judge(&world.exec(&first, "/usr/bin/cc", &["cc"])).parent, None, "nothing was logged before");
}

#[test]
fn the_end_of_what_was_left_out_is_left_out_and_that_of_others_is_not() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=git"], &[]));
    let (make, git) = (world.begin("/usr/bin/make", &["make"]), world.begin("/usr/bin/git", &["git"]));
    sift.judge(&make);
    sift.judge(&git);
    assert_eq!(sift.verdict_of_end(&world.end(&git, 0)), Verdict::Excluded(0));
    assert_eq!(sift.verdict_of_end(&world.end(&make, 9)), LINE);
    let never_seen = world.begin("/usr/bin/git", &["git"]);
    assert_eq!(sift.verdict_of_end(&world.end(&never_seen, 0)), LINE);
}

#[test]
fn an_end_is_that_of_the_last_image() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &[]));
    let sh = world.begin("/bin/sh", &["sh"]);
    let cc = world.replace(&sh, "/usr/bin/cc", &["cc"]);
    sift.judge(&sh);
    sift.judge(&cc);
    assert_eq!(sift.verdict_of_end(&world.end(&cc, 0)), LINE);
}

#[test]
fn attempts_are_left_out_by_what_is_known_of_them_and_never_by_a_file() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=**", "argv='foo *' parent=bash"], &["ancestor=sudo"]));
    let sudo = world.begin("/usr/bin/sudo", &["sudo"]);
    let (shell, kept) = (world.begin("/bin/bash", &["bash"]), world.exec(&sudo, "/bin/bash", &["bash"]));
    for event in [&shell, &sudo, &kept] {
        sift.judge(event);
    }
    assert_eq!(sift.verdict_of_attempt(&world.attempt(&shell, &["foo", "x"], ENOENT)), Verdict::Excluded(1));
    assert_eq!(sift.verdict_of_attempt(&world.attempt(&shell, &["bar", "x"], EACCES)), LINE);
    assert_eq!(sift.verdict_of_attempt(&world.attempt(&kept, &["foo", "x"], ENOENT)), LINE);
    let unknown = world.begin("/bin/bash", &["bash"]);
    let judged = sift.failed(&world.attempt(&unknown, &["foo", "x"], ENOENT), |_| None);
    assert_eq!((judged.verdict, judged.session), (LINE, None), "nothing is known of the caller");
}

#[test]
fn an_attempt_by_what_was_left_out_shows_whom_that_came_from() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &[]));
    let make = world.begin("/usr/bin/make", &["make"]);
    let sh = world.exec(&make, "/bin/sh", &["sh"]);
    sift.judge(&make);
    sift.judge(&sh);
    let judged = sift.failed(&world.attempt(&sh, &["x"], EACCES), |_| None);
    assert_eq!((judged.verdict, judged.parent), (LINE, Some(make.id)));
}

#[test]
fn an_attempt_never_shows_a_parent_that_was_left_out() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &[]));
    let make = world.begin("/usr/bin/make", &["make"]);
    let sh = world.exec(&make, "/bin/sh", &["sh"]);
    let cc = world.exec(&sh, "/usr/bin/cc", &["cc"]);
    for event in [&make, &sh, &cc] {
        sift.judge(event);
    }
    let judged = sift.failed(&world.attempt(&cc, &["as"], EACCES), |_| None);
    assert_eq!(judged.parent, Some(make.id));
}

#[test]
fn what_the_kernel_program_leaves_out_is_not_left_out_twice() {
    let exclude = vec![crate::Conditions::parse("exe=/usr/bin/git").expect("a rule")];
    let config = crate::SiftConfig { exclude, ..crate::SiftConfig::default() };
    let criteria = crate::Criteria::new(&config, false).expect("rules").with_kernel();
    assert_eq!(criteria.told().len(), 1);
    let mut world = World::new();
    assert_eq!(
        criteria.sift().verdict(&world.begin("/usr/bin/git", &["git"])),
        LINE,
        "who comes through was kept there"
    );
}

#[test]
fn what_is_left_out_is_not_folded_and_what_is_below_it_can_be() {
    let mut sift = folding_by("[[exclude]]\nexe = 'sh'");
    let mut world = World::new();
    let shell = world.begin("/bin/bash", &["bash"]);
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    sift.judge(&shell);
    sift.judge(&make);
    for at in 0..30 {
        let sh = world.exec(&make, "/bin/sh", &["sh"]);
        assert_eq!(sift.verdict(&sh), Verdict::Excluded(0));
        let cc = world.exec(&sh, "/usr/bin/cc", &["cc"]);
        let judged = sift.judge(&cc);
        assert_eq!((judged.verdict.number().is_some(), judged.parent), (at >= 10, Some(make.id)), "{at}");
    }
}

#[test]
fn a_newline_in_the_arguments_does_not_get_past_a_rule_that_keeps() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=git"], &["argv='* push *'"]));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/git", &["git", "-c", "a.b=\n", "push", "origin"])), LINE);
}

#[test]
fn arguments_that_are_too_long_to_keep_do_not_get_past_a_rule_that_keeps() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=git"], &["argv='* push *'"]));
    let git = world.begin("/usr/bin/git", &[]);
    let argv = Args::new(b"git\0-c\0a.b=AAAA".to_vec(), 5, 1 << 20, None);
    assert_eq!(sift.verdict(&Event { argv, partial: Partial::ARGS_KEEP_LIMIT, ..git }), LINE);
}

#[test]
fn a_terminal_that_was_lost_is_not_taken_for_none() {
    let (mut world, mut sift) = (World::new(), by_rules(&["tty=no"], &[]));
    let shell = on("pts/0", world.begin("/bin/bash", &["bash"]));
    assert_eq!(sift.verdict(&shell), LINE);
    assert_eq!(sift.verdict(&without_strings(world.exec(&shell, "/usr/bin/curl", &["curl"]))), LINE);
}

#[test]
fn what_a_rule_would_keep_is_kept_when_its_strings_are_lost() {
    let (mut world, mut sift) = (World::new(), by_rules(&["uid=101000"], &["exe=curl"]));
    assert_eq!(sift.verdict(&world.begin("/usr/bin/curl", &["curl"])), LINE);
    assert_eq!(sift.verdict(&without_strings(world.begin("/usr/bin/curl", &["curl"]))), LINE);
}

#[test]
fn a_flood_does_not_make_a_rule_that_keeps_forget() {
    let (mut world, mut sift) = (World::new(), by_rules(&["exe=sh"], &["ancestor=sudo"]));
    let sudo = world.begin("/usr/bin/sudo", &["sudo", "python3"]);
    let python = world.exec(&sudo, "/usr/bin/python3", &["python3"]);
    let other = world.begin("/usr/bin/yes", &["yes"]);
    for event in [&sudo, &python, &other] {
        sift.judge(event);
    }
    for _ in 0..16_400 {
        sift.judge(&world.exec(&other, "/usr/bin/true", &["true"]));
    }
    assert_eq!(sift.verdict(&world.exec(&python, "/bin/sh", &["sh"])), LINE);
}

/// As when the ring buffer has room for nothing but numbers.
pub(super) fn without_strings(event: Event) -> Event {
    Event {
        filename: Vec::new(),
        exe: Vec::new(),
        cwd: Vec::new(),
        tty: None,
        interpreter: None,
        argv: Args::new(Vec::new(), event.argv.count, event.argv.total_bytes, None),
        partial: Partial::STRINGS_RING_FULL,
        ..event
    }
}
