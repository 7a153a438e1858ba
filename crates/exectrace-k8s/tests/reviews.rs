//! Questions as an API server sends them, and the answers to them.
//!
//! `tests/reviews` has a question `NAME.json`, the settings `NAME.yaml` where they are not the defaults, and the answer
//! `NAME.answer.json`, with the patch as JSON. `EXECTRACE_UPDATE_GOLDENS=1` writes the answers anew.

#![cfg(feature = "cluster")]

use std::fs;
use std::path::{Path, PathBuf};

use exectrace_k8s::review::{Verdict, answer};
use exectrace_k8s::settings::Settings;
use k8s_openapi::ByteString;
use serde_json::Value;

/// In the place of what is different in each version.
const VERSION: &str = "VERSION";

#[test]
fn the_answers_are_the_golden_ones() {
    for name in names() {
        let answered = format!("{:#}\n", legible(response(&question(&name), &name)));
        let answered = answered.replace(env!("CARGO_PKG_VERSION"), VERSION);
        let golden = file(&name, "answer.json");
        if std::env::var_os("EXECTRACE_UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &answered).expect("a folder to write in");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(parsed(&answered), parsed(&expected), "{name}: EXECTRACE_UPDATE_GOLDENS=1 writes the answers anew");
    }
}

#[test]
fn a_patched_pod_that_comes_back_gets_no_patch() {
    for name in names() {
        let mut question = question(&name);
        let response = legible(response(&question, &name));
        if response["patch"].is_null() {
            continue;
        }
        let patch = serde_json::from_value::<json_patch::Patch>(response["patch"].clone()).expect("a JSON patch");
        json_patch::patch(&mut question["request"]["object"], &patch).expect("a patch that fits");
        let again = answer(question.to_string().as_bytes(), &settings(&name)).expect("an answer");
        assert!(matches!(again.verdict, Verdict::Unchanged | Verdict::Untraced), "{name}: {:?}", again.verdict);
        assert!(again.notice.is_none(), "{name}");
        let again: Value = serde_json::from_slice(&again.body).expect("JSON");
        assert_eq!(again["response"]["patch"], Value::Null, "{name}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reviews")
}

fn file(name: &str, suffix: &str) -> PathBuf {
    folder().join(format!("{name}.{suffix}"))
}

fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let files = files.map(|name| name.into_string().expect("a name in UTF-8"));
    let mut names: Vec<String> = files
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Members in any order; nothing if it is no JSON.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn question(name: &str) -> Value {
    parsed(&fs::read_to_string(file(name, "json")).expect("a question"))
}

fn settings(name: &str) -> Settings {
    let text = fs::read_to_string(file(name, "yaml")).unwrap_or_else(|_| "image: example.com/exectrace:1".to_owned());
    Settings::parse(&text).expect("settings")
}

fn response(question: &Value, name: &str) -> Value {
    let answer = answer(question.to_string().as_bytes(), &settings(name)).expect("an answer");
    let review: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(review["response"]["uid"], question["request"]["uid"], "{name}");
    review["response"].clone()
}

/// With the patch as JSON, and no longer as text of text.
fn legible(mut response: Value) -> Value {
    if let Some(patch) = response.get("patch") {
        let patch: ByteString = serde_json::from_value(patch.clone()).expect("base64");
        response["patch"] = serde_json::from_slice(&patch.0).expect("JSON");
    }
    response
}
