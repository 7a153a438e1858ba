//! Opens, configures, loads and attaches the kernel program; reads its ring; counts every loss.
//!
//! No parsing here: `record` decodes, `assemble` puts pieces together, `enrich` makes events. What can fail at the start
//! fails in [`TracerBuilder::open`] with advice; after that the loop only reads.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, OpenObject, ProgramMut, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};

use crate::assemble::{Assembler, Exec};
use crate::enrich::Enricher;
use crate::event::Event;
use crate::host;
use crate::loss::{Loss, LossLedger, LossReason};
use crate::procfs::Procfs;
use crate::record;
use crate::scope::{Scope, ScopeId};
use crate::skel::types::{self, exclude_key, scope_stats};
use crate::skel::{ExecSkel, ExecSkelBuilder, OpenExecSkel};

/// What a tracer hands out, in the order of the ring. Only an exec of which arguments got lost can come later than what
/// followed it: for up to two seconds its last arguments are waited for.
#[derive(Debug)]
pub enum Item {
    /// An exec.
    Exec(Box<Event>),
    /// Execs that are missing here.
    Lost(Loss),
}

/// Why there is no tracer, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// The kernel refuses for want of a capability.
    #[error("the kernel refuses BPF programs to this process: {0}")]
    NotPermitted(String),
    /// The kernel is too old or was built without what is needed.
    #[error("this kernel cannot run the tracer: {0}")]
    Unsupported(String),
    /// The program does not load or attach for another reason.
    #[error("{step} failed{log}")]
    Kernel {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: libbpf_rs::Error,
        /// What libbpf said about it, each line after a line break.
        log: String,
    },
    /// There are as many scopes as the tracer was opened for.
    #[error("no room for another scope: the tracer was opened for {0}")]
    TooManyScopes(u32),
    /// The tree has more processes than the tracer was opened for.
    #[error("no room for a tree of {processes} processes: the tracer was opened for {max}")]
    TooManyProcesses {
        /// Processes that live in the tree now.
        processes: usize,
        /// See [`TracerBuilder::max_processes`].
        max: u32,
    },
    /// An exclusion that cannot be told to the kernel.
    #[error("cannot exclude {}: {why}", what.display())]
    Exclusion {
        /// The path prefix.
        what: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A system call that is needed all the time fails.
    #[error("{what} failed")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Whether the second exec program is attached; see "Kernels that skip programs" in `docs/architecture.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backup {
    /// From kernel 7.0 on, where programs can be preempted.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
    /// Without the first program: only to test that the second one does its work.
    Alone,
}

/// Settings of a tracer. All of them are fixed once it is open, but for scopes.
#[derive(Debug, Clone)]
pub struct TracerBuilder {
    ring_bytes: u32,
    wakeup_bytes: u32,
    read_args_bytes: u32,
    max_args_bytes: u64,
    max_scopes: u32,
    max_processes: u32,
    backup: Backup,
    exclude_uids: Vec<u32>,
    exclude_paths: Vec<PathBuf>,
    proc: PathBuf,
}

impl Default for TracerBuilder {
    fn default() -> TracerBuilder {
        TracerBuilder {
            ring_bytes: 4 << 20,
            wakeup_bytes: 64 << 10,
            read_args_bytes: u32::MAX,
            max_args_bytes: u64::MAX,
            max_scopes: 256,
            max_processes: 32_768,
            backup: Backup::default(),
            exclude_uids: Vec::new(),
            exclude_paths: Vec::new(),
            proc: PathBuf::from("/proc"),
        }
    }
}

impl TracerBuilder {
    /// Size of the ring buffer, rounded up to a power of two of at least 128 KiB; default 4 MiB. A process's resident
    /// memory shows it twice, because it is mapped twice.
    pub fn ring_bytes(mut self, bytes: u32) -> Self {
        self.ring_bytes = bytes.clamp(128 << 10, 1 << 30).next_power_of_two();
        self
    }

    /// Unread bytes at which the reader is woken before its timeout; default 64 KiB, 0: at every record, which costs each
    /// exec some 10 µs more.
    pub fn wakeup_bytes(mut self, bytes: u32) -> Self {
        self.wakeup_bytes = bytes;
        self
    }

    /// Argument bytes that the kernel copies of one exec at most; default all, up to the kernel's own limit of 6 MiB.
    pub fn read_args_bytes(mut self, bytes: u32) -> Self {
        self.read_args_bytes = bytes;
        self
    }

    /// Argument bytes that an event keeps; default all. Of what it does not keep it has a hash.
    pub fn max_args_bytes(mut self, bytes: u64) -> Self {
        self.max_args_bytes = bytes;
        self
    }

    /// How many scopes the tracer can hold at a time; default 256. Each takes 160 bytes per CPU.
    pub fn max_scopes(mut self, scopes: u32) -> Self {
        self.max_scopes = scopes.clamp(1, 1 << 20);
        self
    }

    /// How many processes of all scopes can live at a time before parents and tree membership get lost (counted);
    /// default 32,768. Each takes about 110 bytes of the kernel's memory.
    pub fn max_processes(mut self, processes: u32) -> Self {
        self.max_processes = processes.clamp(16, 1 << 22);
        self
    }

    /// Whether the second exec program is attached.
    pub fn backup(mut self, backup: Backup) -> Self {
        self.backup = backup;
        self
    }

    /// Leaves out, but counts, the execs of a real user, told as the node sees it.
    pub fn exclude_uid(mut self, uid: u32) -> Self {
        self.exclude_uids.push(uid);
        self
    }

    /// Leaves out, but counts, the execs of files whose path begins so. At most 256 bytes; end it with a `/` to mean a
    /// folder. The path is the one that the process sees: a workspace's root can mount what it likes there.
    pub fn exclude_path(mut self, prefix: impl Into<PathBuf>) -> Self {
        self.exclude_paths.push(prefix.into());
        self
    }

    /// Where the proc file system is; default `/proc`.
    pub fn proc(mut self, proc: impl Into<PathBuf>) -> Self {
        self.proc = proc.into();
        self
    }

    /// Loads and attaches the kernel program. It traces nothing until a scope is added.
    pub fn open(self) -> Result<Tracer, TracerError> {
        Tracer::open(self)
    }
}

/// The kernel program, loaded and attached, and the reader of its ring.
pub struct Tracer {
    // Detached before the scopes let their namespaces go: drop order is this order.
    skel: ExecSkel<'static>,
    ring: RingBuffer<'static>,
    inbox: Arc<Mutex<Inbox>>,
    enricher: Enricher,
    scopes: BTreeMap<ScopeId, Scope>,
    next_scope: u32,
    settings: TracerBuilder,
    round: u64,
    next_count: Instant,
    missed: BTreeMap<ScopeId, u64>,
}

/// What happened to the execs of one scope, summed over CPUs. `seen` is the sum of `sent`, both kinds of excluded and
/// `lost_ring_full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeStats {
    /// Execs in the scope.
    pub seen: u64,
    /// Execs of which a record went to the ring.
    pub sent: u64,
    /// Execs left out for their user.
    pub excluded_uid: u64,
    /// Execs left out for their path.
    pub excluded_path: u64,
    /// Execs of which nothing was sent, because the ring was full.
    pub lost_ring_full: u64,
    /// Execs whose arguments were cut, because the ring was full.
    pub args_ring_full: u64,
    /// Execs whose arguments could not be read.
    pub args_fault: u64,
    /// Execs and forks for which the table of processes had no room.
    pub process_table_full: u64,
    /// Execs that no program saw, because the kernel skipped it. Found out when the process forks, execs or ends, so a
    /// process that still lives can hide one; [`Tracer::skipped`] is a bound.
    pub missed: u64,
}

/// Records read at a time before events are handed out; bounds what waits in memory.
const BATCH: usize = 256;
/// How often the kernel's counters are read. A finished exec whose last piece is missing waits two of these.
const COUNT_EVERY: Duration = Duration::from_secs(1);

impl Tracer {
    /// Settings to open a tracer with.
    pub fn builder() -> TracerBuilder {
        TracerBuilder::default()
    }

    fn open(settings: TracerBuilder) -> Result<Tracer, TracerError> {
        let procfs = Procfs::new(&settings.proc);
        let boot_id = procfs.boot_id().map_err(|source| TracerError::System { what: "reading the boot id", source })?;
        let boot =
            Enricher::boot_of(&boot_id).ok_or_else(|| TracerError::Unsupported(format!("boot id {boot_id:?}")))?;
        let log = LoadLog::capture();
        let mut skel = load(&settings, &log)?;
        if let Some(index) = &mut skel.maps.bss_data {
            index.scope_index.claim_pid_ns = procfs
                .own_pid_namespace()
                .map_err(|source| TracerError::System { what: "finding the own PID namespace", source })?
                .1;
        }
        exclude(&mut skel, &settings)?;
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let ring = ring(&skel, &inbox).map_err(|source| log.failure("opening the ring buffer", source))?;
        attach(&mut skel, settings.backup, &log)?;
        Ok(Tracer {
            skel,
            ring,
            inbox,
            enricher: Enricher { boot, max_args_bytes: settings.max_args_bytes },
            scopes: BTreeMap::new(),
            next_scope: 1,
            settings,
            round: 0,
            next_count: Instant::now() + COUNT_EVERY,
            missed: BTreeMap::new(),
        })
    }

    /// Traces one more scope from now on and returns its number.
    pub fn add_scope(&mut self, scope: Scope) -> Result<ScopeId, TracerError> {
        let id = self.free_scope_id()?;
        let value = id.get().to_ne_bytes();
        let update = |map: &dyn MapCore, key: &[u8]| {
            map.update(key, &value, MapFlags::ANY).map_err(|source| TracerError::Kernel {
                step: "adding a scope",
                source,
                log: String::new(),
            })
        };
        match &scope {
            Scope::PidNamespace(namespace) => {
                update(&self.skel.maps.pid_ns_scopes, &namespace.number().to_ne_bytes())?;
            }
            Scope::Cgroup(cgroup) => update(&self.skel.maps.cgroup_scopes, &cgroup.id.to_ne_bytes())?,
            Scope::Tree(tree) => return self.add_tree(id, tree.root, tree.proc.clone(), scope),
            Scope::Node => {}
        }
        self.scopes.insert(id, scope);
        self.write_index();
        Ok(id)
    }

    /// Claims the members of a tree until no more of them turn up: what a member forks from now on follows by itself,
    /// what was forked before must be found.
    fn add_tree(
        &mut self,
        id: ScopeId,
        root: u32,
        proc: Option<PathBuf>,
        scope: Scope,
    ) -> Result<ScopeId, TracerError> {
        // A tree within this one keeps its members.
        let inner: HashSet<u32> =
            self.scopes.values().filter_map(Scope::tree_root).filter(|other| *other != root).collect();
        self.scopes.insert(id, scope);
        let mut claimed = HashSet::new();
        let mut news = vec![root];
        while !news.is_empty() {
            for pid in news {
                let value = id.get().to_ne_bytes();
                if self.skel.maps.tree_claims.update(&pid.to_ne_bytes(), &value, MapFlags::ANY).is_err() {
                    self.remove_scope(id);
                    let processes = claimed.len() + 1;
                    return Err(TracerError::TooManyProcesses { processes, max: self.settings.max_processes });
                }
                claimed.insert(pid);
            }
            self.write_index();
            let living = proc.as_ref().map(|proc| Procfs::new(proc).descendants(root, &inner)).unwrap_or_default();
            news = living.into_iter().filter(|pid| !claimed.contains(pid)).collect();
        }
        Ok(id)
    }

    /// Stops tracing a scope. What was sent before still comes.
    pub fn remove_scope(&mut self, id: ScopeId) {
        let Some(scope) = self.scopes.remove(&id) else { return };
        // A scope that names the same namespace or cgroup takes the row over, the last one first.
        let heir = self.scopes.iter().rev().find(|(_, other)| other.is_same_as(&scope)).map(|(id, _)| *id);
        let maps = &self.skel.maps;
        let release = |map: &dyn MapCore, key: &[u8]| match heir {
            Some(heir) => map.update(key, &heir.get().to_ne_bytes(), MapFlags::ANY),
            None => map.delete(key),
        };
        let released = match &scope {
            Scope::PidNamespace(namespace) => release(&maps.pid_ns_scopes, &namespace.number().to_ne_bytes()),
            Scope::Cgroup(cgroup) => release(&maps.cgroup_scopes, &cgroup.id.to_ne_bytes()),
            Scope::Tree(_) => self.disband_tree(id),
            Scope::Node => Ok(()),
        };
        // What can fail here is a row that is not there, which is what is wanted.
        drop(released);
        self.write_index();
    }

    /// Takes the members' rows away. A member that forks meanwhile passes the tree on, so this goes on until none is left.
    fn disband_tree(&self, id: ScopeId) -> libbpf_rs::Result<()> {
        let maps = &self.skel.maps;
        let tree_at = offset_of!(types::process, tree);
        loop {
            let claims = rows_of(&maps.tree_claims, 0, id)?;
            let members = rows_of(&maps.processes, tree_at, id)?;
            if claims.is_empty() && members.is_empty() {
                return Ok(());
            }
            let delete = |map: &dyn MapCore, keys: &[Vec<u8>]| {
                // A row that is gone already is what is wanted.
                keys.iter().for_each(|key| drop(map.delete(key)));
            };
            delete(&maps.tree_claims, &claims);
            delete(&maps.processes, &members);
        }
    }

    fn free_scope_id(&mut self) -> Result<ScopeId, TracerError> {
        let max = self.settings.max_scopes;
        // A number is used once, so that the stats of one scope never become another's.
        let id = ScopeId::new(self.next_scope).filter(|id| id.get() <= max).ok_or(TracerError::TooManyScopes(max))?;
        self.next_scope += 1;
        Ok(id)
    }

    fn write_index(&mut self) {
        let count = |kind: fn(&Scope) -> bool| {
            u32::try_from(self.scopes.values().filter(|scope| kind(scope)).count()).unwrap_or(u32::MAX)
        };
        let claims = u32::try_from(self.skel.maps.tree_claims.keys().count()).unwrap_or(u32::MAX);
        let all = self.scopes.iter().find(|(_, scope)| matches!(scope, Scope::Node)).map_or(0, |(id, _)| id.get());
        let pid_namespaces = count(|scope| matches!(scope, Scope::PidNamespace(_)));
        let trees = count(|scope| matches!(scope, Scope::Tree(_)));
        let cgroup_levels = self.scopes.values().fold(0, |levels, scope| match scope {
            Scope::Cgroup(cgroup) => levels | cgroup.level.map_or(u64::MAX, |level| 1 << level.min(63)),
            _ => levels,
        });
        if let Some(bss) = &mut self.skel.maps.bss_data {
            bss.scope_index.claims = claims;
            bss.scope_index.trees = trees;
            bss.scope_index.pid_namespaces = pid_namespaces;
            bss.scope_index.cgroup_levels = cgroup_levels;
            bss.scope_index.all = all;
        }
    }

    /// Waits for records, at most for `timeout`, and hands out what came. Without a wakeup by much data, what is there
    /// comes when the time is over; so the timeout is how late an event can be. Some 100 ms are usual.
    pub fn poll(&mut self, timeout: Duration, mut on_item: impl FnMut(Item)) -> Result<(), TracerError> {
        self.wait(timeout)?;
        self.consume(&mut on_item)?;
        if Instant::now() >= self.next_count {
            self.count(&mut on_item)?;
        }
        Ok(())
    }

    /// Hands out all that is in the ring, with the losses that the kernel has counted.
    pub fn drain(&mut self, mut on_item: impl FnMut(Item)) -> Result<(), TracerError> {
        self.consume(&mut on_item)?;
        self.round += 2;
        self.count(&mut on_item)
    }

    /// Detaches the programs: nothing that happens from now on is seen. What was seen waits in the ring.
    pub fn detach(&mut self) {
        self.skel.links = Default::default();
        wait_for_running_programs();
    }

    /// Detaches the programs, then drains.
    pub fn stop(mut self, on_item: impl FnMut(Item)) -> Result<(), TracerError> {
        self.detach();
        self.drain(on_item)
    }

    /// The scopes that are traced, by number.
    pub fn scopes(&self) -> impl Iterator<Item = (ScopeId, &Scope)> {
        self.scopes.iter().map(|(id, scope)| (*id, scope))
    }

    /// What happened to the execs of a scope.
    pub fn stats(&self, scope: ScopeId) -> Result<ScopeStats, TracerError> {
        let (mut sum, mut missed) = (ScopeStats::default(), 0);
        for (_, stats) in self.raw_stats(scope)? {
            sum.seen += stats.seen;
            sum.sent += stats.sent;
            sum.excluded_uid += stats.excluded_uid;
            sum.excluded_path += stats.excluded_path;
            sum.lost_ring_full += stats.lost_ring_full;
            sum.args_ring_full += stats.args_ring_full;
            sum.args_fault += stats.args_fault;
            sum.process_table_full += stats.process_table_full;
            missed += stats.missed;
        }
        sum.missed = missed.min(self.skipped()?);
        Ok(sum)
    }

    /// How often the kernel skipped a program of ours that nothing stands in for, on the whole node: the most that the
    /// `missed` of all scopes can come to.
    pub fn skipped(&self) -> Result<u64, TracerError> {
        let links = &self.skel.links;
        let program =
            if links.exec_backup.is_some() { &self.skel.progs.exec_backup } else { &self.skel.progs.exec_first };
        recursion_misses(program)
    }

    fn epoll(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring lives as long as the borrow, and closes its epoll descriptor only when it goes.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }

    fn wait(&self, timeout: Duration) -> Result<(), TracerError> {
        let epoll = self.epoll();
        let timeout = Timespec::try_from(timeout).ok();
        match rustix::event::poll(&mut [PollFd::new(&epoll, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(source) => Err(TracerError::System { what: "waiting for records", source: source.into() }),
        }
    }

    fn consume(&mut self, on_item: &mut impl FnMut(Item)) -> Result<(), TracerError> {
        let boot_time = boot_time();
        loop {
            lock(&self.inbox).round = self.round;
            let taken = self.ring.consume_raw_n(BATCH);
            if taken < 0 {
                let source = std::io::Error::from_raw_os_error(-taken);
                return Err(TracerError::System { what: "reading the ring buffer", source });
            }
            self.hand_out(boot_time, on_item);
            if taken == 0 {
                return Ok(());
            }
        }
    }

    fn hand_out(&self, boot_time: SystemTime, on_item: &mut impl FnMut(Item)) {
        loop {
            // Not held while the caller works with the item.
            let arrived = lock(&self.inbox).arrivals.pop_front();
            match arrived {
                Some(Arrival::Exec(exec)) => on_item(Item::Exec(Box::new(self.enricher.event(*exec, boot_time)))),
                Some(Arrival::Lost(loss)) => on_item(Item::Lost(loss)),
                None => return,
            }
        }
    }

    fn count(&mut self, on_item: &mut impl FnMut(Item)) -> Result<(), TracerError> {
        self.next_count = Instant::now() + COUNT_EVERY;
        self.round += 1;
        lock(&self.inbox).expire(self.round.saturating_sub(1));
        self.hand_out(boot_time(), on_item);
        let scopes: Vec<ScopeId> = self.scopes.keys().copied().collect();
        for scope in scopes {
            let mut lost = 0;
            for (hook, stats) in self.raw_stats(scope)? {
                let cpu = u32::try_from(stats.cpu).unwrap_or(u32::MAX);
                lost += lock(&self.inbox).ledger.on_counter((scope, hook, cpu), stats.lost_ring_full);
            }
            let missed = self.stats(scope)?.missed;
            let known = std::mem::replace(self.missed.entry(scope).or_default(), missed);
            for (reason, count) in
                [(LossReason::RingFull, lost), (LossReason::ProgramSkipped, missed.saturating_sub(known))]
            {
                if count > 0 {
                    on_item(Item::Lost(Loss { scope: Some(scope), reason, count }));
                }
            }
        }
        let forks_missed = recursion_misses(&self.skel.progs.process_fork)? > 0;
        if let (true, Some(bss)) = (forks_missed, &mut self.skel.maps.bss_data) {
            bss.scope_index.forks_missed = 1;
        }
        Ok(())
    }

    /// The counters of a scope by hook, one row for each CPU that counted something.
    fn raw_stats(&self, scope: ScopeId) -> Result<Vec<(u32, scope_stats)>, TracerError> {
        let failed = |source| TracerError::Kernel { step: "reading the counters", source, log: String::new() };
        let mut rows = Vec::new();
        for hook in 0..types::hook::HOOK_COUNT.0 {
            let row = scope.get() * types::hook::HOOK_COUNT.0 + hook;
            let values = self.skel.maps.stats.lookup_percpu(&row.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
            let counted = values.unwrap_or_default().into_iter().map(|value| stats_from(&value));
            let counted = counted.filter(|stats| stats.seen + stats.process_table_full + stats.missed > 0);
            rows.extend(counted.map(|stats| (hook, stats)));
        }
        Ok(rows)
    }
}

/// Readable when the kernel wakes the reader, for programs that wait for other things too; see [`Tracer::poll`].
impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll()
    }
}

/// Between the ring's callback and the loop that hands out.
#[derive(Default)]
struct Inbox {
    assembler: Assembler,
    ledger: LossLedger,
    arrivals: VecDeque<Arrival>,
    round: u64,
}

enum Arrival {
    Exec(Box<Exec>),
    Lost(Loss),
}

impl Inbox {
    fn push(&mut self, bytes: &[u8]) {
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(_) => return self.lose(None, LossReason::Undecodable, 1),
        };
        let head = *record.head();
        let stream = ScopeId::new(head.scope).map(|scope| (scope, head.hook.0, head.cpu));
        let assembled = self.assembler.push(&record, self.round);
        if let Some(cut) = assembled.cut {
            self.give(cut);
        }
        let lost = stream.map_or(0, |stream| self.ledger.on_record(stream, head.seq));
        if lost > 0 {
            self.lose(ScopeId::new(head.scope), LossReason::RingFull, lost);
        }
        if let Some(whole) = assembled.whole {
            self.give(whole);
        }
    }

    fn give(&mut self, exec: Exec) {
        let head = exec.fixed.head;
        if let (true, Some(scope)) = (exec.args_lost, ScopeId::new(head.scope)) {
            self.ledger.on_cut((scope, head.hook.0, head.cpu));
        }
        self.arrivals.push_back(Arrival::Exec(Box::new(exec)));
    }

    fn expire(&mut self, before: u64) {
        let expired: Vec<Exec> = self.assembler.expire(before).collect();
        for exec in expired {
            self.give(exec);
        }
    }

    fn lose(&mut self, scope: Option<ScopeId>, reason: LossReason, count: u64) {
        self.arrivals.push_back(Arrival::Lost(Loss { scope, reason, count }));
    }
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(settings: &TracerBuilder, log: &LoadLog) -> Result<ExecSkel<'static>, TracerError> {
    // The skeleton borrows where its object lives; one pointer per tracer is what it costs not to borrow from ourselves.
    let place: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open =
        ExecSkelBuilder::default().open(place).map_err(|source| log.failure("opening the kernel program", source))?;
    configure(&mut open, settings).map_err(|source| log.failure("configuring the kernel program", source))?;
    open.load().map_err(|source| log.failure("loading the kernel program", source))
}

fn configure(open: &mut OpenExecSkel<'_>, settings: &TracerBuilder) -> libbpf_rs::Result<()> {
    let backup = with_backup(settings.backup);
    if let Some(rodata) = &mut open.maps.rodata_data {
        rodata.settings.args_limit = settings.read_args_bytes;
        rodata.settings.wakeup_bytes = settings.wakeup_bytes;
    }
    open.progs.exec_backup.set_autoload(backup);
    open.progs.exec_first.set_autoload(settings.backup != Backup::Alone);
    open.maps.records.set_max_entries(settings.ring_bytes)?;
    open.maps.stats.set_max_entries((settings.max_scopes + 1) * types::hook::HOOK_COUNT.0)?;
    open.maps.pid_ns_scopes.set_max_entries(settings.max_scopes)?;
    open.maps.cgroup_scopes.set_max_entries(settings.max_scopes)?;
    open.maps.processes.set_max_entries(settings.max_processes)?;
    open.maps.tree_claims.set_max_entries(settings.max_processes)
}

fn with_backup(backup: Backup) -> bool {
    match backup {
        Backup::Auto => host::kernel_version().is_some_and(|version| version >= (7, 0)),
        Backup::On | Backup::Alone => true,
        Backup::Off => false,
    }
}

fn attach(skel: &mut ExecSkel<'static>, backup: Backup, log: &LoadLog) -> Result<(), TracerError> {
    let attach = |program: &ProgramMut<'_>| {
        program.attach().map(Some).map_err(|source| log.failure("attaching the kernel program", source))
    };
    // The table of processes stands before the first exec asks for it.
    skel.links.process_exit = attach(&skel.progs.process_exit)?;
    skel.links.process_fork = attach(&skel.progs.process_fork)?;
    skel.links.caller_comm = attach(&skel.progs.caller_comm)?;
    if backup != Backup::Alone {
        skel.links.exec_first = attach(&skel.progs.exec_first)?;
    }
    if with_backup(backup) {
        skel.links.exec_backup = attach(&skel.progs.exec_backup)?;
    }
    Ok(())
}

fn exclude(skel: &mut ExecSkel<'static>, settings: &TracerBuilder) -> Result<(), TracerError> {
    let failed =
        |source| TracerError::Kernel { step: "telling the kernel what to exclude", source, log: String::new() };
    for uid in &settings.exclude_uids {
        skel.maps.excluded_uids.update(&uid.to_ne_bytes(), &[1], MapFlags::ANY).map_err(failed)?;
    }
    for prefix in &settings.exclude_paths {
        let key = exclude_key(prefix)?;
        skel.maps.excluded_paths.update(&key, &[1], MapFlags::ANY).map_err(failed)?;
    }
    if let Some(bss) = &mut skel.maps.bss_data {
        bss.scope_index.excluded_uids = u32::try_from(settings.exclude_uids.len()).unwrap_or(u32::MAX);
        bss.scope_index.excluded_paths = u32::try_from(settings.exclude_paths.len()).unwrap_or(u32::MAX);
    }
    Ok(())
}

/// An LPM trie's key: how many bits count, then the bytes.
fn exclude_key(prefix: &Path) -> Result<Vec<u8>, TracerError> {
    let bytes = prefix.as_os_str().as_bytes();
    let refuse = |why| Err(TracerError::Exclusion { what: prefix.to_owned(), why });
    if !bytes.starts_with(b"/") {
        return refuse("the prefix of a path must begin with a /");
    }
    let max = exclude_key::default().path.len();
    match u32::try_from(bytes.len() * 8) {
        Ok(bits) if bytes.len() <= max => {
            let mut key = bits.to_ne_bytes().to_vec();
            key.extend_from_slice(bytes);
            key.resize(size_of::<exclude_key>(), 0);
            Ok(key)
        }
        _ => refuse("the prefix is longer than 256 bytes"),
    }
}

fn ring(skel: &ExecSkel<'static>, inbox: &Arc<Mutex<Inbox>>) -> libbpf_rs::Result<RingBuffer<'static>> {
    let inbox = Arc::clone(inbox);
    let mut builder = RingBufferBuilder::new();
    builder.add(&skel.maps.records, move |bytes: &[u8]| {
        lock(&inbox).push(bytes);
        0
    })?;
    builder.build()
}

/// A program that began before it was detached may still be running on another CPU. Programs run within RCU read
/// sections, and this membarrier(2) waits for all of them; it takes some ms. A kernel without it loses nothing but the
/// last microseconds.
fn wait_for_running_programs() {
    let _ = membarrier(MembarrierCommand::Global);
}

fn recursion_misses(program: &ProgramMut<'_>) -> Result<u64, TracerError> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = u32::try_from(size_of::<libbpf_sys::bpf_prog_info>()).unwrap_or(u32::MAX);
    // SAFETY: the descriptor is open, info and len are valid for writes and len is info's size.
    let status =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_fd().as_raw_fd(), &raw mut info, &raw mut len) };
    if status < 0 {
        let source = std::io::Error::from_raw_os_error(-status);
        return Err(TracerError::System { what: "reading how often the program was skipped", source });
    }
    Ok(info.recursion_misses)
}

fn stats_from(value: &[u8]) -> scope_stats {
    let mut words = value.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    let mut next = || words.next().unwrap_or_default();
    scope_stats {
        cpu: next(),
        seq: next(),
        seen: next(),
        sent: next(),
        excluded_uid: next(),
        excluded_path: next(),
        lost_ring_full: next(),
        lost_bytes: next(),
        args_ring_full: next(),
        args_fault: next(),
        process_table_full: next(),
        missed: next(),
    }
}

/// Keys of the rows whose value holds the scope's number at an offset.
fn rows_of(map: &dyn MapCore, offset: usize, id: ScopeId) -> libbpf_rs::Result<Vec<Vec<u8>>> {
    let number = id.get().to_ne_bytes();
    let mut found = Vec::new();
    for key in map.keys() {
        let value = map.lookup(&key, MapFlags::ANY)?;
        if value.is_some_and(|value| value.get(offset..).is_some_and(|rest| rest.starts_with(&number))) {
            found.push(key);
        }
    }
    Ok(found)
}

/// The wall clock's reading when CLOCK_BOOTTIME was 0. Read anew for each batch, because the wall clock can be set.
fn boot_time() -> SystemTime {
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::try_from(since_boot).unwrap_or_default();
    SystemTime::now() - since_boot
}

/// What libbpf says while a program is loaded, which it would print to stderr.
struct LoadLog {
    _one_load_at_a_time: MutexGuard<'static, ()>,
}

static LOADING: Mutex<()> = Mutex::new(());
static LOAD_LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl LoadLog {
    fn capture() -> LoadLog {
        let guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner).clear();
        libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, line| {
            LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_owned());
        })));
        LoadLog { _one_load_at_a_time: guard }
    }

    fn failure(&self, step: &'static str, source: libbpf_rs::Error) -> TracerError {
        use libbpf_rs::ErrorKind;
        let lines = LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = host::missing_capabilities(OsStr::new("/proc"));
        if source.kind() == ErrorKind::PermissionDenied && !missing.is_empty() {
            return TracerError::NotPermitted(format!(
                "it lacks {} (in Kubernetes: securityContext.capabilities.add)",
                missing.join(" and ")
            ));
        }
        if !host::has_btf() {
            return TracerError::Unsupported(
                "it has no type information, /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF=y)".to_owned(),
            );
        }
        if source.kind() == ErrorKind::PermissionDenied && lines.is_empty() {
            return TracerError::NotPermitted(
                "a seccomp profile, a security module or a user namespace stands in the way".to_owned(),
            );
        }
        let log = lines.iter().flat_map(|line| ["\n  ", line]).collect();
        TracerError::Kernel { step, source, log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_must_be_an_absolute_prefix_of_at_most_256_bytes() {
        assert!(exclude_key(Path::new("usr/bin")).is_err());
        assert!(exclude_key(Path::new(&format!("/{}", "x".repeat(256)))).is_err());
        let key = exclude_key(Path::new("/usr/lib/")).expect("a prefix");
        assert_eq!(key.len(), size_of::<exclude_key>());
        assert_eq!(key[..4], 72u32.to_ne_bytes());
        assert_eq!(&key[4..14], b"/usr/lib/\0");
    }

    #[test]
    fn a_ring_has_a_size_that_the_kernel_takes() {
        assert_eq!(Tracer::builder().ring_bytes(1).ring_bytes, 128 << 10);
        assert_eq!(Tracer::builder().ring_bytes(5 << 20).ring_bytes, 8 << 20);
    }
}
