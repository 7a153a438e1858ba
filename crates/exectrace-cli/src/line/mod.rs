//! Event -> bytes of a line. Pure: no clock, no output.

mod escape;
pub(crate) mod json;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod text;

use exectrace::{Event, ScopeId};

/// What a line is about.
#[derive(Debug)]
pub(crate) enum Entry {
    Exec(Box<Event>),
    Lost(Lost),
}

/// Execs that are missing from the log at this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) scope: Option<ScopeId>,
    pub(crate) reason: &'static str,
    pub(crate) count: u64,
}

impl Lost {
    /// What is missing if this entry does not get into the log: an exec by `reason`, a loss by its own.
    pub(crate) fn of(entry: &Entry, reason: &'static str) -> Lost {
        match entry {
            Entry::Exec(event) => Lost { scope: Some(event.scope), reason, count: 1 },
            Entry::Lost(lost) => lost.clone(),
        }
    }
}

/// The arguments as one would type them in a POSIX shell.
fn cmdline(event: &Event) -> Vec<u8> {
    // NUL is the only byte that cannot be quoted, and an argument cannot hold it.
    shlex::bytes::try_join(event.argv.iter()).unwrap_or_default()
}
