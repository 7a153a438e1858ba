//! One JSON object per line; `docs/events.md` is its description and `docs/events.schema.json` its schema.
//!
//! The seed's names and their order are a contract: queries filter on `fields.labels.*` and `fields.cmdline`, and what
//! extracts only the first fields of an object must find these.

mod account;
mod event;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::SystemTime;

use exectrace::{Event, FailedExec};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::account::{GoneBody, LabelsChangedBody, LedgerBody, LostBody, StartBody, StopBody, WatchdogBody};
use self::event::{EndedFields, EventFields, FailedFields, RunningFields};
use super::escape::{Ascii, Text};
use super::{Entry, Place, cmdline};
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

/// A kind of line: its `msg`, the name of its body, and what it tells as `func`.
struct Kind {
    msg: &'static str,
    body: &'static str,
    func: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $msg:literal, $body:literal, $func:literal;)*) => {
        $(const $name: Kind = Kind { msg: $msg, body: $body, func: concat!("exectrace::line::json::", $func) };)*
    };
}

kinds! {
    EXEC = "exec", "event", "exec";
    EXEC_FAILED = "exec-failed", "event", "exec_failed";
    EXIT = "exit", "event", "exit";
    RUNNING = "running", "event", "running";
    LOST = "lost", "lost", "lost";
    START = "start", "start", "start";
    LEDGER = "ledger", "ledger", "ledger";
    WATCHDOG = "watchdog", "watchdog", "watchdog";
    LABELS_CHANGED = "labels-changed", "changed", "labels_changed";
    SCOPE_GONE = "scope-gone", "gone", "scope_gone";
    STOP = "stop", "stop", "stop";
}

/// What a line says: `labels`, perhaps `cmdline`, and last a body, in which the line's number will come last.
struct Body<'a, B> {
    labels: &'a RawValue,
    cmdline: Option<&'a [u8]>,
    name: &'static str,
    body: B,
}

impl<B: Serialize> Serialize for Body<'_, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("labels", &self.labels)?;
        if let Some(cmdline) = self.cmdline {
            map.serialize_entry("cmdline", &Text(cmdline))?;
        }
        map.serialize_entry(self.name, &self.body)?;
        map.end()
    }
}

/// Writes lines as JSON.
pub(crate) struct JsonEncoder {
    fields: Fields,
    /// Whose exec it is must be told, because there are several scopes.
    scopes: bool,
    labels: Box<RawValue>,
}

impl JsonEncoder {
    /// `scopes`: whether a line tells the number of its scope, which `full` ones always do.
    pub(crate) fn new(fields: Fields, scopes: bool) -> JsonEncoder {
        JsonEncoder { fields, scopes, labels: raw(&Map::new()) }
    }

    /// The labels of all lines from now on, encoded once.
    pub(crate) fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        self.labels = raw(labels);
    }

    /// Appends one line without its line break; it ends in `}}}`. `now` is the time of what has no time of its own.
    pub(crate) fn encode(&self, entry: &Entry, now: SystemTime, place: Place<'_>, out: &mut Vec<u8>) {
        match entry {
            Entry::Exec(event) => self.exec(event, out),
            Entry::Failed(failed) => self.failed(failed, out),
            Entry::Ended(ended) => self.line(
                ended.time,
                "INFO",
                EXIT,
                None,
                &EndedFields { ended, fields: self.fields, scope: self.scopes },
                out,
            ),
            Entry::Running(running) => {
                let cmdline = cmdline(&running.argv);
                self.line(now, "INFO", RUNNING, Some(&cmdline), &RunningFields(running), out);
            }
            Entry::Lost(lost) => self.line(now, "WARN", LOST, None, &LostBody::from(lost), out),
            Entry::Start(start) => {
                self.line(start.time.unwrap_or(now), "INFO", START, None, &StartBody::from(start.as_ref()), out);
            }
            Entry::Ledger(snapshot) => {
                self.line(now, "INFO", LEDGER, None, &LedgerBody::new(snapshot, place), out);
            }
            Entry::Watchdog(watchdog) => {
                let level = if watchdog.seen { "INFO" } else { "ERROR" };
                self.line(now, level, WATCHDOG, None, &WatchdogBody::from(watchdog), out);
            }
            Entry::LabelsChanged(before) => {
                self.line(now, "INFO", LABELS_CHANGED, None, &LabelsChangedBody { before }, out);
            }
            Entry::Gone(gone) => self.line(gone.time, "INFO", SCOPE_GONE, None, &GoneBody::from(gone), out),
            Entry::Reached(_) => {}
            Entry::Stop(stop) => self.line(now, "INFO", STOP, None, &StopBody::from(stop), out),
        }
    }

    fn exec(&self, event: &Event, out: &mut Vec<u8>) {
        let cmdline = cmdline(&event.argv);
        let body = EventFields { event, fields: self.fields, scope: self.scopes };
        self.line(event.time, "INFO", EXEC, Some(&cmdline), &body, out);
    }

    fn failed(&self, failed: &FailedExec, out: &mut Vec<u8>) {
        let cmdline = cmdline(&failed.attempt.argv);
        let body = FailedFields { failed, fields: self.fields, scope: self.scopes };
        self.line(failed.attempt.time, "INFO", EXEC_FAILED, Some(&cmdline), &body, out);
    }

    fn line<B: Serialize>(
        &self,
        time: SystemTime,
        level: &str,
        kind: Kind,
        cmdline: Option<&[u8]>,
        body: &B,
        out: &mut Vec<u8>,
    ) {
        let fields = Body { labels: &self.labels, cmdline, name: kind.body, body };
        write(out, &Line { ts: timestamp(time), level, msg: kind.msg, caller: file!(), func: kind.func, fields });
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

/// As all lines tell a time.
fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}
