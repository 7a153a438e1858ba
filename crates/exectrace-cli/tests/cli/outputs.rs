//! What leaves the program: lines that fit, without secrets, to one place or several.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::Folder;
use crate::line::{Line, with_msg};
use crate::program::{Ended, PATIENCE, Program, exectrace};

/// `exectrace run` of a command.
fn run(options: &[&str], command: &[&str]) -> Command {
    let mut run = exectrace(["run", "-o", "json"]);
    run.args(options).arg("--").args(command);
    run
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[track_caller]
fn assert_whole(files: &[PathBuf]) {
    let ended = Ended::of(exectrace(["verify"]).args(files));
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}

#[test]
fn root_a_padded_command_fits_the_pipeline_and_is_put_together_again() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let padding = "A".repeat(100_000);
    Ended::well(&mut run(&["--log", name(&log)], &["/bin/true", &padding, "curl", "https://example.com/x"]));
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.lines().all(|line| line.len() < 16_384));
    let lines = Line::parse_all(&text);
    let continued = with_msg(&lines, "continued").len();
    let first = with_msg(&lines, "exec").into_iter().next().expect("an exec");
    assert_eq!(first.body().and_then(|event| event["parts"].as_u64()), Some(continued as u64 + 1));
    assert!(continued >= 12, "{continued}");
    assert_whole(std::slice::from_ref(&log));
    let shown = Ended::well(exectrace(["logs", "-o", "text"]).arg(&log)).stdout;
    assert!(shown.contains(&format!("/bin/true {padding} curl https://example.com/x\n")), "{shown}");
    // Without one of them: missing, and not contradictory.
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("\"part\":3,")).collect();
    fs::write(&log, without.join("\n") + "\n").expect("a file");
    let verdict = Ended::of(exectrace(["verify"]).arg(&log));
    assert_eq!(verdict.code, Some(1));
    assert!(verdict.stdout.contains("1 line is not there"), "{}", verdict.stdout);
    assert!(!verdict.stdout.contains("contradict"), "{}", verdict.stdout);
    let shown = Ended::well(exectrace(["logs", "-o", "text"]).arg(&log)).stdout;
    assert!(shown.contains("… (arguments missing)"), "{shown}");
}

#[test]
fn root_lines_are_as_long_and_as_many_sided_as_one_says() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let words: Vec<String> = (0..300).map(|at| format!("word-{at}")).collect();
    let command: Vec<&str> = std::iter::once("/bin/true").chain(words.iter().map(String::as_str)).collect();
    Ended::well(&mut run(&["--log", name(&log), "--max-line", "4096", "--max-line-args", "40"], &command));
    let text = fs::read_to_string(&log).expect("the log");
    let lines = Line::parse_all(&text);
    assert!(text.lines().all(|line| line.len() < 4_096));
    let args = |line: &Line| line.body().and_then(|event| event["argv"].as_array().map(Vec::len));
    let counts: Vec<usize> = lines.iter().filter_map(args).collect();
    assert_eq!((counts.iter().sum::<usize>(), counts.iter().max()), (301, Some(&40)), "{counts:?}");
    // Cut instead: one line, which says so.
    fs::remove_file(&log).expect("the log");
    Ended::well(&mut run(&["--log", name(&log), "--argv-limit", "100"], &command));
    let lines = Line::parse_all(&fs::read_to_string(&log).expect("the log"));
    assert_eq!(with_msg(&lines, "continued").len(), 0);
    let cut = with_msg(&lines, "exec").first().and_then(|line| line.body()).expect("an exec");
    assert_eq!((cut["truncated"].as_bool(), cut["argv_kept_bytes"].as_u64()), (Some(true), Some(100)));
}

#[test]
fn root_secrets_do_not_leave_but_where_one_wants_them_to() {
    let folder = Folder::new();
    let key = folder.file("key", "0123456789abcdef");
    let rules = folder.file("rules.toml", "[[flag]]\nname = '--pin'\n");
    let command = ["/bin/true", "--password", "hunter2hunter2", "--pin", "4711"];
    let redacted = Ended::well(&mut run(&[], &command)).stdout;
    assert!(!redacted.contains("hunter2") && redacted.contains("\"redacted\":1"), "{redacted}");
    assert!(redacted.contains("4711"), "{redacted}");
    let options = ["--redact-key", name(&key), "--redact-rules", name(&rules)];
    let both = || Ended::well(&mut run(&options, &command)).stdout;
    let mark = |log: String| log.split("[redacted:").nth(1).map(|rest| rest[..8].to_owned()).expect("a mark");
    assert!(!both().contains("4711") && both().contains("\"redacted\":2"));
    assert_eq!(mark(both()), mark(both()), "one key");
    assert_ne!(
        mark(Ended::well(&mut run(&[], &command)).stdout),
        mark(Ended::well(&mut run(&[], &command)).stdout),
        "another key"
    );
    let clear = Ended::well(&mut run(&["--redact", "off"], &command)).stdout;
    assert!(clear.contains("hunter2hunter2") && !clear.contains("\"redacted\""), "{clear}");
    let text = Ended::well(exectrace(["run", "-o", "text", "--"]).args(command)).stdout;
    assert!(!text.contains("hunter2") && text.contains("[redacted:"), "{text}");
}

#[test]
fn rules_and_keys_that_cannot_be_used_are_named_before_anything_runs() {
    let folder = Folder::new();
    for (option, content, why) in
        [("--redact-rules", "[[rules]]", "unknown field"), ("--redact-key", "short", "at least 16 bytes")]
    {
        let file = folder.file("file", content);
        let ended = Ended::of(&mut run(&[option, name(&file)], &["/bin/true"]));
        assert_eq!(ended.code, Some(125), "{ended:?}");
        assert!(ended.stderr.contains(why) && ended.stderr.contains(name(&file)), "{}", ended.stderr);
    }
    let ended = Ended::of(&mut run(&["--sink", "file"], &["/bin/true"]));
    assert!(ended.stderr.contains("needs --log FILE"), "{}", ended.stderr);
    let ended = Ended::of(&mut run(&["--max-line", "100"], &["/bin/true"]));
    assert!(ended.stderr.contains("at least 4096"), "{}", ended.stderr);
}

#[test]
fn root_two_outputs_have_the_same_lines() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let ended = Ended::well(&mut run(
        &["--sink", "stdout,file", "--log", name(&log)],
        &["sh", "-c", "/bin/true; /bin/false; true"],
    ));
    assert_eq!(fs::read_to_string(&log).expect("the log"), ended.stdout);
    assert!(ended.stdout.lines().count() >= 5);
    let refused =
        Ended::of(&mut exectrace(["run", "-o", "text", "--sink", "stdout,file", "--log", name(&log), "--", "true"]));
    assert!(refused.stderr.contains("give JSON to several sinks"), "{}", refused.stderr);
}

/// `/dev/full` takes nothing: the log goes on, and says at its end what that output lacks.
#[test]
fn root_what_one_of_two_outputs_does_not_take_is_told_by_the_other() {
    let ended =
        Ended::well(&mut run(&["--sink", "stdout,file", "--log", "/dev/full"], &["sh", "-c", "/bin/true; true"]));
    let lines = Line::parse_all(&ended.stdout);
    let dropped = with_msg(&lines, "dropped").first().and_then(|line| line.body()).expect("what the file lacks");
    assert_eq!((&dropped["sink"], &dropped["reason"]), (&"file".into(), &"write_failed".into()));
    assert!(dropped["first"].as_str().expect("a number").ends_with("-1"), "{dropped}");
}

#[test]
fn root_a_file_that_is_large_is_put_aside_and_the_whole_is_a_whole_log() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let options = ["--log", name(&log), "--log-max-size", "20KiB", "--log-keep", "0", "--chain"];
    Ended::well(&mut run(&options, &["sh", "-c", "i=0; while [ $i -lt 300 ]; do /bin/true $i; i=$((i+1)); done"]));
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let aside = files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "zst")).count();
    assert!(aside >= 5, "{:?}", files());
    assert_eq!(files().len(), aside + 1, "all is compressed: {:?}", files());
    assert!(files().iter().all(|file| file.metadata().expect("a file").len() <= 20 << 10));
    assert_whole(&files());
}

/// What a GET of the metrics says.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the metrics");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("application/openmetrics-text"), "{answer}");
    answer
}

#[cfg(feature = "metrics")]
#[test]
fn root_what_is_counted_is_served_under_documented_names() {
    let options = ["--metrics", "127.0.0.1:0"];
    let mut program = Program::start(
        run(&options, &["sh", "-c", "/bin/true --password hunter2hunter2; read x"]).stdin(std::process::Stdio::piped()),
    );
    let serving = program.wait_for_message("serving metrics");
    let address = serving.field("address").as_str().expect("an address").to_owned();
    program.stdout().wait_for("the exec", |line| line.contains("[redacted:"));
    let answer = metrics(&address);
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse::<f64>().expect("a number")
    };
    assert!(value("exectrace_written_total{what=\"exec\"}") >= 1.0);
    assert!(value("exectrace_redacted_secrets_total") >= 1.0);
    assert!(value("exectrace_written_bytes_total") > 100.0);
    let docs = include_str!("../../../../docs/metrics.md");
    for line in answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(docs.contains(&format!("`{name}")), "docs/metrics.md says nothing of {name}");
    }
    drop(program.stdin.take());
    let (_, ended) = program.stop();
    assert_eq!(ended.code, Some(1), "what `read` says at the end of its input: {ended:?}");
}

#[test]
fn root_lines_come_in_the_schemas_of_others_and_still_fit() {
    let folder = Folder::new();
    let padding = "A".repeat(40_000);
    for (format, command) in [("ecs", "/process/command_line"), ("ocsf", "/process/cmd_line")] {
        let log = folder.path().join(format);
        let options = ["--sink", "stdout,file", "--log", name(&log), "--format", format, "--max-line", "8192"];
        let mut run = exectrace(["run"]);
        run.args(options).args(["--", "/bin/true", "hello", &padding]);
        let stdout = Ended::well(&mut run).stdout;
        assert_eq!(stdout, fs::read_to_string(&log).expect("the log"), "all outputs have the same");
        let lines: Vec<serde_json::Value> =
            stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(stdout.lines().all(|line| line.len() < 8192 && line.is_ascii()));
        let begins = |line: &serde_json::Value| {
            line.pointer(command)
                .and_then(serde_json::Value::as_str)
                .is_some_and(|text| text.starts_with("/bin/true hello"))
        };
        assert_eq!(lines.iter().filter(|line| begins(line)).count(), 1, "{format}");
        assert!(lines.len() > 8, "what does not fit follows: {}", lines.len());
    }
    let ended = Ended::of(exectrace(["run", "-o", "ecs", "--max-line", "4096"]).args(["--", "/bin/true"]));
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("--max-line must be at least 6144"), "{}", ended.stderr);
}

#[test]
fn labels_that_would_fill_a_line_are_refused() {
    let label = format!("note={}", "x".repeat(5_000));
    let ended = Ended::of(&mut exectrace(["sidecar", "--use-local-pidns", "--label", &label]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("may take 4096 (a quarter of --max-line)"), "{}", ended.stderr);
}
