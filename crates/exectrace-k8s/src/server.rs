//! The webhook's HTTP: one path for the API server, and three, on an address of their own, for who looks after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::events::Teller;
use crate::live::Live;
use crate::metrics::{MEDIA_TYPE, Metrics};
use crate::review;

/// Bytes of a question. The API server's own limit for an object is 3 MiB, with which comes little else.
const BODY_LIMIT: usize = 4 << 20;
/// How long a question may take to come in; the API server waits for an answer no longer than 30 seconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the paths share.
#[derive(Clone)]
pub struct Shared {
    /// Settings and switch.
    pub live: Arc<Live>,
    /// Where is counted.
    pub metrics: Metrics,
    /// Takes what is to be told in a pod's namespace. It must not block.
    pub tell: Teller,
    /// Whether the process is about to end.
    pub ending: Arc<AtomicBool>,
}

/// The path for the API server, to be served by TLS: `POST /mutate`.
pub fn admission(shared: Shared) -> Router {
    Router::new().route("/mutate", post(mutate)).layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(shared)
}

/// `GET /healthz`, `/readyz` and `/metrics`.
pub fn health(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn mutate(State(shared): State<Shared>, headers: HeaderMap, request: Request) -> Response {
    let begun = Instant::now();
    if !is_json(&headers) {
        shared.metrics.not_answered("malformed");
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type of a question is application/json");
    }
    if announced_length(&headers) > BODY_LIMIT {
        shared.metrics.not_answered("malformed");
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the question is larger than any pod");
    }
    let question = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(question)) => question,
        Ok(Err(rejection)) => {
            shared.metrics.not_answered("malformed");
            return rejection.into_response();
        }
        Err(_) => {
            shared.metrics.not_answered("malformed");
            return refusal(StatusCode::REQUEST_TIMEOUT, "the question did not come in whole in time");
        }
    };
    let Some(settings) = shared.live.in_force() else {
        shared.metrics.not_answered("not-ready");
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "whether process logging is switched on is not known yet: ask again",
        );
    };
    match review::answer(&question, &settings) {
        Ok(answer) => {
            shared.metrics.answered(answer.verdict, begun.elapsed());
            if let Some(notice) = answer.notice {
                let about = &notice.about;
                tracing::warn!(
                    namespace = about.namespace,
                    kind = about.kind,
                    name = about.name,
                    reason = notice.reason,
                    note = notice.note,
                    "a pod was refused, or let in with a warning"
                );
                (shared.tell)(notice);
            }
            ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
        }
        Err(error) => {
            shared.metrics.not_answered("malformed");
            tracing::warn!("a question that is none: {error}");
            refusal(StatusCode::BAD_REQUEST, &error.to_string())
        }
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    if shared.ending.load(Ordering::Relaxed) {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "this process is about to end");
    }
    match shared.live.enabled() {
        Some(_) => "ok\n".into_response(),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, "whether process logging is switched on is not known yet"),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("the metrics cannot be written: {error}")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// So that what is too large is not even read.
fn announced_length(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Body::from(format!("{message}\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;
    use crate::live::SwitchHolder;
    use crate::notice::Notice;
    use crate::settings::Settings;

    struct Asked {
        shared: Shared,
        told: Arc<Mutex<Vec<Notice>>>,
    }

    impl Asked {
        fn new(holder: SwitchHolder) -> Asked {
            let told = Arc::new(Mutex::new(Vec::new()));
            let teller = Arc::clone(&told);
            let shared = Shared {
                live: Arc::new(Live::new(Settings::default(), holder)),
                metrics: Metrics::default(),
                tell: Arc::new(move |notice| teller.lock().expect("no panic").push(notice)),
                ending: Arc::default(),
            };
            Asked { shared, told }
        }

        async fn post(&self, media_type: Option<&str>, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
            let mut request = Request::post("/mutate");
            if let Some(media_type) = media_type {
                request = request.header(header::CONTENT_TYPE, media_type);
            }
            let request = request.body(body.into()).expect("a request");
            sent(admission(self.shared.clone()), request).await
        }

        async fn get(&self, path: &str) -> (StatusCode, String) {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let (status, body) = sent(health(self.shared.clone()), request).await;
            (status, String::from_utf8(body).expect("text"))
        }

        async fn ask_about(&self, object: Value) -> Value {
            let (status, body) = self.post(Some("application/json"), question(object)).await;
            assert_eq!(status, StatusCode::OK);
            let mut review: Value = serde_json::from_slice(&body).expect("JSON");
            review["response"].take()
        }
    }

    async fn sent(router: Router, request: Request) -> (StatusCode, Vec<u8>) {
        let response = router.oneshot(request).await.expect("infallible");
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body").to_vec())
    }

    fn question(object: Value) -> String {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": "coder", "object": object,
        }})
        .to_string()
    }

    fn pod(containers: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "main"}, "spec": {"containers": containers}})
    }

    #[tokio::test]
    async fn a_pod_gets_its_patch() {
        let asked = Asked::new(SwitchHolder::Settings);
        let response = asked.ask_about(pod(json!([{"name": "dev"}]))).await;
        assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
        let (_, metrics) = asked.get("/metrics").await;
        assert!(metrics.contains(r#"requests_total{outcome="patched"} 1"#), "{metrics}");
    }

    #[tokio::test]
    async fn pods_of_any_size_and_with_anything_in_them_are_answered() {
        let asked = Asked::new(SwitchHolder::Settings);
        let hundred: Vec<Value> = (0..100).map(|index| json!({"name": format!("c{index}")})).collect();
        let mut unusual = pod(json!([{"name": "dev", "aFieldOfTheFuture": {"deep": [1, null]}}]));
        unusual["metadata"]["labels"] = json!({"com.coder.username": "ж\u{0}\u{202e}\"\\/~1", "": "", "a/b~c": "\n"});
        unusual["spec"]["another"] = json!("field");
        for object in [pod(json!(hundred)), pod(json!([])), pod(Value::Null), unusual] {
            assert_eq!(asked.ask_about(object).await["allowed"], true);
        }
    }

    #[tokio::test]
    async fn what_is_no_question_is_a_client_error_with_a_message() {
        let asked = Asked::new(SwitchHolder::Settings);
        for body in ["", "{", "[]", "\u{0}", r#"{"apiVersion":"v1","kind":"Pod"}"#] {
            let (status, message) = asked.post(Some("application/json; charset=utf-8"), body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert!(!message.is_empty());
        }
        let (_, metrics) = asked.get("/metrics").await;
        assert!(metrics.contains(r#"requests_total{outcome="malformed"} 5"#), "{metrics}");
    }

    #[tokio::test]
    async fn another_content_type_is_not_read() {
        let asked = Asked::new(SwitchHolder::Settings);
        for media_type in [None, Some("text/plain"), Some("application/jsonx"), Some("")] {
            let (status, _) = asked.post(media_type, question(pod(json!([])))).await;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media_type:?}");
        }
    }

    #[tokio::test]
    async fn a_body_of_10_mb_is_too_large() {
        let asked = Asked::new(SwitchHolder::Settings);
        let (status, _) = asked.post(Some("application/json"), vec![b' '; 10_000_000]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_not_there() {
        let asked = Asked::new(SwitchHolder::Settings);
        let get = Request::get("/mutate").body(Body::empty()).expect("a request");
        assert_eq!(sent(admission(asked.shared.clone()), get).await.0, StatusCode::METHOD_NOT_ALLOWED);
        let other = Request::post("/validate").body(Body::empty()).expect("a request");
        assert_eq!(sent(admission(asked.shared.clone()), other).await.0, StatusCode::NOT_FOUND);
        assert_eq!(asked.get("/mutate").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn until_the_switch_is_known_the_webhook_is_healthy_and_not_ready() {
        let asked = Asked::new(SwitchHolder::Cluster);
        assert_eq!(asked.get("/healthz").await.0, StatusCode::OK);
        assert_eq!(asked.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (status, _) = asked.post(Some("application/json"), question(pod(json!([])))).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        asked.shared.live.set_switch(false);
        assert_eq!(asked.get("/readyz").await.0, StatusCode::OK);
        assert_eq!(asked.ask_about(pod(json!([{"name": "dev"}]))).await, json!({"uid": "u-1", "allowed": true}));
    }

    #[tokio::test]
    async fn a_process_that_is_about_to_end_answers_and_is_not_ready() {
        let asked = Asked::new(SwitchHolder::Settings);
        asked.shared.ending.store(true, Ordering::Relaxed);
        assert_eq!(asked.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(asked.get("/healthz").await.0, StatusCode::OK);
        assert_eq!(asked.ask_about(pod(json!([{"name": "dev"}]))).await["allowed"], true);
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_counted_by_reason() {
        let asked = Asked::new(SwitchHolder::Settings);
        let response = asked.ask_about(pod(json!([{"name": "exectrace", "image": "example.com/x"}]))).await;
        assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
        let told: Vec<&str> = asked.told.lock().expect("no panic").iter().map(|notice| notice.reason).collect();
        assert_eq!(told, ["WorkspaceRefused"]);
        let (_, metrics) = asked.get("/metrics").await;
        assert!(metrics.contains(r#"refusals_total{reason="impostor"} 1"#), "{metrics}");
    }
}
