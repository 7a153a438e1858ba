//! What to expect of a node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::{Verdict, Workspace};
use crate::api::{NodeStatus, NodeVerdict};

/// The oldest kernel that has the ring buffer and the capabilities BPF and PERFMON.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// Each node, by name. A check counts for the boot that it was made in.
pub(super) fn verdicts(nodes: &[Arc<Node>], checked: &[NodeStatus]) -> Vec<NodeStatus> {
    let mut verdicts: Vec<NodeStatus> = nodes.iter().map(|node| verdict(node, checked)).collect();
    verdicts.sort_by(|one, other| one.name.cmp(&other.name));
    verdicts
}

/// A sidecar that has started has attached, so its node can trace, checked or not.
pub(super) fn prove(nodes: &mut [NodeStatus], pods: &[Workspace]) {
    for node in nodes.iter_mut().filter(|node| node.verdict == NodeVerdict::Unchecked) {
        let on_it = |pod: &&Workspace| pod.node.as_ref() == Some(&node.name);
        if pods.iter().filter(on_it).any(|pod| pod.verdict == Verdict::Traced) {
            node.verdict = NodeVerdict::Ready;
        }
    }
}

fn verdict(node: &Node, checked: &[NodeStatus]) -> NodeStatus {
    let name = node.metadata.name.clone().unwrap_or_default();
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let boot = info.map(|info| info.boot_id.as_str()).unwrap_or_default();
    let of_this_boot = |status: &&NodeStatus| status.name == name && status.checked_boot.as_deref() == Some(boot);
    let mut status = checked.iter().find(of_this_boot).cloned().unwrap_or_default();
    // A check that found a fault tells it also while the node is not ready, and after.
    let found = if status.checked_boot.is_some() { checked_verdict(&status) } else { NodeVerdict::Unchecked };
    status.name = name;
    status.kernel = info.map(|info| info.kernel_version.clone()).unwrap_or_default();
    let obstacle = info.and_then(|info| {
        if info.operating_system == "windows" {
            Some("exectrace traces only Linux".to_owned())
        } else if version(&info.kernel_version).is_some_and(|version| version < OLDEST_KERNEL) {
            Some(format!("the kernel {} is too old: use one of 5.10 or newer", info.kernel_version))
        } else {
            None
        }
    });
    (status.verdict, status.reason) = match (obstacle, is_ready(node)) {
        (Some(reason), _) => (NodeVerdict::CannotTrace, Some(reason)),
        (None, _) if found == NodeVerdict::CannotTrace => (found, status.reason),
        (None, false) => (NodeVerdict::NodeNotReady, Some("its kubelet does not report that it is ready".to_owned())),
        (None, true) => (found, None),
    };
    status
}

/// What the check said; a node that was not ready when the status was written was checked before, and passed, for what
/// fails keeps its verdict.
fn checked_verdict(status: &NodeStatus) -> NodeVerdict {
    match status.verdict {
        NodeVerdict::NodeNotReady => NodeVerdict::Ready,
        other => other,
    }
}

/// Whether its kubelet says so.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.and_then(|conditions| conditions.iter().find(|condition| condition.type_ == "Ready"));
    ready.is_some_and(|condition| condition.status == "True")
}

/// Major and minor version of `uname -r`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
