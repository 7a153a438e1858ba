//! `exectrace query`: the text, and its way to CloudWatch Logs and back.

use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::front::{Answer, Front, lock};
use super::{GROUP, Shipping, free_port, moto::Moto, with_credentials};
use crate::folder::Folder;
use crate::program::{Ended, Program, exectrace};

#[test]
fn a_query_is_printed_and_nothing_is_sent() {
    let ended = Ended::of(&mut exectrace(["query", "--user", "zac", "--workspace", "code"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "fields @timestamp, log_processed.fields.cmdline\n\
         | sort @timestamp asc\n\
         | filter kubernetes.container_name=\"exectrace\"\n\
         | filter log_processed.fields.labels.username=\"zac\"\n\
         | filter log_processed.fields.labels.workspace_name=\"code\"\n"
    );
    let ended = Ended::of(&mut exectrace(["query", "--layout", "direct", "--text", "curl *", "--since", "1h"]));
    assert!(ended.stdout.ends_with("| filter fields.cmdline like /(?s)^curl .*$/\n"), "{}", ended.stdout);
    assert!(ended.stderr.contains("a query holds no time"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_asked_is_named() {
    let refused = |words: &[&str]| {
        let ended = Ended::of(exectrace(["query"]).args(words));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&["--user", "a\nb"]).contains("--user has a control character"));
    assert!(refused(&["--run"]).contains("--group"));
    assert!(refused(&["--since", "yesterday"]).contains("how long ago"));
    assert!(refused(&["--since", "1h", "--until", "2h"]).contains("--since is not before --until"));
}

fn run_query(port: u16, words: &[&str]) -> Command {
    let mut query = exectrace(["query", "--layout", "direct", "--run", "--group", GROUP, "--region", "eu-west-1"]);
    query.arg("--endpoint").arg(format!("http://127.0.0.1:{port}")).args(words);
    with_credentials(&mut query);
    query
}

fn reply(body: &Value) -> Answer {
    Answer::Reply(200, "Content-Type: application/x-amz-json-1.1\r\n", body.to_string().into_bytes())
}

/// Actions and what was asked by them.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Logs Insights that answers each request by its action; tells what it was asked.
fn insights(answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> (Front, Asked) {
    let asked = Asked::default();
    let to = Arc::clone(&asked);
    let front = Front::start(move |_, request| {
        let action = request.headers["x-amz-target"].rsplit('.').next().expect("an action").to_owned();
        let body = serde_json::from_slice(&request.body).expect("JSON");
        let number = {
            let mut asked = lock(&to);
            asked.push((action.clone(), body));
            asked.iter().filter(|(other, _)| *other == action).count()
        };
        answer(&action, number)
    });
    (front, asked)
}

fn row(time: &str, command: &str) -> Value {
    let cell = |field: &str, value: &str| json!({ "field": field, "value": value });
    json!([cell("@timestamp", time), cell("fields.cmdline", command), cell("@ptr", "x")])
}

fn results(status: &str, rows: &[Value], matched: usize) -> Answer {
    let statistics = json!({ "recordsMatched": matched, "recordsScanned": 100.0, "bytesScanned": 4096.0 });
    reply(&json!({ "status": status, "results": rows, "statistics": statistics }))
}

#[test]
fn a_query_is_asked_waited_for_and_printed() {
    let rows =
        [row("2026-11-28 09:00:00.000", "curl https://example.com"), row("2026-11-28 09:00:01.000", "curl \u{1b}[2J")];
    let (front, asked) = insights(move |action, number| match (action, number) {
        // What passes is tried again.
        ("StartQuery" | "GetQueryResults", 1) => {
            Answer::Reply(400, "", br#"{"__type":"ThrottlingException","message":"slow down"}"#.to_vec())
        }
        ("StartQuery", _) => reply(&json!({ "queryId": "q-1" })),
        ("GetQueryResults", 2) => results("Running", &[], 0),
        _ => results("Complete", &rows, 7),
    });
    let words =
        ["--user", "zac", "--text", "curl *", "--since", "2026-11-28T09:00:00Z", "--until", "2026-11-28T10:00:00Z"];
    let ended = Ended::of(&mut run_query(front.port, &words));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stdout);
    assert_eq!(lines[1], "2026-11-28 09:00:00.000  curl https://example.com");
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    assert!(ended.stderr.contains("these are not all events that match"), "{}", ended.stderr);
    let asked = lock(&asked);
    let (_, question) = asked.iter().find(|(action, _)| action == "StartQuery").expect("a question");
    assert_eq!(
        (question["startTime"].as_i64(), question["endTime"].as_i64()),
        (Some(1_795_856_400), Some(1_795_860_000))
    );
    assert_eq!(question["logGroupNames"], json!([GROUP]));
    assert!(question["queryString"].as_str().expect("a query").contains(r#"username="zac""#));
    drop(asked);
    let ended = Ended::of(&mut run_query(front.port, &["-o", "json"]));
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["rows"][1], json!({ "@timestamp": "2026-11-28 09:00:01.000", "fields.cmdline": "curl \u{1b}[2J" }));
    assert_eq!(json["statistics"], json!({ "matched": 7, "scanned": 100, "bytes": 4096 }));
}

#[test]
fn who_does_not_wait_stops_the_query() {
    let (front, asked) = insights(|action, _| match action {
        "StartQuery" => reply(&json!({ "queryId": "q-1" })),
        "StopQuery" => reply(&json!({ "success": true })),
        _ => results("Running", &[], 0),
    });
    let query = Program::start(&mut run_query(front.port, &[]));
    while !lock(&asked).iter().any(|(action, _)| action == "GetQueryResults") {
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    query.signal(Signal::INT);
    let (status, stdout, stderr) = query.end();
    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    assert!(stderr.iter().any(|line| line.contains("interrupted")), "{stderr:?}");
    assert_eq!(
        lock(&asked).last().map(|(action, body)| (action.clone(), body["queryId"].clone())),
        Some(("StopQuery".to_owned(), json!("q-1")))
    );
    let ended = Ended::of(&mut run_query(front.port, &["--timeout", "1s"]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no result in time"), "{}", ended.stderr);
}

#[test]
fn a_query_that_fails_says_why() {
    let (front, _) = insights(|action, _| match action {
        "StartQuery" => reply(&json!({ "queryId": "q-1" })),
        _ => results("Failed", &[], 0),
    });
    let ended = Ended::of(&mut run_query(front.port, &[]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the query ended as Failed"), "{}", ended.stderr);
    let (front, _) =
        insights(|_, _| Answer::Reply(400, "", br#"{"__type":"AccessDeniedException","message":"no"}"#.to_vec()));
    let ended = Ended::of(&mut run_query(front.port, &[]));
    assert!(ended.stderr.contains("allow logs:StartQuery"), "{}", ended.stderr);
}

#[test]
fn root_what_the_sink_sent_is_found_by_moto() {
    let (folder, moto) = (Folder::new(), Moto::start(free_port()));
    let shipping = Shipping { folder: folder.path(), log: None };
    let ended = Ended::of(&mut shipping.to_cloudwatch(moto.port, "/bin/true one; /bin/true two"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = Ended::of(&mut run_query(moto.port, &["-o", "json"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    // moto knows no filters, and no fields within an event.
    assert!(found["rows"].as_array().is_some_and(|rows| rows.len() >= 4), "{found}");
}
