//! Lines of ours that tests make others of: those that the program's own tests hold, one of each kind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Names and bytes, without the line break.
pub(crate) fn lines() -> Vec<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder("../exectrace-cli/tests/golden/lines")).expect("lines") {
        let path = entry.expect("a line").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        // Messages of the program are no lines of a log.
        if name != "diagnostic" {
            let line = fs::read(&path).expect("a line");
            lines.push((name, line.strip_suffix(b"\n").unwrap_or(&line).to_vec()));
        }
    }
    assert!(lines.len() > 40, "{} lines", lines.len());
    lines.sort();
    lines
}

/// Whether what is made of a line is what it was; `EXECTRACE_UPDATE_GOLDENS=1` writes it anew.
pub(crate) fn assert_golden(schema: &str, name: &str, made: &str) {
    let path = folder("tests/golden").join(schema).join(format!("{name}.json"));
    if std::env::var_os("EXECTRACE_UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, format!("{made}\n")).expect("a file");
    }
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden.trim_end(), made, "{}", path.display());
}

/// Numbers and strings of a value; where schemas want another type, the number is a string.
fn leaves(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| leaves(value, into)),
        Value::Object(members) => members.values().for_each(|value| leaves(value, into)),
        Value::String(text) => into.push(text.clone()),
        other => into.push(other.to_string()),
    }
}

/// The same of a text, sorted.
pub(crate) fn sorted_leaves(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    leaves(&serde_json::from_str(text).expect("JSON"), &mut found);
    found.sort();
    found
}
