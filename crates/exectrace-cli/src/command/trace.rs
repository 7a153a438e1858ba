//! `exectrace trace`: one scope until somebody says stop.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Cgroup, PidNamespace, Scope, Tree};

use super::{exit_code, proc};
use crate::cli::{TargetArgs, TraceArgs};
use crate::labels::LabelSource;
use crate::pipeline::{self, Account, Log, Look, Pipeline, Plan};
use crate::stop::StopSignal;

pub(crate) fn main(args: TraceArgs) -> ExitCode {
    exit_code(trace(&args))
}

fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let log = Log::open(&args.logging)?;
    let mut tracer = pipeline::service(&args.logging, &args.service)?;
    for scope in scopes(&args.target)? {
        tracer.add_scope(scope).context("adding the scope")?;
    }
    let since = SystemTime::now();
    let plan = Plan {
        logging: &args.logging,
        look: Look { format: args.format, tree: args.tree, fields: args.logging.fields },
        labels: LabelSource::fixed([]),
        proc: proc(),
        since,
        expect_running: true,
        service: Some(&args.service),
    };
    let mut pipeline = Pipeline::start(log, plan, &mut tracer)?;
    tracing::info!("tracing");
    pipeline.read(&mut tracer, &[stop.as_fd()])?;
    pipeline.stop(tracer, "signal", Account::Always)
}

fn scopes(target: &TargetArgs) -> anyhow::Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for number in &target.pid_ns {
        let namespace = PidNamespace::by_number(proc(), *number)?;
        if !namespace.is_held() {
            tracing::warn!(
                pid_ns = number,
                "this PID namespace is out of sight and cannot be held: what has its number when its first process execs \
                 is what will be traced"
            );
        }
        scopes.push(Scope::PidNamespace(namespace));
    }
    for pid in &target.pid {
        scopes.push(Scope::Tree(Tree::of_process(proc(), *pid)?));
    }
    for path in &target.cgroup {
        scopes.push(Scope::Cgroup(Cgroup::open(path)?));
    }
    if target.all {
        scopes.push(Scope::Node);
    }
    Ok(scopes)
}
