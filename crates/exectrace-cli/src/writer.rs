//! The thread that encodes and writes: what an entry is, whether it is left out or folded, and into which log it goes. With
//! a roll-up and a file beside it there are two: the one with the roll-ups, and the one with all lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use exectrace_redact::Redactor;
use exectrace_sift::{Rollup, Session, Sift, Verdict};

use crate::labels::LabelSource;
use crate::ledger::Reason;
use crate::line::{About, Entry};
use crate::queue::{QueueOut, Taken};
use crate::redaction;
use crate::sink::Outputs;
use crate::stats::Stats;
use crate::stream::Stream;
use crate::tally::Tally;

/// How often the labels' folder is looked at, and whether the window of a roll-up is over.
const LABELS_EVERY: Duration = Duration::from_secs(1);

/// What is to become of the entries that wait, told to the writer by who waits for its end.
#[derive(Debug, Default)]
pub(crate) struct Rest(AtomicU8);

const WRITE: u8 = 0;
const LOSE: u8 = 1;
const LEAVE: u8 = 2;

impl Rest {
    /// They are counted as lost, and not written any more.
    pub(crate) fn lose(&self) {
        self.0.store(LOSE, Ordering::Relaxed);
    }

    /// They are not written any more, and are not lost either: what nobody commits stays in a pinned ring.
    pub(crate) fn leave(&self) {
        self.0.store(LEAVE, Ordering::Relaxed);
    }
}

/// What the writer has to say at its end.
pub(crate) struct Written {
    /// What is missing and could not be told.
    pub(crate) lost: Tally,
    /// Something was left in a pinned ring ([`Rest::leave`]).
    pub(crate) left: bool,
    /// Why it ended early.
    pub(crate) broken: Option<std::io::Error>,
    /// For another run.
    pub(crate) outputs: Outputs,
    /// Those of the log with all lines.
    pub(crate) complete: Option<Outputs>,
}

pub(crate) struct Writer {
    log: Stream,
    /// Where all lines are, if the log has roll-ups.
    complete: Option<Stream>,
    sift: Sift,
    redactor: Option<Arc<Redactor>>,
    labels: LabelSource,
    next_labels: Instant,
    /// Something was left in the ring.
    left: bool,
    rest: Arc<Rest>,
    stats: Arc<Stats>,
}

/// What the writer shares with others.
pub(crate) struct Shared {
    pub(crate) rest: Arc<Rest>,
    /// `None`: secrets are written as they are.
    pub(crate) redactor: Option<Arc<Redactor>>,
    pub(crate) stats: Arc<Stats>,
}

impl Writer {
    pub(crate) fn new(
        log: Stream,
        complete: Option<Stream>,
        sift: Sift,
        labels: LabelSource,
        shared: Shared,
    ) -> Writer {
        let Shared { rest, redactor, stats } = shared;
        let next_labels = Instant::now() + LABELS_EVERY;
        Writer { log, complete, sift, redactor, labels, next_labels, left: false, rest, stats }
    }

    pub(crate) fn run(mut self, queue: &QueueOut) -> Written {
        let mut taken = Taken::Nothing;
        loop {
            self.streams().for_each(Stream::begin);
            if let Taken::Entry(entry) = taken {
                self.take(entry);
            }
            let rolled_up = self.sift.rolled_up(SystemTime::now());
            self.put_rolled_up(rolled_up);
            // Also when nothing more comes, so that a gap at the end is told as soon as it can be.
            self.streams().for_each(Stream::tell_lost);
            while !self.streams().any(|stream| stream.is_full()) {
                match queue.take() {
                    Some(entry) => self.take(entry),
                    None => break,
                }
            }
            if let Err(error) = self.write() {
                return self.written(Some(error));
            }
            self.refresh_labels();
            taken = queue.wait(LABELS_EVERY);
            if matches!(taken, Taken::End) {
                return self.finish();
            }
        }
    }

    fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        std::iter::once(&mut self.log).chain(&mut self.complete)
    }

    /// What could not be told so far gets a last chance.
    fn finish(mut self) -> Written {
        self.streams().for_each(Stream::begin);
        self.streams().for_each(Stream::tell_lost);
        let broken = self.write().err();
        self.written(broken)
    }

    fn written(self, broken: Option<std::io::Error>) -> Written {
        let (outputs, mut lost) = self.log.end();
        let complete = self.complete.map(Stream::end);
        let complete = complete.map(|(outputs, missing)| {
            // What both lack is lost once.
            if lost.is_empty() {
                lost.add_all(missing);
            } else if !missing.is_empty() {
                tracing::error!("missing from the end of the log with all lines: {missing}");
            }
            outputs
        });
        Written { lost, left: self.left, broken, outputs, complete }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let bytes = self.log.write()?;
        self.stats.wrote(self.log.books(), bytes);
        self.complete.as_mut().map_or(Ok(0), Stream::write).map(drop)
    }

    fn take(&mut self, mut entry: Entry) {
        let what_is_missing = || entry.missing(Reason::StopDeadline);
        match (self.rest.0.load(Ordering::Relaxed), what_is_missing()) {
            (LOSE, missing @ ([Some(_), _] | [_, Some(_)])) => {
                self.streams().for_each(|stream| stream.lose(&missing));
                return;
            }
            (LEAVE, [Some(_), _] | [_, Some(_)]) => {
                // It waits in the ring for who takes over, if nothing beyond it is committed.
                self.streams().for_each(Stream::leave);
                self.left = true;
                return;
            }
            (WRITE.., _) => {}
        }
        let redacted = self.redactor.as_ref().map_or(0, |redactor| redaction::redact(&mut entry, redactor));
        self.stats.redacted(redacted);
        let about = About { redacted, ..About::default() };
        match &entry {
            Entry::Running(running) => self.sift.ran(running),
            Entry::Settle => {
                let rolled_up = self.sift.finish();
                self.put_rolled_up(rolled_up);
            }
            _ => {}
        }
        match self.judge(&mut entry, about) {
            (Verdict::Line(_), about) => self.put(entry, &about),
            (Verdict::Excluded(rule), _) => {
                let (position, Some((what, scope))) = (entry.position(), entry.what()) else { return };
                self.streams().for_each(|stream| stream.exclude(rule, what, scope, position));
            }
            (Verdict::Folded(_), about) => {
                if let Some(complete) = &mut self.complete {
                    complete.encode(entry, &about);
                }
            }
        }
    }

    /// What becomes of an entry, and what is told with it.
    fn judge(&mut self, entry: &mut Entry, mut about: About) -> (Verdict, About) {
        let (log, told) = (&mut self.log, &*entry);
        let judged = match told {
            Entry::Exec(event) => self.sift.exec(event, |session| log.measure(told, &with(&about, session))),
            Entry::Failed(failed) => self.sift.failed(failed, |session| log.measure(told, &with(&about, session))),
            Entry::Ended(ended) => {
                let verdict = self.sift.ended(ended, || log.measure(told, &about).unwrap_or_default());
                about.rollup = number(verdict);
                return (verdict, about);
            }
            _ => return (Verdict::Line(None), about),
        };
        match entry {
            Entry::Exec(event) => event.parent_id = judged.parent,
            Entry::Failed(failed) => failed.attempt.parent_id = judged.parent,
            _ => {}
        }
        about.session = judged.session;
        about.rollup = number(judged.verdict);
        if let Verdict::Line(rare) = judged.verdict {
            about.rare = rare;
        }
        (judged.verdict, about)
    }

    fn put(&mut self, entry: Entry, about: &About) {
        if let Some(complete) = &mut self.complete {
            complete.encode(entry.clone(), about);
        }
        self.log.encode(entry, about);
    }

    fn put_rolled_up(&mut self, rolled_up: Vec<Rollup>) {
        let is_over = self.rest.0.load(Ordering::Relaxed) != WRITE;
        for rollup in rolled_up {
            let entry = Entry::Rollup(Box::new(rollup));
            if is_over {
                self.log.lose(&entry.missing(Reason::StopDeadline));
            } else {
                self.log.encode(entry, &About::default());
            }
        }
    }

    fn refresh_labels(&mut self) {
        if Instant::now() < self.next_labels {
            return;
        }
        self.next_labels = Instant::now() + LABELS_EVERY;
        if let Some(change) = self.labels.changed() {
            self.streams().for_each(|stream| stream.relabel(&change.now, change.before.clone()));
        }
    }
}

fn with(about: &About, session: &Arc<Session>) -> About {
    About { session: Some(Arc::clone(session)), ..about.clone() }
}

fn number(verdict: Verdict) -> Option<u64> {
    match verdict {
        Verdict::Folded(number) => Some(number),
        Verdict::Line(_) | Verdict::Excluded(_) => None,
    }
}
