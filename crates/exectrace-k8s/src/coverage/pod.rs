//! What becomes of a pod's execs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use super::{Facts, Reason, Verdict, Workspace};
use crate::api::{NodeStatus, NodeVerdict};
use crate::names::{CONTAINER, STATUS_ANNOTATION};
use crate::obstacle::{Obstacle, obstacle};
use crate::settings::{Settings, Stamp};
use crate::sidecar;
use crate::workspace::log_labels;

/// Set by the kubelet on the shadow of a pod that it runs from a file. It is nobody's workspace.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// `exectrace sidecar` ends with this where tracing is not possible.
const CANNOT_TRACE: i32 = 3;
/// Reasons of a container that waits which are no failure.
const PATIENT: [&str; 2] = ["PodInitializing", "ContainerCreating"];

/// Whether a pod is one that runs, or will, and may be a workspace.
pub(super) fn counts(pod: &Pod) -> bool {
    let is_mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR_ANNOTATION));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !is_mirror && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// A pod with its verdict.
pub(super) fn judge(pod: &Pod, nodes: Option<&[NodeStatus]>, facts: &Facts) -> Workspace {
    let spec = pod.spec.clone().unwrap_or_default();
    let labels = log_labels(
        &pod.metadata.labels.clone().unwrap_or_default(),
        &pod.metadata.annotations.clone().unwrap_or_default(),
    );
    let node = nodes.and_then(|nodes| nodes.iter().find(|node| Some(&node.name) == spec.node_name.as_ref()));
    let defaults = Settings::default();
    let obstacle = obstacle(&spec, facts.settings.as_deref().unwrap_or(&defaults));
    let stamp = stamp(pod);
    let inside = spec.init_containers.iter().flatten().chain(&spec.containers);
    let (verdict, why) = match inside.into_iter().find(|container| container.name == CONTAINER) {
        Some(container) if !does_what_ours_does(container) => not_traced(
            Reason::Impostor,
            format!("its container {CONTAINER} is not the webhook's, and its log is not to be believed: rebuild it"),
        ),
        Some(_) => with_sidecar(status_of_sidecar(pod), node, obstacle, stamp.as_ref(), facts.settings_hash.as_ref()),
        None => without_sidecar(obstacle, stamp, facts.enabled),
    };
    let (reason, advice) = why.unzip();
    Workspace {
        user: labels.get("username").cloned(),
        workspace: labels.get("workspace_name").cloned(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        node: spec.node_name,
        verdict,
        reason,
        advice,
    }
}

/// A name is soon taken. What is started, and what is asked before it counts as started, must be ours; image and further
/// flags may be those of other settings.
fn does_what_ours_does(container: &Container) -> bool {
    let ours =
        sidecar::container(&Settings { labels: BTreeMap::new(), args: Vec::new(), ..Settings::default() }, false);
    let probe = |container: &Container| container.startup_probe.as_ref().and_then(|probe| probe.exec.clone());
    let (args, our_args) = (container.args.as_deref().unwrap_or_default(), ours.args.as_deref().unwrap_or_default());
    container.command == ours.command
        && args.starts_with(our_args)
        && container.env == ours.env
        && container.lifecycle.is_none()
        && probe(container) == probe(&ours)
}

type Judgement = (Verdict, Option<(Reason, String)>);

fn not_traced(reason: Reason, advice: String) -> Judgement {
    (Verdict::NotTraced, Some((reason, advice)))
}

fn with_sidecar(
    sidecar: Option<&ContainerStatus>,
    node: Option<&NodeStatus>,
    obstacle: Option<Obstacle>,
    stamp: Option<&Stamp>,
    hash: Option<&String>,
) -> Judgement {
    if let Some(node) = node.filter(|node| node.verdict == NodeVerdict::NodeNotReady) {
        let advice = format!("the node {} is not ready, so nobody knows what runs there: mend the node", node.name);
        return not_traced(Reason::NodeNotReady, advice);
    }
    if sidecar.is_some_and(has_started) {
        let is_other = stamp.zip(hash).is_some_and(|(stamp, hash)| stamp.settings != *hash);
        let advice = "its sidecar was made with other settings: rebuild it to get those of now";
        return (Verdict::Traced, is_other.then(|| (Reason::OtherSettings, advice.to_owned())));
    }
    if let Some(obstacle) = obstacle {
        return by_obstacle(&obstacle);
    }
    if let Some(node) = node.filter(|node| node.verdict == NodeVerdict::CannotTrace) {
        let why = node.reason.as_deref().unwrap_or("exectrace status --check-nodes tells why");
        return not_traced(Reason::NodeCannotTrace, format!("the node {} cannot trace: {why}", node.name));
    }
    match sidecar.and_then(failure) {
        Some(advice) => not_traced(Reason::SidecarFailing, advice),
        None => (Verdict::Starting, None),
    }
}

fn without_sidecar(obstacle: Option<Obstacle>, stamp: Option<Stamp>, enabled: bool) -> Judgement {
    if let Some(obstacle) = obstacle {
        return by_obstacle(&obstacle);
    }
    if let Some(reason) = stamp.filter(|stamp| stamp.mode.is_none()).and_then(|stamp| stamp.reason) {
        return not_traced(Reason::LeftOut, format!("the webhook added no sidecar: {reason}"));
    }
    if !enabled {
        let advice = "process logging is off: run exectrace enable, then rebuild it";
        return not_traced(Reason::SwitchedOff, advice.to_owned());
    }
    let advice = "it has no sidecar, for it began while the switch was off, before its namespace was selected, or past \
                  the webhook: rebuild it";
    (Verdict::NeedsRebuild, Some((Reason::NoSidecar, advice.to_owned())))
}

fn by_obstacle(obstacle: &Obstacle) -> Judgement {
    let reason = match obstacle {
        Obstacle::UserNamespace => Reason::UserNamespace,
        Obstacle::SandboxedRuntime { .. } => Reason::SandboxedRuntime,
        Obstacle::Windows => Reason::Windows,
    };
    not_traced(reason, obstacle.to_string())
}

fn stamp(pod: &Pod) -> Option<Stamp> {
    let text = pod.metadata.annotations.as_ref()?.get(STATUS_ANNOTATION)?;
    serde_json::from_str(text).ok()
}

fn status_of_sidecar(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == CONTAINER)
}

/// The startup probe has succeeded, which means that the tracer is attached, and the container runs since.
fn has_started(status: &ContainerStatus) -> bool {
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    status.started == Some(true) && runs
}

/// Why a sidecar that has not started never will, as far as it tells.
fn failure(status: &ContainerStatus) -> Option<String> {
    let state = status.state.clone().unwrap_or_default();
    let waits = state.waiting.and_then(|waiting| waiting.reason);
    let waits = waits.filter(|reason| !PATIENT.contains(&reason.as_str()));
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = state.terminated.as_ref().or(last);
    if waits.is_none() && ended.is_none() {
        return None;
    }
    let mut words = vec!["the sidecar does not start".to_owned()];
    words.extend(waits);
    if let Some(ended) = ended {
        words.push(format!("exit code {}", ended.exit_code));
        words.extend(ended.message.as_ref().map(|message| message.trim().to_owned()));
        if ended.exit_code == CANNOT_TRACE {
            words.push("its node cannot trace, and exectrace status --check-nodes tells why".to_owned());
        }
    }
    Some(words.join(": "))
}
