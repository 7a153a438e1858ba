//! `exectrace logs`: what it reads from files, from a pipe and from a cluster, and how it ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use rustix::process::Signal;
use serde_json::json;

use crate::folder::Folder;
use crate::program::{Ended, Program, exectrace};

/// A line of run `run` with this number, of the second `second`.
fn exec(user: &str, run: &str, number: u64, second: u64, cmdline: &str) -> String {
    format!(
        r#"{{"ts":"2026-11-23T16:04:{second:02}.000000001Z","level":"INFO","msg":"exec","caller":"a","func":"b","fields":{{"labels":{{"username":"{user}","workspace_name":"main"}},"cmdline":"{cmdline}","event":{{"filename":"/bin/x","argv":["x"],"truncated":false,"pid":{number},"uid":1000,"gid":1000,"comm":"sh","id":"{run}-{number}","parent_id":"{run}-{}","line":"{run}-{number}"}}}}}}"#,
        number - 1
    )
}

fn text(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("room");
    encoder.finish().expect("room")
}

/// As containerd stores it, in pieces of so many bytes.
fn stored(lines: &[&str], piece: usize) -> String {
    let mut stored = String::new();
    for line in lines {
        let mut rest = *line;
        while rest.len() > piece {
            stored.push_str(&format!("2026-11-23T16:04:43.1Z stdout P {}\n", &rest[..piece]));
            rest = &rest[piece..];
        }
        stored.push_str(&format!("2026-11-23T16:04:43.1Z stdout F {rest}\n"));
    }
    stored
}

fn logs(words: &[&str], files: &[&Path]) -> Ended {
    Ended::of(exectrace(["--log-format", "text", "logs"]).args(words).args(files))
}

#[test]
fn a_rotated_set_comes_in_order_byte_for_byte_whatever_its_files_are() {
    let lines: Vec<String> = (1..8).map(|number| exec("jessie", "5eedcafe", number, 40 + number, "uname -a")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let folder = Folder::new();
    let oldest = folder.file("0.log.20261123-160441.gz", gzip(&stored(&lines[..2], 100)));
    let older = folder.file("0.log.20261123-160443", stored(&lines[2..5], 50));
    let newest = folder.file("0.log", text(&lines[5..]));
    for files in [[&oldest, &older, &newest], [&newest, &oldest, &older]] {
        let ended = logs(&[], &files.map(PathBuf::as_path));
        assert_eq!((ended.code, ended.stdout, ended.stderr.as_str()), (Some(0), text(&lines), ""));
    }
    let tail = logs(&["--tail", "2", "-o", "json"], &[&newest, &older]);
    assert_eq!(tail.stdout, text(&lines[5..]));
}

#[test]
fn what_is_old_is_left_out() {
    let folder = Folder::new();
    let now = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
    let old = exec("jessie", "5eedcafe", 1, 41, "ls");
    let new = exec("jessie", "5eedcafe", 2, 41, "ls").replace("2026-11-23T16:04:41.000000001Z", &now);
    let old = old.replace("2026-11-23", "2020-11-23");
    let ended = logs(&["--since", "1h"], &[&folder.file("log", text(&[&old, &new]))]);
    assert_eq!((ended.code, ended.stdout), (Some(0), text(&[&new])));
}

#[test]
fn two_workspaces_are_merged_and_each_line_says_whose_it_is() {
    let folder = Folder::new();
    let jessie =
        folder.file("a", text(&[&exec("jessie", "5eedcafe", 1, 41, "make"), &exec("jessie", "5eedcafe", 2, 43, "cc")]));
    let zac = folder.file("b", text(&[&exec("zac", "0badcafe", 1, 42, "ls")]));
    let ended = logs(&["--output", "text"], &[&zac, &jessie]);
    let expected = "jessie/main 2026-11-23T16:04:41.000Z       1  1000 make\n\
                    zac/main 2026-11-23T16:04:42.000Z       1  1000 ls\n\
                    jessie/main 2026-11-23T16:04:43.000Z       2  1000 cc\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), expected, ""));
    let one = logs(&["-o", "text", "--user", "zac", "--workspace", "main"], &[&zac, &jessie]);
    assert_eq!(one.stdout, "2026-11-23T16:04:42.000Z       1  1000 ls\n");
    let tree = logs(&["-o", "tree"], &[&zac, &jessie]);
    let expected = "jessie/main\n\
                    2026-11-23T16:04:41.000Z       1  1000 └─ make\n\
                    2026-11-23T16:04:43.000Z       2  1000    └─ cc\n\
                    zac/main\n\
                    2026-11-23T16:04:42.000Z       1  1000 └─ ls\n";
    assert_eq!(tree.stdout, expected);
}

#[test]
fn what_is_not_of_the_log_is_shown_and_told() {
    let folder = Folder::new();
    let exec = exec("jessie", "5eedcafe", 1, 41, "ls");
    let log = format!("listening on \x1b[31m8080\n{exec}\n{}", &exec[..50]);
    let path = folder.file("log", &log);
    let json = logs(&[], &[&path]);
    assert_eq!((json.code, json.stdout), (Some(0), format!("{log}\n")));
    for words in ["not exectrace's", "are cut"] {
        assert!(json.stderr.contains(words), "{}", json.stderr);
    }
    let text = logs(&["-o", "text", "--user", "jessie", "--workspace", "main"], &[&path]);
    assert!(!text.stdout.contains('\x1b'), "{}", text.stdout);
    assert!(text.stdout.contains("a line that is cut: {"), "{}", text.stdout);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let folder = Folder::new();
    let exec = exec("jessie", "5eedcafe", 1, 41, "ls");
    let good = folder.file("good", text(&[&exec]));
    let damaged = folder.file("damaged.gz", &gzip(&text(&[exec.as_str()])[..].repeat(1000))[..300]);
    let missing = folder.path().join("missing");
    for path in [&damaged, &missing] {
        let ended = logs(&[], &[&good, path]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains(&exec) && ended.stderr.contains(path.to_str().expect("a path")), "{ended:?}");
    }
    let empty = logs(&[], &[&folder.file("empty", "")]);
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(1), ""));
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let mut program = Program::start(exectrace(["logs", "--follow", "-o", "tree", "-"]).stdin(Stdio::piped()));
    for (number, cmdline) in [(1, "make"), (2, "cc a.c")] {
        let stdin = program.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{}", exec("jessie", "5eedcafe", number, 41, cmdline)).expect("room");
        // The next line is written when this one was shown.
        let line = program.stdout().wait_for(cmdline, |line| line.contains(cmdline));
        assert!(line.ends_with(&format!("1000 {}{cmdline}", if number == 2 { "  " } else { "" })), "{line:?}");
    }
    drop(program.stdin.take());
    assert_eq!(program.end().0.code(), Some(0));
}

#[test]
fn a_pipe_that_is_named_twice_is_read_once() {
    let mut program = Program::start(exectrace(["logs", "-", "-"]).stdin(Stdio::piped()));
    let line = exec("jessie", "5eedcafe", 1, 41, "ls");
    writeln!(program.stdin.as_mut().expect("a pipe"), "{line}").expect("room");
    drop(program.stdin.take());
    let (status, lines, _) = program.end();
    assert_eq!((status.code(), lines), (Some(0), vec![line]));
}

#[test]
fn an_output_that_is_closed_ends_it_without_words() {
    let folder = Folder::new();
    let exec = exec("jessie", "5eedcafe", 1, 41, "ls");
    let log = folder.file("log", text(&vec![exec.as_str(); 2000]));
    let (program, stdout) = Program::start_unread(exectrace(["logs"]).arg(&log).stdin(Stdio::null()));
    drop(stdout);
    let (status, _, messages) = program.end();
    assert_eq!((status.code(), messages), (Some(5), vec![]));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let folder = Folder::new();
    let log = folder.file("log", "");
    for words in [
        vec!["logs"],
        vec!["logs", "--user", "a b"],
        vec!["logs", "--workspace", "main,app=x"],
        vec!["logs", "--follow", log.to_str().expect("a path")],
    ] {
        let ended = Ended::of(&mut exectrace(&words));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{words:?}: {ended:?}");
    }
}

fn pod(namespace: &str, name: &str, labels: serde_json::Value, container: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "labels": labels },
        "spec": { "initContainers": [{ "name": container, "image": "x" }], "containers": [{ "name": "dev", "image": "x" }] },
    })
}

/// Jessie's workspace, whose container was started again once.
fn restarted() -> serde_json::Value {
    let labels = json!({ "com.coder.user.username": "jessie", "com.coder.workspace.name": "main" });
    let mut pod = pod("workspaces", "coder-jessie-main", labels, "exectrace");
    let status = json!({ "name": "exectrace", "restartCount": 1, "image": "", "imageID": "", "ready": true });
    pod["status"] = json!({ "initContainerStatuses": [status] });
    pod
}

/// A cluster with jessie's workspace, whose pod has labels of both dialects, zac's of the old one, and one of jessie's that
/// is not traced.
fn cluster() -> ApiServer {
    let server = ApiServer::start();
    let jessie = json!({
        "com.coder.user.username": "jessie", "com.coder.username": "jessie", "com.coder.workspace.name": "main",
    });
    server.put(pod("workspaces", "coder-jessie-main", jessie, "exectrace"));
    server.set_log("workspaces", "coder-jessie-main", "exectrace", &exec("jessie", "5eedcafe", 1, 41, "make"));
    let zac = json!({ "com.coder.username": "zac", "com.coder.workspace.name": "main" });
    server.put(pod("workspaces", "coder-zac-main", zac, "exectrace"));
    server.set_log("workspaces", "coder-zac-main", "exectrace", &exec("zac", "0badcafe", 1, 40, "ls"));
    let other = json!({ "com.coder.user.username": "jessie", "com.coder.workspace.name": "old" });
    server.put(pod("workspaces", "coder-jessie-old", other, "sidecar"));
    server
}

fn command(server: &ApiServer, words: &[&str]) -> std::process::Command {
    let mut command = exectrace(["--log-format", "text", "logs", "--kubeconfig"]);
    command.arg(server.kubeconfig()).args(words);
    command
}

fn ask(server: &ApiServer, words: &[&str]) -> Ended {
    Ended::of(&mut command(server, words))
}

#[test]
fn both_dialects_of_labels_are_found_and_merged() {
    let server = cluster();
    let (jessie, zac) = (exec("jessie", "5eedcafe", 1, 41, "make"), exec("zac", "0badcafe", 1, 40, "ls"));
    for (words, expected) in [
        (vec!["--user", "jessie", "--workspace", "main"], text(&[&jessie])),
        (vec!["--user", "zac"], text(&[&zac])),
        (vec!["--workspace", "main"], text(&[&zac, &jessie])),
        (vec!["--workspace", "main", "--tail", "1"], text(&[&jessie])),
        (vec!["--workspace", "main", "-A", "--since", "50years"], text(&[&zac, &jessie])),
    ] {
        let ended = ask(&server, &words);
        assert_eq!((ended.code, ended.stdout, ended.stderr.as_str()), (Some(0), expected, ""), "{words:?}");
    }
    let asked = server.requests();
    let log = asked.iter().rfind(|request| request.path.ends_with("/log")).expect("a log");
    assert_eq!(log.query["container"], "exectrace");
    assert!(log.query.contains_key("sinceSeconds"), "{log:?}");
}

#[test]
fn a_pod_that_is_not_traced_is_named_and_nothing_found_ends_with_1() {
    let server = cluster();
    let all = ask(&server, &["--user", "jessie"]);
    assert_eq!(all.code, Some(0));
    assert!(all.stderr.contains("coder-jessie-old") && all.stderr.contains("rebuild the workspace"), "{all:?}");
    for (words, advice) in [
        (vec!["--user", "jessie", "--workspace", "old"], "was traced"),
        (vec!["--user", "nobody"], "namespace workspaces; -A"),
        (vec!["--user", "jessie", "-n", "elsewhere"], "namespace elsewhere"),
        (vec!["--user", "nobody", "-A"], "any namespace"),
    ] {
        let ended = ask(&server, &words);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{words:?}");
        assert!(ended.stderr.contains(advice), "{words:?}: {}", ended.stderr);
    }
}

#[test]
fn the_log_of_before_a_container_was_started_again_is_asked_for_too() {
    let server = cluster();
    server.put(restarted());
    // This server has one log for both; the line is shown once.
    let ended = ask(&server, &["--user", "jessie", "--workspace", "main"]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 1), "{ended:?}");
    let asked = server.requests();
    let previous = |request: &&exectrace_api_server_fixture::Seen| {
        request.query.get("previous").is_some_and(|word| word == "true")
    };
    assert_eq!(asked.iter().filter(previous).count(), 1);
}

#[test]
fn a_refusal_names_the_right_that_is_missing() {
    let server = cluster();
    for (part, right) in [("/pods?", "the verb list on pods"), ("/log?", "the verb get on pods/log")] {
        server.fail(Fault::new("GET", part, How::Status(403)));
        let ended = ask(&server, &["--user", "jessie", "--workspace", "main"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(right) && ended.stderr.contains("namespace workspaces"), "{}", ended.stderr);
        server.mend();
    }
    server.fail(Fault::new("GET", "watch=true", How::Status(403)));
    let ended = ask(&server, &["--user", "jessie", "--workspace", "main", "--follow"]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("the verb watch on pods"), "{}", ended.stderr);
}

#[test]
fn what_the_api_server_says_is_told_in_its_words() {
    let server = cluster();
    server.fail(Fault::new("GET", "/log?", How::Status(500)));
    let ended = ask(&server, &["--workspace", "main"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    for words in ["the log of pod workspaces/coder-jessie-main cannot be read: cannot get pods/log: ", "coder-zac-main"]
    {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("Status {"), "{}", ended.stderr);
    let folder = Folder::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let text = server.kubeconfig_text("localhost");
    let port = text.split("localhost:").nth(1).and_then(|rest| rest.split('\'').next()).expect("a port");
    let unreachable = folder.file("kubeconfig", text.replace(port, &nobody.port().to_string()));
    let words = ["--log-format", "text", "logs", "--workspace", "main", "--kubeconfig"];
    let ended = Ended::of(exectrace(words).arg("/nonexistent/kubeconfig"));
    assert_eq!(ended.code, Some(1));
    let refused = Ended::of(exectrace(words).arg(unreachable));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("cannot list pods: ") && refused.stderr.contains("refused"), "{}", refused.stderr);
    assert!(
        ended.stderr.contains("/nonexistent/kubeconfig") && ended.stderr.contains("--kubeconfig"),
        "{}",
        ended.stderr
    );
}

#[test]
fn who_follows_sees_what_comes_also_of_pods_that_come_later() {
    let server = cluster();
    let mut program =
        Program::start(command(&server, &["--workspace", "main", "--follow", "--tail", "1"]).stdin(Stdio::null()));
    let jessie = |number| exec("jessie", "5eedcafe", number, 50, "cc");
    assert!(program.stdout().wait_for("the last line", |_| true).contains("make"));
    server.append_log("workspaces", "coder-jessie-main", "exectrace", &jessie(2));
    assert_eq!(program.stdout().wait_for("a line that comes", |_| true), jessie(2));
    let labels = json!({ "com.coder.user.username": "new", "com.coder.workspace.name": "main" });
    server.set_log("workspaces", "coder-new-main", "exectrace", &exec("new", "0000cafe", 1, 51, "id"));
    server.put(pod("workspaces", "coder-new-main", labels, "exectrace"));
    assert_eq!(program.stdout().wait_for("a pod that comes", |_| true), exec("new", "0000cafe", 1, 51, "id"));
    program.signal(Signal::INT);
    let (status, rest, _) = program.end();
    assert_eq!((status.code(), rest), (Some(0), vec![]), "each line once");
}

#[test]
fn a_log_that_breaks_off_goes_on_without_doubles_or_gaps() {
    let server = cluster();
    // The first time it is followed, the connection ends before anything is said.
    server.fail(Fault::new("GET", "follow=true", How::Dropped).times(1));
    let words = ["--user", "jessie", "--workspace", "main", "--follow"];
    let mut program = Program::start(command(&server, &words).stdin(Stdio::null()));
    program.stdout().wait_for("what is there", |_| true);
    for number in 2..6 {
        let line = exec("jessie", "5eedcafe", number, 50, "cc");
        server.append_log("workspaces", "coder-jessie-main", "exectrace", &line);
        assert_eq!(program.stdout().wait_for("the next line", |_| true), line);
    }
    program.signal(Signal::TERM);
    let (status, rest, _) = program.end();
    assert_eq!((status.code(), rest), (Some(0), vec![]));
}

#[test]
fn a_container_that_is_started_again_is_followed_on() {
    let server = cluster();
    let words = ["--user", "jessie", "--workspace", "main", "--follow"];
    let mut program = Program::start(command(&server, &words).stdin(Stdio::null()));
    program.stdout().wait_for("what is there", |_| true);
    server.append_log("workspaces", "coder-jessie-main", "exectrace", &exec("jessie", "5eedcafe", 2, 50, "cc"));
    program.stdout().wait_for("its last line", |_| true);
    server.end_log("workspaces", "coder-jessie-main", "exectrace");
    let again = exec("jessie", "0000cafe", 1, 52, "sh");
    server.append_log("workspaces", "coder-jessie-main", "exectrace", &again);
    server.put(restarted());
    assert_eq!(program.stdout().wait_for("its first line", |_| true), again);
    server.wait_until("the log of before is read to its end", |server| {
        server.requests().iter().any(|request| request.query.get("previous").is_some_and(|word| word == "true"))
    });
    server.delete("pods", "workspaces", "coder-jessie-main");
    program.stderr.wait_for("the pod's end", |line| line.contains("nothing more comes from this pod"));
    program.signal(Signal::INT);
    let (status, rest, _) = program.end();
    assert_eq!((status.code(), rest), (Some(0), vec![]), "each line once");
}
