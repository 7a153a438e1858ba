//! Collectors of OpenTelemetry: rotel, oteltap, and a front that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::Value;

use super::front::{Answer, Front, Request, lock};
use super::{Shipping, counterpart, execs, free_port, number_of, read, wait_until_it_listens};
use crate::folder::Folder;
use crate::program::{Ended, PATIENCE};

/// A counterpart, until the value goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rotel(grpc: u16, http: u16, to: u16) -> Running {
    let site =
        std::fs::read_dir(counterpart("lib")).expect("a venv").next().expect("a Python").expect("a folder").path();
    let child = Command::new(site.join("site-packages/rotel/rotel-agent"))
        .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"])
        .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
        .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
        .args(["--otlp-exporter-endpoint", &format!("http://127.0.0.1:{to}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("rotel");
    let mut rotel = Running(child);
    wait_until_it_listens(grpc, &mut rotel.0);
    wait_until_it_listens(http, &mut rotel.0);
    rotel
}

/// What a front took.
type Taken = Arc<Mutex<Vec<LogRecord>>>;

fn records(request: &Request) -> Vec<LogRecord> {
    let mut body = Vec::new();
    match request.headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => drop(flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut body).expect("gzip")),
        _ => body.clone_from(&request.body),
    }
    let request = ExportLogsServiceRequest::decode(&body[..]).expect("protobuf");
    request.resource_logs.into_iter().flat_map(|logs| logs.scope_logs).flat_map(|logs| logs.log_records).collect()
}

fn text(record: &LogRecord, name: &str) -> Option<String> {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// A front that takes what `script` has no answer for.
fn collector(script: impl Fn(usize, &[LogRecord]) -> Option<Answer> + Send + Sync + 'static) -> (Front, Taken) {
    let taken = Taken::default();
    let to = Arc::clone(&taken);
    let front = Front::start(move |number, request| {
        assert_eq!(request.path, "/v1/logs");
        let records = records(request);
        script(number, &records).unwrap_or_else(|| {
            lock(&to).extend(records);
            // Any 2xx is success, whatever else there is.
            Answer::Reply(202, "Content-Type: text/plain\r\n", b"\xff thanks".to_vec())
        })
    });
    (front, taken)
}

fn uids(taken: &Taken) -> BTreeSet<String> {
    lock(taken).iter().map(|record| text(record, "log.record.uid").expect("a number")).collect()
}

fn numbers(lines: &[String]) -> BTreeSet<String> {
    lines.iter().map(|line| number_of(line)).map(|(run, number)| format!("{run}-{number}")).collect()
}

#[test]
fn root_a_real_collector_takes_every_line_by_either_protocol() {
    let (front, taken) = collector(|_, _| None);
    let (grpc, http) = (free_port(), free_port());
    let _rotel = rotel(grpc, http, front.port);
    for (protocol, port, options) in [
        ("grpc", grpc, &["--otlp-compression", "gzip"][..]),
        ("grpc", grpc, &[]),
        ("http/protobuf", http, &["--otlp-compression", "gzip"]),
        ("http/protobuf", http, &[]),
    ] {
        let folder = Folder::new();
        let log = folder.path().join("log");
        let shipping = Shipping { folder: folder.path(), log: Some(&log) };
        let ended = Ended::of(&mut shipping.to_otlp(protocol, port, options, &execs(200)));
        assert_eq!(ended.code, Some(0), "{protocol}: {ended:?}");
        assert!(!ended.stderr.contains("lines wait in the spool"), "{}", ended.stderr);
        wait_for(&taken, &numbers(&read(&log)));
    }
}

/// oteltap, which tells what it received.
struct Tap {
    _child: Running,
    told: BufReader<ChildStdout>,
}

impl Tap {
    fn start(port: u16) -> Tap {
        let mut command = Command::new(counterpart("bin/oteltap"));
        command.env("PYTHONUNBUFFERED", "1").args(["--port", &port.to_string()]);
        let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("oteltap"));
        wait_until_it_listens(port, &mut child.0);
        let told = BufReader::new(child.0.stdout.take().expect("a pipe"));
        Tap { _child: child, told }
    }

    /// The next record that it tells.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.told.read_line(&mut line).expect("a line") > 0, "oteltap ended");
            if let Ok(record) = serde_json::from_str(&line) {
                return record;
            }
        }
    }
}

#[test]
fn root_a_record_has_the_names_of_the_conventions() {
    let (folder, port) = (Folder::new(), free_port());
    let mut tap = Tap::start(port);
    let shipping = Shipping { folder: folder.path(), log: None };
    let ended = Ended::of(&mut shipping.to_otlp("http/protobuf", port, &[], "cd /; exec /bin/echo one 'two three'"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let record = loop {
        let record = tap.next();
        if record["body"]["stringValue"] == "/bin/echo one 'two three'" {
            break record;
        }
    };
    let attributes: BTreeMap<&str, &Value> = record["attributes"]
        .as_array()
        .expect("attributes")
        .iter()
        .map(|attribute| (attribute["key"].as_str().expect("a name"), &attribute["value"]))
        .collect();
    let uid = rustix::process::getuid().as_raw().to_string();
    assert_eq!(attributes["process.command_line"]["stringValue"], "/bin/echo one 'two three'");
    assert_eq!(attributes["process.command_args"]["arrayValue"]["values"][2]["stringValue"], "two three");
    assert_eq!(attributes["process.args_count"]["intValue"], "3");
    assert_eq!(attributes["process.executable.name"]["stringValue"], "echo");
    assert_eq!(attributes["process.working_directory"]["stringValue"], "/");
    assert_eq!(attributes["process.real_user.id"]["intValue"], uid.as_str());
    assert_eq!(record["eventName"], "exectrace.exec");
    assert_eq!(record["severityText"], "INFO");
}

#[test]
fn root_faults_of_a_collector_cost_nothing_but_time() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, taken) = collector(|number, _| match number {
        1 => Some(Answer::Reply(429, "Retry-After: 0\r\n", b"slow down".to_vec())),
        2 => Some(Answer::Reply(500, "", Vec::new())),
        3 => Some(Answer::HangUp),
        4 => Some(Answer::Half),
        5 => Some(Answer::Reply(503, "", Vec::new())),
        _ => None,
    });
    let shipping = Shipping { folder: folder.path(), log: Some(&log) };
    let ended =
        Ended::of(&mut shipping.to_otlp("http/protobuf", front.port, &["--otlp-compression", "gzip"], &execs(100)));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(front.count() >= 6, "{}", front.count());
    assert_eq!(uids(&taken), numbers(&read(&log)));
}

/// Waits until a collector that passes records on has passed on all of these.
#[track_caller]
fn wait_for(taken: &Taken, sent: &BTreeSet<String>) {
    let begun = Instant::now();
    while !sent.is_subset(&uids(taken)) {
        assert!(begun.elapsed() < PATIENCE, "{} of {}", uids(taken).intersection(sent).count(), sent.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn root_records_wait_for_a_collector_that_is_away() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (front, taken) = collector(|_, _| None);
    let (grpc, http) = (free_port(), free_port());
    let send = |log: &std::path::Path| {
        let shipping = Shipping { folder: folder.path(), log: Some(log) };
        let ended = Ended::of(&mut shipping.to_otlp("grpc", grpc, &[], &execs(20)));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stderr
    };
    let away = send(&first);
    assert!(away.contains("lines wait in the spool, and are sent by the next start"), "{away}");
    let _rotel = rotel(grpc, http, front.port);
    let back = send(&second);
    assert!(back.contains("lines that an earlier process left are sent first"), "{back}");
    wait_for(&taken, &numbers(&[read(&first), read(&second)].concat()));
}

#[test]
fn root_a_collector_that_never_answers_holds_nobody_up_for_long() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (silent, _) = collector(|_, _| Some(Answer::Never));
    let (front, taken) = collector(|_, _| None);
    for (port, log) in [(silent.port, &first), (front.port, &second)] {
        let shipping = Shipping { folder: folder.path(), log: Some(log) };
        let ended = Ended::of(&mut shipping.to_otlp("http/protobuf", port, &[], &execs(20)));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(uids(&taken), numbers(&[read(&first), read(&second)].concat()));
}

#[test]
fn root_only_records_that_a_collector_refuses_are_dropped() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, taken) = collector(|_, records| {
        let is_bad =
            |record: &LogRecord| text(record, "process.command_line").is_some_and(|line| line.contains("poison"));
        records.iter().any(is_bad).then(|| Answer::Reply(400, "", b"bad record".to_vec()))
    });
    let shipping = Shipping { folder: folder.path(), log: Some(&log) };
    let command = format!("{}; /bin/true poison; {}", execs(20), execs(20));
    let ended = Ended::of(&mut shipping.to_otlp("http/protobuf", front.port, &[], &command));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let kept: Vec<String> = read(&log).into_iter().filter(|line| !line.contains("poison")).collect();
    assert_eq!(uids(&taken), numbers(&kept));
    assert!(ended.stderr.contains("the collector answers 400 bad record"), "{}", ended.stderr);
}

#[test]
fn root_what_a_collector_takes_by_half_is_told() {
    let folder = Folder::new();
    let log = folder.path().join("log");
    let (front, _) = collector(|number, records| {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "one is bad".to_owned() };
        let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
        (number == 1 && records.len() > 1).then(|| Answer::Reply(200, "", answer.encode_to_vec()))
    });
    let shipping = Shipping { folder: folder.path(), log: Some(&log) };
    let ended = Ended::of(&mut shipping.to_otlp("http/protobuf", front.port, &[], &execs(10)));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("one is bad") && ended.stderr.contains("\"lines\":1"), "{}", ended.stderr);
}

#[test]
fn root_who_may_not_send_is_told_what_to_do_and_headers_are_not_shown() {
    let folder = Folder::new();
    let (front, _) = collector(|_, _| Some(Answer::Reply(401, "", Vec::new())));
    let shipping = Shipping { folder: folder.path(), log: None };
    let mut command = shipping.to_otlp("http/protobuf", front.port, &[], "/bin/true");
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret");
    let ended = Ended::of(&mut command);
    assert!(ended.stderr.contains("--otlp-headers"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let refused = |options: &[&str]| {
        let ended = Ended::of(shipping.to("otlp").args(options).args(["--", "/bin/true"]));
        assert_eq!(ended.code, Some(125), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&[]).contains("needs --otlp-endpoint URL"));
    let endpoint = ["--otlp-endpoint", "http://127.0.0.1:1"];
    assert!(refused(&[&endpoint[..], &["--otlp-headers", "s3cret"]].concat()).contains("part 1 of the list"));
    assert!(refused(&["--otlp-endpoint", "collector:4318"]).contains("no http:// or https:// URL"));
}
