//! Sinks over the network, to real counterparts on loopback and to a front of our own that is strict, and fails on demand.

mod cloudwatch;
mod faults;
mod front;
mod kill;
mod moto;
mod otlp;
mod query;
mod tls;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{PATIENCE, exectrace};

const GROUP: &str = "/exectrace/workspaces";

/// A program that tests talk to.
fn counterpart(path: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/counterparts").join(path);
    assert!(program.exists(), "{} is missing: tests/counterparts/prepare makes it", program.display());
    program
}

fn wait_until_it_listens(port: u16, child: &mut Child) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < 2 * PATIENCE, "nobody answers at {port}");
        assert!(child.try_wait().expect("a child").is_none(), "who should listen at {port} has ended");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// One that nobody listens at for now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// `exectrace run` of a shell command with a sink over the network, and the file too if there is one.
struct Shipping<'a> {
    folder: &'a Path,
    log: Option<&'a Path>,
}

impl Shipping<'_> {
    fn to_cloudwatch(&self, port: u16, command: &str) -> Command {
        let mut run = self.to("cloudwatch");
        run.args(["--cloudwatch-stream", "main/{host}-x", "--cloudwatch-group", GROUP]);
        run.args(["--cloudwatch-region", "eu-west-1", "--cloudwatch-endpoint"]);
        run.arg(format!("http://127.0.0.1:{port}")).args(["--", "sh", "-c", command]);
        with_credentials(&mut run);
        run
    }

    fn to_otlp(&self, protocol: &str, port: u16, options: &[&str], command: &str) -> Command {
        let mut run = self.to("otlp");
        run.args(["--otlp-protocol", protocol, "--otlp-endpoint"]).arg(format!("http://127.0.0.1:{port}"));
        run.args(options).args(["--", "sh", "-c", command]);
        run
    }

    fn to(&self, sink: &str) -> Command {
        let mut run = exectrace(["run", "-o", "json", "--sink"]);
        match self.log {
            Some(log) => run.arg(format!("file,{sink}")).arg("--log").arg(log),
            None => run.arg(sink),
        };
        run.arg("--spool").arg(self.folder.join("spool"));
        run
    }
}

/// Some, so that nobody looks for others.
fn with_credentials(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
}

/// So many execs, one after the other.
fn execs(count: usize) -> String {
    format!("i=0; while [ $i -lt {count} ]; do /bin/true $i; i=$((i+1)); done")
}

fn read(log: &Path) -> Vec<String> {
    std::fs::read_to_string(log).expect("the log").lines().map(str::to_owned).collect()
}

/// Run and number of a line of ours.
fn number_of(line: &str) -> (String, u64) {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let body = line["fields"].as_object().and_then(|fields| fields.values().find_map(|body| body.get("line")));
    let number = body.and_then(Value::as_str).and_then(|number| number.split_once('-'));
    let (run, number) = number.unwrap_or_else(|| panic!("no number: {line}"));
    (run.to_owned(), number.parse().expect("a number"))
}
