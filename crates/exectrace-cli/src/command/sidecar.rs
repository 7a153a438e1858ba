//! `exectrace sidecar`: the log of a workspace from a container beside it.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Known, PidNamespace, Scope, ScopeError, Tracer};

use super::{exit_code, proc};
use crate::capabilities;
use crate::cli::{OutputFormat, SidecarArgs};
use crate::exit::{Exit, Failed};
use crate::handshake::{Answer, wait_for_namespace};
use crate::labels::LabelSource;
use crate::line::Why;
use crate::pipeline::{self, Account, Log, Look, Pipeline, Plan, Watched};
use crate::start::Watch;
use crate::stop::StopSignal;

pub(crate) fn main(args: SidecarArgs) -> ExitCode {
    exit_code(sidecar(args))
}

/// One run for each PID namespace that the workspace has, one after the other: its container may start anew.
fn sidecar(args: SidecarArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let mut until = None;
    while watch(&args, &stop, until)? == Watched::ToItsEnd {
        until = Some(SystemTime::now());
    }
    Ok(())
}

fn watch(args: &SidecarArgs, stop: &StopSignal, until: Option<SystemTime>) -> anyhow::Result<Watched> {
    let mut labels = LabelSource::fixed(args.labels.clone()).with_folder(args.labels_dir.clone());
    labels.read().context(Failed(Exit::Usage, "the labels cannot be used".to_owned()))?;
    let log = Log::open(&args.logging)?;
    let mut tracer = pipeline::open(&args.logging, Some(&args.service))?;
    if !find_workspace(args, &mut tracer, stop)? {
        return Ok(Watched::AsAsked);
    }
    let since = SystemTime::now();
    let plan = Plan {
        logging: &args.logging,
        look: Look { format: OutputFormat::Json, tree: false, fields: args.logging.fields },
        labels,
        watch: Watch { proc: proc(), since, expect_running: true, until },
        service: Some(&args.service),
        ends_with_its_scopes: true,
    };
    let mut pipeline = Pipeline::start(log, plan, &mut tracer)?;
    let watched = pipeline.read(&mut tracer, &[stop.as_fd()])?;
    let why = match watched {
        Watched::AsAsked => Why::Signal,
        Watched::ToItsEnd => {
            tracing::info!("the workspace's PID namespace is gone");
            Why::ScopeGone
        }
    };
    pipeline.stop(tracer, why, Account::Always)?;
    Ok(watched)
}

/// Adds the workspace's scope; false if somebody said stop before it was known.
fn find_workspace(args: &SidecarArgs, tracer: &mut Tracer, stop: &StopSignal) -> anyhow::Result<bool> {
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
