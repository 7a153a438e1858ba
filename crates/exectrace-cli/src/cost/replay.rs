//! A run of a log, judged again line by line by what would have folded it while it was written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use exectrace_sift::{Of, Rollup, Sift, Verdict};

use super::figures::{Figures, Within};
use super::size::Size;
use super::tally::{Sum, Whose, name};
use crate::cli::Fields;
use crate::ledger::Books;
use crate::line::json::{JsonEncoder, Limits, Lines, Told};
use crate::line::{About, Entry, Place, to_text};
use crate::seal::{ChainMode, Run, Seal};

/// What attempts that failed are called where others have a file.
pub(super) const FAILED: &str = "(failed attempts)";
/// What is called so of which nobody knows.
pub(super) const NOT_IN_THE_LOG: &str = "(not in the log)";

/// Whose lines are, by the labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// `None`: who it is, the number of the user says.
    pub(super) user: Option<Arc<str>>,
    pub(super) workspace: Arc<str>,
}

impl Owner {
    pub(super) fn user(&self, uid: u32) -> Arc<str> {
        self.user.as_ref().map_or_else(|| Arc::from(format!("uid {uid}")), Arc::clone)
    }
}

/// The state of a run.
pub(super) struct Replay {
    sift: Sift,
    encoder: JsonEncoder,
    labels: BTreeMap<String, String>,
    /// Lines tell to which scope they belong.
    has_scopes: bool,
    run: Run,
    /// Its lines are chained.
    pub(super) is_chained: bool,
    /// Lines of the log that has the roll-ups, so far.
    lines: u64,
    now: SystemTime,
    /// What was folded into roll-ups that are not over, by number.
    folded: HashMap<u64, Vec<(Owner, Sum)>>,
}

fn encoder(scopes: bool) -> JsonEncoder {
    JsonEncoder::new(Told { fields: Fields::Standard, scopes }, Limits { bytes: usize::MAX, args: usize::MAX })
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, and has this member more.
    Line(String),
    Excluded,
    /// It is part of a roll-up; in a log that has all lines it has this member more.
    Folded(String),
}

impl Fate {
    /// The same, without the member of a line that has it already.
    pub(super) fn without(self, rare: bool, rollup: bool) -> Fate {
        match self {
            Fate::Line(_) if rare => Fate::Line(String::new()),
            Fate::Folded(_) if rollup => Fate::Folded(String::new()),
            fate => fate,
        }
    }
}

impl Replay {
    pub(super) fn new(sift: Sift, run: Run) -> Replay {
        Replay {
            sift,
            encoder: encoder(false),
            labels: BTreeMap::new(),
            has_scopes: false,
            run,
            is_chained: false,
            lines: 0,
            now: SystemTime::UNIX_EPOCH,
            folded: HashMap::new(),
        }
    }

    /// The labels of all lines from now on.
    pub(super) fn relabel(&mut self, labels: BTreeMap<String, String>) {
        self.encoder.set_labels(&labels);
        self.labels = labels;
    }

    /// Lines tell to which scope they belong.
    pub(super) fn tell_scopes(&mut self) {
        if !std::mem::replace(&mut self.has_scopes, true) {
            self.encoder = encoder(true);
            self.encoder.set_labels(&self.labels);
        }
    }

    /// What judges.
    pub(super) fn sift(&mut self) -> &mut Sift {
        &mut self.sift
    }

    /// A line stays as it is.
    pub(super) fn kept(&mut self) {
        self.lines += 1;
    }

    /// What a verdict makes of a line that tells of a process; `sum` is of what is folded.
    pub(super) fn fate(&mut self, verdict: Verdict, owner: &Owner, sum: Sum) -> Fate {
        match verdict {
            Verdict::Line(rare) => {
                Fate::Line(rare.map(|rare| format!(",\"rare\":\"{}\"", rare.name())).unwrap_or_default())
            }
            Verdict::Excluded(_) => Fate::Excluded,
            Verdict::Folded(number) => {
                self.fold(number, owner, sum);
                Fate::Folded(format!(",\"rollup\":{number}"))
            }
        }
    }

    fn fold(&mut self, number: u64, owner: &Owner, sum: Sum) {
        let folded = self.folded.entry(number).or_default();
        match folded.last_mut() {
            Some((last, total)) if last == owner => total.add(sum),
            _ => folded.push((owner.clone(), sum)),
        }
    }

    /// It is as late as this: what is over by now gets its lines.
    pub(super) fn at(&mut self, time: SystemTime, owner: &Owner, figures: &mut Figures) {
        self.now = self.now.max(time);
        let over = self.sift.rolled_up(self.now);
        over.into_iter().for_each(|rollup| self.put(rollup, owner, figures));
    }

    /// The run is over.
    pub(super) fn finish(&mut self, owner: &Owner, figures: &mut Figures) {
        let over = self.sift.finish();
        over.into_iter().for_each(|rollup| self.put(rollup, owner, figures));
    }

    fn put(&mut self, rollup: Rollup, owner: &Owner, figures: &mut Figures) {
        let (number, uid) = (rollup.number, rollup.uid);
        let exe = match &rollup.of {
            Of::Exe(exe) => name(&to_text(exe)),
            Of::Failed(_) => Arc::from(FAILED),
        };
        let parent = name(&to_text(&rollup.root_exe));
        let line = self.encode(rollup);
        let size = Size::of(&line);
        figures.put(&line, size, Within::ONLY_ROLLED_UP, "");
        figures.notes.rollups += 1;
        let mut add = |owner: &Owner, sum: Sum| {
            let (user, workspace) = (owner.user(uid), Arc::clone(&owner.workspace));
            let whose = Whose { user, workspace, parent: Arc::clone(&parent), exe: Arc::clone(&exe) };
            figures.tallies.add(&whose, sum);
        };
        let folded = self.folded.remove(&number).unwrap_or_default();
        folded.iter().for_each(|(owner, sum)| add(owner, *sum));
        add(owner, Sum { rolled_up_bytes: size.bytes, ..Sum::default() });
    }

    /// As it would have been written, without its line break.
    fn encode(&mut self, rollup: Rollup) -> Vec<u8> {
        self.lines += 1;
        let chain = if self.is_chained { ChainMode::Linked } else { ChainMode::None };
        let mut seal = Seal::new(self.run.0, chain).at(self.lines);
        let (books, about) = (Books::default(), About::default());
        let place = Place { run: self.run, line: self.lines, last_ledger: 0, books: &books, about: &about };
        let mut out = Vec::new();
        let end = |out: &mut Vec<u8>, start| seal.put(out, start);
        self.encoder.encode(&Entry::Rollup(Box::new(rollup)), self.now, place, Lines { out: &mut out, end });
        out.pop();
        out
    }
}
