//! `exectrace bench`: what tracing costs on this machine, beside the tools that people have at hand.
//!
//! `ground` is the place that all happens in: a PID namespace and a cgroup of our own, with the `workload`. A `tool` is
//! started there for one `trial` (auditd needs `audit` for that), and what it costs is read from the outside (`process`, `programs`), the same for all.
//! `scopes`, `encode` and `sidecars` measure what only exectrace has. `steps` are told to who waits, and all of it ends in a
//! `report`.

mod audit;
mod encode;
mod ground;
mod process;
mod programs;
pub(crate) mod report;
mod scopes;
mod sidecars;
pub(crate) mod steps;
mod tool;
mod trial;
mod workload;

use std::time::SystemTime;

use self::ground::Ground;
use self::report::{Machine, Measured, Report};
use self::steps::Steps;
use self::tool::Tool;
use crate::cli::{BenchArgs, Section};
use crate::redaction;

/// Measures what was asked for. What cannot be measured here is in the report, with why.
pub(crate) fn measure(args: &BenchArgs, steps: &Steps) -> anyhow::Result<Report> {
    let mut report = Report {
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Machine::this(),
        execs: args.execs,
        workers: args.workers(),
        rounds: args.rounds,
        ..Report::default()
    };
    let workload = workload::Programs::unpack()?;
    let ground = || Ground::new(&workload, args.workers());
    if args.wants(Section::Tools) {
        tools(args, &ground, steps, &mut report)?;
    }
    if args.wants(Section::Scopes) {
        for scopes in &args.scopes {
            steps.begin(format!("an exec that is nobody's, {scopes} scopes"))?;
            match scopes::measure(ground()?, *scopes, args.execs)? {
                Measured::Row(row) => report.scopes.push(row),
                Measured::Skipped(why) => report.skip(format!("{scopes} scopes"), why),
            }
        }
    }
    if args.wants(Section::Encode) {
        steps.begin("from records to bytes")?;
        let redactor = redaction::random()?;
        for (redactor, rollup) in [(None, false), (Some(&redactor), false), (Some(&redactor), true)] {
            report.encode.push(encode::measure(ground()?, args.execs, encode::Way { redactor, rollup })?);
        }
    }
    if args.wants(Section::Sidecars) {
        for count in &args.sidecars {
            // One tracer for one scope is the same either way.
            for apart in [true, false].into_iter().skip(usize::from(*count == 1)) {
                steps.begin(format!("{count} scopes, {}", if apart { "a tracer each" } else { "one tracer" }))?;
                match sidecars::measure(ground()?, *count, apart, args.execs)? {
                    Measured::Row(row) => report.sidecars.push(row),
                    Measured::Skipped(why) => report.skip(format!("{count} sidecars"), why),
                }
            }
        }
    }
    Ok(report)
}

/// All tools take their turns in each round, so that what else the machine does meets them alike.
fn tools<'a>(
    args: &BenchArgs,
    ground: &impl Fn() -> anyhow::Result<Ground<'a>>,
    steps: &Steps,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut can_run = Vec::new();
    for tool in Tool::ALL {
        match tool.check(&ground()?) {
            Ok(()) => can_run.push(tool),
            Err(why) => report.skip(tool.name(), why),
        }
    }
    for round in 1..=args.rounds {
        for tool in &can_run {
            steps.begin(format!("{}, round {round} of {}", tool.name(), args.rounds))?;
            match trial::run(*tool, ground()?, args.execs)? {
                Measured::Row(row) => report.tools.push(row),
                Measured::Skipped(why) => report.skip(tool.name(), why),
            }
        }
    }
    for tool in &can_run {
        steps.begin(format!("{}, in the kernel", tool.name()))?;
        match trial::in_kernel(*tool, ground()?, args.execs)? {
            Measured::Row(row) => report.kernel.push(row),
            Measured::Skipped(why) => report.skip(format!("{}, in the kernel", tool.name()), why),
        }
    }
    Ok(())
}
