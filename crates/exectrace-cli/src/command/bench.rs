//! `exectrace bench`: what tracing costs on this machine.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::exit_code;
use crate::bench;
use crate::bench::report::Report;
use crate::bench::steps::Steps;
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failed};

pub(crate) fn main(args: &BenchArgs) -> ExitCode {
    exit_code(run(args))
}

fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let steps = Steps::new()?;
    let report = bench::measure(args, &steps)?;
    steps.finish();
    write(args, &report).context(Failed(Exit::Output, "the figures could not be written".to_owned()))
}

fn write(args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_string_pretty(report)? + "\n").with_context(|| path.display().to_string())?;
    }
    let mut out = io::stdout().lock();
    out.write_all(report.text().as_bytes())?;
    Ok(out.flush()?)
}
