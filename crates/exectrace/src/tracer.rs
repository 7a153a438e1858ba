//! Reads the ring of the kernel program and counts every loss. Its scopes are in `scoping`, its pin in `takeover`.
//!
//! No parsing here: `record` decodes, `assemble` puts pieces together, `enrich` makes events; `load` brings the program
//! into the kernel. What can fail at the start fails in [`TracerBuilder::open`] with advice; after that the loop only
//! reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::thread::{MembarrierCommand, membarrier};
use rustix::time::{ClockId, clock_gettime};

use crate::builder::{Failed, TracerBuilder};
use crate::enrich::Enricher;
use crate::event::{Ended, Event, FailedExec};
use crate::inbox::{Arrival, Inbox};
use crate::journal::Journal;
use crate::kernel::{Field, Kernel, recursion_misses};
use crate::load::{self, LoadLog};
use crate::loss::{Loss, LossReason, What};
use crate::procfs::Procfs;
use crate::record;
use crate::ring::Ring;
use crate::rules::{self, LeftOut, RuleRefused};
use crate::scope::{Scope, ScopeId};
use crate::takeover::{self, Pinned};

/// What a tracer hands out, in the order of the ring. Only an exec of which arguments got lost can come later than what
/// followed it: for up to two seconds its last arguments are waited for.
#[derive(Debug)]
pub enum Item {
    /// An exec.
    Exec(Box<Event>),
    /// An attempt to exec that failed; see [`TracerBuilder::failed`].
    Failed(Box<FailedExec>),
    /// The end of a process; see [`TracerBuilder::exits`].
    Ended(Box<Ended>),
    /// What is missing here.
    Lost(Loss),
    /// A PID namespace or a cgroup is no more, and nothing can run there again.
    Gone(Gone),
}

/// A scope that is no more. Told once for each scope, up to a second late; execs that were under way may still follow. Of
/// trees this is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The scope.
    pub scope: ScopeId,
    /// When the first process of the namespace ended, which takes all others with it; or when it was seen that the cgroup's
    /// folder was removed.
    pub time: SystemTime,
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
    /// There is one pod at most.
    #[error("a tracer has one pod at most")]
    SecondPod,
    /// What is to be traced is not to be found.
    #[error(transparent)]
    Scope(#[from] crate::scope::ScopeError),
    /// The tree has more processes than the tracer was opened for.
    #[error("no room for a tree of {processes} processes: the tracer was opened for {max}")]
    TooManyProcesses {
        /// Processes that live in the tree now.
        processes: usize,
        /// See [`TracerBuilder::max_processes`].
        max: u32,
    },
    /// A rule that cannot be told to the kernel.
    #[error("rule {} cannot be had: {why}", rule + 1)]
    Rule {
        /// Its place in the order of [`TracerBuilder::rule`], from 0 on.
        rule: usize,
        /// Why not.
        why: RuleRefused,
    },
    /// A marker, or a program in whose environment markers are looked for, of which the kernel cannot be told.
    #[error("cannot look for {what:?}: {why}")]
    EnvMarker {
        /// The marker or the program's name, with what is not ASCII escaped.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// The folder for the kernel's half cannot be used.
    #[error("cannot pin to {}: {why}", folder.display())]
    Pin {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
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
    pub(crate) kernel: Kernel,
    pub(crate) ring: Ring,
    pub(crate) inbox: Inbox,
    enricher: Enricher,
    pub(crate) scopes: BTreeMap<ScopeId, Scope>,
    pub(crate) next_scope: u32,
    pub(crate) settings: TracerBuilder,
    round: u64,
    next_count: Instant,
    pub(crate) told: BTreeMap<(ScopeId, What), Told>,
    pub(crate) gone: BTreeSet<ScopeId>,
    pub(crate) pinned: Option<Pinned>,
}

/// Losses that were handed out, of those that only a counter tells.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) missed: u64,
    pub(crate) busy: u64,
}

/// What happened to the execs of one scope, to its attempts that failed or to the ends of its processes, summed over
/// CPUs. `seen` is the sum of `sent`, all kinds of excluded, `lost_ring_full` and `lost_busy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeStats {
    /// Execs in the scope.
    pub seen: u64,
    /// Execs of which a record went to the ring.
    pub sent: u64,
    /// Execs left out by a rule; [`Tracer::left_out`] says by which.
    pub excluded_rule: u64,
    /// Attempts left out for the way in which they failed.
    pub excluded_errno: u64,
    /// Execs of which nothing was sent, because the ring was full or what was left of it was kept for other scopes.
    pub lost_ring_full: u64,
    /// Attempts of which nothing was sent, because another one was being recorded on that CPU.
    pub lost_busy: u64,
    /// Execs whose arguments were cut, because the ring was full or nearly so.
    pub args_ring_full: u64,
    /// Of these, execs of which no string was sent.
    pub strings_ring_full: u64,
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
        rules::check(&settings.rules)?;
        settings.markers.check()?;
        let procfs = Procfs::new(&settings.proc);
        let boot_id = procfs.boot_id().map_err(|source| TracerError::System { what: "reading the boot id", source })?;
        let boot =
            Enricher::boot_of(&boot_id).ok_or_else(|| TracerError::Unsupported(format!("boot id {boot_id:?}")))?;
        let (kernel, pinned) = match settings.pin.as_deref() {
            Some(folder) => takeover::pinned(folder, &settings)?,
            None => (load::load(&settings, &LoadLog::capture())?, None),
        };
        let own_pid_ns = procfs
            .own_pid_namespace()
            .map_err(|source| TracerError::System { what: "finding the own PID namespace", source })?;
        kernel.index().set(Field::CLAIM_PID_NS, own_pid_ns.1);
        let ring = Ring::open(kernel.maps.records.as_fd(), settings.ring_bytes)
            .map_err(|source| TracerError::System { what: "opening the ring buffer", source })?;
        let mut tracer = Tracer {
            kernel,
            ring,
            inbox: Inbox::default(),
            enricher: Enricher { boot, max_args_bytes: settings.max_args_bytes },
            scopes: BTreeMap::new(),
            next_scope: 1,
            settings,
            round: 0,
            next_count: Instant::now() + COUNT_EVERY,
            told: BTreeMap::new(),
            gone: BTreeSet::new(),
            pinned,
        };
        tracer.skip_committed();
        Ok(tracer)
    }

    /// Where to commit what is written; `None` without [`TracerBuilder::pin`], where nobody would look there.
    pub fn journal(&self) -> Option<Journal> {
        self.pinned.as_ref().map(|_| self.kernel.journal.clone())
    }

    /// Position in the ring before which everything has been handed out.
    pub fn position(&self) -> u64 {
        self.inbox.position()
    }

    /// Names the settings of the kernel's half and its version: SHA-256 of all that must be the same for one tracer to take
    /// over from another.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.settings.fingerprint()
    }

    /// Waits for records, at most for `timeout`, and hands out what came. Without a wakeup by much data, what is there
    /// comes when the time is over; so the timeout is how late an event can be. Some 100 ms are usual.
    pub fn poll(&mut self, timeout: Duration, on_item: impl FnMut(Item)) -> Result<(), TracerError> {
        self.try_poll(timeout, never_enough(on_item)).map(drop)
    }

    /// As [`Tracer::poll`], for who cannot always take more: once `on_item` breaks, no more is read, and what comes
    /// waits in the ring, where there is room for so much. What had been read by then is still handed out, some hundred
    /// items at most. Returns `Break` if there may be more to read.
    pub fn try_poll(
        &mut self,
        timeout: Duration,
        mut on_item: impl FnMut(Item) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TracerError> {
        self.ring.wait(timeout).map_err(|source| TracerError::System { what: "waiting for records", source })?;
        self.take_over_counts(&mut |item| _ = on_item(item))?;
        // Losses are counted only where all that was before them has been told.
        if self.consume(&mut on_item).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if Instant::now() >= self.next_count {
            self.count(&mut |item| _ = on_item(item))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out all that is in the ring, with the losses that the kernel has counted.
    pub fn drain(&mut self, on_item: impl FnMut(Item)) -> Result<(), TracerError> {
        self.try_drain(never_enough(on_item)).map(drop)
    }

    /// As [`Tracer::drain`], for who cannot always take more, as in [`Tracer::try_poll`]: to be called again while it
    /// returns `Break`.
    pub fn try_drain(
        &mut self,
        mut on_item: impl FnMut(Item) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TracerError> {
        self.take_over_counts(&mut |item| _ = on_item(item))?;
        if self.consume(&mut on_item).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // Arguments that are still on their way come to whoever reads next, if anybody can.
        if self.pinned.as_ref().is_none_or(|pinned| pinned.is_last) {
            self.round += 2;
        }
        self.count(&mut |item| _ = on_item(item))?;
        Ok(ControlFlow::Continue(()))
    }

    /// Detaches the programs: nothing that happens from now on is seen. What was seen waits in the ring. Programs that
    /// are pinned stay, unless [`Tracer::unpin_programs`] was called.
    pub fn detach(&mut self) {
        // What is pinned is kept by its pins. The kernel may detach the others later than this returns.
        let stays = self.pinned.as_ref().is_some_and(|pinned| !pinned.is_last);
        self.kernel.index().set(Field::DETACHED, u32::from(!stays));
        self.kernel.links.clear();
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
        self.stats_of(scope, What::Exec)
    }

    /// What happened to what a scope did.
    pub fn stats_of(&self, scope: ScopeId, what: What) -> Result<ScopeStats, TracerError> {
        let (mut sum, mut missed) = (ScopeStats::default(), 0);
        for (hook, stats) in self.kernel.stats(scope)? {
            if What::of_hook(hook) != what {
                continue;
            }
            sum.seen += stats.seen;
            sum.sent += stats.sent;
            sum.excluded_rule += stats.excluded_rule;
            sum.excluded_errno += stats.excluded_errno;
            sum.lost_ring_full += stats.lost_ring_full;
            sum.lost_busy += stats.lost_busy;
            sum.args_ring_full += stats.args_ring_full;
            sum.strings_ring_full += stats.strings_ring_full;
            sum.args_fault += stats.args_fault;
            sum.process_table_full += stats.process_table_full;
            missed += stats.missed;
        }
        if missed > 0 {
            sum.missed = missed.min(self.skipped()?);
        }
        Ok(sum)
    }

    /// What each rule that leaves out has left out so far, in all scopes; in the order of the rules.
    pub fn left_out(&self) -> Result<Vec<LeftOut>, TracerError> {
        rules::counts(&self.settings.rules, &self.kernel.maps.left_out)
    }

    /// How often the kernel skipped a program of ours that nothing stands in for, on the whole node: the most that the
    /// `missed` of all scopes can come to.
    pub fn skipped(&self) -> Result<u64, TracerError> {
        recursion_misses(&self.kernel.programs.exec)
    }

    /// Whether it was opened to tell of this.
    pub fn tells(&self, what: What) -> bool {
        match what {
            What::Exec => true,
            What::Failed => self.settings.failed != Failed::None,
            What::Exit => self.settings.exits,
        }
    }

    /// How often the kernel skipped the programs that see attempts that failed (`Failed`) or the ends of processes
    /// (`Exit`), on the whole node; for `Exec` as [`Tracer::skipped`].
    pub fn skipped_of(&self, what: What) -> Result<u64, TracerError> {
        let programs = &self.kernel.programs;
        match what {
            What::Exec => self.skipped(),
            What::Failed => programs.failed.iter().map(recursion_misses).sum(),
            What::Exit => recursion_misses(&programs.exit),
        }
    }

    /// What is there now: a reader that is slower than what comes would never end.
    fn consume(&mut self, on_item: &mut impl FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
        self.release_committed();
        let boot_time = boot_time();
        self.inbox.round = self.round;
        let end = self.ring.written();
        loop {
            let mut taken = 0;
            while taken < BATCH
                && self.ring.read() < end
                && let Some((span, bytes)) = self.ring.next()
            {
                taken += 1;
                let scope = record::scope_of(bytes);
                self.inbox.push(bytes, span);
                match &mut self.pinned {
                    Some(pinned) => pinned.held.push_back((span.end, scope, span.len())),
                    None => {
                        self.ring.release(span.end);
                        self.kernel.free(scope, span.len());
                    }
                }
            }
            self.hand_out(boot_time, on_item)?;
            if taken == 0 {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Lets go of what the log has for good.
    fn release_committed(&mut self) {
        let Some(pinned) = &mut self.pinned else { return };
        let committed = self.kernel.journal.position();
        while let Some((end, scope, len)) = pinned.held.pop_front_if(|(end, ..)| *end <= committed) {
            self.ring.release(end);
            self.kernel.free(scope, len);
        }
    }

    /// All that has arrived, also after the first that breaks.
    fn hand_out(
        &mut self,
        boot_time: SystemTime,
        on_item: &mut impl FnMut(Item) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        let nobodys = self.pinned.as_ref().and_then(|pinned| pinned.nobodys);
        while let Some(arrived) = self.inbox.arrivals.pop_front() {
            if nobodys.is_some_and(|nobodys| arrived.scope() == Some(nobodys)) {
                continue;
            }
            let next = on_item(match arrived {
                Arrival::Exec(exec, position) => Item::Exec(Box::new(self.enricher.event(*exec, boot_time, position))),
                Arrival::Failed(exec, position) => {
                    Item::Failed(Box::new(self.enricher.failed(*exec, boot_time, position)))
                }
                Arrival::Exit(exit, position) => Item::Ended(Box::new(self.enricher.ended(&exit, boot_time, position))),
                Arrival::Lost(loss) => Item::Lost(loss),
            });
            flow = if flow.is_break() { flow } else { next };
        }
        flow
    }

    fn count(&mut self, on_item: &mut impl FnMut(Item)) -> Result<(), TracerError> {
        self.next_count = Instant::now() + COUNT_EVERY;
        self.round += 1;
        self.inbox.expire(self.round.saturating_sub(1));
        let _ = self.hand_out(boot_time(), &mut never_enough(&mut *on_item));
        let skipped = self.skipped()?;
        let scopes: Vec<ScopeId> = self.scopes.keys().copied().collect();
        for scope in scopes {
            let mut lost = [0; What::COUNT];
            let mut counted = [Told::default(); What::COUNT];
            for (hook, stats) in self.kernel.stats(scope)? {
                let what = What::of_hook(hook).index();
                let cpu = u32::try_from(stats.cpu).unwrap_or(u32::MAX);
                lost[what] += self.inbox.ledger.on_counter((scope, hook, cpu), stats.lost_ring_full);
                counted[what].missed += stats.missed;
                counted[what].busy += stats.lost_busy;
            }
            for what in What::ALL {
                let counted = Told { missed: counted[what.index()].missed.min(skipped), ..counted[what.index()] };
                let known = std::mem::replace(self.told.entry((scope, what)).or_default(), counted);
                for (reason, count) in [
                    (LossReason::RingFull, lost[what.index()]),
                    (LossReason::ProgramSkipped, counted.missed.saturating_sub(known.missed)),
                    (LossReason::ProgramBusy, counted.busy.saturating_sub(known.busy)),
                ] {
                    if count > 0 {
                        on_item(Item::Lost(Loss { what, scope: Some(scope), reason, count }));
                    }
                }
            }
        }
        if recursion_misses(&self.kernel.programs.fork)? > 0 {
            self.kernel.index().set(Field::FORKS_MISSED, 1);
        }
        self.tell_gone(on_item)
    }
}

/// Readable when the kernel wakes the reader, for programs that wait for other things too; see [`Tracer::poll`].
impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn never_enough(mut on_item: impl FnMut(Item)) -> impl FnMut(Item) -> ControlFlow<()> {
    move |item| {
        on_item(item);
        ControlFlow::Continue(())
    }
}

/// A program that began before it was detached may still be running on another CPU. Programs run within RCU read
/// sections, and this membarrier(2) waits for all of them; it takes some ms. A kernel without it loses nothing but the
/// last microseconds.
fn wait_for_running_programs() {
    let _ = membarrier(MembarrierCommand::Global);
}

/// The wall clock's reading when CLOCK_BOOTTIME was 0. Read anew for each batch, because the wall clock can be set.
pub(crate) fn boot_time() -> SystemTime {
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::try_from(since_boot).unwrap_or_default();
    SystemTime::now() - since_boot
}
