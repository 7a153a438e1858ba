//! What kernel programs cost: the kernel counts their runs and takes their time while somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use libbpf_rs::query::ProgInfoIter;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The kernel takes the time of all programs until this is dropped, which makes each run some 20 ns longer.
struct Timing {
    before: String,
}

impl Timing {
    fn switch_on() -> Result<Timing, String> {
        let failed = |error: io::Error| format!("{SWITCH} cannot be switched on: {error}");
        let before = fs::read_to_string(SWITCH).map_err(failed)?;
        fs::write(SWITCH, "1").map_err(failed)?;
        Ok(Timing { before })
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        let _restored = fs::write(SWITCH, self.before.trim());
    }
}

/// Runs of one program, and how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) count: u64,
    pub(crate) nanoseconds: u64,
}

/// What programs did, by name; two of the same name are one.
pub(crate) type ByName = BTreeMap<String, Runs>;

/// Does something, and tells what these programs did meanwhile; or why the kernel does not tell.
pub(crate) fn during<T>(
    programs: &BTreeSet<u32>,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Result<ByName, String>> {
    let _timing = match Timing::switch_on() {
        Ok(timing) => timing,
        Err(why) => return Ok(Err(why)),
    };
    let before = runs(programs);
    work()?;
    Ok(Ok(since(&before, &runs(programs))))
}

/// What these programs have done so far.
fn runs(programs: &BTreeSet<u32>) -> ByName {
    let mut all = ByName::new();
    for info in ProgInfoIter::default().filter(|info| programs.contains(&info.id)) {
        let runs = all.entry(info.name.to_string_lossy().into_owned()).or_default();
        runs.count += info.run_cnt;
        runs.nanoseconds += info.run_time_ns;
    }
    all
}

/// What they did in between.
fn since(before: &ByName, after: &ByName) -> ByName {
    let difference = |(name, after): (&String, &Runs)| {
        let before = before.get(name).copied().unwrap_or_default();
        let count = after.count.saturating_sub(before.count);
        (name.clone(), Runs { count, nanoseconds: after.nanoseconds.saturating_sub(before.nanoseconds) })
    };
    after.iter().map(difference).collect()
}

impl Runs {
    /// Mean of a run, ns.
    pub(crate) fn mean(self) -> f64 {
        mean(self.nanoseconds, self.count)
    }
}

/// 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn mean(sum: u64, count: u64) -> f64 {
    sum as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_in_between_counts() {
        let at = |count, nanoseconds| ByName::from([("exec_first".to_owned(), Runs { count, nanoseconds })]);
        assert_eq!(since(&at(10, 4_000), &at(30, 24_000)), at(20, 20_000));
        assert_eq!(since(&ByName::new(), &at(2, 500)), at(2, 500));
        assert!((at(4, 1_000)["exec_first"].mean() - 250.0).abs() < 1e-9);
    }
}
