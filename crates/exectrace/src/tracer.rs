//! Reads the ring of the kernel program, keeps its scopes, counts every loss.
//!
//! No parsing here: `record` decodes, `assemble` puts pieces together, `enrich` makes events; `load` brings the program
//! into the kernel. What can fail at the start fails in [`TracerBuilder::open`] with advice; after that the loop only
//! reads.

use std::collections::{BTreeMap, HashSet};
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use libbpf_rs::{MapCore, MapFlags, ProgramMut, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};

use crate::builder::TracerBuilder;
use crate::enrich::Enricher;
use crate::event::Event;
use crate::inbox::{Arrival, Inbox};
use crate::load::{self, LoadLog};
use crate::loss::{Loss, LossReason};
use crate::procfs::Procfs;
use crate::scope::{Scope, ScopeId};
use crate::skel::ExecSkel;
use crate::skel::types::{self, scope_stats};

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

    pub(crate) fn open(settings: TracerBuilder) -> Result<Tracer, TracerError> {
        let procfs = Procfs::new(&settings.proc);
        let boot_id = procfs.boot_id().map_err(|source| TracerError::System { what: "reading the boot id", source })?;
        let boot =
            Enricher::boot_of(&boot_id).ok_or_else(|| TracerError::Unsupported(format!("boot id {boot_id:?}")))?;
        let log = LoadLog::capture();
        let mut skel = load::load(&settings, &log)?;
        if let Some(index) = &mut skel.maps.bss_data {
            index.scope_index.claim_pid_ns = procfs
                .own_pid_namespace()
                .map_err(|source| TracerError::System { what: "finding the own PID namespace", source })?
                .1;
        }
        load::exclude(&mut skel, &settings)?;
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let ring = ring(&skel, &inbox).map_err(|source| log.failure("opening the ring buffer", source))?;
        load::attach(&mut skel, settings.backup, &log)?;
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
        // By the settings, because the links are gone once it is detached.
        let programs = &self.skel.progs;
        let last = if self.settings.backup.is_on() { &programs.exec_backup } else { &programs.exec_first };
        recursion_misses(last)
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
        let skipped = self.skipped()?;
        let scopes: Vec<ScopeId> = self.scopes.keys().copied().collect();
        for scope in scopes {
            let (mut lost, mut missed) = (0, 0);
            for (hook, stats) in self.raw_stats(scope)? {
                missed += stats.missed;
                let cpu = u32::try_from(stats.cpu).unwrap_or(u32::MAX);
                lost += lock(&self.inbox).ledger.on_counter((scope, hook, cpu), stats.lost_ring_full);
            }
            let missed = missed.min(skipped);
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

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
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
