//! Roll-up: many execs below one in one line, with what is needed to hold it against the complete log.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use exectrace::{ExecId, ScopeId, What};
use sha2::{Digest, Sha256};

use crate::origin::Session;
use crate::rule::Conditions;

/// What is folded, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupConfig {
    /// Execs below one exec in a window from which on it counts as busy, and what is below it is folded.
    pub more_than: u64,
    /// How long a line stands for.
    pub window: Duration,
    /// Globs of folders from which programs are usual.
    pub folders: Vec<String>,
    /// Globs of programs that always have a line.
    pub programs: Vec<String>,
    /// Globs of programs that do what a file or an argument says.
    pub interpreters: Vec<String>,
    /// What of that which has a terminal has a line.
    pub tty: OnTty,
    /// What else always has a line.
    pub line: Vec<Conditions>,
}

/// What of that which has a terminal has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTty {
    /// All of it.
    Line,
    /// What the session's leader, a shell, executes itself; what that executes is folded as elsewhere.
    Typed,
}

/// Roll-ups that are open at a time; the oldest ends when there are more.
const MAX_OPEN: usize = 1_024;
/// Argument lists that are told apart, in all open roll-ups together.
const MAX_DISTINCT: usize = 262_144;
/// Commands that are shown of each.
const SAMPLES: usize = 3;
/// Bytes of each of these, and how many of them are the command's first.
const SAMPLE_BYTES: usize = 96;
const SAMPLE_HEAD: usize = 32;

/// What is folded into one line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) scope: ScopeId,
    /// The exec that all of it is below.
    pub(crate) root: ExecId,
    pub(crate) of: Of,
    pub(crate) uid: u32,
}

/// What has been executed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Of {
    /// A file.
    Exe(Arc<[u8]>),
    /// Nothing: attempts failed, with this error (errno).
    Failed(u32),
}

/// A line that stands for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// Of this run, counted from 1.
    pub number: u64,
    /// The scope of all of them.
    pub scope: ScopeId,
    /// What was executed.
    pub of: Of,
    /// Real user of all of them.
    pub uid: u32,
    /// The exec that they all descend from.
    pub root: ExecId,
    /// Its file.
    pub root_exe: Arc<[u8]>,
    /// Their session.
    pub session: Arc<Session>,
    /// How many execs, or attempts.
    pub count: u64,
    /// When the first and the last of them was.
    pub times: [SystemTime; 2],
    /// Ends of processes that are folded with them.
    pub ends: u64,
    /// Of these, how many were a failure: another exit code than 0, or a signal.
    pub failures: u64,
    /// Bytes of the lines that it stands for.
    pub bytes: u64,
    /// How many different argument lists there are.
    pub distinct: u64,
    /// There may be more of them: not all could be told apart.
    pub distinct_at_least: bool,
    /// SHA-256 over all of them in order; see [`Item`].
    pub sha256: [u8; 32],
    /// The first different argument lists, joined by spaces; of a long one its beginning and its end, of another the latter
    /// is empty.
    pub samples: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Rollup {
    /// What of each kind it stands for.
    pub fn counts(&self) -> [(What, u64); 2] {
        let what = match self.of {
            Of::Exe(_) => What::Exec,
            Of::Failed(_) => What::Failed,
        };
        [(what, self.count), (What::Exit, self.ends)]
    }
}

/// One exec, as a roll-up's hash has it: `SHA-256(id NUL SHA-256(arguments, each with a NUL))`, one after the other.
/// `id` is the text of the log, empty for attempts that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    digest: [u8; 32],
}

impl Item {
    /// Of these arguments.
    pub fn of<'a>(argv: impl Iterator<Item = &'a [u8]>) -> Item {
        let mut hash = Sha256::new();
        for arg in argv {
            hash.update(arg);
            hash.update([0]);
        }
        Item { digest: hash.finalize().into() }
    }

    /// Adds the exec with this id to a list's hash.
    pub fn add_to(&self, list: &mut Sha256, id: &str) {
        list.update(id.as_bytes());
        list.update([0]);
        list.update(self.digest);
    }

    fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Something that is to be folded.
pub(crate) struct Folded<'a> {
    /// `None` of an attempt that failed.
    pub(crate) id: Option<ExecId>,
    pub(crate) time: SystemTime,
    pub(crate) argv: &'a exectrace::Args,
    pub(crate) bytes: u64,
}

/// Of what it is folded into, what does not name it.
pub(crate) struct Around<'a> {
    pub(crate) root_exe: &'a Arc<[u8]>,
    pub(crate) session: &'a Arc<Session>,
}

#[derive(Debug)]
struct Open {
    rollup: Rollup,
    since: SystemTime,
    list: Sha256,
    distinct: HashSet<u64>,
}

impl Open {
    /// Also if the clock was set back so far that the window would last longer than it should.
    fn is_over(&self, now: SystemTime, window: Duration) -> bool {
        let age = now.duration_since(self.since).unwrap_or_else(|error| error.duration());
        age >= window
    }
}

/// Roll-ups that are open, and those that ended and are not written yet.
#[derive(Debug)]
pub(crate) struct Rollups {
    window: Duration,
    open: HashMap<Arc<GroupKey>, Open>,
    /// In the order in which they were opened.
    order: VecDeque<Arc<GroupKey>>,
    ended: Vec<Rollup>,
    numbers: u64,
    distinct: usize,
}

impl Rollups {
    pub(crate) fn new(window: Duration) -> Rollups {
        let (open, order, ended) = (HashMap::new(), VecDeque::new(), Vec::new());
        Rollups { window, open, order, ended, numbers: 0, distinct: 0 }
    }

    /// Folds one; returns the number of its roll-up.
    pub(crate) fn fold(&mut self, key: &Arc<GroupKey>, around: &Around<'_>, folded: &Folded<'_>) -> u64 {
        let has_room = self.distinct < MAX_DISTINCT;
        let open = self.open(key, around, folded.time);
        let item = Item::of(folded.argv.iter());
        item.add_to(&mut open.list, &folded.id.map(|id| id.to_string()).unwrap_or_default());
        let is_other = !open.distinct.contains(&item.short());
        let is_told_apart = is_other && has_room;
        let rollup = &mut open.rollup;
        if is_told_apart {
            open.distinct.insert(item.short());
        }
        if is_other && rollup.samples.len() < SAMPLES {
            rollup.samples.push(sample(folded.argv));
        }
        rollup.distinct_at_least |= is_other && !has_room;
        rollup.count += 1;
        rollup.bytes += folded.bytes;
        rollup.times = [rollup.times[0].min(folded.time), rollup.times[1].max(folded.time)];
        let number = rollup.number;
        self.distinct += usize::from(is_told_apart);
        number
    }

    /// Folds the end of a process that was folded.
    pub(crate) fn fold_end(
        &mut self,
        key: &Arc<GroupKey>,
        around: &Around<'_>,
        time: SystemTime,
        failed: bool,
        bytes: u64,
    ) -> u64 {
        let rollup = &mut self.open(key, around, time).rollup;
        rollup.ends += 1;
        rollup.failures += u64::from(failed);
        rollup.bytes += bytes;
        rollup.times[1] = rollup.times[1].max(time);
        rollup.number
    }

    fn open(&mut self, key: &Arc<GroupKey>, around: &Around<'_>, time: SystemTime) -> &mut Open {
        if self.open.get(key).is_some_and(|open| open.is_over(time, self.window)) {
            self.end(key);
        }
        if !self.open.contains_key(key) {
            if self.open.len() >= MAX_OPEN {
                self.end_oldest();
            }
            self.order.push_back(Arc::clone(key));
        }
        let numbers = &mut self.numbers;
        self.open.entry(Arc::clone(key)).or_insert_with(|| {
            *numbers += 1;
            let rollup = Rollup {
                number: *numbers,
                scope: key.scope,
                of: key.of.clone(),
                uid: key.uid,
                root: key.root,
                root_exe: Arc::clone(around.root_exe),
                session: Arc::clone(around.session),
                count: 0,
                times: [time, time],
                ends: 0,
                failures: 0,
                bytes: 0,
                distinct: 0,
                distinct_at_least: false,
                sha256: [0; 32],
                samples: Vec::new(),
            };
            Open { rollup, since: time, list: Sha256::new(), distinct: HashSet::new() }
        })
    }

    fn end_oldest(&mut self) {
        if let Some(key) = self.order.front().cloned() {
            self.end(&key);
        }
    }

    fn end(&mut self, key: &Arc<GroupKey>) {
        self.order.retain(|other| other != key);
        let Some(open) = self.open.remove(key) else { return };
        self.distinct -= open.distinct.len();
        let distinct = open.distinct.len() as u64;
        self.ended.push(Rollup { distinct, sha256: open.list.finalize().into(), ..open.rollup });
    }

    /// Ends those whose window is over.
    pub(crate) fn end_old(&mut self, now: SystemTime) {
        let is_over = |key: &&Arc<GroupKey>| self.open.get(*key).is_none_or(|open| open.is_over(now, self.window));
        let over: Vec<_> = self.order.iter().filter(is_over).cloned().collect();
        over.iter().for_each(|key| self.end(key));
    }

    /// Ends all.
    pub(crate) fn end_all(&mut self) {
        while !self.order.is_empty() {
            self.end_oldest();
        }
    }

    /// What ended since this was last asked, in the order of their numbers.
    pub(crate) fn take(&mut self) -> Vec<Rollup> {
        std::mem::take(&mut self.ended)
    }
}

/// The beginning and the end of a command: builds differ in the end.
fn sample(argv: &exectrace::Args) -> (Vec<u8>, Vec<u8>) {
    let words = argv.iter().collect::<Vec<_>>().join(&b' ');
    if words.len() <= SAMPLE_BYTES {
        return (words, Vec::new());
    }
    // Not within a character.
    let starts = |at: &usize| words.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let head = (0..=SAMPLE_HEAD).rev().find(starts).unwrap_or_default();
    let tail = words.len() - (SAMPLE_BYTES - SAMPLE_HEAD);
    let tail = (tail..=words.len()).find(starts).unwrap_or(words.len());
    (words[..head].to_vec(), words[tail..].to_vec())
}
