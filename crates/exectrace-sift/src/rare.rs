//! What is never folded, however much is executed around it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use exectrace::{Event, Partial, Traits};

use crate::lineage::Row;
use crate::origin::Kind;
use crate::pattern::{Pattern, PatternError, name};
use crate::rollup::{OnTty, RollupConfig};

/// Why an exec has a line of its own although others around it are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rare {
    /// It has a terminal.
    Tty,
    /// A set-user-ID or set-group-ID bit took effect, or the process has rights that its user has not.
    Setuid,
    /// The file lives in memory only.
    Memfd,
    /// The file has no name any more.
    Deleted,
    /// The dynamic loader was called to run a file that is only an argument.
    LdSo,
    /// Something of it could not be read or is not kept, so that nobody can tell what it is.
    Partial,
    /// The file, or the script, is outside the usual folders.
    Folder,
    /// A program that talks to networks, or another one that is listed.
    Program,
    /// An AI agent executed it itself.
    Agent,
    /// It is in another mount namespace than what it would be folded with.
    Namespace,
    /// A rule of the configuration.
    Rule,
    /// This file was not seen in this workspace before.
    New,
    /// An attempt that failed otherwise than a search along a path does.
    Failure,
    /// Its line would be several.
    Long,
}

impl Rare {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Rare::Tty => "tty",
            Rare::Setuid => "setuid",
            Rare::Memfd => "memfd",
            Rare::Deleted => "deleted",
            Rare::LdSo => "ld_so",
            Rare::Partial => "partial",
            Rare::Folder => "folder",
            Rare::Program => "program",
            Rare::Agent => "agent",
            Rare::Namespace => "namespace",
            Rare::Rule => "rule",
            Rare::New => "new",
            Rare::Failure => "failure",
            Rare::Long => "long",
        }
    }
}

/// What this says of the environment says nothing of what is executed.
const OF_ENVIRONMENT: Partial = Partial::ENV_FAULT.union(Partial::ENV_LIMIT);
/// Files that are remembered as seen; beyond these every other one is new each time.
const MAX_SEEN: usize = 65_536;
/// Programs that are many, by their first argument.
const MULTI_CALL: [&[u8]; 2] = [b"busybox", b"toybox"];

/// Tells what is rare.
#[derive(Debug)]
pub(crate) struct Rarity {
    folders: Vec<Pattern>,
    programs: Vec<Pattern>,
    on_tty: OnTty,
    /// Hashes, with keys that nobody can know.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Rarity {
    pub(crate) fn new(config: &RollupConfig) -> Result<Rarity, PatternError> {
        let patterns = |globs: &[String]| globs.iter().map(|glob| Pattern::path(glob)).collect::<Result<_, _>>();
        Ok(Rarity {
            folders: patterns(&config.folders)?,
            programs: patterns(&config.programs)?,
            on_tty: config.tty,
            seen: HashSet::new(),
            hasher: RandomState::new(),
        })
    }

    /// Whether its file is seen for the first time, from now on no more.
    pub(crate) fn is_new(&mut self, event: &Event) -> bool {
        let script = event.interpreter.as_ref().map(|_| file(event));
        let key = (event.scope, &event.exe, event.inode, event.device, script);
        let hash = self.hasher.hash_one(key);
        if self.seen.contains(&hash) {
            return false;
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.insert(hash);
        }
        true
    }

    /// Why an exec is rare, if it is; `root` is what it would be folded under.
    pub(crate) fn find(&self, event: &Event, parent: &Row, root: &Row, is_new: bool) -> Option<Rare> {
        let is_typed = match self.on_tty {
            OnTty::Line => event.tty.is_some(),
            OnTty::Typed => event.tty.is_some() && event.ppid == event.sid,
        };
        let has = |which| event.traits.contains(which);
        let is_privileged = has(Traits::SETUID) || event.euid != event.uid || event.egid != event.gid;
        let is_agents = parent.job.is_none() && parent.session.kind == Kind::Agent;
        [
            (is_typed, Rare::Tty),
            (is_privileged, Rare::Setuid),
            (has(Traits::MEMFD), Rare::Memfd),
            (has(Traits::DELETED), Rare::Deleted),
            (has(Traits::LD_SO), Rare::LdSo),
            (!(event.partial - OF_ENVIRONMENT).is_empty() || event.truncated(), Rare::Partial),
            (self.is_elsewhere(event), Rare::Folder),
            (self.is_listed(event), Rare::Program),
            (is_agents, Rare::Agent),
            (event.mnt_ns != root.mnt_ns, Rare::Namespace),
            (is_new, Rare::New),
        ]
        .into_iter()
        .find_map(|(is, rare)| is.then_some(rare))
    }

    fn is_elsewhere(&self, event: &Event) -> bool {
        let is_usual = |path: &[u8]| self.folders.iter().any(|folder| folder.matches(path));
        !is_usual(&event.exe) || event.interpreter.is_some() && !is_usual(&file(event))
    }

    fn is_listed(&self, event: &Event) -> bool {
        let mut argv = event.argv.iter();
        let (first, second) = (argv.next().unwrap_or_default(), argv.next().unwrap_or_default());
        let is_multi_call = MULTI_CALL.contains(&name(&event.exe));
        let names = [Some(event.exe.as_slice()), Some(&event.filename), Some(first), is_multi_call.then_some(second)];
        names.into_iter().flatten().any(|path| self.programs.iter().any(|program| program.matches(path)))
    }
}

/// The path that was asked for, from the root on and without `.` and `..`, as far as that can be told without looking.
fn file(event: &Event) -> Vec<u8> {
    let whole = match event.filename.first() {
        Some(b'/') => event.filename.clone(),
        _ => [event.cwd.as_slice(), b"/", &event.filename].concat(),
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/".as_slice(), &parts.join(&b'/')].concat()
}
