//! HTTP around the store.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

use crate::Shared;
use crate::fault::How;
use crate::pod_log::Wanted;
use crate::request::{Seen, Target, parse_query};
use crate::store::{PatchForm, Refusal, Store};

/// How long a watch lasts that does not say it.
const WATCH: Duration = Duration::from_secs(300);

pub(crate) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket that does not block");
    let router = axum::Router::new().fallback(answer).with_state(shared);
    axum::serve(listener, router).await.expect("a server on loopback");
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = parse_query(uri.query().unwrap_or_default());
    let body = if body.is_empty() { Value::Null } else { parse_body(&body) };
    let seen =
        Seen { method: method.to_string(), path: uri.path().to_owned(), query: query.clone(), body: body.clone() };
    let path_and_query = uri.path_and_query().map_or(uri.path(), |both| both.as_str());
    let struck = shared.change(|store| {
        store.seen.push(seen);
        store.strike(method.as_str(), path_and_query)
    });
    match struck {
        Some(How::Status(code)) => return refuse(&Refusal(code, reason(code), "the test wants it so".to_owned())),
        Some(How::Dropped) => return dropped(),
        None => {}
    }
    let Some(target) = Target::parse(uri.path()) else { return discover(&shared.look(), uri.path()) };
    if shared.look().kind(&target).is_none() {
        return not_served();
    }
    let manager = query.get("fieldManager").cloned().unwrap_or_else(|| agent(&headers));
    let result = match (method.as_str(), target.subresource.as_deref()) {
        ("GET", Some("log")) => return log(shared, &target, &query),
        ("GET", _) if query.get("watch").is_some_and(|word| word == "true" || word == "1") => {
            return watch(shared, target, &query);
        }
        ("GET", _) if target.name.is_none() => Ok(list(&shared.look(), &target, &query)),
        ("GET", _) => shared.look().get(&target),
        ("POST", None) if target.plural == "selfsubjectreviews" => who(&shared.look()),
        ("POST", None) => shared.change(|store| store.create(&target, body, &manager)),
        ("PUT", _) => shared.change(|store| store.replace(&target, body, &manager)),
        ("PATCH", _) => {
            let form = patch_form(&headers);
            form.and_then(|form| shared.change(|store| store.patch(&target, form, body, &manager)))
        }
        ("DELETE", None) => shared.change(|store| store.delete(&target)),
        _ => Err(Refusal(405, "MethodNotAllowed", "this server does not do that".to_owned())),
    };
    match result {
        Ok(object) => {
            let code = if method == Method::POST { StatusCode::CREATED } else { StatusCode::OK };
            (code, axum_json(&object)).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// JSON, or the YAML that kubectl sends to apply.
fn parse_body(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    serde_json::from_str(&text).ok().or_else(|| serde_saphyr::from_str(&text).ok()).unwrap_or(Value::Null)
}

fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    agent.split('/').next().unwrap_or(agent).to_owned()
}

fn patch_form(headers: &HeaderMap) -> Result<PatchForm, Refusal> {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match form.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => Ok(PatchForm::Merge),
        "application/json-patch+json" => Ok(PatchForm::Json),
        "application/apply-patch+yaml" => Ok(PatchForm::Apply),
        other => Err(Refusal(415, "UnsupportedMediaType", format!("no patch is of the type {other}"))),
    }
}

fn list(store: &Store, target: &Target, query: &BTreeMap<String, String>) -> Value {
    let kind = store.kind(target).map_or("", |kind| kind.kind);
    let items = store.list(target, selector(query, "labelSelector"), selector(query, "fieldSelector"));
    json!({
        "apiVersion": api_version(&target.group, &target.version),
        "kind": format!("{kind}List"),
        "metadata": {"resourceVersion": store.version().to_string()},
        "items": items,
    })
}

fn selector<'a>(query: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    query.get(key).map(String::as_str)
}

fn who(store: &Store) -> Result<Value, Refusal> {
    let Some(user) = &store.user else {
        return Err(Refusal(404, "NotFound", "the server could not find the requested resource".to_owned()));
    };
    Ok(json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {},
        "status": {"userInfo": {"username": user}},
    }))
}

/// What a watch gives: what changed since its version, and then what changes, until its time is over.
fn watch(shared: Arc<Shared>, target: Target, query: &BTreeMap<String, String>) -> Response {
    let labels = selector(query, "labelSelector").map(str::to_owned);
    let fields = selector(query, "fieldSelector").map(str::to_owned);
    let seconds = query.get("timeoutSeconds").and_then(|word| word.parse().ok());
    let deadline = tokio::time::Instant::now() + seconds.map_or(WATCH, Duration::from_secs);
    // From nothing on, a watch begins with all that is there.
    let from = query.get("resourceVersion").and_then(|word| word.parse().ok()).unwrap_or(0);
    let listener = shared.listen();
    let events = stream::unfold((from, listener), move |(from, mut listener)| {
        let (shared, target, labels, fields) = (Arc::clone(&shared), target.clone(), labels.clone(), fields.clone());
        async move {
            loop {
                listener.borrow_and_update();
                let (events, version) = {
                    let store = shared.look();
                    (store.since(from, &target, labels.as_deref(), fields.as_deref()), store.version())
                };
                if !events.is_empty() {
                    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
                    return Some((Ok::<_, Infallible>(text), (version, listener)));
                }
                tokio::select! {
                    changed = listener.changed() => changed.ok()?,
                    () = tokio::time::sleep_until(deadline) => return None,
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(events)).into_response()
}

fn log(shared: Arc<Shared>, target: &Target, query: &BTreeMap<String, String>) -> Response {
    let pod = match shared.look().get(target) {
        Ok(pod) => pod,
        Err(refusal) => return refuse(&refusal),
    };
    let container = match container(&pod, query.get("container").map(String::as_str)) {
        Ok(container) => container,
        Err(words) => return refuse(&Refusal(400, "BadRequest", words)),
    };
    let name = target.name.clone().unwrap_or_default();
    let namespace = target.namespace.clone();
    let wanted = Wanted::parse(query);
    let listener = shared.listen();
    let (first, count) = {
        let mut store = shared.look();
        let log = store.log(&namespace, &name, &container);
        (wanted.first(log), log.len())
    };
    if !wanted.follow {
        return first.into_response();
    }
    let wanted = Arc::new(wanted);
    let lines = stream::unfold((Some(first), count, listener), move |(first, count, mut listener)| {
        let (shared, wanted) = (Arc::clone(&shared), Arc::clone(&wanted));
        let (namespace, name, container) = (namespace.clone(), name.clone(), container.clone());
        async move {
            if let Some(first) = first {
                return Some((Ok::<_, Infallible>(first), (None, count, listener)));
            }
            loop {
                listener.borrow_and_update();
                let (text, now, ended) = {
                    let mut store = shared.look();
                    let log = store.log(&namespace, &name, &container);
                    (wanted.after(log, count), log.len(), log.has_ended())
                };
                if !text.is_empty() {
                    return Some((Ok(text), (None, now, listener)));
                }
                if ended {
                    return None;
                }
                listener.changed().await.ok()?;
            }
        }
    });
    Body::from_stream(lines).into_response()
}

/// The container that a log is asked of, in the words of the real server where it is none.
fn container(pod: &Value, asked: Option<&str>) -> Result<String, String> {
    let of = |key: &str| pod["spec"][key].as_array().cloned().unwrap_or_default();
    let name = |container: &Value| container["name"].as_str().unwrap_or_default().to_owned();
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let main: Vec<String> = of("containers").iter().map(name).collect();
    let all: Vec<String> = of("initContainers").iter().map(name).chain(main.iter().cloned()).collect();
    match asked.filter(|asked| !asked.is_empty()) {
        Some(asked) if all.iter().any(|name| name == asked) => Ok(asked.to_owned()),
        Some(asked) => Err(format!("container {asked} is not valid for pod {pod_name}")),
        None if main.len() == 1 => Ok(main[0].clone()),
        None => {
            Err(format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", all.join(" ")))
        }
    }
}

/// What kubectl asks before anything else.
fn discover(store: &Store, path: &str) -> Response {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let resources = |group: &str, version: &str| {
        let verbs = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
        let served = store.kinds().iter().filter(|kind| kind.group == group && kind.version == version);
        let resources: Vec<Value> = served
            .map(|kind| {
                let singular = kind.kind.to_lowercase();
                json!({"name": kind.plural, "singularName": singular, "namespaced": kind.namespaced,
                       "kind": kind.kind, "verbs": verbs})
            })
            .collect();
        axum_json(&json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": api_version(group, version), "resources": resources}))
    };
    match words.as_slice() {
        ["api"] => axum_json(&json!({"kind": "APIVersions", "versions": ["v1"]})).into_response(),
        ["apis"] => {
            let mut groups: Vec<Value> = Vec::new();
            for kind in store.kinds().iter().filter(|kind| !kind.group.is_empty()) {
                let version = json!({"groupVersion": api_version(kind.group, kind.version), "version": kind.version});
                let group = json!({"name": kind.group, "versions": [version], "preferredVersion": version});
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            axum_json(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})).into_response()
        }
        ["api", version] => resources("", version).into_response(),
        ["apis", group, version] => resources(group, version).into_response(),
        ["version"] => axum_json(&json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})).into_response(),
        ["livez" | "readyz" | "healthz"] => "ok".into_response(),
        _ => not_served(),
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn axum_json(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}

fn refuse(Refusal(code, reason, words): &Refusal) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": words, "reason": reason, "code": code});
    let code = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, axum_json(&status)).into_response()
}

/// As the real server answers where nobody is responsible: with no `Status` at all.
fn not_served() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

fn dropped() -> Response {
    let pieces = [Ok("{".to_owned()), Err(std::io::Error::other("the test wants it so"))];
    let body = Body::from_stream(stream::iter(pieces));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    }
}
