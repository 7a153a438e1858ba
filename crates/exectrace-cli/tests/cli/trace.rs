//! `exectrace trace`: a scope is logged until somebody says stop.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::line::{Line, cmdlines, with_msg};
use crate::program::{Ended, Program, exectrace};
use crate::workspace::{CgroupFolder, Workspace};

/// A stop takes a second at most; a loaded machine gets some more.
pub(crate) const A_SECOND: Duration = Duration::from_millis(1500);

/// `exectrace trace` that has begun.
#[track_caller]
pub(crate) fn trace(words: &[&str]) -> Program {
    let mut program = Program::start(exectrace(["trace"]).args(words));
    program.wait_for_message("tracing");
    program
}

/// A PID namespace and what traces it; these go in the right order.
#[track_caller]
fn traced(options: &[&str]) -> (Program, Workspace) {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    (trace(&[&["--pid-ns", &number], options].concat()), workspace)
}

/// Tells the workspace, ends the trace and returns the lines of its execs.
#[track_caller]
fn lines_of(options: &[&str], line: &str) -> Vec<Line> {
    let (program, mut workspace) = traced(options);
    workspace.tell(line);
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    stopped.parsed().into_iter().filter(Line::is_exec).collect()
}

#[test]
fn root_a_pid_namespace_is_traced_and_nothing_beside_it() {
    let (program, mut workspace) = traced(&[]);
    Workspace::shared().tell("/bin/true beside");
    workspace.tell("/bin/true inside; unshare --pid --fork /bin/true below");
    let (_, stopped) = program.stop();
    let lines = stopped.parsed();
    assert_eq!(cmdlines(&lines), ["/bin/true inside", "unshare --pid --fork /bin/true below", "/bin/true below"]);
    let lines = with_msg(&lines, "exec");
    assert!(lines.iter().all(|line| line.event("vpid") != line.event("pid")));
    assert_eq!(lines[2].event("ns_level").as_u64(), lines[0].event("ns_level").as_u64().map(|level| level + 1));
}

#[test]
fn root_a_process_is_traced_with_its_descendants() {
    let (mut workspace, mut other) = (Workspace::shared(), Workspace::shared());
    let program = trace(&["--pid", &workspace.pid().to_string()]);
    other.tell("/bin/true other");
    workspace.tell("/bin/true child; setsid sh -c '/bin/true grandchild; :'");
    let (_, stopped) = program.stop();
    let expected = [
        "/bin/true child",
        "setsid sh -c '/bin/true grandchild; :'",
        "sh -c '/bin/true grandchild; :'",
        "/bin/true grandchild",
    ];
    assert_eq!(cmdlines(&stopped.parsed()), expected);
}

#[test]
fn root_a_cgroup_is_traced_with_those_below_it() {
    let Some(cgroup) = CgroupFolder::new() else { return };
    let (mut workspace, mut other) = (Workspace::shared(), Workspace::shared());
    cgroup.add(workspace.pid());
    let path = cgroup.path().to_str().expect("a path in UTF-8");
    let program = trace(&["--cgroup", path]);
    other.tell("/bin/true other");
    // The shell moves to a cgroup of its own and back, so that this one can be removed.
    workspace.tell(&format!("/bin/true above; mkdir {path}/below; echo $$ >{path}/below/cgroup.procs"));
    workspace.tell("/bin/true below");
    workspace.tell(&format!("echo $$ >{path}/cgroup.procs; rmdir {path}/below"));
    let (_, stopped) = program.stop();
    let lines = stopped.parsed();
    let told = cmdlines(&lines);
    assert_eq!(
        told,
        ["/bin/true above", &format!("mkdir {path}/below"), "/bin/true below", &format!("rmdir {path}/below")]
    );
    let lines = with_msg(&lines, "exec");
    assert_ne!(lines[0].event("cgroup"), lines[2].event("cgroup"));
}

/// Each exec belongs to one of them, and each has an account of its own.
#[test]
fn root_several_targets_are_traced_at_once() {
    let Some(cgroup) = CgroupFolder::new() else { return };
    let (mut first, mut second, mut tree) = (Workspace::new(), Workspace::new(), Workspace::shared());
    let (mut in_cgroup, mut other) = (Workspace::shared(), Workspace::shared());
    cgroup.add(in_cgroup.pid());
    let (numbers, pid) = ([first.number(), second.number()], tree.pid().to_string());
    let path = cgroup.path().to_str().expect("a path in UTF-8");
    let words = ["--pid-ns", &numbers[0], "--pid", &pid, "--cgroup", path, "--pid-ns", &numbers[1]];
    let program = trace(&[&words[..], &["--fields", "full"]].concat());
    first.tell("/bin/true first");
    second.tell("/bin/true second");
    tree.tell("/bin/true tree");
    in_cgroup.tell("/bin/true cgroup");
    other.tell("/bin/true other");
    let (_, stopped) = program.stop();
    let log = stopped.log();
    let told: Vec<(&str, u64)> = with_msg(&log, "exec")
        .iter()
        .map(|line| (line.cmdline(), line.event("scope").as_u64().expect("a scope")))
        .collect();
    let scopes = log[0].field("start")["scopes"].as_array().expect("scopes");
    let scope_of = |kind: &str, of: &str| {
        let found = scopes.iter().find(|scope| scope["kind"] == kind && scope["of"] == of);
        found.unwrap_or_else(|| panic!("no {kind} {of}: {scopes:?}"))["scope"].as_u64().expect("a number")
    };
    let id = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("a folder")).to_string();
    let expected = [
        ("/bin/true first", scope_of("pid_ns", &numbers[0])),
        ("/bin/true second", scope_of("pid_ns", &numbers[1])),
        ("/bin/true tree", scope_of("tree", &pid)),
        ("/bin/true cgroup", scope_of("cgroup", &id)),
    ];
    assert_eq!(told, expected);
    assert_eq!(scopes.len(), 4, "{scopes:?}");
    let account = log[log.len() - 2].field("ledger");
    let accounts = account["scopes"].as_array().expect("one for each");
    assert_eq!(accounts.iter().map(|scope| &scope["seen"]).collect::<Vec<_>>(), [1, 1, 1, 1], "{account}");
    assert_eq!((&account["seen"], &account["written"]), (&4.into(), &4.into()));
}

#[test]
fn root_a_target_that_is_not_there_is_told_with_advice() {
    for (words, advice) in [
        (["--pid-ns", "1"], "readlink /proc/PID/ns/pid"),
        (["--pid-ns", "4026531836"], "trace the whole node instead"),
        (["--pid-ns", "4294967295"], "no process of this node"),
        (["--pid", "4294967295"], "process 4294967295 cannot be found"),
        (["--cgroup", "/nonexistent"], "/nonexistent is no cgroup v2"),
        (["--cgroup", "/tmp"], "/tmp is no cgroup v2"),
        (["--cgroup", "/etc/passwd"], "/etc/passwd is no cgroup v2"),
    ] {
        let ended = Ended::of(exectrace(["trace"]).args(words));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{words:?}: {ended:?}");
        let message = ended.message();
        assert!(message.msg().contains(advice), "{words:?}: {message:?}");
    }
}

#[test]
fn a_wrong_command_line_is_told_as_such() {
    for (words, told) in [
        (&["trace"][..], "--pid-ns"),
        (&["trace", "--all", "--pid", "1"], "cannot be used with"),
        (&["trace", "--pid-ns", "many"], "--pid-ns"),
        (&["trace", "--all", "--fields", "most"], "[possible values: seed, standard, full]"),
        (&["trace", "--all", "--queue-size", "much"], "a size is a number"),
        (&["trace", "--all", "--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
    ] {
        let ended = Ended::of(&mut exectrace(words));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{words:?}: {ended:?}");
    }
}

#[test]
fn root_an_exclusion_that_cannot_be_is_told() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let ended = Ended::of(&mut exectrace(["trace", "--pid-ns", &number, "--exclude-path", "usr/bin"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("path=usr/bin: a path begins with /"), "{ended:?}");
}

#[test]
fn root_lines_for_people() {
    let (program, mut workspace) = traced(&["-f", "text"]);
    workspace.tell("/bin/true 'for people'");
    let (_, stopped) = program.stop();
    assert_eq!(stopped.lines.len(), 1, "{stopped:?}");
    assert!(stopped.lines[0].ends_with(" /bin/true 'for people'"), "{stopped:?}");
}

#[test]
fn root_a_stop_comes_soon_and_loses_nothing_that_was_before() {
    for signal in [Signal::TERM, Signal::INT] {
        let (program, mut workspace) = traced(&[]);
        workspace.tell("i=0; while [ $i -lt 50 ]; do /bin/true $i; i=$((i+1)); done; /bin/true last");
        let start = std::time::Instant::now();
        program.signal(signal);
        let (status, lines, messages) = program.end();
        let took = start.elapsed();
        assert_eq!(status.code(), Some(0), "{messages:?}");
        assert!(took < A_SECOND, "{took:?}");
        let lines = Line::parse_all(&lines.iter().flat_map(|line| [line, "\n"]).collect::<String>());
        let told = cmdlines(&lines);
        assert_eq!((told.len(), told.last()), (51, Some(&"/bin/true last")));
        let msgs: Vec<_> = lines.iter().rev().take(3).map(Line::msg).collect();
        assert_eq!(msgs, ["stop", "ledger", "exec"], "nothing comes after the last exec but the account");
    }
}

#[test]
fn root_an_exec_is_in_the_log_soon_without_a_stop() {
    let (mut program, mut workspace) = traced(&[]);
    workspace.tell("/bin/true soon");
    program.wait_for_exec("/bin/true soon");
}

#[test]
fn root_a_path_can_be_left_out() {
    let uname = std::fs::canonicalize("/bin/uname").expect("coreutils");
    let options = ["--exclude-path", uname.to_str().expect("a path in UTF-8")];
    let lines = lines_of(&options, "/bin/uname; /bin/true kept");
    assert_eq!(cmdlines(&lines), ["/bin/true kept"]);
}

#[test]
fn root_a_user_can_be_left_out() {
    let lines = lines_of(&["--exclude-uid", "65534"], "setpriv --reuid=65534 /bin/true nobody; /bin/true root");
    assert_eq!(cmdlines(&lines), ["setpriv '--reuid=65534' /bin/true nobody", "/bin/true root"]);
}

#[test]
fn root_the_fields_are_as_many_as_asked_for() {
    let seed = ["argv", "comm", "filename", "gid", "pid", "truncated", "uid"];
    let lines = lines_of(&["--fields", "seed"], "/bin/true x");
    assert_eq!(lines[0].event_names(), seed);
    let standard = lines_of(&["--fields", "standard"], "/bin/true x");
    let full = lines_of(&["--fields", "full"], "/bin/true x");
    let (standard, full) = (standard[0].event_names(), full[0].event_names());
    assert!(seed.iter().all(|name| standard.contains(name)) && standard.contains(&"id") && !standard.contains(&"seq"));
    assert!(standard.iter().all(|name| full.contains(name)), "{full:?}");
    for name in ["scope", "cpu", "hook", "seq", "pid_ns", "mnt_ns", "inode", "device", "mode"] {
        assert!(full.contains(&name), "{name}: {full:?}");
    }
}

#[test]
fn root_arguments_beyond_a_limit_are_told_by_count_and_hash() {
    let lines = lines_of(&["--max-args-bytes", "24"], "/bin/echo short; /bin/echo 'a long argument' '' 'another one'");
    assert_eq!(lines[0].event("truncated"), false);
    assert!(lines[0].event("argv_bytes").is_null());
    let cut = &lines[1];
    let whole = b"/bin/echo\0a long argument\0\0another one\0";
    assert_eq!(cut.event("truncated"), true);
    assert_eq!(cut.event("argc"), 4);
    assert_eq!(cut.event("argv_bytes"), whole.len());
    assert_eq!(cut.event("argv_kept_bytes"), 24);
    let kept: Vec<_> = cut.event("argv").as_array().expect("argv").iter().filter_map(|arg| arg.as_str()).collect();
    assert_eq!(kept.join("\0").as_bytes(), &whole[..24]);
    assert_eq!(cut.event_text("argv_sha256"), Some(sha256(whole).as_str()));
    assert_eq!(cut.event("partial").as_array().map(Vec::as_slice), Some(&["args_keep_limit".into()][..]));
}

#[test]
fn root_arguments_that_were_not_read_have_a_count_and_no_hash() {
    let lines = lines_of(&["--read-args-bytes", "12"], "/bin/echo 'a long argument'");
    let cut = &lines[0];
    assert_eq!(cut.event("argv_bytes"), 26);
    assert!(cut.event("argv_sha256").is_null());
    assert_eq!(cut.event("partial").as_array().map(Vec::as_slice), Some(&["args_read_limit".into()][..]));
}

fn sha256(bytes: &[u8]) -> String {
    let mut tool = Program::start(Command::new("sha256sum").stdin(Stdio::piped()));
    tool.stdin.as_mut().expect("a pipe").write_all(bytes).expect("sha256sum reads");
    let (_, lines, _) = tool.end();
    lines.concat().split(' ').next().expect("a hash").to_owned()
}
