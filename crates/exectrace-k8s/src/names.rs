//! Names that more than one side must agree on: the webhook, the chart, the sidecar and who reads.

/// The container that is added to a workspace's pod.
pub const CONTAINER: &str = "exectrace";
/// Namespaces with this label, set to [`NAMESPACE_LABEL_VALUE`], hold workspaces.
pub const NAMESPACE_LABEL: &str = "exectrace.dev/workspaces";
/// See [`NAMESPACE_LABEL`].
pub const NAMESPACE_LABEL_VALUE: &str = "true";
/// What the webhook did with a pod, as JSON: see [`crate::settings::Stamp`].
pub const STATUS_ANNOTATION: &str = "exectrace.dev/status";
/// Who threw the switch last, as far as is known; on the custom resource.
pub const CHANGED_BY_ANNOTATION: &str = "exectrace.dev/changed-by";
/// The generation of the custom resource for which [`CHANGED_BY_ANNOTATION`] says it.
pub const CHANGED_GENERATION_ANNOTATION: &str = "exectrace.dev/changed-generation";
/// The one object of the kind [`crate::api::ProcessLogging`].
pub const SWITCH: &str = "default";

/// The volume for the socket by which the startup probe asks. An `emptyDir`, for the root file system is read-only.
pub const RUN_VOLUME: &str = "exectrace-run";
/// Where [`RUN_VOLUME`] is mounted.
pub const RUN_FOLDER: &str = "/run/exectrace";
/// The socket by which the startup probe asks.
pub const READY_SOCKET: &str = "/run/exectrace/ready.sock";
/// The volume for lines that wait for a place over the network, where the settings have one.
pub const SPOOL_VOLUME: &str = "exectrace-spool";
/// Where [`SPOOL_VOLUME`] is mounted.
pub const SPOOL_FOLDER: &str = "/var/spool/exectrace";
/// The downward-API volume with the files `labels`, `annotations`, `name` and `namespace` of the pod.
pub const POD_INFO_VOLUME: &str = "exectrace-pod-info";
/// Where [`POD_INFO_VOLUME`] is mounted.
pub const POD_INFO_FOLDER: &str = "/etc/exectrace/pod";
/// The environment variable that has the pod's UID, by the downward API.
pub const POD_UID_VARIABLE: &str = "EXECTRACE_POD_UID";
/// The environment variable that has the node's name, by the downward API.
pub const NODE_VARIABLE: &str = "EXECTRACE_NODE_NAME";
/// Where the API server puts a service account's token into containers that have nothing mounted there.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
