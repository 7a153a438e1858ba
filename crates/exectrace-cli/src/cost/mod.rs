//! `exectrace cost`: what a log costs, by whom, and what it would cost rolled up. Pure: lines in, a report out.
//!
//! ```text
//! line ──► read ──► event ──► replay: is it folded? ──► figures ──► shipping × prices ──► report ──► text, JSON, page
//!                                                          └─ tally: whose is it?
//! ```

mod account;
mod event;
mod figures;
#[cfg(test)]
mod golden;
mod line;
mod live;
mod page;
pub(crate) mod prices;
mod replay;
mod report;
mod run;
mod shipping;
mod size;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod treemap;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use exectrace::{ExecId, Running};
use exectrace_sift::{Criteria, OriginConfig, SiftConfig};
use lru::LruCache;

use self::account::Account;
use self::figures::Figures;
use self::line::{Line, Read, What};
pub(crate) use self::live::Live;
pub(crate) use self::prices::Prices;
pub(crate) use self::report::Report;
use self::run::{Followed, follow};
use self::size::Size;
use crate::input;
use crate::seal::Run;

/// Execs whose files are remembered for what descends from them.
const MAX_EXECS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not 0");
/// Processes from before a run that are remembered; no log of ours has more.
const MAX_RUNNING: usize = 1_024;

/// Adds up what lines cost.
pub(crate) struct Meter {
    criteria: Criteria,
    origin: OriginConfig,
    /// The one that had a line last comes last.
    runs: Vec<Followed>,
    /// Files of execs, and of what led to them.
    execs: LruCache<ExecId, [Arc<str>; 2]>,
    figures: Figures,
}

/// What is asked of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) hours_a_month: f64,
    /// Workspaces like this one.
    pub(crate) times: f64,
    /// Rows of each list.
    pub(crate) top: usize,
    /// How long it was watched, if that is known better than by the lines.
    pub(crate) watched: Option<Duration>,
}

impl Meter {
    /// An account by this roll-up and these rules.
    pub(crate) fn of(config: SiftConfig) -> anyhow::Result<Meter> {
        Meter::new(&Criteria::new(&config, true)?, config.origin)
    }

    /// The same, where all patterns are compiled.
    pub(crate) fn new(criteria: &Criteria, origin: OriginConfig) -> anyhow::Result<Meter> {
        let (runs, execs) = (Vec::new(), LruCache::new(MAX_EXECS));
        Ok(Meter { criteria: criteria.clone(), origin, runs, execs, figures: Figures::new()? })
    }

    /// Reads an input to its end; an error is one of the input itself.
    pub(crate) fn add(&mut self, name: &str, input: impl std::io::Read) -> std::io::Result<()> {
        let contents = input::read(input, |line| self.line(line.bytes))?;
        self.figures.notes.stderr += contents.stderr;
        if let Some(why) = contents.damage {
            self.figures.notes.damaged.push(format!("{name}: {why}"));
        }
        Ok(())
    }

    /// One line, without its line break.
    pub(crate) fn line(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let notes = &mut self.figures.notes;
        match line::read(bytes) {
            Read::Line(line) => self.take(bytes, &line),
            Read::Diagnostic => notes.diagnostics += 1,
            Read::Unreadable => notes.unreadable += 1,
            Read::Foreign => notes.foreign += 1,
            Read::Torn => {
                notes.torn += 1;
                if let Some(at) = line::glued(bytes) {
                    self.line(&bytes[at..]);
                }
            }
        }
    }

    /// A process ran already when a run began, and no line says so.
    pub(crate) fn ran(&mut self, run: Run, running: &Running) {
        if let Some(replay) = follow(&mut self.runs, run, &self.criteria, &mut self.figures).replay.as_mut() {
            replay.sift().ran(running);
        }
    }

    /// It was watched at this time.
    pub(crate) fn saw(&mut self, time: SystemTime) {
        self.figures.saw(time);
    }

    /// So many execs are missing.
    pub(crate) fn lost(&mut self, execs: u64) {
        self.figures.notes.lost += execs;
    }

    /// All that was added; `None` if there was no line of a log.
    pub(crate) fn finish(mut self, prices: Prices, asked: &Asked) -> Option<Report> {
        for followed in &mut self.runs {
            followed.finish(&mut self.figures);
        }
        Report::of(self.figures, prices, asked)
    }

    fn take(&mut self, bytes: &[u8], line: &Line<'_>) {
        let figures = &mut self.figures;
        figures.saw(line.time);
        let size = Size::of(bytes);
        *figures.kinds.entry(line.what.name()).or_default() += size;
        let followed = follow(&mut self.runs, line.run, &self.criteria, figures);
        followed.relabel(line.labels);
        if !followed.look(line) {
            followed.finish(figures);
            followed.replay = None;
            figures.notes.rolled_up_runs += 1;
            figures.notes.replayed_runs -= 1;
        }
        if let Some(replay) = &mut followed.replay {
            replay.at(line.time, &followed.owner, figures);
        }
        let mut account =
            Account { bytes, size, line, followed, figures, execs: &mut self.execs, origin: &self.origin };
        match &line.what {
            What::Exec(event) => account.exec(event),
            What::Failed(event) => account.failed(event),
            What::Exit(exit) => account.exit(exit),
            What::Continued(of) => account.continued(*of),
            What::Rollup(rollup) => account.rollup(rollup),
            What::Running(running) => {
                account.running(&running.running());
                account.log_itself();
            }
            What::Lost(count) => {
                account.figures.notes.lost = account.figures.notes.lost.saturating_add(*count);
                account.log_itself();
            }
            What::Start { .. } | What::Stop | What::Other => account.log_itself(),
        }
        if matches!(line.what, What::Stop) {
            let mut ended = self.runs.pop();
            ended.iter_mut().for_each(|followed| followed.finish(&mut self.figures));
        }
    }
}
