//! `exectrace run`: the command is logged with all that it starts, and does not notice.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::line::{Line, cmdlines, with_msg};
use crate::program::{EXECTRACE, Ended, Program, exectrace};
use crate::workspace::NOBODY;

/// `exectrace run` with the log in a file of its own.
struct Run {
    folder: TempDir,
    options: Vec<&'static str>,
}

impl Run {
    fn new() -> Run {
        Run { folder: tempfile::tempdir().expect("a temporary folder"), options: Vec::new() }
    }

    /// One that says nothing of what this machine does not let it see.
    fn silent() -> Run {
        Run::with(&["--failed", "none"])
    }

    fn with(options: &[&'static str]) -> Run {
        Run { options: options.to_vec(), ..Run::new() }
    }

    fn log(&self) -> String {
        self.folder.path().join("log").to_str().expect("a path in UTF-8").to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = exectrace(["run", "--log"]);
        command.arg(self.log()).args(&self.options).arg("--").args(words);
        command
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).expect("the log")
    }

    #[track_caller]
    fn lines(&self) -> Vec<Line> {
        Line::parse_all(&self.text())
    }

    /// What is typed for a shell to run these words so.
    fn typed(&self, words: &str) -> String {
        format!("{EXECTRACE} run --log {} {} -- {words}", self.log(), self.options.join(" "))
    }
}

/// A terminal with a shell that does as it is told.
fn terminal(script: &str) -> Program {
    let mut command = Command::new("env");
    // Whoever runs the tests may have told us to ignore them, as a shell does with what it starts in the background.
    command.args(["--default-signal=HUP,INT,QUIT", "script"]);
    Program::start(command.args(["-qec", script, "/dev/null"]).stdin(Stdio::piped()))
}

/// What appears on a terminal until the script ends.
#[track_caller]
fn shown(mut program: Program) -> (Option<i32>, String) {
    // The pipe stays open, or the terminal would tell the script that its input has ended.
    let stdin = program.stdin.take();
    let lines = program.stdout().rest();
    drop(stdin);
    let code = program.end().0.code();
    (code, lines.iter().map(|line| format!("{}\n", line.trim_end_matches('\r'))).collect())
}

#[test]
fn root_the_command_itself_and_what_it_starts_are_logged() {
    let run = Run::new();
    let ended = Ended::of(&mut run.command(&["sh", "-c", "/bin/true first; sh -c '/bin/true second; :'; :"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = run.lines();
    let expected = [
        "sh -c \"/bin/true first; sh -c '/bin/true second; :'; :\"",
        "/bin/true first",
        "sh -c '/bin/true second; :'",
        "/bin/true second",
    ];
    assert_eq!(cmdlines(&lines), expected);
    let lines = with_msg(&lines, "exec");
    let ids: Vec<_> = lines.iter().map(|line| line.event_text("id").expect("an id")).collect();
    let parents: Vec<_> = lines.iter().map(|line| line.event_text("parent_id")).collect();
    assert_eq!(parents, [None, Some(ids[0]), Some(ids[0]), Some(ids[2])]);
    assert_eq!(lines[0].event_text("comm"), Some("exectrace"));
    assert_eq!(lines[1].event_text("comm"), Some("sh"));
    let cwd = std::env::current_dir().expect("a folder");
    assert_eq!(lines[0].event_text("cwd").map(Path::new), Some(cwd.as_path()));
}

#[test]
fn root_a_daemon_that_forks_twice_into_its_own_session_is_logged() {
    let run = Run::new();
    let fifo = run.folder.path().join("done");
    // The shell in the middle is gone when the last one begins, because that one waits for its end.
    let daemon = r#"mkfifo "$1" "$1.gone"
        setsid sh -c '(read gone <"$1.gone"; /bin/true daemon; echo done >"$1") & ' sh "$1"
        echo gone >"$1.gone"; read done <"$1""#;
    let path = fifo.to_str().expect("a path in UTF-8");
    let ended = Ended::of(&mut run.command(&["sh", "-c", daemon, "sh", path]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = run.lines();
    let lines = with_msg(&log, "exec");
    let daemon = lines.iter().find(|line| line.cmdline() == "/bin/true daemon").expect("the daemon's exec");
    let setsid = lines.iter().find(|line| line.event_text("filename").is_some_and(|name| name.ends_with("setsid")));
    assert_ne!(daemon.event("sid"), lines[0].event("sid"));
    assert_ne!(daemon.event("ppid"), setsid.expect("the exec of setsid").event("pid"), "it was handed on");
    let mut id = daemon.event_text("parent_id").expect("a parent");
    while let Some(parent) = lines.iter().find(|line| line.event_text("id") == Some(id)) {
        match parent.event_text("parent_id") {
            Some(above) => id = above,
            None => return assert_eq!(parent.event("pid"), lines[0].event("pid")),
        }
    }
    panic!("{id} is nobody's: {lines:#?}");
}

#[test]
fn root_the_status_is_the_command_s() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let ended = Ended::of(&mut Run::new().command(&["sh", "-c", script]));
        assert_eq!(ended.code, Some(code), "{script}: {ended:?}");
    }
}

#[test]
fn root_a_command_that_cannot_start_gives_the_status_that_a_shell_would_give() {
    for (command, code) in [("/nonexistent", 127), ("no-such-command", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        let run = Run::new();
        let ended = Ended::of(&mut run.command(&[command]));
        assert_eq!(ended.code, Some(code), "{command}: {ended:?}");
        assert!(ended.message().msg().contains(command), "{ended:?}");
        assert_eq!(run.text(), "");
    }
}

#[test]
fn root_where_nothing_can_be_logged_the_command_is_not_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = folder.path().join("started");
    let mut no_log = exectrace(["run", "--log", "/nonexistent/log", "touch"]);
    let ended = Ended::of(no_log.arg(&started));
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.message().msg().contains("/nonexistent/log"), "{ended:?}");
    let mut no_tracer = Command::new("setpriv");
    let ended = Ended::of(no_tracer.args(NOBODY).args([EXECTRACE, "run", "touch"]).arg(&started));
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.message().msg().contains("CAP_BPF and CAP_PERFMON"), "{ended:?}");
    assert!(!started.exists());
}

#[test]
fn root_input_and_output_are_the_command_s_alone() {
    let run = Run::silent();
    let mut command = run.command(&["sh", "-c", "cat; echo problem >&2"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("exectrace starts");
    let bytes = b"a\0\xff\r\n\x1b[2J no line break at the end";
    child.stdin.take().expect("a pipe").write_all(bytes).expect("cat reads");
    let output = child.wait_with_output().expect("our child");
    assert_eq!(output.stdout, bytes);
    assert_eq!(output.stderr, b"problem\n");
    assert!(cmdlines(&run.lines()).contains(&"cat"));
}

#[test]
fn root_a_log_file_is_added_to() {
    let run = Run::new();
    for word in ["one", "two"] {
        let ended = Ended::of(&mut run.command(&["/bin/echo", word]));
        assert_eq!((ended.code, ended.stdout), (Some(0), format!("{word}\n")));
    }
    assert_eq!(cmdlines(&run.lines()), ["/bin/echo one", "/bin/echo two"]);
}

#[test]
fn root_lines_are_json_where_no_terminal_is() {
    let ended = Ended::of(&mut exectrace(["run", "--", "sh", "-c", "exec >/dev/null; /bin/true x; :"]));
    assert_eq!(cmdlines(&Line::parse_all(&ended.stdout))[1..], ["/bin/true x"], "{ended:?}");
}

#[test]
fn root_lines_are_text_where_it_is_asked_for() {
    let run = Run::with(&["-o", "text"]);
    Ended::of(&mut run.command(&["/bin/true", "a b", "\u{1b}[2J"]));
    let text = run.text();
    assert!(text.ends_with(" /bin/true 'a b' '\\u{1b}[2J'\n"), "{text:?}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn root_a_tree_is_indented() {
    let run = Run::with(&["-o", "text", "--tree"]);
    Ended::of(&mut run.command(&["sh", "-c", "sh -c '/bin/true deep; :'; /bin/true flat; :"]));
    let text = run.text();
    let columns: Vec<_> = ["sh -c \"", "sh -c '", "/bin/true deep\n", "/bin/true flat\n"]
        .iter()
        .zip(text.split_inclusive('\n'))
        .map(|(words, line)| line.find(words).unwrap_or_else(|| panic!("no {words:?} in {line:?}")))
        .collect();
    assert_eq!([columns[1], columns[2], columns[3]].map(|column| column - columns[0]), [2, 4, 2], "{text}");
}

#[test]
fn root_the_command_sees_the_same_terminal_and_the_same_processes() {
    let run = Run::silent();
    let script = "tty; readlink /proc/self/ns/pid /proc/self/ns/mnt; echo $PPID; for fd in 0 1 2; do test -t $fd || echo no; done";
    let inner = run.folder.path().join("look.sh");
    fs::write(&inner, script).expect("a script");
    let (code, text) = shown(terminal(&format!("tty; echo --; {}", run.typed(&format!("sh {}", inner.display())))));
    let (outside, inside) = text.split_once("--\n").expect("two parts");
    let inside: Vec<_> = inside.lines().collect();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(inside[0], outside.trim_end(), "{text}");
    for (kind, seen) in [("pid", inside[1]), ("mnt", inside[2])] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert_eq!(own, Path::new(seen));
    }
    assert_eq!(inside.len(), 4, "{text}");
    let tty = with_msg(&run.lines(), "exec")[0].event_text("tty").map(|tty| format!("/dev/{tty}"));
    assert_eq!(tty.as_deref(), Some(inside[0]), "the log knows the terminal");
}

#[test]
fn root_on_a_terminal_the_lines_are_text_in_colour() {
    let (_, text) = shown(terminal(&format!("env -u NO_COLOR {EXECTRACE} run /bin/true coloured")));
    let line = text.lines().find(|line| line.ends_with("/bin/true coloured")).expect("the line");
    assert!(line.contains("\x1b["), "{line:?}");
    let (_, text) = shown(terminal(&format!("NO_COLOR=1 {EXECTRACE} run /bin/true plain")));
    assert!(text.contains("/bin/true plain") && !text.contains('\x1b'), "{text:?}");
}

#[test]
fn root_what_is_sent_to_us_reaches_the_command() {
    for signal in [Signal::TERM, Signal::HUP, Signal::USR1] {
        let run = Run::new();
        let mut program = Program::start(&mut run.command(&["sh", "-c", "echo ready; exec sleep 60"]));
        program.stdout().wait_for("ready", |line| line == "ready");
        // The shell becomes the sleep, which the signal ends either way.
        program.signal(signal);
        let (status, _, messages) = program.end();
        assert_eq!(status.code(), Some(128 + signal.as_raw()), "{messages:?}");
        assert!(cmdlines(&run.lines())[0].starts_with("sh -c"));
    }
}

#[test]
fn root_what_is_sent_to_us_as_soon_as_the_command_lives_reaches_it_too() {
    for _ in 0..10 {
        let ended = Ended::of(&mut Run::new().command(&["sh", "-c", "kill -TERM $PPID; exec sleep 60"]));
        assert_eq!(ended.code, Some(143), "{ended:?}");
    }
}

#[test]
fn root_a_command_that_catches_the_signal_decides_how_it_ends() {
    let run = Run::new();
    let script = "sleep 60 & trap 'kill $!; /bin/true caught; exit 9' TERM; echo ready; wait";
    let mut program = Program::start(&mut run.command(&["sh", "-c", script]));
    program.stdout().wait_for("ready", |line| line == "ready");
    program.signal(Signal::TERM);
    assert_eq!(program.end().0.code(), Some(9));
    assert_eq!(cmdlines(&run.lines()).last(), Some(&"/bin/true caught"), "what it does at its end is logged");
}

#[test]
fn root_an_interrupt_typed_at_the_terminal_ends_the_command_and_is_reported() {
    let run = Run::new();
    let inner = run.folder.path().join("wait.sh");
    fs::write(&inner, "echo ready; exec sleep 60").expect("a script");
    // The shell around it survives the key, to tell what became of exectrace.
    let script = format!("trap : INT; {}; echo status=$?", run.typed(&format!("sh {}", inner.display())));
    let mut program = terminal(&script);
    program.stdout().wait_for("ready", |line| line.trim_end() == "ready");
    program.stdin.as_mut().expect("a pipe").write_all(b"\x03").expect("script reads");
    program.stdout().wait_for("the status", |line| line.trim_end().ends_with("status=130"));
    let lines = run.lines();
    assert!(cmdlines(&lines)[0].starts_with("sh "), "{lines:?}");
}

/// As by nohup, and as shells do with what they start in the background.
#[test]
fn root_what_is_ignored_stays_ignored_for_the_command() {
    let own = "grep SigIgn: /proc/self/status";
    let ignoring = |script: &str| format!("trap '' HUP INT USR1; {script}");
    let run = Run::new();
    let without = Ended::of(Command::new("sh").args(["-c", &ignoring(own)]));
    let with = Ended::of(Command::new("sh").args(["-c", &ignoring(&run.typed(own))]));
    assert_eq!((with.code, with.stdout), (Some(0), without.stdout));
}

#[test]
fn root_the_command_keeps_its_capabilities_and_exectrace_gives_up_its_own() {
    let own = "grep -E '^(Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign))' /proc/self/status";
    let without = Ended::of(Command::new("sh").args(["-c", own]));
    let with = Ended::of(&mut Run::new().command(&["sh", "-c", own]));
    assert_eq!(with.stdout, without.stdout);
    // BPF and PERFMON are numbers 39 and 38. They are all that is left soon after the command was started.
    let bits = "000000c000000000";
    let script = format!(
        "until grep -q 'CapPrm:.{bits}' /proc/$PPID/status; do :; done; \
         until grep -q 'NoNewPrivs:.1' /proc/$PPID/status; do :; done; cat /proc/$PPID/task/*/status"
    );
    let ended = Ended::of(&mut Run::new().command(&["sh", "-c", &script]));
    let values = |name: &str| -> Vec<&str> {
        ended.stdout.lines().filter_map(|line| line.strip_prefix(name)).map(str::trim).collect()
    };
    assert!(values("Name:").len() >= 2, "the reader and the writer: {ended:?}");
    for (name, expected) in [
        ("CapInh:", "0000000000000000"),
        ("CapAmb:", "0000000000000000"),
        ("CapPrm:", bits),
        ("CapEff:", bits),
        ("CapBnd:", bits),
        ("NoNewPrivs:", "1"),
    ] {
        assert!(values(name).iter().all(|value| *value == expected), "{name} {:?}", values(name));
    }
}

#[test]
fn root_logging_ends_with_the_command_although_a_child_of_it_lives_on() {
    let run = Run::silent();
    let ended = Ended::of(&mut run.command(&["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"]));
    let pid = Pid::from_raw(ended.stdout.trim().parse().expect("a pid")).expect("a pid is not 0");
    kill_process(pid, Signal::KILL).expect("the child lives on");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
