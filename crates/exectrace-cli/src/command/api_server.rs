//! The way from a command to the API server: a runtime, a client, and exit codes for errors on the way.

use anyhow::Context;
use exectrace_k8s::client::{Access, AccessError};
use kube::Client;

use crate::cli::cluster::ClusterArgs;
use crate::exit::{Exit, Failed};

/// Asks the cluster that the arguments mean.
pub(crate) fn ask<T>(
    cluster: &ClusterArgs,
    question: impl AsyncFnOnce(Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let access = Access { kubeconfig: cluster.kubeconfig.clone(), context: cluster.context.clone() };
    runtime.block_on(async move {
        let client = access.connect().await.map_err(|error| unusable(&error))?;
        question(client).await
    })
}

/// A configuration that cannot be used is the command line's fault.
fn unusable(error: &AccessError) -> anyhow::Error {
    anyhow::Error::new(Failed(Exit::Usage, error.to_string()))
}
