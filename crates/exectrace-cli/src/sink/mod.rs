//! Where lines go: one or several outputs, each of which gets every line.
//!
//! The first output says what is in the log: what it does not take is told to be missing, and no other output gets it.
//! What another one does not take is missing from that one only, which the log tells as `dropped`. No output here is
//! farther away than a disk; what goes over the network waits in a spool (`network`).

mod file;
mod lines;
#[cfg(feature = "ship")]
mod network;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "ship")]
use std::sync::atomic::Ordering;
use std::time::Instant;

use exectrace_sinks::dropped::{Dropped, DroppedLines, Number, Reason};
use exectrace_sinks::schema::Translator;

pub(crate) use self::file::{RotatedFile, Rotation};
pub(crate) use self::lines::{LineSink, Stopped};
#[cfg(feature = "ship")]
pub(crate) use self::network::NetworkSink;

/// All outputs of a log.
pub(crate) struct Outputs {
    first: Output,
    others: Vec<Output>,
    /// Bytes that the first one took so far.
    taken: Arc<AtomicU64>,
    dropped: DroppedLines,
}

/// One of them.
pub(crate) struct Output {
    place: Place,
    /// Makes other lines of those that are given.
    translator: Option<Translator>,
    /// The last write failed.
    failing: bool,
}

/// Where it is.
pub(crate) enum Place {
    Stdout(LineSink),
    File(RotatedFile),
    #[cfg(feature = "ship")]
    Network(Box<NetworkSink>),
}

impl Outputs {
    /// `None` if there is no place.
    pub(crate) fn of(places: Vec<Place>, translator: Option<Translator>, dropped: DroppedLines) -> Option<Outputs> {
        let output = |place| Output { place, translator: translator.clone(), failing: false };
        let mut outputs = places.into_iter().map(output);
        let first = outputs.next()?;
        let taken = match &first.place {
            Place::Stdout(sink) => sink.taken(),
            Place::File(file) => file.taken(),
            #[cfg(feature = "ship")]
            Place::Network(_) => Arc::default(),
        };
        Some(Outputs { first, others: outputs.collect(), taken, dropped })
    }

    /// How many bytes the first one took, for who waits for it.
    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// Whether all that there is is people who look at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.others.is_empty() && matches!(&self.first.place, Place::Stdout(sink) if sink.is_terminal())
    }

    /// Begins to send over the network, by threads that have the rights of this one.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        #[cfg(feature = "ship")]
        for output in std::iter::once(&mut self.first).chain(&mut self.others) {
            if let Place::Network(network) = &mut output.place {
                network.start()?;
            }
        }
        Ok(())
    }

    /// What is counted of each sink over the network.
    #[cfg(feature = "ship")]
    pub(crate) fn counts(&self) -> Vec<(&'static str, Arc<exectrace_sinks::counts::Counts>)> {
        let counts = |output: &Output| match &output.place {
            Place::Network(network) => Some((network.name(), network.counts())),
            Place::Stdout(_) | Place::File(_) => None,
        };
        std::iter::once(&self.first).chain(&self.others).filter_map(counts).collect()
    }

    /// Writes whole lines with consecutive numbers, of which the first one is given. On an error, returns how many bytes of
    /// them the first output has.
    pub(crate) fn write_lines(&mut self, lines: &[u8], first: Number) -> Result<(), Stopped> {
        let result = self.first.write(lines, first);
        let whole_bytes = result.as_ref().map_or_else(|stopped| stopped.whole_bytes, |()| lines.len());
        #[cfg(feature = "ship")]
        if matches!(self.first.place, Place::Network(_)) {
            self.taken.fetch_add(whole_bytes as u64, Ordering::Relaxed);
        }
        for output in &mut self.others {
            output.write_or_drop(&lines[..whole_bytes], first, &self.dropped);
        }
        result
    }

    /// What an output does not have, since it was last asked.
    pub(crate) fn dropped(&self) -> Vec<Dropped> {
        self.dropped.take()
    }

    /// Ends the outputs: what goes over the network is sent until a deadline. What was not sent by then is kept for the next
    /// start, and named.
    pub(crate) fn finish(self, deadline: Instant) {
        for output in std::iter::once(self.first).chain(self.others) {
            match output.place {
                Place::Stdout(_) => {}
                Place::File(file) => file.finish(),
                #[cfg(feature = "ship")]
                Place::Network(network) => network.finish(deadline),
            }
        }
        for Dropped { sink, reason, lines, .. } in self.dropped.take() {
            tracing::error!(
                sink,
                reason = reason.name(),
                lines,
                "lines are missing from a sink, and its log does not say so"
            );
        }
    }
}

impl Output {
    fn write(&mut self, lines: &[u8], first: Number) -> Result<(), Stopped> {
        match &mut self.place {
            Place::Stdout(sink) => translated(lines, self.translator.as_ref(), |lines| sink.write_lines(lines)),
            Place::File(file) => translated(lines, self.translator.as_ref(), |lines| file.write_lines(lines)),
            // What is kept in a spool is translated when it is sent.
            #[cfg(feature = "ship")]
            Place::Network(network) => {
                network.append(lines, first);
                Ok(())
            }
        }
    }

    /// What it does not take is noted.
    fn write_or_drop(&mut self, lines: &[u8], first: Number, dropped: &DroppedLines) {
        let result = self.write(lines, first);
        let sink = self.name();
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(sink, "the sink can be written again");
                }
            }
            Err(Stopped { whole_bytes, error }) => {
                let (before, count) = (count_lines(&lines[..whole_bytes]), count_lines(&lines[whole_bytes..]));
                let number = |behind| Some(Number { line: first.line + behind, ..first });
                let (first, last) = (number(before), number(before + count - 1));
                dropped.add(Dropped { sink, reason: Reason::WriteFailed, lines: count, first, last });
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(sink, "a sink cannot be written, what it lacks will be counted: {error}");
                }
            }
        }
    }

    fn name(&self) -> &'static str {
        match &self.place {
            Place::Stdout(_) => "stdout",
            Place::File(_) => "file",
            #[cfg(feature = "ship")]
            Place::Network(network) => network.name(),
        }
    }
}

/// Writes what lines are in another schema. Whatever was taken of that, an error tells of the lines that were given.
fn translated(
    lines: &[u8],
    translator: Option<&Translator>,
    write: impl FnOnce(&[u8]) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let Some(translator) = translator else { return write(lines) };
    let mut bytes = Vec::with_capacity(2 * lines.len());
    let mut ends = Vec::new();
    let mut end = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        translator.translate(line.strip_suffix(b"\n").unwrap_or(line), &mut bytes);
        bytes.push(b'\n');
        end += line.len();
        ends.push((bytes.len(), end));
    }
    write(&bytes).map_err(|Stopped { whole_bytes, error }| {
        let whole = ends.partition_point(|(end, _)| *end <= whole_bytes);
        Stopped { whole_bytes: whole.checked_sub(1).map_or(0, |last| ends[last].1), error }
    })
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// An output that is gone for good.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
