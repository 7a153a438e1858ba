//! A line of a log -> what is needed to sort it: when it happened, whose it is and which one it is. Its bytes stay as they
//! are; what it says is read by `told`, and only where people look.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::seal::{Run, parse_seal};

/// A line with its place among all others.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As it was logged, without its line break.
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
    /// Its own time. A line that has none has that of the line before it in its source, to which it says something.
    pub(crate) time: SystemTime,
    /// Its run and its number there, if it has them: no two lines have the same.
    pub(crate) number: Option<(Run, u64)>,
    pub(crate) owner: Rc<Owner>,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of exectrace's: its log, or a message of its own.
    Ours,
    /// A ledger: numbers that say nothing to people.
    Ledger,
    /// Somebody else's.
    Foreign,
    /// The source ends within it.
    Cut,
}

impl Kind {
    /// Whether it is of exectrace's, and so has a time of its own.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Kind::Ours | Kind::Ledger)
    }
}

/// Whose a line is, by its labels.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: Option<String>,
    pub(crate) workspace: Option<String>,
    /// What is said where there are no labels: the name of a pod or file.
    pub(crate) otherwise: Rc<str>,
}

impl Owner {
    /// As people name it, from labels as they are.
    pub(crate) fn name(&self) -> String {
        match (&self.user, &self.workspace) {
            (None, None) => self.otherwise.to_string(),
            (user, workspace) => [user, workspace].map(|name| name.as_deref().unwrap_or("?")).join("/"),
        }
    }
}

/// Makes entries of the lines of one source, in their order.
pub(crate) struct Entries {
    time: SystemTime,
    owner: Rc<Owner>,
    pub(crate) foreign: u64,
    pub(crate) cut: u64,
}

impl Entries {
    /// Of a source with this name.
    pub(crate) fn of(name: &str) -> Entries {
        let owner = Rc::new(Owner { otherwise: name.into(), ..Owner::default() });
        Entries { time: SystemTime::UNIX_EPOCH, owner, foreign: 0, cut: 0 }
    }

    /// `cut`: the source ended before the line did.
    pub(crate) fn next(&mut self, bytes: Vec<u8>, cut: bool) -> Entry {
        let kind = match Outer::parse(&bytes) {
            Some((outer, time)) => {
                self.time = time;
                if let Some(labels) = outer.fields.labels {
                    self.owned_by(labels);
                }
                if outer.msg == "ledger" && is_sound(&bytes) { Kind::Ledger } else { Kind::Ours }
            }
            None if cut => Kind::Cut,
            None => Kind::Foreign,
        };
        self.foreign += u64::from(kind == Kind::Foreign);
        self.cut += u64::from(kind == Kind::Cut);
        let number = parse_seal(&bytes).map(|seal| (seal.run, seal.line));
        Entry { kind, time: self.time, number, owner: Rc::clone(&self.owner), bytes }
    }

    fn owned_by(&mut self, labels: &RawValue) {
        let Ok(labels) = serde_json::from_str::<Labels>(labels.get()) else { return };
        let is_same = self.owner.user.as_deref() == labels.username.as_deref()
            && self.owner.workspace.as_deref() == labels.workspace_name.as_deref();
        if !is_same {
            self.owner = Rc::new(Owner {
                user: labels.username.map(Cow::into_owned),
                workspace: labels.workspace_name.map(Cow::into_owned),
                otherwise: Rc::clone(&self.owner.otherwise),
            });
        }
    }
}

/// What names a line among all others, and its time.
#[cfg(feature = "kubernetes")]
pub(crate) fn name_of(line: &[u8]) -> Option<(Run, u64, SystemTime)> {
    let seal = parse_seal(line)?;
    let (_, time) = Outer::parse(line)?;
    Some((seal.run, seal.line, time))
}

/// The outer keys; all of them, so that other programs' JSON is not taken for ours.
#[derive(Deserialize)]
struct Outer<'a> {
    ts: &'a str,
    #[serde(rename = "level")]
    _level: IgnoredAny,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(rename = "caller")]
    _caller: IgnoredAny,
    #[serde(rename = "func")]
    _func: IgnoredAny,
    #[serde(borrow)]
    fields: Fields<'a>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow)]
    username: Option<Cow<'a, str>>,
    #[serde(borrow)]
    workspace_name: Option<Cow<'a, str>>,
}

impl Outer<'_> {
    fn parse(line: &[u8]) -> Option<(Outer<'_>, SystemTime)> {
        // What is skipped would not be looked at, and a line of exectrace's is text throughout.
        let outer: Outer<'_> = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
        let time = humantime::parse_rfc3339(outer.ts).ok()?;
        Some((outer, time))
    }
}

/// JSON to its last character; of what it skips, a parser asks less.
fn is_sound(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EXEC: &str = include_str!("../../tests/golden/lines/exec-standard-uname.json");
    const LEDGER: &str = include_str!("../../tests/golden/lines/ledger-small.json");
    const MESSAGE: &str = include_str!("../../tests/golden/lines/diagnostic.json");

    fn next(entries: &mut Entries, line: &str) -> Entry {
        entries.next(line.trim_end().as_bytes().to_vec(), false)
    }

    #[test]
    fn a_line_of_the_log_has_its_time_its_number_and_its_owner() {
        let entry = next(&mut Entries::of("a"), EXEC);
        assert_eq!((entry.kind, entry.bytes), (Kind::Ours, EXEC.trim_end().as_bytes().to_vec()));
        assert_eq!(entry.time, SystemTime::UNIX_EPOCH + Duration::new(1_646_080_178, 38_452_202));
        assert_eq!(entry.number, Some((Run(0x19de_8888), 1)));
        assert_eq!(entry.owner.user.as_deref(), Some("jessie"));
        assert_eq!(entry.owner.workspace.as_deref(), Some("main \u{1f980} \"x\"\n"));
    }

    #[test]
    fn what_is_not_of_the_log_stands_where_it_stood_and_belongs_to_whom_it_did() {
        let mut entries = Entries::of("a");
        let exec = next(&mut entries, EXEC);
        for (line, cut, kind) in [
            ("{\"level\":\"info\",\"msg\":\"listening\"}", false, Kind::Foreign),
            ("plain words", false, Kind::Foreign),
            ("", false, Kind::Foreign),
            (&EXEC[..40], true, Kind::Cut),
        ] {
            let entry = entries.next(line.as_bytes().to_vec(), cut);
            assert_eq!((entry.kind, entry.time, entry.number), (kind, exec.time, None), "{line}");
            assert_eq!((entry.owner, entry.bytes), (Rc::clone(&exec.owner), line.as_bytes().to_vec()));
        }
        assert_eq!((entries.foreign, entries.cut), (3, 1));
    }

    #[test]
    fn a_whole_line_whose_break_is_missing_is_not_cut() {
        let entry = Entries::of("a").next(EXEC.trim_end().as_bytes().to_vec(), true);
        assert_eq!(entry.kind, Kind::Ours);
    }

    #[test]
    fn ledgers_and_messages_are_known() {
        let mut entries = Entries::of("pod");
        assert_eq!(next(&mut entries, MESSAGE).kind, Kind::Ours);
        assert_eq!(next(&mut entries, MESSAGE).owner.name(), "pod");
        assert_eq!(next(&mut entries, LEDGER).kind, Kind::Ledger);
        assert_eq!(next(&mut entries, MESSAGE).owner.user.as_deref(), Some("jessie"), "that of the line before");
    }

    /// What is skipped in a line is not looked at closely, and a ledger is not shown to people: it must be one.
    #[test]
    fn a_ledger_that_is_no_json_within_is_not_hidden() {
        let line = LEDGER.replace("\"jessie\"", "\"\\udd80\"");
        assert_ne!(line, LEDGER);
        assert_eq!(next(&mut Entries::of("a"), &line).kind, Kind::Ours);
    }

    #[test]
    fn a_line_with_bytes_that_are_no_text_is_not_exectraces() {
        let mut line = LEDGER.trim_end().as_bytes().to_vec();
        let caller = LEDGER.find("crates").expect("the caller");
        line[caller] = 0xff;
        assert_eq!(Entries::of("a").next(line, false).kind, Kind::Foreign);
    }

    #[test]
    fn labels_that_are_no_text_name_nobody() {
        let line = EXEC.replace("\"jessie\"", "{\"a\":[]}");
        assert_eq!(next(&mut Entries::of("pod"), &line).owner.name(), "pod");
    }
}
