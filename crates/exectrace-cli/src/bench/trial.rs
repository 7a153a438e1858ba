//! One tool, once: from its start until it has told all that it saw.

use std::time::{Duration, Instant};

use rustix::process::getppid;

use super::ground::Ground;
use super::programs::{self, mean};
use super::report::{KernelRow, Measured, ToolRow};
use super::tool::{self, Tool, Tracing};

/// How long a tool may take until it sees an exec.
const PATIENCE: Duration = Duration::from_secs(30);

/// Letters of the argument by which a tool shows how much of one it keeps.
const LETTERS: usize = 4096;

/// System calls to take the mean of, and how often: the least mean is the one that nothing else disturbed.
const CALLS: u32 = 100_000;
const BATCHES: u32 = 7;

/// What a tool costs, and what it sees.
pub(crate) fn run(tool: Tool, mut ground: Ground<'_>, execs: u64) -> anyhow::Result<Measured<ToolRow>> {
    let untraced = ground.storm(execs)?;
    let untraced_call = system_call();
    let folder = tempfile::tempdir()?;
    let mut tracing = tool.start(&mut ground, folder.path())?;
    let process = tracing.process();
    let attached = match wait_until_attached(&mut tracing, &mut ground)? {
        Ok(attached) => attached,
        Err(why) => return Ok(Measured::Skipped(why)),
    };
    ground.execute(&format!("long-{}", "abcdefghijklmnop".repeat(LETTERS / 16)))?;
    process.wait_for_rest();
    let traced_call = system_call();
    let (cpu, written) = (process.cpu(), tracing.written()?.len());
    let traced = ground.storm(execs)?;
    process.wait_for_rest();
    let (total_cpu, memory) = (process.cpu(), process.peak_memory());
    let output = tracing.stop()?;
    let seen = tool::execs_in(&output).len() as u64;
    Ok(Measured::Row(ToolRow {
        tool: tool.name().to_owned(),
        untraced_execs_per_second: untraced.execs_per_second,
        traced_execs_per_second: traced.execs_per_second,
        lost: traced.execs.saturating_sub(seen),
        letters_kept: tool::letters_kept(&output),
        letters: LETTERS,
        cpu_us_per_exec: per_exec(total_cpu.saturating_sub(cpu), execs),
        cpu_seconds: total_cpu.as_secs_f64(),
        peak_memory: memory,
        bytes_per_exec: mean((output.len() - written.min(output.len())) as u64, execs),
        attached_ms: attached.as_secs_f64() * 1e3,
        untraced_call_ns: untraced_call,
        traced_call_ns: traced_call,
    }))
}

/// What its kernel programs cost, which the tool itself must not be timed with.
pub(crate) fn in_kernel(tool: Tool, mut ground: Ground<'_>, execs: u64) -> anyhow::Result<Measured<KernelRow>> {
    let folder = tempfile::tempdir()?;
    let mut tracing = tool.start(&mut ground, folder.path())?;
    if let Err(why) = wait_until_attached(&mut tracing, &mut ground)? {
        return Ok(Measured::Skipped(why));
    }
    let ids = tracing.process().kernel_programs();
    if ids.is_empty() {
        return Ok(Measured::Skipped("it has no programs in the kernel".to_owned()));
    }
    Ok(match programs::during(&ids, || ground.storm(execs))? {
        Ok(runs) => Measured::Row(KernelRow::new(tool.name(), &runs, execs)),
        Err(why) => Measured::Skipped(why),
    })
}

/// Executes probes until the tool has seen one. How long after its start that one was executed; or why there is none.
fn wait_until_attached(tracing: &mut Tracing, ground: &mut Ground<'_>) -> anyhow::Result<Result<Duration, String>> {
    let mut executed = Vec::new();
    loop {
        executed.push(tracing.begun.elapsed());
        ground.execute(&format!("probe-{}", executed.len() - 1))?;
        // A tool that gathers its output shows the first one late, but shows it.
        if let Some(first) = tool::first_probe_in(&tracing.written()?) {
            return Ok(executed.get(first as usize).copied().ok_or_else(|| format!("it told of probe {first}")));
        }
        if let Some(why) = tracing.failure()? {
            return Ok(Err(why));
        }
        if tracing.begun.elapsed() > PATIENCE {
            return Ok(Err("it sees nothing".to_owned()));
        }
    }
}

/// What a system call costs that has nothing to do with execs, ns.
fn system_call() -> f64 {
    let batch = || {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| {
            std::hint::black_box(getppid());
        });
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..BATCHES).map(|_| batch()).fold(f64::INFINITY, f64::min)
}

fn per_exec(time: Duration, execs: u64) -> f64 {
    mean(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), execs) / 1e3
}
