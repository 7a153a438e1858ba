//! `exectrace trace`: one scope until somebody says stop.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Cgroup, Known, PidNamespace, Scope, ScopeError, Tree};

use super::{exit_code, proc};
use crate::cli::{TargetArgs, TraceArgs};
use crate::labels::LabelSource;
use crate::line::Why;
use crate::pipeline::{self, Account, Log, Look, Pipeline, Plan};
use crate::start::Watch;
use crate::stop::StopSignal;

pub(crate) fn main(args: TraceArgs) -> ExitCode {
    exit_code(trace(&args))
}

fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let log = Log::open(&args.logging)?;
    let mut tracer = pipeline::open(&args.logging, Some(&args.service))?;
    for scope in scopes(&args.target, tracer.known_scopes())? {
        tracer.add_scope(scope).context("adding the scope")?;
    }
    let since = SystemTime::now();
    let plan = Plan {
        logging: &args.logging,
        look: Look { format: args.format, tree: args.tree, fields: args.logging.fields },
        labels: LabelSource::fixed([]),
        watch: Watch { proc: proc(), since, expect_running: true, until: None },
        service: Some(&args.service),
        ends_with_its_scopes: false,
    };
    let mut pipeline = Pipeline::start(log, plan, &mut tracer)?;
    tracing::info!("tracing");
    pipeline.read(&mut tracer, &[stop.as_fd()])?;
    pipeline.stop(tracer, Why::Signal, Account::Always)
}

/// The scopes in the order of their kinds. Where another tracer has left some (`known`), they need not be there any more.
fn scopes(target: &TargetArgs, known: u32) -> anyhow::Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    let or_pinned = |found: Result<Scope, ScopeError>, pinned: Known| match found {
        Err(why) if known > 0 => {
            tracing::warn!("what was traced so far is not there any more: {why}");
            Ok(Scope::Pinned(pinned))
        }
        found => found,
    };
    for number in &target.pid_ns {
        scopes.push(or_pinned(pid_namespace(*number), Known::PidNamespace(*number))?);
    }
    for pid in &target.pid {
        scopes.push(or_pinned(Tree::of_process(proc(), *pid).map(Scope::Tree), Known::Tree(*pid))?);
    }
    for path in &target.cgroup {
        scopes.push(or_pinned(Cgroup::open(path).map(Scope::Cgroup), Known::Cgroup)?);
    }
    if target.all {
        scopes.push(Scope::Node);
    }
    Ok(scopes)
}

fn pid_namespace(number: u32) -> Result<Scope, ScopeError> {
    let namespace = PidNamespace::by_number(proc(), number)?;
    if !namespace.is_held() {
        tracing::warn!(
            pid_ns = number,
            "this PID namespace is out of sight and cannot be held: what has its number when its first process execs is \
             what will be traced"
        );
    }
    Ok(Scope::PidNamespace(namespace))
}
