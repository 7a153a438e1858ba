//! Any text as a log for `cost`: it is the same in one file as in two, its report is JSON, and nothing of the text gets out of
//! its place in the tables and on the page.
#![no_main]

use exectrace_cli::fuzzing::{Cost, cost};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // What compressed data holds is the business of the target `reader`.
    if input.starts_with(&[0x1f]) || input.starts_with(&[0x28]) {
        return;
    }
    let whole = cost(&[input]);
    let middle = input.len() / 2;
    if let Some(at) = input[middle..].iter().position(|byte| *byte == b'\n') {
        let (first, second) = input.split_at(middle + at + 1);
        // A second file can have another form: it says by its first bytes which.
        if first.iter().chain(second).all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\n') && !is_cri(input) {
            assert_eq!(cost(&[first, second]), whole);
        }
    }
    let Some(Cost { text, json, page }) = whole else { return };
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    for people in [&text, &page] {
        assert!(!people.chars().any(|char| char.is_control() && char != '\n'), "{people:?}");
    }
    assert!(!page.contains("<script"), "{page}");
});

/// Whether some line looks as if a container runtime had put something in front of it.
fn is_cri(input: &[u8]) -> bool {
    [&b" stdout "[..], b" stderr "].iter().any(|words| input.windows(8).any(|window| window == *words))
}
