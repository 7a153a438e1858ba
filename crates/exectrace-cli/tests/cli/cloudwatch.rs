//! CloudWatch Logs, played by moto on loopback: what gets there, and what waits while it is not there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::program::{Ended, PATIENCE, exectrace};

const GROUP: &str = "/exectrace/workspaces";

/// moto, until the value goes.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start(port: u16) -> Moto {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/counterparts/bin/moto_server");
        assert!(program.exists(), "{} is missing: tests/counterparts/prepare makes it", program.display());
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto");
        let mut moto = Moto { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < 2 * PATIENCE, "moto does not answer");
            assert!(moto.child.try_wait().expect("a child").is_none(), "moto ended");
            thread::park_timeout(Duration::from_millis(20));
        }
        moto
    }

    /// What CloudWatch Logs would answer.
    fn ask(&self, action: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto");
        let body = body.to_string();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: logs.eu-west-1.amazonaws.com\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Logs_20140328.{action}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20261124/eu-west-1/logs/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// All lines of a stream, in the order in which they came.
    fn lines(&self, stream: &str) -> Vec<String> {
        let question =
            json!({ "logGroupName": GROUP, "logStreamName": stream, "startFromHead": true, "limit": 10_000 });
        let answer = self.ask("GetLogEvents", &question);
        let events = answer["events"].as_array().unwrap_or_else(|| panic!("no events: {answer}"));
        events.iter().map(|event| event["message"].as_str().expect("a line").to_owned()).collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that nobody listens at for now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// `exectrace run` with the sinks file and cloudwatch.
fn run(folder: &Folder, log: &Path, port: u16, command: &str) -> Ended {
    let mut run = exectrace(["run", "-o", "json", "--sink", "file,cloudwatch", "--cloudwatch-stream", "main/{host}-x"]);
    run.arg("--log").arg(log).arg("--spool").arg(spool(folder));
    run.args(["--cloudwatch-group", GROUP, "--cloudwatch-region", "eu-west-1", "--cloudwatch-endpoint"]);
    run.arg(format!("http://127.0.0.1:{port}")).args(["--", "sh", "-c", command]);
    run.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_EC2_METADATA_DISABLED", "true");
    Ended::of(&mut run)
}

fn spool(folder: &Folder) -> PathBuf {
    folder.path().join("spool")
}

fn stream() -> String {
    format!("main/{}-x", rustix::system::uname().nodename().to_string_lossy())
}

fn read(log: &Path) -> Vec<String> {
    std::fs::read_to_string(log).expect("the log").lines().map(str::to_owned).collect()
}

#[test]
fn root_each_line_gets_there_once_in_a_group_and_a_stream_that_are_made() {
    let (folder, moto) = (Folder::new(), Moto::start(free_port()));
    let log = folder.path().join("log");
    let ended = run(&folder, &log, moto.port, "i=0; while [ $i -lt 200 ]; do /bin/true $i; i=$((i+1)); done");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = read(&log);
    assert!(lines.len() > 200);
    let mut there = moto.lines(&stream());
    // Events of one batch are sorted by their time, which is not quite the order of the log.
    let number = |line: &String| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let body = line["fields"].as_object().and_then(|fields| fields.values().find_map(|body| body.get("line")));
        let number = body.and_then(Value::as_str).and_then(|number| number.split('-').nth(1));
        number.and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    there.sort_by_key(number);
    assert_eq!(there, lines);
}

#[test]
fn root_lines_wait_on_disk_while_the_place_is_out_of_reach() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let port = free_port();
    let ended = run(&folder, &first, port, "/bin/true while it is away");
    assert_eq!(ended.code, Some(0), "a place that is away is no failure of the command: {ended:?}");
    assert!(ended.stderr.contains("lines wait in the spool, and are sent by the next start"), "{}", ended.stderr);
    let moto = Moto::start(port);
    let ended = run(&folder, &second, port, "/bin/true when it is back");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("lines that an earlier process left are sent first"), "{}", ended.stderr);
    let (mut there, mut all) = (moto.lines(&stream()), [read(&first), read(&second)].concat());
    there.sort();
    all.sort();
    assert_eq!(there, all);
}

#[test]
fn what_a_network_sink_needs_is_said_before_anything_runs() {
    let refused = |words: &[&str]| {
        let ended =
            Ended::of(exectrace(["run", "-o", "json", "--sink", "cloudwatch"]).args(words).args(["--", "true"]));
        assert_eq!(ended.code, Some(125), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&[]).contains("needs --cloudwatch-group NAME"));
    assert!(refused(&["--cloudwatch-group", "g"]).contains("needs --spool DIR"));
    let template = refused(&["--cloudwatch-group", "g", "--cloudwatch-stream", "{temperature}"]);
    assert!(template.contains("{temperature}"), "{template}");
    assert!(refused(&["--cloudwatch-group", "g", "--spool", "/proc/nowhere"]).contains("cannot be used"));
}
