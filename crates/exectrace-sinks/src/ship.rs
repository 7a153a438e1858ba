//! From a spool to a place: lines become batches, and a batch is sent until the place has taken it.
//!
//! One thread for each sink. What it sends stays in the spool until the place has said that it has it, so that a kill, a
//! stop or a place that is down costs nothing; a batch may be sent twice, when the answer to the first one was lost.

mod batch;
mod retry;
#[cfg(test)]
mod tests;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout, timeout_at};

use self::batch::{Pending, batch_of};
use self::retry::{Again, Retry};
use crate::destination::{Destination, Line, Receipt, SendError};
use crate::dropped::{Number, Reason};
use crate::spool::Spool;

/// How lines are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShipOptions {
    /// How long a batch that is not full waits for more.
    pub linger: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// The first wait after an attempt that failed; it grows, and a part of it is chance.
    pub first_wait: Duration,
    /// The longest.
    pub longest_wait: Duration,
    /// How long to wait when the place takes nothing until somebody changes something.
    pub refused_wait: Duration,
}

impl Default for ShipOptions {
    fn default() -> ShipOptions {
        ShipOptions {
            linger: Duration::from_secs(1),
            attempt: Duration::from_secs(30),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(30),
            refused_wait: Duration::from_secs(60),
        }
    }
}

/// What becomes of a line before it is sent: its bytes without a line break come in.
pub type Dress = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

/// A thread that sends.
pub struct Shipper {
    thread: JoinHandle<()>,
    /// Until when to go on, once it is to stop.
    stop: watch::Sender<Option<Instant>>,
    spool: Spool,
}

impl Shipper {
    /// Begins to send what is in a spool, and what will be put there.
    pub fn start<D: Destination + Send + 'static>(
        destination: D,
        spool: Spool,
        dress: Dress,
        options: ShipOptions,
    ) -> std::io::Result<Shipper> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(None);
        let ship = Ship { destination, spool: spool.clone(), dress, options, stopped, pending: Pending::default() };
        let thread = thread::Builder::new().name(D::NAME.to_owned()).spawn(move || runtime.block_on(ship.run()))?;
        Ok(Shipper { thread, stop, spool })
    }

    /// Sends what waits until a deadline; returns how many lines, and bytes of them, still wait: they are in the spool.
    pub fn stop(self, deadline: Instant) -> (u64, u64) {
        let _ = self.stop.send(Some(deadline));
        let _ = self.thread.join();
        self.spool.size()
    }
}

struct Ship<D> {
    destination: D,
    spool: Spool,
    dress: Dress,
    options: ShipOptions,
    stopped: watch::Receiver<Option<Instant>>,
    pending: Pending,
}

/// The deadline is over.
struct TooLate;

/// How many lines of a batch may be refused one by one before the rest of it is given up.
const REFUSED_ONE_BY_ONE: usize = 16;

impl<D: Destination> Ship<D> {
    async fn run(mut self) {
        loop {
            self.fill();
            if self.pending.is_empty() {
                if self.deadline().is_some() {
                    return;
                }
                tokio::select! {
                    () = self.spool.was_put() => {}
                    _ = self.stopped.changed() => {}
                }
                continue;
            }
            if !self.pending.is_full(&self.destination.limits()) && self.deadline().is_none() {
                self.wait_for_more().await;
                self.fill();
            }
            let batch = batch_of(&mut self.pending, &self.destination.limits());
            if self.send(batch.lines).await.is_err() {
                return;
            }
            if let Some(id) = batch.completes {
                self.spool.acknowledge(id);
            }
        }
    }

    /// When to stop; `None`: not yet.
    fn deadline(&self) -> Option<Instant> {
        *self.stopped.borrow()
    }

    /// Takes chunks until there is enough for a batch, or no more.
    fn fill(&mut self) {
        let limits = self.destination.limits();
        while !self.pending.is_full(&limits) {
            match self.spool.next(self.pending.last_chunk()) {
                Ok(Some(chunk)) => self.pending.add(chunk, &self.dress),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(sink = D::NAME, "the spool cannot be read: {error}");
                    return;
                }
            }
        }
    }

    async fn wait_for_more(&mut self) {
        let until = tokio::time::Instant::now() + self.options.linger;
        loop {
            let put = async {
                tokio::select! {
                    () = self.spool.was_put() => {}
                    _ = self.stopped.changed() => {}
                }
            };
            let is_over = timeout_at(until, put).await.is_err();
            self.fill();
            if is_over || self.pending.is_full(&self.destination.limits()) || self.deadline().is_some() {
                return;
            }
        }
    }

    /// Sends a batch, and of one that is refused as much as is not.
    async fn send(&mut self, lines: Vec<Line>) -> Result<(), TooLate> {
        let mut batches = vec![lines];
        let mut refused_in_a_row = 0;
        while let Some(mut lines) = batches.pop() {
            let limit = self.destination.limits().line_bytes;
            lines.retain(|line| self.fits(line, limit));
            if lines.is_empty() {
                continue;
            }
            match self.send_whole(&lines).await? {
                Ok(()) => refused_in_a_row = 0,
                Err(why) if lines.len() == 1 || refused_in_a_row >= REFUSED_ONE_BY_ONE => {
                    refused_in_a_row += 1;
                    tracing::error!(sink = D::NAME, lines = lines.len(), "lines are refused, and dropped: {why}");
                    lines.iter().for_each(|line| self.drop_line(line.number));
                }
                // One that is refused must not keep the others from being taken.
                Err(_) => {
                    let rest = lines.split_off(lines.len() / 2);
                    batches.extend([rest, lines]);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, line: &Line, limit: usize) -> bool {
        let fits = line.bytes.len() <= limit;
        if !fits {
            tracing::error!(sink = D::NAME, line = %line.number, bytes = line.bytes.len(), limit, "a line is too long, and dropped");
            self.drop_line(line.number);
        }
        fits
    }

    fn drop_line(&self, number: Number) {
        self.spool.drop_lines(Reason::Rejected, number, 1);
    }

    /// Sends lines until they are taken, or refused for good.
    async fn send_whole(&mut self, lines: &[Line]) -> Result<Result<(), String>, TooLate> {
        let mut retry = Retry::new(&self.options);
        loop {
            let attempt = timeout(self.options.attempt, self.destination.send(lines));
            let result = tokio::select! {
                result = attempt => result,
                () = too_late(self.stopped.clone()) => return Err(TooLate),
            };
            let never = SendError::Retryable { why: "no answer in time".to_owned(), after: None };
            match result.unwrap_or(Err(never)) {
                Ok(receipt) => {
                    retry.worked(D::NAME);
                    self.taken(lines, &receipt);
                    return Ok(Ok(()));
                }
                Err(SendError::Rejected { why }) => return Ok(Err(why)),
                Err(error) => {
                    self.spool.counts().retried();
                    let Again(wait) = retry.after(D::NAME, &error);
                    self.wait(wait).await?;
                }
            }
        }
    }

    /// A stop cuts a wait short, once: there may be time for one more attempt.
    async fn wait(&mut self, wait: Duration) -> Result<(), TooLate> {
        let wait = if self.deadline().is_some() { wait.min(self.options.first_wait) } else { wait };
        let is_stopping = self.deadline().is_some();
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = until_stopped(self.stopped.clone()), if !is_stopping => Ok(()),
            () = too_late(self.stopped.clone()) => Err(TooLate),
        }
    }

    fn taken(&self, lines: &[Line], Receipt { rejected, rejected_somewhere }: &Receipt) {
        let mut count = lines.len();
        if let Some((some, why)) = rejected_somewhere {
            let some = usize::try_from(*some).unwrap_or(usize::MAX).min(count);
            tracing::error!(sink = D::NAME, lines = some, "lines are refused, and dropped: {why}");
            if some == count {
                lines.iter().for_each(|line| self.drop_line(line.number));
            } else {
                self.spool.drop_some(Reason::Rejected, some as u64);
            }
            count -= some;
        }
        for (range, why) in rejected {
            let lines = lines.get(range.clone()).unwrap_or_default();
            tracing::error!(sink = D::NAME, lines = lines.len(), "lines are refused, and dropped: {why}");
            lines.iter().for_each(|line| self.drop_line(line.number));
            count = count.saturating_sub(lines.len());
        }
        let bytes: usize = lines.iter().map(|line| line.bytes.len()).sum();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.spool.counts().sent(count as u64, bytes as u64, now);
    }
}

/// Waits for the deadline, once there is one.
async fn too_late(mut stopped: watch::Receiver<Option<Instant>>) {
    let deadline = stopped.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    sleep_until(deadline.unwrap_or_else(Instant::now).into()).await;
}

async fn until_stopped(mut stopped: watch::Receiver<Option<Instant>>) {
    // An end of who could say stop is one.
    let _ = stopped.wait_for(Option::is_some).await;
}
