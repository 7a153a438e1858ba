//! `exectrace trace`: one scope until somebody says stop.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use exectrace::{Cgroup, PidNamespace, Scope, Tree};

use super::{exit_code, proc};
use crate::capabilities;
use crate::cli::{TargetArgs, TraceArgs};
use crate::labels::LabelSource;
use crate::pipeline::{self, Account, Look, Pipeline};
use crate::stop::StopSignal;

pub(crate) fn main(args: TraceArgs) -> ExitCode {
    exit_code(trace(&args))
}

fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let sink = pipeline::open_sink(&args.logging)?;
    let mut tracer = pipeline::tracer(&args.logging).open()?;
    tracer.add_scope(scope(&args.target)?).context("adding the scope")?;
    capabilities::drop_others()?;
    let look = Look { format: args.format, tree: args.tree, fields: args.logging.fields };
    let mut pipeline = Pipeline::start(sink, &look, LabelSource::fixed([]), args.logging.queue_size)?;
    tracing::info!("tracing");
    pipeline.read(&mut tracer, &[stop.as_fd()])?;
    pipeline.stop(tracer, Account::Always)
}

fn scope(target: &TargetArgs) -> anyhow::Result<Scope> {
    if let Some(number) = target.pid_ns {
        let namespace = PidNamespace::by_number(proc(), number)?;
        if !namespace.is_held() {
            tracing::warn!(
                pid_ns = number,
                "this PID namespace is out of sight and cannot be held: once it is gone, its number may mean another"
            );
        }
        return Ok(Scope::PidNamespace(namespace));
    }
    if let Some(pid) = target.pid {
        return Ok(Scope::Tree(Tree::of_process(proc(), pid)?));
    }
    if let Some(path) = &target.cgroup {
        return Ok(Scope::Cgroup(Cgroup::open(path)?));
    }
    Ok(Scope::Node)
}
