//! Any text as a log for `verify`: it ends with a report that people and programs can read, and a log that is called whole
//! is so no more if a line is missing or is there twice. The first byte says whether the lines are numbered and chained
//! anew, in how many files they come and which line is taken out.
#![no_main]

use exectrace_cli::fuzzing::{Verified, seal, verify};
use libfuzzer_sys::fuzz_target;

const KEY: &[u8] = b"a key for the tests alone";

fuzz_target!(|input: &[u8]| {
    let Some((options, log)) = input.split_first() else { return };
    let key = (options & 1 != 0).then_some(KEY);
    let chained = (options & 2 != 0).then(|| reseal(log, (options & 4 != 0).then_some(KEY)));
    let log = chained.as_deref().unwrap_or(log);
    let (first, second) = log.split_at(if options & 8 != 0 { middle(log) } else { 0 });
    let Some(report) = verify(&[first, second], key) else { return };
    check(&report);
    if report.is_whole {
        no_line_can_be_missing(log, usize::from(options >> 4), key);
    }
});

/// The lines without the numbers and tags that they have, with new ones.
fn reseal(log: &[u8], key: Option<&[u8]>) -> Vec<u8> {
    const LINE: &[u8] = b",\"line\":\"";
    let bare: Vec<Vec<u8>> = log
        .split(|byte| *byte == b'\n')
        .map(|line| match line.windows(LINE.len()).rposition(|window| window == LINE) {
            Some(at) => [&line[..at], b"}}}"].concat(),
            None => line.to_vec(),
        })
        .collect();
    seal(&bare.iter().map(Vec::as_slice).collect::<Vec<_>>(), key)
}

/// Behind a line break.
fn middle(log: &[u8]) -> usize {
    let half = log.len() / 2;
    log[half..].iter().position(|byte| *byte == b'\n').map_or(0, |at| half + at + 1)
}

fn check(report: &Verified) {
    let findings = report.json["findings"].as_array().expect("a list");
    assert_eq!(report.is_whole, findings.is_empty());
    assert_eq!(report.is_whole, report.text.starts_with("whole:"));
    let told = report.text.lines().filter(|line| line.starts_with("GAP ") || line.starts_with("TAMPERED ")).count();
    assert_eq!(told, findings.len(), "{}", report.text);
    assert!(report.text.chars().all(|char| char == '\n' || !char.is_control()), "{:?}", report.text);
}

fn no_line_can_be_missing(log: &[u8], which: usize, key: Option<&[u8]>) {
    // A run that was killed before it had committed anything counts for nothing.
    if log.windows(7).any(|window| window == b"resumed") {
        return;
    }
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let is_numbered = |line: &&[u8]| verify(&[line], None).is_some();
    let Some(at) = (0..lines.len()).filter(|at| is_numbered(&lines[*at])).nth(which) else { return };
    let without = [&lines[..at], &lines[at + 1..]].concat().concat();
    assert!(verify(&[&without], key).is_none_or(|report| !report.is_whole), "line {at} is not missed");
    let twice = [log, b"\n", lines[at]].concat();
    assert!(verify(&[&twice], key).is_none_or(|report| !report.is_whole), "line {at} is there twice");
}
