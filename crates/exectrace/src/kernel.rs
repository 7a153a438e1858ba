//! The kernel's half while it runs: its maps, its programs, and the memory that both halves share. Made by `load`, or
//! taken over by `pin`; nothing here knows which.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};

use crate::journal::Journal;
use crate::mapped::{Access, Mapped};
use crate::scope::{Identity, ScopeId};
use crate::skel::types::{self, scope_budget, scope_index, scope_stats};
use crate::tracer::TracerError;

/// Maps that the reader touches.
pub(crate) struct Maps {
    pub(crate) pid_ns_scopes: MapHandle,
    pub(crate) cgroup_scopes: MapHandle,
    pub(crate) processes: MapHandle,
    pub(crate) tree_claims: MapHandle,
    pub(crate) left_out: MapHandle,
    pub(crate) stats: MapHandle,
    pub(crate) records: MapHandle,
    pub(crate) budgets: MapHandle,
    pub(crate) journal: MapHandle,
    /// Where `scope_index` lies.
    pub(crate) bss: MapHandle,
}

impl Maps {
    /// All of them in the order of [`MAP_NAMES`].
    pub(crate) fn all(&mut self) -> [&mut MapHandle; MAP_NAMES.len()] {
        [
            &mut self.pid_ns_scopes,
            &mut self.cgroup_scopes,
            &mut self.processes,
            &mut self.tree_claims,
            &mut self.left_out,
            &mut self.stats,
            &mut self.records,
            &mut self.budgets,
            &mut self.bss,
            &mut self.journal,
        ]
    }

    /// From one map for each of [`MAP_NAMES`].
    pub(crate) fn from_all<E>(mut map: impl FnMut(&'static str) -> Result<MapHandle, E>) -> Result<Maps, E> {
        Ok(Maps {
            pid_ns_scopes: map("pid_ns_scopes")?,
            cgroup_scopes: map("cgroup_scopes")?,
            processes: map("processes")?,
            tree_claims: map("tree_claims")?,
            left_out: map("left_out")?,
            stats: map("stats")?,
            records: map("records")?,
            budgets: map("budgets")?,
            bss: map("bss")?,
            journal: map("journal")?,
        })
    }
}

/// What the maps go by; the journal last: where it is pinned, all are.
pub(crate) const MAP_NAMES: [&str; 10] = [
    "pid_ns_scopes",
    "cgroup_scopes",
    "processes",
    "tree_claims",
    "left_out",
    "stats",
    "records",
    "budgets",
    "bss",
    "journal",
];

/// Programs of which it matters how often the kernel skipped them.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The last of those that see an exec: nothing stands in for it.
    pub(crate) exec: OwnedFd,
    pub(crate) fork: OwnedFd,
    pub(crate) exit: OwnedFd,
    /// None where no attempt that failed is told.
    pub(crate) failed: Vec<OwnedFd>,
}

/// The kernel's half.
pub(crate) struct Kernel {
    pub(crate) maps: Maps,
    pub(crate) programs: Programs,
    /// What attaches the programs: they stay as long as these do, or their pins.
    pub(crate) links: Vec<(String, Link)>,
    pub(crate) journal: Journal,
    index: Mapped,
    budgets: Mapped,
}

impl Kernel {
    pub(crate) fn new(maps: Maps, programs: Programs, links: Vec<(String, Link)>) -> Result<Kernel, TracerError> {
        let failed = |source| TracerError::System { what: "sharing memory with the kernel program", source };
        let index = Mapped::new(&maps.bss, 0, size_of::<types::bss>(), Access::ReadWrite).map_err(failed)?;
        let len = maps.budgets.max_entries() as usize * size_of::<scope_budget>();
        let budgets = Mapped::new(&maps.budgets, 0, len, Access::ReadWrite).map_err(failed)?;
        let journal = Journal::open(&maps.journal, maps.journal.max_entries()).map_err(failed)?;
        Ok(Kernel { maps, programs, links, journal, index, budgets })
    }

    /// The index of scopes, which the programs read at each event and partly change.
    pub(crate) fn index(&self) -> Index<'_> {
        Index(&self.index)
    }

    /// Counts bytes of the ring as free again for a scope.
    pub(crate) fn free(&self, scope: u32, bytes: u64) {
        let at = scope as usize * size_of::<scope_budget>() + offset_of!(scope_budget, freed);
        if scope < self.maps.budgets.max_entries() {
            self.budgets.u64_at(at).fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// States how many bytes of the ring a scope holds, after a reader's end in between left it uncertain.
    pub(crate) fn set_held(&self, scope: u32, bytes: u64) {
        let row = scope as usize * size_of::<scope_budget>();
        let sent = self.budgets.u64_at(row + offset_of!(scope_budget, sent)).load(Ordering::Relaxed);
        let freed = self.budgets.u64_at(row + offset_of!(scope_budget, freed));
        freed.store(sent.wrapping_sub(bytes), Ordering::Relaxed);
    }

    /// What a scope is, as its tracer stated it.
    pub(crate) fn identity(&self, scope: ScopeId) -> Identity {
        let word = |offset| self.budgets.u64_at(row_of(scope) + offset).load(Ordering::Acquire);
        Identity {
            kind: word(offset_of!(scope_budget, kind)),
            key: word(offset_of!(scope_budget, key)),
            name: word(offset_of!(scope_budget, name)),
        }
    }

    /// States what a scope is. The kind goes last: without it there is nothing.
    pub(crate) fn set_identity(&self, scope: ScopeId, identity: Identity) {
        let set = |offset, value| self.budgets.u64_at(row_of(scope) + offset).store(value, Ordering::Release);
        set(offset_of!(scope_budget, name), identity.name);
        set(offset_of!(scope_budget, key), identity.key);
        set(offset_of!(scope_budget, kind), identity.kind);
    }

    /// The counters of a scope by hook, one row for each CPU that counted something.
    pub(crate) fn stats(&self, scope: ScopeId) -> Result<Vec<(u32, scope_stats)>, TracerError> {
        let failed = |source| TracerError::Kernel { step: "reading the counters", source, log: String::new() };
        let mut rows = Vec::new();
        for hook in 0..types::hook::HOOK_COUNT.0 {
            let row = scope.get() * types::hook::HOOK_COUNT.0 + hook;
            let values = self.maps.stats.lookup_percpu(&row.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
            let counted = values.unwrap_or_default().into_iter().map(|value| stats_from(&value));
            let counted = counted.filter(|stats| stats.seen + stats.process_table_full + stats.missed > 0);
            rows.extend(counted.map(|stats| (hook, stats)));
        }
        Ok(rows)
    }
}

/// Where the budget of a scope lies.
fn row_of(scope: ScopeId) -> usize {
    scope.get() as usize * size_of::<scope_budget>()
}

/// Words of `scope_index`.
pub(crate) struct Index<'a>(&'a Mapped);

/// A word in `scope_index`, of four bytes if nothing else is said, by its offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field(usize);

macro_rules! fields {
    ($($name:ident: $field:ident),* $(,)?) => {
        impl Field {
            $(pub(crate) const $name: Field =
                Field(offset_of!(types::bss, scope_index) + offset_of!(scope_index, $field));)*
        }
    };
}

fields! {
    ALL: all,
    CGROUP_LEVELS: cgroup_levels,
    CHANGES: changes,
    CLAIMS: claims,
    CLAIM_PID_NS: claim_pid_ns,
    DETACHED: detached,
    FORKS_MISSED: forks_missed,
    OWN: own,
    OWN_NAME: own_name,
    OWN_TGID: own_tgid,
    OWN_WANTED: own_wanted,
    PID_NAMESPACES: pid_namespaces,
    POD: pod,
    POD_CGROUP: pod_cgroup,
    POD_LEVEL: pod_level,
    POD_NS_LEVEL: pod_ns_level,
    RULES_ANY_PATH: rules_any_path,
    RULES_ANY_UID: rules_any_uid,
    RULES_KEEP: rules_keep,
    RULES_NO_TTY: rules_no_tty,
    RULES_OUT: rules_out,
    RULES_TTY: rules_tty,
    SCOPES: scopes,
    TRACER_CGROUP: tracer_cgroup,
    TRACER_LEVEL: tracer_level,
    TREES: trees,
}

impl Index<'_> {
    pub(crate) fn set(&self, field: Field, value: u32) {
        self.0.u32_at(field.0).store(value, Ordering::Release);
    }

    pub(crate) fn get(&self, field: Field) -> u32 {
        self.0.u32_at(field.0).load(Ordering::Acquire)
    }

    /// Of a field of eight bytes.
    pub(crate) fn get_u64(&self, field: Field) -> u64 {
        self.0.u64_at(field.0).load(Ordering::Acquire)
    }

    /// Of a field of eight bytes.
    pub(crate) fn set_u64(&self, field: Field, value: u64) {
        self.0.u64_at(field.0).store(value, Ordering::Release);
    }

    /// The name by which the programs will know the tracer.
    pub(crate) fn set_own_name(&self, name: &[u8; 16]) {
        for (at, word) in name.chunks_exact(4).enumerate() {
            self.set(Field(Field::OWN_NAME.0 + 4 * at), u32::from_ne_bytes(word.try_into().unwrap_or_default()));
        }
    }
}

/// How often the kernel skipped a program because it was running already.
pub(crate) fn recursion_misses(program: &OwnedFd) -> Result<u64, TracerError> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = u32::try_from(size_of::<libbpf_sys::bpf_prog_info>()).unwrap_or(u32::MAX);
    // SAFETY: the descriptor is open, info and len are valid for writes and len is info's size.
    let status =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_fd().as_raw_fd(), &raw mut info, &raw mut len) };
    if status < 0 {
        let source = io::Error::from_raw_os_error(-status);
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
        sent: next(),
        excluded_rule: next(),
        excluded_errno: next(),
        lost_ring_full: next(),
        lost_busy: next(),
        args_ring_full: next(),
        strings_ring_full: next(),
        args_fault: next(),
        process_table_full: next(),
        missed: next(),
        seen: next(),
    }
}
