//! The thread that encodes and writes. It keeps the books of what is in the log, numbers the lines, and commits what is
//! written for good.
//!
//! Lines are written in batches. A write that fails takes back what it did not write: numbers, chain and books go back to
//! the last whole line, so that they always tell of what is there, and what is missing is told as soon as it can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use exectrace::{Journal, Progress};
use exectrace_redact::Redactor;
use exectrace_sinks::dropped::Number;

use crate::labels::LabelSource;
use crate::ledger::{Books, Change, Reason};
use crate::line::json::{JsonEncoder, Lines};
use crate::line::text::TextEncoder;
use crate::line::{Entry, Lost, Place};
use crate::queue::{QueueOut, Taken};
use crate::redaction;
use crate::seal::Seal;
use crate::sink::{Outputs, Stopped, is_gone};
use crate::stats::Stats;
use crate::tally::Tally;

/// Bytes of lines that are written at a time.
const BATCH: usize = 64 << 10;
/// How often the labels' folder is looked at.
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

/// How entries become lines.
pub(crate) enum Encoder {
    Json(JsonEncoder),
    Text(TextEncoder),
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
}

/// Where the writer begins.
pub(crate) struct Outset {
    /// The first line.
    pub(crate) start: Entry,
    /// How lines are numbered and chained.
    pub(crate) seal: Seal,
    /// What another process had written before.
    pub(crate) books: Books,
    /// Where to commit; `None`: nothing outlives this process.
    pub(crate) journal: Option<Journal>,
}

/// What is true after a line, beside the books; the writer goes back to it if what follows is not written.
#[derive(Clone)]
struct State {
    seal: Seal,
    /// Number of the last line that is a ledger.
    last_ledger: u64,
}

pub(crate) struct Writer {
    outputs: Outputs,
    encoder: Encoder,
    redactor: Option<Arc<Redactor>>,
    labels: LabelSource,
    next_labels: Instant,
    state: State,
    books: Books,
    /// Where to commit; `None`: nothing outlives this process.
    journal: Option<Journal>,
    /// What must be written before anything else: the run's first line, and others that no count stands for.
    first: Vec<Entry>,
    /// What was encoded and not written.
    lost: Tally,
    /// The last write failed.
    failing: bool,
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
        outputs: Outputs,
        encoder: Encoder,
        labels: LabelSource,
        outset: Outset,
        shared: Shared,
    ) -> Writer {
        let Outset { start, seal, books, journal } = outset;
        let Shared { rest, redactor, stats } = shared;
        Writer {
            outputs,
            encoder,
            redactor,
            stats,
            labels,
            next_labels: Instant::now() + LABELS_EVERY,
            state: State { seal, last_ledger: 0 },
            books,
            journal,
            first: vec![start],
            lost: Tally::default(),
            failing: false,
            left: false,
            rest,
        }
    }

    pub(crate) fn run(mut self, queue: &QueueOut) -> Written {
        let mut batch = Batch::default();
        let mut taken = Taken::Nothing;
        loop {
            self.begin(&mut batch);
            if let Taken::Entry(entry) = taken {
                self.encode(entry, &mut batch);
            }
            // Also when nothing more comes, so that a gap at the end is told as soon as it can be.
            self.tell_lost(&mut batch);
            while batch.bytes.len() < BATCH {
                match queue.take() {
                    Some(entry) => self.encode(entry, &mut batch),
                    None => break,
                }
            }
            if let Err(error) = self.write(&mut batch) {
                return self.written(Some(error));
            }
            self.refresh_labels();
            taken = queue.wait(LABELS_EVERY);
            if matches!(taken, Taken::End) {
                return self.finish(batch);
            }
        }
    }

    /// What could not be told so far gets a last chance.
    fn finish(mut self, mut batch: Batch) -> Written {
        self.begin(&mut batch);
        self.tell_lost(&mut batch);
        let broken = self.write(&mut batch).err();
        self.written(broken)
    }

    fn written(self, broken: Option<std::io::Error>) -> Written {
        Written { lost: self.lost, left: self.left, broken, outputs: self.outputs }
    }

    fn begin(&mut self, batch: &mut Batch) {
        for entry in std::mem::take(&mut self.first) {
            self.encode_line(entry, batch);
        }
    }

    fn encode(&mut self, entry: Entry, batch: &mut Batch) {
        match (self.rest.0.load(Ordering::Relaxed), entry.missing(Reason::StopDeadline)) {
            (LOSE, Some(lost)) => return self.lost.add(&lost),
            (LEAVE, Some(_)) => {
                // It waits in the ring for who takes over, if nothing beyond it is committed.
                self.journal = None;
                self.left = true;
                return;
            }
            (WRITE.., _) => {}
        }
        self.tell_lost(batch);
        if matches!(entry, Entry::Ledger(_)) {
            // By the time of a ledger, and not as it happens: an output that lacks lines lacks these as well.
            for dropped in self.outputs.dropped() {
                self.encode_line(Entry::Dropped(dropped), batch);
            }
        }
        match entry {
            Entry::Reached(position) => batch.lines.push(Line {
                end: batch.bytes.len(),
                before: self.state.clone(),
                position: Some(position),
                change: None,
                missing: None,
                again: None,
            }),
            entry => self.encode_line(entry, batch),
        }
    }

    fn tell_lost(&mut self, batch: &mut Batch) {
        for lost in self.lost.take() {
            self.encode_line(Entry::Lost(lost), batch);
        }
    }

    fn encode_line(&mut self, mut entry: Entry, batch: &mut Batch) {
        let redacted = self.redactor.as_ref().map_or(0, |redactor| redaction::redact(&mut entry, redactor));
        self.stats.redacted(redacted);
        let now = SystemTime::now();
        let is_ledger = matches!(entry, Entry::Ledger(_));
        let Batch { bytes, lines } = batch;
        let at = lines.len();
        let State { seal, last_ledger } = &mut self.state;
        match &mut self.encoder {
            Encoder::Json(encoder) => {
                let (run, line) = (seal.run(), seal.next_line());
                let place = Place { run, line, last_ledger: *last_ledger, books: &self.books, redacted };
                let end = |out: &mut Vec<u8>, start| {
                    let before = State { seal: seal.clone(), last_ledger: *last_ledger };
                    // Nothing else tells of a line that follows one that is in the log; but a ledger follows that has all.
                    let is_rest = lines.len() > at && !is_ledger;
                    let again = is_rest.then(|| Entry::Continued(out[start..].to_vec()));
                    seal.put(out, start);
                    lines.push(Line { end: out.len(), before, position: None, change: None, missing: None, again });
                };
                encoder.encode(&entry, now, place, Lines { out: bytes, end });
            }
            Encoder::Text(encoder) => {
                let before = self.state.clone();
                encoder.encode(&entry, now, bytes);
                let end = bytes.len();
                lines.push(Line { end, before, position: None, change: None, missing: None, again: None });
            }
        }
        if is_ledger {
            self.state.last_ledger = self.state.seal.next_line() - 1;
        }
        if let Some(last) = lines.last_mut() {
            last.position = entry.position();
        }
        let Some(first) = lines.get_mut(at) else { return };
        first.change = self.books.add(&entry);
        first.missing = entry.missing(Reason::WriteFailed);
        let is_told_again = matches!(
            entry,
            Entry::Start(_)
                | Entry::Running(_)
                | Entry::Continued(_)
                | Entry::Watchdog(_)
                | Entry::LabelsChanged(_)
                | Entry::Dropped(_)
                | Entry::Gone(_)
        );
        first.again = is_told_again.then_some(entry);
    }

    /// Writes a batch. A reader that went away for good ends the writer; anything else is counted and tried again.
    fn write(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        // Nothing can always be written, and says nothing about the output.
        if batch.bytes.is_empty() {
            self.commit(batch);
            batch.clear();
            return Ok(());
        }
        let first = batch.lines.first().map_or(&self.state, |line| &line.before);
        let number = Number { run: first.seal.run().0, line: first.seal.next_line() };
        let result = match self.outputs.write_lines(&batch.bytes, number) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the log can be written again");
                }
                self.commit(batch);
                Ok(())
            }
            Err(Stopped { whole_bytes, error }) => {
                self.take_back(batch, whole_bytes);
                if is_gone(&error) {
                    Err(error)
                } else {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::error!("the log cannot be written, what is missing will be counted: {error}");
                    }
                    Ok(())
                }
            }
        };
        self.stats.wrote(&self.books, batch.bytes.len() as u64);
        batch.clear();
        result
    }

    /// Goes back to before the first line that was not written. What was before a failed write is committed only after
    /// what the write lost has been told.
    fn take_back(&mut self, batch: &mut Batch, whole_bytes: usize) {
        let mut unwritten = batch.lines.drain(..).filter(|line| line.end > whole_bytes).peekable();
        if let Some(first) = unwritten.peek() {
            self.state = first.before.clone();
        }
        let mut is_rest_of_a_written_line = true;
        for line in unwritten {
            let continues = matches!(line.again, Some(Entry::Continued(_)));
            is_rest_of_a_written_line &= continues;
            if continues && !is_rest_of_a_written_line {
                // Its first line is told again, or told to be missing.
                continue;
            }
            line.change.iter().for_each(|change| self.books.take_back(change));
            line.missing.iter().for_each(|lost| self.lost.add(lost));
            self.first.extend(line.again);
        }
    }

    /// States that what was written is in the log for good: up to the last line that has a position in the ring. Losses
    /// that were told after it are void for who takes over, which finds in the ring what they tell of.
    fn commit(&self, batch: &Batch) {
        let Some(journal) = &self.journal else { return };
        let Some(last) = batch.lines.iter().rposition(|line| line.position.is_some()) else { return };
        let Some(position) = batch.lines[last].position else { return };
        let void = &batch.lines[last + 1..];
        let next_line = void.first().map_or(&self.state, |line| &line.before).seal.next_line();
        let mut books = self.books.clone();
        void.iter().filter_map(|line| line.change.as_ref()).for_each(|change| books.take_back(change));
        let mut progress = Progress::up_to(position);
        books.store(self.state.seal.run().0, next_line - 1, &mut progress);
        journal.commit(&progress);
    }

    fn refresh_labels(&mut self) {
        if Instant::now() < self.next_labels {
            return;
        }
        self.next_labels = Instant::now() + LABELS_EVERY;
        if let (Encoder::Json(encoder), Some(change)) = (&mut self.encoder, self.labels.changed()) {
            encoder.set_labels(&change.now);
            self.first.push(Entry::LabelsChanged(change.before));
        }
    }
}

/// Encoded lines.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

struct Line {
    /// Where it ends.
    end: usize,
    /// What was true before it.
    before: State,
    /// Up to where in the ring all is in the log with it.
    position: Option<u64>,
    /// What it changed in the books.
    change: Option<Change>,
    /// What is missing from the log if it is not written.
    missing: Option<Lost>,
    /// The entry itself, if nothing else tells that it is missing.
    again: Option<Entry>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        // One exec of 2 MiB must not be remembered by its room for ever.
        self.bytes.shrink_to(2 * BATCH);
        self.lines.clear();
    }
}
