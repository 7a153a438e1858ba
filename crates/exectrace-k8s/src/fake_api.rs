//! A small API server for tests: objects by path, with versions, conflicts and JSON patches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::{Value, json};

/// The objects. Clones have the same.
#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    writes: u64,
    failing: Option<(u32, u16)>,
}

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<Response, Infallible>(api.answer(request.map(Body::new)).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.0.lock().expect("no panic").store(path.to_owned(), object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().expect("no panic").objects.get(path).cloned()
    }

    /// All objects under a path.
    pub(crate) fn list(&self, under: &str) -> Vec<Value> {
        let state = self.0.lock().expect("no panic");
        state.objects.iter().filter(|(path, _)| path.starts_with(under)).map(|(_, object)| object.clone()).collect()
    }

    /// How often clients wrote.
    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().expect("no panic").writes
    }

    /// Answers the next writes with a status.
    pub(crate) fn fail_writes(&self, count: u32, status: u16) {
        self.0.lock().expect("no panic").failing = Some((count, status));
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let mut state = self.0.lock().expect("no panic");
        let (status, object) = match state.carry_out(&parts.method, path, sent) {
            Ok(object) => (StatusCode::OK, object),
            Err(status) => {
                let code = status.as_u16();
                let reason = if status == StatusCode::NOT_FOUND { "NotFound" } else { "Conflict" };
                (status, json!({"kind": "Status", "status": "Failure", "code": code, "message": "", "reason": reason}))
            }
        };
        (status, [(header::CONTENT_TYPE, "application/json")], object.to_string()).into_response()
    }
}

impl State {
    fn carry_out(&mut self, method: &Method, path: String, sent: Value) -> Result<Value, StatusCode> {
        if method == Method::GET {
            return self.objects.get(&path).cloned().ok_or(StatusCode::NOT_FOUND);
        }
        if let Some((count @ 1.., status)) = &mut self.failing {
            *count -= 1;
            return Err(StatusCode::from_u16(*status).expect("a status"));
        }
        self.writes += 1;
        if method == Method::POST {
            let path = format!("{path}/{}", sent["metadata"]["name"].as_str().expect("a name"));
            if self.objects.contains_key(&path) {
                return Err(StatusCode::CONFLICT);
            }
            return Ok(self.store(path, sent));
        }
        let mut object = self.objects.get(&path).cloned().ok_or(StatusCode::NOT_FOUND)?;
        if method == Method::PATCH && sent.is_array() {
            let patch = serde_json::from_value::<json_patch::Patch>(sent).map_err(|_| StatusCode::BAD_REQUEST)?;
            json_patch::patch(&mut object, &patch).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
        } else if method == Method::PATCH {
            json_patch::merge(&mut object, &sent);
        } else {
            let version = &sent["metadata"]["resourceVersion"];
            if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                return Err(StatusCode::CONFLICT);
            }
            object = sent;
        }
        Ok(self.store(path, object))
    }

    fn store(&mut self, path: String, mut object: Value) -> Value {
        let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
        object["metadata"]["resourceVersion"] = json!((version.unwrap_or_default() + 1).to_string());
        self.objects.insert(path, object.clone());
        object
    }
}
