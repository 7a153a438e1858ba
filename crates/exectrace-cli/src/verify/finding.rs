//! What keeps a log from being whole: one value for each gap and each trace of a change.

use super::line::Time;
use crate::seal::Run;

/// What a finding is. The names are part of the JSON report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A line `lost`: exectrace says itself that something is missing.
    Lost,
    /// Numbers are missing between two lines.
    MissingLines,
    /// The run does not begin with its line 1.
    MissingBeginning,
    /// The run has no stop.
    MissingEnd,
    /// A run goes on from one that is not in these files.
    MissingRun,
    /// Nobody watched.
    Unwatched,
    /// The kernel program went on and nobody took over.
    NotResumed,
    /// The watchdog's own exec was not seen.
    Blind,
    /// Execs were seen and never written.
    Waiting,
    /// No JSON: a line that is cut, or something else.
    Torn,
    /// JSON that is not exectrace's.
    Foreign,
    /// A line of the log without a number.
    Unsealed,
    /// Has a number, and cannot be read.
    Unreadable,
    /// Compressed data that ends early or is broken.
    Damaged,
    /// Chained, and what is needed to check it is not there.
    Unchecked,
    /// A key was given, and this run is not chained with a key.
    NotKeyed,
    /// Something is missing in one of two logs of the same, so that they cannot be compared.
    NotComparable,
    /// The same line twice.
    Doubled,
    /// Two different lines with one number.
    Conflict,
    /// A line after one with a higher number.
    Reordered,
    /// One exec in two lines.
    DoubledExec,
    /// The line is not the one that was written.
    Edited,
    /// No line of the run fits the key.
    WrongKey,
    /// A line without a tag in a chained run.
    Untagged,
    /// The log's own numbers contradict each other or its lines.
    Contradiction,
    /// The log with roll-ups and the one with all lines do not tell the same.
    LogsDiffer,
}

/// How grave a log's gravest finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Nothing was found.
    Whole,
    /// Something is missing, or cannot be checked.
    Gaps,
    /// Lines are not as, or where, they were written.
    Tampered,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Whole => "whole",
            Verdict::Gaps => "gaps",
            Verdict::Tampered => "tampered",
        }
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::MissingLines => "missing-lines",
            Kind::MissingBeginning => "missing-beginning",
            Kind::MissingEnd => "missing-end",
            Kind::MissingRun => "missing-run",
            Kind::Unwatched => "unwatched",
            Kind::NotResumed => "not-resumed",
            Kind::Blind => "blind",
            Kind::Waiting => "waiting",
            Kind::Torn => "torn",
            Kind::Foreign => "foreign",
            Kind::Unsealed => "unsealed",
            Kind::Unreadable => "unreadable",
            Kind::Damaged => "damaged",
            Kind::Unchecked => "unchecked",
            Kind::NotKeyed => "not-keyed",
            Kind::NotComparable => "not-comparable",
            Kind::Doubled => "doubled",
            Kind::Conflict => "conflict",
            Kind::Reordered => "reordered",
            Kind::DoubledExec => "doubled-exec",
            Kind::Edited => "edited",
            Kind::WrongKey => "wrong-key",
            Kind::Untagged => "untagged",
            Kind::Contradiction => "contradiction",
            Kind::LogsDiffer => "logs-differ",
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        match self {
            Kind::Doubled
            | Kind::Conflict
            | Kind::Reordered
            | Kind::DoubledExec
            | Kind::Edited
            | Kind::WrongKey
            | Kind::Untagged
            | Kind::Contradiction
            | Kind::LogsDiffer => Verdict::Tampered,
            _ => Verdict::Gaps,
        }
    }
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the input.
    pub(super) file: u32,
    /// From 1.
    pub(super) line: u32,
}

/// One finding.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) run: Option<Run>,
    /// Numbers of the run's lines, first and last.
    pub(super) lines: Option<(u64, u64)>,
    /// What the finding can be about begins here; `None` if that is not known.
    pub(super) from: Option<Time>,
    pub(super) to: Option<Time>,
    /// Execs that are missing; `None` if nobody knows how many.
    pub(super) execs: Option<u64>,
    pub(super) why: String,
    pub(super) place: Option<Place>,
}

impl Finding {
    pub(super) fn new(kind: Kind, why: impl Into<String>) -> Finding {
        let why = why.into();
        Finding { kind, run: None, lines: None, from: None, to: None, execs: None, why, place: None }
    }

    pub(super) fn run(self, run: Run) -> Finding {
        Finding { run: Some(run), ..self }
    }

    pub(super) fn lines(self, first: u64, last: u64) -> Finding {
        Finding { lines: Some((first, last)), ..self }
    }

    pub(super) fn times(self, from: Option<Time>, to: Option<Time>) -> Finding {
        Finding { from, to, ..self }
    }

    pub(super) fn execs(self, execs: Option<u64>) -> Finding {
        Finding { execs, ..self }
    }

    pub(super) fn at(self, place: Place) -> Finding {
        Finding { place: Some(place), ..self }
    }
}
