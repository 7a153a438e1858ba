//! `exectrace verify`: is a log whole, and is it what was written?

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::files;
use crate::cli::{CheckFormat, VerifyArgs};
use crate::exit::{Exit, Failed, report};
use crate::seal::ChainKey;
use crate::verify::{Report, Verdict, Verifier};

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
    files::read_each(&args.files, |name, input| verifier.add(name.to_owned(), input))?;
    verifier.finish().ok_or_else(|| files::no_log().into())
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
