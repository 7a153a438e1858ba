//! Lines of the log: each that a test looks at must be one of `docs/events.schema.json`.

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

    /// All lines of a log file.
    #[track_caller]
    pub(crate) fn parse_all(log: &str) -> Vec<Line> {
        assert!(log.is_empty() || log.ends_with('\n'), "the last line is cut: {log:?}");
        log.lines().map(Line::parse).collect()
    }

    pub(crate) fn msg(&self) -> &str {
        self.0["msg"].as_str().expect("a message")
    }

    pub(crate) fn is_exec(&self) -> bool {
        self.msg() == "exec"
    }

    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.0["fields"][name]
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.field("labels")[name].as_str()
    }

    /// Empty for what is no exec.
    pub(crate) fn cmdline(&self) -> &str {
        self.field("cmdline").as_str().unwrap_or_default()
    }

    /// A field of `fields.event`, null if it is not there.
    pub(crate) fn event(&self, name: &str) -> &Value {
        &self.field("event")[name]
    }

    pub(crate) fn event_text(&self, name: &str) -> Option<&str> {
        self.event(name).as_str()
    }

    pub(crate) fn event_names(&self) -> Vec<&str> {
        self.field("event").as_object().expect("an event").keys().map(String::as_str).collect()
    }

    /// How many execs the line tells of: one for an exec, and what a `lost` line counts.
    pub(crate) fn execs(&self) -> u64 {
        match self.msg() {
            "exec" => 1,
            "lost" => self.field("lost")["count"].as_u64().expect("a count"),
            _ => 0,
        }
    }

    pub(crate) fn lost_reason(&self) -> Option<&str> {
        self.field("lost")["reason"].as_str()
    }
}

/// Command lines of the execs, in their order.
pub(crate) fn cmdlines(lines: &[Line]) -> Vec<&str> {
    lines.iter().filter(|line| line.is_exec()).map(Line::cmdline).collect()
}
