//! All of it together: what becomes of an exec, and whose it is.

use std::sync::Arc;
use std::time::SystemTime;

use exectrace::{Ended, Event, ExecId, FailedExec, Partial, Running};

use crate::busy::Busy;
use crate::config::SiftConfig;
use crate::lineage::{Fate, Lineage, Row};
use crate::origin::{Origins, Session, Starters, WORDS};
use crate::rare::{Rare, Rarity, Usual, is_prompt};
use crate::rollup::{Around, Folded, GroupKey, Of, OnTty, Rollup, RollupConfig, Rollups};
use crate::rule::{Fact, Facts, RuleError};
use crate::rules::Rules;

/// What becomes of something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has a line; why, if it would have been folded otherwise.
    Line(Option<Rare>),
    /// The rule with this number leaves it out.
    Excluded(usize),
    /// It is part of the roll-up with this number.
    Folded(u64),
}

/// What is known of an exec, beyond itself.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whose it is; `None` of an attempt by a process that nothing is known of.
    pub session: Option<Arc<Session>>,
    /// The nearest exec up the line that was not left out.
    pub parent: Option<ExecId>,
}

/// Judges one thing after the other, in their order.
#[derive(Debug)]
pub struct Sift {
    rules: Arc<Rules>,
    lineage: Lineage,
    origins: Origins,
    folding: Option<Folding>,
    /// For the arguments of one exec after the other.
    words: Vec<u8>,
}

#[derive(Debug)]
struct Folding {
    rarity: Rarity,
    busy: Busy,
    rollups: Rollups,
    /// What has a terminal is not folded.
    no_tty: bool,
}

/// ENOENT, as searches along a path have it by the hundred.
const NOT_THERE: u32 = 2;

impl Sift {
    fn new(criteria: &Criteria) -> Sift {
        let folding = criteria.folding.as_ref().map(|(usual, config)| Folding {
            rarity: Rarity::new(Arc::clone(usual)),
            busy: Busy::new(config.more_than, config.window),
            rollups: Rollups::new(config.window),
            no_tty: config.tty == OnTty::Line,
        });
        let (lineage, origins) = (Lineage::new(), Origins::new(Arc::clone(&criteria.starters)));
        Sift { rules: Arc::clone(&criteria.rules), lineage, origins, folding, words: Vec::new() }
    }

    /// What ran when the log began.
    pub fn ran(&mut self, running: &Running) {
        self.origins.ran(running);
    }

    /// An exec. `bytes` tells those of its line, which is asked only if it is to be folded; `None` if it would be several.
    pub fn exec(&mut self, event: &Event, bytes: impl FnOnce(&Arc<Session>) -> Option<u64>) -> Judged {
        let argv = self.joined(event);
        let parent = event.parent_id.and_then(|id| self.lineage.get(id).cloned());
        let known = self.origins.known(event, &argv);
        let session = self.origins.session(event, &known, parent.as_ref());
        let parent_id = shown_parent(event.parent_id, parent.as_ref());
        let job = match &parent {
            _ if session.root == Some(event.id) => None,
            Some(Row { job: Some(job), .. }) => Some(*job),
            _ => Some(event.id),
        };
        let facts = facts(event, &argv, parent.as_ref(), Some(&session));
        let ancestors = match facts.ancestors {
            Fact::Is(ancestors) => ancestors,
            Fact::None | Fact::Unknown => 0,
        };
        let mut row = Row {
            exe: self.lineage.file(&event.exe),
            session: Arc::clone(&session),
            begins: known.begins(),
            uid: event.uid,
            is_prompt: is_prompt(event),
            job,
            ancestors: ancestors | self.rules.ancestors(&event.exe),
            mnt_ns: event.mnt_ns,
            fate: Fate::Line,
        };
        let verdict = match self.rules.excluded(&facts) {
            Some(rule) => {
                row.fate = Fate::Excluded { rule, parent: parent_id };
                Verdict::Excluded(rule)
            }
            None => self.fold(event, &facts, parent.as_ref(), &mut row, bytes),
        };
        self.lineage.put(event.id, row);
        self.words = argv;
        Judged { verdict, session: Some(session), parent: parent_id }
    }

    fn fold(
        &mut self,
        event: &Event,
        facts: &Facts<'_>,
        parent: Option<&Row>,
        row: &mut Row,
        bytes: impl FnOnce(&Arc<Session>) -> Option<u64>,
    ) -> Verdict {
        let Some(folding) = &mut self.folding else { return Verdict::Line(None) };
        let is_new = folding.rarity.is_new(event);
        let above = [row.job.filter(|job| *job != event.id), row.session.root.filter(|_| row.job.is_some())];
        if let Some(counted) = above[0].or(above[1]) {
            folding.busy.add(counted, event.time);
        }
        let Some(parent) = parent.filter(|parent| !parent.session.is_lost) else { return Verdict::Line(None) };
        let Some((root_id, root)) = root(folding, &mut self.lineage, above, event.time) else {
            return Verdict::Line(None);
        };
        let rare = folding.rarity.find(event, parent, &root, is_new);
        if let Some(rare) = rare.or_else(|| self.rules.is_line(facts).then_some(Rare::Rule)) {
            return Verdict::Line(Some(rare));
        }
        let Some(bytes) = bytes(&row.session) else { return Verdict::Line(Some(Rare::Long)) };
        let of = Of::Exe(Arc::clone(&row.exe));
        let key = Arc::new(GroupKey { scope: event.scope, root: root_id, of, uid: event.uid });
        let folded = Folded { id: Some(event.id), time: event.time, argv: &event.argv, bytes };
        let around = Around { root_exe: &root.exe, session: &row.session };
        let number = folding.rollups.fold(&key, &around, &folded);
        row.fate = Fate::Folded(key);
        Verdict::Folded(number)
    }

    /// An attempt that failed.
    pub fn failed(&mut self, failed: &FailedExec, bytes: impl FnOnce(&Arc<Session>) -> Option<u64>) -> Judged {
        let attempt = &failed.attempt;
        let argv = self.joined(attempt);
        let above = attempt.parent_id.and_then(|id| self.lineage.get(id).cloned());
        let caller = self.lineage.get(attempt.id).cloned().or_else(|| above.clone());
        let facts = Facts {
            exe: Fact::None,
            ..facts(attempt, &argv, caller.as_ref(), caller.as_ref().map(|caller| &caller.session))
        };
        let verdict = match self.rules.excluded(&facts) {
            Some(rule) => Verdict::Excluded(rule),
            None => self.fold_failed(failed, &facts, caller.as_ref(), bytes),
        };
        let parent = shown_parent(attempt.parent_id, above.as_ref());
        self.words = argv;
        Judged { verdict, session: caller.map(|caller| caller.session), parent }
    }

    fn fold_failed(
        &mut self,
        failed: &FailedExec,
        facts: &Facts<'_>,
        caller: Option<&Row>,
        bytes: impl FnOnce(&Arc<Session>) -> Option<u64>,
    ) -> Verdict {
        let caller = caller.filter(|caller| !caller.session.is_lost);
        let (Some(folding), Some(caller)) = (&mut self.folding, caller) else { return Verdict::Line(None) };
        let attempt = &failed.attempt;
        let above = [caller.job, caller.session.root];
        let Some((root_id, root)) = root(folding, &mut self.lineage, above, attempt.time) else {
            return Verdict::Line(None);
        };
        let rare = if attempt.tty.is_some() && folding.no_tty {
            Some(Rare::Tty)
        } else if failed.errno != NOT_THERE {
            Some(Rare::Failure)
        } else if !attempt.partial.is_empty() || attempt.truncated() {
            Some(Rare::Partial)
        } else if folding.rarity.is_listed(attempt) {
            Some(Rare::Program)
        } else if attempt.uid != root.uid {
            Some(Rare::User)
        } else {
            self.rules.is_line(facts).then_some(Rare::Rule)
        };
        if rare.is_some() {
            return Verdict::Line(rare);
        }
        let Some(bytes) = bytes(&caller.session) else { return Verdict::Line(Some(Rare::Long)) };
        let of = Of::Failed(failed.errno);
        let key = Arc::new(GroupKey { scope: attempt.scope, root: root_id, of, uid: attempt.uid });
        let around = Around { root_exe: &root.exe, session: &caller.session };
        let folded = Folded { id: None, time: attempt.time, argv: &attempt.argv, bytes };
        Verdict::Folded(folding.rollups.fold(&key, &around, &folded))
    }

    /// The arguments joined by spaces, as many of them as are looked at. The buffer is to be given back.
    fn joined(&mut self, event: &Event) -> Vec<u8> {
        let most = if self.rules.look_at_arguments() { usize::MAX } else { WORDS };
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        for (at, arg) in event.argv.iter().enumerate() {
            if words.len() >= most {
                break;
            }
            words.extend_from_slice(if at == 0 { b"" } else { b" " });
            words.extend_from_slice(arg);
        }
        words
    }

    /// The end of a process: what became of its last exec becomes of it.
    pub fn ended(&mut self, ended: &Ended, bytes: impl FnOnce() -> u64) -> Verdict {
        let Some(row) = self.lineage.get(ended.id).cloned() else { return Verdict::Line(None) };
        match (row.fate, &mut self.folding) {
            (Fate::Excluded { rule, .. }, _) => Verdict::Excluded(rule),
            (Fate::Folded(key), Some(folding)) => {
                let root = self.lineage.get(key.root).map(|root| Arc::clone(&root.exe)).unwrap_or_default();
                let around = Around { root_exe: &root, session: &row.session };
                let is_failure = ended.status.code() != Some(0);
                Verdict::Folded(folding.rollups.fold_end(&key, &around, ended.time, is_failure, bytes()))
            }
            _ => Verdict::Line(None),
        }
    }

    /// Roll-ups whose window is over, and others that ended.
    pub fn rolled_up(&mut self, now: SystemTime) -> Vec<Rollup> {
        let Some(folding) = &mut self.folding else { return Vec::new() };
        folding.rollups.end_old(now);
        folding.rollups.take()
    }

    /// All roll-ups, which end with this.
    pub fn finish(&mut self) -> Vec<Rollup> {
        let Some(folding) = &mut self.folding else { return Vec::new() };
        folding.rollups.end_all();
        folding.rollups.take()
    }
}

/// The first of these that is busy, and has a line itself.
fn root(
    folding: &mut Folding,
    lineage: &mut Lineage,
    above: [Option<ExecId>; 2],
    now: SystemTime,
) -> Option<(ExecId, Row)> {
    above.into_iter().flatten().find_map(|id| {
        let row = folding.busy.is_busy(id, now).then(|| lineage.get(id).cloned())??;
        (row.fate == Fate::Line).then_some((id, row))
    })
}

/// What rules look at. Where something is lost or forgotten, that is what they are told.
fn facts<'a>(event: &'a Event, argv: &'a [u8], parent: Option<&'a Row>, session: Option<&Arc<Session>>) -> Facts<'a> {
    fn known<T>(is_lost: bool, fact: T) -> Fact<T> {
        if is_lost { Fact::Unknown } else { Fact::Is(fact) }
    }
    let is_lost = |which| event.partial.intersects(which);
    let is_forgotten = event.parent_id.is_some() && parent.is_none() || session.is_some_and(|session| session.is_lost);
    Facts {
        exe: known(is_lost(LOST_EXE), &event.exe),
        argv: known(is_lost(LOST_ARGV) || event.truncated(), argv),
        uid: event.uid,
        has_tty: known(is_lost(Partial::STRINGS_RING_FULL), event.tty.is_some()),
        parent: match parent {
            Some(parent) => known(parent.exe.is_empty(), &parent.exe),
            None if is_forgotten => Fact::Unknown,
            None => Fact::None,
        },
        ancestors: known(is_forgotten, parent.map_or(0, |parent| parent.ancestors)),
        origin: session.map_or(Fact::None, |session| known(session.is_lost, session.kind)),
    }
}

const LOST_EXE: Partial =
    Partial::STRINGS_RING_FULL.union(Partial::EXE).union(Partial::EXE_CUT).union(Partial::EXE_OUTSIDE_ROOT);
const LOST_ARGV: Partial = Partial::STRINGS_RING_FULL
    .union(Partial::ARGS_FAULT)
    .union(Partial::ARGS_RING_FULL)
    .union(Partial::ARGS_READ_LIMIT)
    .union(Partial::ARGS_KEEP_LIMIT);

/// What was left out leads nowhere in the log; what it came from does.
fn shown_parent(parent_id: Option<ExecId>, parent: Option<&Row>) -> Option<ExecId> {
    match parent.map(|parent| &parent.fate) {
        Some(Fate::Excluded { parent, .. }) => *parent,
        _ => parent_id,
    }
}

/// A configuration of which all patterns are compiled, for any number of logs.
#[derive(Debug, Clone)]
pub struct Criteria {
    rules: Arc<Rules>,
    starters: Arc<Starters>,
    folding: Option<(Arc<Usual>, RollupConfig)>,
    told: Vec<(Option<usize>, exectrace::Rule)>,
}

impl Criteria {
    /// Of a configuration; the kernel program decides nothing.
    pub fn new(config: &SiftConfig, with_rollup: bool) -> Result<Criteria, RuleError> {
        let line = if with_rollup { config.rollup.line.as_slice() } else { &[] };
        let rules = Rules::new(&config.exclude, &config.include, line)?;
        let usual = || Ok::<_, RuleError>((Arc::new(Usual::new(&config.rollup)?), config.rollup.clone()));
        Ok(Criteria {
            rules: Arc::new(rules),
            starters: Arc::new(Starters::new(&config.origin)?),
            folding: with_rollup.then(usual).transpose()?,
            told: Vec::new(),
        })
    }

    /// The same, where the kernel program decides what it can.
    pub fn with_kernel(mut self) -> Criteria {
        let mut rules = Rules::clone(&self.rules);
        self.told = rules.for_kernel(&self.starters);
        self.rules = Arc::new(rules);
        self
    }

    /// What the kernel program is to be told, in this order; those that leave out with their numbers.
    pub fn told(&self) -> &[(Option<usize>, exectrace::Rule)] {
        &self.told
    }

    /// All rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What is folded, if anything is.
    pub fn rollup(&self) -> Option<&RollupConfig> {
        self.folding.as_ref().map(|(_, config)| config)
    }

    /// What judges one log.
    pub fn sift(&self) -> Sift {
        Sift::new(self)
    }
}
