//! exectrace's own messages: on stderr, as JSON lines of the log's shape or as text.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Stderr, Write};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogFormat;
use crate::line;

/// Messages of level INFO and above. What kube has to say of an error it also returns, and we tell it once, with
/// advice.
const WANTED: &str = "info,kube_client=off,kube_runtime=off";

/// Sends messages to stderr from now on.
pub(crate) fn init(format: LogFormat) {
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(WANTED)).with_writer(|| Patient(std::io::stderr()));
    match format {
        LogFormat::Json => builder.event_format(JsonLines).init(),
        LogFormat::Text => builder.event_format(TextLines).init(),
    }
}

/// How long a message waits for room: a stderr that nobody reads must hold up neither the reader of the kernel's ring nor a
/// stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Stderr, but for messages for which it has no room in time. A pipe that is ready takes 4,096 bytes.
struct Patient(Stderr);

impl Write for Patient {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], Some(&PATIENCE));
        if ready == Ok(0) {
            return Ok(message.len());
        }
        self.0.write(&message[..message.len().min(4096)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let fields = Fields::of(event);
        let meta = event.metadata();
        let line = line::json::diagnostic(
            SystemTime::now(),
            meta.level().as_str(),
            &fields.message,
            meta.file().unwrap_or_default(),
            &module(meta.target()),
            &fields.rest,
        );
        writer.write_str(&line)
    }
}

/// A module by the program's name, whatever its crate is called.
fn module(target: &str) -> Cow<'_, str> {
    match target.strip_prefix("exectrace_cli") {
        Some(module) => format!("exectrace{module}").into(),
        None => target.into(),
    }
}

struct TextLines;

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let fields = Fields::of(event);
        write!(writer, "exectrace: ")?;
        if *event.metadata().level() != tracing::Level::INFO {
            write!(writer, "{}: ", event.metadata().level().as_str().to_ascii_lowercase())?;
        }
        write!(writer, "{}", fields.message)?;
        for (name, value) in &fields.rest {
            write!(writer, " {name}={value}")?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn of(event: &Event<'_>) -> Fields {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_program_and_not_its_library() {
        assert_eq!(module(module_path!()), "exectrace::diagnostics::tests");
        assert_eq!(module("mio::poll"), "mio::poll");
    }
}
