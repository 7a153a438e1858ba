//! What is being measured, for who waits; and the end of it all when somebody does not want to.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a terminal sees that something goes on.
const TICK: Duration = Duration::from_millis(200);

/// One measurement after the other.
pub(crate) struct Steps {
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
}

impl Steps {
    /// From here on signals that would end this process end the next step instead, so that what was made or switched on
    /// for a measurement is taken back.
    pub(crate) fn new() -> anyhow::Result<Steps> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("listening to signals")?;
        }
        let bar = if io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(TICK);
        Ok(Steps { bar, interrupted })
    }

    /// Tells what comes next. An error: nothing comes any more.
    pub(crate) fn begin(&self, what: impl Into<String>) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        self.bar.set_message(what.into());
        Ok(())
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
