//! A tracer for each of many scopes, against one tracer for all of them.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::ground::Ground;
use super::process::Process;
use super::programs;
use super::report::{Measured, SidecarsRow};

/// Measures so many scopes, one of which the workload is in: each with a tracer of its own (`apart`), or with one for all.
pub(crate) fn measure(
    mut ground: Ground<'_>,
    count: u32,
    apart: bool,
    execs: u64,
) -> anyhow::Result<Measured<SidecarsRow>> {
    let cgroup = match ground.cgroup() {
        Ok(cgroup) => cgroup,
        Err(why) => return Ok(Measured::Skipped(why.to_owned())),
    };
    let mut scopes = vec![cgroup.leaf()];
    for number in 1..count {
        scopes.push(cgroup.neighbour(number)?);
    }
    let untraced = ground.storm(execs)?;
    let begun = Instant::now();
    let folder = tempfile::tempdir()?;
    let sets: Vec<&[PathBuf]> = if apart { scopes.chunks(1).collect() } else { vec![&scopes] };
    let mut tracers = Vec::new();
    for (number, set) in sets.into_iter().enumerate() {
        tracers.push(Running::start(set, folder.path().join(number.to_string()))?);
    }
    let attached = begun.elapsed();
    let cpu_of_all = |tracers: &[Running]| tracers.iter().map(|tracer| tracer.process().cpu()).sum::<Duration>();
    let before = cpu_of_all(&tracers);
    let traced = ground.storm(execs)?;
    tracers[0].process().wait_for_rest();
    let cpu = cpu_of_all(&tracers).saturating_sub(before);
    let memory = tracers.iter().map(|tracer| tracer.process().peak_memory()).sum();

    let ids = tracers.iter().flat_map(|tracer| tracer.process().kernel_programs()).collect();
    let runs = match programs::during(&ids, || ground.storm(execs))? {
        Ok(runs) => runs,
        Err(why) => return Ok(Measured::Skipped(why)),
    };
    tracers[0].process().wait_for_rest();
    let log = tracers[0].log.clone();
    drop(tracers);
    let seen = std::fs::read(log)?.split(|byte| *byte == b'\n').filter(|line| is_exec_of_workload(line)).count();
    Ok(Measured::Row(SidecarsRow {
        scopes: count,
        tracers: if apart { count } else { 1 },
        untraced_execs_per_second: untraced.execs_per_second,
        traced_execs_per_second: traced.execs_per_second,
        lost: (2 * execs).saturating_sub(seen as u64),
        cpu_seconds: cpu.as_secs_f64(),
        peak_memory: memory,
        attached_ms: attached.as_secs_f64() * 1e3,
        kernel_ns_per_exec: runs.values().map(|runs| runs.nanoseconds).sum::<u64>() / execs.max(1),
    }))
}

fn is_exec_of_workload(line: &[u8]) -> bool {
    !super::tool::execs_in(line).is_empty()
}

/// A tracer that is attached.
struct Running {
    child: Child,
    log: PathBuf,
    /// Open as long as it runs: a message that it cannot write would be an error.
    stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(scopes: &[PathBuf], log: PathBuf) -> anyhow::Result<Running> {
        let mut child = Command::new(env::current_exe().context("finding this program")?)
            .args(["--log-format", "json", "trace", "--failed", "none", "--log"])
            .arg(&log)
            .args(scopes.iter().flat_map(|scope| ["--cgroup".as_ref(), scope.as_os_str()]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting this program once more")?;
        let stderr = BufReader::new(child.stderr.take().context("a pipe that was asked for")?);
        let mut running = Running { child, log, stderr };
        let mut line = String::new();
        while running.stderr.read_line(&mut line)? > 0 {
            if line.contains(r#""msg":"tracing""#) {
                return Ok(running);
            }
        }
        bail!("a tracer did not start: {line}")
    }

    fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _asked = self.process().signal(Signal::TERM);
        let _ended = self.child.wait();
    }
}
