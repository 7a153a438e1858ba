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
