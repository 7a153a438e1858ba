//! `exectrace cost`: what a log costs, from files, from stdin and from a scope that is watched.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::folder::Folder;
use crate::program::{Ended, Program, exectrace};
use crate::workspace::Workspace;

/// Lines as they are written, of which each has its break.
fn log(count: usize) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines/exec-standard-uname.json");
    let line = fs::read_to_string(golden).expect("a golden line");
    let at = |number: usize| format!("2022-02-28T{:02}:{:02}:00.000000000Z", number / 60, number % 60);
    let one = |number: usize| {
        line.replace("2022-02-28T20:29:38.038452202Z", &at(number)).replace("-e0c6c-3", &format!("-e0c6c-{number:x}"))
    };
    (0..count).map(one).collect()
}

#[track_caller]
fn json(command: &mut Command) -> Value {
    let ended = Ended::well(command);
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

fn way<'a>(report: &'a Value, setting: usize, name: &str) -> &'a Value {
    let ways = report["settings"][setting]["ways"].as_array().expect("ways");
    ways.iter().find(|way| way["way"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn files_are_accounted_for_whatever_they_are() {
    let folder = Folder::new();
    let text = log(121);
    let plain = folder.file("log", &text);
    let report = json(exectrace(["cost", "-o", "json"]).arg(&plain));
    assert_eq!(report["basis"]["lines"], 121);
    assert_eq!(report["basis"]["bytes"], text.len());
    assert_eq!(report["basis"]["seconds"], 7200.0);
    assert_eq!(report["settings"][0]["bytes"], text.len());
    let raw = way(&report, 0, "raw")["bytes_a_month"].as_f64().expect("a month");
    assert!((raw - text.len() as f64 * 365.0).abs() < 1.0, "{raw}");
    assert_eq!(report["top"]["user"][0]["name"], "jessie");
    assert_eq!(report["top"]["exe"][0]["name"], "/usr/bin/uname");
    let cri: String = text.lines().map(|line| format!("2026-11-24T20:29:38.1Z stdout F {line}\n")).collect();
    let cri = folder.file("cri", cri);
    let compressed = folder.file("log.zst", zstd::encode_all(text.as_bytes(), 3).expect("room"));
    for other in [&cri, &compressed] {
        assert_eq!(json(exectrace(["cost", "-o", "json"]).arg(other)), report);
    }
    let (first, rest) = text.split_at(text.match_indices('\n').nth(40).expect("a line").0 + 1);
    let parts: [PathBuf; 2] = [folder.file("1", first), folder.file("2", rest)];
    assert_eq!(json(exectrace(["cost", "-o", "json"]).args(parts)), report);
}

#[test]
fn stdin_is_a_file_too() {
    let folder = Folder::new();
    let path = folder.file("log", log(10));
    let mut command = exectrace(["cost", "-o", "json", "-"]);
    command.stdin(File::open(path).expect("a file")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["basis"]["execs"], 10);
}

#[test]
fn people_get_tables_and_are_told_what_to_doubt() {
    let folder = Folder::new();
    let path = folder.file("log", log(10) + "noise\n");
    let ended = Ended::well(exectrace(["cost", "--times", "100", "--top", "1"]).arg(&path));
    for words in [
        "10 execs",
        "100 times",
        "Keep_Log Off",
        "--rollup, all in a file",
        "USER",
        "jessie",
        "thin basis",
        "or no JSON: 1 line",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
}

#[test]
fn prices_and_the_roll_up_come_from_the_configuration() {
    let folder = Folder::new();
    let path = folder.file("log", log(121));
    let config = folder.file("exectrace.toml", "[prices]\ncurrency = 'EUR'\n[prices.otlp]\ningest = 2\nstore = 0\n");
    let report = json(exectrace(["cost", "-o", "json", "--config"]).arg(&config).arg(&path));
    assert_eq!(report["prices"]["currency"], "EUR");
    let otlp = way(&report, 0, "otlp");
    let (bytes, money) =
        (otlp["bytes_a_month"].as_f64().expect("bytes"), otlp["a_month"]["all"].as_f64().expect("money"));
    assert!((money - bytes / 1e9 * 2.0).abs() < 1e-9);
    let refused = folder.file("bad.toml", "[prices.disk]\nstore = -1\n");
    let ended = Ended::of(exectrace(["cost", "--config"]).arg(&refused).arg(&path));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.message().msg().contains("cannot be used"), "{ended:?}");
}

#[test]
fn a_page_is_one_file_that_fetches_nothing() {
    let folder = Folder::new();
    let hostile = log(3).replace("/usr/bin/uname", "/tmp/</script><svg onload=alert(1)>");
    let path = folder.file("log", log(5) + &hostile);
    let page = Ended::well(exectrace(["cost", "-o", "html"]).arg(&path)).stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("<svg viewBox") && page.contains("&lt;svg onload=alert(1)&gt;"));
    for bad in ["<script", "<svg onload", "http://", "src="] {
        assert!(!page.contains(bad), "{bad}");
    }
}

#[test]
fn what_is_no_log_and_what_is_no_word_is_refused() {
    let folder = Folder::new();
    let noise = folder.file("noise", "noise\n{\"level\":\"info\"}\n");
    let ended = Ended::of(exectrace(["cost"]).arg(&noise));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.message().msg().contains("not a log of exectrace"));
    let missing = Ended::of(exectrace(["cost"]).arg(folder.path().join("missing")));
    assert_eq!(missing.code, Some(2), "{missing:?}");
    for words in [
        &["cost"][..],
        &["cost", "--live"],
        &["cost", "--pid", "1", "x"],
        &["cost", "--live", "--all", "x"],
        &["cost", "--live", "--all", "--pid", "1"],
        &["cost", "--for", "1s", "x"],
        &["cost", "--hours-a-month", "0", "x"],
        &["cost", "--hours-a-month", "745", "x"],
        &["cost", "--times", "-1", "x"],
    ] {
        assert_eq!(Ended::of(&mut exectrace(words)).code, Some(2), "{words:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let path = folder.file("log", log(10));
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = exectrace(["cost"]);
    let output = command.arg(&path).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn a_pipe_may_give_a_log_byte_by_byte() {
    let mut child =
        exectrace(["cost", "-o", "json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    for byte in log(1).as_bytes().chunks(1) {
        stdin.write_all(byte).expect("room");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\"execs\": 1"));
}

#[test]
fn root_a_namespace_is_watched_and_nothing_is_written() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let folder = Folder::new();
    let mut command = exectrace(["cost", "--live", "-o", "json", "--for", "1h", "--pid-ns", &number]);
    let mut program = Program::start(command.current_dir(folder.path()));
    program.wait_for_message("tracing");
    workspace.tell("i=0; while [ $i -lt 40 ]; do /bin/true one; i=$((i+1)); done; sh -c '/bin/true two; :'");
    program.signal(Signal::INT);
    let (status, stdout, _) = program.end();
    assert_eq!(status.code(), Some(0));
    let report: Value = serde_json::from_str(&stdout.join("\n")).expect("JSON");
    assert_eq!(report["basis"]["execs"], 42, "{report}");
    let rows = report["top"]["exe"].as_array().expect("rows");
    assert!(rows[0]["name"].as_str().is_some_and(|name| name.ends_with("/true")) && rows[0]["execs"] == 41, "{report}");
    assert!(way(&report, 0, "cloudwatch")["a_month"]["all"].as_f64().is_some_and(|money| money > 0.0));
    assert!(report["notes"][0].as_str().is_some_and(|note| note.starts_with("thin basis")), "{report}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn root_it_ends_by_itself_and_nothing_is_an_account_too() {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let ended = Ended::well(&mut exectrace(["cost", "--live", "--for", "300ms", "--pid-ns", &number]));
    assert!(ended.stdout.contains("0 execs") && ended.stdout.contains("thin basis"), "{ended:?}");
}
