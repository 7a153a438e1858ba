//! When to try again, and what to say about it: the first failure at once, others not more often than once a minute.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::ShipOptions;
use crate::destination::SendError;

/// A place may ask for so much patience, and no more.
const MOST_PATIENCE: Duration = Duration::from_secs(300);
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The attempts at one batch.
pub(super) struct Retry {
    waits: ExponentialBackoff,
    longest: Duration,
    refused: Duration,
    failures: u64,
    said: Option<Instant>,
}

/// Try again after so long.
pub(super) struct Again(pub(super) Duration);

impl Retry {
    pub(super) fn new(options: &ShipOptions) -> Retry {
        let waits = ExponentialBuilder::default()
            .with_min_delay(options.first_wait)
            .with_max_delay(options.longest_wait)
            .with_jitter()
            .without_max_times()
            .build();
        Retry { waits, longest: options.longest_wait, refused: options.refused_wait, failures: 0, said: None }
    }

    pub(super) fn after(&mut self, sink: &str, error: &SendError) -> Again {
        self.failures += 1;
        let is_due = self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY);
        if is_due {
            self.said = Some(Instant::now());
        }
        match error {
            SendError::Refused { .. } => {
                if is_due {
                    tracing::error!(sink, "nothing is sent, and lines wait in the spool: {error}");
                }
                Again(self.refused)
            }
            SendError::Retryable { after, .. } => {
                if is_due {
                    tracing::warn!(
                        sink,
                        failures = self.failures,
                        "lines wait in the spool and are sent again: {error}"
                    );
                }
                let wait = self.waits.next().unwrap_or(self.longest);
                Again(after.map_or(wait, |after| after.min(MOST_PATIENCE).max(wait)))
            }
            // Who asks knows better than to try that again.
            SendError::Rejected { .. } => Again(self.longest),
        }
    }

    /// The batch was taken.
    pub(super) fn worked(&self, sink: &str) {
        if self.failures > 0 {
            tracing::info!(sink, failures = self.failures, "lines are taken again");
        }
    }
}
