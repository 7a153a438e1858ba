//! Lines that belong together because one had not room for all arguments of a process: are they all there, in their order,
//! and do they hold as many arguments as the first one says?

use std::collections::HashMap;

use super::finding::{Finding, Kind};
use super::record::{Detail, LineKind, Record};
use crate::seal::Run;

/// What a line says that others follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) parts: u64,
    /// Arguments in it.
    pub(super) args: u64,
    /// Arguments in all; `None` where that is not told, or not all of them are in the log.
    pub(super) of_args: Option<u64>,
}

/// One of those that follow.
#[derive(Debug)]
pub(super) struct Continued {
    pub(super) of: Option<(Run, u64)>,
    pub(super) part: u64,
    pub(super) parts: u64,
    pub(super) args: u64,
    pub(super) joined: bool,
}

/// Judges the lines of one run, of which each number is there once at most. Returns of how many processes some lines are
/// missing: that these are, their numbers tell.
pub(super) fn judge(
    run: Run,
    lines: &[&Record],
    details: &[Detail],
    firsts: &HashMap<(u32, u64), First>,
    findings: &mut Vec<Finding>,
) -> u64 {
    let mut judge = Judge { run, findings, open: None, incomplete: 0 };
    for record in lines {
        let detail = usize::try_from(record.detail).ok().and_then(|at| details.get(at));
        if let (LineKind::Continued, Some(Detail::Continued(continued))) = (record.kind, detail) {
            judge.continued(record, continued);
            continue;
        }
        judge.end(Some(record));
        if let Some(first) = firsts.get(&(record.run, record.line)).filter(|_| record.kind != LineKind::Broken) {
            judge.open = Some(Open { first: *first, line: record.line, next: 2, args: first.args });
        }
    }
    judge.end(None);
    judge.incomplete
}

struct Judge<'a> {
    run: Run,
    findings: &'a mut Vec<Finding>,
    open: Option<Open>,
    incomplete: u64,
}

/// A process of which parts are to come.
struct Open {
    first: First,
    line: u64,
    /// Which part comes next.
    next: u64,
    args: u64,
}

impl Open {
    /// The number of the line that comes next.
    fn next_line(&self) -> u64 {
        self.line.saturating_add(self.next - 1)
    }
}

impl Judge<'_> {
    fn continued(&mut self, record: &Record, continued: &Continued) {
        let Continued { of, part, parts, args, joined } = continued;
        let place = of.filter(|(run, line)| *run == self.run && line.checked_add(part - 1) == Some(record.line));
        let Some((_, first)) = place.filter(|_| part <= parts) else {
            self.contradiction(record, "goes on with a line where it does not stand".to_owned());
            return;
        };
        match &mut self.open {
            Some(open) if open.line == first && open.first.parts == *parts => {
                if open.next == *part {
                    open.next += 1;
                    open.args += args - u64::from(*joined && *args > 0);
                } else {
                    // Those before it are missing, which their numbers tell.
                    open.next = u64::MAX;
                }
            }
            Some(open) if open.line == first => {
                let why = format!("is one of {parts} lines, of which the first says {}", open.first.parts);
                self.contradiction(record, why);
            }
            // Its first line is missing, or it says nothing of others.
            _ => {
                self.end(Some(record));
                self.incomplete += u64::from(*part == 2);
            }
        }
    }

    /// Nothing more belongs to the open one; `before` comes next.
    fn end(&mut self, before: Option<&Record>) {
        let Some(open) = self.open.take() else { return };
        if open.next <= open.first.parts || open.next == u64::MAX {
            self.incomplete += 1;
            if let Some(record) = before.filter(|record| open.next != u64::MAX && record.line == open.next_line()) {
                self.contradiction(record, format!("stands where line {} goes on", open.line));
            }
            return;
        }
        if let Some(all) = open.first.of_args.filter(|all| *all != open.args) {
            let why = format!("a process of {all} arguments, and {} of them in its lines", open.args);
            let finding = Finding::new(Kind::Contradiction, why).run(self.run);
            self.findings.push(finding.lines(open.line, open.next_line() - 1));
        }
    }

    fn contradiction(&mut self, record: &Record, why: String) {
        let finding = Finding::new(Kind::Contradiction, why).run(self.run).lines(record.line, record.line);
        self.findings.push(finding.times(Some(record.time), Some(record.time)).at(record.place));
    }
}
