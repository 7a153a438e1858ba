//! `exectrace sidecar`: the log of a workspace from a container beside it.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Known, PidNamespace, Pod, Scope, ScopeError, Tracer};

use super::{exit_code, proc};
use crate::attach::{self, Attempts};
use crate::capabilities;
use crate::cli::SidecarArgs;
use crate::exit::{Exit, Failed};
use crate::handshake::{Answer, wait_for_namespace};
use crate::labels::LabelSource;
use crate::line::PodNames;
use crate::log::{Log, Origin};
use crate::pipeline::{Look, Pipeline, Plan};
use crate::start::Watch;
use crate::stop::StopSignal;
use crate::{pod_info, ready};

pub(crate) fn main(args: SidecarArgs) -> ExitCode {
    exit_code(sidecar(&args))
}

/// One run for the pod; or one for each PID namespace that the workspace has, one after the other: its container may
/// start anew.
fn sidecar(args: &SidecarArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let known = labels(args)?.read()?;
    let format = args.logging.outputs.format.or_coder();
    let pod = args.pod_uid.is_some().then(|| pod_names(args)).transpose()?;
    let origin = Origin { labels: known, pod: args.pod_uid.as_deref().zip(pod.as_ref()) };
    let mut next = Some((Log::open(&args.logging, &origin, RUNS)?, None));
    let mut attempts = Attempts::of(&args.logging)?;
    let mut is_announced = false;
    while let Some((log, until)) = next {
        let mut tracer = attach::open(&args.logging, Some(&args.service), &log.sifting, &mut attempts)?;
        match find_workspace(args, &mut tracer, &stop) {
            Ok(true) => {}
            nothing_to_watch => {
                // Nobody would ever take over what has no scope.
                tracer.unpin_if_unused().context("removing the pin")?;
                log.finish();
                return nothing_to_watch.map(drop);
            }
        }
        tracer.all_known_scopes_are_named()?;
        let watch = Watch { proc: proc(), since: SystemTime::now(), expect_running: true, until, pod: pod.clone() };
        let plan = Plan {
            logging: &args.logging,
            look: Look { format, tree: false },
            labels: labels(args)?,
            watch,
            service: Some(&args.service),
            ends_with_its_scopes: true,
        };
        let pipeline = Pipeline::start(log, plan, &mut tracer)?;
        if let Some(socket) = args.ready_socket.as_deref().filter(|_| !is_announced) {
            ready::announce(socket)?;
            is_announced = true;
        }
        next = pipeline.serve(tracer, &stop)?.map(|(log, until)| (log, Some(until)));
    }
    Ok(())
}

/// How often the workspace may start anew until the sidecar must.
const RUNS: usize = 1024;

fn labels(args: &SidecarArgs) -> anyhow::Result<LabelSource> {
    let mut labels = LabelSource::fixed(args.labels.clone())
        .with_folder(args.labels_dir.clone())
        .with_pod_info(args.pod_info.clone())
        .at_most(args.logging.outputs.room_for_labels());
    labels.read().context(Failed(Exit::Usage, "the labels cannot be used".to_owned()))?;
    Ok(labels)
}

fn pod_names(args: &SidecarArgs) -> anyhow::Result<PodNames> {
    let unusable = || Failed(Exit::Usage, "what the pod is called cannot be read".to_owned());
    let names = args.pod_info.as_deref().map_or(Ok([None, None]), pod_info::names).with_context(unusable)?;
    let [name, namespace] = names;
    Ok(PodNames { name, namespace, node: args.node.clone() })
}

/// Adds the workspace's scope; false if somebody said stop before it was known.
fn find_workspace(args: &SidecarArgs, tracer: &mut Tracer, stop: &StopSignal) -> anyhow::Result<bool> {
    if let Some(uid) = &args.pod_uid {
        let pod = Pod::of_this_process(uid).context("finding the own pod")?;
        tracer.add_scope(Scope::Pod(pod))?;
        tracing::info!(pod = uid, "tracing this pod");
        return Ok(true);
    }
    if tracer.known_scopes() > 0 && !args.use_local_pidns {
        tracer.add_scope(Scope::Pinned(Known::Any))?;
        tracing::info!("tracing the PID namespace that a pinned tracer knows");
        return Ok(true);
    }
    if args.use_local_pidns {
        let namespace = PidNamespace::own(proc())?;
        let number = namespace.number();
        tracer.add_scope(Scope::PidNamespace(namespace))?;
        tracing::info!(pid_ns = number, "tracing the PID namespace of this container");
        return Ok(true);
    }
    let listener = TcpListener::bind(args.init_address).with_context(|| {
        Failed(Exit::Usage, format!("cannot listen at {} (--init-address chooses another)", args.init_address))
    })?;
    // What comes now comes from the workspace.
    capabilities::drop_others_but_ptrace()?;
    tracing::info!(address = %listener.local_addr()?, "waiting for the workspace's PID namespace");
    let found = wait_for_namespace(&listener, args.startup_timeout, stop, |number| trace_number(tracer, number))?;
    Ok(found.is_some())
}

fn trace_number(tracer: &mut Tracer, number: u32) -> anyhow::Result<Answer<()>> {
    let namespace = match PidNamespace::by_number(proc(), number) {
        Ok(namespace) => namespace,
        Err(
            why @ (ScopeError::NoNamespaceNumber(_) | ScopeError::NoSuchNamespace(_) | ScopeError::InitialNamespace(_)),
        ) => return Ok(Answer::Refused(why.to_string())),
        Err(error) => return Err(error.into()),
    };
    let held = namespace.is_held();
    tracer.add_scope(Scope::PidNamespace(namespace))?;
    tracing::info!(pid_ns = number, held, "tracing the workspace's PID namespace");
    Ok(Answer::Accepted(()))
}
