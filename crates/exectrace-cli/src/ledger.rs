//! The books of a run: what was seen, what of it is in the log, and why the rest is not. `verify` is the other end.
//!
//! The kernel's half counts what happened, the writer what it wrote and what it told to be missing. Where both meet, in a
//! `ledger` line, the sums must agree: seen = written + rolled_up + excluded + lost + waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use exectrace::{LossReason, NOTES, Progress, SCOPE_NOTES, ScopeId, ScopeStats, Tracer, TracerError, What};

use crate::line::{Entry, Lost};

/// Why something is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It did not come out of the kernel.
    Kernel(LossReason),
    /// The output was too slow.
    QueueFull,
    /// The output refused it.
    WriteFailed,
    /// The output was still busy with what came before when exectrace had to end.
    StopDeadline,
}

impl Reason {
    const COUNT: usize = LossReason::COUNT + 3;

    pub(crate) fn all() -> impl Iterator<Item = Reason> {
        let ours = [Reason::QueueFull, Reason::WriteFailed, Reason::StopDeadline];
        LossReason::ALL.into_iter().map(Reason::Kernel).chain(ours)
    }

    /// The reason's name in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reason::Kernel(reason) => reason.name(),
            Reason::QueueFull => "queue_full",
            Reason::WriteFailed => "write_failed",
            Reason::StopDeadline => "stop_deadline",
        }
    }

    fn index(self) -> usize {
        match self {
            Reason::Kernel(reason) => reason.index(),
            Reason::QueueFull => LossReason::COUNT,
            Reason::WriteFailed => LossReason::COUNT + 1,
            Reason::StopDeadline => LossReason::COUNT + 2,
        }
    }
}

/// Numbers of one thing: how many are written, and how many lost for what reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) written: u64,
    /// What lines stand for that stand for many.
    pub(crate) rolled_up: u64,
    /// What a rule left out that the kernel's half did not.
    pub(crate) excluded: u64,
    lost: [u64; Reason::COUNT],
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.written += other.written;
        self.rolled_up += other.rolled_up;
        self.excluded += other.excluded;
        self.lost.iter_mut().zip(other.lost).for_each(|(sum, count)| *sum += count);
    }

    /// Reasons with their counts, without those of which there are none.
    pub(crate) fn lost(&self) -> BTreeMap<&'static str, u64> {
        Reason::all().map(|reason| (reason.name(), self.lost[reason.index()])).filter(|(_, count)| *count > 0).collect()
    }

    /// What was seen and is neither in the log nor told to be missing nor left out.
    pub(crate) fn waiting(&self, counts: &Counts) -> u64 {
        let told = self.written + self.rolled_up + self.lost.iter().sum::<u64>();
        let accounted = told + self.excluded + counts.excluded.values().sum::<u64>();
        counts.seen.saturating_sub(accounted)
    }
}

/// What the log itself holds, counted by who writes it: for each scope, and for what belongs to none, by [`What::index`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Books {
    scopes: BTreeMap<Option<ScopeId>, [Sums; What::COUNT]>,
    /// What each rule left out that the kernel's half did not, since this process began; by number.
    rules: BTreeMap<usize, [u64; What::COUNT]>,
}

/// What a line changed in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Written(What, ScopeId),
    RolledUp(ScopeId, [(What, u64); 2]),
    Lost(Lost),
}

impl Books {
    /// A line was encoded: what it says is in the log from now on, unless it is taken back.
    pub(crate) fn add(&mut self, entry: &Entry) -> Option<Change> {
        let change = match entry {
            Entry::Lost(lost) => Change::Lost(lost.clone()),
            Entry::Rollup(rollup) => Change::RolledUp(rollup.scope, rollup.counts()),
            other => other.what().map(|(what, scope)| Change::Written(what, scope))?,
        };
        self.apply(&change, |number, count| *number += count);
        Some(change)
    }

    /// The line was not written after all.
    pub(crate) fn take_back(&mut self, change: &Change) {
        self.apply(change, |number, count| *number = number.saturating_sub(count));
    }

    fn apply(&mut self, change: &Change, apply: impl Fn(&mut u64, u64)) {
        match change {
            Change::Written(what, scope) => apply(&mut self.sums(*what, Some(*scope)).written, 1),
            Change::RolledUp(scope, counts) => {
                for (what, count) in counts {
                    apply(&mut self.sums(*what, Some(*scope)).rolled_up, *count);
                }
            }
            Change::Lost(lost) => {
                apply(&mut self.sums(lost.what, lost.scope).lost[lost.reason.index()], lost.count);
            }
        }
    }

    fn sums(&mut self, what: What, scope: Option<ScopeId>) -> &mut Sums {
        &mut self.scopes.entry(scope).or_default()[what.index()]
    }

    /// A rule left something out, which no failing output can change.
    pub(crate) fn exclude(&mut self, rule: usize, what: What, scope: ScopeId) {
        self.sums(what, Some(scope)).excluded += 1;
        self.rules.entry(rule).or_default()[what.index()] += 1;
    }

    /// What a rule left out that the kernel's half did not, by [`What::index`].
    pub(crate) fn of_rule(&self, rule: usize) -> [u64; What::COUNT] {
        self.rules.get(&rule).copied().unwrap_or_default()
    }

    /// What of one kind is in the log.
    pub(crate) fn of(&self, what: What) -> Sums {
        self.scopes.values().fold(Sums::default(), |mut sum, sums| {
            sum.add(&sums[what.index()]);
            sum
        })
    }

    /// The execs of a scope.
    pub(crate) fn of_scope(&self, scope: ScopeId) -> Sums {
        self.scopes.get(&Some(scope)).map_or_else(Sums::default, |sums| sums[What::Exec.index()])
    }

    /// Puts the books into what is committed: run and line of the last line, then the numbers.
    pub(crate) fn store(&self, run: u32, line: u64, progress: &mut Progress) {
        progress.notes[..2].copy_from_slice(&[u64::from(run), line]);
        for (scope, sums) in &self.scopes {
            let share = progress.of_mut(*scope);
            for (what, sums) in What::ALL.into_iter().zip(sums) {
                for reason in LossReason::ALL {
                    *share.told_mut(what, reason) = sums.lost[reason.index()];
                }
            }
            // With a pin nothing is rolled up.
            let numbers =
                sums.iter().flat_map(|sums| [&sums.written, &sums.excluded].into_iter().chain(&sums.lost[OURS..]));
            share.notes.iter_mut().zip(numbers).for_each(|(note, number)| *note = *number);
        }
    }

    /// Run, last line and books as another process committed them.
    pub(crate) fn restore(progress: &Progress) -> (u32, u64, Books) {
        let [run, line, ..] = progress.notes;
        let books = progress.shares().map(|(scope, share)| {
            let mut notes = share.notes.into_iter();
            let mut next = || notes.next().unwrap_or_default();
            let sums = What::ALL.map(|what| {
                let (written, excluded) = (next(), next());
                Sums {
                    written,
                    rolled_up: 0,
                    excluded,
                    lost: std::array::from_fn(|at| match LossReason::ALL.get(at) {
                        Some(reason) => share.told(what, *reason),
                        None => next(),
                    }),
                }
            });
            (scope, sums)
        });
        let scopes = books.filter(|(_, sums)| *sums != <[Sums; What::COUNT]>::default()).collect();
        (u32::try_from(run).unwrap_or_default(), line, Books { scopes, rules: BTreeMap::new() })
    }
}

/// Where the reasons begin that are not the kernel's.
const OURS: usize = LossReason::COUNT;
const _: () = assert!(What::COUNT * (2 + Reason::COUNT - OURS) <= SCOPE_NOTES && NOTES >= 2);

/// Why something was left out that a rule left out.
pub(crate) const BY_RULE: &str = "rule";

/// What the kernel's half has left out by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleCounts {
    /// As on a command line.
    pub(crate) name: Arc<str>,
    pub(crate) execs: u64,
    pub(crate) failed: u64,
}

/// A rule that leaves out.
#[derive(Debug, Clone)]
pub(crate) struct RuleName {
    pub(crate) name: Arc<str>,
    /// Its place among those that the kernel's half was told; `None`: it was not told it.
    pub(crate) in_kernel: Option<usize>,
}

/// What the kernel's half has counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// What happened as far as is known, also what no program saw.
    pub(crate) seen: u64,
    pub(crate) excluded: BTreeMap<&'static str, u64>,
    /// Of those that were sent, how many lack something, and what.
    pub(crate) partial: BTreeMap<&'static str, u64>,
    /// How often the kernel skipped the program, on the whole node.
    pub(crate) recursion_misses: u64,
}

impl Counts {
    fn add(&mut self, what: What, stats: &ScopeStats) {
        self.seen += stats.seen + stats.missed;
        let excluded: &[_] = match what {
            What::Exec => &[(BY_RULE, stats.excluded_rule)],
            What::Failed => &[("errno", stats.excluded_errno), (BY_RULE, stats.excluded_rule)],
            What::Exit => &[],
        };
        let partial = [
            ("args_fault", stats.args_fault),
            ("args_ring_full", stats.args_ring_full),
            ("process_table_full", stats.process_table_full),
            ("strings_ring_full", stats.strings_ring_full),
        ];
        excluded.iter().for_each(|(name, count)| *self.excluded.entry(name).or_default() += count);
        for (name, count) in partial.into_iter().filter(|(_, count)| *count > 0) {
            *self.partial.entry(name).or_default() += count;
        }
    }
}

/// One look at the kernel's counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    /// By [`What::index`]; `None` of what nobody asked for.
    pub(crate) all: [Option<Counts>; What::COUNT],
    /// The execs of each scope.
    pub(crate) scopes: Vec<(ScopeId, Counts)>,
    /// What each rule left out, by number.
    pub(crate) rules: Vec<RuleCounts>,
    /// All before this position in the ring was handed out before this look.
    pub(crate) position: u64,
}

impl Snapshot {
    /// Looks at the counters of these scopes and rules.
    pub(crate) fn of(tracer: &Tracer, scopes: &[ScopeId], rules: &[RuleName]) -> Result<Snapshot, TracerError> {
        let mut snapshot = Snapshot { position: tracer.position(), ..Snapshot::default() };
        for what in What::ALL.into_iter().filter(|what| tracer.tells(*what)) {
            let mut all = Counts { recursion_misses: tracer.skipped_of(what)?, ..Counts::default() };
            for scope in scopes {
                let stats = tracer.stats_of(*scope, what)?;
                all.add(what, &stats);
                if what == What::Exec {
                    let mut counts = Counts::default();
                    counts.add(what, &stats);
                    snapshot.scopes.push((*scope, counts));
                }
            }
            snapshot.all[what.index()] = Some(all);
        }
        // Counted by themselves, so what happens meanwhile may be in the one and not yet in the other.
        let left_out = tracer.left_out()?;
        let of = |rule: &RuleName| {
            let counts = left_out.iter().find(|counts| Some(counts.rule) == rule.in_kernel);
            let (execs, failed) = counts.map_or((0, 0), |counts| (counts.execs, counts.failed));
            RuleCounts { name: Arc::clone(&rule.name), execs, failed }
        };
        snapshot.rules = rules.iter().map(of).collect();
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line::samples;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let indices: Vec<usize> = Reason::all().map(Reason::index).collect();
        assert!(indices.iter().copied().eq(0..Reason::COUNT), "{indices:?}");
        let names: std::collections::BTreeSet<_> = Reason::all().map(Reason::name).collect();
        assert_eq!(names.len(), Reason::COUNT);
    }

    fn lost(count: u64) -> Lost {
        Lost { what: What::Exec, scope: Some(ScopeId::FIRST), reason: Reason::QueueFull, count }
    }

    #[test]
    fn what_is_not_accounted_for_is_waiting() {
        let mut books = Books::default();
        books.add(&Entry::Exec(Box::new(samples::uname())));
        books.add(&Entry::Lost(lost(2)));
        let counts = Counts { seen: 10, excluded: BTreeMap::from([("uid", 3)]), ..Counts::default() };
        assert_eq!(books.of(What::Exec).waiting(&counts), 4);
        assert_eq!(books.of_scope(ScopeId::FIRST).waiting(&counts), 4);
    }

    #[test]
    fn what_was_not_written_leaves_the_books_as_they_were() {
        let mut books = Books::default();
        books.add(&Entry::Exec(Box::new(samples::uname())));
        books.add(&Entry::Lost(lost(2)));
        let before = books.clone();
        for entry in [Entry::Exec(Box::new(samples::uname())), Entry::Lost(lost(1)), Entry::Lost(lost(5))] {
            let change = books.add(&entry).expect("something");
            assert_ne!(books, before);
            books.take_back(&change);
            assert_eq!(books, before);
        }
    }

    proptest! {
        #[test]
        fn books_come_back_from_what_was_committed(
            run: u32,
            line: u64,
            numbers in proptest::collection::vec((proptest::option::of(1u32..9), 0usize..3, 0usize..8, 1u64..1000), 0..40),
        ) {
            let mut books = Books::default();
            for (scope, what, at, number) in numbers {
                let scope = scope.and_then(|scope| ScopeId::try_from(scope).ok());
                let sums = &mut books.scopes.entry(scope).or_default()[what];
                match at.checked_sub(1) {
                    None => sums.written = number,
                    Some(reason) => sums.lost[reason] = number,
                }
            }
            let mut progress = Progress::default();
            books.store(run, line, &mut progress);
            let told = progress.of(Some(ScopeId::FIRST)).told(What::Exit, LossReason::RingFull);
            prop_assert_eq!(told, books.scopes.get(&Some(ScopeId::FIRST)).map_or(0, |sums| sums[2].lost[0]));
            prop_assert_eq!(Books::restore(&progress), (run, line, books));
        }
    }
}
