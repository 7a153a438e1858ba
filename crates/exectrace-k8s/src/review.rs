//! A question of the API server and the answer to it, as bytes: an `AdmissionReview` of `admission.k8s.io/v1`.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mutate::{Admission, Outcome, Refusal, mutate};
use crate::notice::Notice;
use crate::settings::Settings;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// What is to be sent back, and what to tell about it.
#[derive(Debug)]
pub struct Answer {
    /// The body of the response.
    pub body: Vec<u8>,
    /// What became of the pod.
    pub verdict: Verdict,
    /// What to tell in the pod's namespace.
    pub notice: Option<Notice>,
}

/// What became of a pod, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let in as it is, for it is none of ours to change.
    Untouched,
    /// The sidecar was added.
    Patched,
    /// The sidecar was there already.
    Unchanged,
    /// Let in without a sidecar, though it should have one.
    Untraced,
    /// Not let in, for this reason.
    Refused(&'static str),
}

/// Why there is no answer: what was sent is no question. The HTTP status is 400.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is no JSON, or not of the form.
    #[error("this is no AdmissionReview of admission.k8s.io/v1: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is another kind of object, or of another version.
    #[error(
        "this is {kind:?} of {api_version:?}, and the webhook reads AdmissionReview of admission.k8s.io/v1: set \
         admissionReviewVersions to [v1]"
    )]
    OtherKind {
        /// Its `kind`.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
    /// It has no request, as an answer.
    #[error("this AdmissionReview has no request")]
    NoRequest,
    /// Without one, the API server could not tell which question the answer is for.
    #[error("the request of this AdmissionReview has no uid")]
    NoUid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: GroupVersionKind,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    kind: String,
}

impl Request {
    /// Whether it asks about a pod that is to be created. For anything else the webhook was not meant.
    fn creates_a_pod(&self) -> bool {
        let kind = (self.kind.group.as_str(), self.kind.version.as_str(), self.kind.kind.as_str());
        kind == ("", "v1", "Pod")
            && self.operation == "CREATE"
            && self.sub_resource.as_deref().unwrap_or_default().is_empty()
    }
}

/// Answers a question.
pub fn answer(question: &[u8], settings: &Settings) -> Result<Answer, ReviewError> {
    let review: Review = serde_json::from_slice(question)?;
    if review.kind != KIND || review.api_version != API_VERSION {
        return Err(ReviewError::OtherKind { kind: review.kind, api_version: review.api_version });
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    if request.uid.is_empty() {
        return Err(ReviewError::NoUid);
    }
    if !request.creates_a_pod() {
        return written(json!({"uid": request.uid, "allowed": true}), Verdict::Untouched, None);
    }
    let outcome = mutate(&request.object, settings);
    // A dry run must leave nothing behind.
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let notice = if request.dry_run == Some(true) { None } else { Notice::of(&outcome, &request.object, namespace) };
    match outcome {
        Outcome::Untouched(_) => written(json!({"uid": request.uid, "allowed": true}), Verdict::Untouched, notice),
        Outcome::Admitted(admission) => admitted(&request.uid, &admission, notice),
        Outcome::Refused(refusal) => refused(&request.uid, &refusal, notice),
    }
}

fn admitted(uid: &str, admission: &Admission, notice: Option<Notice>) -> Result<Answer, ReviewError> {
    let verdict = match admission {
        Admission { untraced: Some(_), .. } => Verdict::Untraced,
        Admission { patch, .. } if patch.is_empty() => Verdict::Unchanged,
        _ => Verdict::Patched,
    };
    let mut response = json!({
        "uid": uid,
        "allowed": true,
        "auditAnnotations": {"exectrace": admission.untraced.map_or("traced", |_| "untraced")},
    });
    if let Some(reason) = admission.untraced {
        response["auditAnnotations"]["reason"] = json!(reason);
    }
    if !admission.patch.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(serde_json::to_vec(&admission.patch)?));
    }
    if !admission.warnings.is_empty() {
        response["warnings"] = json!(admission.warnings);
    }
    written(response, verdict, notice)
}

fn refused(uid: &str, refusal: &Refusal, notice: Option<Notice>) -> Result<Answer, ReviewError> {
    let response = json!({
        "uid": uid,
        "allowed": false,
        "auditAnnotations": {"exectrace": "refused", "reason": refusal.reason},
        "status": {
            "code": 403,
            "reason": "Forbidden",
            "message": refusal.message,
            "details": {"causes": [{"reason": refusal.reason, "message": refusal.message}]},
        },
    });
    written(response, Verdict::Refused(refusal.reason), notice)
}

fn written(response: Value, verdict: Verdict, notice: Option<Notice>) -> Result<Answer, ReviewError> {
    let body = serde_json::to_vec(&json!({"apiVersion": API_VERSION, "kind": KIND, "response": response}))?;
    Ok(Answer { body, verdict, notice })
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// JSON of any form, with the names that the webhook looks at.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<f64>().prop_map(|number| json!(number)),
            any::<i64>().prop_map(|number| json!(number)),
            ".{0,8}|exectrace|exectrace-run".prop_map(Value::String),
        ];
        let name = "name|metadata|spec|annotations|containers|initContainers|volumes|volumeMounts|resources|limits|cpu|\
                    ownerReferences|exectrace.dev/status|.{0,4}";
        leaf.prop_recursive(5, 64, 5, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..5).prop_map(Value::Array),
                btree_map(name, inner, 0..5).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_error_and_no_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(answer(&bytes, &Settings::default()).is_err());
        }

        #[test]
        fn any_request_gets_an_answer_or_an_error(request in any_json()) {
            let _ = answer(&question(request), &Settings::default());
        }

        #[test]
        fn any_object_in_the_place_of_a_pod_gets_an_answer(metadata in any_json(), spec in any_json()) {
            let mut request = pod(spec);
            request["object"]["metadata"] = metadata;
            prop_assert!(answer(&question(request), &Settings::default()).is_ok());
        }
    }

    fn question(request: Value) -> Vec<u8> {
        json!({"apiVersion": API_VERSION, "kind": KIND, "request": request}).to_string().into_bytes()
    }

    fn response(question: &[u8], settings: &Settings) -> Value {
        let answer = answer(question, settings).expect("an answer");
        let mut review: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((&review["apiVersion"], &review["kind"]), (&json!(API_VERSION), &json!(KIND)));
        review["response"].take()
    }

    fn pod(spec: Value) -> Value {
        json!({
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": "coder",
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "main-"}, "spec": spec},
        })
    }

    #[test]
    fn the_answer_has_the_uid_of_the_question() {
        let response = response(&question(pod(json!({"containers": [{"name": "dev"}]}))), &Settings::default());
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        assert_eq!(response["patchType"], "JSONPatch");
    }

    #[test]
    fn anything_but_a_pod_that_is_created_is_let_in_as_it_is() {
        for (key, value) in [
            ("operation", json!("UPDATE")),
            ("operation", json!("DELETE")),
            ("operation", json!("CONNECT")),
            ("kind", json!({"group": "apps", "version": "v1", "kind": "Deployment"})),
            ("subResource", json!("ephemeralcontainers")),
        ] {
            let mut request = pod(json!({"containers": [{"name": "dev"}]}));
            request[key] = value;
            let response = response(&question(request), &Settings::default());
            assert_eq!(response, json!({"uid": "u-1", "allowed": true}), "{key}");
        }
    }

    #[test]
    fn a_pod_that_cannot_be_read_is_refused_and_not_let_in_unread() {
        for spec in [json!({"containers": 3}), json!("x"), Value::Null] {
            let response = response(&question(pod(spec)), &Settings::default());
            assert_eq!(response["allowed"], false);
            assert_eq!(response["auditAnnotations"]["reason"], "malformed");
        }
    }

    #[test]
    fn a_dry_run_leaves_no_notice() {
        let mut request = pod(json!({"containers": [{"name": "dev"}], "hostUsers": false}));
        assert!(answer(&question(request.clone()), &Settings::default()).expect("an answer").notice.is_some());
        request["dryRun"] = json!(true);
        let answer = answer(&question(request), &Settings::default()).expect("an answer");
        assert_eq!((answer.verdict, answer.notice), (Verdict::Refused("user-namespace"), None));
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for text in ["", "{", "null", "[]", "{}", "{\"apiVersion\":1}", "\u{0}", deep.as_str()] {
            let error = answer(text.as_bytes(), &Settings::default()).expect_err(text);
            assert!(error.to_string().contains("admission.k8s.io/v1"), "{error}");
        }
        let old = json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": KIND, "request": null}).to_string();
        let error = answer(old.as_bytes(), &Settings::default()).expect_err("v1beta1").to_string();
        assert!(error.contains("admissionReviewVersions"), "{error}");
        assert!(matches!(answer(&question(Value::Null), &Settings::default()), Err(ReviewError::NoRequest)));
        let mut request = pod(json!({}));
        request["uid"] = json!("");
        assert!(matches!(answer(&question(request), &Settings::default()), Err(ReviewError::NoUid)));
    }
}
