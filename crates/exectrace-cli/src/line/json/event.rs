//! Bodies of the lines that tell of processes: what was executed, what failed to be, what ended, what ran already.

use std::time::Duration;

use exectrace::{Ended, Event, ExecId, FailedExec, Origin, Partial, Running, ScopeId, Traits};
use exectrace_sift::Session;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::super::escape::{Text, json_len};
use super::super::{About, errno_name, signal_name};
use super::parts::{Named, Part, fitting};
use super::timestamp;
use crate::cli::Fields;

/// What of a process's arguments and strings its first line has, and what is told of the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct First<'a> {
    pub(super) argv: &'a [&'a [u8]],
    /// Lines in all.
    pub(super) parts: usize,
    /// Bytes of JSON that each string may take up.
    pub(super) strings: usize,
    pub(super) about: &'a About,
}

impl<'a> First<'a> {
    /// Everything in one line.
    pub(super) fn whole(argv: &'a [&'a [u8]], about: &'a About) -> First<'a> {
        First { argv, parts: 1, strings: usize::MAX, about }
    }

    fn text<'s>(&self, string: &'s [u8]) -> Text<'s> {
        Text(if self.strings == usize::MAX { string } else { &string[..fitting(string, self.strings, json_len)] })
    }

    /// What of these strings it does not have.
    pub(super) fn rest<'s>(&self, strings: impl IntoIterator<Item = Named<'s>>) -> Vec<Named<'s>> {
        let strings = strings.into_iter().map(|(name, string)| (name, &string[self.text(string).0.len()..]));
        strings.filter(|(_, rest)| !rest.is_empty()).collect()
    }

    fn told<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if self.parts > 1 {
            map.serialize_entry("parts", &self.parts)?;
        }
        let About { redacted, rare, rollup, .. } = self.about;
        if *redacted > 0 {
            map.serialize_entry("redacted", redacted)?;
        }
        if let Some(rare) = rare {
            map.serialize_entry("rare", rare.name())?;
        }
        if let Some(number) = rollup {
            map.serialize_entry("rollup", number)?;
        }
        Ok(())
    }

    /// Who began it.
    fn origin<M: SerializeMap>(&self, has_tty: bool, map: &mut M) -> Result<(), M::Error> {
        match &self.about.session {
            Some(session) => map.serialize_entry("origin", &OriginBody::of(session, has_tty)),
            None => Ok(()),
        }
    }
}

/// A session.
#[derive(Serialize)]
pub(super) struct OriginBody<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Shown<ExecId>>,
    interactive: bool,
}

impl<'a> OriginBody<'a> {
    pub(super) fn of(session: &'a Session, has_tty: bool) -> OriginBody<'a> {
        OriginBody {
            kind: session.kind.name(),
            by: session.by.as_deref(),
            root: session.root.map(Shown),
            interactive: session.is_interactive(has_tty),
        }
    }
}

/// The strings of an event that may be long.
pub(super) fn long_strings(event: &Event, fields: Fields) -> Vec<Named<'_>> {
    let mut strings = vec![("filename", event.filename.as_slice())];
    if fields >= Fields::Standard {
        if event.exe != event.filename {
            strings.push(("exe", &event.exe));
        }
        strings.extend(event.interpreter.iter().map(|interpreter| ("interpreter", interpreter.path.as_slice())));
        strings.push(("cwd", &event.cwd));
    }
    strings
}

/// What follows a first line.
pub(super) struct ContinuedFields<'a> {
    /// The number of the first line.
    pub(super) of: &'a str,
    pub(super) id: Option<ExecId>,
    pub(super) pid: u32,
    /// Which line of how many.
    pub(super) part: usize,
    pub(super) parts: usize,
    pub(super) has: &'a Part<'a>,
}

impl Serialize for ContinuedFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Part { argv, joined, rest } = self.has;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("of", self.of)?;
        map.serialize_entry("part", &self.part)?;
        map.serialize_entry("parts", &self.parts)?;
        if let Some(id) = self.id {
            map.serialize_entry("id", &Shown(id))?;
        }
        map.serialize_entry("pid", &self.pid)?;
        if *joined {
            map.serialize_entry("joined", &true)?;
        }
        if !argv.is_empty() {
            map.serialize_entry("argv", &Sequence(|| argv.iter().copied()))?;
        }
        if !rest.is_empty() {
            map.serialize_entry("rest", &Rest(rest))?;
        }
        map.end()
    }
}

struct Rest<'a>(&'a [Named<'a>]);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, Text(text))))
    }
}

/// An exec.
pub(super) struct EventFields<'a> {
    pub(super) event: &'a Event,
    pub(super) first: First<'a>,
    pub(super) fields: Fields,
    /// Tell the scope's number.
    pub(super) scope: bool,
}

impl Serialize for EventFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.seed(&mut map)?;
        if self.fields >= Fields::Standard {
            self.standard(&mut map)?;
        }
        scope(self.scope, self.fields, self.event.scope, &mut map)?;
        if self.fields >= Fields::Full {
            self.full(&mut map)?;
        }
        map.end()
    }
}

impl EventFields<'_> {
    fn seed<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let event = self.event;
        map.serialize_entry("filename", &self.first.text(&event.filename))?;
        map.serialize_entry("argv", &Sequence(|| self.first.argv.iter().copied()))?;
        map.serialize_entry("truncated", &event.truncated())?;
        map.serialize_entry("pid", &event.pid)?;
        map.serialize_entry("uid", &event.uid)?;
        map.serialize_entry("gid", &event.gid)?;
        map.serialize_entry("comm", &Text(&event.comm))?;
        self.first.told(map)
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
            map.serialize_entry("exe", &self.first.text(&event.exe))?;
        }
        if let Some(interpreter) = &event.interpreter {
            map.serialize_entry("interpreter", &self.first.text(&interpreter.path))?;
            if !interpreter.args.is_empty() {
                map.serialize_entry("interpreter_args", &Sequence(|| interpreter.args.iter().map(Vec::as_slice)))?;
            }
        }
        who(event, &self.first, map)?;
        self.first.origin(event.tty.is_some(), map)?;
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
            // Who knows the hash of a short secret knows the secret.
            if let Some(hash) = event.argv.sha256.as_ref().filter(|_| self.first.about.redacted == 0) {
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
        place(&event.origin, map)?;
        caller(event, map)?;
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

/// What was tried and failed; who tried is told as for an exec.
pub(super) struct FailedFields<'a> {
    pub(super) failed: &'a FailedExec,
    pub(super) first: First<'a>,
    pub(super) fields: Fields,
    /// Tell the scope's number.
    pub(super) scope: bool,
}

impl Serialize for FailedFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attempt = &self.failed.attempt;
        let cut = attempt.partial.intersects(Partial::ARGS_FAULT | Partial::ARGS_READ_LIMIT | Partial::ARGS_KEEP_LIMIT);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("filename", &self.first.text(&attempt.filename))?;
        map.serialize_entry("argv", &Sequence(|| self.first.argv.iter().copied()))?;
        map.serialize_entry("truncated", &cut)?;
        map.serialize_entry("pid", &attempt.pid)?;
        map.serialize_entry("uid", &attempt.uid)?;
        map.serialize_entry("gid", &attempt.gid)?;
        map.serialize_entry("comm", &Text(&attempt.comm))?;
        map.serialize_entry("error", &errno_name(self.failed.errno))?;
        map.serialize_entry("claim", &true)?;
        self.first.told(&mut map)?;
        if self.fields >= Fields::Standard {
            if let Some(parent) = attempt.parent_id {
                map.serialize_entry("parent_id", &Shown(parent))?;
            }
            map.serialize_entry("ppid", &attempt.ppid)?;
            map.serialize_entry("vpid", &attempt.vpid)?;
            who(attempt, &self.first, &mut map)?;
            self.first.origin(attempt.tty.is_some(), &mut map)?;
            if !attempt.partial.is_empty() {
                map.serialize_entry("partial", &attempt.partial.names().collect::<Vec<_>>())?;
            }
        }
        scope(self.scope, self.fields, attempt.scope, &mut map)?;
        if self.fields >= Fields::Full {
            place(&attempt.origin, &mut map)?;
            caller(attempt, &mut map)?;
            map.serialize_entry("pid_ns", &attempt.pid_ns)?;
            map.serialize_entry("mnt_ns", &attempt.mnt_ns)?;
        }
        map.end()
    }
}

/// Where and as whom a process runs.
fn who<M: SerializeMap>(event: &Event, first: &First<'_>, map: &mut M) -> Result<(), M::Error> {
    if !event.cwd.is_empty() {
        map.serialize_entry("cwd", &first.text(&event.cwd))?;
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
    if let Some(container) = &event.container {
        map.serialize_entry("container", &Text(container))?;
    }
    if event.traits.contains(Traits::NESTED) {
        map.serialize_entry("nested", &true)?;
    }
    Ok(())
}

/// Whose it is, where that is asked for or not to be known otherwise.
fn scope<M: SerializeMap>(wanted: bool, fields: Fields, scope: ScopeId, map: &mut M) -> Result<(), M::Error> {
    if wanted || fields >= Fields::Full {
        map.serialize_entry("scope", &scope.get())?;
    }
    Ok(())
}

/// Where in the kernel's stream of records it came.
fn place<M: SerializeMap>(origin: &Origin, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("cpu", &origin.cpu)?;
    map.serialize_entry("hook", origin.hook.name())?;
    map.serialize_entry("seq", &origin.seq)
}

/// The thread that called, if it was not the leader.
fn caller<M: SerializeMap>(event: &Event, map: &mut M) -> Result<(), M::Error> {
    if event.traits.contains(Traits::THREAD) {
        map.serialize_entry("caller_tid", &event.caller_tid)?;
    }
    Ok(())
}

/// How a process ended.
pub(super) struct EndedFields<'a> {
    pub(super) ended: &'a Ended,
    /// The roll-up that it is part of, in the log beside this one.
    pub(super) rollup: Option<u64>,
    pub(super) fields: Fields,
    /// Tell the scope's number.
    pub(super) scope: bool,
}

impl Serialize for EndedFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ended = self.ended;
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &Shown(ended.id))?;
        map.serialize_entry("pid", &ended.pid)?;
        map.serialize_entry("uid", &ended.uid)?;
        map.serialize_entry("comm", &Text(&ended.comm))?;
        if let Some(code) = ended.status.code() {
            map.serialize_entry("code", &code)?;
        }
        if let Some(signal) = ended.status.signal() {
            map.serialize_entry("signal", &signal_name(signal))?;
        }
        if ended.status.dumped_core() {
            map.serialize_entry("core", &true)?;
        }
        map.serialize_entry("duration_ns", &nanoseconds(ended.lived))?;
        map.serialize_entry("cpu_ns", &nanoseconds(ended.cpu_time))?;
        map.serialize_entry("max_rss_bytes", &ended.max_rss_bytes)?;
        if let Some(number) = self.rollup {
            map.serialize_entry("rollup", &number)?;
        }
        scope(self.scope, self.fields, ended.scope, &mut map)?;
        if self.fields >= Fields::Full {
            place(&ended.origin, &mut map)?;
        }
        map.end()
    }
}

/// A process that was there before the log began.
pub(super) struct RunningFields<'a>(pub(super) &'a Running, pub(super) First<'a>);

impl Serialize for RunningFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RunningFields(running, first) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("snapshot", &true)?;
        map.serialize_entry("argv", &Sequence(|| first.argv.iter().copied()))?;
        map.serialize_entry("truncated", &(running.argv.kept_bytes() < running.argv.total_bytes))?;
        map.serialize_entry("pid", &running.pid)?;
        map.serialize_entry("ppid", &running.ppid)?;
        map.serialize_entry("uid", &running.uid)?;
        map.serialize_entry("gid", &running.gid)?;
        map.serialize_entry("comm", &Text(&running.comm))?;
        first.told(&mut map)?;
        if !running.exe.is_empty() {
            map.serialize_entry("exe", &first.text(&running.exe))?;
        }
        if !running.cwd.is_empty() {
            map.serialize_entry("cwd", &first.text(&running.cwd))?;
        }
        map.serialize_entry("started", &timestamp(running.started))?;
        map.end()
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
pub(super) struct Shown<T>(pub(super) T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
