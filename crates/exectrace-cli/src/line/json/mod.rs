//! One JSON object per line; `docs/events.md` is its description and `docs/events.schema.json` its schema.
//!
//! The seed's names and their order are a contract: queries filter on `fields.labels.*` and `fields.cmdline`, and what
//! extracts only the first fields of an object must find these.

mod account;
mod event;
mod parts;
mod rollup;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::SystemTime;

use exectrace::{Event, ExecId, FailedExec, Running};
use exectrace_sinks::ascii::Ascii;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::account::{
    DroppedBody, GoneBody, LabelsChangedBody, LedgerBody, LostBody, StartBody, StopBody, WatchdogBody,
};
use self::event::{ContinuedFields, EndedFields, EventFields, FailedFields, First, RunningFields, long_strings};
pub(crate) use self::parts::{Limits, MIN_LINE};
use self::parts::{Named, SEAL, divide};
use self::rollup::RollupBody;
use super::escape::Text;
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
#[derive(Clone, Copy)]
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
    CONTINUED = "continued", "event", "continued";
    LOST = "lost", "lost", "lost";
    START = "start", "start", "start";
    ROLLUP = "rollup", "rollup", "rollup";
    LEDGER = "ledger", "ledger", "ledger";
    WATCHDOG = "watchdog", "watchdog", "watchdog";
    DROPPED = "dropped", "dropped", "dropped";
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

/// What of each event is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) fields: Fields,
    /// Whose exec it is must be told, because there are several scopes; `full` lines always do.
    pub(crate) scopes: bool,
}

/// Writes lines as JSON.
pub(crate) struct JsonEncoder {
    told: Told,
    limits: Limits,
    labels: Box<RawValue>,
}

/// Where lines go. Each is ended as soon as it is there: `end` gets all bytes, and where the line begins.
pub(crate) struct Lines<'a, F> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) end: F,
}

impl JsonEncoder {
    pub(crate) fn new(told: Told, limits: Limits) -> JsonEncoder {
        JsonEncoder { told, limits, labels: raw(&Map::new()) }
    }

    /// The labels of all lines from now on, encoded once.
    pub(crate) fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        self.labels = raw(labels);
    }

    /// Appends what an entry becomes: one line, or several where one has not room for all arguments. A line ends in `}}}`
    /// before it is ended. `now` is the time of what has no time of its own.
    pub(crate) fn encode<F: FnMut(&mut Vec<u8>, usize)>(
        &self,
        entry: &Entry,
        now: SystemTime,
        place: Place<'_>,
        mut lines: Lines<'_, F>,
    ) {
        let lines = &mut lines;
        match entry {
            Entry::Exec(event) => self.process(&Process::of_exec(event, self.told.fields), place, lines),
            Entry::Failed(failed) => self.process(&Process::of_failed(failed, self.told.fields), place, lines),
            Entry::Ended(ended) => {
                let Told { fields, scopes: scope } = self.told;
                let body = EndedFields { ended, rollup: place.about.rollup, fields, scope };
                self.line(Head::info(ended.time, EXIT), None, &body, lines);
            }
            Entry::Running(running) => self.process(&Process::of_running(running, now), place, lines),
            Entry::Continued(line) => lines.again(line),
            Entry::Lost(lost) => self.line(Head::warn(now, LOST), None, &LostBody::from(lost), lines),
            Entry::Start(start) => {
                let head = Head::info(start.time.unwrap_or(now), START);
                self.line(head, None, &StartBody::from(start.as_ref()), lines);
            }
            Entry::Rollup(rollup) => {
                let scope = self.told.scopes || self.told.fields >= Fields::Full;
                self.line(Head::info(now, ROLLUP), None, &RollupBody::of(rollup, scope), lines);
            }
            Entry::Ledger(snapshot) => {
                self.ledger(Head::info(now, LEDGER), LedgerBody::new(snapshot, place), lines);
            }
            Entry::Watchdog(watchdog) => {
                let level = if watchdog.seen { "INFO" } else { "ERROR" };
                let head = Head { time: now, level, kind: WATCHDOG };
                self.line(head, None, &WatchdogBody::from(watchdog), lines);
            }
            Entry::LabelsChanged(before) => {
                self.line(Head::info(now, LABELS_CHANGED), None, &LabelsChangedBody { before }, lines);
            }
            Entry::Dropped(dropped) => {
                self.line(Head::warn(now, DROPPED), None, &DroppedBody::from(dropped), lines);
            }
            Entry::Gone(gone) => self.line(Head::info(gone.time, SCOPE_GONE), None, &GoneBody::from(gone), lines),
            Entry::Reached(_) | Entry::Settle => {}
            Entry::Stop(stop) => self.line(Head::info(now, STOP), None, &StopBody::from(stop), lines),
        }
    }

    /// The line of a process, and those that follow if it has no room for all of it.
    fn process<F: FnMut(&mut Vec<u8>, usize)>(
        &self,
        process: &Process<'_>,
        place: Place<'_>,
        lines: &mut Lines<'_, F>,
    ) {
        let most = self.limits.bytes.saturating_sub(SEAL);
        let whole = First::whole(&process.argv, place.about);
        // In cmdline and in argv; what is longer need not be tried.
        let fits = 2 * process.argv.iter().map(|arg| arg.len()).sum::<usize>() <= most;
        if fits && process.argv.len() <= self.limits.args {
            let start = lines.out.len();
            self.write_first(process, whole, lines.out);
            if lines.out.len() - start <= most {
                return lines.end(start);
            }
            lines.out.truncate(start);
        }
        self.process_in_parts(process, place, most, lines);
    }

    fn process_in_parts<F: FnMut(&mut Vec<u8>, usize)>(
        &self,
        process: &Process<'_>,
        place: Place<'_>,
        most: usize,
        lines: &mut Lines<'_, F>,
    ) {
        let measure = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut line = Vec::new();
            write(&mut line);
            most.saturating_sub(line.len())
        };
        // Whatever their number is, it has no more digits.
        let mut first = First { argv: &[], parts: u32::MAX as usize, strings: usize::MAX, about: place.about };
        let mut room = measure(&|line| self.write_first(process, first, line));
        if room < most / 4 {
            first.strings = most / 32;
            room = measure(&|line| self.write_first(process, first, line));
        }
        let of = format!("{}-{}", place.run, place.line);
        let empty = parts::Part { joined: true, ..parts::Part::default() };
        let number = u32::MAX as usize;
        let room_of_next = measure(&|line| self.write_next(process, &of, (number, number), &empty, line));
        let rest = first.rest(process.strings.iter().copied());
        // The names of the two lists, which the empty ones lack.
        let parts = divide(&process.argv, rest, room, room_of_next.saturating_sub(24), self.limits.args);
        for (at, part) in parts.iter().enumerate() {
            let start = lines.out.len();
            match at {
                0 => {
                    let first = First { argv: &part.argv, parts: parts.len(), ..first };
                    self.write_first(process, first, lines.out);
                }
                at => self.write_next(process, &of, (at + 1, parts.len()), part, lines.out),
            }
            lines.end(start);
        }
    }

    fn write_first(&self, process: &Process<'_>, first: First<'_>, out: &mut Vec<u8>) {
        let Told { fields, scopes: scope } = self.told;
        let (head, cmdline) = (process.head, cmdline(first.argv));
        let cmdline = Some(&cmdline[..]);
        match process.of {
            Of::Exec(event) => self.write_line(head, cmdline, &EventFields { event, first, fields, scope }, out),
            Of::Failed(failed) => self.write_line(head, cmdline, &FailedFields { failed, first, fields, scope }, out),
            Of::Running(running) => self.write_line(head, cmdline, &RunningFields(running, first), out),
        }
    }

    /// One that follows; `number` is which of how many.
    fn write_next(
        &self,
        process: &Process<'_>,
        of: &str,
        number: (usize, usize),
        has: &parts::Part<'_>,
        out: &mut Vec<u8>,
    ) {
        let (part, parts) = number;
        let body = ContinuedFields { of, id: process.id, pid: process.pid, part, parts, has };
        let head = Head { kind: CONTINUED, ..process.head };
        self.write_line(head, Some(&cmdline(&has.argv)), &body, out);
    }

    /// The account, or several if all scopes and rules have no room in one.
    fn ledger<F: FnMut(&mut Vec<u8>, usize)>(&self, head: Head, body: LedgerBody<'_>, lines: &mut Lines<'_, F>) {
        let most = self.limits.bytes.saturating_sub(SEAL);
        let start = lines.out.len();
        self.write_line(head, None, &body, lines.out);
        if lines.out.len() - start <= most {
            return lines.end(start);
        }
        lines.out.truncate(start);
        // The names of the two lists, which the empty one lacks.
        let names = br#","scopes":[],"rules":[]"#.len();
        let room = |empty: &LedgerBody<'_>| {
            let mut line = Vec::new();
            self.write_line(head, None, empty, &mut line);
            most.saturating_sub(line.len() + names)
        };
        for body in body.divided(room) {
            self.line(head, None, &body, lines);
        }
    }

    fn line<B: Serialize, F: FnMut(&mut Vec<u8>, usize)>(
        &self,
        head: Head,
        cmdline: Option<&[u8]>,
        body: &B,
        lines: &mut Lines<'_, F>,
    ) {
        let start = lines.out.len();
        self.write_line(head, cmdline, body, lines.out);
        lines.end(start);
    }

    fn write_line<B: Serialize>(&self, head: Head, cmdline: Option<&[u8]>, body: &B, out: &mut Vec<u8>) {
        let Head { time, level, kind } = head;
        let fields = Body { labels: &self.labels, cmdline, name: kind.body, body };
        write(out, &Line { ts: timestamp(time), level, msg: kind.msg, caller: file!(), func: kind.func, fields });
    }
}

impl<F: FnMut(&mut Vec<u8>, usize)> Lines<'_, F> {
    fn end(&mut self, start: usize) {
        (self.end)(self.out, start);
    }

    /// A line that was encoded before.
    fn again(&mut self, line: &[u8]) {
        let start = self.out.len();
        self.out.extend_from_slice(line);
        self.end(start);
    }
}

/// What lines about one process have in common.
struct Process<'a> {
    head: Head,
    of: Of<'a>,
    id: Option<ExecId>,
    pid: u32,
    argv: Vec<&'a [u8]>,
    /// Those that may be long.
    strings: Vec<Named<'a>>,
}

/// What is told of it.
#[derive(Clone, Copy)]
enum Of<'a> {
    Exec(&'a Event),
    Failed(&'a FailedExec),
    Running(&'a Running),
}

impl<'a> Process<'a> {
    fn of_exec(event: &'a Event, fields: Fields) -> Process<'a> {
        Process {
            head: Head::info(event.time, EXEC),
            of: Of::Exec(event),
            id: Some(event.id).filter(|_| fields >= Fields::Standard),
            pid: event.pid,
            argv: event.argv.iter().collect(),
            strings: long_strings(event, fields),
        }
    }

    fn of_failed(failed: &'a FailedExec, fields: Fields) -> Process<'a> {
        let attempt = &failed.attempt;
        let cwd = (fields >= Fields::Standard).then_some(("cwd", attempt.cwd.as_slice()));
        Process {
            head: Head::info(attempt.time, EXEC_FAILED),
            of: Of::Failed(failed),
            id: None,
            pid: attempt.pid,
            argv: attempt.argv.iter().collect(),
            strings: std::iter::once(("filename", attempt.filename.as_slice())).chain(cwd).collect(),
        }
    }

    fn of_running(running: &'a Running, now: SystemTime) -> Process<'a> {
        Process {
            head: Head::info(now, RUNNING),
            of: Of::Running(running),
            id: None,
            pid: running.pid,
            argv: running.argv.iter().collect(),
            strings: vec![("exe", running.exe.as_slice()), ("cwd", &running.cwd)],
        }
    }
}

/// When, how grave and what.
#[derive(Clone, Copy)]
struct Head {
    time: SystemTime,
    level: &'static str,
    kind: Kind,
}

impl Head {
    fn info(time: SystemTime, kind: Kind) -> Head {
        Head { time, level: "INFO", kind }
    }

    fn warn(time: SystemTime, kind: Kind) -> Head {
        Head { time, level: "WARN", kind }
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

/// Bytes that labels take of every line.
pub(crate) fn bytes_of_labels(labels: &BTreeMap<String, String>) -> usize {
    raw(labels).get().len()
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
