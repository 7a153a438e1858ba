use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::golden;

fn translator(schema: Schema) -> Translator {
    Translator::new(schema, Host { name: "node-1".to_owned(), version: "0.0.0" })
}

fn translate(schema: Schema, line: &[u8]) -> String {
    let mut out = Vec::new();
    translator(schema).translate(line, &mut out);
    String::from_utf8(out).expect("ASCII")
}

fn each_line(test: impl Fn(Schema, &str, &[u8], &str)) {
    for (schema, name) in [(Schema::Ecs, "ecs"), (Schema::Ocsf, "ocsf")] {
        for (line_name, line) in golden::lines() {
            test(schema, &format!("{name} {line_name}"), &line, &translate(schema, &line));
        }
    }
}

#[test]
fn golden_lines_of_each_schema() {
    each_line(|_, name, _, made| {
        let (schema, name) = name.split_once(' ').expect("two words");
        golden::assert_golden(schema, name, made);
    });
}

#[test]
fn every_line_is_one_line_of_ascii_and_not_much_longer() {
    each_line(|schema, name, line, made| {
        assert!(made.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{name}");
        let most = line.len() + schema.growth() - 2 * 64;
        assert!(made.len() <= most, "{name}: {} bytes of {}", made.len(), line.len());
    });
}

#[test]
fn nothing_of_a_line_is_left_out() {
    each_line(|schema, name, line, made| {
        let line = std::str::from_utf8(line).expect("ASCII");
        let there = golden::sorted_leaves(made);
        let whole: Value = serde_json::from_str(line).expect("JSON");
        let level = whole["level"].as_str().expect("a level");
        let is_told_otherwise = |leaf: &str| match schema {
            // The time is in milliseconds, the source has no place, the level is a number.
            Schema::Ocsf => {
                leaf == level
                    || [
                        &whole["caller"],
                        &whole["func"],
                        &whole["fields"]["event"]["duration_ns"],
                        &whole["fields"]["event"]["started"],
                    ]
                    .iter()
                    .any(|value| golden::sorted_leaves(&value.to_string()).contains(&leaf.to_owned()))
            }
            Schema::Ecs | Schema::Coder => leaf == level,
        };
        for leaf in golden::sorted_leaves(line) {
            assert!(there.binary_search(&leaf).is_ok() || is_told_otherwise(&leaf), "{name} lacks {leaf:?}");
        }
    });
}

#[test]
fn an_ocsf_line_has_what_the_class_requires() {
    each_line(|schema, name, line, made| {
        if schema != Schema::Ocsf {
            return;
        }
        let (line, made): (Value, Value) =
            (serde_json::from_slice(line).expect("JSON"), serde_json::from_str(made).expect("JSON"));
        for required in ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"] {
            assert!(!made[required].is_null(), "{name} lacks {required}");
        }
        let is_process =
            ["exec", "exec-failed", "exit", "running", "continued"].contains(&line["msg"].as_str().expect("a word"));
        assert_eq!(made["class_uid"], if is_process { 1007 } else { 0 }, "{name}");
        assert_eq!(
            made["type_uid"].as_i64(),
            Some(made["class_uid"].as_i64().expect("a number") * 100 + made["activity_id"].as_i64().expect("a number"))
        );
        if is_process {
            assert!(
                made["process"]["pid"].is_number()
                    && made["device"]["hostname"].is_string()
                    && made["actor"].is_object(),
                "{name}"
            );
        }
    });
}

#[test]
fn a_host_may_have_any_name() {
    let name = "\u{1f980}\"".repeat(40);
    let translator = Translator::new(Schema::Ecs, Host { name: name.clone(), version: "0.0.0" });
    let mut out = Vec::new();
    let (_, line) = golden::lines().remove(0);
    translator.translate(&line, &mut out);
    let made: Value = serde_json::from_slice(&out).expect("JSON");
    assert!(out.is_ascii());
    assert!(name.starts_with(made["host"]["hostname"].as_str().expect("a name")));
    assert!(out.len() <= line.len() + Schema::Ecs.growth());
}

#[test]
fn what_is_no_line_stays_as_it_is() {
    for text in ["", "{}", "no JSON", r#"{"ts":1}"#] {
        assert_eq!(translate(Schema::Ecs, text.as_bytes()), text);
    }
}

proptest! {
    /// Whatever a process is called.
    #[test]
    fn strings_stay_what_they_are(argv in proptest::collection::vec(any::<String>(), 0..5), path in any::<String>()) {
        let event = serde_json::json!({"filename": path, "argv": argv, "pid": 1, "uid": 0, "gid": 0, "line": "0000002a-7"});
        let fields = serde_json::json!({"labels": {"username": path}, "cmdline": path, "event": event});
        let line = ascii(&line_of(&fields));
        for schema in [Schema::Ecs, Schema::Ocsf] {
            let made = translate(schema, line.as_bytes());
            prop_assert!(made.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && made.len() <= line.len() + schema.growth(), "{} of {}", made.len(), line.len());
            let made: Value = serde_json::from_str(&made).expect("JSON");
            let (args, command) = match schema {
                Schema::Ecs => (&made["process"]["args"], &made["process"]["command_line"]),
                _ => (&made["process"]["xattributes"]["argv"], &made["process"]["cmd_line"]),
            };
            prop_assert_eq!(args, &serde_json::json!(argv));
            prop_assert_eq!(command, &serde_json::json!(path));
        }
    }
}

/// The body of a line comes last; the order of `serde_json` is another.
fn line_of(fields: &Value) -> String {
    let begin = r#"{"ts":"2026-11-28T21:00:00.000000000Z","level":"INFO","msg":"exec","caller":"a","func":"b""#;
    let [labels, cmdline, event] = ["labels", "cmdline", "event"].map(|name| &fields[name]);
    format!(r#"{begin},"fields":{{"labels":{labels},"cmdline":{cmdline},"event":{event}}}}}"#)
}

fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
        } else {
            character.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}
