//! Proof that the kernel program still sees: every so often exectrace executes itself, in a scope of its own, and wants
//! to see that. A program that was detached or replaced would otherwise look like a quiet workspace.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use exectrace::{Item, ScopeId};

use crate::line::Watchdog as Line;

/// By this name the program knows that it is executed only to be seen.
pub(crate) const PROBE: &str = "exectrace-watchdog";

/// What a second probe gets to be seen after a first one was not.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether this process is a probe, which has done its work by now.
pub(crate) fn is_probe() -> bool {
    std::env::args_os().next().is_some_and(|name| name == PROBE)
}

/// Executes probes and looks for them among what the tracer sees.
#[derive(Debug)]
pub(crate) struct Watchdog {
    scope: ScopeId,
    every: Duration,
    next: Instant,
    number: u64,
    /// The probe that was not seen yet.
    awaited: Option<u64>,
    /// One was not seen, and another is to say whether that was chance: from kernel 7.0 on programs can be skipped.
    in_doubt: bool,
    missed: u64,
    last_seen: SystemTime,
    probes: Vec<Child>,
}

impl Watchdog {
    /// `scope` must be the tracer's own children.
    pub(crate) fn new(scope: ScopeId, every: Duration) -> Watchdog {
        Watchdog {
            scope,
            every,
            next: Instant::now(),
            number: 0,
            awaited: None,
            in_doubt: false,
            missed: 0,
            last_seen: SystemTime::now(),
            probes: Vec::new(),
        }
    }

    /// Whether the item tells of a probe, and is nothing of the workspace's. Returns a line if that is news.
    pub(crate) fn take(&mut self, item: &Item) -> Option<Option<Line>> {
        let scope = match item {
            Item::Exec(event) => Some(event.scope),
            Item::Failed(failed) => Some(failed.attempt.scope),
            Item::Ended(ended) => Some(ended.scope),
            Item::Lost(loss) => loss.scope,
            Item::Gone(gone) => Some(gone.scope),
        };
        if scope != Some(self.scope) {
            return None;
        }
        // A probe that was counted as lost was seen by the program all the same.
        let is_awaited = match item {
            Item::Exec(event) => {
                let number = event.argv.iter().nth(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
                event.argv.count == 2 && (number.is_none() || number == self.awaited)
            }
            Item::Lost(_) => true,
            Item::Failed(_) | Item::Ended(_) | Item::Gone(_) => false,
        };
        Some(if is_awaited { self.seen() } else { None })
    }

    fn seen(&mut self) -> Option<Line> {
        self.awaited.take()?;
        self.in_doubt = false;
        self.last_seen = SystemTime::now();
        let missed = std::mem::take(&mut self.missed);
        (missed > 0).then(|| {
            tracing::info!(missed, "the kernel program sees what is executed again");
            Line { seen: true, missed, last_seen: None }
        })
    }

    /// Executes the next probe if it is time. Returns a line if the one before it was not seen.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Line> {
        self.reap();
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        if self.awaited.is_some() && !std::mem::replace(&mut self.in_doubt, true) {
            self.next = now + self.every.min(PATIENCE);
            self.execute();
            return None;
        }
        let unseen = self.awaited.take().map(|_| {
            self.missed += 1;
            tracing::error!(
                missed = self.missed,
                "the kernel program did not see what exectrace itself executed: it was detached or replaced, and what \
                 runs now is not logged (restart exectrace)"
            );
            Line { seen: false, missed: self.missed, last_seen: Some(self.last_seen) }
        });
        self.execute();
        unseen
    }

    fn execute(&mut self) {
        self.number += 1;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(PROBE).arg(self.number.to_string());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match spawned {
            Ok(child) => {
                self.awaited = Some(self.number);
                self.probes.push(child);
            }
            Err(error) => tracing::error!("the watchdog cannot execute anything, so it proves nothing: {error}"),
        }
    }

    fn reap(&mut self) {
        self.probes.retain_mut(|probe| matches!(probe.try_wait(), Ok(None)));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        for probe in &mut self.probes {
            let _ = probe.wait();
        }
    }
}
