//! Who began it.

use std::fs;

use super::traced;
use crate::folder::Folder;
use crate::line::Line;

/// What the exec with these words tells of its session.
#[track_caller]
fn origin(log: &[Line], cmdline: &str) -> (String, Option<String>, bool) {
    let line = log.iter().find(|line| line.cmdline() == cmdline).unwrap_or_else(|| panic!("no {cmdline}: {log:?}"));
    let origin = line.event("origin");
    let text = |name: &str| origin[name].as_str().map(str::to_owned);
    (text("kind").expect("a kind"), text("by"), origin["interactive"].as_bool().expect("a boolean"))
}

fn is(kind: &str, by: Option<&str>, interactive: bool) -> (String, Option<String>, bool) {
    (kind.to_owned(), by.map(str::to_owned), interactive)
}

#[test]
fn root_an_agent_is_known_by_what_it_sets_in_its_shells() {
    let stopped = traced(
        &[],
        "CLAUDECODE=1 sh -c '/bin/true below; env -i sh -c \"/bin/true cleaned; :\"; :'; GEMINI_CLI=0 sh -c '/bin/true other; :'",
    );
    let log = stopped.log();
    for cmdline in ["/bin/true below", "/bin/true cleaned"] {
        assert_eq!(origin(&log, cmdline), is("agent", Some("claude-code"), false));
    }
    assert_eq!(origin(&log, "/bin/true other"), is("unknown", None, false));
    let root = log.iter().find(|line| line.is_exec()).expect("an exec").event("id");
    let below = log.iter().find(|line| line.cmdline() == "/bin/true below").expect("an exec");
    assert_eq!(&below.event("origin")["root"], root);
}

#[test]
fn root_sessions_are_known_by_who_began_them() {
    let folder = Folder::new();
    let folder = folder.path().to_str().expect("a path in UTF-8");
    // Copies of a shell under the names of servers; and a terminal within a session.
    let copies: String = ["sshd", "cron", "supervisord", "claude", "code-server"]
        .map(|name| format!("cp /bin/sh {folder}/{name}; {folder}/{name} -c 'sh -c \"/bin/true {name}; :\"; :'; "))
        .concat();
    let terminal = |words: &str| format!("script -qec '/bin/true {words}' /dev/null </dev/null");
    let within = format!("{folder}/code-server -c \"{}; :\"", terminal("task").replace('"', "\\\""));
    let agent = format!("{folder}/claude -c \"{}; :\"", terminal("agent").replace('"', "\\\""));
    let line = format!("{copies}{} >/dev/null; {within} >/dev/null; {agent} >/dev/null", terminal("typed"));
    let log = traced(&[], &line).log();
    for (words, expected) in [
        ("sshd", is("ssh", Some("sshd"), false)),
        ("cron", is("cron", Some("cron"), false)),
        ("supervisord", is("service", Some("supervisord"), false)),
        ("claude", is("agent", Some("claude-code"), false)),
        ("code-server", is("ide", Some("code-server"), false)),
        ("typed", is("terminal", None, true)),
        ("task", is("ide", Some("code-server"), true)),
        ("agent", is("agent", Some("claude-code"), false)),
    ] {
        assert_eq!(origin(&log, &format!("/bin/true {words}")), expected, "{words}");
    }
    fs::remove_dir_all(folder).expect("a folder of the test's");
}
