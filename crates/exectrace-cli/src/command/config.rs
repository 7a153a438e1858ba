//! `exectrace config`: the configuration that is built in, or what one says.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::exit_code;
use crate::cli::ConfigArgs;
use crate::config::Config;
use crate::exit::{Exit, Failed};
use crate::sifting::Sifting;

pub(crate) fn main(args: &ConfigArgs) -> ExitCode {
    exit_code(args.file.as_deref().map_or_else(|| Ok(Config::built_in()), checked).and_then(|text| {
        let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
        written.context(Failed(Exit::Output, "the configuration could not be printed".to_owned()))
    }))
}

/// What a file says, if it can be used.
fn checked(path: &Path) -> anyhow::Result<String> {
    let config = Config::read(Some(path))?;
    let sifting = Sifting::new(config.sift, true)?;
    sifting.warn();
    let mut text = String::new();
    for rule in sifting.names() {
        let by = if rule.in_kernel.is_some() { "the kernel program" } else { "exectrace" };
        text.push_str(&format!("exclude {}: decided by {by}\n", rule.name));
    }
    for rule in sifting.keeping() {
        text.push_str(&format!("include {rule}\n"));
    }
    if let Some(rollup) = sifting.rollup() {
        let window = humantime::format_duration(rollup.window);
        let (folders, programs) = (rollup.folders.len(), rollup.programs.len());
        text.push_str(&format!(
            "roll-up, where it is asked for: below an exec with more than {} in {window}; usual are {folders} folders, \
             never folded are {programs} programs and {} rules\n",
            rollup.more_than,
            rollup.line.len()
        ));
    }
    text.push_str(&format!("{} can be used\n", path.display()));
    Ok(text)
}
