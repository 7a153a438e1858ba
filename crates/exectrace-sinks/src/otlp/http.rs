//! Over HTTP, with protobuf.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use super::{ATTEMPT, OtlpError, OtlpOptions, Request, meaning};
use crate::destination::SendError;
use crate::errors::in_words;
use crate::tls;

/// Bytes of an answer that are read.
const ANSWER: usize = 64 << 10;

pub(super) struct Http {
    client: Client,
    url: Url,
    gzip: bool,
}

impl Http {
    pub(super) fn new(options: &OtlpOptions) -> Result<Http, OtlpError> {
        let endpoint = &options.endpoint;
        let mut url = Url::parse(endpoint).map_err(|error| OtlpError::Endpoint(endpoint.clone(), error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OtlpError::Endpoint(endpoint.clone(), format!("it begins with {}", url.scheme())));
        }
        if url.path() == "/" {
            url.set_path("/v1/logs");
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let header = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
            let (name, mut value) = header.ok_or_else(|| OtlpError::Header(name.clone()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
        if options.gzip {
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        let tls = |error: reqwest::Error| OtlpError::Tls(in_words(&error));
        tls::use_ring();
        let attempt = options.attempt.unwrap_or(ATTEMPT);
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("exectrace/", env!("CARGO_PKG_VERSION")))
            .tls_certs_only(Certificate::from_pem_bundle(tls::trusted().as_bytes()).map_err(tls)?)
            .connect_timeout(attempt.min(Duration::from_secs(5)))
            .timeout(attempt)
            // What is sent goes where the admin said, and nowhere else.
            .redirect(Policy::none())
            .build()
            .map_err(tls)?;
        Ok(Http { client, url, gzip: options.gzip })
    }

    pub(super) async fn export(&self, request: &Request) -> Result<Option<ExportLogsPartialSuccess>, SendError> {
        let body = request.encode_to_vec();
        let body = if self.gzip { compressed(&body) } else { body };
        let sent = self.client.post(self.url.clone()).body(body).send().await;
        let mut answer = sent.map_err(|error| SendError::Retryable { why: in_words(&error), after: None })?;
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
        let mut text = Vec::new();
        while text.len() < ANSWER
            && let Ok(Some(part)) = answer.chunk().await
        {
            text.extend_from_slice(&part);
        }
        if status.is_success() {
            // Whatever the answer is, or lacks: the request was taken.
            return Ok(ExportLogsServiceResponse::decode(&text[..]).ok().and_then(|answer| answer.partial_success));
        }
        Err(meaning::of_status(status.as_u16(), &String::from_utf8_lossy(&text), after.map(Duration::from_secs)))
    }
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(body).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed,
        Err(error) => unreachable!("memory can be written: {error}"),
    }
}
