//! Rules that leave out and that keep.

use serde_json::json;

use super::{NOWHERE, ledger, traced};
use crate::line::cmdlines;
use crate::program::{Ended, exectrace};

#[test]
fn root_a_rule_of_several_conditions_leaves_out_what_fulfils_all_of_them() {
    let rule = "exe=/usr/bin/env argv='* quiet *' parent=dash";
    let stopped = traced(
        &["--exclude", rule],
        "sh -c 'env A=1 /bin/true quiet x; env A=1 /bin/true loud x; :'; env A=1 /bin/true quiet top",
    );
    let log = stopped.log();
    let told = cmdlines(&log);
    // What the excluded env became is its own exec, and is told.
    let expected = [
        "sh -c 'env A=1 /bin/true quiet x; env A=1 /bin/true loud x; :'",
        "/bin/true quiet x",
        "env 'A=1' /bin/true loud x",
        "/bin/true loud x",
        "env 'A=1' /bin/true quiet top",
        "/bin/true quiet top",
    ];
    assert_eq!(told, expected);
    assert_eq!(ledger(&log)["excluded"], json!({ "rule": 1 }));
    assert_eq!(ledger(&log)["rules"], json!([{ "rule": rule, "execs": 1 }]));
    let by_words = |cmdline: &str| log.iter().find(|line| line.cmdline() == cmdline).expect(cmdline);
    let (shell, child) = (by_words(expected[0]), by_words("/bin/true quiet x"));
    assert_eq!(child.event("parent_id"), shell.event("id"), "what was left out leads nowhere in the log");
}

#[test]
fn root_what_is_included_is_logged_whatever_is_excluded() {
    for include in ["exe=/usr/bin/true tty=no", "argv='* kept'"] {
        let stopped = traced(&["--exclude", "uid=0", "--include", include], "/usr/bin/env x=1; /bin/true kept");
        let log = stopped.log();
        assert_eq!(cmdlines(&log), ["/bin/true kept"], "{include}");
        assert_eq!(ledger(&log)["rules"], json!([{ "rule": "uid=0", "execs": 1 }]));
    }
}

#[test]
fn root_what_is_left_out_has_no_end_either() {
    let stopped = traced(&["--exits", "--exclude", "argv='* quiet'"], "/bin/true quiet; /bin/true loud");
    let log = stopped.log();
    assert_eq!(log.iter().filter(|line| line.msg() == "exit").count(), 1);
    assert_eq!(ledger(&log)["exits"]["excluded"], json!({ "rule": 1 }));
    assert_eq!(ledger(&log)["rules"], json!([{ "rule": "argv='* quiet'", "execs": 1, "exits": 1 }]));
}

#[test]
fn root_ancestors_count_over_any_number_of_processes() {
    let stopped = traced(
        &["--exclude", "ancestor=env"],
        "env sh -c 'sh -c \"/bin/true deep; :\"; :'; sh -c '/bin/true other; :'",
    );
    let log = stopped.log();
    let told = cmdlines(&log);
    assert_eq!(told, ["env sh -c 'sh -c \"/bin/true deep; :\"; :'", "sh -c '/bin/true other; :'", "/bin/true other"]);
}

#[test]
fn root_a_rule_that_could_hide_everything_is_warned_of() {
    for (words, is_warned_of) in [
        (&["--exclude", "uid=0"][..], true),
        (&["--exclude", "exe=/**"], true),
        (&["--exclude", "exe=/usr/bin/git"], false),
        (&["--exclude", "uid=0", "--include", "exe=/usr/bin/git"], false),
    ] {
        let ended = Ended::well(exectrace(["run"]).args(words).args(["--", "/bin/true"]));
        assert_eq!(ended.stderr.contains("could leave out everything"), is_warned_of, "{words:?}: {ended:?}");
    }
    let ended = Ended::well(&mut exectrace(["run", "--include", "uid=0", "--", "/bin/true"]));
    assert!(ended.stderr.contains("nothing is left out"), "{ended:?}");
}

#[test]
fn a_rule_that_is_none_is_refused_with_what_to_do() {
    for (flag, rule, told) in [
        ("--exclude", "exe", "one is KEY=VALUE"),
        ("--exclude", "exe=bin/cc", "a path begins with /"),
        ("--include", "origin=moon", "terminal, ssh, ide"),
        ("--exclude", "uid=root", "the number of a user"),
        ("--exclude", "argv_regex=(", "is no pattern"),
    ] {
        let ended = Ended::of(&mut exectrace(["trace", "--pid-ns", NOWHERE, flag, rule]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
}
