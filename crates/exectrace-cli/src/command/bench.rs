//! `exectrace bench`: what tracing costs on this machine.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::exit_code;
use crate::bench;
use crate::bench::report::Report;
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failed};

/// How often a terminal sees that something goes on.
const TICK: Duration = Duration::from_millis(200);

pub(crate) fn main(args: &BenchArgs) -> ExitCode {
    exit_code(run(args))
}

fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let progress = if io::stderr().is_terminal() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        bar
    } else {
        ProgressBar::hidden()
    };
    let report = bench::measure(args, &progress)?;
    progress.finish_and_clear();
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
