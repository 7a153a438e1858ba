//! One line that is being accounted for: what becomes of it, and whose it is.

use std::sync::Arc;

use exectrace::{ExecId, Running};
use exectrace_sift::OriginConfig;
use lru::LruCache;

use super::MAX_RUNNING;
use super::event::{EventLine, ExitLine};
use super::figures::{Figures, Within};
use super::line::{Line, RollupLine};
use super::replay::{FAILED, Fate, NOT_IN_THE_LOG, Owner};
use super::run::Followed;
use super::size::Size;
use super::tally::{Sum, Whose, name};

/// A line that is being accounted for.
pub(super) struct Account<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) size: Size,
    pub(super) line: &'a Line<'a>,
    pub(super) followed: &'a mut Followed,
    pub(super) figures: &'a mut Figures,
    pub(super) execs: &'a mut LruCache<ExecId, [Arc<str>; 2]>,
    pub(super) origin: &'a OriginConfig,
}

impl Account<'_> {
    pub(super) fn exec(&mut self, event: &EventLine) {
        let exe = Some(event.exe()).filter(|exe| !exe.is_empty()).map_or_else(|| Arc::from(NOT_IN_THE_LOG), name);
        let parent = self.exe_of(event.parent_id());
        if let Some(id) = event.id() {
            self.execs.put(id, [Arc::clone(&exe), Arc::clone(&parent)]);
        }
        let whose = self.whose(event.uid, parent, exe);
        let sum = self.sum(1);
        let fate = match (&mut self.followed.replay, event.event(self.line.time, self.origin)) {
            (Some(replay), Some(told)) => {
                let is_one_line = event.parts.is_none_or(|parts| parts <= 1);
                let bytes = self.size.bytes;
                let judged = replay.sift().exec(&told, |_| is_one_line.then_some(bytes));
                replay.fate(judged.verdict, &self.followed.owner, sum)
            }
            (replay, told) => {
                self.figures.notes.without_id += u64::from(replay.is_some() && told.is_none());
                Fate::Line(String::new())
            }
        };
        self.put(event.unmarked(fate), whose, sum);
    }

    pub(super) fn failed(&mut self, event: &EventLine) {
        let parent = self.exe_of(event.parent_id());
        let whose = self.whose(event.uid, parent, Arc::from(FAILED));
        let sum = self.sum(0);
        let fate = match &mut self.followed.replay {
            Some(replay) => {
                let told = event.failed(self.line.time, self.origin);
                let is_one_line = event.parts.is_none_or(|parts| parts <= 1);
                let bytes = self.size.bytes;
                let judged = replay.sift().failed(&told, |_| is_one_line.then_some(bytes));
                replay.fate(judged.verdict, &self.followed.owner, sum)
            }
            None => Fate::Line(String::new()),
        };
        self.put(event.unmarked(fate), whose, sum);
    }

    pub(super) fn exit(&mut self, exit: &ExitLine) {
        let id = exit.id();
        let known = id.and_then(|id| self.execs.get(&id).cloned());
        let [exe, parent] = known.unwrap_or_else(|| [NOT_IN_THE_LOG; 2].map(Arc::from));
        let whose = self.whose(exit.uid, parent, exe);
        let sum = self.sum(0);
        let fate = match (&mut self.followed.replay, id) {
            (Some(replay), Some(id)) => {
                let bytes = self.size.bytes;
                let verdict = replay.sift().ended(&exit.ended(id, self.line.time), || bytes);
                replay.fate(verdict, &self.followed.owner, sum)
            }
            _ => Fate::Line(String::new()),
        };
        self.put(exit.unmarked(fate), whose, sum);
    }

    /// It is where its first line is.
    pub(super) fn continued(&mut self, of: u64) {
        let first = self.followed.first.clone().filter(|(number, ..)| *number == of);
        let Some((_, whose, within)) = first else {
            self.figures.notes.orphans += 1;
            let nobody = self.whose_nobody();
            self.put_within(Within::ALL, Some(nobody), self.sum(0), "");
            return;
        };
        self.put_within(within, whose, self.sum(0), "");
    }

    /// What it stands for would have lines.
    pub(super) fn rollup(&mut self, rollup: &RollupLine) {
        let RollupLine { exe, count, uid, parent_exe, exits, bytes } = rollup;
        let exe_name = exe.as_deref().map_or_else(|| Arc::from(FAILED), name);
        let whose = self.whose(*uid, name(parent_exe), exe_name);
        let execs = if exe.is_some() { *count } else { 0 };
        let sum = Sum { execs, bytes: *bytes, rolled_up_bytes: self.size.bytes };
        let lines = count.saturating_add(*exits);
        self.figures.unseen += Size { lines, bytes: *bytes, escapes: 0 };
        self.figures.put(self.bytes, self.size, Within::ONLY_ROLLED_UP, "");
        self.figures.tallies.add(&whose, sum);
    }

    pub(super) fn running(&mut self, running: &Running) {
        self.followed.running += 1;
        if let Some(replay) = self.followed.replay.as_mut().filter(|_| self.followed.running <= MAX_RUNNING) {
            replay.sift().ran(running);
        }
    }

    /// It tells of the log itself, and nobody caused it.
    pub(super) fn log_itself(&mut self) {
        self.followed.first = Some((self.line.number, None, Within::ALL));
        self.put_within(Within::ALL, None, Sum::default(), "");
    }

    fn put(&mut self, fate: Fate, whose: Whose, sum: Sum) {
        let (within, mark) = match fate {
            Fate::Line(mark) => (Within::ALL, mark),
            Fate::Excluded => {
                self.figures.notes.excluded += 1;
                (Within::ONLY_NOW, String::new())
            }
            Fate::Folded(mark) => {
                self.figures.notes.folded += 1;
                self.figures.processes += self.size;
                // Whose it is is told with its roll-up.
                self.figures.put(self.bytes, self.size, Within::BUT_ROLLED_UP, &mark);
                return;
            }
        };
        self.followed.first = Some((self.line.number, Some(whose.clone()), within));
        self.put_within(within, Some(whose), sum, &mark);
    }

    fn put_within(&mut self, within: Within, whose: Option<Whose>, sum: Sum, mark: &str) {
        self.figures.put(self.bytes, self.size, within, mark);
        if within.rolled_up
            && let Some(replay) = &mut self.followed.replay
        {
            replay.kept();
        }
        if let Some(whose) = whose {
            self.figures.processes += self.size;
            let rolled_up_bytes = if within.rolled_up { self.size.bytes + mark.len() as u64 } else { 0 };
            self.figures.tallies.add(&whose, Sum { rolled_up_bytes, ..sum });
        }
    }

    fn sum(&self, execs: u64) -> Sum {
        Sum { execs, bytes: self.size.bytes, rolled_up_bytes: 0 }
    }

    fn exe_of(&mut self, id: Option<ExecId>) -> Arc<str> {
        let exe = id.and_then(|id| self.execs.get(&id)).map(|[exe, _]| Arc::clone(exe));
        exe.unwrap_or_else(|| Arc::from(NOT_IN_THE_LOG))
    }

    fn whose(&self, uid: u32, parent: Arc<str>, exe: Arc<str>) -> Whose {
        let Owner { workspace, .. } = &self.followed.owner;
        Whose { user: self.followed.owner.user(uid), workspace: Arc::clone(workspace), parent, exe }
    }

    fn whose_nobody(&self) -> Whose {
        let nobody = || Arc::from(NOT_IN_THE_LOG);
        let Owner { user, workspace } = &self.followed.owner;
        let user = user.as_ref().map_or_else(nobody, Arc::clone);
        Whose { user, workspace: Arc::clone(workspace), parent: nobody(), exe: nobody() }
    }
}
