//! Lines that belong together, and lines that a sink dropped.

use serde_json::{Value, json};

use super::*;

fn line(number: u64, msg: &str, fields: Value) -> String {
    let mut fields = fields;
    let body = if msg == "dropped" { "dropped" } else { "event" };
    fields[body]["line"] = format!("0000002a-{number}").into();
    // The number is last, as a writer puts it.
    let text = fields.to_string().replace(&format!("\"line\":\"0000002a-{number}\""), "");
    let text = text.replace(",,", ",").replace("{,", "{").replace(",}", "}");
    let text = format!("{},\"line\":\"0000002a-{number}\"}}}}", text.trim_end_matches('}'));
    format!(
        r#"{{"ts":"2026-11-24T22:00:00.000000000Z","level":"INFO","msg":"{msg}","caller":"a","func":"b","fields":{text}}}"#
    )
}

/// The first line of an exec with so many arguments in so many lines.
fn first(number: u64, parts: u64, argc: u64, argv: &[&str]) -> String {
    let event = json!({ "argc": argc, "argv": argv, "id": format!("1-{number}"), "parts": parts, "truncated": false });
    line(number, "exec", json!({ "event": event }))
}

fn next(number: u64, of: u64, part: u64, parts: u64, argv: &[&str], joined: bool) -> String {
    let of = format!("0000002a-{of}");
    let mut event = json!({ "argv": argv, "of": of, "part": part, "parts": parts, "pid": 7 });
    if joined {
        event["joined"] = true.into();
    }
    line(number, "continued", json!({ "cmdline": "", "event": event }))
}

fn verified(lines: &[String]) -> Report {
    let mut verifier = Verifier::new(None);
    let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect();
    verifier.add("log".to_owned(), &bytes[..]).expect("bytes in memory");
    verifier.finish().expect("lines of a run")
}

/// What contradicts itself, but for the end of the log that none of these has.
fn contradictions(lines: &[String]) -> Vec<String> {
    let report = verified(lines);
    report.findings.iter().filter(|found| found.kind == Kind::Contradiction).map(|found| found.why.clone()).collect()
}

#[test]
fn an_exec_of_several_lines_holds_as_many_arguments_as_it_says() {
    let whole = [first(2, 3, 4, &["a", "b"]), next(3, 2, 2, 3, &["b", "c"], true), next(4, 2, 3, 3, &["d"], false)];
    assert_eq!(contradictions(&whole), Vec::<String>::new());
    let short = [first(2, 2, 4, &["a", "b"]), next(3, 2, 2, 2, &["b", "c"], true)];
    assert_eq!(contradictions(&short), ["a process of 4 arguments, and 3 of them in its lines"]);
}

#[test]
fn what_follows_must_stand_where_it_says() {
    let one = || first(2, 2, 2, &["a"]);
    for (lines, why) in [
        (vec![one(), first(3, 2, 2, &["b"])], "stands where line 2 goes on"),
        (vec![one(), next(3, 1, 2, 2, &["b"], false)], "goes on with a line where it does not stand"),
        (vec![one(), next(3, 2, 2, 9, &["b"], false)], "is one of 9 lines, of which the first says 2"),
        (vec![one(), next(3, 2, 2, 1, &["b"], false)], "goes on with a line where it does not stand"),
    ] {
        assert_eq!(contradictions(&lines).first().map(String::as_str), Some(why), "{lines:#?}");
    }
}

#[test]
fn lines_that_are_missing_are_told_once_and_the_exec_is_counted() {
    let lines = [first(2, 3, 3, &["a"]), next(4, 2, 3, 3, &["c"], false)];
    assert_eq!(contradictions(&lines), Vec::<String>::new());
    let report = verified(&lines);
    let gap = report.findings.iter().find(|found| found.kind == Kind::MissingLines).expect("a gap");
    assert_eq!(gap.lines, Some((3, 3)));
    assert_eq!(report.runs[0].account.args_missing, 1);
    assert_eq!(
        contradictions(&[next(3, 2, 2, 3, &["b"], false), next(4, 2, 3, 3, &["c"], false)]),
        Vec::<String>::new()
    );
}

#[test]
fn a_gap_that_a_sink_made_is_explained_by_the_log_itself() {
    let exec = |number| first(number, 1, 1, &["a"]);
    let told = |first: Value, last: Value| {
        let dropped = json!({ "first": first, "last": last, "lines": 3, "reason": "spool_full", "sink": "cloudwatch" });
        line(9, "dropped", json!({ "dropped": dropped }))
    };
    let gap = |lines: &[String]| {
        let report = verified(lines);
        let gap = report.findings.iter().find(|found| found.kind == Kind::MissingLines);
        gap.map(|gap| gap.why.clone())
    };
    let lines = [exec(2), exec(6), exec(7), exec(8), told("0000002a-3".into(), "0000002a-5".into())];
    let why = gap(&lines).expect("a gap");
    assert_eq!(why, "3 lines are not there; the sink cloudwatch dropped lines 3 to 5: spool_full");
    let whole: Vec<String> = (2..9).map(exec).chain([told("0000002a-3".into(), "0000002a-5".into())]).collect();
    assert_eq!(gap(&whole), None, "another sink has them");
    let unknown = [exec(2), exec(6), exec(7), exec(8), told(Value::Null, Value::Null)];
    assert!(gap(&unknown).expect("a gap").ends_with("3 lines or more, nobody knows which: spool_full"));
}
