//! Pods as sources: what is there as finite ones, what comes as long as nobody interrupts.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::time::Instant;

use exectrace_k8s::logs::{
    Blocking, Client, Followed, Given, Instance, LogsError, Mark, Opened, Range, Selection, TracedPod, follow, open_all,
};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::entry::{Entries, Entry, name_of};
use super::held::Held;
use super::show::Show;
use super::source::Source;

/// Lines that wait for the output, before streams wait for it.
const QUEUE: usize = 1024;

/// What is there of one pod's log: of the container before its last start, and of the one that runs.
pub(crate) struct PodLog {
    pod: TracedPod,
    sources: Vec<Source>,
    at: usize,
    given: Given,
    all_is_there: bool,
}

/// Opens the logs of these pods, and tells which could not be opened.
pub(crate) fn open(runtime: &Handle, client: &Client, pods: Vec<TracedPod>, range: Range) -> Vec<PodLog> {
    let opened = runtime.block_on(open_all(client, &pods, range));
    let new = |pod| PodLog { pod, sources: Vec::new(), at: 0, given: Given::default(), all_is_there: true };
    let mut logs: Vec<PodLog> = pods.into_iter().map(new).collect();
    for Opened { pod, instance, log } in opened {
        let of = &mut logs[pod];
        let title = of.pod.title();
        let source = log.map_err(anyhow::Error::new).and_then(|stream| {
            let bytes = Blocking::new(stream, runtime.clone());
            Ok(Source::open(&title, &title, bytes)?)
        });
        match source {
            Ok(source) => of.sources.push(source),
            Err(error) => {
                of.all_is_there = false;
                let which =
                    if instance == Instance::Previous { " of before its container was started again" } else { "" };
                tracing::error!("the log of pod {title}{which} cannot be read: {error:#}");
            }
        }
    }
    logs
}

impl Iterator for PodLog {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while let Some(source) = self.sources.get_mut(self.at) {
            for entry in source {
                // The API may give a line of the container before in both logs.
                if self.given.is_new(&entry.bytes, mark(&entry.bytes)) {
                    return Some(entry);
                }
            }
            self.at += 1;
        }
        None
    }
}

impl PodLog {
    /// Tells what should be known of what was read; whether all of it could be.
    pub(crate) fn tell(&self) -> bool {
        self.sources.iter().fold(self.all_is_there, |all, source| source.tell() && all)
    }

    /// What to go on from.
    pub(crate) fn into_known(self) -> (TracedPod, Given) {
        (self.pod, self.given)
    }
}

/// A line's name, as the stream that is opened again needs it.
fn mark(line: &[u8]) -> Option<Mark> {
    let (run, line, time) = name_of(line)?;
    Some(Mark { run: run.0, line, time })
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The pods cannot be watched.
    #[error(transparent)]
    Refused(#[from] LogsError),
    /// The output takes nothing.
    #[error(transparent)]
    Output(io::Error),
}

/// SIGINT and SIGTERM, from when it is made.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(crate) fn new(runtime: &Handle) -> io::Result<Interrupt> {
        let _within = runtime.enter();
        Ok(Interrupt { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn has_come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Shows what comes, until somebody interrupts. `untraced`: pods of which that was told already.
pub(crate) async fn go_on<W: Write>(
    client: Client,
    selection: Selection,
    known: Vec<(TracedPod, Given)>,
    untraced: Vec<String>,
    mut show: Show<W>,
    mut interrupt: Interrupt,
) -> Result<(), Ended> {
    let (to, mut from) = mpsc::channel(QUEUE);
    let mut known_titles: BTreeSet<String> = known.iter().map(|(pod, _)| pod.title()).collect();
    known_titles.extend(untraced);
    let mut live = Live { held: Held::default(), entries: HashMap::new(), known: known_titles };
    let following = follow(client, selection, known, mark, to);
    tokio::pin!(following);
    let mut batch = Vec::new();
    let ended = loop {
        let due = live.held.due().map(tokio::time::Instant::from_std);
        tokio::select! {
            ended = &mut following => break ended,
            _ = from.recv_many(&mut batch, QUEUE) => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
            () = interrupt.has_come() => break Ok(()),
        }
        let now = Instant::now();
        for what in batch.drain(..) {
            live.take(what, now);
        }
        while let Some(entry) = live.held.pop(now) {
            show.take(entry).map_err(Ended::Output)?;
        }
        show.flush().map_err(Ended::Output)?;
    };
    while let Ok(what) = from.try_recv() {
        live.take(what, Instant::now());
    }
    while let Some(entry) = live.held.pop_first() {
        show.take(entry).map_err(Ended::Output)?;
    }
    show.finish().map_err(Ended::Output)?;
    Ok(ended?)
}

/// The pods that are followed.
struct Live {
    held: Held,
    /// By source, each with its pod's name.
    entries: HashMap<usize, (String, Entries)>,
    /// Pods of which all is told.
    known: BTreeSet<String>,
}

impl Live {
    fn take(&mut self, what: Followed, now: Instant) {
        match what {
            Followed::Opened { source, title } => {
                self.held.open(source);
                self.entries.insert(source, (title.clone(), Entries::of(&title)));
                if self.known.insert(title.clone()) {
                    tracing::info!(pod = title, "a pod has come");
                }
            }
            Followed::Line { source, bytes, cut } => {
                if let Some((_, entries)) = self.entries.get_mut(&source) {
                    self.held.push(source, entries.next(bytes, cut), now);
                }
            }
            Followed::Closed { source } => {
                self.held.close(source);
                if let Some((pod, _)) = self.entries.remove(&source) {
                    tracing::info!(pod, "nothing more comes from this pod");
                }
            }
            Followed::Untraced { title } => {
                if self.known.insert(title.clone()) {
                    tell_untraced(&title);
                }
            }
            Followed::Trouble { about, error } => tracing::warn!(about, "{error}; it is tried again"),
        }
    }
}

pub(crate) fn tell_untraced(pod: &str) {
    tracing::warn!(pod, "it was not traced: rebuild the workspace, once process logging is enabled");
}
