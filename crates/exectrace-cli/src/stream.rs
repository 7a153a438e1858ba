//! One log while it is written: its lines with their numbers and chain, the books of what is in it, and its outputs.
//!
//! Lines are written in batches. A write that fails takes back what it did not write: numbers, chain and books go back to
//! the last whole line, so that they always tell of what is there, and what is missing is told as soon as it can be.

use std::time::SystemTime;

use exectrace::{Journal, Progress, ScopeId, What};
use exectrace_sinks::dropped::Number;

use crate::labels::Labels;
use crate::ledger::{Books, Change, Reason};
use crate::line::json::{JsonEncoder, Lines};
use crate::line::text::TextEncoder;
use crate::line::{About, Entry, Missing, Place};
use crate::seal::Seal;
use crate::sink::{Outputs, Stopped, is_gone};
use crate::tally::Tally;

/// Bytes of lines that are written at a time.
const BATCH: usize = 64 << 10;

/// How entries become lines.
pub(crate) enum Encoder {
    Json(JsonEncoder),
    Text(TextEncoder),
}

/// Where a log begins.
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

/// What is true after a line, beside the books; the log goes back to it if what follows is not written.
#[derive(Clone)]
struct State {
    seal: Seal,
    /// Number of the last line that is a ledger.
    last_ledger: u64,
}

pub(crate) struct Stream {
    outputs: Outputs,
    encoder: Encoder,
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
    batch: Batch,
}

impl Stream {
    pub(crate) fn new(outputs: Outputs, encoder: Encoder, outset: Outset) -> Stream {
        let Outset { start, seal, books, journal } = outset;
        Stream {
            outputs,
            encoder,
            state: State { seal, last_ledger: 0 },
            books,
            journal,
            first: vec![start],
            lost: Tally::default(),
            failing: false,
            batch: Batch::default(),
        }
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    /// Whether a write would pay by now.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.bytes.len() >= BATCH
    }

    /// What must come first.
    pub(crate) fn begin(&mut self) {
        for entry in std::mem::take(&mut self.first) {
            self.encode_line(entry, &About::default());
        }
    }

    /// What is missing by an entry that will not be written.
    pub(crate) fn lose(&mut self, missing: &Missing) {
        missing.iter().flatten().for_each(|lost| self.lost.add(lost));
    }

    /// Nothing is committed any more: what comes now waits in the ring for who takes over.
    pub(crate) fn leave(&mut self) {
        self.journal = None;
    }

    /// A rule has left something out.
    pub(crate) fn exclude(&mut self, rule: usize, what: What, scope: ScopeId, position: Option<u64>) {
        self.books.exclude(rule, what, scope);
        self.reach(position);
    }

    /// Adds what an entry becomes, after what must be told before it.
    pub(crate) fn encode(&mut self, entry: Entry, about: &About) {
        self.tell_lost();
        if matches!(entry, Entry::Ledger(_)) {
            // By the time of a ledger, and not as it happens: an output that lacks lines lacks these as well.
            for dropped in self.outputs.dropped() {
                self.encode_line(Entry::Dropped(dropped), &About::default());
            }
        }
        match entry {
            Entry::Reached(position) => self.reach(Some(position)),
            Entry::Settle => {}
            entry => self.encode_line(entry, about),
        }
    }

    /// What comes to no line is in the log once what was before it is.
    fn reach(&mut self, position: Option<u64>) {
        self.batch.lines.push(Line {
            end: self.batch.bytes.len(),
            before: self.state.clone(),
            position,
            change: None,
            missing: [None, None],
            again: None,
        });
    }

    /// Tells what could not be told so far.
    pub(crate) fn tell_lost(&mut self) {
        for lost in self.lost.take() {
            self.encode_line(Entry::Lost(lost), &About::default());
        }
    }

    /// Bytes of the line that an entry would be; `None` if it would be several, here or, with the number of a roll-up, in the
    /// log with all lines.
    pub(crate) fn measure(&mut self, entry: &Entry, about: &About) -> Option<u64> {
        let about = &About { rollup: Some(u64::MAX), ..about.clone() };
        let mut out = Vec::new();
        let mut lines = 0;
        match &mut self.encoder {
            Encoder::Json(encoder) => {
                let mut seal = self.state.seal.clone();
                let (run, line) = (seal.run(), seal.next_line());
                let place = Place { run, line, last_ledger: 0, books: &self.books, about };
                let end = |out: &mut Vec<u8>, start| {
                    seal.put(out, start);
                    lines += 1;
                };
                encoder.encode(entry, SystemTime::UNIX_EPOCH, place, Lines { out: &mut out, end });
            }
            Encoder::Text(encoder) => {
                encoder.encode(entry, SystemTime::UNIX_EPOCH, &mut out);
                lines = 1;
            }
        }
        let number =
            if let Encoder::Json(_) = self.encoder { ",\"rollup\":".len() + u64::MAX.to_string().len() } else { 0 };
        (lines <= 1).then_some((out.len() - number) as u64)
    }

    fn encode_line(&mut self, entry: Entry, about: &About) {
        let now = SystemTime::now();
        let is_ledger = matches!(entry, Entry::Ledger(_));
        let Batch { bytes, lines } = &mut self.batch;
        let at = lines.len();
        let State { seal, last_ledger } = &mut self.state;
        match &mut self.encoder {
            Encoder::Json(encoder) => {
                let (run, line) = (seal.run(), seal.next_line());
                let place = Place { run, line, last_ledger: *last_ledger, books: &self.books, about };
                let end = |out: &mut Vec<u8>, start| {
                    let before = State { seal: seal.clone(), last_ledger: *last_ledger };
                    // Nothing else tells of a line that follows one that is in the log; but a ledger follows that has all.
                    let is_rest = lines.len() > at && !is_ledger;
                    let again = is_rest.then(|| Entry::Continued(out[start..].to_vec()));
                    seal.put(out, start);
                    let missing = [None, None];
                    lines.push(Line { end: out.len(), before, position: None, change: None, missing, again });
                };
                encoder.encode(&entry, now, place, Lines { out: bytes, end });
            }
            Encoder::Text(encoder) => {
                let before = self.state.clone();
                encoder.encode(&entry, now, bytes);
                let (end, missing) = (bytes.len(), [None, None]);
                lines.push(Line { end, before, position: None, change: None, missing, again: None });
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

    /// Writes what was encoded; returns its bytes. A reader that went away for good is an error; anything else is counted
    /// and tried again.
    pub(crate) fn write(&mut self) -> std::io::Result<u64> {
        let mut batch = std::mem::take(&mut self.batch);
        let bytes = batch.bytes.len() as u64;
        let result = self.write_batch(&mut batch);
        batch.clear();
        self.batch = batch;
        result.map(|()| bytes)
    }

    fn write_batch(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        // Nothing can always be written, and says nothing about the output.
        if batch.bytes.is_empty() {
            self.commit(batch);
            return Ok(());
        }
        let first = batch.lines.first().map_or(&self.state, |line| &line.before);
        let number = Number { run: first.seal.run().0, line: first.seal.next_line() };
        match self.outputs.write_lines(&batch.bytes, number) {
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
                    return Err(error);
                }
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("the log cannot be written, what is missing will be counted: {error}");
                }
                Ok(())
            }
        }
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
            line.missing.iter().flatten().for_each(|lost| self.lost.add(lost));
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

    /// The labels of all lines from now on, and a line that says what they were.
    pub(crate) fn relabel(&mut self, now: &Labels, before: Labels) {
        if let Encoder::Json(encoder) = &mut self.encoder {
            encoder.set_labels(now);
            self.first.push(Entry::LabelsChanged(before));
        }
    }

    /// The outputs for another run, and what is missing and could not be told.
    pub(crate) fn end(self) -> (Outputs, Tally) {
        (self.outputs, self.lost)
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
    missing: Missing,
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
