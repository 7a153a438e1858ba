//! `exectrace check`, run once on each node in a pod that ends by itself.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use crate::api::{NodeStatus, NodeVerdict};
use crate::coverage::is_ready;
use crate::keeper;
use crate::names::POD_UID_VARIABLE;
use crate::sidecar;
use crate::switch::{self, SwitchError, chain};

/// The label's value by which the pods are found.
pub const COMPONENT: &str = "node-check";
/// How many nodes are checked at once.
const AT_ONCE: usize = 10;
/// The pod is ended by the kubelet after so many seconds.
const DEADLINE: u32 = 60;
/// How long to wait for a pod's end. It includes the pull of the image.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often to try again to keep the verdicts.
const ATTEMPTS: usize = 10;

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The image of exectrace.
    pub image: String,
    /// The namespace of the pods. It must allow the capabilities BPF and PERFMON.
    pub namespace: String,
}

/// Checks each node that runs Linux and is ready. Once `stop` is true no further pod is made; those that were made are
/// deleted in any case.
pub async fn check(
    client: &Client,
    plan: &Plan,
    nodes: &[Arc<Node>],
    stop: &watch::Receiver<bool>,
    progress: impl Fn(&NodeStatus),
) -> Vec<NodeStatus> {
    let mut checks = Vec::new();
    for node in nodes.iter().filter(|node| runs_linux(node) && is_ready(node)) {
        checks.push(one(client, plan, node, stop.clone()));
    }
    let mut checks = std::pin::pin!(futures::stream::iter(checks).buffer_unordered(AT_ONCE));
    let mut found = Vec::new();
    while let Some(status) = checks.next().await {
        if let Some(status) = status {
            progress(&status);
            found.push(status);
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Keeps verdicts in the status of the ProcessLogging object; `false`: there is no such object yet.
pub async fn save(client: &Client, found: &[NodeStatus]) -> Result<bool, SwitchError> {
    for _ in 0..ATTEMPTS {
        let Some(object) = switch::read(client).await? else { return Ok(false) };
        let mut status = object.status.clone().unwrap_or_default();
        for node in found.iter().filter(|node| node.checked_boot.is_some()) {
            status.nodes.retain(|other| other.name != node.name);
            status.nodes.push(node.clone());
        }
        status.nodes.sort_by(|one, other| one.name.cmp(&other.name));
        match keeper::write(client, &object, &status).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(SwitchError::of(&error)),
        }
    }
    Err(SwitchError::Contended)
}

fn runs_linux(node: &Node) -> bool {
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    info.is_some_and(|info| info.operating_system == "linux")
}

/// `None`: it was stopped before there was an answer.
async fn one(client: &Client, plan: &Plan, node: &Node, mut stop: watch::Receiver<bool>) -> Option<NodeStatus> {
    if *stop.borrow() {
        return None;
    }
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let mut status = NodeStatus {
        name: node.name_any(),
        kernel: info.map(|info| info.kernel_version.clone()).unwrap_or_default(),
        ..NodeStatus::default()
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &plan.namespace);
    let made = match pods.create(&PostParams::default(), &pod(plan, &status.name)).await {
        Ok(made) => made.name_any(),
        Err(error) => {
            status.reason = Some(format!(
                "the check's pod cannot be made: {} (--check-namespace names a namespace that allows the capabilities \
                 BPF and PERFMON)",
                chain(&error)
            ));
            return Some(status);
        }
    };
    let answer = tokio::select! {
        answer = tokio::time::timeout(PATIENCE, report(&pods, &made)) => Some(answer),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    if let Err(error) = pods.delete(&made, &DeleteParams::default().grace_period(0)).await {
        let namespace = &plan.namespace;
        tracing::warn!(error = chain(&error), "the pod {made} was left: kubectl delete pod -n {namespace} {made}");
    }
    match answer? {
        Ok(Ok(report)) => {
            report.tell(&mut status);
            status.checked_at = Some(Time(Timestamp::now()));
            status.checked_boot = info.map(|info| info.boot_id.clone());
        }
        Ok(Err(reason)) => status.reason = Some(reason),
        Err(_) => status.reason = Some(format!("the check's pod did not end within {} s", PATIENCE.as_secs())),
    }
    Some(status)
}

/// Waits for the pod's end, and reads what it found.
async fn report(pods: &Api<Pod>, name: &str) -> Result<Report, String> {
    let ended = await_condition(pods.clone(), name, |pod: Option<&Pod>| pod.is_none_or(has_ended)).await;
    let pod = ended.map_err(|error| chain(&error))?.ok_or("somebody deleted the check's pod")?;
    if let Some(reason) = hopeless(&pod) {
        return Err(format!("the check's pod does not start: {reason}"));
    }
    let text = pods.logs(name, &LogParams::default()).await;
    let text = text.map_err(|error| format!("the check's log cannot be read: {}", chain(&error)))?;
    Report::parse(&text).ok_or_else(|| {
        let status = pod.status.unwrap_or_default();
        let why = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        format!("the check said nothing that can be read {why}").trim_end().to_owned()
    })
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) || hopeless(pod).is_some()
}

/// An image that is not there stays so.
fn hopeless(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.first()?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let is_final =
        matches!(reason, "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerError");
    is_final.then(|| format!("{reason}: {}", waiting.message.as_deref().unwrap_or_default()))
}

fn pod(plan: &Plan, node: &str) -> Pod {
    let size = json!({"cpu": "100m", "memory": "64Mi"});
    let pod = json!({
        "metadata": {
            "generateName": "exectrace-check-",
            "namespace": plan.namespace,
            "labels": {"app.kubernetes.io/name": "exectrace", "app.kubernetes.io/component": COMPONENT},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DEADLINE,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "check",
                "image": plan.image,
                "command": ["/exectrace"],
                "args": ["--log-format=text", "check", "--output=json", format!("--pod-uid=$({POD_UID_VARIABLE})")],
                "env": [sidecar::from_field(POD_UID_VARIABLE, "metadata.uid")],
                "resources": {"requests": size, "limits": size},
                // Those of the sidecar: what it may not do, the sidecar may not.
                "securityContext": sidecar::security_context(false),
            }],
        },
    });
    serde_json::from_value(pod).unwrap_or_default()
}

/// What `exectrace check -o json` prints.
#[derive(Debug, Deserialize)]
struct Report {
    tracing_works: bool,
    checks: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    level: String,
    found: String,
    advice: Option<String>,
}

impl Report {
    /// Finds the report in a log, in which messages may stand around it.
    fn parse(text: &str) -> Option<Report> {
        let starts = text.match_indices('{').map(|(at, _)| at).filter(|at| *at == 0 || text[..*at].ends_with('\n'));
        let mut starts = starts.map(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter().next());
        starts.find_map(|report| report?.ok())
    }

    fn tell(&self, status: &mut NodeStatus) {
        status.btf = self.checks.iter().find(|line| line.name == "btf").map(|line| line.level == "ok");
        if self.tracing_works {
            status.verdict = NodeVerdict::Ready;
            return;
        }
        status.verdict = NodeVerdict::CannotTrace;
        let failed = self.checks.iter().filter(|line| line.level == "fail");
        let words = failed.map(|line| match &line.advice {
            Some(advice) => format!("{}: {}: {advice}", line.name, line.found),
            None => format!("{}: {}", line.name, line.found),
        });
        status.reason = Some(words.collect::<Vec<_>>().join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_messages() {
        let text = "exectrace: warning: x\n{\n  \"tracing_works\": false,\n  \"checks\": [\n    {\"name\": \"btf\", \
                    \"level\": \"fail\", \"found\": \"missing\", \"advice\": \"use another kernel\"}\n  ]\n}\nbye\n";
        let mut status = NodeStatus::default();
        Report::parse(text).expect("a report").tell(&mut status);
        assert_eq!((status.verdict, status.btf), (NodeVerdict::CannotTrace, Some(false)));
        assert_eq!(status.reason.as_deref(), Some("btf: missing: use another kernel"));
        assert!(Report::parse("{\"a\": 1}\nnothing").is_none());
    }

    #[test]
    fn the_pod_has_no_more_rights_than_a_sidecar_and_ends_by_itself() {
        let plan = Plan { image: "example.com/exectrace:1".to_owned(), namespace: "exectrace".to_owned() };
        let spec = pod(&plan, "node-1").spec.expect("a description");
        assert_eq!((spec.node_name.as_deref(), spec.active_deadline_seconds), (Some("node-1"), Some(60)));
        assert_eq!(spec.automount_service_account_token, Some(false));
        let context = spec.containers[0].security_context.clone().expect("a security context");
        let capabilities = context.capabilities.expect("capabilities");
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(capabilities.add, Some(vec!["BPF".to_owned(), "PERFMON".to_owned()]));
        assert_eq!((context.privileged, context.read_only_root_filesystem), (Some(false), Some(true)));
    }
}
