//! Any text as two files for `logs`: no line is lost, doubled or put before one of its own file, and what is shown to people
//! moves no cursor. The first two bytes say where the second file begins.
#![no_main]

use exectrace_cli::fuzzing::{Shown, lines, logs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((at, log)) = input.split_first_chunk::<2>() else { return };
    let is_compressed = |bytes: &[u8]| bytes.starts_with(&[0x1f]) || bytes.starts_with(&[0x28]);
    let (first, second) = log.split_at(usize::from(u16::from_le_bytes(*at)) % (log.len() + 1));
    // What compressed data holds is the business of the target `reader`.
    if is_compressed(first) || is_compressed(second) {
        return;
    }
    let Shown { json, lines, is_whole, json_to_terminal, text, tree } = logs(&[first, second]);
    let shown: Vec<&[u8]> = json.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]).collect();
    assert!(is_whole && lines == shown.len() as u64);
    let files = [first, second].map(lines_of);
    each_line_once(&files, &shown);
    files.iter().for_each(|file| in_order(file, &shown));
    for people in [&json_to_terminal, &text, &tree] {
        assert!(!people.chars().any(|char| char.is_control() && char != '\n'), "{people:?}");
    }
    assert_eq!(json_to_terminal.lines().count(), shown.len());
    let ledgers = shown.iter().filter(|line| is_ledger(line)).count();
    assert!((shown.len() - ledgers..=shown.len()).contains(&text.lines().count()), "{text}");
});

/// As they were logged; empty ones say nothing.
fn lines_of(file: &[u8]) -> Vec<Vec<u8>> {
    let lines = lines(file).expect("memory can be read").lines;
    lines.into_iter().map(|(line, _)| line).filter(|line| !line.is_empty()).collect()
}

fn is_ledger(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|line| line["msg"] == "ledger")
}

fn each_line_once(files: &[Vec<Vec<u8>>], shown: &[&[u8]]) {
    let mut expected: Vec<&[u8]> = files.iter().flatten().map(Vec::as_slice).collect();
    let mut shown = shown.to_vec();
    expected.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, expected);
}

fn in_order(file: &[Vec<u8>], shown: &[&[u8]]) {
    let mut shown = shown.iter();
    assert!(file.iter().all(|line| shown.any(|other| other == line)), "{file:?}");
}
