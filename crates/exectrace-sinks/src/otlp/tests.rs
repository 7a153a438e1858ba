use std::time::UNIX_EPOCH;

use prost::Message;

use super::*;
use crate::dropped::Number;
use crate::golden;

fn options() -> OtlpOptions {
    OtlpOptions {
        endpoint: "http://127.0.0.1:4318".to_owned(),
        protocol: Protocol::Http,
        headers: Vec::new(),
        gzip: true,
        resource: Resource(vec![
            ("host.name".to_owned(), "node-1".to_owned()),
            ("service.version".to_owned(), "0.0.0".to_owned()),
        ]),
        original: false,
        attempt: None,
    }
}

fn line(bytes: Vec<u8>) -> Line {
    Line {
        bytes,
        time: UNIX_EPOCH + Duration::from_nanos(1_646_080_178_038_452_202),
        number: Number { run: 1, line: 1 },
    }
}

#[test]
fn golden_records() {
    let some =
        ["exec-failed-full", "exec-full-everything", "exec-long-2", "exit-signal", "ledger-everything", "running"];
    for (name, bytes) in golden::lines().into_iter().filter(|(name, _)| some.contains(&name.as_str())) {
        let mut request = record::request(&[line(bytes)], &options());
        let logs = &mut request.resource_logs[0].scope_logs[0];
        logs.scope.as_mut().expect("a scope").version = "0.0.0".to_owned();
        logs.log_records[0].observed_time_unix_nano = 0;
        golden::assert_golden("otlp", &name, &serde_json::to_string_pretty(&request).expect("JSON"));
    }
}

#[test]
fn a_batch_is_no_larger_than_what_a_receiver_takes() {
    for original in [false, true] {
        let otlp = Otlp::new(OtlpOptions { original, ..options() }).expect("a sink");
        let limits = otlp.limits();
        for (name, bytes) in golden::lines() {
            let counted = bytes.len() + limits.overhead;
            let count = (limits.batch_bytes / counted).min(limits.batch_lines);
            let lines = vec![line(bytes); count];
            let bytes = record::request(&lines, &otlp.options).encoded_len();
            assert!(bytes <= 4 << 20, "{name}: {bytes} bytes of {count} lines");
        }
    }
}

#[test]
fn a_record_can_have_the_line_that_it_was_made_from() {
    let (_, bytes) = golden::lines().remove(0);
    let request = record::request(&[line(bytes.clone())], &OtlpOptions { original: true, ..options() });
    let text = serde_json::to_value(&request).expect("JSON");
    let attributes = text["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"].as_array().expect("a list");
    let original = attributes.iter().find(|attribute| attribute["key"] == "log.record.original").expect("the line");
    assert_eq!(original["value"]["stringValue"].as_str().map(str::as_bytes), Some(&bytes[..]));
}

#[test]
fn what_cannot_be_an_endpoint_or_a_header_is_refused_at_once() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        for endpoint in ["collector:4317", "ftp://collector", "", "http://"] {
            let options = OtlpOptions { endpoint: endpoint.to_owned(), protocol, ..options() };
            assert!(matches!(Otlp::new(options), Err(OtlpError::Endpoint(..))), "{protocol:?} {endpoint:?}");
        }
        let headers = vec![("authorization".to_owned(), "a\nb".to_owned())];
        let refused = Otlp::new(OtlpOptions { headers, protocol, ..options() });
        let Err(error) = refused else { panic!("it was taken") };
        assert!(!error.to_string().contains("a\nb"), "{error}");
    }
}

#[test]
fn what_was_not_taken_is_counted() {
    let partial = |rejected_log_records, error_message: &str| {
        receipt(Some(ExportLogsPartialSuccess { rejected_log_records, error_message: error_message.to_owned() }))
    };
    assert_eq!(partial(3, "too old").rejected_somewhere, Some((3, "too old".to_owned())));
    assert_eq!(partial(0, "be careful"), Receipt::default());
    assert_eq!(partial(-1, ""), Receipt::default());
    assert_eq!(receipt(None), Receipt::default());
}

#[test]
fn nothing_of_a_line_is_left_out_of_its_record() {
    for (name, bytes) in golden::lines() {
        let text = String::from_utf8(bytes.clone()).expect("ASCII");
        let whole: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let request = record::request(&[line(bytes)], &options());
        let there = golden::sorted_leaves(&serde_json::to_string(&request).expect("JSON"));
        // The one is a number of nanoseconds, the other has a word before it.
        let is_told_otherwise = |leaf: &String| [&whole["ts"], &whole["msg"]].iter().any(|told| *told == leaf);
        for leaf in golden::sorted_leaves(&text) {
            assert!(there.binary_search(&leaf).is_ok() || is_told_otherwise(&leaf), "{name} lacks {leaf:?}");
        }
    }
}
