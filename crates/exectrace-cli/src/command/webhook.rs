//! `exectrace webhook`.

use std::process::ExitCode;

use anyhow::Context;
use exectrace_k8s::certificates::SelfManaged;
use exectrace_k8s::client::Access;
use exectrace_k8s::keeper::Pace;
use exectrace_k8s::serve::{Serve, Tls, serve};
use tokio::signal::unix::{SignalKind, signal};

use super::exit_code;
use crate::cli::cluster::WebhookArgs;
use crate::exit::{Exit, Failed};

pub(crate) fn main(args: WebhookArgs) -> ExitCode {
    exit_code(run(args))
}

fn run(args: WebhookArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the webhook's threads cannot be started")?.block_on(webhook(args))
}

async fn webhook(args: WebhookArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(wanted(args).await?, stop).await.map_err(|error| {
        if error.is_usage() { Failed(Exit::Usage, error.to_string()).into() } else { anyhow::Error::new(error) }
    })
}

async fn wanted(args: WebhookArgs) -> anyhow::Result<Serve> {
    let client = match (args.in_cluster, args.kubeconfig) {
        (true, _) => Some(Access::in_cluster().await?),
        (false, None) => None,
        (false, kubeconfig) => Some(Access { kubeconfig, context: None }.connect().await?),
    };
    let namespace = args.namespace;
    let own = (args.tls_secret, args.service, args.webhook_configuration, client.clone());
    let tls = match (args.tls_cert, args.tls_key, own) {
        (Some(chain), Some(key), _) => Tls::Files { chain, key },
        (_, _, (Some(secret), Some(service), Some(configuration), Some(client))) => Tls::SelfManaged(SelfManaged {
            namespace: namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
            client,
            secret,
            service,
            configuration,
        }),
        _ => return Err(Failed(Exit::Usage, "give --tls-cert and --tls-key, or --tls-secret".to_owned()).into()),
    };
    // In a pod this is the pod's name.
    let identity = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (listen, health, settings, drain) = (args.listen, args.health, args.settings, args.drain);
    let pace = Pace::default();
    Ok(Serve { listen, health, tls, settings, client, namespace, pace, identity, drain })
}
