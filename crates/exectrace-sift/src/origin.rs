//! Who began it: the root of the session that an exec belongs to, and what kind of session that is.
//!
//! Found once, at the root, and inherited down the tree of processes. `docs/origin.md` says how sure each kind is.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use exectrace::{Event, ExecId, Running, ScopeId};
use serde::Deserialize;

use crate::config::OriginConfig;
use crate::lineage::Row;
use crate::pattern::{PatternError, PatternSet, WordsSet};

/// What began a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody at a terminal that nothing else is known of.
    Terminal,
    /// A login over SSH.
    Ssh,
    /// The server of an IDE, and terminals within it.
    Ide,
    /// A command that was put into the container from outside: `kubectl exec`, a probe.
    Exec,
    /// A clock: cron, at.
    Cron,
    /// A manager of services.
    Service,
    /// The container's first process.
    Container,
    /// An AI coding agent.
    Agent,
    /// Nothing of it is known.
    Unknown,
}

impl Kind {
    /// All names, for who asks for one.
    pub const NAMES: &str = "terminal, ssh, ide, exec, cron, service, container, agent or unknown";

    const ALL: [Kind; 9] = [
        Kind::Terminal,
        Kind::Ssh,
        Kind::Ide,
        Kind::Exec,
        Kind::Cron,
        Kind::Service,
        Kind::Container,
        Kind::Agent,
        Kind::Unknown,
    ];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Terminal => "terminal",
            Kind::Ssh => "ssh",
            Kind::Ide => "ide",
            Kind::Exec => "exec",
            Kind::Cron => "cron",
            Kind::Service => "service",
            Kind::Container => "container",
            Kind::Agent => "agent",
            Kind::Unknown => "unknown",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A session: the same for all that descends from its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What it is.
    pub kind: Kind,
    /// By which program it was known: `sshd`, `code-server`, `claude-code`.
    pub by: Option<Arc<str>>,
    /// The first exec of it; `None` if that was before the log.
    pub root: Option<ExecId>,
    /// The terminal that it has.
    pub tty: Option<Box<[u8]>>,
    /// Whose it is was known once and was forgotten: nothing below it is folded.
    pub is_lost: bool,
}

impl Session {
    fn begun(event: &Event, kind: Kind, by: Option<Arc<str>>) -> Session {
        let tty = event.tty.as_deref().map(Box::from);
        Session { kind, by, root: Some(event.id), tty, is_lost: false }
    }

    /// Whether a person can be at the other end of an exec in it: it has a terminal, and as far as is known no agent is in
    /// between.
    pub fn is_interactive(&self, has_tty: bool) -> bool {
        has_tty && !matches!(self.kind, Kind::Agent | Kind::Unknown)
    }
}

/// A program that begins sessions, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starter {
    /// What it is called in the log.
    pub name: String,
    /// Globs of its file, and of the script's path where it is one; without a slash: of the name.
    #[serde(default)]
    pub exe: Vec<String>,
    /// Globs of its arguments, joined by spaces.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Variables, `NAME` or `NAME=VALUE`, by which it is known in shells that it starts; of agents only.
    #[serde(default)]
    pub env: Vec<String>,
}

/// Variables of agents, with the agents' names, in the order in which the kernel program is told them.
pub fn markers(config: &OriginConfig) -> impl Iterator<Item = (&str, &str)> {
    config.agent.iter().flat_map(|agent| agent.env.iter().map(|marker| (agent.name.as_str(), marker.as_str())))
}

/// Names that runtimes of containers have while they enter one.
const RUNTIMES: [&[u8]; 3] = [b"runc:[", b"crun", b"youki"];
/// Containers that are remembered, so that what enters one later is told from its first process.
const MAX_CONTAINERS: usize = 4_096;

/// Programs by which sessions are known.
#[derive(Debug)]
pub(crate) struct Starters {
    /// What each is, in the order of the configuration.
    all: Vec<(Kind, Arc<str>)>,
    paths: PatternSet,
    /// Whose each pattern is, by its number.
    of_paths: Vec<usize>,
    words: WordsSet,
    of_words: Vec<usize>,
    /// Whose the markers in an environment are, in the order in which the kernel program was told them.
    markers: Vec<Arc<str>>,
}

/// What something is, by its files and arguments: of each kind the first that it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Vec<(Kind, Arc<str>)>);

impl Known {
    fn of(&self, kind: Kind) -> Option<Arc<str>> {
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, name)| Arc::clone(name))
    }

    /// What a session is that this begins by executing something else.
    pub(crate) fn begins(&self) -> Option<(Kind, Arc<str>)> {
        [Kind::Ssh, Kind::Cron, Kind::Service].into_iter().find_map(|kind| Some((kind, self.of(kind)?)))
    }
}

/// Bytes of a command line that are looked at for what a program is.
pub(crate) const WORDS: usize = 1_024;
/// Files of which is remembered whose they are.
const MAX_FILES: usize = 4_096;

impl Starters {
    /// Those of a configuration.
    pub(crate) fn new(config: &OriginConfig) -> Result<Starters, PatternError> {
        let OriginConfig { agent, ide, ssh, cron, service, .. } = config;
        let kinds =
            [(Kind::Agent, agent), (Kind::Ide, ide), (Kind::Ssh, ssh), (Kind::Cron, cron), (Kind::Service, service)];
        let all = || kinds.iter().flat_map(|(kind, starters)| starters.iter().map(move |starter| (*kind, starter)));
        fn numbered<'a>(
            all: impl Iterator<Item = &'a Starter>,
            globs: impl Fn(&'a Starter) -> &'a [String],
        ) -> (Vec<usize>, Vec<&'a str>) {
            let of = |(number, starter)| globs(starter).iter().map(move |glob| (number, glob.as_str()));
            all.enumerate().flat_map(of).unzip()
        }
        let (of_paths, paths) = numbered(all().map(|(_, starter)| starter), |starter| &starter.exe);
        let (of_words, words) = numbered(all().map(|(_, starter)| starter), |starter| &starter.argv);
        Ok(Starters {
            all: all().map(|(kind, starter)| (kind, Arc::from(starter.name.as_str()))).collect(),
            paths: PatternSet::paths(paths)?,
            of_paths,
            words: WordsSet::new(words)?,
            of_words,
            markers: markers(config).map(|(name, _)| Arc::from(name)).collect(),
        })
    }

    /// Which of them something is, by its paths and arguments.
    pub(crate) fn find(&self, paths: &[&[u8]], argv: &[u8]) -> Known {
        self.known(self.by_paths(paths), argv)
    }

    /// Those whose files these are.
    fn by_paths(&self, paths: &[&[u8]]) -> Vec<usize> {
        paths.iter().flat_map(|path| self.paths.matches(path)).map(|at| self.of_paths[at]).collect()
    }

    fn known(&self, mut found: Vec<usize>, argv: &[u8]) -> Known {
        found.extend(self.words.matches(&argv[..argv.len().min(WORDS)]).map(|at| self.of_words[at]));
        found.sort_unstable();
        Known(found.into_iter().map(|at| self.all[at].clone()).collect())
    }

    /// Whether a file is one of them, as far as its path tells.
    pub(crate) fn may_be(&self, path: &[u8]) -> bool {
        self.paths.is_match(path)
    }
}

/// Finds sessions.
#[derive(Debug)]
pub(crate) struct Origins {
    starters: Arc<Starters>,
    /// Whose files are, by a hash of their paths with keys that nobody can know.
    files: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    /// Containers, or PID namespaces, in which something ran already.
    entered: HashSet<(ScopeId, Vec<u8>)>,
    running: Vec<Running>,
}

impl Origins {
    pub(crate) fn new(starters: Arc<Starters>) -> Origins {
        let (files, hasher) = (HashMap::new(), RandomState::new());
        Origins { starters, files, hasher, entered: HashSet::new(), running: Vec::new() }
    }

    /// What an exec is known for; `argv` is the beginning of its arguments, joined by spaces.
    pub(crate) fn known(&mut self, event: &Event, argv: &[u8]) -> Known {
        let paths = [event.exe.as_slice(), &event.filename];
        let hash = self.hasher.hash_one(paths);
        if self.files.len() >= MAX_FILES && !self.files.contains_key(&hash) {
            self.files.clear();
        }
        let found = self.files.entry(hash).or_insert_with(|| self.starters.by_paths(&paths));
        self.starters.known(found.clone(), argv)
    }

    /// Something ran already when the log began.
    pub(crate) fn ran(&mut self, running: &Running) {
        self.running.push(running.clone());
    }

    /// The session of an exec that is `known` by what it looks like.
    pub(crate) fn session(&mut self, event: &Event, known: &Known, parent: Option<&Row>) -> Arc<Session> {
        if let Some(Row { session, .. }) = parent.filter(|parent| parent.session.kind == Kind::Agent) {
            return Arc::clone(session);
        }
        let begin = |kind, by: Option<Arc<str>>| Arc::new(Session::begun(event, kind, by));
        let marked = event.env_marker.and_then(|at| self.starters.markers.get(usize::try_from(at).ok()?).cloned());
        if let Some(agent) = known.of(Kind::Agent).or(marked) {
            return begin(Kind::Agent, Some(agent));
        }
        let Some(parent) = parent else {
            let is_first = self.enter(event);
            return Arc::new(self.without_parent(event, known, is_first));
        };
        if parent.session.kind != Kind::Ide
            && let Some(ide) = known.of(Kind::Ide)
        {
            return begin(Kind::Ide, Some(ide));
        }
        // A server that executes itself anew for a login is the server still.
        let own = known.begins().map(|(kind, _)| kind);
        if let Some((kind, by)) = parent.begins.clone().filter(|(kind, _)| own != Some(*kind)) {
            return begin(kind, Some(by));
        }
        let is_new_terminal = event.tty.is_some() && event.tty.as_deref() != parent.session.tty.as_deref();
        match parent.session.kind {
            _ if !is_new_terminal || parent.session.is_lost => Arc::clone(&parent.session),
            kind @ (Kind::Ide | Kind::Ssh | Kind::Exec) => begin(kind, parent.session.by.clone()),
            _ => begin(Kind::Terminal, None),
        }
    }

    /// Of a process of which nothing was logged before, or nothing is known any more.
    fn without_parent(&self, event: &Event, known: &Known, is_first: bool) -> Session {
        let ide = known.of(Kind::Ide);
        if event.parent_id.is_some() {
            let kind = if ide.is_some() { Kind::Ide } else { Kind::Unknown };
            return Session { is_lost: true, ..Session::begun(event, kind, ide) };
        }
        if ide.is_some() {
            return Session::begun(event, Kind::Ide, ide);
        }
        if let Some((kind, by)) = self.kind_from_before(event) {
            return Session { root: None, ..Session::begun(event, kind, by) };
        }
        let is_entry = RUNTIMES.iter().any(|name| event.comm.starts_with(name));
        // A runtime's own process, which becomes the container's first one, is that container's; one that enters a container
        // which is there comes from outside.
        let kind = if event.ns_level > 0 && event.vpid == 1 || is_first && event.container.is_some() && !is_entry {
            Kind::Container
        } else if is_entry {
            Kind::Exec
        } else {
            kind_by_terminal(event)
        };
        Session::begun(event, kind, None)
    }

    /// By what ran before the log began; `None` if nothing of that led to it.
    fn kind_from_before(&self, event: &Event) -> Option<(Kind, Option<Arc<str>>)> {
        let mut line = self.line(event).peekable();
        line.peek()?;
        let known = line.find_map(|running| {
            let words = running.argv.iter().collect::<Vec<_>>().join(&b' ');
            let known = self.starters.find(&[&running.exe], &words);
            known.0.into_iter().next().map(|(kind, name)| (kind, Some(name)))
        });
        Some(known.unwrap_or_else(|| (kind_by_terminal(event), None)))
    }

    /// Processes from before the log up the line: of the parent, otherwise of the session's leader.
    fn line(&self, event: &Event) -> impl Iterator<Item = &Running> {
        let of = |pid: u32| self.running.iter().find(move |running| running.pid == pid);
        let mut next = of(event.ppid).or_else(|| of(event.sid));
        // Each is there once, so that a line has no more; numbers that were given anew could make it a circle.
        (0..self.running.len()).map_while(move |_| {
            let running = next?;
            next = of(running.ppid);
            Some(running)
        })
    }

    /// Whether it is the first one of its container.
    fn enter(&mut self, event: &Event) -> bool {
        if self.entered.len() >= MAX_CONTAINERS {
            return false;
        }
        let container = event.container.clone().unwrap_or_else(|| event.pid_ns.to_ne_bytes().to_vec());
        self.entered.insert((event.scope, container))
    }
}

fn kind_by_terminal(event: &Event) -> Kind {
    if event.tty.is_some() { Kind::Terminal } else { Kind::Unknown }
}
