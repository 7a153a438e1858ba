//! The way to the API server: kubectl's configuration, or what a pod is given.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Which cluster, by kubectl's words.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A configuration file; otherwise `KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; otherwise the current one.
    pub context: Option<String>,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A configuration that cannot be read, or has no such context.
    #[error("the cluster's configuration cannot be used: {0} (--kubeconfig and --context choose another)")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a configuration file nor a service account.
    #[error("no cluster is configured: {0} (--kubeconfig FILE, the variable KUBECONFIG, or a service account)")]
    NoCluster(#[from] kube::config::InferConfigError),
    /// This pod has no service account.
    #[error("this is no pod with a service account: {0}")]
    NotInCluster(#[from] kube::config::InClusterError),
    /// What was configured cannot be used, as certificates that are none.
    #[error("the cluster cannot be reached as it is configured: {0}")]
    Client(#[from] kube::Error),
}

impl Access {
    /// A client, which has not asked anything yet; its default namespace is the context's.
    pub async fn connect(&self) -> Result<Client, AccessError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            (None, None) => Config::infer().await?,
        };
        Ok(Client::try_from(config)?)
    }

    /// A client of the pod that this runs in. It goes to the API server by address, so no name server is needed.
    pub async fn in_cluster() -> Result<Client, AccessError> {
        Ok(Client::try_from(Config::incluster_env()?)?)
    }
}
