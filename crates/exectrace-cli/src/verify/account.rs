//! The account of one run: its numbers without a hole, and its ledgers against its lines.

use super::finding::{Finding, Kind};
use super::line::{Ledger, Reasons, Resumed, Start, Sums, Time, parse_time};
use super::record::{Detail, LineKind, Record, TRUNCATED};
use crate::seal::Run;

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Execs in the log, those left out that a later run tells again.
    pub(super) execs: u64,
    pub(super) excluded: Reasons,
    pub(super) lost: Reasons,
    /// Execs of lines that are missing, as far as ledgers tell them.
    pub(super) missing: u64,
    /// As the ledgers say; `None` for a run without one.
    pub(super) seen: Option<u64>,
    /// Attempts that failed, and ends of processes, in the log.
    pub(super) failed: u64,
    pub(super) exits: u64,
    pub(super) running: u64,
    pub(super) args_cut: u64,
    pub(super) without_id: u64,
    /// Lines that a later run tells again.
    pub(super) told_again: u64,
    pub(super) unknown: u64,
    /// When and why it ended, and whether the kernel program stayed; `None` without a stop.
    pub(super) stop: Option<(Time, String, bool)>,
}

/// Which events a number counts.
const WHATS: [&str; 3] = ["execs", "failed", "exits"];

/// Numbers of one kind of events.
#[derive(Debug, Clone, Default)]
struct Tally {
    written: u64,
    lost: Reasons,
}

/// Numbers that began before the lines that are there.
#[derive(Debug, Clone)]
enum Base {
    /// Those of the run's start.
    Known(Sums),
    /// The first ledger will tell.
    Unknown,
}

impl Base {
    fn zero() -> Base {
        let (excluded, lost) = (Reasons::new(), Reasons::new());
        Base::Known(Sums { seen: 0, written: 0, excluded, lost, waiting: 0 })
    }

    fn sums(&self) -> Option<&Sums> {
        match self {
            Base::Known(sums) => Some(sums),
            Base::Unknown => None,
        }
    }
}

/// What lies between two ledgers.
#[derive(Default)]
struct Interval {
    counted: [Tally; 3],
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
}

/// Judges one run. `lines` has one line for each number; `resumed` is what a later run says that goes on from this one.
pub(super) fn judge(
    run: Run,
    lines: &[&Record],
    details: &[Detail],
    resumed: Option<&Resumed>,
    findings: &mut Vec<Finding>,
) -> Account {
    let mut judge = Judge {
        run,
        lines,
        details,
        until: resumed.map_or(u64::MAX, |resumed| resumed.line),
        findings,
        account: Account::default(),
        base: [Base::Unknown, Base::Unknown, Base::Unknown],
        last: [const { None }; 3],
        last_ledger: 0,
        interval: Interval::default(),
        blind: None,
        at_resume: None,
    };
    for at in 0..lines.len() {
        judge.line(at);
    }
    judge.end(resumed);
    judge.account
}

struct Judge<'a> {
    run: Run,
    lines: &'a [&'a Record],
    details: &'a [Detail],
    /// The last line that no later run tells again.
    until: u64,
    findings: &'a mut Vec<Finding>,
    account: Account,
    base: [Base; 3],
    /// The numbers of the last ledger.
    last: [Option<Sums>; 3],
    /// Its number, 0 before the first.
    last_ledger: u64,
    interval: Interval,
    /// Index of the finding of a watchdog that saw nothing.
    blind: Option<usize>,
    /// Execs written, and lost, up to `until`, the base included; `None` if lines are missing before.
    at_resume: Option<Tally>,
}

impl<'a> Judge<'a> {
    fn line(&mut self, at: usize) {
        let record = self.lines[at];
        let before = at.checked_sub(1).map(|at| self.lines[at]);
        let expected = before.map_or(1, |record| record.line + 1);
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
            self.at_resume = self.cumulative();
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
        self.base = match &start.resumed {
            None => [Base::zero(), Base::zero(), Base::zero()],
            Some(Resumed { execs, failed, exits, .. }) => [Some(execs), failed.as_ref(), exits.as_ref()]
                .map(|sums| sums.map_or(Base::Unknown, |sums| Base::Known(sums.clone()))),
        };
    }

    fn count(&mut self, at: usize, record: &Record, is_told_again: bool) {
        let once = u64::from(!is_told_again);
        if self.account.stop.is_some() {
            self.contradiction(record, "stands after the run's stop");
        }
        match record.kind {
            LineKind::Exec => {
                self.interval.counted[0].written += 1;
                self.account.execs += once;
                self.account.args_cut += u64::from(record.has(TRUNCATED)) * once;
                self.account.without_id += u64::from(record.detail == 0) * once;
            }
            LineKind::ExecFailed => {
                self.interval.counted[1].written += 1;
                self.account.failed += once;
            }
            LineKind::Exit => {
                self.interval.counted[2].written += 1;
                self.account.exits += once;
            }
            LineKind::Running => self.account.running += 1,
            LineKind::Lost => self.lost(at, record, is_told_again),
            LineKind::Ledger => self.ledger(record),
            LineKind::Watchdog => self.watchdog(record),
            LineKind::Start => {
                if record.line != 1 {
                    self.contradiction(record, "a start within a run");
                }
            }
            LineKind::Stop => self.stop(at, record),
            LineKind::Unknown => self.account.unknown += 1,
            LineKind::Broken => self.interval.unreadable = true,
        }
    }

    fn lost(&mut self, at: usize, record: &Record, is_told_again: bool) {
        let Some(Detail::Lost(lost)) = self.detail(record) else { return };
        let what = match lost.what.as_deref() {
            None => 0,
            Some("exec-failed") => 1,
            Some(_) => 2,
        };
        add(&mut self.interval.counted[what].lost, &lost.reason, lost.count);
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
        let waiting = self.last[0].as_ref().map_or(0, |sums| sums.waiting);
        if !stop.pinned && waiting > 0 && before.is_some_and(|before| before.kind == LineKind::Ledger) {
            let finding = Finding::new(Kind::Waiting, "seen, and not written before the stop").run(self.run);
            let finding = finding.lines(record.line, record.line).execs(Some(waiting));
            self.findings.push(finding.times(before.map(|before| before.time), Some(record.time)).at(record.place));
        }
        self.account.stop = Some((record.time, stop.why.clone(), stop.pinned));
    }

    /// Numbers `first` to `last` are not there.
    fn missing(&mut self, before: Option<&Record>, first: u64, last: u64, after: Option<&Record>) {
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
        let sums = [Some(&ledger.execs), ledger.failed.as_ref(), ledger.exits.as_ref()];
        for (which, sums) in sums.into_iter().enumerate() {
            let Some(sums) = sums else {
                if self.interval.counted[which].written > 0 {
                    let why = format!("a ledger that says nothing of {}, after lines of them", WHATS[which]);
                    self.contradiction(record, &why);
                }
                continue;
            };
            self.check_identity(record, which, sums);
            self.check_sums(record, which, sums);
            self.last[which] = Some(sums.clone());
        }
        self.last_ledger = record.line;
        self.interval = Interval::default();
    }

    fn check_range(&mut self, record: &Record, ledger: &Ledger) {
        let due = self.last_ledger + 1;
        let follows_a_missing_line = self
            .interval
            .missing
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&(ledger.first.wrapping_sub(1))));
        let begins_right = ledger.first == due || follows_a_missing_line || self.interval.unreadable;
        if !begins_right || ledger.last + 1 != record.line {
            let why = format!(
                "a ledger over lines {} to {}, which stands where it is over {due} to {}",
                ledger.first,
                ledger.last,
                record.line - 1
            );
            self.contradiction(record, &why);
        }
    }

    fn check_identity(&mut self, record: &Record, which: usize, sums: &Sums) {
        let parts = [sums.written, sums.waiting].into_iter().chain(sums.excluded.values().copied());
        let told = parts.chain(sums.lost.values().copied()).fold(0, u64::saturating_add);
        if told != sums.seen {
            let why = format!(
                "a ledger that does not add up: {} {} seen, and {told} written, excluded, lost or waiting",
                sums.seen, WHATS[which]
            );
            self.contradiction(record, &why);
        }
    }

    /// What the ledger says against what lies before it.
    fn check_sums(&mut self, record: &Record, which: usize, sums: &Sums) {
        let what = WHATS[which];
        let Tally { written, lost } = self.interval.counted[which].clone();
        let Some(from) = self.last[which].as_ref().or_else(|| self.base[which].sums()) else {
            // The first numbers that are known: what was told before the lines that are there began.
            let base = Sums {
                seen: sums.seen.saturating_sub(written).saturating_sub(total(&lost)).saturating_sub(sums.waiting),
                written: sums.written.saturating_sub(written),
                excluded: sums.excluded.clone(),
                lost: minus(&sums.lost, &lost),
                waiting: 0,
            };
            if which == 0 {
                self.tell_missing(Some(base.written), 0);
                // Those of the missing head are named there; this run's account begins with the lines that are there.
                self.account.missing = 0;
            }
            if sums.written < written {
                self.contradiction(
                    record,
                    &format!("a ledger of {} {what}, after {written} lines of them", sums.written),
                );
            }
            self.base[which] = Base::Known(base);
            return;
        };
        let from = from.clone();
        let due = from.written.saturating_add(written);
        let lost_due = plus(&from.lost, &lost);
        let is_lost_as_due =
            sums.lost.keys().chain(lost_due.keys()).all(|reason| count(&sums.lost, reason) == count(&lost_due, reason));
        if self.interval.is_complete() {
            if sums.written != due {
                let why = format!("a ledger of {} {what} written, where the log has {due}", sums.written);
                self.contradiction(record, &why);
            }
            if !is_lost_as_due {
                let (said, has) = (total(&sums.lost), total(&lost_due));
                let why = format!("a ledger of {said} {what} lost, where the log's `lost` lines tell {has}, by reason");
                self.contradiction(record, &why);
            }
        } else {
            let is_less = lost_due.iter().any(|(reason, due)| count(&sums.lost, reason) < *due);
            if sums.written < due || is_less {
                let why = format!("a ledger of fewer {what} than the lines before it, although some are missing");
                self.contradiction(record, &why);
            } else if which == 0 {
                self.tell_missing(Some(sums.written - due), total(&sums.lost) - total(&lost_due));
            }
        }
        let shrinks = sums.seen < from.seen
            || from.excluded.iter().any(|(reason, before)| count(&sums.excluded, reason) < *before);
        if shrinks {
            self.contradiction(record, &format!("a ledger of fewer {what} seen or excluded than the one before"));
        }
    }

    /// Completes the findings of missing lines by what a ledger says of them.
    fn tell_missing(&mut self, written: Option<u64>, lost: u64) {
        let gaps = std::mem::take(&mut self.interval.gaps);
        let is_told_again = |finding: &Finding| finding.lines.is_some_and(|(first, _)| first > self.until);
        if gaps.iter().filter_map(|gap| self.findings.get(*gap)).any(|finding| !is_told_again(finding))
            || gaps.is_empty()
        {
            self.account.missing += written.unwrap_or(0);
        }
        let together =
            if gaps.len() > 1 || self.interval.unreadable { " in all gaps up to the next ledger" } else { "" };
        for gap in &gaps {
            let Some(finding) = self.findings.get_mut(*gap) else { continue };
            if together.is_empty() {
                finding.execs = written;
            } else if let Some(written) = written {
                finding.why = format!("{}; {written} execs{together}", finding.why);
            }
            if lost > 0 {
                finding.why = format!("{}; `lost` lines of {lost} execs are missing with them{together}", finding.why);
            }
        }
    }

    /// Execs written and lost so far, the base included; `None` if that is not certain.
    fn cumulative(&self) -> Option<Tally> {
        let from = self.last[0].as_ref().or_else(|| self.base[0].sums())?;
        let Tally { written, lost } = &self.interval.counted[0];
        self.interval
            .is_complete()
            .then(|| Tally { written: from.written.saturating_add(*written), lost: plus(&from.lost, lost) })
    }

    fn end(&mut self, resumed: Option<&Resumed>) {
        let Some(last) = self.lines.last().copied() else { return };
        if let Some(resumed) = resumed {
            self.check_resumed(last, resumed);
        } else if self.account.stop.is_none() {
            let why = "the run has no stop: what came after its last line is not known";
            let finding = Finding::new(Kind::MissingEnd, why).run(self.run).lines(last.line, last.line);
            self.findings.push(finding.times(Some(last.time), None).at(last.place));
        }
        self.check_running();
        // Of the last ledger, and of what lies behind it.
        let (counted, base) = (&self.interval.counted[0], self.base[0].sums());
        let before = |of: fn(&Sums) -> &Reasons| base.map(of).cloned().unwrap_or_default();
        let (excluded_before, lost_before) = (before(|sums| &sums.excluded), before(|sums| &sums.lost));
        let (seen, excluded, lost) = match (resumed, &self.last[0]) {
            (Some(resumed), _) => {
                (Some(resumed.execs.seen), resumed.execs.excluded.clone(), resumed.execs.lost.clone())
            }
            (None, Some(last)) => (Some(last.seen), last.excluded.clone(), plus(&last.lost, &counted.lost)),
            (None, None) => (None, excluded_before.clone(), plus(&lost_before, &counted.lost)),
        };
        self.account.excluded = minus(&excluded, &excluded_before);
        self.account.lost = minus(&lost, &lost_before);
        let told = [self.account.execs, self.account.missing, total(&self.account.excluded), total(&self.account.lost)];
        let told = told.into_iter().fold(0, u64::saturating_add);
        let seen_before = base.map_or(0, |sums| sums.seen);
        self.account.seen = seen.map(|seen| seen.saturating_sub(seen_before).max(told));
    }

    /// What the run that goes on from this one says of it.
    fn check_resumed(&mut self, last: &Record, resumed: &Resumed) {
        let contradicts = |why: &str| {
            Finding::new(Kind::Contradiction, why)
                .run(self.run)
                .lines(last.line, last.line)
                .execs(Some(0))
                .at(last.place)
        };
        if last.line < resumed.line {
            let why = format!("{} lines are not there before another run goes on", resumed.line - last.line);
            let known = self.cumulative().and_then(|cumulative| resumed.execs.written.checked_sub(cumulative.written));
            self.account.missing += known.unwrap_or(0);
            let finding = Finding::new(Kind::MissingLines, why).run(self.run).lines(last.line + 1, resumed.line);
            self.findings.push(finding.times(Some(last.time), None).execs(known).at(last.place));
        } else if let Some(at) = self.at_resume.take() {
            let lost = &resumed.execs.lost;
            let is_same = at.written == resumed.execs.written
                && lost.keys().chain(at.lost.keys()).all(|reason| count(lost, reason) == count(&at.lost, reason));
            if !is_same {
                let why = "the run that goes on from this one has other numbers for it than its lines";
                self.findings.push(contradicts(why));
            }
        }
        if self.account.stop.as_ref().is_some_and(|(_, _, pinned)| !pinned) {
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
        self.details.get(usize::try_from(record.detail).ok()?)
    }

    fn start(&self, record: &Record) -> Option<&'a Start> {
        match self.detail(record) {
            Some(Detail::Start(start)) if record.kind == LineKind::Start => Some(start),
            _ => None,
        }
    }
}

pub(super) fn add(reasons: &mut Reasons, reason: &str, more: u64) {
    match reasons.get_mut(reason) {
        Some(count) => *count = count.saturating_add(more),
        None => {
            reasons.insert(reason.to_owned(), more);
        }
    }
}

pub(super) fn total(reasons: &Reasons) -> u64 {
    reasons.values().copied().fold(0, u64::saturating_add)
}

fn count(reasons: &Reasons, reason: &str) -> u64 {
    reasons.get(reason).copied().unwrap_or_default()
}

fn plus(a: &Reasons, b: &Reasons) -> Reasons {
    let mut sum = a.clone();
    b.iter().for_each(|(reason, more)| add(&mut sum, reason, *more));
    sum
}

fn minus(a: &Reasons, b: &Reasons) -> Reasons {
    a.iter().map(|(reason, all)| (reason.clone(), all.saturating_sub(count(b, reason)))).collect()
}
