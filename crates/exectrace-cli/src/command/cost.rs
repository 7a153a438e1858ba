//! `exectrace cost`: what a log costs.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::trace::scopes;
use super::{exit_code, files};
use crate::capabilities;
use crate::cli::cost::{CostArgs, CostFormat};
use crate::config::Config;
use crate::cost::{Asked, Live, Meter, Report};
use crate::exit::{Exit, Failed};
use crate::sifting::Sifting;
use crate::stop::StopSignal;

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
        let mut meter = meter;
        files::read_each(&args.files, |name, input| meter.add(name, input))?;
        meter
    };
    let report = meter.finish(prices, &asked).ok_or_else(files::no_log)?;
    print(args.output, &report).context(Failed(Exit::Output, "the report could not be written".to_owned()))
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
