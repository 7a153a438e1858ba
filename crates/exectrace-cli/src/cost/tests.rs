//! Whole logs, as they are written: what the account says of them.

mod builds;
mod made;

use std::sync::LazyLock;
use std::time::Duration;

use exectrace_sift::SiftConfig;
use proptest::prelude::*;

use self::made::{Made, build};
use super::golden;
use super::report::{OTHERS, Setting, Volume};
use super::shipping::{Way, float};
use super::tally::Sum;
use super::{Asked, Meter, Prices, Report};

const ASKED: Asked = Asked { hours_a_month: 730.0, times: 1.0, top: 10, watched: None };

fn account<'a>(lines: impl IntoIterator<Item = &'a str>, asked: Asked) -> Option<Report> {
    let mut meter = Meter::of(SiftConfig::default()).expect("rules");
    lines.into_iter().for_each(|line| meter.line(line.as_bytes()));
    meter.finish(Prices::default(), &asked)
}

#[track_caller]
fn report<'a>(lines: impl IntoIterator<Item = &'a str>) -> Report {
    account(lines, ASKED).expect("a log")
}

fn strs(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().map(String::as_str)
}

fn volume(report: &Report, setting: Setting) -> &Volume {
    report.settings.iter().find(|volume| volume.setting == setting).expect("every setting")
}

fn bytes(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 1).sum()
}

/// Each list is the whole.
#[track_caller]
fn assert_whole(report: &Report) {
    let top = &report.top;
    for talkers in [&top.user, &top.workspace, &top.parent, &top.exe] {
        let mut sum = Sum::default();
        talkers.iter().for_each(|talker| sum.add(talker.sum));
        assert_eq!(sum, report.whole);
    }
    let mut sum = Sum::default();
    report.boxes.iter().for_each(|(_, row)| sum.add(*row));
    assert_eq!(sum, report.whole);
}

#[test]
fn a_replayed_log_is_as_large_as_the_one_that_is_written_with_a_roll_up() {
    let Made { all, rolled_up, shorter } = build(500);
    let report = report(strs(&all));
    assert_eq!(volume(&report, Setting::Unrolled).bytes, bytes(&all));
    assert_eq!(volume(&report, Setting::Unrolled).lines, all.len() as u64);
    let volume = volume(&report, Setting::Rollup);
    assert_eq!(volume.lines, rolled_up.len() as u64);
    // The lines that stay have their numbers of the log with all lines.
    assert_eq!(Some(volume.bytes), bytes(&rolled_up).checked_add_signed(shorter));
    assert!(volume.bytes * 4 < bytes(&all), "{} of {}", volume.bytes, bytes(&all));
    // The first line and the last are nobody's.
    let nobodys = bytes(&[all[0].clone(), all[all.len() - 1].clone()]);
    assert_eq!((report.whole.bytes + nobodys, report.whole.rolled_up_bytes + nobodys), (bytes(&all), volume.bytes));
    assert_whole(&report);
}

#[test]
fn a_log_that_is_rolled_up_is_what_it_is_and_tells_what_it_would_be() {
    let Made { all, rolled_up, .. } = build(500);
    let report = report(strs(&rolled_up));
    assert_eq!(volume(&report, Setting::Rollup).bytes, bytes(&rolled_up));
    let unrolled = volume(&report, Setting::Unrolled);
    assert_eq!(unrolled.lines, all.len() as u64);
    // The kept ones say why, and all have other numbers.
    let off = unrolled.bytes.abs_diff(bytes(&all));
    assert!(off < all.len() as u64 * 4, "{off}");
    assert!(report.notes.iter().any(|note| note.contains("1 of 1 run rolled up already")), "{:?}", report.notes);
    assert_eq!(report.whole.execs, 502);
    assert_whole(&report);
}

#[test]
fn what_is_folded_is_below_what_all_of_it_is_below() {
    let Made { all, rolled_up, .. } = build(500);
    let parents = |report: &Report| {
        let names = report.top.parent.iter().map(|talker| (talker.name.clone(), talker.sum.execs));
        names.collect::<Vec<_>>()
    };
    assert_eq!(parents(&report(strs(&all))), parents(&report(strs(&rolled_up))));
}

#[test]
fn the_file_beside_a_roll_up_has_all_lines_and_their_marks() {
    let all = build(500).all;
    let report = report(strs(&all));
    let beside = volume(&report, Setting::RollupFile).file_bytes.expect("a file");
    assert!(beside > bytes(&all) && beside < bytes(&all) + all.len() as u64 * 20);
    assert!(volume(&report, Setting::RollupFile).ways.iter().all(|shipped| shipped.way.ships()));
}

#[test]
fn a_log_of_execs_is_all_of_its_lines() {
    let all: Vec<String> = build(50).all.into_iter().filter(|line| line.contains(r#""msg":"exec""#)).collect();
    let report = report(strs(&all));
    assert_eq!((report.whole.bytes, report.whole.execs), (bytes(&all), all.len() as u64));
    assert_eq!(volume(&report, Setting::Unrolled).bytes, bytes(&all));
}

#[test]
fn in_one_file_or_in_several_it_is_the_same() {
    let all = build(300).all;
    let in_one = report(strs(&all));
    let mut meter = Meter::of(SiftConfig::default()).expect("rules");
    for (number, lines) in all.chunks(70).enumerate() {
        let text = lines.join("\n") + "\n";
        let text =
            if number % 2 == 0 { text.into_bytes() } else { zstd::encode_all(text.as_bytes(), 1).expect("room") };
        meter.add("part", &text[..]).expect("a part");
    }
    assert_eq!(meter.finish(Prices::default(), &ASKED), Some(in_one));
}

#[test]
fn runs_that_are_mixed_are_judged_one_by_one() {
    let one = build(100).all;
    let other: Vec<String> = one.iter().map(|line| line.replace("19de8888-", "0000002a-")).collect();
    let mixed = report(one.iter().zip(&other).flat_map(|(a, b)| [a.as_str(), b]));
    let alone = report(strs(&one));
    assert_eq!(volume(&mixed, Setting::Rollup).bytes, 2 * volume(&alone, Setting::Rollup).bytes);
    assert_eq!(mixed.basis.runs, 2);
}

#[test]
fn lines_that_continue_another_one_are_its_own() {
    let lines: Vec<String> = (1..=7).map(|part| golden::line(&format!("exec-long-{part}")).to_owned()).collect();
    let whole = report(strs(&lines));
    assert_eq!((whole.whole.execs, whole.whole.bytes), (1, bytes(&lines)));
    assert_eq!(whole.top.exe.len(), 1);
    assert!(!whole.notes.iter().any(|note| note.contains("continue a")), "{:?}", whole.notes);
    let without_first = report(strs(&lines[1..]));
    assert_eq!((without_first.whole.execs, without_first.whole.bytes), (0, bytes(&lines[1..])));
    assert!(without_first.notes.iter().any(|note| note.contains("continue a line that is not there: 6 lines")));
    let running: Vec<String> = (1..=4).map(|part| golden::line(&format!("running-long-{part}")).to_owned()).collect();
    assert_eq!(report(strs(&running)).whole, Sum::default());
}

#[test]
fn all_golden_lines_are_somewhere() {
    let lines: Vec<&str> = golden::ALL.values().map(String::as_str).collect();
    let report = report(lines.iter().copied());
    let diagnostic = golden::line("diagnostic").len() as u64 + 1;
    let all: u64 = lines.iter().map(|line| line.len() as u64 + 1).sum();
    assert_eq!((report.basis.bytes, report.basis.lines), (all - diagnostic, lines.len() as u64 - 1));
    assert_whole(&report);
    for msg in ["exec", "exec-failed", "exit", "continued", "running", "start", "lost", "other", "stop"] {
        assert!(report.kinds.iter().any(|kind| kind.msg == msg && kind.lines > 0), "{msg}");
    }
}

#[test]
fn what_is_no_line_is_counted_and_loses_nothing_else() {
    let all = build(100).all;
    let clean = report(strs(&all));
    let mut lines: Vec<String> = Vec::new();
    for (at, line) in all.iter().enumerate() {
        match at % 20 {
            3 => lines.push(line[..line.len() / 2].to_owned()),
            5 => lines.push("noise \u{1b}[31m".to_owned()),
            7 => lines.push(r#"{"level":"info","msg":"listening"}"#.to_owned()),
            9 => lines.push(line.replace(r#""pid":"#, r#""dip":"#)),
            11 => lines.push(golden::line("diagnostic").to_owned()),
            _ => {}
        }
        // A piece of a line that a kill left, and the next one behind it.
        lines.push(if at == 50 { format!("{}{line}", &line[..40]) } else { line.clone() });
    }
    let report = report(strs(&lines));
    assert_eq!((report.settings.clone(), report.top.clone()), (clean.settings, clean.top));
    let says = |words: &str| report.notes.iter().any(|note| note.contains(words));
    assert!(says("cut, or no JSON: 12 lines"), "{:?}", report.notes);
    assert!(says("cannot be read: 5 lines of the log") && says("not of the log: 10 lines"), "{:?}", report.notes);
}

#[test]
fn numbers_that_cannot_be_true_are_no_trouble() {
    let rolled_up = build(50).rolled_up;
    let (before, rest) = rolled_up.iter().find_map(|line| line.split_once(r#","count":"#)).expect("a roll-up");
    let (_, rest) = rest.split_once(',').expect("more");
    let (middle, end) = rest.split_once(r#""bytes":"#).expect("bytes");
    let (_, end) = end.split_once(',').expect("more");
    let count = u64::MAX;
    let line = format!("{before},\"count\":{count},{middle}\"bytes\":{count},{end}");
    let nothing = format!("{before},\"count\":{count},{middle}\"bytes\":0,{end}");
    let report = report([line.as_str(), &nothing, &line, golden::line("exec-standard-uname")]);
    assert_eq!(report.whole.bytes, u64::MAX);
    report.text();
    report.page();
}

#[test]
fn no_line_of_a_log_is_no_account() {
    assert_eq!(account(["", "noise", "{}", golden::line("diagnostic")], ASKED), None);
}

#[test]
fn whose_it_is_the_labels_say_and_otherwise_the_number() {
    let report = report([golden::line("exec-standard-uname"), golden::line("lost-ring-full")]);
    assert_eq!(report.top.user[0].name, "jessie");
    assert!(report.top.workspace[0].name.ends_with("(b5f1fca2-6a3e-4cc5-b0a9-3d1b0c4d9f11)"));
    let bare = golden::line("exec-standard-uname");
    let (before, rest) = bare.split_once(r#""labels":{"#).expect("labels");
    let without =
        format!("{before}\"labels\":{{{}", rest.split_once('}').map(|(_, rest)| format!("}}{rest}")).expect("an end"));
    let report = self::report([without.as_str()]);
    assert_eq!(report.top.user[0].name, "uid 101000");
    assert_eq!(report.top.workspace[0].name, "(no workspace)");
    let by_mail = bare.replace(r#","username":"jessie""#, "");
    assert_eq!(self::report([by_mail.as_str()]).top.user[0].name, "jessie@example.com");
}

#[test]
fn a_month_is_what_the_time_says() {
    let all = build(500).all;
    let report = report(strs(&all));
    let raw =
        volume(&report, Setting::Unrolled).ways.iter().find(|shipped| shipped.way == Way::Raw).cloned().expect("raw");
    let months = 730.0 * 3_600.0 / report.basis.seconds;
    assert!((raw.bytes_a_month.expect("a month") - float(bytes(&all)) * months).abs() < 1.0);
    assert!(report.basis.thin && report.notes[0].starts_with("thin basis"), "{:?}", report.notes);
    let asked = Asked { times: 7.0, watched: Some(Duration::from_secs(7_300)), ..ASKED };
    let seven = account(strs(&all), asked).expect("a log");
    let raw = seven.settings[0].ways.iter().find(|shipped| shipped.way == Way::Raw).expect("raw");
    assert!((raw.bytes_a_month.expect("a month") - float(bytes(&all)) * 360.0 * 7.0).abs() < 1.0);
    assert!(!seven.basis.thin && !seven.notes.iter().any(|note| note.starts_with("thin")));
}

#[test]
fn one_moment_makes_no_month() {
    let report = report([golden::line("exec-standard-uname")]);
    assert!(
        report
            .settings
            .iter()
            .flat_map(|volume| &volume.ways)
            .all(|shipped| shipped.bytes_a_month.is_none() && shipped.a_month.is_none())
    );
    assert!(report.notes[0].contains("nothing can be said of a month"));
    assert!(report.text().contains("nothing can be said of a month"));
}

#[test]
fn rules_leave_out_what_a_roll_up_would_not_have() {
    let all = build(100).all;
    let config = crate::config::Config::parse("[[exclude]]\nexe = \"**/gcc\"").expect("a rule").sift;
    let mut meter = Meter::of(config).expect("rules");
    strs(&all).for_each(|line| meter.line(line.as_bytes()));
    let report = meter.finish(Prices::default(), &ASKED).expect("a log");
    assert_eq!(volume(&report, Setting::Unrolled).bytes, bytes(&all));
    assert!(volume(&report, Setting::RollupFile).file_bytes < Some(bytes(&all) / 4));
    assert!(report.notes.iter().any(|note| note.contains(": 100 lines")), "{:?}", report.notes);
    assert_whole(&report);
}

#[test]
fn lines_without_ids_stay() {
    let lines = [golden::line("exec-seed-uname"); 50];
    let report = report(lines);
    assert_eq!(volume(&report, Setting::Rollup).bytes, volume(&report, Setting::Unrolled).bytes);
    assert!(report.notes.iter().any(|note| note.contains(": 50 execs")));
    assert_eq!(report.top.exe[0].name, "/usr/bin/uname");
}

#[test]
fn what_comes_after_the_largest_is_one_row() {
    let names: Vec<String> = (0..30).map(|number| made::exec(number, &format!("/usr/bin/tool{number}"))).collect();
    let report = account(strs(&names), Asked { top: 3, ..ASKED }).expect("a log");
    assert_eq!((report.top.exe.len(), report.top.exe[3].name.as_str(), report.top.exe[3].sum.execs), (4, OTHERS, 27));
    assert_whole(&report);
}

#[test]
fn names_steer_neither_a_terminal_nor_a_page() {
    let hostile = [
        "/tmp/</script><svg onload=alert(1)>",
        "/tmp/\"onmouseover=\"x",
        "/tmp/\u{1b}[2J\u{7}\n\r",
        "/tmp/'&<!--]]><img src=x>",
        "/tmp/\u{202e}txt.exe",
        "</title><script>alert(1)</script>",
    ];
    let lines: Vec<String> = (0..).zip(hostile).map(|(number, exe)| made::exec(number, exe)).collect();
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.replace(r#""username":"jessie""#, r#""username":"<b onclick=x>\u001b[1m""#))
        .collect();
    let report = report(strs(&lines));
    let (page, text) = (report.page(), report.text());
    for bad in ["<script", "<svg onload", "<img", "<b ", "<!--", "\"onmouseover", "</script"] {
        assert!(!page.to_lowercase().contains(bad), "{bad}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;svg onload=alert(1)&gt;"));
    for text in [&page, &text] {
        assert!(!text.chars().any(|char| char.is_control() && char != '\n' || char == '\u{202e}'));
    }
    assert_eq!(page.matches("<title").count(), page.matches("</title>").count());
    let json = report.json().expect("JSON");
    assert!(json.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON"),
        serde_json::to_value(&report).expect("JSON")
    );
}

#[test]
fn a_page_is_whole_by_itself_and_has_boxes_with_the_numbers_of_its_table() {
    let names: Vec<String> = (0..700).map(|number| made::exec(number, &format!("/usr/bin/tool{number}"))).collect();
    let report = report(strs(&names));
    let page = report.page();
    assert_eq!(page.matches("class=\"box\"").count(), super::report::MAX_BOXES);
    assert!(page.contains("(500 rows)") && page.contains(OTHERS));
    for remote in ["src=", "href=", "url(", "@import", "http://", "<script", "<link"] {
        assert!(!page.contains(remote), "{remote}");
    }
    for needed in
        ["prefers-color-scheme: dark", "role=\"img\"", "aria-labelledby", "<desc", "default-src 'none'", "lang=\"en\""]
    {
        assert!(page.contains(needed), "{needed}");
    }
    let empty = self::report([golden::line("lost-ring-full")]).page();
    assert!(!empty.contains("<svg"));
}

#[test]
fn the_report_has_all_figures_as_json() {
    let json = serde_json::to_value(report(strs(&build(100).all))).expect("JSON");
    assert_eq!(json["settings"][0]["setting"], "unrolled");
    assert_eq!(json["settings"][1]["ways"][0]["way"], "fluent-bit-keep-log");
    assert!(json["settings"][1]["ways"][2]["a_month"]["ingest"].as_f64().is_some_and(|money| money > 0.0));
    assert!(json["settings"][1]["ways"][3]["a_month"].is_null(), "nobody said what a collector costs");
    assert!(json["settings"][2]["ways"][2]["a_month"]["disk"].as_f64().is_some_and(|money| money > 0.0));
    assert!(json["top"]["exe"][0]["share"].is_f64() && json["prices"]["date"].is_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_each_list_is_the_whole(order in proptest::collection::vec(0..1_000_usize, 0..80), top in 0..6_usize) {
        static MADE: LazyLock<Made> = LazyLock::new(|| build(30));
        let (names, made) = (golden::ALL.values().map(String::as_str), &*MADE);
        let lines: Vec<&str> = names.chain(strs(&made.all)).chain(strs(&made.rolled_up)).collect();
        let chosen: Vec<&str> = order.iter().map(|at| lines[at % lines.len()]).collect();
        if let Some(report) = account(chosen.iter().copied(), Asked { top, ..ASKED }) {
            assert_whole(&report);
            report.text();
            report.page();
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut meter = Meter::of(SiftConfig::default()).expect("rules");
        meter.line(&bytes);
        meter.add("bytes", &bytes[..]).expect("no file that fails");
    }
}
