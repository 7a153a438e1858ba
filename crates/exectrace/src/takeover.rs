//! A tracer whose kernel's half outlives it, and one that takes over from another.
//!
//! What was handed out stays in the ring until it is committed. So who takes over begins at the last commit, tells what
//! the kernel lost meanwhile, and names the same scopes again, which were traced all the time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::builder::TracerBuilder;
use crate::inbox::Inbox;
use crate::journal::Progress;
use crate::kernel::{Field, Kernel};
use crate::load::{self, LoadLog};
use crate::loss::{Loss, LossReason, What};
use crate::pin::PinFolder;
use crate::record;
use crate::scope::{Identity, Scope, ScopeId};
use crate::tracer::{Item, Tracer, TracerError, boot_time};

/// What a tracer has whose kernel's half outlives it.
pub(crate) struct Pinned {
    folder: PinFolder,
    /// Bytes in the ring that were read and not let go of, in order: where each record ends, and whose it is.
    pub(crate) held: VecDeque<(u64, u32, u64)>,
    /// What another tracer left, until it is told.
    left: Option<Progress>,
    /// Scopes that another tracer added, whether or not they were named again.
    known_scopes: u32,
    /// The children of the tracer before this one, if this one does not look at its own: nobody wants to know of them.
    pub(crate) nobodys: Option<ScopeId>,
    /// Nobody will take over from this one.
    pub(crate) is_last: bool,
    /// The programs were detached, at this time since boot, by one that was killed before it had told what they had seen.
    detached: Option<Duration>,
}

/// The kernel's half from a folder, or a new one that is pinned there.
pub(crate) fn pinned(folder: &Path, settings: &TracerBuilder) -> Result<(Kernel, Option<Pinned>), TracerError> {
    let folder = PinFolder::lock(folder)?;
    let pinned = |folder, left, known_scopes, detached: Option<Duration>| Pinned {
        folder,
        held: VecDeque::new(),
        left,
        known_scopes,
        nobodys: None,
        is_last: detached.is_some(),
        detached,
    };
    // One that never got a scope belongs to a start that failed.
    if folder.is_whole() && folder.scopes()? > 0 {
        let kernel = folder.restore(settings)?;
        let known = u32::try_from(kernel.journal.scopes()).unwrap_or(u32::MAX);
        let left = kernel.journal.progress();
        let detached = kernel.journal.detached();
        return Ok((kernel, Some(pinned(folder, Some(left), known, detached))));
    }
    let mut kernel = load::load(settings, &LoadLog::capture())?;
    folder.store(&mut kernel, settings)?;
    Ok((kernel, Some(pinned(folder, None, 0, None))))
}

impl Tracer {
    /// What another tracer had committed before this one took over from it; `None` if this one began anew.
    pub fn resumed(&self) -> Option<Progress> {
        self.pinned.as_ref().filter(|pinned| pinned.known_scopes > 0).map(|_| self.kernel.journal.progress())
    }

    /// How many scopes another tracer had added before this one took over from it, its own children aside. They must be
    /// added again, in the same order, before the first poll.
    pub fn known_scopes(&self) -> u32 {
        let count = self.known().filter(|(_, identity)| !identity.is(Identity::CHILDREN)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Since when nothing was seen any more, if the tracer before this one was killed after [`Tracer::unpin_programs`]: what
    /// it had left comes, and then nothing. Give up the pin and open another tracer.
    pub fn detached_since(&self) -> Option<SystemTime> {
        let detached = self.pinned.as_ref()?.detached?;
        Some(boot_time() + detached)
    }

    /// Whether all scopes of the tracer before this one have been added again; asked by the first poll, too.
    pub fn all_known_scopes_are_named(&self) -> Result<(), TracerError> {
        let is_takeover = self.pinned.as_ref().is_some_and(|pinned| pinned.left.is_some());
        if is_takeover && self.unnamed().any(|(_, identity)| !identity.is(Identity::CHILDREN)) {
            return Err(self.refuse("more scopes are pinned there than were named"));
        }
        Ok(())
    }

    /// Scopes of the tracer before this one that were not added again.
    fn unnamed(&self) -> impl Iterator<Item = (ScopeId, Identity)> {
        self.known().filter(|(id, _)| !self.scopes.contains_key(id))
    }

    /// Scopes of the tracer before this one.
    fn known(&self) -> impl Iterator<Item = (ScopeId, Identity)> {
        let known = self.pinned.as_ref().map_or(0, |pinned| pinned.known_scopes);
        (1..=known)
            .filter_map(ScopeId::new)
            .map(|id| (id, self.kernel.identity(id)))
            .filter(|(_, what)| !what.is(Identity::NOBODY))
    }

    /// The scope that this one must be: of the tracer's own children there is one, the others come in order. `None`: it is a
    /// new one.
    pub(crate) fn known_scope_for(&self, scope: &Scope) -> Result<Option<ScopeId>, TracerError> {
        let wanted = matches!(scope, Scope::Children);
        let known = self.unnamed().find(|(_, identity)| identity.is(Identity::CHILDREN) == wanted).map(|(id, _)| id);
        // One that committed nothing may have been killed before it had named them all.
        let left = self.pinned.as_ref().and_then(|pinned| pinned.left.as_ref());
        let had_all = left.is_some_and(|left| *left != Progress::default());
        if known.is_none() && had_all && !wanted {
            return Err(self.refuse("fewer scopes are pinned there than were named"));
        }
        Ok(known)
    }

    /// Names a scope that another tracer added: the kernel's half has had it all the time.
    pub(crate) fn adopt(&mut self, id: ScopeId, scope: Scope) -> Result<ScopeId, TracerError> {
        let pinned = self.kernel.identity(id);
        let is_same = match &scope {
            Scope::Pinned(known) => pinned.fits(known),
            named => pinned.is(named.identity()),
        };
        if !is_same {
            return Err(self.refuse("what is pinned there traces something else"));
        }
        if let Scope::Pod(pod) = &scope {
            self.tell_of_own_container(pod);
        }
        if matches!(scope, Scope::Children) {
            self.introduce_ourselves()?;
            self.kernel.index().set(Field::OWN, id.get());
        }
        self.next_after(id);
        self.scopes.insert(id, scope);
        Ok(id)
    }

    /// There is no scope any more that could be taken over without a name.
    pub(crate) fn nothing_pinned(&self) -> TracerError {
        self.refuse("no other scope is pinned there")
    }

    fn refuse(&self, what: &str) -> TracerError {
        let folder = self.settings.pin.clone().unwrap_or_default();
        let why = format!(
            "{what}: name the same scopes in the same order, or remove it with `exectrace unpin` (what waits there unread \
             is lost)"
        );
        TracerError::Pin { folder, why }
    }

    /// Notes what a new scope is, for who takes over.
    pub(crate) fn remember(&self, id: ScopeId, identity: Identity) {
        self.kernel.set_identity(id, identity);
        self.kernel.journal.set_scopes(u64::from(id.get()));
    }

    /// Passes over what the tracer before this one had committed and not yet let go of, and states anew what each scope
    /// holds of the ring.
    pub(crate) fn skip_committed(&mut self) {
        let Some(known) = self.pinned.as_ref().map(|pinned| pinned.known_scopes) else { return };
        let committed = self.kernel.journal.position();
        while self.ring.read() < committed && self.ring.next().is_some() {}
        let start = self.ring.read();
        self.ring.release(start);
        self.inbox = Inbox::in_order_from(start);
        let mut held = BTreeMap::<u32, u64>::new();
        while let Some((span, bytes)) = self.ring.next() {
            *held.entry(record::scope_of(bytes)).or_default() += span.len();
        }
        self.ring.read_again_from(start);
        for scope in 1..=known {
            self.kernel.set_held(scope, held.get(&scope).copied().unwrap_or_default());
        }
        self.next_after(ScopeId::new(known).unwrap_or(ScopeId::FIRST));
        if known == 0 {
            self.next_scope = 1;
        }
    }

    fn next_after(&mut self, id: ScopeId) {
        self.next_scope = self.next_scope.max(id.get() + 1);
    }

    /// Before the first record: what the kernel has counted as lost and the tracer before this one has not told is told
    /// now, in one: where it is missing, nobody knows any more. From here on the counters go on from where they stand.
    pub(crate) fn take_over_counts(&mut self, on_item: &mut impl FnMut(Item)) -> Result<(), TracerError> {
        self.all_known_scopes_are_named()?;
        let nobodys = self.unnamed().next().map(|(id, _)| id);
        let Some(pinned) = &mut self.pinned else { return Ok(()) };
        let Some(left) = pinned.left.take() else { return Ok(()) };
        if nobodys.is_some() {
            pinned.nobodys = nobodys;
            self.kernel.index().set(Field::OWN, 0);
        }
        let skipped = self.skipped()?;
        let scopes: Vec<(ScopeId, bool)> =
            self.scopes.iter().map(|(id, scope)| (*id, matches!(scope, Scope::Children))).collect();
        for (scope, is_own) in scopes {
            let mut ring_full = [0; What::COUNT];
            for (hook, stats) in self.kernel.stats(scope)? {
                // Only a program that saw something has told its CPU.
                if stats.seen > 0 {
                    let cpu = u32::try_from(stats.cpu).unwrap_or(u32::MAX);
                    self.inbox.ledger.resume((scope, hook, cpu), stats.lost_ring_full);
                }
                let what = What::of_hook(hook);
                ring_full[what.index()] += stats.lost_ring_full;
                let told = self.told.entry((scope, what)).or_default();
                told.missed += stats.missed;
                told.busy += stats.lost_busy;
            }
            let left = left.of(Some(scope));
            for what in What::ALL {
                let told = self.told.entry((scope, what)).or_default();
                told.missed = told.missed.min(skipped);
                for (reason, counted) in [
                    (LossReason::RingFull, ring_full[what.index()]),
                    (LossReason::ProgramSkipped, told.missed),
                    (LossReason::ProgramBusy, told.busy),
                ] {
                    let count = counted.saturating_sub(left.told(what, reason));
                    if count > 0 && !is_own {
                        on_item(Item::Lost(Loss { what, scope: Some(scope), reason, count }));
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the pins of the programs, so that [`Tracer::detach`] detaches them. What was seen stays pinned until
    /// [`Tracer::unpin`]; if this process is killed before that, the next tracer begins with it, see
    /// [`Tracer::detached_since`].
    pub fn unpin_programs(&mut self) -> Result<(), TracerError> {
        let Some(pinned) = &mut self.pinned else { return Ok(()) };
        pinned.is_last = true;
        let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        // Before the first of them goes: without this, a folder that lacks one is refused.
        self.kernel.journal.set_detached(pinned.detached.unwrap_or(now));
        pinned.folder.remove_links()
    }

    /// Gives up a pin in which no scope was ever set.
    pub fn unpin_if_unused(mut self) -> Result<(), TracerError> {
        if self.kernel.journal.scopes() > 0 {
            return Ok(());
        }
        self.unpin_programs()?;
        self.detach();
        self.unpin()
    }

    /// Gives up the pin, and with it what was not committed.
    pub fn unpin(mut self) -> Result<(), TracerError> {
        match self.pinned.take() {
            Some(pinned) => pinned.folder.remove(),
            None => Ok(()),
        }
    }
}
