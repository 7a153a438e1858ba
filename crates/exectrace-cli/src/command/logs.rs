//! `exectrace logs`: what workspaces did, from their pods or from files.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use exectrace_k8s::client::Access;
use exectrace_k8s::logs::{Pods, Range, Selection, find};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::cli::cluster::{LogsArgs, LogsFormat};
use crate::exit::{Exit, Failed, report};
use crate::line::paint::Pen;
use crate::logs::cluster::{self, Ended, Interrupt, PodLog};
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
    if args.files.is_empty() { pods(args) } else { files(args) }
}

fn pods(args: &LogsArgs) -> anyhow::Result<Exit> {
    let mut selection = Selection {
        user: args.user.clone(),
        workspace: args.workspace.clone(),
        namespace: args.namespace.namespace.clone(),
    };
    selection.check().map_err(|error| Failed(Exit::Usage, error.to_string()))?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting a runtime")?;
    let access = Access { kubeconfig: args.cluster.kubeconfig.clone(), context: args.cluster.context.clone() };
    let client = runtime.block_on(access.connect())?;
    if !args.namespace.all_namespaces && selection.namespace.is_none() {
        selection.namespace = Some(client.default_namespace().to_owned());
    }
    let Pods { traced, untraced, not_started } = runtime.block_on(find(&client, &selection))?;
    untraced.iter().for_each(|pod| cluster::tell_untraced(pod));
    not_started.iter().for_each(|pod| tracing::info!(pod, "its container has not started; there is no log yet"));
    if traced.is_empty() && not_started.is_empty() {
        let nothing = nothing_found(&selection, !untraced.is_empty());
        if !args.follow {
            bail!(nothing);
        }
        tracing::warn!("waiting for a pod: {nothing}");
    }
    // Before the first line is out: whoever sees it may interrupt.
    let interrupts = if args.follow { Some(interrupts(runtime.handle()).context("handling signals")?) } else { None };
    let mut logs = cluster::open(runtime.handle(), &client, traced, range(args));
    let wanted = Wanted { user: None, workspace: None, ..wanted(args) };
    let mut show = Show::new(wanted, form(args), stdout(false));
    Merge::of(logs.iter_mut()).try_for_each(|entry| show.take(entry)).context(output())?;
    let mut all_is_read = true;
    for log in &logs {
        all_is_read &= log.tell();
    }
    if let Some((interrupt, at_once)) = interrupts {
        show.go_on().context(output())?;
        at_once.abort();
        let known = logs.into_iter().map(PodLog::into_known).collect();
        match runtime.block_on(cluster::go_on(client, selection, known, untraced, show, interrupt)) {
            Err(Ended::Output(error)) => return Err(error).context(output()),
            ended => ended?,
        }
    } else {
        show.finish().context(output())?;
    }
    Ok(if all_is_read { Exit::Ok } else { Exit::Failure })
}

/// For who follows: one to end by, and a task that ends the program at once while it still reads what is old.
fn interrupts(runtime: &Handle) -> io::Result<(Interrupt, JoinHandle<()>)> {
    let mut early = Interrupt::new(runtime)?;
    let at_once = runtime.spawn(async move {
        early.has_come().await;
        std::process::exit(i32::from(Exit::Ok as u8));
    });
    Ok((Interrupt::new(runtime)?, at_once))
}

/// What the API server is asked for. What comes is looked at again: only the lines themselves say when something happened.
fn range(args: &LogsArgs) -> Range {
    // Of which the last lines are shown, that many of each log are enough; but people see only some of the lines, and who
    // follows must know where each log stood.
    let is_enough = args.output == LogsFormat::Json && !args.follow;
    Range { since: args.since, tail: args.tail.filter(|_| is_enough) }
}

fn nothing_found(selection: &Selection, others: bool) -> String {
    let place = selection.namespace.as_ref().map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
    if others {
        return format!("no pod that was asked for in {place} was traced");
    }
    let elsewhere =
        if selection.namespace.is_some() { "; -A searches all namespaces, -n NAME another one" } else { "" };
    format!(
        "no pod of this user or workspace is in {place}{elsewhere}. A workspace that is stopped has no pod, and its log went \
         with it unless it is shipped; `exectrace status` tells which workspaces are traced"
    )
}

fn files(args: &LogsArgs) -> anyhow::Result<Exit> {
    let is_stdin = args.files.iter().any(|path| path.as_os_str() == STDIN);
    if args.follow && !is_stdin {
        let why = "a file is read to its end; to follow one: tail -n +1 -F FILE | exectrace logs --follow -";
        bail!(Failed(Exit::Usage, why.to_owned()));
    }
    // Where lines have no labels, the file's name is all that can be said.
    let names_files = args.files.len() > 1 || (args.output == LogsFormat::Tree && !args.follow);
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
    // Not locked: who names it twice finds it empty the second time.
    let input: Box<dyn Read> = if is_stdin { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
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
    let is_terminal = io::stdout().is_terminal();
    let pen = Pen { colour: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    // Who named both knows whose lines these are.
    let is_named = args.user.is_none() || args.workspace.is_none();
    match args.output {
        LogsFormat::Json if is_terminal => Form::JsonToTerminal,
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
