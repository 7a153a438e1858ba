//! A client of CloudWatch Logs, and what its failures mean.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::http::HttpResponse;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::destination::SendError;
use crate::errors::in_words;
use crate::tls;

/// Where CloudWatch Logs is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// The region; `None`: as by all of AWS' tools.
    pub region: Option<String>,
    /// Another address than the region's, such as that of an endpoint in a VPC.
    pub endpoint_url: Option<String>,
    /// How long one attempt may take; `None`: 25 s.
    pub attempt: Option<Duration>,
}

/// Never asks the network: credentials are found at the first request.
pub(super) async fn connect(options: &ClientOptions) -> Client {
    let trusted = TrustStore::empty().with_pem_certificate(tls::trusted());
    let mut http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    if let Ok(context) = TlsContext::builder().with_trust_store(trusted).build() {
        http = http.tls_context(context);
    }
    let attempt = options.attempt.unwrap_or(Duration::from_secs(25));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(attempt.min(Duration::from_secs(5)))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.build_https())
        .timeout_config(timeouts)
        // Who sends knows better when to try again, and keeps what is to be sent.
        .retry_config(RetryConfig::disabled());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    Client::new(&loader.load().await)
}

/// What a failure is called, as far as it has a name.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

/// What to do about a failure of `action`, an action of IAM's.
pub(super) fn meaning<E>(error: &SdkError<E, HttpResponse>, action: &str) -> SendError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let why = in_words(error);
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => SendError::Retryable { why, after: None },
        SdkError::DispatchFailure(failure) if failure.is_timeout() || failure.is_io() => {
            SendError::Retryable { why, after: None }
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => not_dispatched(why),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let after = service.raw().headers().get("retry-after").and_then(|after| after.parse().ok());
            let after = after.map(Duration::from_secs);
            of_service(code(error), status, why, after, action)
        }
        _ => SendError::Retryable { why, after: None },
    }
}

fn not_dispatched(why: String) -> SendError {
    let text = why.to_lowercase();
    let advice = if text.contains("region") {
        "name the region (--cloudwatch-region, or AWS_REGION)"
    } else if text.contains("credential") || text.contains("identity") {
        "give it credentials: a service account with a role (IRSA, Pod Identity), an instance's role, or the environment"
    } else {
        return SendError::Retryable { why, after: None };
    };
    SendError::Refused { why, advice: advice.to_owned() }
}

fn of_service(code: &str, status: u16, why: String, after: Option<Duration>, action: &str) -> SendError {
    let refused = |advice: String| SendError::Refused { why: why.clone(), advice };
    match code {
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
            refused(format!("allow {action} on arn:aws:logs:REGION:ACCOUNT:log-group:GROUP:* to the role that it has"))
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired" => refused(
            "its credentials are not those of an account that this region knows; is the clock right?".to_owned(),
        ),
        "ResourceNotFoundException" => refused("make the log group, or let it do so".to_owned()),
        // Credentials are found anew when they have expired.
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => SendError::Retryable { why, after },
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "ServiceUnavailableException"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalServerError"
        | "OperationAbortedException"
        | "RequestTimeout"
        | "SlowDown" => SendError::Retryable { why, after },
        "InvalidParameterException"
        | "InvalidSequenceTokenException"
        | "SerializationException"
        | "ValidationException" => SendError::Rejected { why },
        _ if status == 408 || status == 429 || status >= 500 => SendError::Retryable { why, after },
        _ if status == 401 || status == 403 => refused(format!("allow {action} to the role that it has")),
        _ if status >= 400 => SendError::Rejected { why },
        // An answer that cannot be understood says nothing of what became of the request.
        _ => SendError::Retryable { why, after },
    }
}
