//! `exectrace trace`: one scope until somebody says stop.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use exectrace::{Cgroup, Known, PidNamespace, Scope, ScopeError, Tree};

use super::{exit_code, proc};
use crate::attach::{self, Attempts};
use crate::cli::{TargetArgs, TraceArgs};
use crate::labels::LabelSource;
use crate::log::{Log, Origin};
use crate::pipeline::{Look, Pipeline, Plan};
use crate::start::Watch;
use crate::stop::StopSignal;

pub(crate) fn main(args: TraceArgs) -> ExitCode {
    exit_code(trace(&args))
}

fn trace(args: &TraceArgs) -> anyhow::Result<()> {
    let stop = StopSignal::new()?;
    let mut next = Some((Log::open(&args.logging, &Origin::default(), RUNS)?, None));
    let mut attempts = Attempts::of(&args.logging)?;
    while let Some((log, until)) = next {
        let mut tracer = attach::open(&args.logging, Some(&args.service), &log.sifting, &mut attempts)?;
        for scope in scopes(&args.target, tracer.known_scopes())? {
            tracer.add_scope(scope).context("adding the scope")?;
        }
        tracer.all_known_scopes_are_named()?;
        let watch = Watch { proc: proc(), since: SystemTime::now(), expect_running: true, until, pod: None };
        let plan = Plan {
            logging: &args.logging,
            look: Look { format: args.logging.outputs.format, tree: args.tree },
            labels: LabelSource::fixed([]),
            watch,
            service: Some(&args.service),
            ends_with_its_scopes: false,
        };
        let pipeline = Pipeline::start(log, plan, &mut tracer)?;
        if tracer.detached_since().is_none() {
            tracing::info!("tracing");
        }
        next = pipeline.serve(tracer, &stop)?.map(|(log, until)| (log, Some(until)));
    }
    Ok(())
}

/// One, and another after what a process left that was killed while it stopped.
const RUNS: usize = 2;

/// The scopes in the order of their kinds. Where another tracer has left some (`known`), they need not be there any more.
pub(super) fn scopes(target: &TargetArgs, known: u32) -> anyhow::Result<Vec<Scope>> {
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
        let found = Cgroup::open(path).map(Scope::Cgroup);
        scopes.push(if is_removed(path) { or_pinned(found, Known::Cgroup(path.clone()))? } else { found? });
    }
    if target.all {
        scopes.push(Scope::Node);
    }
    Ok(scopes)
}

/// Whether there is no such cgroup any more, as far as can be seen: cgroups are there, and this is none of them.
fn is_removed(cgroup: &Path) -> bool {
    let above = || cgroup.ancestors().skip(1).find(|folder| folder.exists());
    matches!(cgroup.try_exists(), Ok(false)) && above().is_some_and(|folder| Cgroup::open(folder).is_ok())
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
