//! What a process costs, read from the outside.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a process is looked at that is to come to rest.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process that used less of a processor than this since the last look is at rest.
const REST: Duration = Duration::from_millis(1);
/// Looks in a row that must find it so.
const RESTING_LOOKS: u32 = 3;
/// Some never rest.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process by its number, as long as it has not been waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn folder(self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.0))
    }

    pub(crate) fn signal(self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Processor time of all its living threads, in user space and in the kernel (`schedstat`, ns).
    pub(crate) fn cpu(self) -> Duration {
        let tasks = fs::read_dir(self.folder().join("task")).into_iter().flatten().flatten();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        stats.filter_map(|line| line.split(' ').next()?.parse().ok()).map(Duration::from_nanos).sum()
    }

    /// The most memory that was resident at a time (`VmHWM`), bytes. A ring buffer shows in it twice.
    pub(crate) fn peak_memory(self) -> u64 {
        let status = fs::read_to_string(self.folder().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Waits until it has done what it had to do.
    pub(crate) fn wait_for_rest(self) {
        let begun = Instant::now();
        let (mut before, mut resting) = (self.cpu(), 0);
        while resting < RESTING_LOOKS && begun.elapsed() < PATIENCE {
            thread::sleep(LOOK_EVERY);
            let now = self.cpu();
            resting = if now.saturating_sub(before) < REST { resting + 1 } else { 0 };
            before = now;
        }
    }

    /// Numbers of the kernel programs that it has open, by themselves or by what attaches them.
    pub(crate) fn kernel_programs(self) -> BTreeSet<u32> {
        let infos = fs::read_dir(self.folder().join("fdinfo")).into_iter().flatten().flatten();
        let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
        texts.filter_map(|text| program_of(&text)).collect()
    }
}

fn program_of(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_what_the_kernel_says_of_a_descriptor() {
        assert_eq!(program_of("pos:\t0\nlink_type:\ttracing\nprog_id:\t417\n"), Some(417));
        assert_eq!(program_of("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn what_this_process_costs_can_be_read() {
        let this = Process(std::process::id());
        assert!(this.cpu() > Duration::ZERO);
        assert!(this.peak_memory() > 1 << 20);
    }
}
