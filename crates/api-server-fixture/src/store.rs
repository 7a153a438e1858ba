//! The objects, their versions, and how they change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fault::{Fault, How};
use crate::pod_log::PodLog;
use crate::request::{Seen, Target};
use crate::selector;

/// Everything that the server knows.
pub(crate) struct Store {
    kinds: Vec<Kind>,
    objects: BTreeMap<Key, Value>,
    history: Vec<Change>,
    version: u64,
    created: u64,
    logs: BTreeMap<(String, String, String), PodLog>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) user: Option<String>,
    pub(crate) kubelet: Option<Kubelet>,
}

/// Changes a pod that was created, and gives its first container's log.
pub(crate) type Kubelet = Box<dyn Fn(&mut Value) -> Option<String> + Send>;

/// A resource that is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
}

const KINDS: [(&str, &str, &str, &str, bool); 12] = [
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "events", "Event", true),
    ("", "v1", "secrets", "Secret", true),
    ("", "v1", "configmaps", "ConfigMap", true),
    ("events.k8s.io", "v1", "events", "Event", true),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("exectrace.dev", "v1alpha1", "processloggings", "ProcessLogging", false),
    ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", false),
];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group: String,
    plural: String,
    namespace: String,
    name: String,
}

struct Change {
    version: u64,
    key: Key,
    before: Option<Value>,
    after: Option<Value>,
}

/// Why a request is refused: the HTTP status, the reason and the words of a `Status`.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

/// How a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchForm {
    Merge,
    Json,
    /// Server-side apply; taken as a merge that creates what is missing.
    Apply,
}

impl Default for Store {
    fn default() -> Store {
        let kinds =
            KINDS.map(|(group, version, plural, kind, namespaced)| Kind { group, version, plural, kind, namespaced });
        Store {
            kinds: kinds.to_vec(),
            objects: BTreeMap::new(),
            history: Vec::new(),
            version: 1,
            created: 0,
            logs: BTreeMap::new(),
            faults: Vec::new(),
            seen: Vec::new(),
            user: Some("jessie@example.com".to_owned()),
            kubelet: None,
        }
    }
}

impl Store {
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn kind(&self, target: &Target) -> Option<Kind> {
        let is_meant =
            |kind: &&Kind| kind.group == target.group && kind.version == target.version && kind.plural == target.plural;
        self.kinds.iter().find(is_meant).copied()
    }

    pub(crate) fn uninstall(&mut self, plural: &str) {
        self.kinds.retain(|kind| kind.plural != plural);
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn strike(&mut self, method: &str, path_and_query: &str) -> Option<How> {
        self.faults.iter_mut().find_map(|fault| fault.strike(method, path_and_query))
    }

    pub(crate) fn log(&mut self, namespace: &str, pod: &str, container: &str) -> &mut PodLog {
        self.logs.entry((namespace.to_owned(), pod.to_owned(), container.to_owned())).or_default()
    }

    pub(crate) fn of(&self, plural: &str) -> Vec<Value> {
        self.objects.iter().filter(|(key, _)| key.plural == plural).map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn put(&mut self, mut object: Value) {
        let api_version = object["apiVersion"].as_str().expect("an apiVersion").to_owned();
        let (group, _) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        let found = self.kinds.iter().find(|known| known.group == group && known.kind == kind);
        let kind = *found.unwrap_or_else(|| panic!("{api_version} {kind} is not served"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if kind.namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        let name = text(&object["metadata"]["name"]);
        assert!(!name.is_empty(), "no name: {object}");
        let namespace = text(&object["metadata"]["namespace"]);
        let key = Key { group: kind.group.to_owned(), plural: kind.plural.to_owned(), namespace, name };
        self.write(key, object);
    }

    pub(crate) fn remove_by(&mut self, plural: &str, namespace: &str, name: &str) {
        let is_meant = |key: &&Key| key.plural == plural && key.namespace == namespace && key.name == name;
        if let Some(key) = self.objects.keys().find(is_meant).cloned() {
            self.erase(&key);
        }
    }

    pub(crate) fn list(&self, target: &Target, labels: Option<&str>, fields: Option<&str>) -> Vec<Value> {
        let objects = self.objects.iter().filter(|(key, _)| covers(target, key)).map(|(_, object)| object);
        objects.filter(|object| selector::matches(object, labels, fields)).cloned().collect()
    }

    pub(crate) fn get(&self, target: &Target) -> Result<Value, Refusal> {
        let key = key_of(target)?;
        self.objects.get(&key).cloned().ok_or_else(|| not_found(&key))
    }

    pub(crate) fn create(&mut self, target: &Target, mut object: Value, manager: &str) -> Result<Value, Refusal> {
        let kind = self.kind(target).ok_or_else(|| Refusal(404, "NotFound", "no such resource".to_owned()))?;
        if !object.is_object() {
            return Err(Refusal(400, "BadRequest", "the body is no object".to_owned()));
        }
        let metadata = &mut object["metadata"];
        if metadata["name"].as_str().is_none_or(str::is_empty) {
            let Some(prefix) = metadata["generateName"].as_str() else {
                return Err(Refusal(422, "Invalid", "metadata.name: Required value".to_owned()));
            };
            metadata["name"] = json!(format!("{prefix}{:05}", self.created));
        }
        let name = metadata["name"].as_str().map(str::to_owned);
        if kind.namespaced {
            metadata["namespace"] = json!(target.namespace);
        }
        let key = key_of(&Target { name, ..target.clone() })?;
        if self.objects.contains_key(&key) {
            let words = format!("{} \"{}\" already exists", key.plural, key.name);
            return Err(Refusal(409, "AlreadyExists", words));
        }
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        sign(&mut object, manager, "Update", None);
        let made = self.write(key.clone(), object);
        if key.plural == "pods" {
            self.run(&key, made.clone());
        }
        Ok(made)
    }

    /// Lets the kubelet of the test do with a new pod what it wants.
    fn run(&mut self, key: &Key, mut pod: Value) {
        let Some(kubelet) = self.kubelet.take() else { return };
        if let Some(text) = kubelet(&mut pod) {
            let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_owned();
            self.log(&key.namespace, &key.name, &container).set(&text);
        }
        self.kubelet = Some(kubelet);
        self.write(key.clone(), pod);
    }

    pub(crate) fn replace(&mut self, target: &Target, object: Value, manager: &str) -> Result<Value, Refusal> {
        let before = self.get(target)?;
        self.update(target, &before, object, manager, "Update")
    }

    pub(crate) fn patch(
        &mut self,
        target: &Target,
        form: PatchForm,
        patch: Value,
        manager: &str,
    ) -> Result<Value, Refusal> {
        let before = match self.get(target) {
            Ok(before) => before,
            Err(_) if form == PatchForm::Apply && target.subresource.is_none() => {
                return self.create(target, patch, manager);
            }
            Err(refusal) => return Err(refusal),
        };
        let mut after = before.clone();
        if form == PatchForm::Json {
            let patch: json_patch::Patch = serde_json::from_value(patch)
                .map_err(|error| Refusal(400, "BadRequest", format!("no JSON patch: {error}")))?;
            json_patch::patch(&mut after, &patch).map_err(|error| Refusal(422, "Invalid", error.to_string()))?;
        } else {
            json_patch::merge(&mut after, &patch);
            // Without a version of its own a patch is meant for whatever is there.
            if patch["metadata"]["resourceVersion"].is_null() {
                after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            }
        }
        let operation = if form == PatchForm::Apply { "Apply" } else { "Update" };
        self.update(target, &before, after, manager, operation)
    }

    fn update(
        &mut self,
        target: &Target,
        before: &Value,
        mut after: Value,
        manager: &str,
        operation: &str,
    ) -> Result<Value, Refusal> {
        let key = key_of(target)?;
        let wanted = &after["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != before["metadata"]["resourceVersion"] {
            let words = format!(
                "Operation cannot be fulfilled on {} \"{}\": the object has been modified",
                key.plural, key.name
            );
            return Err(Refusal(409, "Conflict", words));
        }
        if target.subresource.as_deref() == Some("status") {
            let status = after["status"].take();
            after = before.clone();
            after["status"] = status;
        } else if let Some(status) = before.get("status") {
            after["status"] = status.clone();
        }
        for kept in ["uid", "creationTimestamp", "generation", "resourceVersion", "managedFields"] {
            after["metadata"][kept] = before["metadata"][kept].clone();
        }
        if after == *before {
            return Ok(after);
        }
        sign(&mut after, manager, operation, target.subresource.as_deref());
        Ok(self.write(key, after))
    }

    pub(crate) fn delete(&mut self, target: &Target) -> Result<Value, Refusal> {
        let object = self.get(target)?;
        self.erase(&key_of(target)?);
        Ok(object)
    }

    /// What happened after a version to the objects that a watch is about, as the events of a watch.
    pub(crate) fn since(
        &self,
        version: u64,
        target: &Target,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Vec<Value> {
        let changes = self.history.iter().filter(|change| change.version > version && covers(target, &change.key));
        let matching =
            |object: &Option<Value>| object.clone().filter(|object| selector::matches(object, labels, fields));
        let events = changes.filter_map(|change| match (matching(&change.before), matching(&change.after)) {
            (None, None) => None,
            (None, Some(object)) => Some(json!({"type": "ADDED", "object": object})),
            (Some(_), Some(object)) => Some(json!({"type": "MODIFIED", "object": object})),
            (Some(mut object), None) => {
                object["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(json!({"type": "DELETED", "object": object}))
            }
        });
        events.collect()
    }

    fn write(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        let before = self.objects.get(&key).cloned();
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        if metadata["uid"].is_null() {
            self.created += 1;
            metadata["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", self.created));
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!(format!("{:.0}", Timestamp::now()));
        }
        let generation = before.as_ref().map_or(0, |before| before["metadata"]["generation"].as_i64().unwrap_or(1));
        let is_same = before.as_ref().is_some_and(|before| before["spec"] == object["spec"]);
        object["metadata"]["generation"] = json!(if is_same { generation } else { generation + 1 });
        self.history.push(Change { version: self.version, key: key.clone(), before, after: Some(object.clone()) });
        self.objects.insert(key, object.clone());
        object
    }

    fn erase(&mut self, key: &Key) {
        let Some(before) = self.objects.remove(key) else { return };
        self.version += 1;
        self.history.push(Change { version: self.version, key: key.clone(), before: Some(before), after: None });
    }
}

fn covers(target: &Target, key: &Key) -> bool {
    key.group == target.group
        && key.plural == target.plural
        && (target.namespace.is_empty() || key.namespace == target.namespace)
        && target.name.as_ref().is_none_or(|name| *name == key.name)
}

fn key_of(target: &Target) -> Result<Key, Refusal> {
    let Some(name) = target.name.clone() else {
        return Err(Refusal(405, "MethodNotAllowed", "this needs a name".to_owned()));
    };
    Ok(Key { group: target.group.clone(), plural: target.plural.clone(), namespace: target.namespace.clone(), name })
}

fn not_found(key: &Key) -> Refusal {
    Refusal(404, "NotFound", format!("{} \"{}\" not found", key.plural, key.name))
}

/// Notes who wrote last.
fn sign(object: &mut Value, manager: &str, operation: &str, subresource: Option<&str>) {
    let mut fields = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = json!({
        "manager": manager,
        "operation": operation,
        "apiVersion": object["apiVersion"],
        "time": format!("{:.0}", Timestamp::now()),
        "fieldsType": "FieldsV1",
        "fieldsV1": {},
        "subresource": subresource.unwrap_or_default(),
    });
    let same = |other: &Value| ["manager", "operation", "subresource"].iter().all(|key| other[*key] == entry[*key]);
    fields.retain(|other| !same(other));
    fields.push(entry);
    object["metadata"]["managedFields"] = Value::Array(fields);
}
