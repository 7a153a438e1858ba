//! One JSON object per line; `docs/events.md` is its description and `docs/events.schema.json` its schema.
//!
//! The seed's names and their order are a contract: queries filter on `fields.labels.*` and `fields.cmdline`, and what
//! extracts only the first fields of an object must find these.

use std::collections::BTreeMap;
use std::time::SystemTime;

use exectrace::{Event, Traits};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::escape::{Ascii, Text};
use super::{Entry, Lost, cmdline};
use crate::cli::Fields;

/// Outer keys of every line.
#[derive(Serialize)]
struct Line<'a, F> {
    ts: String,
    level: &'a str,
    msg: &'a str,
    caller: &'a str,
    func: &'a str,
    fields: F,
}

#[derive(Serialize)]
struct ExecFields<'a> {
    labels: &'a RawValue,
    cmdline: Text<'a>,
    event: EventFields<'a>,
}

#[derive(Serialize)]
struct LostFields<'a> {
    labels: &'a RawValue,
    lost: LostBody,
}

#[derive(Serialize)]
struct LostBody {
    reason: &'static str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u32>,
}

/// Writes lines as JSON.
pub(crate) struct JsonEncoder {
    fields: Fields,
    labels: Box<RawValue>,
}

impl JsonEncoder {
    pub(crate) fn new(fields: Fields) -> JsonEncoder {
        JsonEncoder { fields, labels: raw(&Map::new()) }
    }

    /// The labels of all lines from now on, encoded once.
    pub(crate) fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        self.labels = raw(labels);
    }

    /// Appends one line with its line break. `now` is the time of what has no time of its own.
    pub(crate) fn encode(&self, entry: &Entry, now: SystemTime, out: &mut Vec<u8>) {
        match entry {
            Entry::Exec(event) => self.exec(event, out),
            Entry::Lost(lost) => self.lost(lost, now, out),
        }
        out.push(b'\n');
    }

    fn exec(&self, event: &Event, out: &mut Vec<u8>) {
        let cmdline = cmdline(event);
        let fields = ExecFields {
            labels: &self.labels,
            cmdline: Text(&cmdline),
            event: EventFields { event, fields: self.fields },
        };
        let func = concat!(module_path!(), "::exec");
        let line = Line { ts: timestamp(event.time), level: "INFO", msg: "exec", caller: file!(), func, fields };
        write(out, &line);
    }

    fn lost(&self, lost: &Lost, now: SystemTime, out: &mut Vec<u8>) {
        let scope = lost.scope.map(exectrace::ScopeId::get);
        let body = LostBody { reason: lost.reason, count: lost.count, scope };
        let fields = LostFields { labels: &self.labels, lost: body };
        let func = concat!(module_path!(), "::lost");
        write(out, &Line { ts: timestamp(now), level: "WARN", msg: "lost", caller: file!(), func, fields });
    }
}

/// A line of exectrace's own, with its line break.
pub(crate) fn diagnostic(
    now: SystemTime,
    level: &str,
    msg: &str,
    caller: &str,
    func: &str,
    fields: &Map<String, Value>,
) -> String {
    let mut out = Vec::new();
    write(&mut out, &Line { ts: timestamp(now), level, msg, caller, func, fields });
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    let mut json = Vec::new();
    write(&mut json, value);
    String::from_utf8(json).ok().and_then(|json| RawValue::from_string(json).ok()).unwrap_or_default()
}

/// A `Vec` takes all, and every key of ours is a string, so there is nothing that can fail.
fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii));
    debug_assert!(written.is_ok());
}

fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

struct EventFields<'a> {
    event: &'a Event,
    fields: Fields,
}

impl Serialize for EventFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.seed(&mut map)?;
        if self.fields >= Fields::Standard {
            self.standard(&mut map)?;
        }
        if self.fields >= Fields::Full {
            self.full(&mut map)?;
        }
        map.end()
    }
}

impl EventFields<'_> {
    fn seed<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let event = self.event;
        map.serialize_entry("filename", &Text(&event.filename))?;
        map.serialize_entry("argv", &Sequence(|| event.argv.iter()))?;
        map.serialize_entry("truncated", &event.truncated())?;
        map.serialize_entry("pid", &event.pid)?;
        map.serialize_entry("uid", &event.uid)?;
        map.serialize_entry("gid", &event.gid)?;
        map.serialize_entry("comm", &Text(&event.comm))
    }

    fn standard<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let event = self.event;
        map.serialize_entry("id", &Shown(event.id))?;
        if let Some(parent) = event.parent_id {
            map.serialize_entry("parent_id", &Shown(parent))?;
        }
        map.serialize_entry("ppid", &event.ppid)?;
        map.serialize_entry("vpid", &event.vpid)?;
        map.serialize_entry("argc", &event.argv.count)?;
        if event.exe != event.filename && !event.exe.is_empty() {
            map.serialize_entry("exe", &Text(&event.exe))?;
        }
        if let Some(interpreter) = &event.interpreter {
            map.serialize_entry("interpreter", &Text(&interpreter.path))?;
            if !interpreter.args.is_empty() {
                map.serialize_entry("interpreter_args", &Sequence(|| interpreter.args.iter().map(Vec::as_slice)))?;
            }
        }
        if !event.cwd.is_empty() {
            map.serialize_entry("cwd", &Text(&event.cwd))?;
        }
        if let Some(tty) = &event.tty {
            map.serialize_entry("tty", &Text(tty))?;
        }
        map.serialize_entry("sid", &event.sid)?;
        if event.euid != event.uid {
            map.serialize_entry("euid", &event.euid)?;
        }
        if event.egid != event.gid {
            map.serialize_entry("egid", &event.egid)?;
        }
        if let Some(loginuid) = event.loginuid {
            map.serialize_entry("loginuid", &loginuid)?;
        }
        map.serialize_entry("cgroup", &event.cgroup)?;
        map.serialize_entry("ns_level", &event.ns_level)?;
        for (name, which) in [
            ("memfd", Traits::MEMFD),
            ("deleted", Traits::DELETED),
            ("setuid", Traits::SETUID),
            ("ld_so", Traits::LD_SO),
        ] {
            if event.traits.contains(which) {
                map.serialize_entry(name, &true)?;
            }
        }
        if event.truncated() {
            map.serialize_entry("argv_bytes", &event.argv.total_bytes)?;
            map.serialize_entry("argv_kept_bytes", &event.argv.kept_bytes())?;
            if let Some(hash) = &event.argv.sha256 {
                map.serialize_entry("argv_sha256", &hex(hash))?;
            }
        }
        if !event.partial.is_empty() {
            map.serialize_entry("partial", &event.partial.names().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn full<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let event = self.event;
        map.serialize_entry("scope", &event.scope.get())?;
        map.serialize_entry("cpu", &event.origin.cpu)?;
        map.serialize_entry("hook", event.origin.hook.name())?;
        map.serialize_entry("seq", &event.origin.seq)?;
        if event.traits.contains(Traits::THREAD) {
            map.serialize_entry("caller_tid", &event.caller_tid)?;
        }
        if let Some(session) = event.audit_session {
            map.serialize_entry("audit_session", &session)?;
        }
        map.serialize_entry("pid_ns", &event.pid_ns)?;
        map.serialize_entry("mnt_ns", &event.mnt_ns)?;
        map.serialize_entry("inode", &event.inode)?;
        map.serialize_entry("device", &format!("{}:{}", event.device.0, event.device.1))?;
        map.serialize_entry("mode", &format!("{:04o}", event.mode & 0o7777))
    }
}

/// Strings of bytes as an array.
struct Sequence<F>(F);

impl<'a, F: Fn() -> I, I: Iterator<Item = &'a [u8]>> Serialize for Sequence<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)().map(Text))
    }
}

/// What has a text form, as a string.
struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::LazyLock;
    use std::time::Duration;

    use exectrace::{Interpreter, LossReason, Partial, ScopeId};
    use jsonschema::Validator;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::line::escape::tests::to_bytes;
    use crate::line::samples;

    const ALL_FIELDS: [(Fields, &str); 3] =
        [(Fields::Seed, "seed"), (Fields::Standard, "standard"), (Fields::Full, "full")];

    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../../../docs/events.schema.json")).expect("the schema is JSON")
    });
    static VALIDATOR: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::validator_for(&SCHEMA).expect("the schema is a schema"));

    fn is_valid(line: &Value) -> bool {
        VALIDATOR.is_valid(line)
    }

    #[track_caller]
    fn parse_valid(line: &str) -> Value {
        let parsed = serde_json::from_str(line).expect("a line is JSON");
        let errors: Vec<_> = VALIDATOR.iter_errors(&parsed).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}\n{errors:#?}");
        parsed
    }

    /// The labels that a Coder template gives.
    fn labels() -> BTreeMap<String, String> {
        [
            ("organization_id", "0d4bd3a2-6b5a-4a02-8f43-f4d2e66a8d3c"),
            ("user_email", "jessie@example.com"),
            ("user_id", "a1a94b8a-9ac2-4cb6-8a1c-5ab2f1d0a7b4"),
            ("username", "jessie"),
            ("workspace_id", "b5f1fca2-6a3e-4cc5-b0a9-3d1b0c4d9f11"),
            ("workspace_name", "main \u{1f980} \"x\"\n"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn encode(fields: Fields, entry: &Entry) -> String {
        let mut encoder = JsonEncoder::new(fields);
        encoder.set_labels(&labels());
        let mut out = Vec::new();
        encoder.encode(entry, SystemTime::UNIX_EPOCH, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn exec(event: Event) -> Entry {
        Entry::Exec(Box::new(event))
    }

    fn lost(reason: &'static str, scope: Option<ScopeId>) -> Entry {
        Entry::Lost(Lost { scope, reason, count: 17 })
    }

    /// A diagnostic with a field of each type, as `diagnostics` makes it.
    fn sample_diagnostic() -> String {
        let fields = serde_json::json!({ "pid_ns": 4_026_532_412_u32, "held": true, "peer": "127.0.0.1:4711" });
        let Value::Object(fields) = fields else { panic!("an object") };
        let msg = "tracing the workspace's PID namespace \u{fc}\n";
        diagnostic(SystemTime::UNIX_EPOCH + Duration::from_nanos(1), "INFO", msg, "src/x.rs", "exectrace::x", &fields)
    }

    /// Each golden line's name, and what makes it.
    fn goldens() -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        for (fields, name) in ALL_FIELDS {
            for (sample, event) in
                [("uname", samples::uname()), ("everything", samples::everything()), ("bare", samples::bare())]
            {
                lines.insert(format!("exec-{name}-{sample}.json"), encode(fields, &exec(event)));
            }
        }
        for (reason, scope) in [("ring_full", Some(ScopeId::FIRST)), ("queue_full", None)] {
            let name = format!("lost-{}.json", reason.replace('_', "-"));
            lines.insert(name, encode(Fields::Standard, &lost(reason, scope)));
        }
        lines.insert("diagnostic.json".to_owned(), sample_diagnostic());
        lines
    }

    /// `EXECTRACE_UPDATE_GOLDENS=1 cargo test -p exectrace-cli golden` writes them anew.
    #[test]
    fn the_lines_are_the_golden_ones() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines");
        let made = goldens();
        if std::env::var_os("EXECTRACE_UPDATE_GOLDENS").is_some() {
            for entry in fs::read_dir(&folder).expect("the folder of the golden lines") {
                fs::remove_file(entry.expect("an entry").path()).expect("a golden line");
            }
            for (name, line) in &made {
                fs::write(folder.join(name), line).expect("a golden line");
            }
        }
        let mut kept = BTreeMap::new();
        for entry in fs::read_dir(&folder).expect("the folder of the golden lines") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            kept.insert(name, fs::read_to_string(&path).expect("a golden line"));
        }
        let names = |lines: &BTreeMap<String, String>| lines.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&kept), "made here, and kept in {}", folder.display());
        for (name, line) in &made {
            assert_eq!(line, &kept[name], "{name}");
        }
    }

    #[test]
    fn every_golden_line_is_one_line_of_the_schema() {
        for (name, line) in goldens() {
            assert_eq!(line.find('\n'), Some(line.len() - 1), "{name}");
            parse_valid(&line);
        }
    }

    /// Queries of the first version's logs must find what they look for, where they look for it.
    #[test]
    fn the_seed_s_names_and_their_order_are_the_contract() {
        let line = encode(Fields::Seed, &exec(samples::uname()));
        let caller = "crates/exectrace-cli/src/line/json.rs";
        let (before, after) = line.split_once(",\"fields\":").expect("the fields");
        assert_eq!(
            before,
            format!(
                "{{\"ts\":\"2022-02-28T20:29:38.038452202Z\",\"level\":\"INFO\",\"msg\":\"exec\",\
                 \"caller\":\"{caller}\",\"func\":\"exectrace::line::json::exec\""
            )
        );
        let (labels, after) = after.split_once(",\"cmdline\":").expect("the command line");
        let names: Vec<_> =
            labels.split("\":\"").filter_map(|part| part.rsplit('"').next()).map(str::to_owned).collect();
        assert!(labels.starts_with("{\"labels\":{\"organization_id\":"), "{labels}");
        assert_eq!(
            names[..6],
            ["organization_id", "user_email", "user_id", "username", "workspace_id", "workspace_name"],
            "{labels}"
        );
        assert_eq!(
            after,
            "\"uname -a\",\"event\":{\"filename\":\"/usr/bin/uname\",\"argv\":[\"uname\",\"-a\"],\"truncated\":false,\
             \"pid\":920684,\"uid\":101000,\"gid\":101000,\"comm\":\"bash\"}}}\n"
        );
    }

    #[test]
    fn more_fields_come_after_the_seed_s() {
        let [seed, standard, full] = [Fields::Seed, Fields::Standard, Fields::Full]
            .map(|fields| encode(fields, &exec(samples::everything())).trim_end_matches(['}', '\n']).to_owned());
        assert!(standard.starts_with(&format!("{seed},\"id\":")), "{standard}");
        assert!(full.starts_with(&format!("{standard},\"scope\":")), "{full}");
    }

    #[test]
    fn the_schema_has_every_field_and_the_lines_have_every_field_of_the_schema() {
        let event = |line: &str| parse_valid(line)["fields"]["event"].as_object().expect("an event").clone();
        let mut written: Vec<String> =
            event(&encode(Fields::Full, &exec(samples::everything()))).keys().cloned().collect();
        written.sort();
        let known = SCHEMA["$defs"]["event"]["properties"].as_object().expect("the event's fields");
        let mut known: Vec<String> = known.keys().cloned().collect();
        known.sort();
        assert_eq!(written, known);
    }

    #[test]
    fn the_schema_has_every_reason() {
        let reasons = |value: &Value| serde_json::from_value::<Vec<String>>(value["enum"].clone()).expect("an enum");
        let partial: Vec<&str> = Partial::all().names().collect();
        assert_eq!(reasons(&SCHEMA["$defs"]["partialReason"]), partial);
        let lost_reasons = reasons(
            SCHEMA.pointer("/$defs/lostLine/properties/fields/properties/lost/properties/reason").expect("the reasons"),
        );
        let kernel = [LossReason::RingFull, LossReason::ProgramSkipped, LossReason::Undecodable].map(LossReason::name);
        assert_eq!(lost_reasons[..3], kernel);
        for reason in kernel.into_iter().chain(["queue_full", "write_failed"]) {
            parse_valid(&encode(Fields::Standard, &lost(reason, None)));
        }
        assert!(!is_valid(&serde_json::from_str(&encode(Fields::Standard, &lost("boredom", None))).expect("JSON")));
    }

    #[test]
    fn the_schema_refuses_what_is_no_line() {
        let line = parse_valid(&encode(Fields::Full, &exec(samples::everything())));
        assert!(is_valid(&line));
        let refused = |pointer: &str, value: Value| {
            let mut changed = line.clone();
            *changed.pointer_mut(pointer).expect(pointer) = value;
            assert!(!is_valid(&changed), "{pointer}");
        };
        refused("/ts", "2022-02-28T20:29:38.038Z".into());
        refused("/ts", "2022-02-28T20:29:38.038452202+00:00".into());
        refused("/msg", "lost".into());
        refused("/fields/cmdline", "\u{fffd}".into());
        refused("/fields/labels", serde_json::json!({ "a": 1 }));
        refused("/fields/event/pid", (-1).into());
        refused("/fields/event/truncated", false.into());
        refused("/fields/event/partial/0", "tired".into());
        refused("/fields/event/hook", "enter".into());
        for name in ["filename", "argv", "truncated", "pid", "uid", "gid", "comm", "interpreter", "ppid", "cpu"] {
            let mut changed = line.clone();
            changed["fields"]["event"].as_object_mut().expect("an event").remove(name);
            assert!(!is_valid(&changed), "without {name}");
        }
        let mut more = line.clone();
        more["fields"]["event"]["more"] = 1.into();
        assert!(!is_valid(&more));
    }

    /// What a string of the kernel's can be: text, bytes, or text that tries to leave its string.
    fn kernel_string() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(1..=u8::MAX, 0..40),
            "[^\u{0}]{0,20}".prop_map(String::into_bytes),
            "[\"\\\\\n{}\u{fffd}\u{2028}f'$ ~#!-]{0,12}".prop_map(String::into_bytes),
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        let strings = (kernel_string(), kernel_string(), kernel_string(), kernel_string(), kernel_string());
        let argv = vec(kernel_string(), 0..6);
        let interpreter = proptest::option::of((kernel_string(), vec(kernel_string(), 0..3)));
        let flags = (any::<u32>(), any::<u32>(), any::<u64>());
        (strings, argv, interpreter, flags).prop_map(
            |((filename, comm, exe, cwd, tty), argv, interpreter, (traits, partial, number))| {
                let mut event = samples::uname();
                event.argv = samples::args(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>());
                event.argv.total_bytes += number % 3;
                event.filename = filename;
                event.comm = comm;
                event.exe = exe;
                event.cwd = cwd;
                event.tty = Some(tty);
                event.interpreter = interpreter.map(|(path, args)| Interpreter { path, args });
                event.traits = Traits::from_bits_truncate(traits);
                event.partial = Partial::from_bits_truncate(partial);
                event.inode = number;
                event
            },
        )
    }

    fn bytes_of(value: &Value) -> Vec<u8> {
        to_bytes(value.as_str().expect("a string"))
    }

    proptest! {
        /// One event is one line, whatever is in it, and the line tells it without loss.
        #[test]
        fn any_event_is_one_line_that_tells_it(event in event()) {
            for (fields, _) in ALL_FIELDS {
                let line = encode(fields, &exec(event.clone()));
                prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
                prop_assert!(line.trim_end_matches('\n').bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
                let written = &parse_valid(&line)["fields"];
                prop_assert_eq!(&written["labels"], &serde_json::to_value(labels()).expect("labels"));
                prop_assert_eq!(bytes_of(&written["event"]["filename"]), event.filename.clone());
                prop_assert_eq!(bytes_of(&written["event"]["comm"]), event.comm.clone());
                let argv: Vec<_> = written["event"]["argv"].as_array().expect("argv").iter().map(bytes_of).collect();
                prop_assert_eq!(&argv, &event.argv.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                prop_assert_eq!(shlex::bytes::split(&bytes_of(&written["cmdline"])), Some(argv));
                if fields >= Fields::Standard && !event.cwd.is_empty() {
                    prop_assert_eq!(bytes_of(&written["event"]["cwd"]), event.cwd.clone());
                }
            }
        }

        #[test]
        fn any_message_of_our_own_is_one_line(msg in ".{0,40}", name in ".{0,10}", value in ".{0,40}") {
            let fields: Map<String, Value> = [(name, Value::String(value))].into_iter().collect();
            let line = diagnostic(SystemTime::UNIX_EPOCH, "ERROR", &msg, "caller", "func", &fields);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            let written = parse_valid(&line);
            prop_assert_eq!(&written["msg"], &Value::String(msg));
            prop_assert_eq!(&written["fields"], &Value::Object(fields));
        }
    }
}
