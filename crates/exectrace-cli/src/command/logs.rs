//! `exectrace logs`: what workspaces did, from files.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::cli::cluster::{LogsArgs, LogsFormat};
use crate::exit::{Exit, Failed, report};
use crate::line::paint::Pen;
use crate::logs::{Form, Merge, Show, Source, Text, Trees, Wanted};

/// Stands for stdin.
const STDIN: &str = "-";

pub(crate) fn main(args: &LogsArgs) -> ExitCode {
    match logs(args) {
        Ok(exit) => exit.into(),
        // Whoever read it has seen enough, as `head` does.
        Err(error) if is_closed(&error) => Exit::Output.into(),
        Err(error) => report(&error).into(),
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    error.downcast_ref::<Failed>().is_some_and(|failed| failed.0 == Exit::Output)
        && causes.last().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn logs(args: &LogsArgs) -> anyhow::Result<Exit> {
    if args.files.is_empty() {
        bail!("{args:?}");
    }
    files(args)
}

fn files(args: &LogsArgs) -> anyhow::Result<Exit> {
    let is_stdin = args.files.iter().any(|path| path.as_os_str() == STDIN);
    if args.follow && !is_stdin {
        let why = "a file is read to its end; to follow one: tail -n +1 -F FILE | exectrace logs --follow -";
        bail!(Failed(Exit::Usage, why.to_owned()));
    }
    // Where lines have no labels, the file's name is all that can be said.
    let names_files = args.files.len() > 1 || args.output == LogsFormat::Tree;
    let mut sources = Vec::new();
    let mut all_is_read = true;
    for path in &args.files {
        match open(path, names_files) {
            Ok(source) => sources.push(source),
            Err(error) => {
                all_is_read = false;
                tracing::error!("cannot read {}: {error}", path.display());
            }
        }
    }
    let mut show = Show::new(wanted(args), form(args), stdout(is_stdin));
    Merge::of(sources.iter_mut())
        .try_for_each(|entry| show.take(entry))
        .and_then(|()| show.finish())
        .context(output())?;
    // Not with `all`: each source has something to tell.
    for source in &sources {
        all_is_read &= source.tell();
    }
    if all_is_read && sources.iter().all(|source| source.count() == 0) {
        bail!("there is no line in what was given");
    }
    Ok(if all_is_read { Exit::Ok } else { Exit::Failure })
}

fn open(path: &Path, is_named: bool) -> io::Result<Source> {
    let is_stdin = path.as_os_str() == STDIN;
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let input: Box<dyn Read> = if is_stdin { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    Source::open(&name, if is_named { &name } else { "" }, input)
}

fn wanted(args: &LogsArgs) -> Wanted {
    let now = SystemTime::now();
    Wanted {
        since: args.since.map(|since| now.checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH)),
        tail: args.tail,
        user: args.user.clone(),
        workspace: args.workspace.clone(),
    }
}

fn form(args: &LogsArgs) -> Form {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let pen = Pen { colour };
    // Who named both knows whose lines these are.
    let is_named = args.user.is_none() || args.workspace.is_none();
    match args.output {
        LogsFormat::Json => Form::Json,
        LogsFormat::Text => Form::Text(Text::new(pen, is_named, false)),
        LogsFormat::Tree if args.follow => Form::Text(Text::new(pen, is_named, true)),
        LogsFormat::Tree => Form::Trees(Trees::new(pen)),
    }
}

/// `live`: each line is written when it comes.
fn stdout(live: bool) -> Box<dyn Write> {
    if live { Box::new(io::stdout().lock()) } else { Box::new(BufWriter::new(io::stdout().lock())) }
}

fn output() -> Failed {
    Failed(Exit::Output, "the log could not be written to stdout".to_owned())
}
