//! Over gRPC.

use std::str::FromStr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

use super::{ATTEMPT, OtlpError, OtlpOptions, Request, meaning};
use crate::destination::SendError;
use crate::errors::in_words;
use crate::tls;

pub(super) struct Grpc {
    endpoint: Endpoint,
    headers: MetadataMap,
    gzip: bool,
    /// Made at the first request, by the runtime that drives it.
    client: Option<LogsServiceClient<Channel>>,
}

impl Grpc {
    pub(super) fn new(options: &OtlpOptions) -> Result<Grpc, OtlpError> {
        Ok(Grpc { endpoint: endpoint(options)?, headers: headers(options)?, gzip: options.gzip, client: None })
    }

    fn client(&mut self) -> &mut LogsServiceClient<Channel> {
        self.client.get_or_insert_with(|| {
            let client = LogsServiceClient::new(self.endpoint.connect_lazy());
            let client = client.accept_compressed(CompressionEncoding::Gzip);
            if self.gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client }
        })
    }

    pub(super) async fn export(&mut self, request: Request) -> Result<Option<ExportLogsPartialSuccess>, SendError> {
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = self.headers.clone();
        match self.client().export(request).await {
            Ok(answer) => Ok(answer.into_inner().partial_success),
            Err(status) => Err(meaning::of_code(&status)),
        }
    }
}

fn endpoint(options: &OtlpOptions) -> Result<Endpoint, OtlpError> {
    let url = &options.endpoint;
    let wrong = |why: String| OtlpError::Endpoint(url.clone(), why);
    let uri = Uri::from_str(url).map_err(|error| wrong(error.to_string()))?;
    let attempt = options.attempt.unwrap_or(ATTEMPT);
    let scheme = uri.scheme_str().map(str::to_owned);
    let endpoint = Endpoint::from(uri)
        .connect_timeout(attempt.min(Duration::from_secs(5)))
        .timeout(attempt)
        .user_agent(concat!("exectrace/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| wrong(error.to_string()))?;
    match scheme.as_deref() {
        Some("http") => Ok(endpoint),
        Some("https") => {
            tls::use_ring();
            let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(tls::trusted()));
            endpoint.tls_config(trusted).map_err(|error| OtlpError::Tls(in_words(&error)))
        }
        _ => Err(wrong("it begins with neither".to_owned())),
    }
}

fn headers(options: &OtlpOptions) -> Result<MetadataMap, OtlpError> {
    let mut map = MetadataMap::new();
    for (name, value) in &options.headers {
        let key = name.to_ascii_lowercase().parse::<AsciiMetadataKey>().ok();
        let header = key.zip(AsciiMetadataValue::from_str(value).ok());
        let (key, mut value) = header.ok_or_else(|| OtlpError::Header(name.clone()))?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}
