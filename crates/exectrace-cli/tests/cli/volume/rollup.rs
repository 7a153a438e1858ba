//! What builds execute, in few lines.

use std::collections::BTreeMap;
use std::fs;

use super::{NOWHERE, ledger, traced};
use crate::folder::Folder;
use crate::line::{Line, cmdlines, with_msg};
use crate::program::{Ended, exectrace};
use crate::trace::trace;
use crate::workspace::Workspace;

const LOOP: &str = "i=0; while [ $i -lt 300 ]; do /bin/true $i; i=$((i+1)); done";

fn number(line: &Line, name: &str) -> u64 {
    line.field("rollup")[name].as_u64().unwrap_or_default()
}

/// A log with roll-ups, and the one with all lines beside it.
#[track_caller]
fn both(options: &[&str], line: &str) -> (Vec<Line>, Vec<Line>) {
    let (log, complete) = texts(options, line);
    (Line::parse_all(&log), Line::parse_all(&complete))
}

/// The same as text.
#[track_caller]
fn texts(options: &[&str], line: &str) -> (String, String) {
    let folder = Folder::new();
    let (path, rolled_up) = (folder.path().join("complete.jsonl"), folder.path().join("log.jsonl"));
    let beside = ["--rollup", "--sink", "stdout,file", "--log", path.to_str().expect("a path in UTF-8")];
    let stopped = traced(&[&beside[..], options].concat(), line);
    let complete = fs::read_to_string(&path).expect("the file");
    fs::write(&rolled_up, stopped.lines.join("\n") + "\n").expect("a file");
    let verified = Ended::of(exectrace(["verify"]).args([&rolled_up, &path]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    (stopped.text(), complete)
}

#[test]
fn root_a_loop_is_folded_and_all_of_it_is_in_the_file() {
    let (log, complete) = texts(&[], &format!("sh -c '{LOOP}'"));
    let bytes: usize = complete.lines().filter(|line| line.contains(",\"rollup\":")).map(|line| line.len() + 1).sum();
    let (log, complete) = (Line::parse_all(&log), Line::parse_all(&complete));
    assert_eq!(cmdlines(&complete).len(), 301);
    assert_eq!(cmdlines(&log).len(), 11, "as many have lines as a person could have typed");
    let rollups = with_msg(&log, "rollup");
    assert_eq!(rollups.len(), 1, "{rollups:?}");
    let rollup = rollups[0].field("rollup");
    assert_eq!((&rollup["count"], &rollup["distinct"]), (&290.into(), &290.into()));
    assert_eq!((&rollup["exe"], &rollup["parent_exe"]), (&"/usr/bin/true".into(), &"/usr/bin/dash".into()));
    assert_eq!(rollup["samples"][0], "/bin/true 10");
    let (account, all) = (ledger(&log), ledger(&complete));
    assert_eq!((&account["seen"], &account["written"], &account["rolled_up"]), (&301.into(), &11.into(), &290.into()));
    assert_eq!((&all["seen"], &all["written"], all.get("rolled_up")), (&301.into(), &301.into(), None));
    // There each line also has the roll-up's number, and the lines' own have other lengths.
    assert!(number(rollups[0], "bytes").abs_diff(bytes as u64) < 16 * 290, "{rollup} of {bytes}");
    let start = log[0].field("start")["rollup"].clone();
    assert_eq!(start["complete"].as_str(), complete[0].run());
}

/// Each exec is a line or part of what a line stands for, and of one only.
#[test]
fn root_lines_and_roll_ups_together_are_all_that_was_executed() {
    let line = format!(
        "sh -c '{LOOP}; uname; {LOOP}'; sh -c 'cat /dev/null; sh -c \"{LOOP}\"'",
        LOOP = LOOP.replace("300", "60")
    );
    let (log, complete) = both(&["--exits", "--rollup-window", "1s"], &line);
    let mut due: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
    for line in &complete {
        if let Some(number) = line.event("rollup").as_u64() {
            due.entry(number).or_default()[usize::from(line.msg() == "exit")] += 1;
        }
    }
    let rollups = with_msg(&log, "rollup");
    let told: BTreeMap<u64, [u64; 2]> =
        rollups.iter().map(|line| (number(line, "number"), [number(line, "count"), number(line, "exits")])).collect();
    assert_eq!(told, due);
    for (msg, at) in [("exec", 0), ("exit", 1)] {
        let folded: u64 = told.values().map(|counts| counts[at]).sum();
        let lines = with_msg(&log, msg).len() as u64;
        assert_eq!(lines + folded, with_msg(&complete, msg).len() as u64, "{msg}");
    }
    assert!(cmdlines(&log).contains(&"uname"), "what was not seen before has its line");
}

#[test]
fn root_what_hides_within_a_build_has_its_line() {
    let folder = Folder::new();
    let place = folder.path().to_str().expect("a path in UTF-8");
    let hidden = [
        format!("cp /bin/true {place}/copy"),
        format!("{place}/copy elsewhere"),
        format!("cp /bin/true {place}/gone; (exec 3<{place}/gone; rm {place}/gone; /proc/self/fd/3 deleted)"),
        format!("printf \"#!/bin/sh\\n:\\n\" >{place}/script; chmod +x {place}/script; {place}/script by-path"),
        "/lib64/ld-linux-x86-64.so.2 /bin/true by-loader".to_owned(),
        "script -qec \"/bin/true typed\" /dev/null </dev/null >/dev/null".to_owned(),
        "unshare --mount /bin/true mounts".to_owned(),
        "setpriv --reuid=65534 /bin/true other-user".to_owned(),
        "getent passwd root >/dev/null".to_owned(),
        "sh -c \": >/dev/tcp/127.0.0.1/9\" 2>/dev/null".to_owned(),
    ];
    // Everything twice, so that nothing is there only because it is new.
    let line = format!(
        "sh -c '{LOOP}; {}; {LOOP}'",
        [&hidden[..], &hidden].concat().join("; "),
        LOOP = LOOP.replace("300", "40")
    );
    let (log, _) = both(&[], &line);
    for (words, rare) in [
        ("elsewhere", "folder"),
        ("deleted", "deleted"),
        ("by-path", "folder"),
        ("by-loader", "ld_so"),
        ("mounts", "namespace"),
        ("getent", "program"),
        ("/bin/true other-user", "user"),
        ("/dev/tcp/", "rule"),
    ] {
        let lines: Vec<_> =
            log.iter().filter(|line| line.cmdline().contains(words) && !line.cmdline().contains("while")).collect();
        let told = lines.iter().filter(|line| line.event("rare") == rare).count();
        assert!(told >= 2, "{words} is not twice {rare}: {lines:?}");
    }
    // A new terminal is a session of its own, in which nothing is busy.
    assert_eq!(cmdlines(&log).iter().filter(|cmdline| **cmdline == "/bin/true typed").count(), 2);
}

#[test]
fn root_a_window_that_is_over_is_told_without_more_being_executed() {
    let mut workspace = Workspace::new();
    let namespace = workspace.number();
    let mut program = trace(&["--pid-ns", &namespace, "--rollup", "--rollup-window", "1s", "--rollup-more-than", "2"]);
    workspace.tell("sh -c 'for i in 1 2 3 4 5 6; do /bin/true $i; done; :'");
    let rollup = program.wait_for_line("rollup");
    assert_eq!(number(&rollup, "count"), 4);
}

#[test]
fn a_pin_and_a_roll_up_do_not_go_together() {
    let ended = Ended::of(&mut exectrace(["trace", "--pid-ns", NOWHERE, "--rollup", "--pin", "/sys/fs/bpf/x"]));
    assert!(ended.code == Some(2) && ended.stderr.contains("--rollup"), "{ended:?}");
}

#[test]
fn root_people_are_told_what_was_folded() {
    let stopped = traced(&["--rollup", "--format", "text"], &format!("sh -c '{LOOP}'"));
    let last = stopped.lines.last().expect("a line");
    assert!(last.ends_with(" 290 times /usr/bin/true below /usr/bin/dash, 290 different"), "{stopped:?}");
}
