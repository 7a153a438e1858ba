//! `exectrace verify`: is a log whole, and is it what was written?

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{CheckFormat, VerifyArgs};
use crate::exit::{Exit, Failed, report};
use crate::seal::ChainKey;
use crate::verify::{Report, Verdict, Verifier};

/// What takes less than a second needs no progress bar.
const LARGE: u64 = 64 << 20;

pub(crate) fn main(args: VerifyArgs) -> ExitCode {
    match verify(&args) {
        Ok(Verdict::Whole) => Exit::Ok.into(),
        Ok(Verdict::Gaps | Verdict::Tampered) => Exit::Failure.into(),
        Err(error) => report(&error).into(),
    }
}

fn verify(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let key = args.chain_key.as_deref().map(ChainKey::read).transpose()?;
    let report = read(args, Verifier::new(key))?;
    if !args.quiet {
        print(args, &report).context(Failed(Exit::Output, "the report could not be written".to_owned()))?;
    }
    Ok(report.verdict)
}

fn read(args: &VerifyArgs, mut verifier: Verifier) -> anyhow::Result<Report> {
    let bar = progress(args);
    for path in &args.files {
        let name = path.display().to_string();
        let unreadable = || Failed(Exit::Usage, format!("cannot read {name}"));
        let input = open(path).with_context(unreadable)?;
        verifier.add(name.clone(), bar.wrap_read(input)).with_context(unreadable)?;
    }
    bar.finish_and_clear();
    verifier.finish().ok_or_else(|| {
        let why = "this is not a log of exectrace: no line of it has a run and a number";
        Failed(Exit::Usage, why.to_owned()).into()
    })
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// For people who wait for a large log; hidden otherwise.
fn progress(args: &VerifyArgs) -> ProgressBar {
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

fn print(args: &VerifyArgs, report: &Report) -> anyhow::Result<()> {
    let text = match args.output {
        CheckFormat::Text => report.text(args.max_findings),
        CheckFormat::Json => serde_json::to_string_pretty(&report.json(args.max_findings))? + "\n",
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
