//! True logs of made-up runs, and what becomes of the verdict when somebody changes them.

mod made;
mod parts;
mod rolled;

use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use self::made::{Exec, Log, Made, Op, RunOps, chained_log, key, log, log_of, log_of_scopes};
use super::sums::Totals;
use super::*;

/// Verifies files.
fn verify(files: &[Vec<u8>], key: Option<ChainKey>) -> Option<Report> {
    let mut verifier = Verifier::new(key);
    for (number, file) in files.iter().enumerate() {
        verifier.add(format!("file-{number}"), file.as_slice()).expect("bytes");
    }
    verifier.finish()
}

fn verify_log(log: &Log) -> Report {
    verify(&[log.bytes()], log.key()).expect("a log")
}

fn kinds(report: &Report) -> Vec<&'static str> {
    let mut kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind.name()).collect();
    kinds.sort_unstable();
    kinds
}

#[track_caller]
fn only(report: &Report, kind: Kind) -> &Finding {
    assert_eq!(kinds(report), [kind.name()], "{}", report.text(None));
    &report.findings[0]
}

#[track_caller]
fn assert_totals(report: &Report, made: &Made) {
    assert_eq!(told(&report.totals), due(made), "{}", report.text(None));
}

fn told(totals: &Totals) -> (u64, u64, u64, u64, Option<u64>) {
    (totals.execs, sums::total(&totals.excluded), sums::total(&totals.lost), totals.missing, totals.seen)
}

fn due(made: &Made) -> (u64, u64, u64, u64, Option<u64>) {
    (made.execs, made.excluded, made.lost, 0, Some(made.execs + made.excluded + made.lost))
}

/// The same of each scope, over all runs.
#[track_caller]
fn assert_totals_of_scopes(report: &Report, log: &Log) {
    let mut scopes: BTreeMap<u32, Totals> = BTreeMap::new();
    for (scope, totals) in report.runs.iter().flat_map(|summary| &summary.account.scopes) {
        scopes.entry(*scope).or_insert_with(Totals::zero).add(totals);
    }
    let told: BTreeMap<_, _> = scopes.iter().map(|(scope, totals)| (*scope, told(totals))).collect();
    let due = log.of_scopes.iter().map(|(scope, made)| (*scope, due(made)));
    let something = |(_, made): &(u32, (u64, u64, u64, u64, Option<u64>))| made.4 != Some(0);
    assert_eq!(
        told.into_iter().filter(something).collect::<Vec<_>>(),
        due.filter(something).collect::<Vec<_>>(),
        "{}",
        report.text(None)
    );
}

/// A run without a loss: a few execs, and ledgers between them.
fn sample(chain: &str) -> Log {
    let execs = |count| std::iter::repeat_n(Op::Exec(Exec::Whole), count);
    let ops: Vec<Op> = execs(5).chain([Op::Ledger]).chain(execs(5)).chain([Op::Ledger]).chain(execs(5)).collect();
    log_of(chain, &[RunOps { ops, resumes: None }])
}

#[test]
fn a_whole_log_is_whole() {
    for chain in ["none", "sha256", "hmac-sha256"] {
        let log = sample(chain);
        let report = verify_log(&log);
        assert_eq!((report.verdict, kinds(&report)), (Verdict::Whole, vec![]), "{}", report.text(None));
        assert_eq!(report.runs[0].chained.name(), chain);
        assert_totals(&report, &log.made);
    }
}

#[test]
fn what_is_no_log_has_no_report() {
    assert!(verify(&[], None).is_none());
    assert!(verify(&[b"{\"msg\":\"exec\"}\nexectrace: tracing\n".to_vec()], None).is_none());
}

#[test]
fn a_lost_line_is_a_gap_with_its_count_and_its_times() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Lost("ring_full", 17), Op::Exec(Exec::Whole), Op::Ledger];
    let report = verify_log(&log_of("none", &[RunOps { ops, resumes: None }]));
    let finding = only(&report, Kind::Lost);
    assert_eq!((finding.lines, finding.execs, finding.why.as_str()), (Some((3, 3)), Some(17), "ring_full"));
    assert_eq!(finding.to.zip(finding.from).map(|(to, from)| to - from), Some(4_000_000_000));
    assert_eq!((report.totals.lost["ring_full"], report.totals.seen), (17, Some(19)));
}

/// Lines 1 start, 2–6 execs, 7 ledger, 8–12 execs, 13 ledger, 14–18 execs, 19 ledger, 20 stop.
#[test]
fn lines_that_are_cut_out_are_counted_by_the_ledgers() {
    let mut log = sample("sha256");
    log.lines.drain(7..10);
    let report = verify_log(&log);
    let finding = only(&report, Kind::MissingLines);
    assert_eq!((finding.lines, finding.execs), (Some((8, 10)), Some(3)));
    assert_eq!((report.totals.execs, report.totals.missing, report.totals.seen), (12, 3, Some(15)));
    // Across a ledger.
    let mut log = sample("none");
    log.lines.drain(5..8);
    let report = verify_log(&log);
    assert_eq!(only(&report, Kind::MissingLines).execs, Some(2));
}

#[test]
fn a_log_whose_head_is_gone_is_judged_from_the_first_ledger_on() {
    let mut log = sample("sha256");
    log.lines.drain(..4);
    let report = verify_log(&log);
    let finding = only(&report, Kind::MissingBeginning);
    assert_eq!((finding.lines, finding.execs, finding.from), (Some((1, 4)), Some(3), None));
    assert_eq!((report.totals.execs, report.totals.missing, report.totals.seen), (12, 0, Some(12)));
    assert_eq!(report.runs[0].chained, Chained::Linked);
}

#[test]
fn a_log_whose_end_is_gone_says_until_when_it_is_known() {
    let mut log = sample("sha256");
    log.lines.truncate(15);
    let report = verify_log(&log);
    let finding = only(&report, Kind::MissingEnd);
    assert_eq!((finding.lines, finding.execs, finding.to), (Some((15, 15)), None, None));
    assert!(finding.from.is_some());
}

#[test]
fn an_edited_line_is_the_one_that_is_named() {
    for chain in ["sha256", "hmac-sha256"] {
        let mut log = sample(chain);
        log.lines[8] = log.lines[8].replace("uname -a", "uname -r");
        assert_eq!(only(&verify_log(&log), Kind::Edited).lines, Some((9, 9)));
        let mut log = sample(chain);
        let tag = log.lines[8].len() - 5;
        let digit = if log.lines[8].as_bytes()[tag] == b'0' { "1" } else { "0" };
        log.lines[8].replace_range(tag..=tag, digit);
        assert_eq!(only(&verify_log(&log), Kind::Edited).lines, Some((9, 9)));
    }
}

#[test]
fn a_key_that_is_missing_wrong_or_without_use_is_told_as_that() {
    let keyed = sample("hmac-sha256").bytes();
    only(&verify(std::slice::from_ref(&keyed), None).expect("a log"), Kind::Unchecked);
    only(&verify(&[keyed], ChainKey::from_bytes(b"another key it is")).expect("a log"), Kind::WrongKey);
    for chain in ["none", "sha256"] {
        only(&verify(&[sample(chain).bytes()], Some(key())).expect("a log"), Kind::NotKeyed);
    }
}

#[test]
fn a_line_without_its_tag_is_named() {
    for chain in ["sha256", "hmac-sha256"] {
        let mut log = sample(chain);
        let at = log.lines[8].find(",\"chain\"").expect("a tag");
        log.lines[8].replace_range(at.., "}}}");
        assert_eq!(only(&verify_log(&log), Kind::Untagged).lines, Some((9, 9)));
    }
}

#[test]
fn two_lines_with_one_number_are_named_and_the_true_one_counts() {
    for chain in ["sha256", "hmac-sha256"] {
        let mut log = sample(chain);
        let forged = log.lines[8].replace("uname -a", "uname -r");
        log.lines.insert(8, forged);
        let report = verify_log(&log);
        assert_eq!(kinds(&report), ["conflict", "edited"], "{}", report.text(None));
        assert_eq!(report.findings[0].lines, Some((9, 9)));
        assert_eq!(report.totals.execs, 15);
    }
    let mut log = sample("none");
    let forged = log.lines[8].replace("uname -a", "uname -r");
    log.lines.insert(8, forged);
    only(&verify_log(&log), Kind::Conflict);
}

#[test]
fn doubled_and_reordered_lines_are_spans() {
    let mut log = sample("sha256");
    let again: Vec<_> = log.lines[7..10].to_vec();
    log.lines.splice(12..12, again);
    let report = verify_log(&log);
    assert_eq!(only(&report, Kind::Doubled).lines, Some((8, 10)));
    assert_eq!(report.totals.execs, 15);
    let mut log = sample("sha256");
    let moved: Vec<_> = log.lines.drain(7..10).collect();
    log.lines.splice(9..9, moved);
    assert_eq!(only(&verify_log(&log), Kind::Reordered).lines, Some((8, 10)));
}

#[test]
fn an_exec_that_two_lines_tell_is_named() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Exec(Exec::Again), Op::Ledger];
    let report = verify_log(&log_of("none", &[RunOps { ops, resumes: None }]));
    assert_eq!(only(&report, Kind::DoubledExec).lines, Some((3, 3)));
}

#[test]
fn ledgers_that_contradict_the_log_are_named() {
    for (from, to) in [
        ("\"written\":10", "\"written\":9"),
        ("\"seen\":10", "\"seen\":11"),
        ("\"seen\":10,\"waiting\":0,\"written\":10", "\"seen\":11,\"waiting\":0,\"written\":11"),
        ("\"last\":12", "\"last\":11"),
        ("\"first\":8", "\"first\":9"),
        ("\"lost\":{},\"recursion_misses\":0,\"seen\":10", "\"lost\":{\"x\":1},\"recursion_misses\":0,\"seen\":11"),
    ] {
        let mut log = sample("none");
        let changed = log.lines[12].replace(from, to);
        assert_ne!(changed, log.lines[12], "{from}");
        log.lines[12] = changed;
        let report = verify_log(&log);
        assert!(kinds(&report).contains(&"contradiction"), "{from}: {}", report.text(None));
    }
}

/// Two scopes, whose execs take turns.
fn two_scopes() -> Log {
    let execs = |count| std::iter::repeat_n(Op::Exec(Exec::Whole), count);
    let ops: Vec<Op> = execs(6).chain([Op::Lost("ring_full", 3), Op::Ledger]).chain(execs(4)).collect();
    log_of_scopes("none", 2, &[RunOps { ops, resumes: None }])
}

#[test]
fn each_scope_has_an_account_of_its_own() {
    let log = two_scopes();
    let report = verify_log(&log);
    assert_totals(&report, &log.made);
    assert_totals_of_scopes(&report, &log);
    let text = report.text(None);
    assert!(text.contains("  scope 1 (pid_ns 0): ") && text.contains("  scope 2 (pid_ns 0.2): "), "{text}");
    let json = report.json(None);
    let seen = |at: usize| json["runs"][0]["scopes"][at]["seen"].as_u64();
    assert_eq!(seen(0).zip(seen(1)).map(|(first, second)| first + second), json["runs"][0]["seen"].as_u64());
}

/// `failed` is left out of what a run goes on from as long as there was none: then it begins at 0.
#[test]
fn what_a_run_that_goes_on_says_nothing_of_was_nothing() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Exit, Op::Exit, Op::Ledger];
    let first = RunOps { ops: vec![Op::Exec(Exec::Whole), Op::Ledger], resumes: None };
    let mut log = log_of("none", &[first, RunOps { ops, resumes: Some(0) }]);
    assert_eq!(verify_log(&log).verdict, Verdict::Whole, "{}", verify_log(&log).text(None));
    let exit = log.lines.iter().position(|line| line.contains("\"msg\":\"exit\"")).expect("an end");
    log.lines[exit] = log.lines[exit].replace("\"msg\":\"exit\"", "\"msg\":\"novelty\"");
    assert!(kinds(&verify_log(&log)).contains(&"contradiction"), "{}", verify_log(&log).text(None));
}

/// Its execs tell their scope with `--fields full`, and its ledgers have no account of it.
#[test]
fn a_run_of_one_scope_is_whole_beside_one_of_several() {
    let one = sample("none");
    let mut two = two_scopes();
    two.lines.iter_mut().for_each(|line| *line = line.replace("5eed0000-", "5eed7777-"));
    let report = verify(&[one.bytes(), two.bytes()], None).expect("logs");
    assert_eq!(kinds(&report), ["lost"], "{}", report.text(None));
    assert_eq!(report.runs.iter().map(|run| run.account.scopes.len()).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn numbers_too_large_to_add_up_do_not() {
    let mut log = sample("none");
    let max = u64::MAX;
    for line in log.lines.iter_mut().filter(|line| line.contains("\"msg\":\"ledger\"")) {
        let (head, tail) = line.split_once("\"excluded\":{\"uid\":0}").expect("exclusions");
        let seen = tail.rsplit_once("\"seen\":").expect("a count").1.split(',').next().expect("a number").to_owned();
        let tail = tail.replace(
            &format!("\"seen\":{seen},\"waiting\":0,\"written\":{seen}"),
            &format!("\"seen\":{max},\"waiting\":0,\"written\":{seen}"),
        );
        *line = format!("{head}\"excluded\":{{\"uid\":{max}}}{tail}");
    }
    assert!(log.lines.iter().any(|line| line.contains(&format!("\"seen\":{max}"))), "{:#?}", log.lines);
    assert!(kinds(&verify_log(&log)).contains(&"contradiction"), "{}", verify_log(&log).text(None));
}

#[test]
fn an_exec_that_changes_its_scope_or_is_cut_out_of_one_is_named() {
    let log = two_scopes();
    let report = |change: &dyn Fn(&mut Log)| {
        let mut changed = log.clone();
        change(&mut changed);
        verify_log(&changed)
    };
    let an_exec_of_the_second = |line: &String| line.contains("\"msg\":\"exec\"") && line.contains("\"scope\":2");
    let at = log.lines.iter().position(an_exec_of_the_second).expect("an exec");
    let moved = report(&|log| log.lines[at] = log.lines[at].replace("\"scope\":2", "\"scope\":1"));
    assert!(kinds(&moved).contains(&"contradiction"), "{}", moved.text(None));
    assert!(moved.text(None).contains("execs of scope"), "{}", moved.text(None));
    let ledger = report(&|log| {
        let at = log.lines.iter().position(|line| line.contains("\"msg\":\"ledger\"")).expect("a ledger");
        let (from, to) = ("\"scope\":2,\"seen\":6,\"written\":3", "\"scope\":2,\"seen\":7,\"written\":4");
        assert!(log.lines[at].contains(from), "{}", log.lines[at]);
        log.lines[at] = log.lines[at].replace(from, to);
    });
    assert!(ledger.text(None).contains("in all scopes together"), "{}", ledger.text(None));
    let cut = report(&|log| drop(log.lines.remove(at)));
    let missing: Vec<u64> = cut.runs[0].account.scopes.values().map(|totals| totals.missing).collect();
    assert_eq!(missing, [0, 1], "{}", cut.text(None));
}

#[test]
fn what_waits_at_the_end_is_missing() {
    let mut log = sample("none");
    log.lines[18] = log.lines[18].replace("\"seen\":15,\"waiting\":0", "\"seen\":17,\"waiting\":2");
    let report = verify_log(&log);
    assert_eq!(only(&report, Kind::Waiting).execs, Some(2));
}

#[test]
fn a_watchdog_that_sees_nothing_opens_a_span() {
    let blind = |ops: Vec<Op>| verify_log(&log_of("none", &[RunOps { ops, resumes: None }]));
    let report =
        blind(vec![Op::Watchdog(true), Op::Watchdog(false), Op::Watchdog(false), Op::Watchdog(true), Op::Ledger]);
    let finding = only(&report, Kind::Blind);
    assert_eq!((finding.lines, finding.execs), (Some((3, 5)), None));
    assert!(finding.to.is_some());
    assert!(only(&blind(vec![Op::Watchdog(false)]), Kind::Blind).to.is_none());
}

#[test]
fn strays_are_named_by_file_and_line() {
    let log = sample("none");
    let mut lines = log.lines.clone();
    lines.insert(3, "exectrace: tracing".to_owned());
    lines.insert(4, "exectrace: stopped".to_owned());
    lines.insert(9, "{\"level\":\"info\"}".to_owned());
    lines.push(log.lines[4][..60].to_owned());
    let report = verify(&[lines.join("\n").into_bytes()], None).expect("a log");
    assert_eq!(kinds(&report), ["foreign", "torn", "torn"]);
    let text = report.text(None);
    for words in ["2 lines of no JSON", "(file-0:4)", "(file-0:10)", "cut in the middle", "(file-0:24)"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_line_behind_one_that_was_cut_counts() {
    let log = sample("sha256");
    let bytes = [&log.lines[4].as_bytes()[..100], &log.bytes()].concat();
    let report = verify(&[bytes], None).expect("a log");
    only(&report, Kind::Torn);
    assert_totals(&report, &log.made);
}

#[test]
fn messages_of_exectrace_s_own_are_counted_and_ignored() {
    let mut log = sample("sha256");
    log.lines.insert(5, made::diagnostic());
    let report = verify_log(&log);
    assert_eq!((report.verdict, report.inputs[0].diagnostics), (Verdict::Whole, 1));
}

fn started(log: &Log, run: usize, from: &str, to: &str) -> Log {
    let mut log = log.clone();
    let starts: Vec<usize> = (0..log.lines.len()).filter(|at| log.lines[*at].contains("\"msg\":\"start\"")).collect();
    let line = &mut log.lines[starts[run]];
    assert!(line.contains(from), "{from}: {line}");
    *line = line.replace(from, to);
    log
}

/// Two runs, each a stream of its own.
fn two_runs() -> Log {
    let ops = vec![Op::Exec(Exec::Whole), Op::Ledger];
    log_of("none", &[RunOps { ops: ops.clone(), resumes: None }, RunOps { ops, resumes: None }])
}

#[test]
fn time_between_two_runs_of_one_stream_is_a_gap() {
    let log = two_runs();
    assert_eq!(verify_log(&log).verdict, Verdict::Whole);
    let scope = |run| format!("\"of\":\"{run}\"");
    let one_stream = started(&log, 1, &scope(1), &scope(0));
    let mut one_stream = started(&one_stream, 1, "\"workspace\":\"1\"", "\"workspace\":\"0\"");
    let report = verify_log(&one_stream);
    let finding = only(&report, Kind::Unwatched);
    assert_eq!(finding.run, Some(report.runs[1].run));
    assert!(finding.from < finding.to && finding.from.is_some(), "{}", report.text(None));
    // The first run has no end: one gap, from its last line to the next start.
    let stop = one_stream.lines.iter().position(|line| line.contains("\"msg\":\"stop\"")).expect("a stop");
    one_stream.lines.remove(stop);
    assert!(only(&verify_log(&one_stream), Kind::MissingEnd).to.is_some());
    // Another boot.
    let other = started(&one_stream, 1, "\"boot_id\":\"boot\"", "\"boot_id\":\"other\"");
    assert_eq!(only(&verify_log(&other), Kind::MissingEnd).to, None);
}

/// One that took over without a name for its scope still watched what the one before it watched.
#[test]
fn a_run_that_goes_on_from_another_is_of_its_stream() {
    let ops = || vec![Op::Exec(Exec::Whole), Op::Ledger];
    let runs = [None, Some(1), None].map(|resumes| RunOps { ops: ops(), resumes });
    let log = log_of("none", &runs);
    assert_eq!(verify_log(&log).verdict, Verdict::Whole, "the third is of another workspace");
    let log = started(&log, 1, "\"kind\":\"pid_ns\",\"of\":\"0\"", "\"kind\":\"pinned\",\"of\":\"\"");
    let log = started(&log, 2, "\"of\":\"2\"", "\"of\":\"0\"");
    let log = started(&log, 2, "\"workspace\":\"2\"", "\"workspace\":\"0\"");
    let report = verify_log(&log);
    let finding = only(&report, Kind::Unwatched);
    assert_eq!(finding.run, Some(report.runs[2].run), "{}", report.text(None));
    assert_eq!(finding.from, Some(report.runs[1].times.1), "from the end of the second on");
    // Its execs are told apart from those of other streams, too.
    let mut doubled = log.clone();
    let execs: Vec<usize> = (0..log.lines.len()).filter(|at| log.lines[*at].contains("\"msg\":\"exec\"")).collect();
    let id =
        |at: usize| log.lines[at].split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
    let (first, last) = (execs[0], execs[execs.len() - 1]);
    doubled.lines[last] = log.lines[last].replace(id(last), id(first));
    assert!(kinds(&verify_log(&doubled)).contains(&"doubled-exec"), "{}", verify_log(&doubled).text(None));
}

#[test]
fn what_a_start_says_was_not_watched_is_a_gap() {
    let told = "\"running\":0,\"unwatched\":{\"from\":\"2026-11-23T10:00:00.000000000Z\"}";
    let report = verify_log(&started(&two_runs(), 1, "\"running\":0", told));
    let finding = only(&report, Kind::Unwatched);
    assert_eq!(finding.from, line::parse_time("2026-11-23T10:00:00Z"));
    assert!(finding.to.is_some());
}

#[test]
fn a_pinned_stop_without_a_successor_is_a_gap() {
    let mut log = two_runs();
    let stop = log.lines.iter_mut().find(|line| line.contains("\"msg\":\"stop\"")).expect("a stop");
    *stop = stop.replace("\"why\":\"asked to\"", "\"why\":\"asked to\",\"pinned\":true");
    only(&verify_log(&log), Kind::NotResumed);
}

#[test]
fn a_run_whose_forerunner_is_not_there_says_what_is_missing() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Exec(Exec::Whole), Op::Ledger, Op::Exec(Exec::Whole)];
    let log = log_of("none", &[RunOps { ops: ops.clone(), resumes: None }, RunOps { ops, resumes: Some(1) }]);
    assert_eq!(verify_log(&log).verdict, Verdict::Whole);
    let first: String = log.lines[0].rsplit_once("\"line\":\"").expect("a seal").1[..8].to_owned();
    let mut second = log.clone();
    second.lines.retain(|line| !line.contains(&format!("\"line\":\"{first}-")));
    let report = verify_log(&second);
    let finding = only(&report, Kind::MissingRun);
    assert_eq!((finding.execs, finding.run.map(|run| run.to_string())), (Some(2), Some(first)));
    // Lines of the first run that the second does not tell again.
    let mut cut = log.clone();
    cut.lines.drain(2..5);
    let report = verify_log(&cut);
    let finding = only(&report, Kind::MissingLines);
    assert_eq!((finding.lines, finding.execs), (Some((3, 4)), Some(1)), "{}", report.text(None));
}

/// A run that was killed between its last line and the end of its pin; the next one finds nothing left to tell.
#[test]
fn a_stop_that_was_killed_after_its_last_line_is_no_contradiction() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Ledger];
    let mut log = log_of("none", &[RunOps { ops: ops.clone(), resumes: None }, RunOps { ops, resumes: Some(0) }]);
    let start = log.lines.iter().position(|line| line.contains("\"resumed\":{")).expect("a run that goes on");
    let seal = log.lines[start - 1].rsplit_once("\"line\":\"").expect("a seal").1[..8].to_owned();
    let stop = log.lines.iter().rfind(|line| line.contains("\"msg\":\"stop\"")).expect("a stop").clone();
    let (head, _) = stop.rsplit_once("\"line\":\"").expect("a seal");
    log.lines.insert(start, format!("{head}\"line\":\"{seal}-{}\"}}}}}}", start + 1));
    assert_eq!(kinds(&verify_log(&log)), ["contradiction"], "{}", verify_log(&log).text(None));
    let last = log.lines.iter().rposition(|line| line.contains("\"msg\":\"stop\"")).expect("a stop");
    log.lines[last] = log.lines[last].replace("\"asked to\"", "\"detached\"");
    assert_eq!(kinds(&verify_log(&log)), Vec::<&str>::new(), "{}", verify_log(&log).text(None));
}

/// It was killed after it had written something and before it could state so.
#[test]
fn a_run_that_the_next_one_tells_again_from_its_beginning_counts_for_nothing() {
    let ops = vec![Op::Exec(Exec::Whole), Op::Exec(Exec::Whole), Op::Ledger, Op::Exec(Exec::Whole)];
    let log = log_of("none", &[RunOps { ops: ops.clone(), resumes: None }, RunOps { ops, resumes: Some(1) }]);
    let made = verify_log(&log);
    let start = log.lines.iter().position(|line| line.contains("\"resumed\":{")).expect("a run that goes on");
    for count in 1..=3 {
        let killed = log.lines[start..start + count].iter().map(|line| line.replace("5eed0001-", "5eedffff-"));
        let mut more = log.clone();
        more.lines.splice(start..start, killed.collect::<Vec<_>>());
        let report = verify_log(&more);
        assert_eq!(report.verdict, Verdict::Whole, "{}", report.text(None));
        assert_eq!(report.json(None)["totals"], made.json(None)["totals"]);
    }
}

#[test]
fn a_number_far_ahead_does_not_keep_the_reader_busy() {
    let mut log = sample("hmac-sha256");
    let far = log.lines[8].replace("-9\"", "-18446744073709551615\"");
    log.lines.push(far);
    let report = verify_log(&log);
    let found = kinds(&report);
    assert!(found.contains(&"unchecked") && found.contains(&"missing-lines"), "{}", report.text(None));
}

#[test]
fn the_report_cannot_be_made_to_show_what_it_does_not_say() {
    let mut verifier = Verifier::new(None);
    let log = two_runs();
    let log = started(&log, 0, "\"of\":\"0\"", "\"of\":\"0\\nwhole\\u001b[2J\\u202e\"");
    verifier.add("a\u{1b}[31m\nwhole".to_owned(), &log.bytes()[1..]).expect("bytes");
    let text = verifier.finish().expect("a log").text(None);
    assert!(text.chars().all(|char| char == '\n' || (!char.is_control() && char != '\u{202e}')), "{text:?}");
    assert!(!text.lines().skip(1).any(|line| line.starts_with("whole")), "{text}");
}

#[test]
fn findings_are_left_out_only_when_asked_to_and_counted_then() {
    let mut log = sample("none");
    for at in [14, 10, 4] {
        log.lines.remove(at);
    }
    let report = verify_log(&log);
    assert_eq!(report.findings.len(), 3);
    assert!(report.text(Some(1)).contains("and 2 findings more"));
    assert_eq!(report.json(Some(1))["findings_left_out"], 2);
    assert_eq!(report.json(None)["findings"].as_array().map(Vec::len), Some(3));
}

/// Files of a log as a shipper or a runtime leaves them.
#[derive(Debug, Clone)]
enum Wrap {
    Plain,
    Gzip,
    Zstd,
    /// Pieces of this many bytes, with the container's stderr between them.
    Cri(usize),
}

fn wrap(lines: &[String], wrap: &Wrap) -> Vec<u8> {
    let plain: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    match wrap {
        Wrap::Plain => plain.into_bytes(),
        Wrap::Gzip => {
            // Two members, cut anywhere.
            let (first, second) = plain.as_bytes().split_at(plain.len() / 3);
            let member = |bytes: &[u8]| {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("room");
                encoder.finish().expect("room")
            };
            [member(first), member(second)].concat()
        }
        Wrap::Zstd => zstd::encode_all(plain.as_bytes(), 1).expect("room"),
        Wrap::Cri(size) => {
            let mut out = String::new();
            let time = "2026-11-23T16:04:43.548644144Z";
            for line in lines {
                // As conmon does it: the last piece may be empty.
                for piece in line.as_bytes().chunks(*size) {
                    let piece = std::str::from_utf8(piece).expect("ASCII");
                    out += &format!("{time} stdout P {piece}\n{time} stderr F noise\n");
                }
                out += &format!("{time} stdout F \n");
            }
            out.into_bytes()
        }
    }
}

fn any_wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![Just(Wrap::Plain), Just(Wrap::Gzip), Just(Wrap::Zstd), (1..900_usize).prop_map(Wrap::Cri)]
}

/// Runs of lines in their order, to tell whether a swap changed one.
fn orders(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let run = line.rsplit_once("\"line\":\"").map_or("", |(_, seal)| &seal[..8]);
        orders.entry(run.to_owned()).or_default().push(line.clone());
    }
    orders
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_true_log_is_whole_unless_it_says_otherwise_and_counts_every_exec(log in log(true)) {
        assert_totals_of_scopes(&verify_log(&log), &log);
        let report = verify_log(&log);
        prop_assert_eq!(report.verdict == Verdict::Whole, log.made.lost == 0, "{}", report.text(None));
        prop_assert!(report.findings.iter().all(|finding| finding.kind == Kind::Lost), "{}", report.text(None));
        assert_totals(&report, &log.made);
        let told: u64 = report.findings.iter().filter_map(|finding| finding.execs).sum();
        prop_assert_eq!(told, log.made.lost);
    }

    /// But for the last line of a run that was killed, if the run after it tells it again: nothing is missing then.
    #[test]
    fn a_line_that_is_cut_out_is_found(mut log in log(false), at in any::<Index>()) {
        let at = at.index(log.lines.len());
        prop_assume!(!log.is_last_of_what_is_told_again(at));
        log.lines.remove(at);
        let report = verify_log(&log);
        prop_assert_ne!(report.verdict, Verdict::Whole);
    }

    #[test]
    fn a_line_that_is_there_twice_is_found(mut log in log(false), at in any::<Index>(), to in any::<Index>()) {
        let line = log.lines[at.index(log.lines.len())].clone();
        log.lines.insert(to.index(log.lines.len() + 1), line);
        let report = verify_log(&log);
        prop_assert!(kinds(&report).contains(&"doubled"), "{}", report.text(None));
    }

    /// But for lines of different runs that leave each run's order as it was: a file may interleave runs in any way.
    #[test]
    fn two_lines_that_change_places_are_found(mut log in log(false), one in any::<Index>(), other in any::<Index>()) {
        let before = orders(&log.lines);
        let count = log.lines.len();
        log.lines.swap(one.index(count), other.index(count));
        prop_assume!(orders(&log.lines) != before);
        let report = verify_log(&log);
        prop_assert!(kinds(&report).contains(&"reordered"), "{}", report.text(None));
    }

    /// Any byte, line breaks too, of a log that is chained in either way.
    #[test]
    fn a_byte_that_is_changed_is_found(log in chained_log(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = log.bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let report = verify(&[bytes], log.key());
        prop_assert!(report.is_none_or(|report| report.verdict != Verdict::Whole));
    }

    /// Bytes that mean something are more likely to be mistaken for something else.
    #[test]
    fn a_meaningful_byte_that_is_changed_is_found(
        log in chained_log(),
        at in any::<Index>(),
        byte in proptest::sample::select(&b"\"\\{}[],:-0189afgAF \n\r\tPF"[..]),
    ) {
        let line = at.index(log.lines.len());
        let mut lines = log.lines.clone();
        // The seal is where it hurts most.
        let seal = lines[line].rfind(",\"line\"").expect("a seal");
        let offset = seal + at.index(lines[line].len() - seal);
        prop_assume!(lines[line].as_bytes()[offset] != byte);
        lines[line].replace_range(offset..=offset, char::from(byte).to_string().as_str());
        let report = verify(&[wrap(&lines, &Wrap::Plain)], log.key());
        prop_assert!(report.is_none_or(|report| report.verdict != Verdict::Whole));
    }

    #[test]
    fn the_files_that_a_log_comes_in_do_not_matter(
        log in log(true),
        cuts in vec((any::<Index>(), any_wrap()), 0..5),
        last in any_wrap(),
        turn in any::<Index>(),
        broken in proptest::option::of(any::<Index>()),
    ) {
        let mut log = log;
        if let Some(at) = broken {
            log.lines.remove(at.index(log.lines.len()));
        }
        prop_assume!(!log.lines.is_empty());
        let mut ends: Vec<(usize, Wrap)> = cuts.into_iter().map(|(at, wrap)| (at.index(log.lines.len()), wrap)).collect();
        ends.push((log.lines.len(), last));
        ends.sort_by_key(|(end, _)| *end);
        let mut files = Vec::new();
        let mut begin = 0;
        for (end, how) in ends {
            files.push(wrap(&log.lines[begin..end], &how));
            begin = end;
        }
        let turn = turn.index(files.len());
        files.rotate_left(turn);
        let expected = verify_log(&log);
        let report = verify(&files, log.key()).expect("a log");
        prop_assert_eq!(kinds(&report), kinds(&expected), "{}\n{}", report.text(None), expected.text(None));
        prop_assert_eq!(report.totals.execs, expected.totals.execs);
        prop_assert_eq!(report.totals.seen, expected.totals.seen);
    }

    #[test]
    fn any_bytes_are_judged(lines in vec(vec(any::<u8>(), 0..60), 0..6), log in log(true), at in any::<Index>()) {
        let at = at.index(log.lines.len());
        let noise: Vec<u8> = lines.join(&b'\n');
        let bytes = [wrap(&log.lines[..at], &Wrap::Plain), noise, wrap(&log.lines[at..], &Wrap::Plain)].concat();
        if let Some(report) = verify(&[bytes], log.key()) {
            report.text(None);
            report.json(None);
        }
    }
}
