//! A scope instead of a log: what happens becomes lines, as `trace` would write them, and these are added up. Nothing is
//! written.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use exectrace::{Failed, FailedHook, Item, Tracer, What};
use exectrace_redact::Redactor;
use exectrace_sift::{Sift, Verdict};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Meter;
use super::text::bytes;
use crate::cli::Fields;
use crate::ledger::Books;
use crate::line::json::{JsonEncoder, Limits, Lines, Told};
use crate::line::{About, Entry, Place};
use crate::redaction;
use crate::seal::{ChainMode, Run, Seal};
use crate::sifting::Sifting;
use crate::stop::StopSignal;

/// How late an event can be, and how often somebody sees that something goes on.
const TICK: Duration = Duration::from_millis(200);
/// As `trace` has them where nothing is said.
const LIMITS: Limits = Limits { bytes: 16_384, args: 100 };
const RUN: Run = Run(0);

/// A scope that is watched.
pub(crate) struct Live {
    meter: Meter,
    /// In which something can be executed still.
    scopes: usize,
    /// Finds out whose an exec is, and folds nothing.
    sift: Sift,
    redactor: Redactor,
    encoder: JsonEncoder,
    seal: Seal,
    out: Vec<u8>,
    execs: u64,
    bytes: u64,
}

impl Live {
    /// A tracer as `trace` has it where nothing is said.
    pub(crate) fn tracer(sifting: &Sifting) -> anyhow::Result<Tracer> {
        let hook = FailedHook::Fexit;
        let failed = if hook.check().is_ok() { Failed::Notable } else { Failed::None };
        Ok(sifting.tell(Tracer::builder().failed(failed, hook)).open()?)
    }

    /// `scopes`: how many there are.
    pub(crate) fn new(sifting: &Sifting, meter: Meter, scopes: usize) -> anyhow::Result<Live> {
        Ok(Live {
            scopes,
            meter,
            sift: sifting.sift(),
            redactor: redaction::random()?,
            encoder: JsonEncoder::new(Told { fields: Fields::Standard, scopes: scopes > 1 }, LIMITS),
            seal: Seal::new(RUN.0, ChainMode::None),
            out: Vec::new(),
            execs: 0,
            bytes: 0,
        })
    }

    /// Watches for a while, or until somebody says stop, or nothing can come any more; returns how long that was.
    pub(crate) fn watch(
        mut self,
        mut tracer: Tracer,
        time: Duration,
        stop: &StopSignal,
    ) -> anyhow::Result<(Meter, Duration)> {
        self.before(&tracer);
        self.meter.saw(SystemTime::now());
        let (bar, start) = (watching(time), Instant::now());
        tracing::info!("tracing");
        while start.elapsed() < time && !stop.has_come() && self.scopes > 0 {
            let left = time.saturating_sub(start.elapsed());
            tracer.poll(left.min(TICK), |item| self.take(item)).context("reading what is traced")?;
            bar.set_position(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{} execs, {}", self.execs, bytes(self.bytes)));
        }
        let watched = start.elapsed();
        tracer.stop(|item| self.take(item)).context("reading what is traced")?;
        self.meter.saw(SystemTime::now());
        bar.finish_and_clear();
        Ok((self.meter, watched))
    }

    /// What runs already, by which it is known whose an exec is.
    fn before(&mut self, tracer: &Tracer) {
        let running = tracer.scopes().filter_map(|(_, scope)| scope.running(std::path::Path::new("/proc"))).flatten();
        for running in running.take(super::MAX_RUNNING) {
            self.sift.ran(&running);
            self.meter.ran(RUN, &running);
        }
    }

    fn take(&mut self, item: Item) {
        let mut entry = match item {
            Item::Exec(event) => Entry::Exec(event),
            Item::Failed(failed) => Entry::Failed(failed),
            Item::Lost(loss) => {
                self.meter.lost(if loss.what == What::Exec { loss.count } else { 0 });
                return;
            }
            Item::Gone(_) => {
                self.scopes = self.scopes.saturating_sub(1);
                return;
            }
            Item::Ended(_) => return,
        };
        let redacted = redaction::redact(&mut entry, &self.redactor);
        let judged = match &entry {
            Entry::Exec(event) => self.sift.exec(event, |_| None),
            Entry::Failed(failed) => self.sift.failed(failed, |_| None),
            _ => return,
        };
        match &mut entry {
            Entry::Exec(event) => event.parent_id = judged.parent,
            Entry::Failed(failed) => failed.attempt.parent_id = judged.parent,
            _ => {}
        }
        if !matches!(judged.verdict, Verdict::Excluded(_)) {
            self.execs += u64::from(matches!(entry, Entry::Exec(_)));
            self.put(&entry, &About { redacted, session: judged.session, ..About::default() });
        }
    }

    fn put(&mut self, entry: &Entry, about: &About) {
        let Live { encoder, seal, out, .. } = self;
        out.clear();
        let books = Books::default();
        let place = Place { run: RUN, line: seal.next_line(), last_ledger: 0, books: &books, about };
        let end = |out: &mut Vec<u8>, start| seal.put(out, start);
        encoder.encode(entry, SystemTime::now(), place, Lines { out, end });
        self.bytes += out.len() as u64;
        for line in self.out.split(|byte| *byte == b'\n') {
            self.meter.line(line);
        }
    }
}

/// For people who wait; hidden otherwise.
fn watching(time: Duration) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let length = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {elapsed}, {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
