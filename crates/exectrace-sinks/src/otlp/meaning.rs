//! What the answers of a collector mean.

use std::time::Duration;

use tonic::{Code, Status};

use crate::destination::SendError;

const WHO: &str = "give it what the collector asks for (--otlp-headers, or OTEL_EXPORTER_OTLP_HEADERS)";
const WHERE: &str =
    "is this the collector's address, and the protocol that it speaks there (--otlp-endpoint, --otlp-protocol)?";

/// Of an HTTP status that is not 2xx.
pub(super) fn of_status(status: u16, text: &str, after: Option<Duration>) -> SendError {
    let text: String = text.chars().filter(|character| !character.is_control()).take(200).collect();
    let why = format!("the collector answers {status} {text}").trim_end().to_owned();
    match status {
        408 | 429 => SendError::Retryable { why, after },
        501 | 505 => SendError::Refused { why, advice: WHERE.to_owned() },
        500.. => SendError::Retryable { why, after },
        401 | 403 | 407 => SendError::Refused { why, advice: WHO.to_owned() },
        400 | 411..=417 | 422 | 431 => SendError::Rejected { why },
        _ => SendError::Refused { why, advice: WHERE.to_owned() },
    }
}

/// Of a status of gRPC's that is not OK.
pub(super) fn of_code(status: &Status) -> SendError {
    let why = format!("the collector answers {:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => SendError::Refused { why, advice: WHO.to_owned() },
        Code::Unimplemented | Code::NotFound => SendError::Refused { why, advice: WHERE.to_owned() },
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => SendError::Rejected { why },
        // The same code says that it is busy, and that a request is too large for ever.
        Code::ResourceExhausted if status.message().contains("larger than") => SendError::Rejected { why },
        _ => SendError::Retryable { why, after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &SendError) -> &'static str {
        match error {
            SendError::Retryable { .. } => "retry",
            SendError::Rejected { .. } => "rejected",
            SendError::Refused { .. } => "refused",
        }
    }

    #[test]
    fn each_answer_is_tried_again_or_not() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(&of_status(status, "", None)), "retry", "{status}");
        }
        for status in [400, 413, 415, 422] {
            assert_eq!(kind(&of_status(status, "", None)), "rejected", "{status}");
        }
        for status in [301, 401, 403, 404, 405, 501] {
            assert_eq!(kind(&of_status(status, "", None)), "refused", "{status}");
        }
        let of = |code, text: &str| kind(&of_code(&Status::new(code, text)));
        assert_eq!(of(Code::Unavailable, ""), "retry");
        assert_eq!(of(Code::ResourceExhausted, "too many requests"), "retry");
        assert_eq!(of(Code::ResourceExhausted, "grpc: received message larger than max"), "rejected");
        assert_eq!(of(Code::InvalidArgument, ""), "rejected");
        assert_eq!(of(Code::Unauthenticated, ""), "refused");
        assert_eq!(of(Code::Unimplemented, ""), "refused");
    }

    #[test]
    fn an_answer_cannot_write_on_the_terminal() {
        assert_eq!(of_status(400, "bad\u{1b}[2J\nthing", None).to_string(), "the collector answers 400 bad[2Jthing");
    }
}
