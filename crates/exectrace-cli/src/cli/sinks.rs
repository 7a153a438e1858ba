//! Where the log goes, what its lines look like, and what does not leave the node: words of every command that logs.

#[cfg(feature = "metrics")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use exectrace_sinks::schema::Schema;

use super::{parse_bytes, parse_bytes_u32};
use crate::exit::{Exit, Failed};
use crate::line::json::{Limits, MIN_LINE};

/// The outputs, all of them at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs")]
pub(crate) struct SinkArgs {
    /// Where lines go; repeatable, or with commas [default: stdout, or file where --log is given]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SINK")]
    pub(crate) sink: Vec<SinkName>,
    /// What lines look like, wherever lines go [default: auto; of the sidecar coder]
    #[arg(long, short, visible_short_alias = 'o', visible_alias = "output", value_enum, default_value_t = OutputFormat::Auto, hide_default_value = true)]
    pub(crate) format: OutputFormat,
    /// Write the log to a file, at its end, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Put that file aside, compressed, when it has grown so large; 0: never
    #[arg(long, value_name = "BYTES", default_value = "100MiB", value_parser = parse_bytes)]
    pub(crate) log_max_size: u64,
    /// How many files that were put aside to keep; 0: all
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) log_keep: usize,
    /// Bytes of a line, with its break; arguments that do not fit follow in lines of their own. Container runtimes cut
    /// longer lines: containerd at 16384, CRI-O at 8192
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = parse_line_bytes)]
    pub(crate) max_line: u32,
    /// Arguments of a line; CloudWatch Logs Insights finds 200 fields of an event, each argument being one
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_line_args: u32,
    /// Serve what is counted, for Prometheus, at http://ADDR/metrics
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "ADDR", value_parser = super::parse_address)]
    pub(crate) metrics: Option<SocketAddr>,
    #[cfg(feature = "ship")]
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
    #[cfg(feature = "cloudwatch")]
    #[command(flatten)]
    pub(crate) cloudwatch: CloudWatchArgs,
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
}

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text where the log goes to a terminal only, coder elsewhere
    Auto,
    /// For people
    Text,
    /// JSON as in docs/events.md; what can be verified
    #[value(alias = "json")]
    Coder,
    /// Elastic Common Schema
    Ecs,
    /// Open Cybersecurity Schema Framework
    Ocsf,
}

impl OutputFormat {
    /// The schema of the lines, if they are for machines.
    pub(crate) fn schema(self) -> Schema {
        match self {
            OutputFormat::Auto | OutputFormat::Text | OutputFormat::Coder => Schema::Coder,
            OutputFormat::Ecs => Schema::Ecs,
            OutputFormat::Ocsf => Schema::Ocsf,
        }
    }

    /// The same, for machines where nothing was said.
    pub(crate) fn or_coder(self) -> OutputFormat {
        if self == OutputFormat::Auto { OutputFormat::Coder } else { self }
    }
}

/// An output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SinkName {
    Stdout,
    /// The file of --log
    File,
    /// Amazon CloudWatch Logs
    #[cfg(feature = "cloudwatch")]
    Cloudwatch,
    /// A collector that speaks OpenTelemetry's protocol
    #[cfg(feature = "otlp")]
    Otlp,
}

impl SinkArgs {
    /// What one of our own lines may be, so that in its schema it keeps to --max-line.
    pub(crate) fn limits(&self) -> Result<Limits, Failed> {
        let growth = self.format.schema().growth();
        let bytes = usize::try_from(self.max_line).unwrap_or(usize::MAX);
        let least = MIN_LINE as usize + growth;
        if bytes < least {
            return Err(Failed(Exit::Usage, format!("with this --format, --max-line must be at least {least}")));
        }
        Ok(Limits { bytes: bytes - growth, args: usize::try_from(self.max_line_args).unwrap_or(usize::MAX) })
    }

    /// What labels may take of a line, so that there is room for what happened.
    pub(crate) fn room_for_labels(&self) -> usize {
        usize::try_from(self.max_line).unwrap_or(usize::MAX) / 4
    }

    /// The outputs in their order, each once.
    pub(crate) fn sinks(&self) -> Vec<SinkName> {
        let mut sinks = Vec::new();
        for sink in &self.sink {
            if !sinks.contains(sink) {
                sinks.push(*sink);
            }
        }
        if sinks.is_empty() {
            sinks.push(if self.log.is_some() { SinkName::File } else { SinkName::Stdout });
        }
        sinks
    }
}

/// What waits on disk for a place over the network.
#[cfg(feature = "ship")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs over the network")]
pub(crate) struct SpoolArgs {
    /// Folder on disk where lines wait until they are sent; what a network sink needs
    #[arg(long = "spool", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Room for them, for each sink
    #[arg(long = "spool-size", value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes)]
    pub(crate) size: u64,
    /// What to drop, and count, when that is full
    #[arg(long = "spool-full", value_enum, default_value_t = SpoolFull::DropOldest)]
    pub(crate) full: SpoolFull,
    /// When to make sure that they are on the disk itself: what a power failure may cost
    #[arg(long = "spool-sync", value_enum, default_value_t = SpoolSync::Batch)]
    pub(crate) sync: SpoolSync,
}

#[cfg(feature = "ship")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpoolFull {
    DropOldest,
    DropNewest,
}

#[cfg(feature = "ship")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpoolSync {
    /// Never: leave it to the kernel
    Never,
    /// Every few megabytes
    Batch,
    /// Before each line counts as written
    Always,
}

#[cfg(feature = "cloudwatch")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs over the network")]
pub(crate) struct CloudWatchArgs {
    /// Log group; made if missing. Credentials are found as by all of AWS' tools: environment, web identity (IRSA), Pod
    /// Identity, instance metadata
    #[arg(long = "cloudwatch-group", value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Log stream, made if missing; {LABEL} stands for a label, {host} and {run} for this machine and run
    #[arg(long = "cloudwatch-stream", value_name = "TEMPLATE", default_value = "{username}/{workspace_name}/{host}")]
    pub(crate) stream: String,
    /// Region [default: as by all of AWS' tools]
    #[arg(long = "cloudwatch-region", value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Where CloudWatch Logs is, if not where it usually is
    #[arg(long = "cloudwatch-endpoint", value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Days that a group keeps events, of one that is made here [default: for ever]
    #[arg(long = "cloudwatch-retention-days", value_name = "N")]
    pub(crate) retention_days: Option<i32>,
}

#[cfg(feature = "otlp")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Outputs over the network")]
pub(crate) struct OtlpArgs {
    /// The collector; over HTTP, /v1/logs is added where there is no path
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// What it speaks there
    #[arg(long, value_enum, default_value_t = OtlpProtocol::Http)]
    pub(crate) otlp_protocol: OtlpProtocol,
    /// Headers of each request, such as those by which it knows who sends; better in the environment than on a command line
    #[arg(
        long,
        value_name = "NAME=VALUE,…",
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) otlp_headers: String,
    /// Compression of requests; not every receiver knows gzip
    #[arg(long, value_enum, default_value_t = OtlpCompression::None)]
    pub(crate) otlp_compression: OtlpCompression,
    /// Attributes of where records come from, besides the host's and the pod's
    #[arg(long, value_name = "NAME=VALUE,…", env = "OTEL_RESOURCE_ATTRIBUTES", default_value = "")]
    pub(crate) otlp_resource: String,
    /// Give each record the line that it was made from (log.record.original), so that the log can be verified from there
    #[arg(long)]
    pub(crate) otlp_original: bool,
}

#[cfg(feature = "otlp")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtlpProtocol {
    /// HTTP with protobuf, usually at port 4318
    #[value(name = "http/protobuf", alias = "http")]
    Http,
    /// gRPC, usually at port 4317
    Grpc,
}

#[cfg(feature = "otlp")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtlpCompression {
    Gzip,
    None,
}

/// What becomes of secrets in arguments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redaction")]
pub(crate) struct RedactArgs {
    /// Replace secrets in arguments by marks
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) redact: Switch,
    /// Rules besides the ones that are built in
    #[arg(long, value_name = "FILE")]
    pub(crate) redact_rules: Option<PathBuf>,
    /// What marks are made with, so that equal secrets have equal marks in all runs that share it [default: another one for
    /// each run of the program]
    #[arg(long, value_name = "FILE")]
    pub(crate) redact_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

fn parse_line_bytes(word: &str) -> Result<u32, String> {
    match parse_bytes_u32(word)? {
        bytes if bytes >= MIN_LINE => Ok(bytes),
        _ => Err(format!("at least {MIN_LINE}")),
    }
}
