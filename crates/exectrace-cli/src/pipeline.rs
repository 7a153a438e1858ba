//! The way of an event through the program: this thread reads the tracer, a second one encodes and writes.
//!
//! Between them is the queue, so that an output that stalls holds up nothing in the kernel. Whatever is lost on the way
//! is counted where it is lost and written at its place in the log.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use exectrace::{Item, ScopeStats, Tracer, TracerBuilder};

use crate::cli::{Fields, LoggingArgs, OutputFormat};
use crate::exit::{Exit, Failed};
use crate::labels::LabelSource;
use crate::line::json::JsonEncoder;
use crate::line::text::TextEncoder;
use crate::line::{Entry, Lost};
use crate::queue::{QueueIn, QueueOut, Taken, queue};
use crate::sink::{Sink, Stopped};
use crate::stop::wait_any;
use crate::tally::Tally;

/// How late an event can be when there are few.
const LATENESS: Duration = Duration::from_millis(100);
/// What is left of the second that a stop may take, after the tracer has drained.
const DRAIN: Duration = Duration::from_millis(500);
/// Bytes of lines that are written at a time.
const BATCH: usize = 64 << 10;
/// How often the labels' folder is looked at.
const LABELS_EVERY: Duration = Duration::from_secs(1);

/// A tracer with the settings of the command line.
pub(crate) fn tracer(args: &LoggingArgs) -> TracerBuilder {
    let mut builder = Tracer::builder().ring_bytes(args.ring_size);
    if let Some(bytes) = args.max_args_bytes {
        builder = builder.max_args_bytes(bytes);
    }
    if let Some(bytes) = args.read_args_bytes {
        builder = builder.read_args_bytes(bytes);
    }
    builder = args.exclude_uid.iter().fold(builder, |builder, uid| builder.exclude_uid(*uid));
    args.exclude_path.iter().fold(builder, |builder, prefix| builder.exclude_path(prefix))
}

/// What the log looks like.
pub(crate) struct Look {
    pub(crate) format: OutputFormat,
    pub(crate) tree: bool,
    pub(crate) fields: Fields,
}

/// An open log and the thread that writes it.
pub(crate) struct Pipeline {
    queue: QueueIn,
    writer: JoinHandle<()>,
    done: mpsc::Receiver<Written>,
}

/// What the writer has to say at its end.
struct Written {
    lost: u64,
    broken: Option<std::io::Error>,
}

/// Opens what the log goes to; the rest of [`Pipeline::start`] cannot fail for the user's reasons.
pub(crate) fn open_sink(args: &LoggingArgs) -> anyhow::Result<Sink> {
    match &args.log {
        Some(path) => Sink::file(path),
        None => Sink::stdout(),
    }
}

impl Pipeline {
    pub(crate) fn start(
        sink: Sink,
        look: &Look,
        mut labels: LabelSource,
        queue_bytes: u64,
    ) -> anyhow::Result<Pipeline> {
        let encoder = encoder(&sink, look, &mut labels)?;
        let (queue, receiver) = queue(queue_bytes);
        let (tell, done) = mpsc::channel();
        let writer = Writer {
            sink,
            encoder,
            labels,
            next_labels: Instant::now() + LABELS_EVERY,
            lost: Tally::default(),
            failing: false,
        };
        let writer = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // Nobody listens any more after a stop that took too long.
                let _ = tell.send(writer.run(&receiver));
            })
            .context("starting the writer's thread")?;
        Ok(Pipeline { queue, writer, done })
    }

    /// Reads the tracer until one of `until` is readable.
    pub(crate) fn read(&mut self, tracer: &mut Tracer, until: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
        let mut ended = false;
        while !ended && !self.writer.is_finished() {
            let mut fds = until.to_vec();
            fds.push(tracer.as_fd());
            wait_any(&fds, LATENESS);
            ended = wait_any(until, Duration::ZERO);
            tracer.poll(Duration::ZERO, |item| self.queue.push(entry(item))).context("reading the kernel's records")?;
        }
        Ok(())
    }

    /// Detaches the tracer, writes what is left and tells what could not be written. Takes a second at most.
    pub(crate) fn stop(self, mut tracer: Tracer, account: Account) -> anyhow::Result<()> {
        let Pipeline { mut queue, done, .. } = self;
        let deadline = Instant::now() + DRAIN;
        tracer.detach();
        let drained = tracer.drain(|item| queue.push(entry(item)));
        give_account(&tracer, account)?;
        let untold = queue.close(DRAIN / 2);
        let written = done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        drained.context("reading the kernel's last records")?;
        match written {
            Ok(Written { broken: Some(error), .. }) => {
                Err(error).context(Failed(Exit::Output, "the log could not be written".to_owned()))
            }
            Ok(Written { lost, .. }) if lost + untold > 0 => {
                Err(Failed(Exit::Output, format!("{} execs are missing from the end of the log", lost + untold)).into())
            }
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Failed(Exit::Output, "the output takes nothing: what was waiting for it is lost".to_owned()).into())
            }
        }
    }
}

/// When to say at the end what was seen and what of it is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Always,
    IfNotWhole,
}

fn give_account(tracer: &Tracer, account: Account) -> anyhow::Result<()> {
    let skipped = tracer.skipped().context("reading the counters")?;
    for (scope, _) in tracer.scopes() {
        let stats = tracer.stats(scope).context("reading the counters")?;
        if account == Account::Always || not_whole(&stats) {
            tracing::info!(
                scope = scope.get(),
                seen = stats.seen,
                sent = stats.sent,
                excluded_uid = stats.excluded_uid,
                excluded_path = stats.excluded_path,
                lost_ring_full = stats.lost_ring_full,
                args_ring_full = stats.args_ring_full,
                args_fault = stats.args_fault,
                process_table_full = stats.process_table_full,
                missed = stats.missed,
                skipped_at_most = skipped,
                "stopped"
            );
        }
    }
    Ok(())
}

fn not_whole(stats: &ScopeStats) -> bool {
    stats.seen > stats.sent
        || [stats.args_ring_full, stats.args_fault, stats.process_table_full, stats.missed]
            .iter()
            .any(|count| *count > 0)
}

fn entry(item: Item) -> Entry {
    match item {
        Item::Exec(event) => Entry::Exec(event),
        Item::Lost(loss) => Entry::Lost(Lost { scope: loss.scope, reason: loss.reason.name(), count: loss.count }),
    }
}

enum Encoder {
    Json(JsonEncoder),
    Text(TextEncoder),
}

fn encoder(sink: &Sink, look: &Look, labels: &mut LabelSource) -> anyhow::Result<Encoder> {
    let terminal = sink.is_terminal();
    let text = match look.format {
        OutputFormat::Text => true,
        OutputFormat::Json => false,
        OutputFormat::Auto => terminal,
    };
    if text {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        return Ok(Encoder::Text(TextEncoder::new(colour, look.tree)));
    }
    let mut encoder = JsonEncoder::new(look.fields);
    encoder.set_labels(&labels.read()?);
    Ok(Encoder::Json(encoder))
}

struct Writer {
    sink: Sink,
    encoder: Encoder,
    labels: LabelSource,
    next_labels: Instant,
    /// What was encoded and not written.
    lost: Tally,
    /// The last write failed.
    failing: bool,
}

/// Reason of a loss at the output, as the log has it.
const WRITE_FAILED: &str = "write_failed";

impl Writer {
    fn run(mut self, queue: &QueueOut) -> Written {
        let mut batch = Batch::default();
        loop {
            let taken = queue.wait(LABELS_EVERY);
            if let Taken::Entry(entry) = &taken {
                self.encode(entry, &mut batch);
            }
            // Also when nothing more comes, so that a gap at the end is told as soon as it can be.
            self.tell_lost(&mut batch);
            while batch.bytes.len() < BATCH {
                match queue.take() {
                    Some(entry) => self.encode(&entry, &mut batch),
                    None => break,
                }
            }
            if let Err(error) = self.write(&mut batch) {
                return Written { lost: self.lost.total(), broken: Some(error) };
            }
            if matches!(taken, Taken::End) {
                return Written { lost: self.lost.total(), broken: None };
            }
            self.refresh_labels();
        }
    }

    fn encode(&mut self, entry: &Entry, batch: &mut Batch) {
        self.tell_lost(batch);
        self.encode_line(entry, batch);
    }

    fn tell_lost(&mut self, batch: &mut Batch) {
        for lost in self.lost.take() {
            self.encode_line(&Entry::Lost(lost), batch);
        }
    }

    fn encode_line(&mut self, entry: &Entry, batch: &mut Batch) {
        let now = SystemTime::now();
        match &mut self.encoder {
            Encoder::Json(encoder) => encoder.encode(entry, now, &mut batch.bytes),
            Encoder::Text(encoder) => encoder.encode(entry, now, &mut batch.bytes),
        }
        batch.lines.push((batch.bytes.len(), Lost::of(entry, WRITE_FAILED)));
    }

    /// Writes a batch. A reader that went away for good ends the writer; anything else is counted and tried again.
    fn write(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        // Nothing can always be written, and says nothing about the output.
        if batch.bytes.is_empty() {
            return Ok(());
        }
        let result = self.sink.write_lines(&batch.bytes);
        if result.is_ok() && std::mem::take(&mut self.failing) {
            tracing::info!("the log can be written again");
        }
        let result = result.or_else(|Stopped { whole_bytes, error }| {
            batch.lines.iter().filter(|(end, _)| *end > whole_bytes).for_each(|(_, lost)| self.lost.add(lost));
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Err(error);
            }
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!("the log cannot be written, what is missing will be counted: {error}");
            }
            Ok(())
        });
        batch.clear();
        result
    }

    fn refresh_labels(&mut self) {
        if Instant::now() < self.next_labels {
            return;
        }
        self.next_labels = Instant::now() + LABELS_EVERY;
        if let (Encoder::Json(encoder), Some(labels)) = (&mut self.encoder, self.labels.changed()) {
            tracing::info!("the labels have changed");
            encoder.set_labels(&labels);
        }
    }
}

/// Encoded lines: where each ends, and what is lost with it.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: Vec<(usize, Lost)>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        // One exec of 2 MiB must not be remembered by its room for ever.
        self.bytes.shrink_to(2 * BATCH);
        self.lines.clear();
    }
}
