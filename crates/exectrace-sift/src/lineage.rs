//! What is kept of each exec for those that descend from it: bounded, and what was forgotten is not known.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use exectrace::ExecId;
use lru::LruCache;

use crate::origin::{Kind, Session};
use crate::rollup::GroupKey;

/// Execs that are remembered; those that nothing descended from for longest go first.
const MAX_ROWS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not 0");

/// What is known of an exec.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The file that ran.
    pub(crate) exe: Arc<[u8]>,
    pub(crate) session: Arc<Session>,
    /// What a session is that this begins by executing something.
    pub(crate) begins: Option<(Kind, Arc<str>)>,
    pub(crate) uid: u32,
    /// A shell that reads what somebody types.
    pub(crate) is_prompt: bool,
    /// Its session's first level below the root: itself, or what it descends from; `None` of the root.
    pub(crate) job: Option<ExecId>,
    /// Of each rule, whether its condition of ancestors holds for what descends from it.
    pub(crate) ancestors: u128,
    pub(crate) mnt_ns: u32,
    pub(crate) fate: Fate,
}

/// What became of an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has a line.
    Line,
    /// It was left out by a rule; who descends from it descends, as far as the log tells, from this one.
    Excluded {
        /// The rule.
        rule: usize,
        /// The nearest exec up the line that was not left out.
        parent: Option<ExecId>,
    },
    /// It was folded into a roll-up.
    Folded(Arc<GroupKey>),
}

/// All that are remembered.
#[derive(Debug)]
pub(crate) struct Lineage {
    rows: LruCache<ExecId, Row>,
    /// Paths of files, each once.
    files: HashSet<Arc<[u8]>>,
}

/// Files that are kept once.
const MAX_FILES: usize = 4_096;

impl Lineage {
    pub(crate) fn new() -> Lineage {
        Lineage { rows: LruCache::new(MAX_ROWS), files: HashSet::new() }
    }

    /// What is known of an exec, which is not forgotten so soon then.
    pub(crate) fn get(&mut self, id: ExecId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// The path of a file, shared with others that have the same one.
    pub(crate) fn file(&mut self, path: &[u8]) -> Arc<[u8]> {
        if let Some(file) = self.files.get(path) {
            return Arc::clone(file);
        }
        if self.files.len() >= MAX_FILES {
            self.files.clear();
        }
        let file: Arc<[u8]> = Arc::from(path);
        self.files.insert(Arc::clone(&file));
        file
    }

    pub(crate) fn put(&mut self, id: ExecId, row: Row) {
        self.rows.put(id, row);
    }
}
