//! The words of the commands that talk to a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

/// Which cluster, and what of it; as kubectl's flags of these names.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// The configuration of the cluster [default: KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// A context of the configuration [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Which namespaces.
#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    /// One namespace [default: the context's]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SwitchArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 every workspace is traced, 1 some are not or that could not be told, 2 usage.")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Only this namespace [default: all that hold workspaces]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,
    /// All namespaces that hold workspaces, which is the default
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Run `exectrace check` once on each node, in a pod that ends by itself, and keep what it says
    #[arg(long)]
    pub(crate) check_nodes: bool,
    /// The image for --check-nodes [default: the one that the webhook adds to pods]
    #[arg(long, value_name = "IMAGE", requires = "check_nodes")]
    pub(crate) image: Option<String>,
    /// The namespace for the pods of --check-nodes; it must allow the capabilities BPF and PERFMON
    #[arg(long, value_name = "NAME", default_value = "exectrace", requires = "check_nodes")]
    pub(crate) check_namespace: String,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = StatusFormat::Table)]
    pub(crate) output: StatusFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    Table,
    Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all was read, 1 nothing was found or not all could be read, 2 usage, 5 the output was closed.\n\n\
    Example: exectrace logs --user jessie --workspace main --since 1h -o tree"
)]
#[command(group = ArgGroup::new("source").args(["user", "workspace", "files"]).required(true).multiple(true))]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// Workspaces of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Workspaces with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// Only what happened so long ago at most, as 1h or 90s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) since: Option<Duration>,
    /// Go on as lines come, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last so many lines of all [default: all that is kept]
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Lines as they were logged, for people, or as a tree of processes
    #[arg(short, long, value_enum, default_value_t = LogsFormat::Json)]
    pub(crate) output: LogsFormat,
    /// Files instead of a cluster, in any order; - is stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["kubeconfig", "context", "namespace", "all_namespaces"])]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogsFormat {
    Json,
    Text,
    Tree,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 asked to end, 1 something failed, 2 usage, settings or certificate.",
    group = ArgGroup::new("certificate").args(["tls_cert", "tls_secret"]).required(true),
    group = ArgGroup::new("cluster").args(["kubeconfig", "in_cluster"]),
)]
pub(crate) struct WebhookArgs {
    /// Where to listen for the API server, by TLS
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub(crate) listen: SocketAddr,
    /// Where health, readiness and metrics are asked for, without TLS
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub(crate) health: SocketAddr,
    /// The certificate chain (PEM), read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Instead of files: a Secret in which the webhook keeps an authority of its own, renewed by itself
    #[arg(long, value_name = "NAME", requires_all = ["cluster", "service", "webhook_configuration"])]
    pub(crate) tls_secret: Option<String>,
    /// With --tls-secret: the Service by which the API server reaches the webhook
    #[arg(long, value_name = "NAME", requires = "tls_secret")]
    pub(crate) service: Option<String>,
    /// With --tls-secret: the MutatingWebhookConfiguration that is made to trust the authority
    #[arg(long, value_name = "NAME", requires = "tls_secret")]
    pub(crate) webhook_configuration: Option<String>,
    /// The webhook's own namespace: of the Lease, and with --tls-secret of Secret and Service [default: the pod's, or the
    /// context's]
    #[arg(short, long, value_name = "NAME", requires = "cluster")]
    pub(crate) namespace: Option<String>,
    /// What pods get, as YAML, read again when it changes [default: built in]
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The configuration of the cluster in which the switch is; without it and --in-cluster, the settings hold the switch
    #[arg(long, value_name = "FILE", conflicts_with = "in_cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Use the pod's service account
    #[arg(long)]
    pub(crate) in_cluster: bool,
    /// How long to go on answering after SIGTERM, until every API server has been told
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5s")]
    pub(crate) drain: Duration,
}
