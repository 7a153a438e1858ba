//! Lines of the log: each that a test looks at must be one of `docs/events.schema.json`.

use std::collections::HashMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../../docs/events.schema.json")).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
});

/// A line that is valid.
#[derive(Debug, Clone)]
pub(crate) struct Line(Value);

impl Line {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Line {
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text:?}"));
        let errors: Vec<_> = VALIDATOR.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "not of the schema: {text}\n{errors:#?}");
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "not printable ASCII: {text:?}");
        Line(value)
    }

    /// All lines of a log file, in which no number may be missing.
    #[track_caller]
    pub(crate) fn parse_all(log: &str) -> Vec<Line> {
        assert!(log.is_empty() || log.ends_with('\n'), "the last line is cut: {log:?}");
        let lines: Vec<Line> = log.lines().map(Line::parse).collect();
        let mut last: HashMap<&str, u64> = HashMap::new();
        for line in &lines {
            let number = line.line_number().unwrap_or_else(|| panic!("no line of the log: {line:?}"));
            let last = last.entry(line.run().expect("a run")).or_default();
            assert_eq!((number, line.msg() == "start"), (*last + 1, *last == 0), "{line:?}");
            *last = number;
        }
        lines
    }

    /// One of the outer keys.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    pub(crate) fn msg(&self) -> &str {
        self.0["msg"].as_str().expect("a message")
    }

    pub(crate) fn is_exec(&self) -> bool {
        self.msg() == "exec"
    }

    /// What the line tells, but for labels and command line: its number is in it. `None` for a message.
    pub(crate) fn body(&self) -> Option<&Value> {
        let name = match self.msg() {
            "exec" | "exec-failed" | "exit" | "running" | "continued" => "event",
            "scope-gone" => "gone",
            "labels-changed" => "changed",
            msg @ ("lost" | "rollup" | "dropped" | "start" | "ledger" | "watchdog" | "stop") => msg,
            _ => return None,
        };
        Some(self.field(name))
    }

    /// The run that the line belongs to; `None` for a message.
    pub(crate) fn run(&self) -> Option<&str> {
        Some(self.seal()?.0)
    }

    /// The line's number in its run; `None` for a message.
    pub(crate) fn line_number(&self) -> Option<u64> {
        self.seal()?.1.parse().ok()
    }

    fn seal(&self) -> Option<(&str, &str)> {
        self.body()?["line"].as_str()?.split_once('-')
    }

    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.0["fields"][name]
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.field("labels")[name].as_str()
    }

    /// Empty for what is no exec: also for an attempt that failed, and for what ran already.
    pub(crate) fn cmdline(&self) -> &str {
        let cmdline = self.field("cmdline").as_str().filter(|_| self.is_exec());
        cmdline.unwrap_or_default()
    }

    /// A field of `fields.event`, null if it is not there.
    pub(crate) fn event(&self, name: &str) -> &Value {
        &self.field("event")[name]
    }

    pub(crate) fn event_text(&self, name: &str) -> Option<&str> {
        self.event(name).as_str()
    }

    /// The fields of `fields.event` that tell of it, not of its line.
    pub(crate) fn event_names(&self) -> Vec<&str> {
        let names = self.field("event").as_object().expect("an event").keys().map(String::as_str);
        names.filter(|name| !["line", "chain"].contains(name)).collect()
    }

    /// How many execs the line tells of: one for an exec, and what a `lost` line counts.
    pub(crate) fn execs(&self) -> u64 {
        match self.msg() {
            "exec" => 1,
            "lost" if self.field("lost")["what"].is_null() => self.field("lost")["count"].as_u64().expect("a count"),
            _ => 0,
        }
    }

    pub(crate) fn lost_reason(&self) -> Option<&str> {
        self.field("lost")["reason"].as_str()
    }
}

/// The lines with this msg, in their order.
pub(crate) fn with_msg<'a>(lines: &'a [Line], msg: &str) -> Vec<&'a Line> {
    lines.iter().filter(|line| line.msg() == msg).collect()
}

/// Command lines of the execs, in their order.
pub(crate) fn cmdlines(lines: &[Line]) -> Vec<&str> {
    lines.iter().filter(|line| line.is_exec()).map(Line::cmdline).collect()
}

#[test]
fn a_line_of_the_log_knows_its_place_and_what_it_tells() {
    let ledger = Line::parse(include_str!("../golden/lines/ledger-everything.json").trim_end());
    assert_eq!((ledger.run(), ledger.line_number()), (Some("19de8888"), Some(1210)));
    assert_eq!(ledger.body().expect("a ledger")["written"], 1188);
    let message = Line::parse(include_str!("../golden/lines/diagnostic.json").trim_end());
    assert_eq!((message.body(), message.run(), message.line_number()), (None, None, None));
}

#[test]
fn only_execs_count_as_execs() {
    let line = |text: &str| Line::parse(text.trim_end());
    let lines = [
        line(include_str!("../golden/lines/start-fresh.json")),
        line(include_str!("../golden/lines/running.json")),
        line(include_str!("../golden/lines/exec-seed-uname.json")),
        line(include_str!("../golden/lines/exec-failed-full.json")),
        line(include_str!("../golden/lines/exit-code.json")),
        line(include_str!("../golden/lines/lost-exit.json")),
        line(include_str!("../golden/lines/lost-ring-full.json")),
        line(include_str!("../golden/lines/stop.json")),
    ];
    assert_eq!(cmdlines(&lines), ["uname -a"]);
    assert_eq!(lines.iter().map(Line::execs).sum::<u64>(), 1 + 17);
    assert_eq!(with_msg(&lines, "lost").len(), 2);
    assert_eq!(lines.iter().filter(|line| !line.cmdline().is_empty()).count(), 1);
    assert_eq!(lines[2].event_names(), ["argv", "comm", "filename", "gid", "pid", "truncated", "uid"]);
}

#[test]
#[should_panic(expected = "left: (3, false)")]
fn a_log_that_lacks_a_line_is_refused() {
    let start = include_str!("../golden/lines/start-fresh.json");
    let exec = include_str!("../golden/lines/exec-seed-uname.json");
    let numbered = |number: u32| exec.replace("19de8888-1", &format!("19de8888-{number}"));
    Line::parse_all(&[start, &numbered(2), &start.replace("19de8888-1", "00000001-1")].concat());
    Line::parse_all(&[start, &numbered(3)].concat());
}
