//! Which workspaces and nodes are traced, and why the others are not. Pure: what the API server tells comes in.
//!
//! A pod counts as traced when its sidecar has started, which it has only once the tracer is attached. Nothing that a
//! pod merely says of itself makes it traced.

mod node;
mod pod;

pub(crate) use node::is_ready;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde::Serialize;

use crate::api::{NodeStatus, NodeVerdict, WorkspaceCounts};
use crate::names::{NAMESPACE_LABEL, NAMESPACE_LABEL_VALUE};
use crate::settings::Settings;

/// Holds the cluster's own pods. It is never selected, whatever its labels.
const SYSTEM: &str = "kube-system";

/// What is known of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Pods; those of other namespaces are left out.
    pub pods: Vec<Arc<Pod>>,
    /// Namespaces that hold workspaces, as of [`selected`].
    pub namespaces: BTreeSet<String>,
    /// Nodes; `None` where nobody may list them.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// What `exectrace check` found on nodes before.
    pub checked: Vec<NodeStatus>,
    /// What pods get now, where that is known; otherwise the defaults decide what is an obstacle.
    pub settings: Option<Arc<Settings>>,
    /// [`Settings::hash`] of what pods get now, which is known more often.
    pub settings_hash: Option<String>,
    /// The switch.
    pub enabled: bool,
}

/// Workspaces and nodes, each with its verdict.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The pods, counted.
    pub workspaces: WorkspaceCounts,
    /// Each pod, by user, workspace, namespace and name.
    pub pods: Vec<Workspace>,
    /// Nodes that can trace, of all: `3/4`; `None` where nobody may list them.
    pub nodes_ready: Option<String>,
    /// Each node, by name.
    pub nodes: Vec<NodeStatus>,
}

/// A pod of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its user, where labels tell.
    pub user: Option<String>,
    /// Its name, where labels tell.
    pub workspace: Option<String>,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Where it runs.
    pub node: Option<String>,
    /// What becomes of its execs.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reason: Option<Reason>,
    /// Why, and what to do, for people.
    pub advice: Option<String>,
}

/// What becomes of a pod's execs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They are logged.
    Traced,
    /// The pod starts; its first process waits for the tracer.
    Starting,
    /// They are not logged, and would be once it is rebuilt.
    NeedsRebuild,
    /// They are not logged.
    NotTraced,
}

/// Why a pod has its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Traced, by a sidecar that was made with other settings than those of now.
    OtherSettings,
    /// It has no sidecar, though one would be added now.
    NoSidecar,
    /// It has no sidecar, and the switch is off.
    SwitchedOff,
    /// It has a user namespace of its own.
    UserNamespace,
    /// Its runtime hides it from the node's kernel.
    SandboxedRuntime,
    /// It is for Windows.
    Windows,
    /// The webhook left it out, for a reason of its own.
    LeftOut,
    /// Its node is not ready, and what runs there is not known.
    NodeNotReady,
    /// Its node cannot trace.
    NodeCannotTrace,
    /// The sidecar ends or does not start.
    SidecarFailing,
    /// It has a container of the sidecar's name that is not the webhook's.
    Impostor,
}

impl Verdict {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Traced => "traced",
            Verdict::Starting => "starting",
            Verdict::NeedsRebuild => "needs-rebuild",
            Verdict::NotTraced => "not-traced",
        }
    }
}

impl Facts {
    /// What follows from the facts.
    pub fn coverage(&self) -> Coverage {
        let nodes = self.nodes.as_ref().map(|nodes| node::verdicts(nodes, &self.checked));
        let mut pods: Vec<Workspace> = self
            .pods
            .iter()
            .filter(|pod| pod.metadata.namespace.as_ref().is_some_and(|name| self.namespaces.contains(name)))
            .filter(|pod| pod::counts(pod))
            .map(|pod| pod::judge(pod, nodes.as_deref(), self))
            .collect();
        pods.sort();
        let nodes = nodes.map(|mut nodes| {
            node::prove(&mut nodes, &pods);
            nodes
        });
        Coverage {
            workspaces: count(&pods),
            nodes_ready: nodes.as_deref().map(ready),
            pods,
            nodes: nodes.unwrap_or_default(),
        }
    }
}

impl Coverage {
    /// Whether nothing that runs in a workspace stays unseen.
    pub fn is_whole(&self) -> bool {
        self.workspaces.traced == self.workspaces.total
    }

    /// Takes what checks found of nodes of which nothing is known otherwise.
    pub fn learn(&mut self, checked: Vec<NodeStatus>) {
        for found in checked {
            let unknown = |node: &&mut NodeStatus| node.name == found.name && node.verdict == NodeVerdict::Unchecked;
            if let Some(node) = self.nodes.iter_mut().find(unknown) {
                *node = found;
            }
        }
        self.nodes_ready = self.nodes_ready.take().map(|_| ready(&self.nodes));
    }
}

/// The names of the namespaces that hold workspaces.
pub fn selected(namespaces: &[Arc<Namespace>]) -> BTreeSet<String> {
    let is_selected = |namespace: &&Arc<Namespace>| {
        let label = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(NAMESPACE_LABEL));
        label.is_some_and(|value| value == NAMESPACE_LABEL_VALUE)
    };
    let names = namespaces.iter().filter(is_selected).filter_map(|namespace| namespace.metadata.name.clone());
    names.filter(|name| name != SYSTEM).collect()
}

fn ready(nodes: &[NodeStatus]) -> String {
    let ready = nodes.iter().filter(|node| node.verdict == NodeVerdict::Ready).count();
    format!("{ready}/{}", nodes.len())
}

fn count(pods: &[Workspace]) -> WorkspaceCounts {
    let number = |wanted: &dyn Fn(&Workspace) -> bool| {
        u32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(u32::MAX)
    };
    let of = |verdict: Verdict| number(&|pod| pod.verdict == verdict);
    let (total, traced) = (number(&|_| true), of(Verdict::Traced));
    WorkspaceCounts {
        total,
        traced,
        starting: of(Verdict::Starting),
        needs_rebuild: of(Verdict::NeedsRebuild),
        not_traced: of(Verdict::NotTraced),
        other_settings: number(&|pod| pod.reason == Some(Reason::OtherSettings)),
        summary: format!("{traced}/{total}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, more: &Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {
                "name": name,
                "namespace": "workspaces",
                "labels": {"com.coder.user.username": "jessie", "com.coder.workspace.name": "main"},
            },
            "spec": {"nodeName": "node-1", "containers": [{"name": "dev"}]},
            "status": {"phase": "Running"},
        });
        json_patch::merge(&mut pod, more);
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn with_sidecar(status: &Value) -> Value {
        let mut status = status.clone();
        status["name"] = json!("exectrace");
        json!({
            "spec": {"initContainers": [crate::sidecar::container(&Settings::default(), false)]},
            "status": {"initContainerStatuses": [status]},
        })
    }

    fn running() -> Value {
        json!({"started": true, "state": {"running": {}}})
    }

    fn node(name: &str, more: &Value) -> Arc<Node> {
        let mut node = json!({
            "metadata": {"name": name},
            "status": {
                "nodeInfo": {"kernelVersion": "6.1.0-56-amd64", "operatingSystem": "linux", "bootID": "boot-1"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        // What a node must have of its description and does not matter here.
        let info = &mut node["status"]["nodeInfo"];
        for key in [
            "architecture",
            "containerRuntimeVersion",
            "kubeProxyVersion",
            "kubeletVersion",
            "machineID",
            "osImage",
            "systemUUID",
        ] {
            info[key] = json!("");
        }
        json_patch::merge(&mut node, more);
        Arc::new(serde_json::from_value(node).expect("a node"))
    }

    fn facts(pods: Vec<Arc<Pod>>, nodes: Vec<Arc<Node>>) -> Facts {
        Facts {
            pods,
            namespaces: ["workspaces".to_owned()].into(),
            nodes: Some(nodes),
            settings_hash: Some(Settings::default().hash()),
            enabled: true,
            ..Facts::default()
        }
    }

    fn judged(more: &Value, node: Arc<Node>) -> (Verdict, Option<Reason>) {
        let coverage = facts(vec![pod("a", more)], vec![node]).coverage();
        (coverage.pods[0].verdict, coverage.pods[0].reason)
    }

    fn merged(one: &Value, other: &Value) -> Value {
        let mut both = one.clone();
        json_patch::merge(&mut both, other);
        both
    }

    #[test]
    fn a_pod_is_traced_once_its_sidecar_has_started() {
        let cases = [
            (running(), Verdict::Traced, None),
            (json!({"started": false, "state": {"running": {}}}), Verdict::Starting, None),
            (json!({"state": {"waiting": {"reason": "PodInitializing"}}}), Verdict::Starting, None),
            (
                json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
                Verdict::NotTraced,
                Some(Reason::SidecarFailing),
            ),
            (
                json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}),
                Verdict::NotTraced,
                Some(Reason::SidecarFailing),
            ),
            (json!({"state": {"terminated": {"exitCode": 3}}}), Verdict::NotTraced, Some(Reason::SidecarFailing)),
            (
                json!({"started": false, "restartCount": 1, "state": {"running": {}},
                       "lastState": {"terminated": {"exitCode": 137}}}),
                Verdict::NotTraced,
                Some(Reason::SidecarFailing),
            ),
        ];
        for (status, verdict, reason) in cases {
            let status = merged(&json!({"restartCount": 0, "ready": false, "image": "", "imageID": ""}), &status);
            assert_eq!(judged(&with_sidecar(&status), node("node-1", &json!({}))), (verdict, reason), "{status}");
        }
    }

    #[test]
    fn an_ordinary_container_counts_as_well() {
        let more = json!({
            "spec": {"containers": [{"name": "dev"}, crate::sidecar::container(&Settings::default(), false)]},
            "status": {"containerStatuses": [{"name": "exectrace", "started": true, "ready": true, "image": "",
                "imageID": "", "restartCount": 0, "state": {"running": {}}}]},
        });
        assert_eq!(judged(&more, node("node-1", &json!({}))), (Verdict::Traced, None));
    }

    #[test]
    fn a_container_of_that_name_alone_makes_no_pod_traced() {
        let more = json!({
            "spec": {"initContainers": [{"name": "exectrace", "command": ["sleep", "infinity"]}]},
            "status": {"initContainerStatuses": [{"name": "exectrace", "started": true, "ready": true, "image": "",
                "imageID": "", "restartCount": 0, "state": {"running": {}}}]},
        });
        assert_eq!(judged(&more, node("node-1", &json!({}))), (Verdict::NotTraced, Some(Reason::Impostor)));
        let stamp = json!({"version": "0.1.0", "mode": "native-sidecar", "settings": "x"}).to_string();
        let more = json!({"metadata": {"annotations": {"exectrace.dev/status": stamp}}});
        assert_eq!(judged(&more, node("node-1", &json!({}))).0, Verdict::NeedsRebuild);
    }

    #[test]
    fn a_pod_without_a_sidecar_says_why() {
        let left_out = json!({"version": "0.1.0", "mode": null, "settings": "x", "reason": "no room"}).to_string();
        let cases = [
            (json!({}), Verdict::NeedsRebuild, Reason::NoSidecar),
            (json!({"spec": {"hostUsers": false}}), Verdict::NotTraced, Reason::UserNamespace),
            (json!({"spec": {"runtimeClassName": "kata-qemu"}}), Verdict::NotTraced, Reason::SandboxedRuntime),
            (json!({"spec": {"os": {"name": "windows"}}}), Verdict::NotTraced, Reason::Windows),
            (
                json!({"metadata": {"annotations": {"exectrace.dev/status": left_out}}}),
                Verdict::NotTraced,
                Reason::LeftOut,
            ),
        ];
        for (more, verdict, reason) in cases {
            assert_eq!(judged(&more, node("node-1", &json!({}))), (verdict, Some(reason)), "{more}");
        }
    }

    #[test]
    fn a_rebuild_does_not_help_while_the_switch_is_off() {
        let off = Facts { enabled: false, ..facts(vec![pod("a", &json!({}))], Vec::new()) };
        let coverage = off.coverage();
        assert_eq!(coverage.pods[0].reason, Some(Reason::SwitchedOff));
        assert_eq!((coverage.workspaces.needs_rebuild, coverage.workspaces.not_traced), (0, 1));
        assert!(!coverage.is_whole());
    }

    #[test]
    fn a_workspace_that_was_traced_before_the_switch_went_off_still_is() {
        let off = Facts { enabled: false, ..facts(vec![pod("a", &with_sidecar(&full(&running())))], Vec::new()) };
        assert!(off.coverage().is_whole());
    }

    fn full(status: &Value) -> Value {
        merged(&json!({"restartCount": 0, "ready": true, "image": "", "imageID": ""}), status)
    }

    #[test]
    fn other_settings_are_told_and_do_not_make_it_untraced() {
        let stamped = |hash: &str| {
            let stamp = json!({"version": "0.1.0", "mode": "native-sidecar", "settings": hash}).to_string();
            let more = json!({"metadata": {"annotations": {"exectrace.dev/status": stamp}}});
            judged(&merged(&with_sidecar(&full(&running())), &more), node("node-1", &json!({})))
        };
        assert_eq!(stamped(&Settings::default().hash()), (Verdict::Traced, None));
        assert_eq!(stamped("0123456789abcdef"), (Verdict::Traced, Some(Reason::OtherSettings)));
    }

    #[test]
    fn a_node_that_is_not_ready_or_cannot_trace_is_told_of_its_pods() {
        let unready = node("node-1", &json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        let old = node("node-1", &json!({"status": {"nodeInfo": {"kernelVersion": "5.4.0-100-generic"}}}));
        let waits = with_sidecar(&full(&json!({"started": false, "state": {"running": {}}})));
        let traced = with_sidecar(&full(&running()));
        assert_eq!(judged(&traced, Arc::clone(&unready)), (Verdict::NotTraced, Some(Reason::NodeNotReady)));
        assert_eq!(judged(&waits, unready), (Verdict::NotTraced, Some(Reason::NodeNotReady)));
        assert_eq!(judged(&waits, old), (Verdict::NotTraced, Some(Reason::NodeCannotTrace)));
    }

    #[test]
    fn the_advice_for_a_failing_sidecar_has_what_it_said_last() {
        let status = full(&json!({
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "message": "no BTF"}},
        }));
        let coverage = facts(vec![pod("a", &with_sidecar(&status))], Vec::new()).coverage();
        let advice = coverage.pods[0].advice.clone().unwrap_or_default();
        for words in ["CrashLoopBackOff", "exit code 3", "no BTF", "--check-nodes"] {
            assert!(advice.contains(words), "{words}: {advice}");
        }
    }

    #[test]
    fn what_is_no_workspace_is_not_counted() {
        let pods = vec![
            pod("finished", &json!({"status": {"phase": "Succeeded"}})),
            pod("failed", &json!({"status": {"phase": "Failed"}})),
            pod("mirror", &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
            pod("elsewhere", &json!({"metadata": {"namespace": "other"}})),
            pod("here", &json!({})),
        ];
        let coverage = facts(pods, Vec::new()).coverage();
        let names: Vec<&str> = coverage.pods.iter().map(|pod| pod.pod.as_str()).collect();
        assert_eq!(names, ["here"]);
    }

    #[test]
    fn both_dialects_of_labels_name_the_user_and_none_is_no_error() {
        let older = json!({"metadata": {"labels": {"com.coder.user.username": null, "com.coder.username": "zac"}}});
        let none = json!({"metadata": {"labels": null}});
        let pods = vec![pod("a", &json!({})), pod("b", &older), pod("c", &none)];
        let coverage = facts(pods, Vec::new()).coverage();
        let users: Vec<_> = coverage.pods.iter().map(|pod| pod.user.as_deref()).collect();
        assert_eq!(users, [None, Some("jessie"), Some("zac")]);
    }

    #[test]
    fn only_labelled_namespaces_are_selected_and_never_the_system_s() {
        let namespace = |name: &str, value: &str| {
            let labels = json!({"exectrace.dev/workspaces": value});
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).expect("a namespace"),
            )
        };
        let all = [namespace("a", "true"), namespace("b", "false"), namespace("kube-system", "true")];
        assert_eq!(selected(&all), ["a".to_owned()].into());
    }

    #[test]
    fn a_node_is_ready_when_a_check_of_this_boot_said_so() {
        let checked = |boot: &str, verdict| NodeStatus {
            name: "node-1".to_owned(),
            verdict,
            checked_boot: Some(boot.to_owned()),
            btf: Some(true),
            ..NodeStatus::default()
        };
        for (boot, verdict, expected) in [
            ("boot-1", NodeVerdict::Ready, NodeVerdict::Ready),
            ("boot-1", NodeVerdict::CannotTrace, NodeVerdict::CannotTrace),
            ("boot-0", NodeVerdict::Ready, NodeVerdict::Unchecked),
        ] {
            let checked = vec![checked(boot, verdict)];
            let coverage = Facts { checked, ..facts(Vec::new(), vec![node("node-1", &json!({}))]) }.coverage();
            assert_eq!(coverage.nodes[0].verdict, expected, "{boot} {verdict:?}");
        }
    }

    #[test]
    fn a_traced_workspace_proves_its_node() {
        let coverage = facts(
            vec![pod("a", &with_sidecar(&full(&running())))],
            vec![node("node-1", &json!({})), node("node-2", &json!({}))],
        )
        .coverage();
        assert_eq!(coverage.nodes_ready.as_deref(), Some("1/2"));
    }

    #[test]
    fn kernels_and_systems_that_cannot_trace_are_known_without_a_check() {
        for (info, verdict) in [
            (json!({"kernelVersion": "5.4.0-100-generic"}), NodeVerdict::CannotTrace),
            (json!({"kernelVersion": "5.10.0"}), NodeVerdict::Unchecked),
            (json!({"kernelVersion": "10.0.20348", "operatingSystem": "windows"}), NodeVerdict::CannotTrace),
            (json!({"kernelVersion": "strange"}), NodeVerdict::Unchecked),
        ] {
            let node = node("node-1", &json!({"status": {"nodeInfo": info}}));
            assert_eq!(facts(Vec::new(), vec![node]).coverage().nodes[0].verdict, verdict, "{info}");
        }
    }

    proptest! {
        #[test]
        fn every_pod_is_counted_once(kinds in proptest::collection::vec(0..5_usize, 0..30), enabled: bool) {
            let failing = with_sidecar(&full(&json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}})));
            let waiting = with_sidecar(&full(&json!({"started": false, "state": {"running": {}}})));
            let of_kind = [
                json!({}), with_sidecar(&full(&running())), failing, waiting, json!({"spec": {"hostUsers": false}}),
            ];
            let pods = kinds.iter().enumerate().map(|(n, kind)| pod(&n.to_string(), &of_kind[*kind])).collect();
            let coverage = Facts { enabled, ..facts(pods, Vec::new()) }.coverage();
            let counts = &coverage.workspaces;
            prop_assert_eq!(counts.total as usize, kinds.len());
            prop_assert_eq!(counts.traced + counts.starting + counts.needs_rebuild + counts.not_traced, counts.total);
            prop_assert_eq!(coverage.is_whole(), kinds.iter().all(|kind| *kind == 1));
            let untraced = coverage.pods.iter().filter(|pod| pod.verdict >= Verdict::NeedsRebuild);
            for pod in untraced {
                prop_assert!(pod.reason.is_some() && pod.advice.is_some(), "{:?}", pod);
            }
        }
    }
}
