//! The way of an event through the program: this thread reads the tracer, a second one encodes and writes (`writer`).
//!
//! Between them is the queue, so that an output that stalls holds up nothing in the kernel; when it is full, the ring is
//! (`backpressure`). Whatever is lost on the way is counted where it is lost and written at its place in the log.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use exectrace::{Item, Scope, ScopeId, ScopeStats, Tracer};
use exectrace_redact::Redactor;

use crate::backpressure::{Backpressure, STALLED};
use crate::capabilities;
use crate::cli::sinks::OutputFormat;
use crate::cli::{LoggingArgs, ServiceArgs};
use crate::exit::{Exit, Failed};
use crate::labels::{LabelSource, Labels};
use crate::ledger::{Books, Reason, Snapshot};
use crate::line::json::{JsonEncoder, Told};
use crate::line::text::TextEncoder;
use crate::line::{Entry, Lost, Start, Stop, Why};
use crate::log::{Log, Runs};
use crate::queue::{QueueIn, queue};
use crate::seal::Seal;
use crate::sifting::Sifting;
use crate::sink::Outputs;
use crate::start::{Run, Watch};
use crate::stats::Stats;
use crate::stop::{StopSignal, wait_any};
use crate::stream::{Encoder, Outset, Stream};
use crate::tally::Tally;
use crate::watchdog::Watchdog;
use crate::writer::{Rest, Shared, Writer, Written};

/// How late an event can be when there are few.
const LATENESS: Duration = Duration::from_millis(100);
/// How often a full queue is looked at for room: it holds what the output takes in some ten of these.
const ROOM_EVERY: Duration = Duration::from_millis(2);
/// How long an output that takes lines may take for those that wait; a third of what Kubernetes grants by default.
const DRAIN: Duration = Duration::from_secs(10);
/// How long it may then take to say how many were too many.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How often a pinned ring is freed of what comes to no line.
const REACHED_EVERY: Duration = Duration::from_secs(1);

/// What the log looks like.
pub(crate) struct Look {
    pub(crate) format: OutputFormat,
    pub(crate) tree: bool,
}

impl Look {
    fn is_text(&self, is_terminal: bool) -> bool {
        match self.format {
            OutputFormat::Text => true,
            OutputFormat::Coder | OutputFormat::Ecs | OutputFormat::Ocsf => false,
            OutputFormat::Auto => is_terminal,
        }
    }
}

/// What a command knows about its log.
pub(crate) struct Plan<'a> {
    pub(crate) logging: &'a LoggingArgs,
    pub(crate) look: Look,
    pub(crate) labels: LabelSource,
    pub(crate) watch: Watch<'a>,
    /// How it runs for long, if it does.
    pub(crate) service: Option<&'a ServiceArgs>,
    /// Reading ends when all scopes are gone.
    pub(crate) ends_with_its_scopes: bool,
}

/// An open log and the thread that writes it.
pub(crate) struct Pipeline {
    queue: QueueIn,
    backpressure: Backpressure,
    writer: JoinHandle<()>,
    done: mpsc::Receiver<Written>,
    rest: Arc<Rest>,
    /// Bytes that the output took.
    taken: Arc<AtomicU64>,
    /// Those of the workspace.
    scopes: Vec<ScopeId>,
    watchdog: Option<Watchdog>,
    ledger_every: Option<Duration>,
    next_ledger: Instant,
    next_reached: Instant,
    pinned: bool,
    unpin_on_stop: bool,
    ends_with_its_scopes: bool,
    /// How many of the scopes are no more, and since when the last of them is not.
    gone: usize,
    last_gone: Option<SystemTime>,
    sifting: Arc<Sifting>,
    redactor: Option<Arc<Redactor>>,
    stats: Arc<Stats>,
    /// Of the runs to come, also of the log with all lines.
    seals: Vec<Seal>,
    complete_seals: Vec<Seal>,
}

impl Pipeline {
    /// Begins a run of the log. The tracer's scopes are those of the workspace.
    pub(crate) fn start(log: Log, mut plan: Plan<'_>, tracer: &mut Tracer) -> anyhow::Result<Pipeline> {
        let Log { runs: Runs { mut outputs, mut seals }, complete, sifting, redactor, stats } = log;
        let seal = next_seal(&mut seals)?;
        let scopes: Vec<ScopeId> = tracer.scopes().map(|(id, _)| id).collect();
        let labels = plan.labels.read()?;
        let encoder = encoder(&outputs, &plan, scopes.len() > 1, &labels)?;
        let (complete, complete_seals) = match complete {
            Some(Runs { mut outputs, mut seals }) => {
                let encoder = json_encoder(&plan, scopes.len() > 1, &labels)?;
                let seal = next_seal(&mut seals)?;
                outputs.start()?;
                (Some((outputs, encoder, seal)), seals)
            }
            None => (None, Vec::new()),
        };
        let complete_run = complete.as_ref().map(|(_, _, seal)| seal.run());
        let run = Run::begin(plan.logging, tracer, seal, &sifting, complete_run, &plan.watch)?;
        let is_detached = tracer.detached_since().is_some();
        let every = plan.service.map(|service| service.watchdog).filter(|every| !every.is_zero() && !is_detached);
        let watchdog = match every {
            Some(every) => Some(Watchdog::new(tracer.add_scope(Scope::Children)?, every)),
            None => None,
        };
        capabilities::drop_others()?;
        let pinned = plan.service.is_some_and(|service| service.pin.is_some());
        let unpin_on_stop = plan.service.is_some_and(|service| service.unpin_on_stop);
        let last = scopes.iter().map(|scope| scope.get()).max().unwrap_or_default();
        let (mut queue, receiver) = queue(plan.logging.queue_size, last);
        let journal = tracer.journal();
        outputs.start()?;
        let (rest, taken) = (Arc::new(Rest::default()), outputs.taken());
        let complete = complete.map(|(outputs, encoder, seal)| {
            let start = Start { rollup: None, chained: seal.chained(), ..run.start.clone() };
            let start = Entry::Start(Box::new(start));
            Stream::new(outputs, encoder, Outset { start, seal, books: Books::default(), journal: None })
        });
        let start = Entry::Start(Box::new(run.start));
        let outset = Outset { start, seal: run.seal, books: run.books, journal };
        let stream = Stream::new(outputs, encoder, outset);
        let shared = Shared { rest: Arc::clone(&rest), redactor: redactor.clone(), stats: Arc::clone(&stats) };
        let writer = Writer::new(stream, complete, sifting.sift(), plan.labels, shared);
        let (tell, done) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // Nobody listens any more after a stop that took too long.
                let _ = tell.send(writer.run(&receiver));
            })
            .context("starting the writer's thread")?;
        let mut backpressure = Backpressure::new(Arc::clone(&taken));
        for running in run.running {
            let _ = backpressure.push(Entry::Running(Box::new(running)), &mut queue);
        }
        let ledger_every = Some(plan.logging.ledger_interval).filter(|every| !every.is_zero());
        let next_ledger = Instant::now() + ledger_every.unwrap_or_default();
        Ok(Pipeline {
            queue,
            backpressure,
            writer,
            done,
            rest,
            taken,
            scopes,
            watchdog,
            ledger_every,
            next_ledger,
            next_reached: Instant::now(),
            pinned,
            unpin_on_stop,
            ends_with_its_scopes: plan.ends_with_its_scopes,
            gone: 0,
            last_gone: None,
            sifting,
            redactor,
            stats,
            seals,
            complete_seals,
        })
    }

    /// Logs until somebody says stop, or until there is nothing to watch any more; then the log for another run is returned,
    /// and until when this one watched.
    pub(crate) fn serve(mut self, mut tracer: Tracer, stop: &StopSignal) -> anyhow::Result<Option<(Log, SystemTime)>> {
        let reason = self.read(&mut tracer, &[stop.as_fd()])?;
        // An output that is gone is no word to stop: the pin is for who comes next.
        self.unpin_on_stop &= stop.has_come();
        let until = tracer.detached_since().or(self.last_gone);
        let log = self.stop(tracer, reason.unwrap_or(Why::Signal), Account::Always)?;
        match reason {
            Some(_) => Ok(Some((log, until.unwrap_or_else(SystemTime::now)))),
            None => {
                log.finish();
                Ok(None)
            }
        }
    }

    /// Reads the tracer until one of `until` is readable, or the output is gone; or until there is a reason not to go on,
    /// which is returned.
    pub(crate) fn read(&mut self, tracer: &mut Tracer, until: &[BorrowedFd<'_>]) -> anyhow::Result<Option<Why>> {
        let mut ended = false;
        while !ended && !self.writer.is_finished() {
            if tracer.detached_since().is_some() {
                tracing::warn!("the tracer before this one was killed while it gave its pin up: beginning anew");
                return Ok(Some(Why::Detached));
            }
            if self.ends_with_its_scopes && self.gone == self.scopes.len() {
                tracing::info!("the workspace's PID namespace is gone");
                return Ok(Some(Why::ScopeGone));
            }
            let is_full = self.backpressure.relieve(&mut self.queue).is_break();
            if is_full {
                ended = wait_any(until, ROOM_EVERY);
            } else {
                let mut fds = until.to_vec();
                fds.push(tracer.as_fd());
                wait_any(&fds, LATENESS);
                ended = wait_any(until, Duration::ZERO);
            }
            let is_behind = is_full
                || tracer
                    .try_poll(Duration::ZERO, |item| self.take(item))
                    .context("reading the kernel's records")?
                    .is_break();
            self.tick(tracer, is_behind)?;
        }
        Ok(None)
    }

    fn take(&mut self, item: Item) -> ControlFlow<()> {
        match self.watchdog.as_mut().and_then(|watchdog| watchdog.take(&item)) {
            Some(Some(news)) => self.put(Entry::Watchdog(news)),
            Some(None) => ControlFlow::Continue(()),
            None => {
                if let Item::Gone(gone) = &item {
                    self.gone += 1;
                    self.last_gone = self.last_gone.max(Some(gone.time));
                }
                self.put(entry(item))
            }
        }
    }

    fn put(&mut self, entry: Entry) -> ControlFlow<()> {
        self.backpressure.push(entry, &mut self.queue)
    }

    /// What is due by the clock. What waits in the ring while the reader is behind was not seen, which says nothing.
    fn tick(&mut self, tracer: &Tracer, is_behind: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let watchdog = self.watchdog.as_mut().filter(|_| !is_behind);
        if let Some(line) = watchdog.and_then(|watchdog| watchdog.tick(now)) {
            let _ = self.put(Entry::Watchdog(line));
        }
        if self.pinned && now >= self.next_reached {
            // What is swallowed here takes up the ring until something after it is committed.
            self.next_reached = now + REACHED_EVERY;
            let _ = self.put(Entry::Reached(tracer.position()));
        }
        if let Some(every) = self.ledger_every.filter(|_| now >= self.next_ledger) {
            self.next_ledger = now + every;
            let _ = self.put(self.ledger(tracer)?);
        }
        Ok(())
    }

    fn ledger(&self, tracer: &Tracer) -> anyhow::Result<Entry> {
        let snapshot = Snapshot::of(tracer, &self.scopes, self.sifting.names()).context("reading the counters")?;
        self.stats.saw(&snapshot);
        Ok(Entry::Ledger(Box::new(snapshot)))
    }

    /// Detaches the tracer, writes what is left and tells what could not be written. Takes no longer than a second if the
    /// output takes nothing, and as long as [`DRAIN`] if it takes what waits. Returns the log for another run.
    pub(crate) fn stop(mut self, mut tracer: Tracer, why: Why, account: Account) -> anyhow::Result<Log> {
        // Whatever goes wrong on the way, what waits is written first.
        let mut failed = Vec::new();
        let unpins = self.pinned && (self.unpin_on_stop || matches!(why, Why::ScopeGone | Why::Detached));
        if unpins {
            failed.extend(tracer.unpin_programs().context("removing the pin").err());
        }
        tracer.detach();
        let (pinned, deadline) = (self.pinned && !unpins, Instant::now() + DRAIN);
        let drained = self.drain(&mut tracer, pinned, deadline).map_err(|error| failed.push(error)).unwrap_or(true);
        failed.extend(give_account(&tracer, &self.scopes, account).err());
        let stop = Entry::Stop(Stop { why, pinned, position: tracer.position() });
        let ledger = self.ledger(&tracer).map_err(|error| failed.push(error)).ok();
        let patience = if self.backpressure.gave_up() { Duration::ZERO } else { STALLED };
        let Pipeline { queue, done, rest, taken, sifting, redactor, stats, seals, complete_seals, .. } = self;
        let last = [Entry::Settle].into_iter().chain(ledger).chain([stop]);
        let untold = queue.close(last.collect(), patience);
        let written = wait_for_the_writer(&done, &taken, deadline, || if pinned { rest.leave() } else { rest.lose() });
        if unpins {
            failed.extend(tracer.unpin().context("removing the pin").err());
        }
        let Ok(written) = written else {
            let stays = if pinned { "stays in the pin" } else { "is lost" };
            let stalled = format!("the output takes nothing: what was waiting for it {stays}");
            return Err(Failed(Exit::Output, stalled).into());
        };
        let (outputs, complete, missing) = what_is_missing(written, untold, pinned, drained);
        let complete = complete.map(|outputs| Runs { outputs, seals: complete_seals });
        let log = Log { runs: Runs { outputs, seals }, complete, sifting, redactor, stats };
        match missing.map_or_else(|| failed.into_iter().next().map_or(Ok(()), Err), Err) {
            Ok(()) => Ok(log),
            Err(error) => {
                // There will be no other run, whose end would do it.
                log.finish();
                Err(error)
            }
        }
    }

    /// Reads the ring to its end, waiting for an output that takes what there is until a deadline. What then has no room
    /// is counted, or left where it is if a pin keeps it; returns whether nothing was left.
    fn drain(&mut self, tracer: &mut Tracer, pinned: bool, deadline: Instant) -> anyhow::Result<bool> {
        loop {
            let flow = tracer.try_drain(|item| self.take(item)).context("reading the kernel's last records");
            if !self.wait_for_room(deadline) && pinned {
                self.rest.leave();
                return Ok(false);
            }
            if flow?.is_continue() {
                return Ok(true);
            }
        }
    }

    /// Whether all that was held went into the queue, and nothing of it was counted instead.
    fn wait_for_room(&mut self, deadline: Instant) -> bool {
        let mut had_room = true;
        while self.backpressure.relieve(&mut self.queue).is_break() {
            had_room = false;
            if Instant::now() >= deadline || self.writer.is_finished() {
                self.backpressure.give_up();
            }
            thread::park_timeout(ROOM_EVERY);
        }
        had_room || !self.backpressure.gave_up()
    }
}

/// The outputs for another run, and what the log lacks of this one.
fn what_is_missing(
    written: Written,
    untold: Tally,
    pinned: bool,
    drained: bool,
) -> (Outputs, Option<Outputs>, Option<anyhow::Error>) {
    let Written { mut lost, left, broken, outputs, complete } = written;
    lost.add_all(untold);
    let failed = |why: String| anyhow::Error::from(Failed(Exit::Output, why));
    let missing = if let Some(error) = broken {
        Some(anyhow::Error::from(error).context(Failed(Exit::Output, "the log could not be written".to_owned())))
    } else if left || !drained {
        Some(failed("the output is too slow: what was waiting for it stays in the pin".to_owned()))
    } else if !lost.is_empty() {
        let stays = if pinned { ", which stays in the pin" } else { "" };
        Some(failed(format!("missing from the end of the log: {lost}{stays}")))
    } else {
        None
    };
    (outputs, complete, missing)
}

/// Waits as long as the output goes on, and then for the count of what it did not take.
fn wait_for_the_writer(
    done: &mpsc::Receiver<Written>,
    taken: &AtomicU64,
    deadline: Instant,
    give_up: impl FnOnce(),
) -> Result<Written, mpsc::RecvTimeoutError> {
    let mut before = taken.load(Ordering::Relaxed);
    while Instant::now() < deadline {
        let ended = done.recv_timeout(STALLED);
        let now = taken.load(Ordering::Relaxed);
        match ended {
            Err(mpsc::RecvTimeoutError::Timeout) if now > before => before = now,
            Err(mpsc::RecvTimeoutError::Timeout) => break,
            ended => return ended,
        }
    }
    give_up();
    done.recv_timeout(LAST_WORDS)
}

/// When to say at the end what was seen and what of it is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Always,
    IfNotWhole,
}

fn give_account(tracer: &Tracer, scopes: &[ScopeId], account: Account) -> anyhow::Result<()> {
    let skipped = tracer.skipped().context("reading the counters")?;
    for scope in scopes {
        let stats = tracer.stats(*scope).context("reading the counters")?;
        if account == Account::Always || not_whole(&stats) {
            tracing::info!(
                scope = scope.get(),
                seen = stats.seen,
                sent = stats.sent,
                excluded_rule = stats.excluded_rule,
                lost_ring_full = stats.lost_ring_full,
                args_ring_full = stats.args_ring_full,
                strings_ring_full = stats.strings_ring_full,
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
        Item::Failed(failed) => Entry::Failed(failed),
        Item::Ended(ended) => Entry::Ended(ended),
        Item::Gone(gone) => Entry::Gone(gone),
        Item::Lost(loss) => {
            let reason = Reason::Kernel(loss.reason);
            Entry::Lost(Lost { what: loss.what, scope: loss.scope, reason, count: loss.count })
        }
    }
}

fn next_seal(seals: &mut Vec<Seal>) -> anyhow::Result<Seal> {
    seals.pop().context("this process has begun as many runs as it could: restart exectrace")
}

fn encoder(outputs: &Outputs, plan: &Plan<'_>, scopes: bool, labels: &Labels) -> anyhow::Result<Encoder> {
    let is_terminal = outputs.is_terminal();
    if plan.look.is_text(is_terminal) {
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        return Ok(Encoder::Text(TextEncoder::new(colour, plan.look.tree)));
    }
    json_encoder(plan, scopes, labels)
}

/// For machines.
fn json_encoder(plan: &Plan<'_>, scopes: bool, labels: &Labels) -> anyhow::Result<Encoder> {
    let limits = plan.logging.outputs.limits()?;
    let told = Told { fields: plan.logging.fields, scopes };
    let mut encoder = JsonEncoder::new(told, limits);
    encoder.set_labels(labels);
    Ok(Encoder::Json(encoder))
}
