//! One line -> what it says, as far as the account needs it. Borrows, and skips the rest without storing it: this runs
//! once for every exec.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::UNIX_EPOCH;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::dropped::{self, Dropped};
use super::parts::{Continued, First};
use super::rollup;
use super::sums::Counted;
use crate::seal::{Sealed, parse_seal};

/// Nanoseconds since 1970.
pub(super) type Time = i64;
/// Counts by their reason.
pub(super) type Reasons = BTreeMap<String, u64>;

/// What a line is.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// Has a seal, so it belongs to a run.
    Sealed(Sealed<'a>, Content<'a>),
    /// A message of exectrace's own: its outer keys, and no name of a line of the log.
    Diagnostic,
    /// Named as a line of the log, and has no seal.
    Unsealed,
    /// JSON of somebody else.
    Foreign,
    /// No JSON: cut, or never was.
    Torn,
}

#[derive(Debug)]
pub(super) struct Content<'a> {
    /// `None` only where nothing could be read.
    pub(super) time: Option<Time>,
    pub(super) labels: Option<&'a RawValue>,
    pub(super) message: Message<'a>,
}

#[derive(Debug)]
pub(super) enum Message<'a> {
    Exec {
        id: Option<Cow<'a, str>>,
        /// 0: not told.
        scope: u32,
        truncated: bool,
        /// Others follow it.
        first: Option<First>,
        folded: Option<Box<Folded<'a>>>,
    },
    Running(Option<First>),
    LabelsChanged,
    ExecFailed {
        first: Option<First>,
        folded: Option<Box<Folded<'static>>>,
    },
    Continued(Continued),
    Dropped(Dropped),
    /// The roll-up that it is part of, and whether it was a failure.
    Exit(Option<(u64, bool)>),
    ScopeGone,
    Lost(Lost),
    Rollup(Box<Rollup>),
    Ledger(Box<Ledger>),
    Watchdog(Watchdog),
    Start(Box<Start>),
    Stop(Stop),
    /// Of a later version.
    Unknown,
    /// Has a seal, and is not what its name says, or no JSON.
    Broken,
}

#[derive(Debug, Deserialize)]
pub(super) struct Lost {
    pub(super) reason: String,
    pub(super) count: u64,
    pub(super) what: Option<String>,
    pub(super) scope: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sums {
    pub(super) seen: u64,
    pub(super) written: u64,
    #[serde(default)]
    pub(super) rolled_up: u64,
    #[serde(default)]
    pub(super) excluded: Reasons,
    #[serde(default)]
    pub(super) lost: Reasons,
    #[serde(default)]
    pub(super) waiting: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ledger {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Which of several that stand one after the other, each with the accounts of some scopes.
    #[serde(default = "one")]
    pub(super) part: u64,
    #[serde(default = "one")]
    pub(super) parts: u64,
    #[serde(flatten)]
    pub(super) execs: Sums,
    pub(super) failed: Option<Sums>,
    pub(super) exits: Option<Sums>,
    #[serde(default)]
    pub(super) scopes: Vec<ScopeSums>,
}

fn one() -> u64 {
    1
}

impl Ledger {
    /// Its numbers, with what they count.
    pub(super) fn sums(&self) -> impl Iterator<Item = (Counted, &Sums)> {
        sums(&self.execs, self.failed.as_ref(), self.exits.as_ref(), &self.scopes)
    }
}

/// The execs of one scope.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ScopeSums {
    pub(super) scope: u32,
    #[serde(flatten)]
    pub(super) execs: Sums,
}

fn sums<'a>(
    execs: &'a Sums,
    failed: Option<&'a Sums>,
    exits: Option<&'a Sums>,
    scopes: &'a [ScopeSums],
) -> impl Iterator<Item = (Counted, &'a Sums)> {
    let all = [(Counted::Execs, Some(execs)), (Counted::Failed, failed), (Counted::Exits, exits)];
    let all = all.into_iter().filter_map(|(counted, sums)| Some((counted, sums?)));
    all.chain(scopes.iter().map(|scope| (Counted::ExecsOf(scope.scope), &scope.execs)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) boot_id: String,
    #[serde(default)]
    pub(super) scopes: Vec<Scope>,
    pub(super) running: Option<u64>,
    pub(super) chained: Option<String>,
    pub(super) unwatched: Option<Unwatched>,
    pub(super) resumed: Option<Resumed>,
    pub(super) rollup: Option<Folds>,
}

/// What is folded.
#[derive(Debug, Deserialize)]
pub(super) struct Folds {
    /// The run that has all lines.
    pub(super) complete: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub(super) struct Scope {
    #[serde(default)]
    pub(super) scope: u32,
    pub(super) kind: String,
    pub(super) of: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Unwatched {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Resumed {
    pub(super) run: String,
    pub(super) line: u64,
    #[serde(flatten)]
    pub(super) execs: Sums,
    pub(super) failed: Option<Sums>,
    pub(super) exits: Option<Sums>,
    #[serde(default)]
    pub(super) scopes: Vec<ScopeSums>,
}

impl Resumed {
    /// Its numbers, with what they count.
    pub(super) fn sums(&self) -> impl Iterator<Item = (Counted, &Sums)> {
        sums(&self.execs, self.failed.as_ref(), self.exits.as_ref(), &self.scopes)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Stop {
    pub(super) why: String,
    #[serde(default)]
    pub(super) pinned: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Watchdog {
    pub(super) seen: bool,
    /// Up to when it is certain that the program saw.
    pub(super) last_seen: Option<String>,
}

/// The outer keys; all of them, so that other programs' JSON is not taken for ours.
#[derive(Deserialize)]
struct Outer<'a, F> {
    ts: &'a str,
    #[serde(rename = "level")]
    _level: IgnoredAny,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(rename = "caller")]
    _caller: IgnoredAny,
    #[serde(rename = "func")]
    _func: IgnoredAny,
    fields: F,
}

#[derive(Deserialize)]
struct ExecFields<'a> {
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Event<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    scope: u32,
    #[serde(default)]
    truncated: bool,
    parts: Option<u64>,
    argc: Option<u64>,
    #[serde(borrow)]
    argv: Option<&'a RawValue>,
    rollup: Option<u64>,
    // These are read of what is part of a roll-up.
    #[serde(borrow)]
    filename: Option<&'a RawValue>,
    #[serde(borrow)]
    exe: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
}

/// Something that is part of a roll-up of the log beside this one.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    pub(super) rollup: u64,
    /// Its file, or why it failed; `None` if that is not told.
    pub(super) of: Option<Cow<'a, str>>,
    pub(super) uid: u32,
    /// SHA-256 of its arguments.
    pub(super) args: [u8; 32],
}

/// What many have in common.
#[derive(Debug)]
pub(super) struct Rollup {
    pub(super) number: u64,
    /// Their file, or why they failed.
    pub(super) of: Box<str>,
    /// They are attempts that failed.
    pub(super) failed: bool,
    pub(super) count: u64,
    pub(super) exits: u64,
    /// Of these.
    pub(super) failures: u64,
    pub(super) distinct: u64,
    pub(super) distinct_at_least: bool,
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) uid: u32,
    pub(super) scope: Option<u32>,
    pub(super) sha256: [u8; 32],
}

/// Elements of an array that nobody stores.
#[derive(Default)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counter)
    }
}

impl Event<'_> {
    fn first(&self) -> Option<First> {
        let Event { parts, argc, argv, truncated, .. } = self;
        let parts = parts.filter(|parts| *parts > 1)?;
        let Count(args) = argv.and_then(|argv| serde_json::from_str(argv.get()).ok()).unwrap_or_default();
        Some(First { parts, args, of_args: argc.filter(|_| !truncated) })
    }

    fn is_readable(&self) -> bool {
        self.argv.is_none_or(|argv| argv.get().starts_with('['))
    }
}

impl<'a> Event<'a> {
    /// What it is of its roll-up; `None` if it is part of one and lacks something, or has it in a form that is not ours.
    fn folded(&self) -> Option<Option<Box<Folded<'a>>>> {
        let Some(rollup) = self.rollup else { return Some(None) };
        let text = |raw: &'a RawValue| serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0);
        let of = match (self.error, self.exe, self.filename) {
            (Some(error), ..) => Some(text(error)?),
            (None, Some(exe), _) => Some(text(exe)?),
            // What has no id does not tell its file either, which need not have the name that was asked for.
            (None, None, Some(filename)) => Some(text(filename)?).filter(|_| self.id.is_some()),
            (None, None, None) => return None,
        };
        let uid = serde_json::from_str(self.uid?.get()).ok()?;
        let args = rollup::digest_of_args(self.argv?.get())?;
        Some(Some(Box::new(Folded { rollup, of, uid, args })))
    }
}

/// A string that is borrowed if it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
struct ContinuedBody<'a> {
    #[serde(borrow)]
    of: Cow<'a, str>,
    part: u64,
    parts: u64,
    #[serde(default)]
    argv: Count,
    #[serde(default)]
    joined: bool,
}

/// `None` if it is none: the first of several lines is no part of them.
fn continued(fields: &str) -> Option<Continued> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(fields).ok()?;
    let ContinuedBody { of, part, parts, argv: Count(args), joined } =
        serde_json::from_str(members.get("event")?.get()).ok()?;
    (part > 1).then(|| Continued { of: dropped::number(&of), part, parts, args, joined })
}

fn exec_failed(fields: &str) -> Message<'static> {
    let Ok(fields) = serde_json::from_str::<ExecFields<'_>>(fields) else {
        return Message::ExecFailed { first: None, folded: None };
    };
    let Some(folded) = fields.event.folded() else { return Message::Broken };
    let folded = folded.map(|folded| {
        let Folded { rollup, of, uid, args } = *folded;
        let of = of.map(|of| Cow::Owned(of.into_owned()));
        Box::new(Folded { rollup, of, uid, args })
    });
    Message::ExecFailed { first: fields.event.first(), folded }
}

fn exit(fields: &str) -> Message<'static> {
    #[derive(Deserialize)]
    struct Exit {
        rollup: Option<u64>,
        code: Option<i64>,
    }
    // Quotes in strings are escaped.
    if !fields.contains("\"rollup\":") {
        return Message::Exit(None);
    }
    match body(fields, "event") {
        // Its number has a bit less than others, for the failure.
        Some(Exit { rollup: Some(number), code }) if number < 1 << 63 => Message::Exit(Some((number, code != Some(0)))),
        Some(Exit { rollup: None, .. }) => Message::Exit(None),
        _ => Message::Broken,
    }
}

fn rolled_up(fields: &str) -> Option<Rollup> {
    #[derive(Deserialize)]
    struct Body {
        number: u64,
        exe: Option<Box<str>>,
        error: Option<Box<str>>,
        count: u64,
        distinct: u64,
        #[serde(default)]
        distinct_at_least: bool,
        first: String,
        last: String,
        uid: u32,
        #[serde(default)]
        exits: u64,
        #[serde(default)]
        failures: u64,
        sha256: String,
        scope: Option<u32>,
    }
    let body: Body = body(fields, "rollup")?;
    let (of, failed) = match (body.exe, body.error) {
        (Some(exe), None) => (exe, false),
        (None, Some(error)) => (error, true),
        _ => return None,
    };
    let Body { number, count, exits, failures, distinct, distinct_at_least, uid, scope, .. } = body;
    let (first, last) = (parse_time(&body.first)?, parse_time(&body.last)?);
    let sha256 = rollup::parse_digest(&body.sha256)?;
    Some(Rollup {
        number,
        of,
        failed,
        count,
        exits,
        failures,
        distinct,
        distinct_at_least,
        first,
        last,
        uid,
        scope,
        sha256,
    })
}

/// Of a line whose event can have others that follow; one that cannot be read has none.
fn first(fields: &str) -> Option<First> {
    let fields: ExecFields<'_> = serde_json::from_str(fields).ok()?;
    fields.event.first()
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
}

/// What a line is. Never fails: a line that cannot be read is one of the findings.
pub(super) fn parse(line: &[u8]) -> Parsed<'_> {
    let Some(seal) = parse_seal(line) else { return parse_unsealed(line) };
    let content = if is_named_exec(line) { parse_exec(line) } else { None };
    let content = content.or_else(|| parse_other(line));
    Parsed::Sealed(seal, content.unwrap_or(Content { time: None, labels: None, message: Message::Broken }))
}

/// Where a line begins that stands behind a piece of another one: a program that is killed leaves a line without its
/// end, and the next run writes on there. No string can hold these bytes, as its quotes are escaped.
pub(super) fn glued(line: &[u8]) -> Option<usize> {
    const BEGIN: &[u8] = b"{\"ts\":\"";
    line.windows(BEGIN.len()).rposition(|window| window == BEGIN).filter(|at| *at > 0)
}

pub(super) fn parse_time(text: &str) -> Option<Time> {
    let time = humantime::parse_rfc3339(text).ok()?;
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time::try_from(after.as_nanos()).ok(),
        Err(before) => Time::try_from(before.duration().as_nanos()).ok().map(|nanos| -nanos),
    }
}

/// A guess that saves reading most lines twice; what is read must say the same.
fn is_named_exec(line: &[u8]) -> bool {
    const NAME: &[u8] = b",\"msg\":\"exec\",";
    line[..line.len().min(90)].windows(NAME.len()).any(|window| window == NAME)
}

fn parse_exec(line: &[u8]) -> Option<Content<'_>> {
    let outer: Outer<ExecFields> = serde_json::from_slice(line).ok()?;
    if outer.msg != "exec" {
        return None;
    }
    let event = outer.fields.event;
    let (first, folded) = (event.first(), event.folded().filter(|_| event.is_readable())?);
    let Event { id, scope, truncated, .. } = event;
    let message = Message::Exec { id, scope, truncated, first, folded };
    Some(Content { time: Some(parse_time(outer.ts)?), labels: outer.fields.labels, message })
}

fn parse_other(line: &[u8]) -> Option<Content<'_>> {
    let outer: Outer<&RawValue> = serde_json::from_slice(line).ok()?;
    let fields = outer.fields.get();
    let message = match outer.msg.as_ref() {
        "running" => Message::Running(first(fields)),
        "labels-changed" => Message::LabelsChanged,
        "exec-failed" => exec_failed(fields),
        "continued" => continued(fields).map_or(Message::Broken, Message::Continued),
        "dropped" => body(fields, "dropped").map_or(Message::Broken, Message::Dropped),
        "exit" => exit(fields),
        "scope-gone" => Message::ScopeGone,
        "exec" => return None,
        "lost" => body(fields, "lost").map_or(Message::Broken, Message::Lost),
        "rollup" => rolled_up(fields).map_or(Message::Broken, |rollup| Message::Rollup(Box::new(rollup))),
        "ledger" => body(fields, "ledger").map_or(Message::Broken, |ledger| Message::Ledger(Box::new(ledger))),
        "watchdog" => body(fields, "watchdog").map_or(Message::Broken, Message::Watchdog),
        "start" => body(fields, "start").map_or(Message::Broken, |start| Message::Start(Box::new(start))),
        "stop" => body(fields, "stop").map_or(Message::Broken, Message::Stop),
        _ => Message::Unknown,
    };
    let labels = serde_json::from_str::<Labels>(fields).ok().and_then(|fields| fields.labels);
    Some(Content { time: Some(parse_time(outer.ts)?), labels, message })
}

/// The member of `fields` that has this name.
fn body<T: for<'a> Deserialize<'a>>(fields: &str, name: &str) -> Option<T> {
    let mut members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(fields).ok()?;
    serde_json::from_str(members.remove(name)?.get()).ok()
}

fn parse_unsealed(line: &[u8]) -> Parsed<'_> {
    const LOG: [&str; 14] = [
        "start",
        "running",
        "exec",
        "exec-failed",
        "exit",
        "continued",
        "dropped",
        "lost",
        "rollup",
        "ledger",
        "watchdog",
        "labels-changed",
        "scope-gone",
        "stop",
    ];
    match serde_json::from_slice::<Outer<IgnoredAny>>(line) {
        Ok(outer) if LOG.contains(&outer.msg.as_ref()) => Parsed::Unsealed,
        Ok(_) => Parsed::Diagnostic,
        Err(_) if serde_json::from_slice::<IgnoredAny>(line).is_ok() => Parsed::Foreign,
        Err(_) => Parsed::Torn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(msg: &str, fields: &str) -> String {
        format!(
            r#"{{"ts":"2026-11-23T16:04:43.548644144Z","level":"INFO","msg":"{msg}","caller":"a","func":"b","fields":{fields}}}"#
        )
    }

    #[track_caller]
    fn sealed(line: &str) -> Message<'_> {
        match parse(line.as_bytes()) {
            Parsed::Sealed(_, content) => content.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exec_has_its_id_and_whether_it_is_whole() {
        let exec = line(
            "exec",
            r#"{"labels":{"a":"b"},"cmdline":"x","event":{"truncated":true,"id":"7-1","line":"0000002a-1"}}"#,
        );
        let Parsed::Sealed(seal, content) = parse(exec.as_bytes()) else { panic!("{exec}") };
        assert_eq!((seal.line, content.labels.map(RawValue::get)), (1, Some(r#"{"a":"b"}"#)));
        assert_eq!(content.time, parse_time("2026-11-23T16:04:43.548644144Z"));
        let Message::Exec { id, truncated, .. } = content.message else { panic!("{exec}") };
        assert_eq!((id.as_deref(), truncated), (Some("7-1"), true));
    }

    #[test]
    fn other_lines_are_read_by_their_names() {
        let lost =
            line("lost", r#"{"labels":{},"lost":{"reason":"ring_full","count":3,"scope":1,"line":"0000002a-1"}}"#);
        assert!(matches!(sealed(&lost), Message::Lost(Lost { count: 3, what: None, .. })));
        let ledger = line(
            "ledger",
            r#"{"labels":{},"ledger":{"first":1,"last":2,"seen":5,"written":1,"excluded":{"uid":1},"lost":{"ring_full":3},"waiting":0,"recursion_misses":0,"exits":{"seen":1,"written":1,"lost":{},"waiting":0},"line":"0000002a-3"}}"#,
        );
        let Message::Ledger(ledger) = sealed(&ledger) else { panic!("no ledger") };
        assert_eq!((ledger.last, ledger.execs.seen, ledger.execs.lost["ring_full"]), (2, 5, 3));
        assert!(ledger.failed.is_none() && ledger.exits.is_some());
        let start = line(
            "start",
            r#"{"labels":{},"start":{"version":"1","kernel":"6","boot_id":"b","settings":"0","scopes":[{"scope":1,"kind":"pid_ns","of":"4"}],"running":2,"resumed":{"run":"0000002b","line":7,"seen":1,"written":1,"excluded":{},"lost":{}},"line":"0000002a-1"}}"#,
        );
        let Message::Start(start) = sealed(&start) else { panic!("no start") };
        assert_eq!((start.running, start.resumed.map(|resumed| resumed.line)), (Some(2), Some(7)));
        let later = line("novelty", r#"{"labels":{},"novelty":{"line":"0000002a-1"}}"#);
        assert!(matches!(sealed(&later.replace("{\"line", "{\"a\":1,\"line")), Message::Unknown));
    }

    #[test]
    fn a_sealed_line_that_is_not_what_it_says_is_broken() {
        let lost = line("lost", r#"{"labels":{},"lost":{"reason":"ring_full","line":"0000002a-1"}}"#);
        assert!(matches!(sealed(&lost), Message::Broken));
        assert!(matches!(sealed(&lost[1..]), Message::Broken));
    }

    #[test]
    fn a_line_without_a_seal_is_a_message_or_a_finding() {
        let message = line("the log could not be written", r#"{"lost":17}"#);
        assert!(matches!(parse(message.as_bytes()), Parsed::Diagnostic));
        assert!(matches!(parse(line("lost", r#"{"labels":{},"lost":{}}"#).as_bytes()), Parsed::Unsealed));
        assert!(matches!(parse(br#"{"level":"info","msg":"listening"}"#), Parsed::Foreign));
        assert!(matches!(parse(&message.as_bytes()[..40]), Parsed::Torn));
        assert!(matches!(parse(b"exectrace: tracing"), Parsed::Torn));
        assert!(matches!(parse(b"\xff"), Parsed::Torn));
    }

    #[test]
    fn a_line_behind_a_piece_is_found() {
        let whole = line("x", "{}");
        assert_eq!(glued(whole.as_bytes()), None);
        assert_eq!(glued(format!("{}{whole}", &whole[..30]).as_bytes()), Some(30));
    }
}
