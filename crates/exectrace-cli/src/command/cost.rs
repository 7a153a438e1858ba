//! `exectrace cost`: what a log costs.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit_code;
use super::trace::scopes;
use crate::capabilities;
use crate::cli::cost::{CostArgs, CostFormat};
use crate::config::Config;
use crate::cost::{Asked, Live, Meter, Report};
use crate::exit::{Exit, Failed};
use crate::sifting::Sifting;
use crate::stop::StopSignal;

/// What takes less than a second needs no progress bar.
const LARGE: u64 = 64 << 20;

pub(crate) fn main(args: &CostArgs) -> ExitCode {
    exit_code(cost(args))
}

fn cost(args: &CostArgs) -> anyhow::Result<()> {
    let Config { sift, prices } = Config::read(args.config.as_deref())?;
    let mut asked = Asked { hours_a_month: args.hours_a_month, times: args.times, top: args.top, watched: None };
    // Refuses rules that are none in the words of all other commands.
    let sifting = Sifting::new(sift.clone(), false)?;
    let meter = Meter::of(sift)?;
    let meter = if args.live {
        let (meter, watched) = watch(args, &sifting, meter)?;
        asked.watched = Some(watched);
        meter
    } else {
        read(args, meter)?
    };
    let report = meter.finish(prices, &asked).ok_or_else(|| {
        let why = "this is not a log of exectrace: no line of it has a run and a number";
        Failed(Exit::Usage, why.to_owned())
    })?;
    print(args.output, &report).context(Failed(Exit::Output, "the report could not be written".to_owned()))
}

fn read(args: &CostArgs, mut meter: Meter) -> anyhow::Result<Meter> {
    let bar = reading(args);
    for path in &args.files {
        let name = path.display().to_string();
        let unreadable = || Failed(Exit::Usage, format!("cannot read {name}"));
        let input = open(path).with_context(unreadable)?;
        meter.add(&name, bar.wrap_read(input)).with_context(unreadable)?;
    }
    bar.finish_and_clear();
    Ok(meter)
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// For people who wait for a large log; hidden otherwise.
fn reading(args: &CostArgs) -> ProgressBar {
    let bytes = args.files.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
    if bytes < LARGE || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn watch(args: &CostArgs, sifting: &Sifting, meter: Meter) -> anyhow::Result<(Meter, std::time::Duration)> {
    let stop = StopSignal::new()?;
    let mut tracer = Live::tracer(sifting)?;
    for scope in scopes(&args.target(), 0)? {
        tracer.add_scope(scope).context("adding the scope")?;
    }
    capabilities::drop_others()?;
    let live = Live::new(sifting, meter, tracer.scopes().count())?;
    live.watch(tracer, args.time, &stop)
}

fn print(format: CostFormat, report: &Report) -> anyhow::Result<()> {
    let text = match format {
        CostFormat::Table => report.text(),
        CostFormat::Json => report.json()?,
        CostFormat::Html => report.page(),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
