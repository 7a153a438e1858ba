//! What a line says, for people. Total: a line that does not say what its name promises is shown as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::entry::{Entry, Kind};
use crate::line::paint::{BAD, DIM, Pen, printable, round};

/// What a line says.
pub(crate) enum Told {
    Exec(Exec),
    /// An attempt to exec that failed.
    Failed(Exec),
    /// The end of a process.
    Ended(Ended),
    /// A process that ran already when the log began.
    Running(Exec),
    /// Anything else, in words.
    Note(Note),
}

/// An exec, an attempt, or a process that runs.
#[derive(Debug, Deserialize)]
pub(crate) struct Exec {
    #[serde(skip)]
    cmdline: String,
    #[serde(default)]
    filename: String,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) id: Option<String>,
    pub(crate) parent_id: Option<String>,
    #[serde(default)]
    truncated: bool,
    argv_bytes: Option<u64>,
    argv_kept_bytes: Option<u64>,
    #[serde(default)]
    partial: Vec<String>,
    error: Option<String>,
    /// Of this many lines, not all are there; or it was not put together.
    parts: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ended {
    pub(crate) id: Option<String>,
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    #[serde(default)]
    comm: String,
    code: Option<u32>,
    signal: Option<String>,
    #[serde(default)]
    duration_ns: u64,
    #[serde(default)]
    cpu_ns: u64,
}

/// Words, and whether somebody should act on them.
pub(crate) struct Note {
    text: String,
    is_bad: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    level: String,
    msg: String,
    #[serde(borrow)]
    fields: &'a RawValue,
}

impl Told {
    pub(crate) fn of(entry: &Entry) -> Told {
        match entry.kind {
            Kind::Cut => Note::bad(format!("a line that is cut: {}", printable(&entry.bytes))),
            Kind::Foreign => Note::plain(printable(&entry.bytes)),
            Kind::Ours | Kind::Ledger => {
                Told::of_ours(&entry.bytes).unwrap_or_else(|| Note::plain(printable(&entry.bytes)))
            }
        }
    }

    fn of_ours(bytes: &[u8]) -> Option<Told> {
        let line: Line<'_> = serde_json::from_slice(bytes).ok()?;
        let fields: Map<String, Value> = serde_json::from_str(line.fields.get()).ok()?;
        Some(match line.msg.as_str() {
            "exec" => Told::Exec(Exec::of(&fields)?),
            "exec-failed" => Told::Failed(Exec::of(&fields)?),
            "running" => Told::Running(Exec::of(&fields)?),
            "exit" => Told::Ended(body(&fields, "event")?),
            "continued" => {
                let cmdline = fields.get("cmdline")?.as_str()?;
                Note::bad(format!("arguments of a line that is missing: {}", printable(&bytes_of(cmdline))))
            }
            "lost" => lost(fields.get("lost")?)?,
            "rollup" => rollup(fields.get("rollup")?)?,
            "dropped" => dropped(fields.get("dropped")?)?,
            "watchdog" => match fields.get("watchdog")?.get("seen")?.as_bool()? {
                true => Note::bad("the kernel program sees execs again".to_owned()),
                false => Note::bad("the kernel program sees nothing".to_owned()),
            },
            "scope-gone" => {
                let scope = fields.get("gone")?.get("scope")?.as_u64()?;
                Note::plain(format!("scope {scope} is gone: nothing can run there any more"))
            }
            "labels-changed" => labels_changed(fields.get("changed")?.get("before")?, fields.get("labels")?)?,
            "start" => start(fields.get("start")?)?,
            "stop" => stop(fields.get("stop")?)?,
            _ => message(&line, &fields),
        })
    }
}

impl Exec {
    fn of(fields: &Map<String, Value>) -> Option<Exec> {
        let cmdline = fields.get("cmdline").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Exec { cmdline, ..body(fields, "event")? })
    }

    /// What was executed.
    pub(crate) fn words(&self, pen: Pen) -> String {
        let mut words = self.command();
        if self.parts.is_some() {
            words.push_str(&pen.styled(BAD, " … (arguments missing)"));
        }
        if self.truncated {
            let missing = self.argv_bytes.zip(self.argv_kept_bytes).map(|(all, kept)| all.saturating_sub(kept));
            let more = missing.map_or_else(|| " … more".to_owned(), |missing| format!(" … {missing} more bytes"));
            words.push_str(&pen.styled(BAD, &more));
        }
        if !self.partial.is_empty() {
            let reasons = printable(self.partial.join(" ").as_bytes());
            words.push_str(&pen.styled(DIM, &format!(" [{reasons}]")));
        }
        words
    }

    /// What was tried, and why it failed.
    pub(crate) fn failed_words(&self, pen: Pen) -> String {
        let error = printable(self.error.as_deref().unwrap_or("failed").as_bytes());
        let tried = pen.styled(BAD, &format!("{error}: {}", printable(&bytes_of(&self.filename))));
        format!("{tried} {}", pen.styled(DIM, &format!("[{}]", self.command())))
    }

    /// What ran already.
    pub(crate) fn running_words(&self, pen: Pen) -> String {
        format!("{} {}", self.command(), pen.styled(DIM, "(ran already)"))
    }

    fn command(&self) -> String {
        printable(&bytes_of(&self.cmdline))
    }
}

impl Ended {
    /// The end by itself.
    pub(crate) fn words(&self, pen: Pen) -> String {
        let cpu = round(Duration::from_nanos(self.cpu_ns));
        let comm = printable(&bytes_of(&self.comm));
        pen.styled(DIM, &format!("{comm}: {}, {cpu:?} of processor time", self.how()))
    }

    /// The end beside the exec that it is of.
    pub(crate) fn how(&self) -> String {
        let lived = round(Duration::from_nanos(self.duration_ns));
        match &self.signal {
            Some(signal) => format!("{} after {lived:?}", printable(signal.as_bytes())),
            None => format!("exit {} after {lived:?}", self.code.unwrap_or_default()),
        }
    }
}

impl Note {
    fn plain(text: String) -> Told {
        Told::Note(Note { text, is_bad: false })
    }

    fn bad(text: String) -> Told {
        Told::Note(Note { text, is_bad: true })
    }

    pub(crate) fn words(&self, pen: Pen) -> String {
        pen.styled(if self.is_bad { BAD } else { DIM }, &self.text)
    }
}

fn body<T: DeserializeOwned>(fields: &Map<String, Value>, name: &str) -> Option<T> {
    T::deserialize(fields.get(name)?).ok()
}

fn lost(lost: &Value) -> Option<Told> {
    let what = match lost.get("what").and_then(Value::as_str) {
        None => "execs",
        Some("exec-failed") => "failed attempts",
        Some("exit") => "ends of processes",
        Some(what) => what,
    };
    let (count, reason) = (lost.get("count")?.as_u64()?, lost.get("reason")?.as_str()?);
    Some(Note::bad(format!("{count} {} lost: {}", printable(what.as_bytes()), printable(reason.as_bytes()))))
}

fn rollup(rollup: &Value) -> Option<Told> {
    let text = |name| rollup.get(name).and_then(Value::as_str).map(|text| printable(&bytes_of(text)));
    let count = |name| rollup.get(name).and_then(Value::as_u64);
    let what = text("exe").or_else(|| text("error"))?;
    let mut words = format!("{} times {what} below {}", count("count")?, text("parent_exe")?);
    if let Some(failures) = count("failures") {
        words.push_str(&format!(", {failures} failed"));
    }
    let samples = rollup.get("samples").and_then(Value::as_array)?;
    if let Some(sample) = samples.first().and_then(Value::as_str) {
        words.push_str(&format!(", such as: {}", printable(&bytes_of(sample))));
    }
    Some(Note::plain(words))
}

fn dropped(dropped: &Value) -> Option<Told> {
    let text = |name| dropped.get(name).and_then(Value::as_str).map(|text| printable(text.as_bytes()));
    let lines = dropped.get("lines")?.as_u64()?;
    Some(Note::bad(format!("{lines} lines are missing from the sink {}: {}", text("sink")?, text("reason")?)))
}

fn labels_changed(before: &Value, now: &Value) -> Option<Told> {
    let (before, now) = (before.as_object()?, now.as_object()?);
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let value = |labels: &Map<String, Value>, name: &str| {
        printable(labels.get(name).and_then(Value::as_str).unwrap_or("(none)").as_bytes())
    };
    let changed = names.into_iter().filter(|name| before.get(*name) != now.get(*name));
    let words =
        changed.map(|name| format!("{} {} -> {}", printable(name.as_bytes()), value(before, name), value(now, name)));
    Some(Note::plain(format!("the labels changed: {}", words.collect::<Vec<_>>().join(", "))))
}

fn start(start: &Value) -> Option<Told> {
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(|text| printable(text.as_bytes()));
    let mut words = format!("the log begins: exectrace {}", text(start, "version")?);
    if let Some(run) = start.get("resumed").and_then(|resumed| text(resumed, "run")) {
        words.push_str(&format!(", going on from run {run}"));
    }
    let Some(unwatched) = start.get("unwatched") else { return Some(Note::plain(words)) };
    let time = |name| text(unwatched, name).unwrap_or_else(|| "?".to_owned());
    words.push_str(&format!("; nobody watched from {} to {}", time("from"), time("to")));
    Some(Note::bad(words))
}

fn stop(stop: &Value) -> Option<Told> {
    let why = match stop.get("why")?.as_str()? {
        "signal" => "somebody asked for it".to_owned(),
        "command_ended" => "its command ended".to_owned(),
        "scope_gone" => "the workspace is gone".to_owned(),
        other => printable(other.as_bytes()),
    };
    let stays = if stop.get("pinned") == Some(&Value::Bool(true)) { "; the kernel's half goes on" } else { "" };
    Some(Note::plain(format!("the log ends: {why}{stays}")))
}

/// exectrace's own messages, and lines of a later version.
fn message(line: &Line<'_>, fields: &Map<String, Value>) -> Told {
    let said = fields.iter().filter(|(name, _)| *name != "labels");
    let said: Vec<String> = said.map(|(name, value)| format!(" {name}={value}")).collect();
    let text = format!("{}{}", line.msg, said.concat());
    let is_bad = line.level != "INFO";
    Told::Note(Note { text: printable(text.as_bytes()), is_bad })
}

/// Bytes of the workspace from a string of the log: `docs/events.md`, "Strings".
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    let mut parts = text.split('\u{fffd}');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.extend_from_slice("\u{fffd}".as_bytes());
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::Entries;
    use super::super::text::Text;
    use super::super::tree::Trees;
    use super::*;

    macro_rules! golden {
        ($name:literal) => {
            include_str!(concat!("../../tests/golden/lines/", $name, ".json"))
        };
    }

    const PLAIN: Pen = Pen { colour: false };
    const GOLDEN: [&str; 6] = [
        golden!("exec-standard-everything"),
        golden!("exec-failed-standard"),
        golden!("exit-signal"),
        golden!("lost-exit"),
        golden!("start-unwatched"),
        golden!("diagnostic"),
    ];

    #[track_caller]
    fn words(line: &str) -> String {
        match Told::of(&Entries::of("a").next(line.trim_end().as_bytes().to_vec(), false)) {
            Told::Exec(exec) => exec.words(PLAIN),
            Told::Failed(exec) => exec.failed_words(PLAIN),
            Told::Running(exec) => exec.running_words(PLAIN),
            Told::Ended(ended) => ended.words(PLAIN),
            Told::Note(note) => format!("{}{}", if note.is_bad { "! " } else { "" }, note.words(PLAIN)),
        }
    }

    #[test]
    fn each_line_of_the_log_has_its_words() {
        for (line, expected) in [
            (golden!("exec-seed-uname"), "uname -a"),
            (golden!("exec-standard-bare"), " … 9 more bytes ["),
            (golden!("exec-seed-bare"), " … more"),
            (golden!("exec-failed-seed"), "EACCES: ./tools/\\xff\"run ['./tools/\\xff\"run' 'two\\nlines']"),
            (golden!("running"), "-bash 'two words' (ran already)"),
            (golden!("exit-code"), "uname: exit 0 after 1.742ms, 1.31ms of processor time"),
            (golden!("exit-signal"), "uname: SIGSEGV after 1.742ms, 1.31ms of processor time"),
            (golden!("lost-ring-full"), "! 17 execs lost: ring_full"),
            (golden!("lost-exec-failed"), "! 17 failed attempts lost: program_busy"),
            (golden!("lost-exit"), "! 17 ends of processes lost: write_failed"),
            (golden!("labels-changed"), "the labels changed: "),
            (golden!("scope-gone"), "scope 1 is gone: nothing can run there any more"),
            (golden!("start-fresh"), "the log begins: exectrace 0.1.0"),
            (golden!("start-resumed"), "the log begins: exectrace 0.1.0, going on from run 07abcdef"),
            (
                golden!("start-unwatched"),
                "! the log begins: exectrace 0.1.0; nobody watched from 2022-02-28T20:29:38.038452202Z to ",
            ),
            (
                golden!("rollup"),
                "188 times /usr/lib/gcc/x86_64-linux-gnu/12/cc1 below /usr/bin/make, 1 failed, such as: /usr/lib/gcc/",
            ),
            (golden!("rollup-failed"), "188 times ENOENT below /usr/bin/make"),
            (golden!("exec-origin"), "uname -a"),
            (golden!("stop"), "the log ends: its command ended"),
            (golden!("stop-pinned"), "the log ends: somebody asked for it; the kernel's half goes on"),
            (golden!("watchdog-unseen"), "! the kernel program sees nothing"),
            (golden!("watchdog-seen-again"), "! the kernel program sees execs again"),
            (golden!("diagnostic"), "tracing the workspace's PID namespace ü\\n held=true peer="),
        ] {
            assert!(words(line).starts_with(expected), "{line}{}", words(line));
        }
    }

    #[test]
    fn a_workspace_that_changes_hands_shows_from_whom_to_whom() {
        let labels = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let before = labels(r#"{"username":"prebuilds","workspace_name":"main","gone":"x\u001b"}"#);
        let now = labels(r#"{"username":"zac","workspace_name":"main","user_email":"zac@example.com"}"#);
        let Some(Told::Note(note)) = labels_changed(&before, &now) else { panic!("no note") };
        assert_eq!(
            note.text,
            "the labels changed: gone x\\u{1b} -> (none), user_email (none) -> zac@example.com, username prebuilds -> zac"
        );
    }

    #[test]
    fn what_comes_from_a_log_cannot_steer_a_terminal() {
        let everything = words(golden!("exec-standard-everything"));
        assert!(everything.contains("'\\u{202e}\u{fffd}'"), "{everything}");
        assert!(everything.contains("two\\nlines"), "{everything}");
        assert_eq!(words("\x1b[2J"), "\\u{1b}[2J");
        let lost = golden!("lost-ring-full").replace("ring_full", "\\u001b[2J");
        assert_eq!(words(&lost), "! 17 execs lost: \\u{1b}[2J");
    }

    #[test]
    fn a_line_that_is_not_what_it_says_is_shown_as_it_is() {
        let broken = golden!("lost-ring-full").replace("\"count\":17", "\"count\":\"x\"");
        assert_eq!(words(&broken), broken.trim_end());
        assert_eq!(words("listening on 8080"), "listening on 8080");
    }

    #[test]
    fn a_line_of_a_later_version_is_not_hidden() {
        let later = golden!("scope-gone").replace("scope-gone", "labels").replace("\"gone\"", "\"changed\"");
        assert_eq!(words(&later), "labels changed={\"line\":\"19de8888-1\",\"scope\":1}");
    }

    #[test]
    fn strings_become_the_bytes_that_they_were() {
        assert_eq!(bytes_of("a\u{fffd}ffb\u{fffd}ef\u{fffd}bf\u{fffd}bd"), b"a\xffb\xef\xbf\xbd");
        assert_eq!(bytes_of("\u{fffd}x\u{fffd}"), "\u{fffd}x\u{fffd}".as_bytes(), "not of exectrace's");
    }

    proptest! {
        #[test]
        fn no_line_steers_a_terminal_or_ends_the_program(
            which in 0..GOLDEN.len(),
            at in any::<prop::sample::Index>(),
            put in proptest::collection::vec(any::<u8>(), 0..6),
            cut in any::<bool>(),
        ) {
            let mut bytes = GOLDEN[which].trim_end().as_bytes().to_vec();
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + 1);
            bytes.splice(at..end, put);
            let entry = Entries::of("a").next(bytes, cut);
            let mut trees = Trees::new(PLAIN);
            trees.add(&entry);
            let mut drawn = Vec::new();
            trees.draw(&mut drawn).expect("room");
            let lines = [Text::new(PLAIN, true, true).line(&entry), String::from_utf8(drawn).expect("text")];
            prop_assert!(!lines[0].chars().any(char::is_control), "{:?}", lines[0]);
            prop_assert!(!lines[1].replace('\n', "").chars().any(char::is_control), "{:?}", lines[1]);
            prop_assert_eq!(lines[1].lines().count(), 2, "whose it is, and the line");
        }
    }
}
