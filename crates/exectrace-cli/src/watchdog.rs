//! Proof that the kernel program still sees: every so often exectrace executes itself, in a scope of its own, and wants
//! to see that. A program that was detached or replaced would otherwise look like a quiet workspace.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use exectrace::{Item, ScopeId};

use crate::line::Watchdog as Line;

/// By this name the program knows that it is executed only to be seen.
pub(crate) const PROBE: &str = "exectrace-watchdog";

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
    missed: u64,
    probe: Option<Child>,
}

impl Watchdog {
    /// `scope` must be the tracer's own children.
    pub(crate) fn new(scope: ScopeId, every: Duration) -> Watchdog {
        Watchdog { scope, every, next: Instant::now(), number: 0, awaited: None, missed: 0, probe: None }
    }

    /// Whether the item tells of a probe, and is nothing of the workspace's. Returns a line if that is news.
    pub(crate) fn take(&mut self, item: &Item) -> Option<Option<Line>> {
        let scope = match item {
            Item::Exec(event) => Some(event.scope),
            Item::Failed(failed) => Some(failed.attempt.scope),
            Item::Ended(ended) => Some(ended.scope),
            Item::Lost(loss) => loss.scope,
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
            Item::Failed(_) | Item::Ended(_) => false,
        };
        Some(if is_awaited { self.seen() } else { None })
    }

    fn seen(&mut self) -> Option<Line> {
        self.awaited.take()?;
        let missed = std::mem::take(&mut self.missed);
        (missed > 0).then(|| {
            tracing::info!(missed, "the kernel program sees what is executed again");
            Line { seen: true, missed }
        })
    }

    /// Executes the next probe if it is time. Returns a line if the one before it was not seen.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Line> {
        self.reap();
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        let unseen = self.awaited.take().map(|_| {
            self.missed += 1;
            tracing::error!(
                missed = self.missed,
                "the kernel program did not see what exectrace itself executed: it was detached or replaced, and what \
                 runs now is not logged (restart exectrace)"
            );
            Line { seen: false, missed: self.missed }
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
                self.probe = Some(child);
            }
            Err(error) => tracing::error!("the watchdog cannot execute anything, so it proves nothing: {error}"),
        }
    }

    fn reap(&mut self) {
        if let Some(probe) = &mut self.probe
            && !matches!(probe.try_wait(), Ok(None))
        {
            self.probe = None;
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(probe) = &mut self.probe {
            let _ = probe.wait();
        }
    }
}
