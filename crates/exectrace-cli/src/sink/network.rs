//! A sink over the network, as the writer sees it: a spool, and a thread that sends from it.

use std::time::Instant;

use exectrace_sinks::dropped::Number;
use exectrace_sinks::ship::Shipper;
use exectrace_sinks::spool::Spool;

/// What begins to send from a spool.
pub(crate) type Start = Box<dyn FnOnce(Spool) -> std::io::Result<Shipper> + Send>;

/// One sink.
pub(crate) struct NetworkSink {
    name: &'static str,
    spool: Spool,
    state: State,
}

enum State {
    Waiting(Start),
    Sending(Shipper),
    Ended,
}

impl NetworkSink {
    /// Nothing is sent before [`NetworkSink::start`].
    pub(crate) fn new(name: &'static str, spool: Spool, start: Start) -> NetworkSink {
        NetworkSink { name, spool, state: State::Waiting(start) }
    }

    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Begins to send, if it has not begun.
    pub(super) fn start(&mut self) -> std::io::Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Waiting(start) => State::Sending(start(self.spool.clone())?),
            state => state,
        };
        Ok(())
    }

    /// What has no room is dropped, and told.
    pub(super) fn append(&self, lines: &[u8], first: Number) {
        self.spool.put(first, lines);
    }

    /// Sends until a deadline; what is left then is named, and stays for the next start.
    pub(super) fn finish(self, deadline: Instant) {
        let (lines, bytes) = match self.state {
            State::Sending(shipper) => shipper.stop(deadline),
            State::Waiting(_) | State::Ended => self.spool.size(),
        };
        if lines > 0 {
            tracing::warn!(sink = self.name, lines, bytes, "lines wait in the spool, and are sent by the next start");
        }
    }

    /// What is counted of it.
    pub(super) fn counts(&self) -> std::sync::Arc<exectrace_sinks::counts::Counts> {
        std::sync::Arc::clone(self.spool.counts())
    }
}
