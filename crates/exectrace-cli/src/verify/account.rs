//! The account of one run: its numbers without a hole, and its ledgers against its lines.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Kind};
use super::line::{Ledger, Resumed, Rollup, ScopeSums, Start, Sums, Time, parse_time};
use super::record::{Detail, Folded, LineKind, Record, TRUNCATED};
use super::sums::{Bases, Counted, Tally, Totals, add, count, is_same, minus, plus, total};
use crate::seal::Run;

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) execs: Totals,
    /// The same of each scope, where there are several.
    pub(super) scopes: BTreeMap<u32, Totals>,
    /// Attempts that failed, and ends of processes, in the log.
    pub(super) failed: u64,
    pub(super) exits: u64,
    pub(super) running: u64,
    pub(super) args_cut: u64,
    /// Processes of which lines with arguments are missing.
    pub(super) args_missing: u64,
    pub(super) without_id: u64,
    /// Lines that a later run tells again.
    pub(super) told_again: u64,
    pub(super) unknown: u64,
    /// Some lines are missing or cannot be read, or what they tell is lost to this log alone.
    pub(super) lacks_lines: bool,
    /// When and why it ended, and whether the kernel program stayed; `None` without a stop.
    pub(super) stop: Option<(Time, String, bool)>,
}

impl Account {
    /// The totals that a number is of, if it is of any.
    fn totals(&mut self, counted: Counted) -> Option<&mut Totals> {
        match counted {
            Counted::Execs => Some(&mut self.execs),
            Counted::ExecsOf(scope) => Some(self.scopes.entry(scope).or_default()),
            Counted::Failed | Counted::Exits => None,
        }
    }
}

/// Reasons of losses behind the place from which lines go into several logs: what is lost for another is so to all of them.
const OF_ONE_LOG: [&str; 2] = ["stop_deadline", "write_failed"];

/// What lies between two ledgers.
#[derive(Default)]
struct Interval {
    counted: BTreeMap<Counted, Tally>,
    /// Indices of the findings of lines that are missing here.
    gaps: Vec<usize>,
    /// The missing numbers.
    missing: Vec<(u64, u64)>,
    /// A line could not be read, so that it may be one that counts.
    unreadable: bool,
}

impl Interval {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && !self.unreadable
    }

    /// Whether what is missing here is told again by a run that goes on after line `until`.
    fn is_told_again(&self, until: u64) -> bool {
        !self.missing.is_empty() && self.missing.iter().all(|(first, _)| *first > until)
    }
}

/// What a later run says that goes on from this one.
#[derive(Clone, Copy)]
pub(super) struct ResumedBy<'a> {
    pub(super) resumed: &'a Resumed,
    /// It told what this one left that was killed while it stopped, be it after its last line.
    pub(super) is_detached: bool,
}

/// Judges one run. `lines` has one line for each number; `resumed` is what a later run says that goes on from this one.
pub(super) fn judge(
    run: Run,
    lines: &[&Record],
    details: &[Detail],
    folded: &[Folded],
    by: Option<ResumedBy<'_>>,
    findings: &mut Vec<Finding>,
) -> Account {
    let resumed = by.map(|by| by.resumed);
    let mut judge = Judge {
        run,
        lines,
        details,
        folded,
        until: resumed.map_or(u64::MAX, |resumed| resumed.line),
        findings,
        account: Account::default(),
        scopes: has_several_scopes(lines, details),
        folds: None,
        base: Bases::default(),
        last: BTreeMap::new(),
        last_ledger: 0,
        parts: Parts::default(),
        interval: Interval::default(),
        blind: None,
        at_resume: BTreeMap::new(),
    };
    for at in 0..lines.len() {
        judge.line(at);
    }
    judge.end(by);
    judge.account
}

struct Judge<'a> {
    run: Run,
    lines: &'a [&'a Record],
    details: &'a [Detail],
    folded: &'a [Folded],
    /// The last line that no later run tells again.
    until: u64,
    findings: &'a mut Vec<Finding>,
    account: Account,
    /// Each scope has an account of its own.
    scopes: bool,
    /// There are roll-ups, as its start says; `None` without one.
    folds: Option<bool>,
    base: Bases,
    /// The numbers of the last ledger.
    last: BTreeMap<Counted, Sums>,
    /// Its number, 0 before the first.
    last_ledger: u64,
    /// What the parts before had of a ledger that has several.
    parts: Parts,
    interval: Interval,
    /// Index of the finding of a watchdog that saw nothing.
    blind: Option<usize>,
    /// Written and lost up to `until`, the base included; empty if lines are missing before.
    at_resume: BTreeMap<Counted, Tally>,
}

impl<'a> Judge<'a> {
    fn line(&mut self, at: usize) {
        let record = self.lines[at];
        let before = at.checked_sub(1).map(|at| self.lines[at]);
        let expected = before.map_or(1, |record| record.line + 1);
        if record.kind != LineKind::Ledger && self.parts.count > 0 {
            if record.line == self.parts.line + 1 {
                self.contradiction(record, "stands where a ledger of several parts goes on");
            }
            self.parts = Parts::default();
        }
        if record.line > expected {
            self.missing(before, expected, record.line - 1, Some(record));
        }
        if before.is_none() {
            self.begin(record);
        }
        let is_told_again = record.line > self.until;
        if is_told_again {
            self.account.told_again += 1;
        }
        self.count(at, record, is_told_again);
        if record.line == self.until {
            let counted: Vec<Counted> = self.last.keys().chain(self.interval.counted.keys()).copied().collect();
            let all = counted.into_iter().chain([Counted::Execs]);
            self.at_resume = all.filter_map(|counted| Some((counted, self.cumulative(counted)?))).collect();
        }
    }

    /// The first line that is there: where the numbers begin.
    fn begin(&mut self, record: &Record) {
        let Some(start) = self.start(record).filter(|_| record.line == 1) else {
            if record.line == 1 && record.kind != LineKind::Broken {
                self.contradiction(record, "line 1 of a run is its start, and this is none");
            }
            return;
        };
        self.folds = Some(start.rollup.is_some());
        // What a run that goes on from another says nothing of was nothing.
        self.base = Bases::nothing();
        for (counted, sums) in start.resumed.iter().flat_map(Resumed::sums) {
            self.base.set(counted, sums.clone());
        }
    }

    fn count(&mut self, at: usize, record: &Record, is_told_again: bool) {
        let once = u64::from(!is_told_again);
        if self.account.stop.is_some() {
            self.contradiction(record, "stands after the run's stop");
        }
        match record.kind {
            LineKind::Exec => {
                for counted in self.execs_of(Some(record.scope)) {
                    self.interval.counted.entry(counted).or_default().written += 1;
                    if let Some(totals) = self.account.totals(counted) {
                        totals.execs += once;
                    }
                }
                self.account.args_cut += u64::from(record.has(TRUNCATED)) * once;
                self.account.without_id += u64::from(record.exec_id(self.folded) == 0) * once;
            }
            LineKind::ExecFailed => {
                self.interval.counted.entry(Counted::Failed).or_default().written += 1;
                self.account.failed += once;
            }
            LineKind::Exit => {
                self.interval.counted.entry(Counted::Exits).or_default().written += 1;
                self.account.exits += once;
            }
            LineKind::Running => self.account.running += 1,
            LineKind::Lost => self.lost(at, record, is_told_again),
            LineKind::Rollup => self.rollup(record, once),
            LineKind::Ledger => self.ledger(record),
            LineKind::Watchdog => self.watchdog(record),
            LineKind::Start => {
                if record.line != 1 {
                    self.contradiction(record, "a start within a run");
                }
            }
            LineKind::Stop => self.stop(at, record),
            LineKind::ScopeGone | LineKind::LabelsChanged | LineKind::Continued | LineKind::Dropped => {}
            LineKind::Unknown => self.account.unknown += 1,
            LineKind::Broken => {
                self.interval.unreadable = true;
                self.account.lacks_lines = true;
            }
        }
    }

    /// What an exec, or a loss of execs, counts for.
    fn execs_of(&self, scope: Option<u32>) -> impl Iterator<Item = Counted> + use<> {
        let scope = scope.filter(|scope| self.scopes && *scope > 0);
        [Counted::Execs].into_iter().chain(scope.map(Counted::ExecsOf))
    }

    /// What one line stands for.
    fn rollup(&mut self, record: &Record, once: u64) {
        let Some(Detail::Rollup(rollup)) = self.detail(record) else { return };
        let Rollup { failed, scope, count, exits, .. } = rollup.as_ref();
        if self.folds == Some(false) {
            self.contradiction(record, "a roll-up in a run that begins by saying that it has none");
        }
        let of: Vec<Counted> = if *failed { vec![Counted::Failed] } else { self.execs_of(*scope).collect() };
        let all = of.into_iter().map(|counted| (counted, *count)).chain([(Counted::Exits, *exits)]);
        for (counted, count) in all.filter(|(_, count)| *count > 0) {
            let tally = self.interval.counted.entry(counted).or_default();
            tally.rolled_up = tally.rolled_up.saturating_add(count);
            if let Some(totals) = self.account.totals(counted) {
                totals.rolled_up = totals.rolled_up.saturating_add(count * once);
            }
        }
    }

    fn lost(&mut self, at: usize, record: &Record, is_told_again: bool) {
        let Some(Detail::Lost(lost)) = self.detail(record) else { return };
        self.account.lacks_lines |= OF_ONE_LOG.contains(&lost.reason.as_str());
        let counted: Vec<Counted> = match lost.what.as_deref() {
            None => self.execs_of(lost.scope).collect(),
            Some("exec-failed") => vec![Counted::Failed],
            Some(_) => vec![Counted::Exits],
        };
        for counted in counted {
            add(&mut self.interval.counted.entry(counted).or_default().lost, &lost.reason, lost.count);
        }
        if is_told_again {
            return;
        }
        let before = at.checked_sub(1).map(|at| self.lines[at].time);
        let after = self.lines.get(at + 1).map(|record| record.time);
        let (execs, why) = match &lost.what {
            None => (lost.count, lost.reason.clone()),
            Some(what) => (0, format!("{} ({} of {what})", lost.reason, lost.count)),
        };
        let finding = Finding::new(Kind::Lost, why).times(before, after).execs(Some(execs));
        self.findings.push(finding.run(self.run).lines(record.line, record.line).at(record.place));
    }

    fn watchdog(&mut self, record: &Record) {
        let Some(Detail::Watchdog(watchdog)) = self.detail(record) else { return };
        if watchdog.seen {
            if let Some(finding) = self.blind.take().and_then(|at| self.findings.get_mut(at)) {
                finding.to = Some(record.time);
                finding.lines = finding.lines.map(|(first, _)| (first, record.line));
            }
        } else if self.blind.is_none() {
            self.blind = Some(self.findings.len());
            let why = "the kernel program did not see an exec of exectrace's own: nothing is certain since it last did";
            let since = watchdog.last_seen.as_deref().and_then(parse_time).unwrap_or(record.time);
            let finding = Finding::new(Kind::Blind, why).times(Some(since), None).run(self.run);
            self.findings.push(finding.lines(record.line, record.line).at(record.place));
        }
    }

    fn stop(&mut self, at: usize, record: &Record) {
        let Some(Detail::Stop(stop)) = self.detail(record) else { return };
        let before = at.checked_sub(1).map(|at| self.lines[at]);
        let is_balanced = before.is_none_or(|before| before.kind == LineKind::Ledger || before.line + 1 != record.line);
        if !is_balanced {
            self.contradiction(record, "a stop without a ledger right before it");
        }
        let waiting = self.last.get(&Counted::Execs).map_or(0, |sums| sums.waiting);
        if !stop.pinned && waiting > 0 && before.is_some_and(|before| before.kind == LineKind::Ledger) {
            let finding = Finding::new(Kind::Waiting, "seen, and not written before the stop").run(self.run);
            let finding = finding.lines(record.line, record.line).execs(Some(waiting));
            self.findings.push(finding.times(before.map(|before| before.time), Some(record.time)).at(record.place));
        }
        self.account.stop = Some((record.time, stop.why.clone(), stop.pinned));
    }

    /// Numbers `first` to `last` are not there.
    fn missing(&mut self, before: Option<&Record>, first: u64, last: u64, after: Option<&Record>) {
        self.account.lacks_lines = true;
        let kind = if before.is_none() { Kind::MissingBeginning } else { Kind::MissingLines };
        let count = last - first + 1;
        let why = match (kind, count) {
            (Kind::MissingBeginning, _) => format!("the run's beginning is not there: {count} lines"),
            (_, 1) => "1 line is not there".to_owned(),
            _ => format!("{count} lines are not there"),
        };
        let times = (before.map(|record| record.time), after.map(|record| record.time));
        let mut finding = Finding::new(kind, why).run(self.run).lines(first, last).times(times.0, times.1);
        finding.place = after.or(before).map(|record| record.place);
        self.interval.gaps.push(self.findings.len());
        self.interval.missing.push((first, last));
        self.findings.push(finding);
    }

    fn ledger(&mut self, record: &Record) {
        let Some(Detail::Ledger(ledger)) = self.detail(record) else { return };
        self.check_range(record, ledger);
        if ledger.part < ledger.parts {
            self.parts.add(record, ledger);
            self.last_ledger = record.line;
            return;
        }
        let parts = std::mem::take(&mut self.parts);
        match parts.completed(record, ledger) {
            Some(whole) => self.whole_ledger(record, &whole),
            // What the missing ones said of scopes nobody knows, so the next ledger is held against that; what it says of
            // all is there.
            None => {
                let is_of_scope = |counted: &Counted| matches!(counted, Counted::ExecsOf(_));
                let counted = std::mem::take(&mut self.interval.counted);
                let (of_scopes, of_all) = counted.into_iter().partition(|(counted, _)| is_of_scope(counted));
                self.interval.counted = of_all;
                self.whole_ledger(record, &Ledger { scopes: Vec::new(), ..ledger.as_ref().clone() });
                self.interval.counted = of_scopes;
            }
        }
    }

    fn whole_ledger(&mut self, record: &Record, ledger: &Ledger) {
        for (counted, sums) in ledger.sums() {
            self.check_identity(record, counted, sums);
            self.check_sums(record, counted, sums);
            self.last.insert(counted, sums.clone());
        }
        let told = |wanted: Counted| ledger.sums().any(|(counted, _)| counted == wanted);
        let untold = self
            .interval
            .counted
            .iter()
            .find(|(counted, tally)| (tally.written > 0 || tally.rolled_up > 0) && !told(**counted));
        if let Some(counted) = untold.map(|(counted, _)| *counted) {
            self.contradiction(record, &format!("a ledger that says nothing of {counted}, after lines of them"));
        }
        self.check_scopes(record, ledger);
        self.last_ledger = record.line;
        self.interval = Interval::default();
    }

    /// All execs are some scope's; which one lost some is not always known.
    fn check_scopes(&mut self, record: &Record, ledger: &Ledger) {
        if ledger.scopes.is_empty() {
            return;
        }
        let all =
            |of: fn(&Sums) -> u64| ledger.scopes.iter().map(|scope| of(&scope.execs)).fold(0, u64::saturating_add);
        let (seen, written) = (all(|sums| sums.seen), all(|sums| sums.written));
        if (seen, written) != (ledger.execs.seen, ledger.execs.written) {
            let why = format!(
                "a ledger of {} execs seen and {} written, and of {seen} and {written} in all scopes together",
                ledger.execs.seen, ledger.execs.written
            );
            self.contradiction(record, &why);
        }
        let rolled_up = all(|sums| sums.rolled_up);
        if rolled_up != ledger.execs.rolled_up {
            let why = format!(
                "a ledger of {} execs rolled up, and of {rolled_up} in all scopes together",
                ledger.execs.rolled_up
            );
            self.contradiction(record, &why);
        }
    }

    fn check_range(&mut self, record: &Record, ledger: &Ledger) {
        let due = self.last_ledger + 1;
        let follows_a_missing_line = self
            .interval
            .missing
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&(ledger.first.wrapping_sub(1))));
        let begins_right = ledger.first == due || follows_a_missing_line || self.interval.unreadable;
        if !begins_right || Some(ledger.last) != record.line.checked_sub(1) {
            let why = format!(
                "a ledger over lines {} to {}, which stands where it is over {due} to {}",
                ledger.first,
                ledger.last,
                record.line - 1
            );
            self.contradiction(record, &why);
        }
    }

    fn check_identity(&mut self, record: &Record, counted: Counted, sums: &Sums) {
        let parts = [sums.written, sums.rolled_up, sums.waiting].into_iter().chain(sums.excluded.values().copied());
        let told = parts.chain(sums.lost.values().copied()).map(u128::from).sum::<u128>();
        if told != u128::from(sums.seen) {
            let why = format!(
                "a ledger that does not add up: {} {counted} seen, and {told} written, {}excluded, lost or waiting",
                sums.seen,
                if sums.rolled_up > 0 { "rolled up, " } else { "" }
            );
            self.contradiction(record, &why);
        }
    }

    /// What the ledger says against what lies before it.
    fn check_sums(&mut self, record: &Record, what: Counted, sums: &Sums) {
        let Tally { written, rolled_up, lost } = self.interval.counted.get(&what).cloned().unwrap_or_default();
        let Some(from) = self.last.get(&what).cloned().or_else(|| self.base.get(what)) else {
            // The first numbers that are known: what was told before the lines that are there began.
            let base = Sums {
                seen: [written, rolled_up, total(&lost), sums.waiting].into_iter().fold(sums.seen, u64::saturating_sub),
                written: sums.written.saturating_sub(written),
                rolled_up: sums.rolled_up.saturating_sub(rolled_up),
                excluded: sums.excluded.clone(),
                lost: minus(&sums.lost, &lost),
                waiting: 0,
            };
            if what == Counted::Execs {
                self.tell_missing(base.written, base.rolled_up, 0);
            }
            if sums.written < written {
                let why = format!("a ledger of {} {what}, after {written} lines of them", sums.written);
                self.contradiction(record, &why);
            }
            if sums.rolled_up < rolled_up {
                let why = format!("a ledger of {} {what} rolled up, after roll-ups of {rolled_up}", sums.rolled_up);
                self.contradiction(record, &why);
            }
            self.base.set(what, base);
            return;
        };
        let due = from.written.saturating_add(written);
        let rolled_up_due = from.rolled_up.saturating_add(rolled_up);
        let lost_due = plus(&from.lost, &lost);
        if self.interval.is_complete() {
            if sums.written != due {
                let why = format!("a ledger of {} {what} written, where the log has {due}", sums.written);
                self.contradiction(record, &why);
            }
            if sums.rolled_up != rolled_up_due {
                let said = sums.rolled_up;
                let why =
                    format!("a ledger of {said} {what} rolled up, where the log's roll-ups stand for {rolled_up_due}");
                self.contradiction(record, &why);
            }
            if !is_same(&sums.lost, &lost_due) {
                let (said, has) = (total(&sums.lost), total(&lost_due));
                let why = format!("a ledger of {said} {what} lost, where the log's `lost` lines tell {has}, by reason");
                self.contradiction(record, &why);
            }
        } else {
            let is_less = lost_due.iter().any(|(reason, due)| count(&sums.lost, reason) < *due);
            if sums.written < due || sums.rolled_up < rolled_up_due || is_less {
                let why = format!("a ledger of fewer {what} than the lines before it, although some are missing");
                self.contradiction(record, &why);
            } else {
                let (written, rolled_up) = (sums.written - due, sums.rolled_up - rolled_up_due);
                let missing = written.saturating_add(rolled_up);
                if let Some(totals) = self.account.totals(what).filter(|_| !self.interval.is_told_again(self.until)) {
                    totals.missing = totals.missing.saturating_add(missing);
                }
                if what == Counted::Execs {
                    self.tell_missing(written, rolled_up, total(&sums.lost).saturating_sub(total(&lost_due)));
                }
            }
        }
        let shrinks = sums.seen < from.seen
            || from.excluded.iter().any(|(reason, before)| count(&sums.excluded, reason) < *before);
        if shrinks {
            self.contradiction(record, &format!("a ledger of fewer {what} seen or excluded than the one before"));
        }
    }

    /// Completes the findings of missing lines by what a ledger says of them.
    fn tell_missing(&mut self, written: u64, rolled_up: u64, lost: u64) {
        let execs = written.saturating_add(rolled_up);
        let gaps = std::mem::take(&mut self.interval.gaps);
        let together =
            if gaps.len() > 1 || self.interval.unreadable { " in all gaps up to the next ledger" } else { "" };
        for gap in &gaps {
            let Some(finding) = self.findings.get_mut(*gap) else { continue };
            if together.is_empty() {
                finding.execs = Some(execs);
            } else {
                finding.why = format!("{}; {execs} execs{together}", finding.why);
            }
            if rolled_up > 0 {
                finding.why = format!("{}; roll-ups of {rolled_up} execs are missing with them{together}", finding.why);
            }
            if lost > 0 {
                finding.why = format!("{}; `lost` lines of {lost} execs are missing with them{together}", finding.why);
            }
        }
    }

    /// Written and lost so far, the base included; `None` if that is not certain.
    fn cumulative(&self, counted: Counted) -> Option<Tally> {
        let from = self.last.get(&counted).cloned().or_else(|| self.base.get(counted))?;
        let Tally { written, rolled_up, lost } = self.interval.counted.get(&counted).cloned().unwrap_or_default();
        let (written, lost) = (from.written.saturating_add(written), plus(&from.lost, &lost));
        let rolled_up = from.rolled_up.saturating_add(rolled_up);
        self.interval.is_complete().then_some(Tally { written, rolled_up, lost })
    }

    fn end(&mut self, by: Option<ResumedBy<'_>>) {
        let Some(last) = self.lines.last().copied() else { return };
        let resumed = by.map(|by| by.resumed);
        if let Some(by) = by {
            self.check_resumed(last, by);
        } else if self.account.stop.is_none() {
            let why = "the run has no stop: what came after its last line is not known";
            let finding = Finding::new(Kind::MissingEnd, why).run(self.run).lines(last.line, last.line);
            self.findings.push(finding.times(Some(last.time), None).at(last.place));
            self.account.lacks_lines = true;
        }
        // Of what waits one log may have lines and the other none.
        self.account.lacks_lines |= self.last.values().any(|sums| sums.waiting > 0);
        self.check_running();
        let told_later = resumed.into_iter().flat_map(Resumed::sums).map(|(counted, _)| counted);
        let told = self.last.keys().chain(self.interval.counted.keys()).copied().chain(told_later);
        let all: BTreeSet<Counted> = told.chain([Counted::Execs]).collect();
        for counted in all {
            let sums = resumed.and_then(|resumed| resumed.sums().find(|(which, _)| *which == counted));
            self.total(counted, sums.map(|(_, sums)| sums));
        }
    }

    /// What there was up to the last ledger and what lies behind it, or what a later run says.
    fn total(&mut self, counted: Counted, resumed: Option<&Sums>) {
        let base = self.base.get(counted).unwrap_or_else(Sums::zero);
        let behind = self.interval.counted.get(&counted).map(|tally| tally.lost.clone()).unwrap_or_default();
        let (seen, excluded, lost) = match (resumed, self.last.get(&counted)) {
            (Some(resumed), _) => (Some(resumed.seen), resumed.excluded.clone(), resumed.lost.clone()),
            (None, Some(last)) => (Some(last.seen), last.excluded.clone(), plus(&last.lost, &behind)),
            (None, None) => (None, base.excluded.clone(), plus(&base.lost, &behind)),
        };
        let Some(totals) = self.account.totals(counted) else { return };
        totals.excluded = minus(&excluded, &base.excluded);
        totals.lost = minus(&lost, &base.lost);
        totals.seen = seen.map(|seen| seen.saturating_sub(base.seen).max(totals.told()));
    }

    /// What the run that goes on from this one says of it.
    fn check_resumed(&mut self, last: &Record, by: ResumedBy<'_>) {
        let resumed = by.resumed;
        let contradicts = |why: &str| {
            Finding::new(Kind::Contradiction, why)
                .run(self.run)
                .lines(last.line, last.line)
                .execs(Some(0))
                .at(last.place)
        };
        if last.line < resumed.line {
            self.account.lacks_lines = true;
            let why = format!("{} lines are not there before another run goes on", resumed.line - last.line);
            let finding = Finding::new(Kind::MissingLines, why).run(self.run).lines(last.line + 1, resumed.line);
            let mut finding = finding.times(Some(last.time), None).at(last.place);
            for (counted, sums) in resumed.sums() {
                let known = self.cumulative(counted).and_then(|so_far| sums.written.checked_sub(so_far.written));
                if let Some(totals) = self.account.totals(counted) {
                    totals.missing = totals.missing.saturating_add(known.unwrap_or(0));
                }
                if counted == Counted::Execs {
                    finding.execs = known;
                }
            }
            self.findings.push(finding);
        } else {
            let is_same = resumed.sums().all(|(counted, sums)| {
                let at = self.at_resume.get(&counted);
                at.is_none_or(|at| at.written == sums.written && is_same(&at.lost, &sums.lost))
            });
            if !is_same {
                let why = "the run that goes on from this one has other numbers for it than its lines";
                self.findings.push(contradicts(why));
            }
        }
        if self.account.stop.as_ref().is_some_and(|(_, _, pinned)| !pinned) && !by.is_detached {
            self.findings.push(contradicts("another run goes on from this one, which says that it took all with it"));
        }
    }

    /// The snapshot at the start, line by line.
    fn check_running(&mut self) {
        let Some(first) = self.lines.first().copied() else { return };
        let Some(due) = self.start(first).and_then(|start| start.running) else { return };
        // What is missing may be among them; then the missing lines are the finding.
        let is_complete = self.lines.last().is_some_and(|last| usize::try_from(last.line) == Ok(self.lines.len()));
        let is_readable = self.lines.iter().all(|record| record.kind != LineKind::Broken);
        let is_cut = self.account.stop.is_none() && self.account.running < due;
        if is_complete && is_readable && !is_cut && self.account.running != due {
            let why =
                format!("a start that tells of {due} running processes, and {} lines of them", self.account.running);
            self.contradiction(first, &why);
        }
    }

    fn contradiction(&mut self, record: &Record, why: &str) {
        let finding = Finding::new(Kind::Contradiction, why).run(self.run).lines(record.line, record.line);
        self.findings.push(finding.times(Some(record.time), Some(record.time)).execs(Some(0)).at(record.place));
    }

    fn detail(&self, record: &Record) -> Option<&'a Detail> {
        record.detail(self.details)
    }

    fn start(&self, record: &Record) -> Option<&'a Start> {
        match self.detail(record) {
            Some(Detail::Start(start)) if record.kind == LineKind::Start => Some(start),
            _ => None,
        }
    }
}

/// Ledgers that stand one after the other and are one.
#[derive(Default)]
struct Parts {
    scopes: Vec<ScopeSums>,
    /// How many there were, and where the last one stands.
    count: u64,
    line: u64,
}

impl Parts {
    fn add(&mut self, record: &Record, ledger: &Ledger) {
        if ledger.part == 1 {
            *self = Parts::default();
        }
        if self.count + 1 == ledger.part && (self.count == 0 || self.line + 1 == record.line) {
            self.count += 1;
            self.line = record.line;
            self.scopes.extend(ledger.scopes.iter().cloned());
        }
    }

    /// All of them as one; `None` if some are missing.
    fn completed<'a>(self, record: &Record, last: &'a Ledger) -> Option<Cow<'a, Ledger>> {
        if last.parts <= 1 {
            return Some(Cow::Borrowed(last));
        }
        let is_whole = self.count + 1 == last.parts && self.line + 1 == record.line;
        let scopes = self.scopes.into_iter().chain(last.scopes.iter().cloned()).collect();
        is_whole.then(|| Cow::Owned(Ledger { scopes, ..last.clone() }))
    }
}

/// A run without its beginning is told by its ledgers.
fn has_several_scopes(lines: &[&Record], details: &[Detail]) -> bool {
    let rare = lines.iter().filter(|record| matches!(record.kind, LineKind::Start | LineKind::Ledger));
    let mut of_rare = rare.filter_map(|record| details.get(usize::try_from(record.detail).ok()?));
    of_rare.any(|detail| match detail {
        Detail::Start(start) => start.scopes.len() > 1,
        Detail::Ledger(ledger) => !ledger.scopes.is_empty(),
        _ => false,
    })
}
