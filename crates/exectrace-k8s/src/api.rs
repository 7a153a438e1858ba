//! The switch as the API server keeps it: one cluster-scoped object of the kind `ProcessLogging`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an admin wants.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "exectrace.dev",
    version = "v1alpha1",
    kind = "ProcessLogging",
    plural = "processloggings",
    singular = "processlogging",
    status = "ProcessLoggingStatus",
    derive = "PartialEq",
    doc = "Process logging of workspaces: one switch for the whole deployment, named default.",
    printcolumn = r#"{"name":"Enabled","type":"boolean","jsonPath":".spec.enabled"}"#,
    printcolumn = r#"{"name":"Traced","type":"string","jsonPath":".status.workspaces.summary"}"#,
    printcolumn = r#"{"name":"Needs-rebuild","type":"integer","jsonPath":".status.workspaces.needsRebuild"}"#,
    printcolumn = r#"{"name":"Nodes-ready","type":"string","jsonPath":".status.nodesReady"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ProcessLoggingSpec {
    /// Whether new workspaces get the sidecar. Workspaces that run stay as they are until they are rebuilt.
    pub enabled: bool,
}

/// What is so, as the webhook's leader last saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessLoggingStatus {
    /// The generation of the object that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// The image that the webhook adds to pods, which `exectrace status --check-nodes` takes as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The hash of the settings that pods get now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Pods of workspaces, counted.
    pub workspaces: WorkspaceCounts,
    /// Nodes that can trace, of all: `3/4`.
    pub nodes_ready: String,
    /// Each node.
    pub nodes: Vec<NodeStatus>,
}

/// Pods of workspaces by what becomes of their execs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceCounts {
    /// All of them.
    pub total: u32,
    /// Their execs are logged.
    pub traced: u32,
    /// They start.
    pub starting: u32,
    /// They began without a sidecar, and would get one now: rebuild them.
    pub needs_rebuild: u32,
    /// Their execs are not logged.
    pub not_traced: u32,
    /// Those of the traced whose sidecar was made with other settings.
    pub other_settings: u32,
    /// Traced, of all: `7/9`.
    pub summary: String,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// `uname -r`, as the kubelet tells it.
    pub kernel: String,
    /// Whether its kernel has type information, where `exectrace check` has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf: Option<bool>,
    /// What to expect of it.
    pub verdict: NodeVerdict,
    /// Why, and what to do, where it cannot trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When `exectrace check` ran there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// The boot that was checked: a node that has booted since may have another kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_boot: Option<String>,
}

/// Whether a node can trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerdict {
    /// `exectrace check` traced an exec there, or a workspace is traced there.
    Ready,
    /// Its kernel is new enough; nobody has tried.
    #[default]
    Unchecked,
    /// It cannot: too old, not Linux, or `exectrace check` failed.
    CannotTrace,
    /// The node itself is not ready.
    NodeNotReady,
}
