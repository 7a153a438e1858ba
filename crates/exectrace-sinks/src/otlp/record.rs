//! Lines as log records.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource as OtelResource;
use serde_json::value::RawValue;

use super::OtlpOptions;
use crate::coder::{CoderLine, Members, Process, base_name, is_of_process};
use crate::destination::Line;

/// Attributes of where records come from, such as `host.name`; `service.name` and `service.version` are there without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource(pub Vec<(String, String)>);

/// Bytes of the longest name of a program that is told beside its path.
const NAME: usize = 255;

/// What is sent for lines.
pub(super) fn request(lines: &[Line], options: &OtlpOptions) -> ExportLogsServiceRequest {
    let observed = nanos(SystemTime::now());
    let records = lines.iter().map(|line| record(line, observed, options.original)).collect();
    let own = [("service.name", "exectrace"), ("service.version", env!("CARGO_PKG_VERSION"))];
    // Who named one of ours otherwise is right.
    let is_named = |name: &str| options.resource.0.iter().any(|(other, _)| other == name);
    let own = own.into_iter().filter(|(name, _)| !is_named(name));
    let own = own.map(|(name, value)| attribute(name, Value::StringValue(value.to_owned())));
    let named = options.resource.0.iter().map(|(name, value)| attribute(name, Value::StringValue(value.clone())));
    let scope = InstrumentationScope {
        name: "exectrace".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let logs = ScopeLogs { scope: Some(scope), log_records: records, ..ScopeLogs::default() };
    let resource = OtelResource { attributes: own.chain(named).collect(), ..OtelResource::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

/// One record. What is not a line of ours, which does not happen, is a record of its text.
fn record(line: &Line, observed: u64, original: bool) -> LogRecord {
    let text = || Value::StringValue(String::from_utf8_lossy(&line.bytes).into_owned());
    let mut record = match CoderLine::parse(&line.bytes) {
        Ok(parsed) => of_line(parsed),
        Err(error) => {
            tracing::error!("a line goes as it is, because it is none of ours: {error}");
            LogRecord { body: Some(AnyValue { value: Some(text()) }), ..LogRecord::default() }
        }
    };
    if original {
        record.attributes.push(attribute("log.record.original", text()));
    }
    LogRecord { time_unix_nano: nanos(line.time), observed_time_unix_nano: observed, ..record }
}

fn of_line(line: CoderLine<'_>) -> LogRecord {
    let CoderLine { ts, level, msg, caller, func, mut labels, cmdline, kind, mut body } = line;
    let mut attributes = Attributes(Vec::new());
    attributes.raw("log.record.uid", body.take("line"));
    if is_of_process(&kind) {
        attributes.process(&Process::take(&mut body), cmdline, (msg == "exit").then_some(ts));
    }
    attributes.raw("user.id", labels.take("user_id"));
    attributes.raw("user.name", labels.take("username"));
    attributes.raw("user.email", labels.take("user_email"));
    attributes.text("code.file.path", caller);
    attributes.text("code.function.name", func);
    attributes.rest("exectrace.labels", labels);
    attributes.rest(&format!("exectrace.{kind}"), body);
    let text = cmdline.and_then(value).unwrap_or_else(|| Value::StringValue(msg.to_owned()));
    let severity = match level {
        "ERROR" => SeverityNumber::Error,
        "WARN" => SeverityNumber::Warn,
        _ => SeverityNumber::Info,
    };
    LogRecord {
        severity_number: severity.into(),
        severity_text: level.to_owned(),
        event_name: format!("exectrace.{msg}"),
        body: Some(AnyValue { value: Some(text) }),
        attributes: attributes.0,
        ..LogRecord::default()
    }
}

struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn raw(&mut self, name: &str, raw: Option<&RawValue>) {
        self.0.extend(raw.and_then(value).map(|value| attribute(name, value)));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.0.push(attribute(name, Value::StringValue(text.to_owned())));
    }

    /// What has no name in the conventions.
    fn rest(&mut self, prefix: &str, members: Members<'_>) {
        for (name, raw) in members.0 {
            self.raw(&format!("{prefix}.{name}"), Some(raw));
        }
    }

    fn process(&mut self, process: &Process<'_>, cmdline: Option<&RawValue>, end: Option<&str>) {
        self.raw("process.pid", process.pid);
        self.raw("process.parent_pid", process.ppid);
        self.raw("process.vpid", process.vpid);
        self.raw("process.executable.path", process.executable);
        if let Some(name) = process.executable.and_then(|path| base_name(path, NAME)) {
            self.text("process.executable.name", &name);
        }
        self.raw("process.command_args", process.argv);
        self.raw("process.args_count", process.argc);
        self.raw("process.command_line", cmdline);
        self.raw("process.working_directory", process.cwd);
        if process.tty.is_some() {
            self.0.push(attribute("process.interactive", Value::BoolValue(true)));
        }
        self.raw("process.real_user.id", process.uid);
        self.raw("process.user.id", process.euid);
        self.raw("exectrace.process.real_group.id", process.gid);
        self.raw("exectrace.process.group.id", process.egid);
        self.raw("process.session_leader.pid", process.sid);
        self.raw("process.creation.time", process.started);
        self.raw("process.exit.code", process.code);
        if let Some(end) = end {
            self.text("process.exit.time", end);
        }
        self.raw("container.id", process.container);
        self.raw("error.type", process.error);
        self.raw("exectrace.process.id", process.id);
        self.raw("exectrace.process.parent_id", process.parent_id);
        self.raw("exectrace.process.duration_ns", process.duration_ns);
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A part of a line; `None` if it is null.
fn value(raw: &RawValue) -> Option<Value> {
    of_json(serde_json::from_str(raw.get()).ok()?)
}

fn of_json(json: serde_json::Value) -> Option<Value> {
    let any = |json| AnyValue { value: of_json(json) };
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(is) => Value::BoolValue(is),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::IntValue(number),
            // Larger than a number can be there.
            None => Value::StringValue(number.to_string()),
        },
        serde_json::Value::String(text) => Value::StringValue(text),
        serde_json::Value::Array(values) => {
            Value::ArrayValue(ArrayValue { values: values.into_iter().map(any).collect() })
        }
        serde_json::Value::Object(members) => {
            let member = |(key, json)| KeyValue { key, value: Some(any(json)), ..KeyValue::default() };
            Value::KvlistValue(KeyValueList { values: members.into_iter().map(member).collect() })
        }
    })
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
