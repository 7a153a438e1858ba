//! CloudWatch Logs, played by moto.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{GROUP, counterpart, wait_until_it_listens};

/// moto, until the value goes.
pub(super) struct Moto {
    child: Child,
    pub(super) port: u16,
}

impl Moto {
    pub(super) fn start(port: u16) -> Moto {
        let child = Command::new(counterpart("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto");
        let mut moto = Moto { child, port };
        wait_until_it_listens(port, &mut moto.child);
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
    pub(super) fn lines(&self, stream: &str) -> Vec<String> {
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
