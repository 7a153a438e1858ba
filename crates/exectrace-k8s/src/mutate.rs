//! What the webhook does with a pod: a pure function of the pod and the settings.
//!
//! The answer only ever adds. A pod that already has all of it gets an empty patch, since the API server asks again
//! after another webhook has changed the pod. The pod is taken as JSON, and not as the type: a field that this program
//! does not know must neither be lost nor overlooked.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::likeness::differences;
use crate::names::{CONTAINER, POD_INFO_VOLUME, RUN_VOLUME, SPOOL_VOLUME, STATUS_ANNOTATION};
use crate::obstacle::obstacle;
use crate::qos::{Class, class};
use crate::settings::{Mode, Settings, Stamp, Untraceable};
use crate::sidecar;

/// The kubelet tells of a static pod by an object with this annotation. It runs no pod that the API server has with
/// it, so it is no way around the webhook.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is let in as it is.
    Untouched(Untouched),
    /// It is let in, with what [`Admission`] says.
    Admitted(Admission),
    /// It is not let in.
    Refused(Refusal),
}

/// Why a pod is let in as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untouched {
    /// The switch is off.
    SwitchedOff,
    /// The kubelet tells of a static pod.
    MirrorPod,
}

/// How a pod is let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// What is added; nothing if all is there already.
    pub patch: Vec<Operation>,
    /// For who creates the pod.
    pub warnings: Vec<String>,
    /// Why the pod is not traced, for machines; `None`: it is.
    pub untraced: Option<&'static str>,
}

/// Why a pod is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For machines: one of an [`crate::obstacle::Obstacle`], [`IMPOSTOR`], [`NOT_FIRST`] or [`MALFORMED`].
    pub reason: &'static str,
    /// For people, with what to do.
    pub message: String,
}

/// Reason of a refusal: the pod has something of our name that is not ours.
pub const IMPOSTOR: &str = "impostor";
/// Reason of a refusal: something would run before the tracer.
pub const NOT_FIRST: &str = "not-first";
/// Reason of a refusal: this is no pod.
pub const MALFORMED: &str = "malformed";

/// An operation of a JSON patch. There is only one, as nothing of a pod may be taken away or replaced.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Adds a member or an element.
    Add {
        /// A JSON pointer (RFC 6901).
        path: String,
        /// What is there afterwards.
        value: Value,
    },
}

/// Decides on a pod that is about to be created.
pub fn mutate(pod: &Value, settings: &Settings) -> Outcome {
    if !settings.enabled {
        return Outcome::Untouched(Untouched::SwitchedOff);
    }
    if !pod["metadata"]["annotations"][MIRROR_ANNOTATION].is_null() {
        return Outcome::Untouched(Untouched::MirrorPod);
    }
    decide(pod, settings).unwrap_or_else(Outcome::Refused)
}

fn decide(pod: &Value, settings: &Settings) -> Result<Outcome, Refusal> {
    let spec = decoded(pod)?;
    let found = Found::new(pod, &spec, settings)?;
    if let Some(obstacle) = obstacle(&spec, settings) {
        if settings.untraceable == Untraceable::Refuse || found.container.is_some() {
            let message = format!("exectrace cannot trace this pod: {obstacle}");
            return Err(Refusal { reason: obstacle.reason(), message });
        }
        return Ok(Outcome::Admitted(Admission {
            patch: stamped(pod, &stamp(settings, Some(obstacle.reason()))),
            warnings: vec![format!("exectrace does not trace this pod: {obstacle}")],
            untraced: Some(obstacle.reason()),
        }));
    }
    let mut patch = found.what_is_missing(pod, &spec, settings);
    patch.extend(stamped(pod, &stamp(settings, None)));
    Ok(Outcome::Admitted(Admission { patch, warnings: warnings(&spec, &found, settings), untraced: None }))
}

/// The pod's spec, as far as this program knows it.
fn decoded(pod: &Value) -> Result<PodSpec, Refusal> {
    let refused = |what: String| Refusal {
        reason: MALFORMED,
        message: format!("exectrace cannot read this pod, and lets none in unread: {what}"),
    };
    let pod: Pod = serde_json::from_value(pod.clone()).map_err(|error| refused(error.to_string()))?;
    pod.spec.ok_or_else(|| refused("it has no spec".to_owned()))
}

/// What is in the pod already that is ours.
struct Found {
    /// Index of the container in its list.
    container: Option<usize>,
    volumes: Vec<String>,
}

impl Found {
    fn new(pod: &Value, spec: &PodSpec, settings: &Settings) -> Result<Found, Refusal> {
        let spec_as_it_came = &pod["spec"];
        foreign_mounts(spec_as_it_came)?;
        Ok(Found {
            container: our_container(spec_as_it_came, spec, settings)?,
            volumes: our_volumes(spec_as_it_came, settings)?,
        })
    }

    fn what_is_missing(&self, pod: &Value, spec: &PodSpec, settings: &Settings) -> Vec<Operation> {
        let mut patch = Vec::new();
        let spec_as_it_came = &pod["spec"];
        let missing: Vec<Value> = sidecar::volumes(settings)
            .iter()
            .filter(|volume| !self.volumes.contains(&volume.name))
            .map(|volume| json!(volume))
            .collect();
        append(&mut patch, spec_as_it_came, "volumes", missing);
        if self.container.is_none() {
            let container = json!(sidecar::container(settings, class(spec) == Class::Guaranteed));
            match settings.mode {
                Mode::NativeSidecar => prepend(&mut patch, spec_as_it_came, "initContainers", container),
                Mode::Container => append(&mut patch, spec_as_it_came, "containers", vec![container]),
            }
        }
        patch
    }
}

/// The list of a spec in which our container is.
fn list_of(mode: Mode) -> &'static str {
    match mode {
        Mode::NativeSidecar => "initContainers",
        Mode::Container => "containers",
    }
}

/// Index of our container. One of its name that is not ours is an impostor: it would pass for the tracer in the log.
fn our_container(spec: &Value, typed: &PodSpec, settings: &Settings) -> Result<Option<usize>, Refusal> {
    let mut ours = None;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, found) in elements(spec, list).iter().enumerate().filter(|(_, one)| one["name"] == CONTAINER) {
            if list != list_of(settings.mode) {
                return Err(impostor(&format!("a container named {CONTAINER} in {list}, where the webhook adds none")));
            }
            if ours.is_some() {
                return Err(impostor(&format!("two containers named {CONTAINER}")));
            }
            let differing = differing(found, typed, settings);
            if !differing.is_empty() {
                return Err(impostor(&format!(
                    "a container named {CONTAINER} that is not the webhook's (it differs in: {})",
                    differing.join(", ")
                )));
            }
            if settings.mode == Mode::NativeSidecar {
                nothing_untraced(&elements(spec, list)[..index], settings)?;
            }
            ours = Some(index);
        }
    }
    Ok(ours)
}

/// Init containers run one after the other, so one before ours would run untraced, for as long as it likes.
fn nothing_untraced(before: &[Value], settings: &Settings) -> Result<(), Refusal> {
    let is_allowed = |name: &str| settings.init_containers_before.iter().any(|allowed| allowed == name);
    let mut names = before.iter().map(|container| container["name"].as_str().unwrap_or_default());
    match names.find(|name| !is_allowed(name)) {
        None => Ok(()),
        Some(name) => Err(Refusal {
            reason: NOT_FIRST,
            message: format!(
                "the init container {name} comes before {CONTAINER} and would run untraced: put it behind, or leave \
                 {CONTAINER} out, for it is added in front; if another webhook puts it there, an admin can name it in the \
                 settings (initContainersBefore)"
            ),
        }),
    }
}

/// In what it is not ours. Both forms of the resources will do, since the pod's class may have changed after ours was
/// added.
fn differing(found: &Value, spec: &PodSpec, settings: &Settings) -> Vec<String> {
    let guaranteed = class(spec) == Class::Guaranteed;
    let by = |guaranteed| differences(found, &json!(sidecar::container(settings, guaranteed)));
    let differing = by(guaranteed);
    if by(!guaranteed).is_empty() { Vec::new() } else { differing }
}

fn our_volumes(spec: &Value, settings: &Settings) -> Result<Vec<String>, Refusal> {
    let mut ours = Vec::new();
    for expected in sidecar::volumes(settings) {
        let named = elements(spec, "volumes").iter().filter(|volume| volume["name"] == expected.name.as_str());
        for found in named {
            if !differences(found, &json!(expected)).is_empty() {
                return Err(impostor(&format!("a volume named {} that is not the webhook's", expected.name)));
            }
            ours.push(expected.name.clone());
        }
    }
    Ok(ours)
}

/// With our volume in its hands a workspace could answer the startup probe, or take the socket away.
fn foreign_mounts(spec: &Value) -> Result<(), Refusal> {
    let ours = [RUN_VOLUME, POD_INFO_VOLUME, SPOOL_VOLUME];
    let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
    let others = lists.flat_map(|list| elements(spec, list)).filter(|container| container["name"] != CONTAINER);
    for container in others {
        let mut mounts = elements(container, "volumeMounts").iter();
        if let Some(mount) = mounts.find(|mount| ours.iter().any(|name| mount["name"] == *name)) {
            return Err(impostor(&format!(
                "the volume {} mounted by the container {}, which only exectrace may",
                mount["name"], container["name"]
            )));
        }
    }
    Ok(())
}

fn impostor(what: &str) -> Refusal {
    Refusal {
        reason: IMPOSTOR,
        message: format!(
            "the pod has {what}: take it out of the pod, exectrace adds its own; if another webhook changed it, keep \
             that one from containers named {CONTAINER}; if it was added by other settings, create the pod again"
        ),
    }
}

fn stamp(settings: &Settings, reason: Option<&'static str>) -> Stamp {
    Stamp {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: reason.is_none().then_some(settings.mode),
        settings: settings.hash(),
        reason: reason.map(str::to_owned),
    }
}

/// Puts the annotation there, also in the place of one that somebody else wrote.
fn stamped(pod: &Value, stamp: &Stamp) -> Vec<Operation> {
    let annotations = &pod["metadata"]["annotations"];
    let there = annotations[STATUS_ANNOTATION].as_str().and_then(|text| serde_json::from_str::<Stamp>(text).ok());
    if there.as_ref() == Some(stamp) {
        return Vec::new();
    }
    let mut patch = Vec::new();
    for (path, parent) in [("/metadata", &pod["metadata"]), ("/metadata/annotations", annotations)] {
        if !parent.is_object() {
            patch.push(Operation::Add { path: path.to_owned(), value: Value::Object(Map::new()) });
        }
    }
    let path = format!("/metadata/annotations/{}", escaped(STATUS_ANNOTATION));
    // A stamp has nothing that cannot be written.
    let text = serde_json::to_string(stamp).unwrap_or_default();
    patch.push(Operation::Add { path, value: Value::String(text) });
    patch
}

fn warnings(spec: &PodSpec, found: &Found, settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    match settings.mode {
        Mode::NativeSidecar if found.container.is_some_and(|index| index > 0) => warnings
            .push("exectrace: init containers before exectrace's start untraced; nothing must come first".to_owned()),
        Mode::NativeSidecar => {}
        Mode::Container => {
            warnings.push("exectrace: the workspace may start before its tracer (mode: container)".to_owned());
            if spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always") {
                warnings.push("exectrace: this pod does not end by itself, as its tracer does not".to_owned());
            }
        }
    }
    if spec.share_process_namespace == Some(true) {
        warnings.push("exectrace: with shareProcessNamespace the workspace can stop its tracer".to_owned());
    }
    if spec.host_pid == Some(true) {
        warnings.push("exectrace: with hostPID the workspace can stop its tracer".to_owned());
    }
    if is_privileged(spec) {
        warnings.push("exectrace: a privileged container can stop or blind the tracer".to_owned());
    }
    let resources = sidecar::container(settings, true).resources.unwrap_or_default().limits.unwrap_or_default();
    if class(spec) == Class::Guaranteed && !(resources.contains_key("cpu") && resources.contains_key("memory")) {
        warnings.push(
            "exectrace: the pod is no longer Guaranteed, for exectrace's settings name no limits for cpu and memory"
                .to_owned(),
        );
    }
    warnings
}

fn is_privileged(spec: &PodSpec) -> bool {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.filter_map(|container| container.security_context.as_ref()).any(|one| one.privileged == Some(true))
}

fn elements<'a>(parent: &'a Value, list: &str) -> &'a [Value] {
    parent[list].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn append(patch: &mut Vec<Operation>, spec: &Value, list: &str, values: Vec<Value>) {
    if values.is_empty() {
        return;
    }
    create(patch, spec, list);
    patch.extend(values.into_iter().map(|value| Operation::Add { path: format!("/spec/{list}/-"), value }));
}

fn prepend(patch: &mut Vec<Operation>, spec: &Value, list: &str, value: Value) {
    create(patch, spec, list);
    patch.push(Operation::Add { path: format!("/spec/{list}/0"), value });
}

/// A list that is missing, or null, is created first.
fn create(patch: &mut Vec<Operation>, spec: &Value, list: &str) {
    if !spec[list].is_array() {
        patch.push(Operation::Add { path: format!("/spec/{list}"), value: Value::Array(Vec::new()) });
    }
}

/// A key as a JSON pointer has it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
