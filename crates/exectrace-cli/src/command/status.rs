//! `exectrace status`.

mod table;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use exectrace_k8s::api::NodeStatus;
use exectrace_k8s::node_check::{self, Plan};
use exectrace_k8s::survey::{Survey, survey};
use kube::Client;
use tokio::sync::watch;

use super::api_server::ask;
use crate::cli::cluster::{StatusArgs, StatusFormat};
use crate::exit::{Exit, Failed, report};

pub(crate) fn main(args: &StatusArgs) -> ExitCode {
    let whole = ask(&args.cluster, async |client| {
        let mut found = survey(&client, args.namespace.as_deref()).await?;
        if args.check_nodes {
            let checked = check_nodes(&client, args, &found).await?;
            found = survey(&client, args.namespace.as_deref()).await?;
            found.coverage.learn(checked);
        }
        print(args.output, &found)?;
        Ok(found.is_whole())
    });
    match whole {
        Ok(true) => Exit::Ok.into(),
        Ok(false) => Exit::Failure.into(),
        Err(error) => report(&error).into(),
    }
}

/// Runs a check on each node and keeps the verdicts. An interrupt deletes the pods, keeps what was found so far, and is
/// an error.
async fn check_nodes(client: &Client, args: &StatusArgs, found: &Survey) -> anyhow::Result<Vec<NodeStatus>> {
    if found.coverage.nodes_ready.is_none() {
        bail!("nodes can only be checked by who may list them (docs/status.md has the rights)");
    }
    let Some(image) = args.image.clone().or_else(|| found.image.clone()) else {
        let words = "--check-nodes needs an image: the webhook has not told its own yet, so name one with --image";
        return Err(Failed(Exit::Usage, words.to_owned()).into());
    };
    let plan = Plan { image, namespace: args.check_namespace.clone() };
    let stop = Arc::new(watch::Sender::new(false));
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let of_task = Arc::clone(&stop);
    let waits = tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        of_task.send_replace(true);
    });
    let checked = node_check::check(client, &plan, &found.nodes, &stop.subscribe(), progress).await;
    waits.abort();
    match node_check::save(client, &checked).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the verdicts are not kept, for the switch was never thrown: run exectrace enable"),
        Err(error) => tracing::warn!(error = error.to_string(), "the verdicts are not kept"),
    }
    if *stop.borrow() {
        bail!("interrupted: {} of {} nodes were checked", checked.len(), found.nodes.len());
    }
    Ok(checked)
}

fn progress(node: &NodeStatus) {
    let verdict = table::node_verdict(node.verdict);
    match &node.reason {
        Some(reason) => tracing::warn!(node = node.name, verdict, reason, "checked"),
        None => tracing::info!(node = node.name, verdict, "checked"),
    }
}

fn print(format: StatusFormat, found: &Survey) -> anyhow::Result<()> {
    let text = match format {
        StatusFormat::Table => table::text(found),
        StatusFormat::Json => serde_json::to_string_pretty(found)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing to stdout")
}
