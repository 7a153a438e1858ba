//! A log with roll-ups and the one beside it that has all lines, made by the documented format, and what becomes of the
//! verdict when somebody changes one of them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::made::{BODY, line};
use super::*;
use crate::seal::{ChainMode, Seal};

const ROLLED: u32 = 0x0011_ed00;
const COMPLETE: u32 = 0x00a1_1000;
/// The groups that are folded: two files, one of each scope, and attempts that failed.
const GROUPS: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    Exec,
    Failed,
    Exit,
    /// Part of a roll-up.
    Fold {
        group: usize,
        args: Vec<Vec<u8>>,
    },
    /// An end that is part of one, and whether it was a failure.
    FoldEnd {
        group: usize,
        failed: bool,
    },
    /// Roll-ups end.
    RollUp,
    Excluded,
    Ledger,
}

/// Both logs.
#[derive(Debug, Clone)]
struct Two {
    chain: &'static str,
    rolled: Vec<String>,
    complete: Vec<String>,
    seen: u64,
    rolled_up: u64,
    rollups: u64,
}

impl Two {
    fn report(&self) -> Report {
        self.of(&[&self.rolled, &self.complete])
    }

    fn of(&self, files: &[&Vec<String>]) -> Report {
        let files: Vec<Vec<u8>> = files.iter().map(|lines| wrap(lines, &Wrap::Plain)).collect();
        verify(&files, self.key()).expect("a log")
    }

    fn key(&self) -> Option<ChainKey> {
        (self.chain == "hmac-sha256").then(key)
    }

    /// Numbers and chains both anew, as who has the key could.
    fn resealed(mut self) -> Two {
        for (lines, run) in [(&mut self.rolled, ROLLED), (&mut self.complete, COMPLETE)] {
            let mut seal = Seal::new(run, mode(self.chain));
            *lines = lines.iter().map(|line| put(&mut seal, bare(line))).collect();
        }
        self
    }

    /// Where the lines of a log are of which this is a part.
    fn at(lines: &[String], part: &str) -> Vec<usize> {
        (0..lines.len()).filter(|at| lines[*at].contains(part)).collect()
    }

    fn rollups(&self) -> Vec<usize> {
        Two::at(&self.rolled, "\"msg\":\"rollup\"")
    }

    fn folded(&self) -> Vec<usize> {
        let all = Two::at(&self.complete, "\"rollup\":");
        all.into_iter().filter(|at| self.complete[*at].contains("\"msg\":\"exec\"")).collect()
    }
}

fn mode(chain: &str) -> ChainMode {
    match chain {
        "none" => ChainMode::None,
        "sha256" => ChainMode::Linked,
        _ => ChainMode::Keyed(key()),
    }
}

fn bare(line: &str) -> String {
    format!("{}}}}}}}", line.rsplit_once(",\"line\":\"").expect("a seal").0)
}

fn put(seal: &mut Seal, line: String) -> String {
    let mut bytes = line.into_bytes();
    seal.put(&mut bytes, 0);
    String::from_utf8(bytes).expect("UTF-8").trim_end().to_owned()
}

#[derive(Clone, Copy, Default)]
struct Sum {
    written: u64,
    rolled_up: u64,
    excluded: u64,
}

impl Sum {
    fn told(self) -> Value {
        let Sum { written, rolled_up, excluded } = self;
        let seen = written + rolled_up + excluded;
        let mut told = json!({ "seen": seen, "written": written, "excluded": {}, "lost": {}, "waiting": 0 });
        if excluded > 0 {
            told["excluded"]["rule"] = json!(excluded);
        }
        if rolled_up > 0 {
            told["rolled_up"] = json!(rolled_up);
        }
        told
    }

    fn add(&mut self, other: Sum) {
        self.written += other.written;
        self.rolled_up += other.rolled_up;
        self.excluded += other.excluded;
    }
}

struct Stream {
    seal: Seal,
    lines: Vec<String>,
    first: u64,
    scopes: [Sum; 2],
    failed: Sum,
    exits: Sum,
}

impl Stream {
    fn new(run: u32, chain: &str) -> Stream {
        let (scopes, failed, exits) = Default::default();
        Stream { seal: Seal::new(run, mode(chain)), lines: Vec::new(), first: 1, scopes, failed, exits }
    }

    fn put(&mut self, second: u64, msg: &str, name: &str, body: Value) {
        let mut fields = json!({ "labels": { "workspace": "w" } });
        fields[BODY] = body;
        let line = line(second, "INFO", msg, fields).replace(BODY, name);
        self.lines.push(put(&mut self.seal, ascii(&line)));
    }

    fn ledger(&mut self, second: u64) {
        let mut all = self.scopes[0];
        all.add(self.scopes[1]);
        let mut ledger = all.told();
        let next = self.seal.next_line();
        ledger["first"] = json!(self.first);
        ledger["last"] = json!(next - 1);
        ledger["failed"] = self.failed.told();
        ledger["exits"] = self.exits.told();
        let scope = |(number, sum): (u64, &Sum)| {
            let mut told = sum.told();
            told["scope"] = json!(number);
            told
        };
        ledger["scopes"] = (1..).zip(&self.scopes).map(scope).collect();
        self.first = next + 1;
        self.put(second, "ledger", "ledger", ledger);
    }
}

/// What is folded into one line, by what the format says of it.
#[derive(Default)]
struct Open {
    number: u64,
    list: Sha256,
    args: Vec<Vec<Vec<u8>>>,
    exits: u64,
    failures: u64,
    times: Vec<u64>,
}

/// Characters of two bytes or three, as JSON escapes them.
fn ascii(line: &str) -> String {
    let escaped = |char: char| if char.is_ascii() { char.to_string() } else { format!("\\u{:04x}", u32::from(char)) };
    line.chars().map(escaped).collect()
}

/// Bytes as the log has them.
fn text(bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\u{fffd}{byte:02x}")).collect::<String>();
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let valid = chunk.valid().replace('\u{fffd}', &hex("\u{fffd}".as_bytes()));
        valid + &hex(chunk.invalid())
    };
    bytes.utf8_chunks().map(chunk).collect()
}

fn time(second: u64) -> String {
    line(second, "", "", json!({}))[7..37].to_owned()
}

fn two(chain: &'static str, acts: &[Act]) -> Two {
    let mut second = 0;
    let mut rolled = Stream::new(ROLLED, chain);
    let mut complete = Stream::new(COMPLETE, chain);
    let scopes = [1, 2].map(|scope| json!({ "scope": scope, "kind": "pid_ns", "of": scope.to_string() }));
    for (stream, rollup) in [(&mut rolled, true), (&mut complete, false)] {
        let mut start = json!({ "version": "0.1.0", "kernel": "6", "boot_id": "boot", "settings": "s", "running": 0, "scopes": scopes });
        if let Some(chained) = stream.seal.chained() {
            start["chained"] = json!(chained);
        }
        if rollup {
            let complete = format!("{COMPLETE:08x}");
            start["rollup"] = json!({ "more_than": 10, "window_ms": 60000, "complete": complete });
        }
        stream.put(second, "start", "start", start);
    }
    let mut made = Two { chain, rolled: vec![], complete: vec![], seen: 0, rolled_up: 0, rollups: 0 };
    let mut open: [Option<Open>; GROUPS] = Default::default();
    for act in acts.iter().chain([&Act::RollUp, &Act::Ledger]) {
        second += 1;
        let id = format!("b7c9e1d2a4f0-{second:x}-e0c6c-3");
        let both = |streams: [&mut Stream; 2], msg: &str, body: &Value| {
            streams.into_iter().for_each(|stream| stream.put(second, msg, "event", body.clone()));
        };
        match act {
            Act::Exec => {
                let event = json!({ "id": id, "argv": ["uname"], "truncated": false, "scope": 2, "filename": "uname" });
                both([&mut rolled, &mut complete], "exec", &event);
                [&mut rolled, &mut complete].into_iter().for_each(|stream| stream.scopes[1].written += 1);
                made.seen += 1;
            }
            Act::Failed => {
                both([&mut rolled, &mut complete], "exec-failed", &json!({ "argv": ["no"], "error": "EACCES" }));
                [&mut rolled, &mut complete].into_iter().for_each(|stream| stream.failed.written += 1);
            }
            Act::Exit => {
                both([&mut rolled, &mut complete], "exit", &json!({ "id": id, "code": 0 }));
                [&mut rolled, &mut complete].into_iter().for_each(|stream| stream.exits.written += 1);
            }
            Act::Excluded => {
                [&mut rolled, &mut complete].into_iter().for_each(|stream| stream.scopes[0].excluded += 1);
                made.seen += 1;
            }
            Act::Fold { group, args } => {
                let open = part_of(&mut open[*group], &mut made, second);
                let is_attempt = *group == GROUPS - 1;
                let argv: Vec<String> = args.iter().map(|arg| text(arg)).collect();
                let mut event = json!({ "argv": argv, "truncated": false, "filename": "cc1", "uid": 1000 + group, "rollup": open.number });
                let mut hash = Sha256::new();
                args.iter().for_each(|arg| hash.update([arg, &b"\0"[..]].concat()));
                if is_attempt {
                    event["error"] = json!("ENOENT");
                    complete.failed.written += 1;
                } else {
                    event["id"] = json!(id);
                    event["exe"] = json!(format!("/usr/bin/cc{group}"));
                    event["scope"] = json!(group + 1);
                    open.list.update(id.as_bytes());
                    complete.scopes[*group].written += 1;
                    made.seen += 1;
                    made.rolled_up += 1;
                }
                open.list.update([0]);
                open.list.update(hash.finalize());
                open.args.push(args.clone());
                complete.put(second, if is_attempt { "exec-failed" } else { "exec" }, "event", event);
            }
            Act::FoldEnd { group, failed } => {
                let open = part_of(&mut open[*group], &mut made, second);
                open.exits += 1;
                open.failures += u64::from(*failed);
                let mut event = json!({ "id": id, "rollup": open.number });
                if *failed {
                    event["signal"] = json!("SIGKILL");
                } else {
                    event["code"] = json!(0);
                }
                complete.exits.written += 1;
                complete.put(second, "exit", "event", event);
            }
            Act::RollUp => {
                for (group, open) in open.iter_mut().enumerate() {
                    open.take().into_iter().for_each(|open| roll_up(&mut rolled, second, group, open));
                }
            }
            Act::Ledger => [&mut rolled, &mut complete].into_iter().for_each(|stream| stream.ledger(second)),
        }
    }
    [&mut rolled, &mut complete]
        .into_iter()
        .for_each(|stream| stream.put(second + 1, "stop", "stop", json!({ "why": "asked to" })));
    Two { rolled: rolled.lines, complete: complete.lines, ..made }
}

fn part_of<'a>(open: &'a mut Option<Open>, made: &mut Two, second: u64) -> &'a mut Open {
    let open = open.get_or_insert_with(|| {
        made.rollups += 1;
        Open { number: made.rollups, ..Open::default() }
    });
    open.times.push(second);
    open
}

fn roll_up(rolled: &mut Stream, second: u64, group: usize, open: Open) {
    let Open { number, list, mut args, exits, failures, times } = open;
    let count = args.len() as u64;
    args.sort_unstable();
    args.dedup();
    let hash: String = list.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut body = json!({
        "number": number, "count": count, "distinct": args.len(), "first": time(times[0]),
        "last": time(times[times.len() - 1]), "uid": 1000 + group, "sha256": hash, "bytes": 17, "samples": [],
    });
    if exits > 0 {
        body["exits"] = json!(exits);
    }
    if failures > 0 {
        body["failures"] = json!(failures);
    }
    if group == GROUPS - 1 {
        body["error"] = json!("ENOENT");
        rolled.failed.rolled_up += count;
    } else {
        body["exe"] = json!(format!("/usr/bin/cc{group}"));
        body["scope"] = json!(group + 1);
        rolled.scopes[group].rolled_up += count;
    }
    rolled.exits.rolled_up += exits;
    rolled.put(second, "rollup", "rollup", body);
}

fn act() -> impl Strategy<Value = Act> {
    let byte = proptest::sample::select(&b"ab\xc3\xbc\xef\xbf\xbd\xff\n\""[..]);
    let fold = || (0..GROUPS, vec(vec(byte.clone(), 0..4), 0..3)).prop_map(|(group, args)| Act::Fold { group, args });
    prop_oneof![
        6 => fold(),
        2 => (0..GROUPS - 1, any::<bool>()).prop_map(|(group, failed)| Act::FoldEnd { group, failed }),
        1 => Just(Act::Exec),
        1 => Just(Act::Failed),
        1 => Just(Act::Exit),
        1 => Just(Act::Excluded),
        1 => Just(Act::RollUp),
        1 => Just(Act::Ledger),
    ]
}

fn logs() -> impl Strategy<Value = Two> {
    let chain = proptest::sample::select(&["none", "sha256", "hmac-sha256"][..]);
    (chain, vec(act(), 0..24)).prop_map(|(chain, acts)| two(chain, &acts))
}

fn fold(group: usize, arg: &str) -> Act {
    Act::Fold { group, args: vec![b"cc1".to_vec(), arg.as_bytes().to_vec()] }
}

/// Two roll-ups of execs and one of attempts; both logs have three lines more of their own.
fn sample(chain: &'static str) -> Two {
    let end = |group, failed| Act::FoldEnd { group, failed };
    let first = [fold(0, "a"), fold(0, "b"), Act::Exec, fold(0, "a"), fold(2, "x"), Act::RollUp, Act::Ledger];
    let second = [fold(0, "c"), fold(0, "d"), fold(1, "e"), end(0, false), end(0, true), Act::Failed, Act::Exit];
    two(chain, &[first, second].concat())
}

#[track_caller]
fn differs(changed: &Two, why: &str) {
    let report = changed.report();
    assert_eq!(report.verdict, Verdict::Tampered, "{}", report.text(None));
    let found: Vec<&Finding> = report.findings.iter().filter(|found| found.kind == Kind::LogsDiffer).collect();
    assert!(found.iter().any(|found| found.why.contains(why)), "{why}: {}", report.text(None));
}

/// What a change of one line would be that keeps all numbers and seals right.
#[track_caller]
fn changed(mut two: Two, complete: bool, at: usize, from: &str, to: &str) -> Two {
    let lines = if complete { &mut two.complete } else { &mut two.rolled };
    assert!(lines[at].contains(from), "{from}: {}", lines[at]);
    lines[at] = lines[at].replace(from, to);
    two.resealed()
}

#[test]
fn both_logs_are_whole_and_each_exec_counts_once() {
    for chain in ["none", "sha256", "hmac-sha256"] {
        let two = sample(chain);
        let report = two.report();
        assert_eq!((report.verdict, kinds(&report)), (Verdict::Whole, vec![]), "{}", report.text(None));
        assert_eq!((report.totals.seen, report.totals.execs, report.totals.rolled_up), (Some(7), 1, 6));
        let json = report.json(None);
        assert_eq!((&json["notes"]["rollups_proved"], &json["notes"]["only_counted"]), (&json!(4), &json!(0)));
        assert_eq!((&json["totals"]["rolled_up"], &json["runs"][1]["complete_of"]), (&json!(6), &json!("0011ed00")));
        assert!(report.text(None).contains("7 seen, 1 in the log, 6 rolled up, 0 excluded"), "{}", report.text(None));
    }
}

#[test]
fn one_of_the_two_is_whole_by_itself_and_what_it_cannot_prove_is_said() {
    let two = sample("sha256");
    let report = two.of(&[&two.rolled]);
    assert_eq!(report.verdict, Verdict::Whole, "{}", report.text(None));
    assert!(report.text(None).contains("note: 6 execs are only counted"), "{}", report.text(None));
    let scopes = &report.runs[0].account.scopes;
    assert_eq!([1, 2].map(|scope| (scopes[&scope].execs, scopes[&scope].rolled_up)), [(0, 5), (1, 1)]);
    let report = two.of(&[&two.complete]);
    assert_eq!((report.verdict, report.totals.execs), (Verdict::Whole, 7), "{}", report.text(None));
    assert!(!report.text(None).contains("only counted"), "{}", report.text(None));
}

#[test]
fn a_roll_up_that_is_not_what_its_lines_are_is_named() {
    let first = sample("sha256").rollups()[0];
    let last = sample("sha256").rollups()[2];
    for (at, from, to, why) in [
        (first, "\"count\":3", "\"count\":4", "4 execs told, and 3 there"),
        (first, "\"count\":3", "\"count\":2", "2 execs told, and 3 there"),
        (first, "\"distinct\":2", "\"distinct\":3", "3 different argument lists told, and 2 there"),
        (first, "\"distinct\":2", "\"distinct\":1", "1 different argument lists told, and 2 there"),
        (first, "/usr/bin/cc0", "/usr/bin/ccX", "another file"),
        (first, "\"exe\":", "\"error\":", "another error"),
        (first, "\"uid\":1000", "\"uid\":0", "another user"),
        (first, "\"scope\":1", "\"scope\":2", "another scope"),
        (first, "00:00:01", "00:00:00", "other times"),
        (first, "00:00:04", "00:00:03", "later than the last"),
        (first, "\"sha256\":\"", "\"sha256\":\"00", "unreadable"),
        (last, "\"exits\":2", "\"exits\":1", "1 ends told, and 2 there"),
        (last, "\"failures\":1", "\"failures\":2", "2 failures told, and 1 there"),
        (first, "\"number\":1", "\"number\":3", "told more than once"),
        (first, "\"number\":1", "\"number\":9", "of roll-up 1, of which run 0011ed00 does not tell"),
    ] {
        let two = changed(sample("sha256"), false, at, from, to);
        if why == "unreadable" {
            assert!(kinds(&two.report()).contains(&why), "{}", two.report().text(None));
        } else {
            differs(&two, why);
        }
    }
    // Some were too many to be told apart.
    let two = changed(sample("sha256"), false, first, "\"distinct\":2", "\"distinct\":1,\"distinct_at_least\":true");
    assert_eq!(two.report().verdict, Verdict::Whole, "{}", two.report().text(None));
}

#[test]
fn lines_of_a_roll_up_that_are_not_what_was_executed_are_named() {
    let folded = sample("none").folded();
    let list = "another list";
    for (from, to, why) in [
        ("\"a\"]", "\"z\"]", list),
        ("\"cc1\",\"a\"", "\"cc1\",\"\",\"a\"", list),
        ("-e0c6c-3", "-e0c6c-4", list),
        ("\"rollup\":1", "\"rollup\":3", "3 execs told, and 2 there"),
        ("\"rollup\":1", "\"rollup\":9", "of roll-up 9"),
        ("\"uid\":1000", "\"uid\":0", "another user"),
        ("/usr/bin/cc0", "/usr/bin/sh", "another file"),
        (",\"rollup\":1", "", "1 line of these that run 0011ed00 does not have"),
    ] {
        differs(&changed(sample("none"), true, folded[0], from, to), why);
    }
    let mut removed = sample("hmac-sha256");
    removed.complete.remove(folded[1]);
    differs(&removed.resealed(), "3 execs told, and 2 there");
    let mut swapped = sample("hmac-sha256");
    swapped.complete.swap(folded[0], folded[1]);
    differs(&swapped.resealed(), list);
    let mut without = sample("sha256");
    without.rolled.remove(without.rollups()[0]);
    differs(&without.resealed(), "3 lines of roll-up 1, of which run 0011ed00 does not tell");
}

#[test]
fn what_has_a_line_of_its_own_has_one_in_both() {
    for msg in ["exec", "exec-failed", "exit"] {
        let of_both = |two: &Two| {
            let line = |lines: &[String]| {
                let all = Two::at(lines, &format!("\"msg\":\"{msg}\""));
                *all.iter().find(|at| !lines[**at].contains("\"rollup\":")).expect("one")
            };
            [line(&two.rolled), line(&two.complete)]
        };
        let mut removed = sample("sha256");
        removed.rolled.remove(of_both(&removed)[0]);
        differs(&removed.resealed(), "1 line of these that run 0011ed00 does not have");
        let mut removed = sample("sha256");
        removed.complete.remove(of_both(&removed)[1]);
        differs(&removed.resealed(), "1 line of these that run 00a11000 does not have");
    }
    let two = sample("sha256");
    let uname = Two::at(&two.rolled, "uname")[0];
    differs(
        &changed(two, false, uname, "\"argv\":[\"uname\"]", "\"argv\":[\"true\"]"),
        "something else than run 00a11000",
    );
}

#[test]
fn what_is_missing_in_one_of_two_is_a_gap_and_nothing_else() {
    let of = |change: &dyn Fn(&mut Two)| {
        let mut two = sample("sha256");
        change(&mut two);
        let report = two.report();
        assert_eq!(report.verdict, Verdict::Gaps, "{}", report.text(None));
        kinds(&report).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let gap = ["missing-lines", "not-comparable"];
    assert_eq!(of(&|two| drop(two.complete.remove(two.folded()[0]))), gap);
    assert_eq!(of(&|two| drop(two.rolled.remove(two.rollups()[0]))), gap);
    let uname = Two::at(&sample("sha256").rolled, "uname")[0];
    assert_eq!(of(&|two| drop(two.rolled.remove(uname))), gap);
    assert_eq!(of(&|two| two.rolled.truncate(4)), ["missing-end", "not-comparable", "not-comparable"]);
    assert_eq!(of(&|two| two.complete.truncate(2)), ["missing-end", "not-comparable", "not-comparable"]);
    // What cannot be so, whatever is missing.
    let mut two = sample("none");
    let at = two.folded()[0];
    two.complete[at] = two.complete[at].replace("\"uid\":1000", "\"uid\":0");
    two.complete.pop();
    differs(&two, "another user");
}

/// The writer tells what one log lacks by itself by these reasons; all others are of what neither has.
#[test]
fn a_loss_of_one_log_is_a_gap_between_the_two() {
    for (reason, verdict) in [("write_failed", Verdict::Gaps), ("ring_full", Verdict::Tampered)] {
        let mut two = sample("none");
        let at = two.folded()[2];
        two.complete.remove(at);
        let mut lost = json!({ "labels": {}, BODY: { "reason": reason, "count": 1, "scope": 1 } });
        lost["labels"]["workspace"] = json!("w");
        let lost = line(4, "WARN", "lost", lost).replace(BODY, "lost");
        two.complete.insert(at, put(&mut Seal::new(COMPLETE, ChainMode::None), lost));
        for at in Two::at(&two.complete, "\"msg\":\"ledger\"") {
            let text = two.complete[at].clone();
            let ledger: Value = serde_json::from_str(&text).expect("JSON");
            let mut fields = ledger["fields"].clone();
            let mut body = fields.as_object_mut().expect("fields").remove("ledger").expect("a ledger");
            let once = |sums: &mut Value| {
                sums["written"] = json!(sums["written"].as_u64().expect("a count") - 1);
                sums["lost"][reason] = json!(1);
            };
            once(&mut body);
            once(&mut body["scopes"][0]);
            body.as_object_mut().expect("a ledger").remove("line");
            fields[BODY] = body;
            two.complete[at] = put(
                &mut Seal::new(COMPLETE, ChainMode::None),
                line(5, "INFO", "ledger", fields).replace(BODY, "ledger"),
            );
        }
        let report = two.resealed().report();
        assert_eq!(report.verdict, verdict, "{}", report.text(None));
        assert!(!kinds(&report).contains(&"contradiction"), "{}", report.text(None));
    }
}

#[test]
fn the_account_finds_a_roll_up_that_is_missing_or_changed_without_the_other_log() {
    let two = sample("none");
    let at = two.rollups()[0];
    let of = |lines: &Vec<String>| two.of(&[lines]);
    let mut cut = two.rolled.clone();
    cut.remove(at);
    let report = of(&cut);
    let gap = only(&report, Kind::MissingLines);
    assert_eq!((gap.execs, report.totals.missing, report.totals.seen), (Some(3), 3, Some(7)), "{}", report.text(None));
    assert!(gap.why.contains("roll-ups of 3 execs"), "{}", gap.why);
    for (from, to) in [
        ("\"count\":3", "\"count\":2"),
        ("\"scope\":1", "\"scope\":2"),
        ("\"exe\":", "\"error\":"),
        ("\"rollup\"", "\"novelty\""),
    ] {
        let mut lines = two.rolled.clone();
        lines[at] = lines[at].replace(from, to);
        assert!(kinds(&of(&lines)).contains(&"contradiction"), "{from}: {}", of(&lines).text(None));
    }
    let mut lines = two.rolled.clone();
    let ledger = Two::at(&lines, "\"msg\":\"ledger\"")[0];
    lines[ledger] = lines[ledger].replace("\"rolled_up\":3", "\"rolled_up\":4");
    assert!(of(&lines).text(None).contains("does not add up"), "{}", of(&lines).text(None));
    // A run that has none has none.
    let mut lines = two.rolled.clone();
    let begin = lines[0].find(",\"rollup\":{").expect("a roll-up");
    let end = lines[0][begin..].find('}').expect("its end") + begin + 1;
    lines[0].replace_range(begin..end, "");
    assert!(kinds(&of(&lines)).contains(&"contradiction"), "{}", of(&lines).text(None));
}

#[test]
fn the_two_are_streams_of_their_own_and_the_gaps_of_each_are_told() {
    let first = sample("none");
    // The same, an hour later, in runs of their own.
    let later = |lines: &[String]| -> Vec<String> {
        let later = |line: &String| {
            line.replace("T00:", "T01:").replace("0011ed00", "0011ed01").replace("00a11000", "00a11001")
        };
        lines.iter().map(later).map(|line| line.replace("-e0c6c-", "-e0c6d-")).collect()
    };
    let second = [later(&first.rolled), later(&first.complete)];
    let report = first.of(&[&second[1], &first.complete, &second[0], &first.rolled]);
    let gaps: Vec<_> = report.findings.iter().filter(|found| found.kind == Kind::Unwatched).collect();
    let runs: Vec<String> = gaps.iter().filter_map(|gap| gap.run).map(|run| run.to_string()).collect();
    assert_eq!(runs, ["00a11001", "0011ed01"], "{}", report.text(None));
    assert!(!kinds(&report).contains(&"doubled-exec"), "{}", report.text(None));
}

#[test]
fn a_run_that_cannot_be_the_one_with_all_lines_is_a_contradiction() {
    let named =
        |run: &str| changed(sample("none"), false, 0, "\"complete\":\"00a11000\"", &format!("\"complete\":\"{run}\""));
    let itself = named("0011ed00").report();
    assert!(kinds(&itself).contains(&"contradiction"), "{}", itself.text(None));
    let two = sample("none");
    let another: Vec<String> = two.rolled.iter().map(|line| line.replace("0011ed00", "0011ed01")).collect();
    let report = two.of(&[&two.rolled, &two.complete, &another]);
    assert!(report.text(None).contains("which another run says, too"), "{}", report.text(None));
}

#[test]
fn arguments_come_back_as_bytes() {
    let digest = |bytes: &[u8]| Some(<[u8; 32]>::from(Sha256::digest(bytes)));
    for (array, bytes) in [
        ("[]", &b""[..]),
        (r#"["cc1",""]"#, b"cc1\0\0"),
        (r#"["a\ufffdffb\n\u00fc"]"#, b"a\xffb\n\xc3\xbc\0"),
        ("[\"\u{fffd}ef\u{fffd}bf\u{fffd}bd\"]", b"\xef\xbf\xbd\0"),
    ] {
        assert_eq!(rollup::digest_of_args(array), digest(bytes), "{array}");
    }
    for array in ["5", "[1]", r#"["\ufffd"]"#, r#"["\ufffdf"]"#, r#"["\ufffd+1"]"#, "[\"\u{fffd}f\u{fc}\"]"] {
        assert_eq!(rollup::digest_of_args(array), None, "{array}");
    }
}

/// Those that the writer's own tests hold it to.
#[test]
fn what_the_writer_writes_can_be_read() {
    macro_rules! golden {
        ($($name:literal),*) => {
            [$(($name, include_bytes!(concat!("../../../tests/golden/lines/", $name, ".json")).trim_ascii_end())),*]
        };
    }
    let names = golden!["rollup", "rollup-failed", "ledger-rollup", "start-rollup", "exec-rolled-up", "exit-rolled-up"];
    for (name, line) in names {
        let Parsed::Sealed(_, content) = line::parse(line) else { panic!("{name}") };
        match content.message {
            Message::Rollup(rollup) => {
                let is_of = (&*rollup.of, rollup.failed, rollup.scope);
                let due = [("/usr/lib/gcc/x86_64-linux-gnu/12/cc1", false, None), ("ENOENT", true, Some(2))];
                assert!(due.contains(&is_of) && rollup.sha256 == [0xab; 32] && rollup.count == 188, "{rollup:?}");
            }
            Message::Ledger(ledger) => assert_eq!(ledger.sums().map(|(_, sums)| sums.rolled_up).max(), Some(188)),
            Message::Start(start) => assert_eq!(rollup::complete_of(&start), Run::parse(b"0123cdef")),
            Message::Exec { folded: Some(folded), .. } => {
                let args = <[u8; 32]>::from(Sha256::digest(b"uname\0-a\0"));
                assert_eq!((folded.rollup, folded.of, folded.uid, folded.args), (17, None, 101_000, args));
            }
            Message::Exit(told) => assert_eq!(told, Some((17, false))),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_id_keeps_its_text() {
    for id in [
        "b7c9e1d2a4f0-1a2b3c4d5-e0c6c-3",
        "000000000000-0-0-0",
        "b7c9e1d2a4f0-01-e0c6c-3",
        "x",
        "",
        "a-b-c-d-e",
        "-",
        "b7c9e1d2a4f0-1-fffffffff-3",
    ] {
        assert_eq!(Name::of(Some(id)).to_string(), id);
    }
    assert!(matches!(Name::of(Some("b7c9e1d2a4f0-1a2b3c4d5-e0c6c-3")), Name::Parts { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn two_true_logs_are_whole_in_whatever_files_they_come(
        two in logs(),
        cuts in vec((any::<bool>(), any::<Index>(), any_wrap()), 0..6),
        order in vec(any::<u64>(), 8),
    ) {
        let mut files = Vec::new();
        for (is_complete, lines) in [(false, &two.rolled), (true, &two.complete)] {
            let cuts = cuts.iter().filter(|(of, ..)| *of == is_complete);
            let mut ends: Vec<(usize, Wrap)> = cuts.map(|(_, at, wrap)| (at.index(lines.len()), wrap.clone())).collect();
            ends.push((lines.len(), Wrap::Plain));
            ends.sort_by_key(|(end, _)| *end);
            let mut begin = 0;
            for (end, how) in ends {
                files.push(wrap(&lines[begin..end], &how));
                begin = end;
            }
        }
        let mut in_order: Vec<_> = order.into_iter().zip(files).collect();
        in_order.sort();
        let files: Vec<Vec<u8>> = in_order.into_iter().map(|(_, file)| file).collect();
        let report = verify(&files, two.key()).expect("a log");
        prop_assert_eq!(report.verdict, Verdict::Whole, "{}", report.text(None));
        prop_assert_eq!((report.totals.seen, report.totals.rolled_up), (Some(two.seen), two.rolled_up));
        let proved: u64 = report.runs.iter().filter_map(|run| run.proved).map(|proved| proved.rollups).sum();
        prop_assert_eq!(proved, two.rollups);
        let alone = two.of(&[&two.rolled]);
        prop_assert_eq!(alone.verdict, Verdict::Whole, "{}", alone.text(None));
    }

    #[test]
    fn a_byte_that_is_changed_in_one_of_two_is_found(two in logs(), is_complete in any::<bool>(), at in any::<Index>(), byte in any::<u8>()) {
        prop_assume!(two.chain != "none");
        let mut files = [&two.rolled, &two.complete].map(|lines| wrap(lines, &Wrap::Plain));
        let bytes = &mut files[usize::from(is_complete)];
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let report = verify(&files, two.key());
        prop_assert!(report.is_none_or(|report| report.verdict != Verdict::Whole));
    }

    /// Numbers of any size too, as somebody may write them.
    #[test]
    fn whatever_numbers_there_are_they_are_judged(two in logs(), at in any::<Index>(), number in prop_oneof![Just(u64::MAX), any::<u64>()]) {
        let mut two = two;
        let complete = two.complete.len();
        let at = at.index(complete + two.rolled.len());
        let line = if at < complete { &mut two.complete[at] } else { &mut two.rolled[at - complete] };
        for key in ["count", "exits", "failures", "distinct", "rolled_up", "rollup", "number", "seen"] {
            let (from, to) = (format!("\"{key}\":"), format!("\"{key}\":{number},\"x{key}\":"));
            *line = line.replace(&from, &to);
        }
        let another: Vec<String> = two.rolled.iter().map(|line| line.replace("0011ed00", "0011ed01")).collect();
        let report = two.of(&[&another, &two.rolled, &two.complete]);
        report.text(None);
        report.json(None);
    }

    /// With all numbers and seals made anew, so that nothing but the other log can show it.
    #[test]
    fn a_line_that_is_cut_out_of_one_of_two_and_sealed_over_is_found(
        two in logs(),
        is_complete in any::<bool>(),
        at in any::<Index>(),
    ) {
        let mut cut = two;
        let lines = if is_complete { &mut cut.complete } else { &mut cut.rolled };
        let at = at.index(lines.len());
        let counts = ["exec", "exec-failed", "exit", "rollup"];
        prop_assume!(counts.iter().any(|msg| lines[at].contains(&format!("\"msg\":\"{msg}\""))));
        lines.remove(at);
        let report = cut.resealed().report();
        prop_assert!(kinds(&report).contains(&"logs-differ"), "{}", report.text(None));
    }

    #[test]
    fn two_lines_that_change_places_and_are_sealed_over_are_found(
        chain in proptest::sample::select(&["none", "sha256", "hmac-sha256"][..]),
        between in vec(act(), 0..12),
    ) {
        let between = between.into_iter().filter(|act| !matches!(act, Act::RollUp));
        let acts: Vec<Act> = [fold(0, "a")].into_iter().chain(between).chain([fold(0, "a")]).collect();
        let mut swapped = two(chain, &acts);
        let folded = swapped.folded();
        swapped.complete.swap(folded[0], folded[folded.len() - 1]);
        let report = swapped.resealed().report();
        prop_assert!(kinds(&report).contains(&"logs-differ"), "{}", report.text(None));
    }

    #[test]
    fn a_line_that_is_cut_out_and_not_sealed_over_is_a_gap(two in logs(), is_complete in any::<bool>(), at in any::<Index>()) {
        let mut cut = two;
        let lines = if is_complete { &mut cut.complete } else { &mut cut.rolled };
        lines.remove(at.index(lines.len()));
        let report = cut.report();
        prop_assert_eq!(report.verdict, Verdict::Gaps, "{}", report.text(None));
    }
}
