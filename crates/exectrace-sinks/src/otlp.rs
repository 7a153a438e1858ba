//! OpenTelemetry's protocol (OTLP), logs signal: over gRPC, or HTTP with protobuf.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>; names of attributes are those of the semantic conventions. One thing is
//! done otherwise than the protocol says: a 500 is tried again, because a line that is dropped for a moment's trouble of a
//! collector is lost for good, and one that is sent twice has its number.

mod grpc;
mod http;
mod list;
mod meaning;
mod record;
#[cfg(test)]
mod tests;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest};

use self::grpc::Grpc;
use self::http::Http;
pub use self::list::{ListError, parse_list};
pub use self::record::Resource;
use crate::destination::{Destination, Limits, Line, Receipt, SendError};

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpOptions {
    /// `http://` or `https://`, a host, and a port. Over HTTP a path is kept; without one it is `/v1/logs`.
    pub endpoint: String,
    /// How.
    pub protocol: Protocol,
    /// Headers of each request, which can be secret.
    pub headers: Vec<(String, String)>,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
    /// Where records come from.
    pub resource: Resource,
    /// Whether a record has the line that it was made from, as `log.record.original`.
    pub original: bool,
    /// How long one attempt may take; `None`: 25 s.
    pub attempt: Option<Duration>,
}

/// How requests get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, usually at port 4317.
    Grpc,
    /// HTTP with protobuf, usually at port 4318.
    Http,
}

/// What is wrong with the options.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is no URL.
    #[error("{0:?} is no http:// or https:// URL: {1}")]
    Endpoint(String, String),
    /// A header cannot be one.
    #[error("the header {0:?} cannot be sent")]
    Header(String),
    /// TLS cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

/// A collector.
pub struct Otlp {
    options: OtlpOptions,
    transport: Transport,
}

enum Transport {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

impl Otlp {
    /// Nothing is asked before the first batch.
    pub fn new(options: OtlpOptions) -> Result<Otlp, OtlpError> {
        let transport = match options.protocol {
            Protocol::Grpc => Transport::Grpc(Box::new(Grpc::new(&options)?)),
            Protocol::Http => Transport::Http(Box::new(Http::new(&options)?)),
        };
        Ok(Otlp { options, transport })
    }
}

/// One attempt, where nothing else is said.
const ATTEMPT: Duration = Duration::from_secs(25);

impl Destination for Otlp {
    const NAME: &'static str = "otlp";

    /// A receiver of gRPC takes 4 MiB if nobody told it otherwise. Records are larger than lines: `overhead` is what their
    /// names can add.
    fn limits(&self) -> Limits {
        let factor = if self.options.original { 3 } else { 2 };
        Limits {
            batch_bytes: (4 << 20) / factor - (64 << 10),
            overhead: 1024,
            line_bytes: (2 << 20) / factor,
            batch_lines: 2_000,
            span: None,
        }
    }

    async fn send(&mut self, lines: &[Line]) -> Result<Receipt, SendError> {
        let request = record::request(lines, &self.options);
        let partial = match &mut self.transport {
            Transport::Http(http) => http.export(&request).await?,
            Transport::Grpc(grpc) => grpc.export(request).await?,
        };
        Ok(receipt(partial))
    }
}

/// What of a request that was taken was not.
fn receipt(partial: Option<ExportLogsPartialSuccess>) -> Receipt {
    let Some(ExportLogsPartialSuccess { rejected_log_records, error_message }) = partial else {
        return Receipt::default();
    };
    match u64::try_from(rejected_log_records) {
        Ok(count) if count > 0 => Receipt { rejected_somewhere: Some((count, error_message)), ..Receipt::default() },
        _ => {
            if !error_message.is_empty() {
                tracing::warn!(sink = Otlp::NAME, "the collector took all, and says: {error_message}");
            }
            Receipt::default()
        }
    }
}

type Request = ExportLogsServiceRequest;
