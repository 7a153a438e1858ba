//! What a place over the network is to who ships lines there: its limits, and what became of a batch.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::dropped::Number;

/// A line on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What is sent, without a line break, in the schema that the sink was told.
    pub bytes: Vec<u8>,
    /// When it happened.
    pub time: SystemTime,
    /// Which line of which run it is.
    pub number: Number,
}

/// What a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all lines, each with `overhead`.
    pub batch_bytes: usize,
    /// Bytes that the place counts for each line besides its own.
    pub overhead: usize,
    /// Bytes of one line, without `overhead`. A longer one is dropped, and that is told.
    pub line_bytes: usize,
    /// Lines.
    pub batch_lines: usize,
    /// Time between the first and the last; `None`: as long as you like.
    pub span: Option<Duration>,
}

/// A place that takes batches of lines. It is driven by one thread of its own.
pub trait Destination {
    /// The sink's name, as in `--sink`.
    const NAME: &'static str;

    /// What a batch may be.
    fn limits(&self) -> Limits;

    /// Sends a batch that keeps to the limits, and is in order of `time`.
    fn send(&mut self, lines: &[Line]) -> impl Future<Output = Result<Receipt, SendError>>;
}

/// What became of a batch that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Lines of it that were not, and never will be.
    pub rejected: Vec<(Range<usize>, String)>,
    /// How many more were not, where the place does not say which.
    pub rejected_somewhere: Option<(u64, String)>,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be taken later: the place is out of reach, busy, or says that we are too fast.
    #[error("{why}")]
    Retryable {
        /// For people.
        why: String,
        /// When the place wants to be asked again, if it said so.
        after: Option<Duration>,
    },
    /// This batch will never be taken, others may be.
    #[error("{why}")]
    Rejected {
        /// For people.
        why: String,
    },
    /// No batch will be taken until somebody changes something: who we are, what we may, where we send. The batch is kept.
    #[error("{why}: {advice}")]
    Refused {
        /// For people.
        why: String,
        /// What to do.
        advice: String,
    },
}
