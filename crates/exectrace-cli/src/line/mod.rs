//! Event -> bytes of a line. Pure: no clock, no output.

mod escape;
pub(crate) mod json;
pub(crate) mod paint;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod text;

pub(crate) use self::escape::to_text;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use exectrace::{Ended, Event, FailedExec, Gone, Running, ScopeId, What};
use exectrace_sift::{Rare, Rollup, Session};
use exectrace_sinks::dropped::Dropped;

use crate::labels::Labels;
use crate::ledger::{Books, Reason, Snapshot};
use crate::seal::Run;

/// What a line is about.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Exec(Box<Event>),
    Failed(Box<FailedExec>),
    Ended(Box<Ended>),
    Lost(Lost),
    Start(Box<Start>),
    Running(Box<Running>),
    /// A line that belongs to one that is in the log already, as it was encoded, without its end.
    Continued(Vec<u8>),
    /// Many in one line.
    Rollup(Box<Rollup>),
    Ledger(Box<Snapshot>),
    Watchdog(Watchdog),
    /// What the labels were until here; the line itself has the new ones.
    LabelsChanged(Labels),
    /// What one of several outputs does not have.
    Dropped(Dropped),
    Gone(Gone),
    Stop(Stop),
    /// No line: all up to this position in the ring is in the log once what came before is.
    Reached(u64),
    /// No line of its own: what is held back until its window is over is to be written now, because the run ends.
    Settle,
}

impl Entry {
    /// What of the workspace it tells, and of whom.
    pub(crate) fn what(&self) -> Option<(What, ScopeId)> {
        match self {
            Entry::Exec(event) => Some((What::Exec, event.scope)),
            Entry::Failed(failed) => Some((What::Failed, failed.attempt.scope)),
            Entry::Ended(ended) => Some((What::Exit, ended.scope)),
            _ => None,
        }
    }

    /// Up to where in the ring all is in the log once this is.
    pub(crate) fn position(&self) -> Option<u64> {
        match self {
            Entry::Exec(event) => Some(event.origin.position),
            Entry::Failed(failed) => Some(failed.attempt.origin.position),
            Entry::Ended(ended) => Some(ended.origin.position),
            Entry::Ledger(snapshot) => Some(snapshot.position),
            Entry::Stop(stop) => Some(stop.position),
            Entry::Reached(position) => Some(*position),
            _ => None,
        }
    }

    /// What is missing if this entry does not get into the log.
    pub(crate) fn missing(&self, reason: Reason) -> Missing {
        match self {
            Entry::Lost(lost) => [Some(lost.clone()), None],
            Entry::Rollup(rollup) => rollup
                .counts()
                .map(|(what, count)| (count > 0).then_some(Lost { what, scope: Some(rollup.scope), reason, count })),
            _ => [self.what().map(|(what, scope)| Lost { what, scope: Some(scope), reason, count: 1 }), None],
        }
    }
}

/// What of one or two kinds is missing.
pub(crate) type Missing = [Option<Lost>; 2];

/// What is missing from the log at this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) what: What,
    pub(crate) scope: Option<ScopeId>,
    pub(crate) reason: Reason,
    pub(crate) count: u64,
}

/// The first line of a run: who watches what, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Start {
    /// When the watch began.
    pub(crate) time: Option<SystemTime>,
    pub(crate) kernel: String,
    pub(crate) boot_id: String,
    /// Names the settings by which the kernel's half was made.
    pub(crate) settings: String,
    /// Number, kind and name of each scope.
    pub(crate) scopes: Vec<(ScopeId, &'static str, String)>,
    /// What the pod is called, if the scope is one.
    pub(crate) pod: Option<PodNames>,
    /// How many lines follow about processes that run already; `None`: they are out of sight.
    pub(crate) running: Option<usize>,
    /// How the lines are chained.
    pub(crate) chained: Option<&'static str>,
    /// Nobody watched from the one time to the other, between two runs of one log.
    pub(crate) unwatched: Option<(SystemTime, SystemTime)>,
    /// The run that was killed and that this one takes over from.
    pub(crate) resumed: Option<Resumed>,
    /// What is folded, if anything is.
    pub(crate) rollup: Option<Folds>,
}

/// What a log with roll-ups says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folds {
    pub(crate) more_than: u64,
    pub(crate) window: Duration,
    /// The run that has all lines, if they are kept.
    pub(crate) complete: Option<Run>,
}

/// What the pod that is traced is called, as far as that was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PodNames {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) node: Option<String>,
}

/// What a run knows of the one that it takes over from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resumed {
    pub(crate) run: u32,
    /// Its last line that counts; what it wrote after that is told again. 0: none.
    pub(crate) line: u64,
    /// Its books up to that line.
    pub(crate) books: Books,
    /// What the kernel's half had counted when this run began.
    pub(crate) counts: Snapshot,
}

/// Whether exectrace sees what it starts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watchdog {
    pub(crate) seen: bool,
    /// How many of its own execs were not seen, one after the other.
    pub(crate) missed: u64,
    /// When one was last seen, or when it began: all since then is uncertain.
    pub(crate) last_seen: Option<SystemTime>,
}

/// The last line of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) why: Why,
    /// The kernel's half stays and keeps what comes.
    pub(crate) pinned: bool,
    /// Where it ends in the ring.
    pub(crate) position: u64,
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Signal,
    /// So did the command that it was to log.
    CommandEnded,
    /// There is nothing to watch any more.
    ScopeGone,
    /// The programs were detached by a process before this one, which was killed while it stopped.
    Detached,
}

impl Why {
    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Why::Signal => "signal",
            Why::CommandEnded => "command_ended",
            Why::ScopeGone => "scope_gone",
            Why::Detached => "detached",
        }
    }
}

/// Where in its run a line stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its run.
    pub(crate) run: Run,
    /// Its number.
    pub(crate) line: u64,
    /// Number of the last ledger before it, 0 if there was none.
    pub(crate) last_ledger: u64,
    /// The books before it.
    pub(crate) books: &'a Books,
    pub(crate) about: &'a About,
}

/// What is told of a process beside what the kernel said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Secrets in its arguments that were replaced.
    pub(crate) redacted: u32,
    /// The session that it belongs to.
    pub(crate) session: Option<Arc<Session>>,
    /// Why it is not folded as others are around it.
    pub(crate) rare: Option<Rare>,
    /// The roll-up that it is part of, in the log beside this one.
    pub(crate) rollup: Option<u64>,
}

/// The arguments as one would type them in a POSIX shell.
fn cmdline(argv: &[&[u8]]) -> Vec<u8> {
    // NUL is the only byte that cannot be quoted, and an argument cannot hold it.
    shlex::bytes::try_join(argv.iter().copied()).unwrap_or_default()
}

/// What things are called for people.
pub(crate) fn in_words(what: What) -> &'static str {
    match what {
        What::Exec => "execs",
        What::Failed => "failed attempts",
        What::Exit => "ends of processes",
    }
}

/// The name of an error of the kernel's, as in errno(3).
fn errno_name(errno: u32) -> String {
    let known = i32::try_from(errno).map(nix::errno::Errno::from_raw);
    match known {
        Ok(name) if name != nix::errno::Errno::UnknownErrno => format!("{name:?}"),
        _ => errno.to_string(),
    }
}

/// The name of a signal, as in signal(7).
fn signal_name(signal: u32) -> String {
    let known = i32::try_from(signal).ok().and_then(|signal| nix::sys::signal::Signal::try_from(signal).ok());
    known.map_or_else(|| signal.to_string(), |signal| signal.as_str().to_owned())
}
