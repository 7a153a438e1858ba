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

/// A ledger over the lines up to it, with accounts of these scopes: each of so many execs written.
fn ledger(number: u64, from: u64, part: (u64, u64), all: u64, scopes: &[(u64, u64)]) -> String {
    let scope = |(scope, written): &(u64, u64)| json!({ "scope": scope, "seen": written, "written": written, "excluded": {}, "lost": {}, "waiting": 0 });
    let scopes: Vec<Value> = scopes.iter().map(scope).collect();
    let (part, parts) = part;
    let body = json!({ "first": from, "last": number - 1, "part": part, "parts": parts, "seen": all, "written": all,
        "excluded": {}, "lost": {}, "waiting": 0, "scopes": scopes });
    let text = body.to_string();
    let text = text.strip_suffix('}').expect("an object");
    sealed(number, "ledger", &format!(r#"{{"labels":{{}},"ledger":{text}"#))
}

fn sealed(number: u64, msg: &str, open: &str) -> String {
    format!(
        r#"{{"ts":"2026-11-24T22:00:00.000000000Z","level":"INFO","msg":"{msg}","caller":"a","func":"b","fields":{open},"line":"0000002a-{number}"}}}}}}"#
    )
}

fn exec_of(number: u64, scope: u64) -> String {
    sealed(
        number,
        "exec",
        &format!(
            r#"{{"labels":{{}},"cmdline":"x","event":{{"argv":["x"],"truncated":false,"id":"1-{number}","scope":{scope}"#
        ),
    )
}

/// A run of two scopes whose ledgers have two parts each.
fn run_in_parts() -> Vec<String> {
    vec![
        sealed(
            1,
            "start",
            r#"{"labels":{},"start":{"version":"1","kernel":"6","boot_id":"b","settings":"s","scopes":[{"scope":1,"kind":"cgroup","of":"7"},{"scope":2,"kind":"cgroup","of":"8"}],"running":0"#,
        ),
        exec_of(2, 1),
        exec_of(3, 2),
        ledger(4, 1, (1, 2), 2, &[(1, 1)]),
        ledger(5, 5, (2, 2), 2, &[(2, 1)]),
        exec_of(6, 2),
        ledger(7, 6, (1, 2), 3, &[(1, 1)]),
        ledger(8, 8, (2, 2), 3, &[(2, 2)]),
        sealed(9, "stop", r#"{"labels":{},"stop":{"why":"signal""#),
    ]
}

#[test]
fn ledgers_of_several_parts_are_one() {
    let whole = verified(&run_in_parts());
    assert_eq!(whole.findings.iter().map(|found| &found.why).collect::<Vec<_>>(), Vec::<&String>::new());
    let scopes: Vec<_> = whole.runs[0].account.scopes.iter().map(|(scope, totals)| (*scope, totals.execs)).collect();
    assert_eq!(scopes, [(1, 1), (2, 2)]);
    // Together they must add up.
    let mut wrong = run_in_parts();
    wrong[7] = ledger(8, 8, (2, 2), 3, &[(2, 3)]);
    assert!(!contradictions(&wrong).is_empty());
}

#[test]
fn a_part_of_a_ledger_that_is_missing_is_a_gap_and_nothing_else() {
    for missing in [3, 4, 6, 7] {
        let mut lines = run_in_parts();
        lines.remove(missing);
        let report = verified(&lines);
        let kinds: Vec<Kind> = report.findings.iter().map(|found| found.kind).collect();
        let gap = vec![Kind::MissingLines];
        assert_eq!(kinds, gap, "{missing}: {:?}", report.findings);
    }
}

#[test]
fn a_ledger_s_parts_are_not_to_be_left_out() {
    let mut lines = run_in_parts();
    lines.truncate(7);
    lines.push(sealed(8, "stop", r#"{"labels":{},"stop":{"why":"signal""#));
    assert!(contradictions(&lines).iter().any(|why| why.contains("where a ledger of several parts goes on")));
}
