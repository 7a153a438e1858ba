//! One line -> what it says, as far as its cost depends on that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::event::{EventLine, ExitLine, RunningLine};
use crate::seal::{Run, parse_seal};

/// What a line is.
#[derive(Debug)]
pub(super) enum Read<'a> {
    Line(Box<Line<'a>>),
    /// A message of exectrace's own.
    Diagnostic,
    /// Is of the log, and does not say what it should, or has no number.
    Unreadable,
    /// JSON of somebody else.
    Foreign,
    /// No JSON: cut, or never was.
    Torn,
}

/// A line of a log.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) run: Run,
    pub(super) is_chained: bool,
    pub(super) number: u64,
    pub(super) time: SystemTime,
    /// As JSON.
    pub(super) labels: &'a str,
    pub(super) what: What,
}

/// What it tells of.
#[derive(Debug)]
pub(super) enum What {
    Exec(Box<EventLine>),
    Failed(Box<EventLine>),
    Exit(ExitLine),
    /// What has no room in the line with this number.
    Continued(u64),
    Rollup(RollupLine),
    Running(Box<RunningLine>),
    Start {
        /// It says that it folds.
        rolls_up: bool,
    },
    /// So many execs are missing.
    Lost(u64),
    Stop,
    Other,
}

impl What {
    /// Its name in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            What::Exec(_) => "exec",
            What::Failed(_) => "exec-failed",
            What::Exit(_) => "exit",
            What::Continued(_) => "continued",
            What::Rollup(_) => "rollup",
            What::Running(_) => "running",
            What::Start { .. } => "start",
            What::Lost(_) => "lost",
            What::Stop => "stop",
            What::Other => "other",
        }
    }
}

/// A line that stands for many.
#[derive(Debug, Deserialize)]
pub(super) struct RollupLine {
    /// Absent of attempts that failed.
    pub(super) exe: Option<String>,
    pub(super) count: u64,
    pub(super) uid: u32,
    pub(super) parent_exe: String,
    #[serde(default)]
    pub(super) exits: u64,
    pub(super) bytes: u64,
}

/// The outer keys; all of them, so that other programs' JSON is not taken for ours.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(rename = "level")]
    _level: IgnoredAny,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(rename = "caller")]
    _caller: IgnoredAny,
    #[serde(rename = "func")]
    _func: IgnoredAny,
    #[serde(borrow)]
    fields: &'a RawValue,
}

#[derive(Deserialize)]
struct OfEvent<T> {
    event: T,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContinuedLine<'a> {
    #[serde(borrow)]
    of: Cow<'a, str>,
}

#[derive(Deserialize)]
struct StartLine {
    rollup: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct LostLine {
    what: Option<IgnoredAny>,
    count: u64,
}

const NO_LABELS: &str = "{}";

/// What a line is. Never fails: one that cannot be read is counted.
pub(super) fn read(line: &[u8]) -> Read<'_> {
    let outer = match serde_json::from_slice::<Outer<'_>>(line) {
        Ok(outer) => outer,
        Err(_) if serde_json::from_slice::<IgnoredAny>(line).is_ok() => return Read::Foreign,
        Err(_) => return Read::Torn,
    };
    let Some(seal) = parse_seal(line) else {
        let is_of_the_log = NAMES.contains(&&*outer.msg);
        return if is_of_the_log { Read::Unreadable } else { Read::Diagnostic };
    };
    let time = humantime::parse_rfc3339(&outer.ts).ok();
    let (Some(time), Some(what)) = (time, what(&outer)) else { return Read::Unreadable };
    let labels = serde_json::from_str::<Labels<'_>>(outer.fields.get()).ok().and_then(|fields| fields.labels);
    let labels = labels.map_or(NO_LABELS, RawValue::get);
    Read::Line(Box::new(Line { run: seal.run, is_chained: seal.tag.is_some(), number: seal.line, time, labels, what }))
}

/// Where a line begins that stands behind a piece of another one, as a program leaves it that is killed.
pub(super) fn glued(line: &[u8]) -> Option<usize> {
    const BEGIN: &[u8] = b"{\"ts\":\"";
    line.windows(BEGIN.len()).rposition(|window| window == BEGIN).filter(|at| *at > 0)
}

const NAMES: [&str; 14] = [
    "start",
    "running",
    "exec",
    "exec-failed",
    "exit",
    "continued",
    "rollup",
    "dropped",
    "lost",
    "ledger",
    "watchdog",
    "labels-changed",
    "scope-gone",
    "stop",
];

fn what(outer: &Outer<'_>) -> Option<What> {
    let fields = outer.fields.get();
    Some(match &*outer.msg {
        "exec" => What::Exec(Box::new(event(fields)?)),
        "exec-failed" => What::Failed(Box::new(event(fields)?)),
        "exit" => What::Exit(event(fields)?),
        "running" => What::Running(Box::new(event(fields)?)),
        "continued" => What::Continued(of(&event::<ContinuedLine<'_>>(fields)?.of)?),
        "rollup" => What::Rollup(body(fields, "rollup")?),
        "start" => What::Start { rolls_up: body::<StartLine>(fields, "start")?.rollup.is_some() },
        "lost" => {
            let LostLine { what, count } = body(fields, "lost")?;
            What::Lost(if what.is_none() { count } else { 0 })
        }
        "stop" => What::Stop,
        _ => What::Other,
    })
}

fn event<'a, T: Deserialize<'a>>(fields: &'a str) -> Option<T> {
    serde_json::from_str::<OfEvent<T>>(fields).ok().map(|fields| fields.event)
}

/// The member of `fields` that has this name.
fn body<T: for<'a> Deserialize<'a>>(fields: &str, name: &str) -> Option<T> {
    let mut members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(fields).ok()?;
    serde_json::from_str(members.remove(name)?.get()).ok()
}

/// The number of `RUN-N`.
fn of(number: &str) -> Option<u64> {
    number.split_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::golden::{self, ALL};
    use super::*;

    #[test]
    fn every_golden_line_of_a_log_is_read() {
        for (name, line) in ALL.iter() {
            match read(line.as_bytes()) {
                Read::Line(line) => assert!(
                    name.starts_with(line.what.name()) || line.what.name() == "other" || name.contains("long"),
                    "{name}"
                ),
                Read::Diagnostic => assert_eq!(name, "diagnostic"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_line_is_named() {
        let line = golden::line("exec-standard-uname");
        assert!(matches!(read(&line.as_bytes()[..80]), Read::Torn));
        assert!(matches!(read(b"\xff\x00"), Read::Torn));
        assert!(matches!(read(br#"{"level":"info","msg":"listening"}"#), Read::Foreign));
        assert!(matches!(read(line.replace(r#""pid":"#, r#""dip":"#).as_bytes()), Read::Unreadable));
        assert!(matches!(read(line.replace(r#","line":""#, r#","enil":""#).as_bytes()), Read::Unreadable));
        assert_eq!(glued(format!("{}{line}", &line[..30]).as_bytes()), Some(30));
        assert_eq!(glued(line.as_bytes()), None);
    }
}
