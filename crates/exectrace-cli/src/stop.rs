//! SIGTERM and SIGINT as something to wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Readable once somebody asked this process to end.
pub(crate) struct StopSignal {
    pipe: OwnedFd,
}

impl StopSignal {
    /// SIGTERM and SIGINT stop, from now on. Handlers do not pass an exec, so children have the default.
    pub(crate) fn new() -> anyhow::Result<StopSignal> {
        Self::on(&[SIGTERM, SIGINT])
    }

    fn on(signals: &[i32]) -> anyhow::Result<StopSignal> {
        let (pipe, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("making a pipe")?;
        for signal in signals {
            let write = write.try_clone().context("copying a pipe's end")?;
            signal_hook::low_level::pipe::register(*signal, write).context("handling a signal")?;
        }
        Ok(StopSignal { pipe })
    }

    /// Whether the signal has come.
    pub(crate) fn has_come(&self) -> bool {
        wait_any(&[self.pipe.as_fd()], std::time::Duration::ZERO)
    }
}

impl AsFd for StopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Waits until one of the descriptors is readable, at most for `patience`; whether one is.
pub(crate) fn wait_any(fds: &[BorrowedFd<'_>], patience: std::time::Duration) -> bool {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let patience = Timespec::try_from(patience).ok();
    // An interrupted wait is an early one; who calls looks again.
    rustix::event::poll(&mut polled, patience.as_ref()).is_ok_and(|ready| ready > 0)
}
