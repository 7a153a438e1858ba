//! What to trace. A scope is resolved here, once, and becomes a row of a map in `tracer`.
//!
//! A scope holds what it names open for as long as it lives: the kernel hands the number of a PID namespace to the next
//! one as soon as nobody holds it.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::cgroup;
use crate::pod::{Pod, PodError};
use crate::procfs::{Procfs, Search};

/// Number of a scope; every event carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeId(NonZeroU32);

impl ScopeId {
    /// The number that a tracer's first scope gets.
    pub const FIRST: ScopeId = ScopeId(NonZeroU32::MIN);

    pub(crate) fn new(number: u32) -> Option<ScopeId> {
        NonZeroU32::new(number).map(ScopeId)
    }

    /// The number itself, 1 or more.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for ScopeId {
    type Error = std::num::TryFromIntError;

    fn try_from(number: u32) -> Result<ScopeId, Self::Error> {
        NonZeroU32::try_from(number).map(ScopeId)
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of processes whose execs are traced.
///
/// Where scopes overlap, an exec belongs to one: to the process tree before the pod before the PID namespace before the
/// cgroup before the node, and to the innermost of a kind.
#[derive(Debug)]
pub enum Scope {
    /// A PID namespace and all namespaces below it.
    PidNamespace(PidNamespace),
    /// A cgroup of the unified hierarchy and all cgroups below it.
    Cgroup(Cgroup),
    /// A process and all its descendants; not to be left by `setsid`, a double fork or the death of a parent.
    Tree(Tree),
    /// The pod in which the calling process itself is, but for the container that it is in.
    Pod(Pod),
    /// Every process of the node.
    Node,
    /// What the process that traces has itself started last: to see that it sees. It comes before all others, and there
    /// should be but one. Orphans that the process inherits are not its own.
    Children,
    /// What another tracer had traced as its next scope, before this one took over from it, and what cannot be named by
    /// itself any more; see [`crate::Tracer::known_scopes`].
    Pinned(Known),
}

/// What is known of a scope that another tracer had added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Any,
    /// It is the PID namespace that had this number.
    PidNamespace(u32),
    /// It is the tree below the process that had this number.
    Tree(u32),
    /// It is the cgroup that was opened by this path, which is not there any more.
    Cgroup(PathBuf),
}

/// What a scope is, for who takes over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) kind: u64,
    pub(crate) key: u64,
    /// What it was called, where the key is not what it is called by: a hash, 0 elsewhere.
    pub(crate) name: u64,
}

/// Numbers of processes are below this, `PID_MAX_LIMIT` of include/linux/threads.h.
const PID_BITS: u32 = 22;

impl Identity {
    /// Of a scope that there is no more.
    pub(crate) const NOBODY: Identity = Identity::new(0, 0);
    pub(crate) const CHILDREN: Identity = Identity::new(5, 0);

    const fn new(kind: u64, key: u64) -> Identity {
        Identity { kind, key, name: 0 }
    }

    fn of_pid_namespace(number: u32) -> Identity {
        Identity::new(1, u64::from(number))
    }

    fn of_cgroup(id: u64, path: &Path) -> Identity {
        Identity { kind: 2, key: id, name: name_of(path) }
    }

    fn of_tree(tree: &Tree) -> Identity {
        Identity::new(3, tree.start_ticks << PID_BITS | u64::from(tree.root))
    }

    /// Whether both are one scope, whatever they are called.
    pub(crate) fn is(self, other: Identity) -> bool {
        (self.kind, self.key) == (other.kind, other.key)
    }

    /// The number, if it is a PID namespace.
    pub(crate) fn pid_namespace(self) -> Option<u32> {
        u32::try_from(self.key).ok().filter(|number| self.is(Identity::of_pid_namespace(*number)))
    }

    /// Whether it can be a scope of which so much is known.
    pub(crate) fn fits(self, known: &Known) -> bool {
        match known {
            Known::Any => !self.is(Identity::CHILDREN),
            Known::PidNamespace(number) => self.is(Identity::of_pid_namespace(*number)),
            Known::Tree(root) => self.kind == 3 && self.key & ((1 << PID_BITS) - 1) == u64::from(*root),
            Known::Cgroup(path) => self.kind == 2 && self.name == name_of(path),
        }
    }
}

fn name_of(path: &Path) -> u64 {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte))
}

impl Scope {
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Scope::PidNamespace(namespace) => Identity::of_pid_namespace(namespace.number),
            Scope::Cgroup(cgroup) => Identity::of_cgroup(cgroup.id, &cgroup.path),
            Scope::Tree(tree) => Identity::of_tree(tree),
            Scope::Pod(pod) => Identity::new(6, pod.cgroup.id),
            Scope::Node => Identity::new(4, 0),
            Scope::Children => Identity::CHILDREN,
            Scope::Pinned(_) => Identity::NOBODY,
        }
    }

    /// Whether both name one namespace or cgroup.
    pub(crate) fn is_same_as(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::PidNamespace(own), Scope::PidNamespace(other)) => own.number == other.number,
            (Scope::Cgroup(own), Scope::Cgroup(other)) => own.id == other.id,
            _ => false,
        }
    }

    pub(crate) fn tree_root(&self) -> Option<u32> {
        match self {
            Scope::Tree(tree) => Some(tree.root),
            _ => None,
        }
    }
}

/// Why a scope cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// There is no such process, or `/proc` hides it.
    #[error("process {pid} cannot be found in {}", proc.display())]
    Process {
        /// The process asked for.
        pid: u32,
        /// Where it was looked for.
        proc: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The pids in this `/proc` are not those of the calling process's PID namespace.
    #[error("{} shows the processes of another PID namespace (mount -t proc proc /proc)", .0.display())]
    ForeignProc(PathBuf),
    /// No PID namespace can have this number.
    #[error("{0} is no PID namespace's number (readlink /proc/PID/ns/pid tells it)")]
    NoNamespaceNumber(u32),
    /// All processes of the node are visible here, and none lives in this namespace.
    #[error("no process of this node is in PID namespace {0}")]
    NoSuchNamespace(u32),
    /// The number is that of the initial namespace, which is the whole node.
    #[error("{0} is the node's own PID namespace: trace the whole node instead, if that is what you want")]
    InitialNamespace(u32),
    /// The pod of the calling process is not to be found.
    #[error(transparent)]
    Pod(#[from] PodError),
    /// The path is no cgroup of the unified hierarchy.
    #[error("{} is no cgroup v2 that can be traced: {why}", path.display())]
    NoCgroup {
        /// The path asked for.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Number of the initial PID namespace, `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
const INITIAL_PID_NS: u32 = 0xEFFF_FFFC;
/// Numbers of the other namespaces begin here, `PROC_DYNAMIC_FIRST` of fs/proc/generic.c.
const FIRST_DYNAMIC: u32 = 0xF000_0000;

/// The kernel program looks for scopes at these levels of cgroups; a task may be in a cgroup as deep as it likes.
const DEEPEST_CGROUP: u32 = 63;

/// A PID namespace, held open where it can be seen.
#[derive(Debug)]
pub struct PidNamespace {
    number: u32,
    held: Option<File>,
}

impl PidNamespace {
    /// The namespace in which `pid` lives, as `/proc` below `proc` shows it.
    pub fn of_process(proc: &Path, pid: u32) -> Result<PidNamespace, ScopeError> {
        let (held, number) = Procfs::new(proc).pid_namespace(pid).map_err(|source| ScopeError::Process {
            pid,
            proc: proc.to_owned(),
            source,
        })?;
        Ok(PidNamespace { number, held: Some(held) })
    }

    /// The namespace of the calling process, unless it is the initial one.
    pub fn own(proc: &Path) -> Result<PidNamespace, ScopeError> {
        let (held, number) = Procfs::new(proc).own_pid_namespace().map_err(|source| ScopeError::Process {
            pid: std::process::id(),
            proc: proc.to_owned(),
            source,
        })?;
        if number == INITIAL_PID_NS {
            return Err(ScopeError::InitialNamespace(number));
        }
        Ok(PidNamespace { number, held: Some(held) })
    }

    /// The namespace with this number.
    ///
    /// Where the caller lives in the initial PID namespace and may look at every process, the namespace is found and
    /// held, or refused. Elsewhere it may be out of sight; then [`Self::is_held`] is false, and the number may come to mean
    /// another namespace once this one is gone.
    pub fn by_number(proc: &Path, number: u32) -> Result<PidNamespace, ScopeError> {
        if number == INITIAL_PID_NS {
            return Err(ScopeError::InitialNamespace(number));
        }
        if number < FIRST_DYNAMIC {
            return Err(ScopeError::NoNamespaceNumber(number));
        }
        let procfs = Procfs::new(proc);
        let sees_all = || procfs.own_pid_namespace().is_ok_and(|(_, own)| own == INITIAL_PID_NS);
        match procfs.find_pid_namespace(number) {
            Search::Found(held) => Ok(PidNamespace { number, held: Some(held) }),
            Search::NotHere if sees_all() => Err(ScopeError::NoSuchNamespace(number)),
            Search::NotHere | Search::Unclear => Ok(PidNamespace { number, held: None }),
        }
    }

    /// The number, as in `readlink /proc/PID/ns/pid`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether the namespace is held open, so that its number cannot pass to another one.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// A cgroup of the unified hierarchy, held open.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) id: u64,
    /// Levels below the hierarchy's root; `None` where a cgroup namespace hides the root.
    pub(crate) level: Option<u32>,
    path: PathBuf,
    held: OwnedFd,
}

impl Cgroup {
    /// The cgroup whose folder is `path`.
    pub fn open(path: &Path) -> Result<Cgroup, ScopeError> {
        let found = cgroup::open(path)
            .map_err(|error| ScopeError::NoCgroup { path: path.to_owned(), why: error.to_string() })?;
        if found.level.is_some_and(|level| level > DEEPEST_CGROUP) {
            let why = format!("it lies more than {DEEPEST_CGROUP} levels below the root; trace one above it");
            return Err(ScopeError::NoCgroup { path: path.to_owned(), why });
        }
        Ok(Cgroup { id: found.id, level: found.level, path: path.to_owned(), held: found.folder })
    }

    pub(crate) fn folder(&self) -> &OwnedFd {
        &self.held
    }

    /// Whether the folder was removed: then there is no such cgroup any more.
    pub(crate) fn is_gone(&self) -> bool {
        let procs = statat(&self.held, "cgroup.procs", AtFlags::empty());
        matches!(procs, Err(Errno::NOENT | Errno::NODEV))
    }

    /// The cgroup's id, which is its folder's inode number.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// A process and its descendants.
#[derive(Debug)]
pub struct Tree {
    pub(crate) root: u32,
    /// When the root started, since boot; tells it from a later process. 0 where nobody asks.
    pub(crate) start_ticks: u64,
    /// Where the descendants that live already are found; `None`: there are none.
    pub(crate) proc: Option<PathBuf>,
}

impl Tree {
    /// The tree below `root`, a pid as `/proc` below `proc` shows it.
    pub fn of_process(proc: &Path, root: u32) -> Result<Tree, ScopeError> {
        Procfs::new(proc).process_exists(root).map_err(|source| ScopeError::Process {
            pid: root,
            proc: proc.to_owned(),
            source,
        })?;
        if !Procfs::new(proc).is_of_own_namespace() {
            return Err(ScopeError::ForeignProc(proc.to_owned()));
        }
        let start_ticks = Procfs::new(proc).status(root).map_or(0, |status| status.start_ticks);
        Ok(Tree { root, start_ticks, proc: Some(proc.to_owned()) })
    }

    /// The process at its root, as the proc file system numbers it.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// The calling process, and what it starts from now on.
    pub fn own() -> Tree {
        Tree { root: std::process::id(), start_ticks: 0, proc: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_namespace_can_have_is_refused() {
        for number in [0, 1, 4_026_531_000] {
            assert!(matches!(
                PidNamespace::by_number(Path::new("/proc"), number),
                Err(ScopeError::NoNamespaceNumber(refused)) if refused == number
            ));
        }
    }

    #[test]
    fn the_initial_namespace_is_not_to_be_had_by_its_number() {
        let result = PidNamespace::by_number(Path::new("/proc"), INITIAL_PID_NS);
        assert!(matches!(result, Err(ScopeError::InitialNamespace(_))));
    }

    #[test]
    fn the_own_namespace_is_held_unless_it_is_the_node_s() {
        match PidNamespace::own(Path::new("/proc")) {
            Ok(own) => assert!(own.is_held() && own.number() != INITIAL_PID_NS),
            Err(error) => assert!(matches!(error, ScopeError::InitialNamespace(INITIAL_PID_NS)), "{error}"),
        }
    }

    #[test]
    fn a_scope_that_is_gone_is_known_by_what_it_was_called() {
        let cgroup = Identity::of_cgroup(7, Path::new("/sys/fs/cgroup/a"));
        assert!(cgroup.fits(&Known::Cgroup("/sys/fs/cgroup/a".into())) && cgroup.fits(&Known::Any));
        assert!(!cgroup.fits(&Known::Cgroup("/sys/fs/cgroup/b".into())) && !cgroup.fits(&Known::PidNamespace(7)));
        assert!(cgroup.is(Identity::of_cgroup(7, Path::new("elsewhere"))), "one folder by two paths");
        let tree = Identity::of_tree(&Tree { root: 42, start_ticks: 1_000, proc: None });
        assert!(tree.fits(&Known::Tree(42)) && !tree.fits(&Known::Tree(41)));
        assert_eq!(Identity::of_pid_namespace(4_026_532_200).pid_namespace(), Some(4_026_532_200));
        assert_eq!(cgroup.pid_namespace(), None);
        assert!(!Identity::CHILDREN.fits(&Known::Any));
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = PidNamespace::of_process(Path::new("/proc"), u32::MAX).expect_err("no such process");
        assert!(error.to_string().contains("process 4294967295"), "{error}");
    }
}
