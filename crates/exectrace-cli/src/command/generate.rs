//! `exectrace completions` and `exectrace man`: from the definitions of `cli`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::exit_code;
use crate::cli::Cli;

pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "exectrace", &mut script);
    exit_code(print(&script))
}

pub(crate) fn man() -> ExitCode {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    exit_code(render(&command, &mut page).and_then(|()| print(&page)))
}

/// The page of the program, then those of its subcommands, as one document.
fn render(command: &clap::Command, page: &mut Vec<u8>) -> anyhow::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page).context("rendering the manual page")?;
    command.get_subcommands().try_for_each(|sub| render(sub, page))
}

fn print(bytes: &[u8]) -> anyhow::Result<()> {
    io::stdout().write_all(bytes).context("writing to stdout")
}
