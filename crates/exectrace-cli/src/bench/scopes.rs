//! What an exec costs that is nobody's, by the number of scopes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use exectrace::{Cgroup, Scope, Tracer};

use super::ground::Ground;
use super::process::Process;
use super::programs;
use super::report::{Measured, ScopesRow};

/// The reader is asked so often whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Traces so many cgroups, none of which the workload is in.
pub(crate) fn measure(mut ground: Ground<'_>, scopes: u32, execs: u64) -> anyhow::Result<Measured<ScopesRow>> {
    let cgroup = match ground.cgroup() {
        Ok(cgroup) => cgroup,
        Err(why) => return Ok(Measured::Skipped(why.to_owned())),
    };
    let programs_before = Process(std::process::id()).kernel_programs();
    let mut tracer = Tracer::builder().max_scopes(scopes).open()?;
    for number in 0..scopes {
        tracer.add_scope(Scope::Cgroup(Cgroup::open(&cgroup.neighbour(number)?)?))?;
    }
    let ids = Process(std::process::id()).kernel_programs().difference(&programs_before).copied().collect();
    let runs = programs::during(&ids, || storm(&mut ground, &mut tracer, execs))?;
    Ok(match runs {
        Ok(runs) => Measured::Row(ScopesRow::new(scopes, &runs, execs)),
        Err(why) => Measured::Skipped(why),
    })
}

/// The workload, while the tracer is read.
fn storm(ground: &mut Ground<'_>, tracer: &mut Tracer, execs: u64) -> anyhow::Result<()> {
    let done = AtomicBool::new(false);
    let (storm, read) = thread::scope(|threads| {
        let reader = threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                tracer.poll(LOOK_EVERY, |_| {})?;
            }
            Ok::<_, exectrace::TracerError>(())
        });
        let storm = ground.storm(execs);
        done.store(true, Ordering::Relaxed);
        (storm, reader.join())
    });
    read.map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    storm.map(drop)
}
