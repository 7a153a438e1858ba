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
#[command(after_help = "Exit codes: 0 every workspace is traced, 1 some are not, 2 usage.")]
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
pub(crate) struct WebhookArgs {
    /// Where to listen for the API server
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
    /// What pods get, as YAML [default: built in]
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The configuration of the cluster in which the switch is; without it and --in-cluster, the settings hold the switch
    #[arg(long, value_name = "FILE", conflicts_with = "in_cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Use the pod's service account
    #[arg(long)]
    pub(crate) in_cluster: bool,
}
