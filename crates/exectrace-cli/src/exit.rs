//! Exit codes, and which error gives which. The table in `docs/usage.md` is this enum.

use std::process::ExitCode;

use exectrace::TracerError;

/// How the program ends. `exectrace run` ends with the status of its command instead, as far as that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// Something failed that has no code of its own; `exectrace verify`: the log is not whole; `exectrace
    /// logs`: nothing was found, or not all could be read.
    Failure = 1,
    /// The command line is wrong; clap exits with this by itself. `exectrace verify`: this is no log, or not readable.
    Usage = 2,
    /// Tracing is not possible here: kernel, capabilities or scope.
    CannotTrace = 3,
    /// Nobody told the PID namespace in time.
    HandshakeTimeout = 4,
    /// The log, or what was made of it, could not be written, or not wholly.
    Output = 5,
    /// `exectrace run`: the tracer failed before the command was started.
    RunFailed = 125,
    /// `exectrace run`: the command is there and cannot be executed.
    CannotExecute = 126,
    /// `exectrace run`: the command was not found.
    NotFound = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The exit code of an error, told to the user on the way.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    tracing::error!("{error:#}");
    // Not by the chain: what was put around an error with `context` does not show its type there.
    if let Some(failed) = error.downcast_ref::<Failed>() {
        return failed.0;
    }
    for cause in error.chain() {
        if cause.is::<TracerError>() || cause.is::<exectrace::ScopeError>() {
            return Exit::CannotTrace;
        }
    }
    Exit::Failure
}

/// Gives an error an exit code; put it into the chain with `context`.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Exit, pub(crate) String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_finds_its_code_through_what_was_said_around_it() {
        let error = anyhow::Error::new(Failed(Exit::Output, "disk full".to_owned())).context("writing the log");
        assert_eq!(report(&error), Exit::Output);
        let around = std::io::Error::other("disk full");
        let around = anyhow::Error::new(around).context(Failed(Exit::Usage, "reading labels".to_owned()));
        assert_eq!(report(&around.context("starting")), Exit::Usage);
        assert_eq!(report(&anyhow::anyhow!("anything")), Exit::Failure);
        let tracer = anyhow::Error::new(TracerError::Unsupported("too old".to_owned())).context("starting");
        assert_eq!(report(&tracer), Exit::CannotTrace);
    }
}
