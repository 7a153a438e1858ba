//! `exectrace verify`: exit codes and reports of small logs. What each finding is made of, the program's own tests show.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::folder::Folder;
use crate::program::{EXECTRACE, Ended, exectrace};

/// The log of a run: a start, two execs, a ledger and a stop. Its tags were made by other programs (Python's hashlib and
/// OpenSSL), after the words of `docs/verify.md`.
const PLAIN: [&str; 5] = [
    r#"{"ts":"2026-11-23T16:04:43.000000001Z","level":"INFO","msg":"start","caller":"a","func":"b","fields":{"labels":{"user":"jessie"},"start":{"version":"0.1.0","kernel":"6.18.44","boot_id":"b","settings":"0123456789abcdef","scopes":[{"scope":1,"kind":"pid_ns","of":"4026532412"}],"running":0,CHAINED"line":"5eedcafe-1"}}}"#,
    r#"{"ts":"2026-11-23T16:04:44.000000001Z","level":"INFO","msg":"exec","caller":"a","func":"b","fields":{"labels":{"user":"jessie"},"cmdline":"uname -a","event":{"filename":"/usr/bin/uname","argv":["uname","-a"],"truncated":false,"id":"b7c9e1d2a4f0-1-e0c6c-3","line":"5eedcafe-2"}}}"#,
    r#"{"ts":"2026-11-23T16:04:45.000000001Z","level":"INFO","msg":"exec","caller":"a","func":"b","fields":{"labels":{"user":"jessie"},"cmdline":"uname -r","event":{"filename":"/usr/bin/uname","argv":["uname","-r"],"truncated":false,"id":"b7c9e1d2a4f0-2-e0c6c-3","line":"5eedcafe-3"}}}"#,
    r#"{"ts":"2026-11-23T16:04:46.000000001Z","level":"INFO","msg":"ledger","caller":"a","func":"b","fields":{"labels":{"user":"jessie"},"ledger":{"first":1,"last":3,"seen":5,"written":2,"excluded":{"uid":3,"path":0},"lost":{},"waiting":0,"recursion_misses":0,"line":"5eedcafe-4"}}}"#,
    r#"{"ts":"2026-11-23T16:04:47.000000001Z","level":"INFO","msg":"stop","caller":"a","func":"b","fields":{"labels":{"user":"jessie"},"stop":{"why":"asked to","line":"5eedcafe-5"}}}"#,
];
const KEY: &str = "a key for the tests alone\n";
const KEYED_TAGS: [&str; 5] = [
    "e4bd5c55254131f55fd086045e3e3ff1",
    "4e31960a13ed96b58a64660a3994faa9",
    "589af4b81094b4b94f12714b0a1aee25",
    "b606730c344844c2948fd2431e2b3360",
    "fa8c31227d7275cdb8a63b8befeca007",
];
const LINKED_TAGS: [&str; 5] = [
    "a252b40045400d6988275bd6e336652c",
    "b2bbc447ab5f6171d9288053b424e46d",
    "566e7684cb651ae09ead4bb119748d99",
    "b7e688174dd4428ea6c15de184761466",
    "6bdf5fa5b408d108c1544c33f5626ed1",
];

fn plain() -> Vec<String> {
    PLAIN.iter().map(|line| line.replace("CHAINED", "")).collect()
}

fn chained(name: &str, tags: [&str; 5]) -> Vec<String> {
    let chained = format!("\"chained\":\"{name}\",");
    let with_tag = |(line, tag): (&&str, &str)| {
        let body = line.replace("CHAINED", &chained);
        format!("{},\"chain\":\"{tag}\"}}}}}}", body.strip_suffix("}}}").expect("the end of a line"))
    };
    PLAIN.iter().zip(tags).map(with_tag).collect()
}

fn keyed() -> Vec<String> {
    chained("hmac-sha256", KEYED_TAGS)
}

impl Folder {
    fn log(&self, lines: &[String]) -> PathBuf {
        self.file("log", lines.join("\n") + "\n")
    }
}

fn verify(words: &[&str], files: &[&Path]) -> Ended {
    Ended::of(exectrace(["--log-format", "text", "verify"]).args(words).args(files))
}

#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[track_caller]
fn kinds(ended: &Ended) -> Vec<String> {
    let findings = report(ended)["findings"].as_array().expect("findings").clone();
    findings.iter().map(|finding| finding["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[test]
fn a_whole_log_ends_with_0_and_its_totals() {
    let folder = Folder::new();
    let key = folder.file("key", KEY);
    let key = key.to_str().expect("a path");
    for (lines, words) in [
        (plain(), vec!["-o", "json"]),
        (chained("sha256", LINKED_TAGS), vec!["-o", "json"]),
        (keyed(), vec!["-o", "json", "--chain-key", key]),
    ] {
        let ended = verify(&words, &[&folder.log(&lines)]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        let report = report(&ended);
        assert_eq!(report["verdict"], "whole");
        assert_eq!(report["findings"], Value::Array(vec![]));
        let totals = serde_json::json!({
            "seen": 5, "execs": 2, "excluded": { "uid": 3, "path": 0 }, "lost": {}, "missing": 0,
        });
        assert_eq!(report["totals"], totals);
        assert_eq!(report["runs"][0]["run"], "5eedcafe");
        assert_eq!(report["runs"][0]["labels"]["user"], "jessie");
        assert_eq!(report["runs"][0]["stop"], "asked to");
    }
}

#[test]
fn a_log_with_a_gap_ends_with_1_and_names_it() {
    let folder = Folder::new();
    let mut lines = plain();
    lines.remove(1);
    let log = folder.log(&lines);
    let ended = verify(&["-o", "json"], &[&log]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["verdict"], "gaps");
    let finding = serde_json::json!({
        "kind": "missing-lines", "class": "gap", "run": "5eedcafe", "from_line": 2, "to_line": 2,
        "from": "2026-11-23T16:04:43.000000001Z", "to": "2026-11-23T16:04:45.000000001Z", "execs": 1,
        "why": "1 line is not there", "file": log, "file_line": 2,
    });
    assert_eq!(report["findings"], Value::Array(vec![finding]));
    let text = verify(&[], &[&log]);
    assert_eq!(text.code, Some(1));
    for words in [
        "gaps:",
        "GAP missing-lines: run 5eedcafe line 2: 1 line is not there; 1 exec;",
        "log:2)",
        "5 seen, 1 in the log",
    ] {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
    let quiet = verify(&["--quiet"], &[&log]);
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(1), "", ""));
}

#[test]
fn a_log_that_was_changed_ends_with_1_and_names_the_line() {
    let folder = Folder::new();
    let key = folder.file("key", KEY);
    let mut lines = keyed();
    lines[2] = lines[2].replace("uname -r", "uname -s");
    let ended = verify(&["-o", "json", "--chain-key", key.to_str().expect("a path")], &[&folder.log(&lines)]);
    assert_eq!((ended.code, kinds(&ended)), (Some(1), vec!["edited".to_owned()]));
    let report = report(&ended);
    assert_eq!((&report["verdict"], &report["findings"][0]["from_line"]), (&"tampered".into(), &3.into()));
}

#[test]
fn keys_that_do_not_do_are_told() {
    let folder = Folder::new();
    let log = folder.log(&keyed());
    let wrong = folder.file("wrong", "a key for another log\n");
    let wrong = wrong.to_str().expect("a path").to_owned();
    for (words, code, kind) in
        [(vec!["-o", "json"], 1, "unchecked"), (vec!["-o", "json", "--chain-key", &wrong], 1, "wrong-key")]
    {
        let ended = verify(&words, &[&log]);
        assert_eq!((ended.code, kinds(&ended)), (Some(code), vec![kind.to_owned()]), "{ended:?}");
    }
    let text = verify(&[], &[&log]);
    assert!(text.stdout.contains("cannot be checked without --chain-key"), "{}", text.stdout);
    let short = folder.file("short", "too short\n");
    for path in [short.as_path(), Path::new("/nonexistent/key")] {
        let path = path.to_str().expect("a path");
        let ended = verify(&["--chain-key", path], &[&log]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(path), "{ended:?}");
    }
}

#[test]
fn what_is_no_log_ends_with_2() {
    let folder = Folder::new();
    for content in ["", "\n", "exectrace\n", "{\"msg\":\"exec\"}\n"] {
        let ended = verify(&["-o", "json"], &[&folder.file("log", content)]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{content:?}: {ended:?}");
        assert!(ended.stderr.contains("not a log of exectrace"), "{ended:?}");
    }
    let log = folder.log(&plain());
    for path in [Path::new("/nonexistent/log"), folder.path()] {
        let ended = verify(&[], &[&log, path]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(path.to_str().expect("a path")), "{ended:?}");
    }
    for words in [&[][..], &["--output", "xml", "log"], &["--nonsense", "log"]] {
        assert_eq!(verify(words, &[]).code, Some(2), "{words:?}");
    }
}

#[test]
fn a_log_comes_by_stdin_too() {
    let folder = Folder::new();
    let log = folder.log(&plain());
    let mut command = exectrace(["verify", "-o", "json", "-"]);
    let output = command.stdin(File::open(&log).expect("the log")).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"whole\""), "{output:?}");
    // A pipe, compressed, and a key from a pipe.
    let (key, keyed) = (folder.file("key", KEY), folder.file("keyed", keyed().join("\n") + "\n"));
    let script =
        format!("gzip -c {} | {EXECTRACE} verify --chain-key <(cat {}) -o json -", keyed.display(), key.display());
    let ended = Ended::of(std::process::Command::new("bash").args(["-c", &script]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn a_container_s_log_in_two_files_is_read_in_any_order() {
    let folder = Folder::new();
    let lines = plain();
    let cri = |lines: &[String]| {
        let time = "2026-11-23T16:04:43.548644144Z";
        let pieces = lines.iter().flat_map(|line| {
            let (first, second) = line.split_at(70);
            [
                format!("{time} stdout P {first}\n"),
                format!("{time} stderr F x\n"),
                format!("{time} stdout F {second}\n"),
            ]
        });
        pieces.collect::<String>()
    };
    let (first, second) = (folder.file("0.log", cri(&lines[..2])), folder.file("1.log", cri(&lines[2..])));
    let ended = verify(&["-o", "json"], &[&second, &first]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(report(&ended)["notes"]["stderr"], 5);
}

#[test]
fn a_report_that_nobody_reads_is_no_verdict() {
    let folder = Folder::new();
    let log = folder.log(&plain());
    let script = format!("{EXECTRACE} verify {} >/dev/full", log.display());
    let ended = Ended::of(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!(ended.code, Some(5), "{ended:?}");
}

#[test]
fn the_help_tells_the_flags_and_the_exit_codes() {
    let help = Ended::of(&mut exectrace(["verify", "--help"]));
    assert_eq!(help.code, Some(0));
    for words in ["--chain-key", "--output", "--max-findings", "--quiet", "FILE", "Exit codes", "stdin"] {
        assert!(help.stdout.contains(words), "{words}: {}", help.stdout);
    }
}
