//! Settings of a tracer, with their defaults and bounds.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::failed_hook::FailedHook;
use crate::host;
use crate::journal::{NOTES, SCOPE_NOTES, TOLD};
use crate::markers::Markers;
use crate::rules::Rule;
use crate::tracer::{Tracer, TracerError};

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

impl Backup {
    /// Whether the second program is attached on this kernel.
    pub(crate) fn is_on(self) -> bool {
        match self {
            Backup::Auto => host::kernel_version().is_some_and(|version| version >= PREEMPTIBLE_FROM),
            Backup::On | Backup::Alone => true,
            Backup::Off => false,
        }
    }
}

/// Kernels from here on run tracing programs preemptibly.
const PREEMPTIBLE_FROM: (u32, u32) = (7, 0);

/// Which attempts to exec that failed are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failed {
    /// None.
    #[default]
    None,
    /// All but those of files that are not there (`ENOENT`), which are counted: searches along `PATH`.
    Notable,
    /// All.
    All,
}

/// Settings of a tracer. All of them are fixed once it is open, but for scopes.
#[derive(Debug, Clone)]
pub struct TracerBuilder {
    pub(crate) ring_bytes: u32,
    pub(crate) wakeup_bytes: Option<u32>,
    pub(crate) read_args_bytes: u32,
    pub(crate) max_args_bytes: u64,
    pub(crate) max_scopes: u32,
    pub(crate) max_processes: u32,
    pub(crate) backup: Backup,
    pub(crate) rules: Vec<Rule>,
    pub(crate) markers: Markers,
    pub(crate) exits: bool,
    pub(crate) failed: Failed,
    pub(crate) failed_hook: FailedHook,
    pub(crate) pin: Option<PathBuf>,
    pub(crate) proc: PathBuf,
}

impl Default for TracerBuilder {
    fn default() -> TracerBuilder {
        TracerBuilder {
            ring_bytes: 4 << 20,
            wakeup_bytes: None,
            read_args_bytes: u32::MAX,
            max_args_bytes: u64::MAX,
            max_scopes: 256,
            max_processes: 32_768,
            backup: Backup::default(),
            rules: Vec::new(),
            markers: Markers::default(),
            exits: false,
            failed: Failed::default(),
            failed_hook: FailedHook::Fexit,
            pin: None,
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

    /// Unread bytes at which the reader is woken before its timeout; default a sixteenth of the ring, 0: at every record.
    /// Each time takes a processor from whatever runs there, so fewer make execs faster.
    pub fn wakeup_bytes(mut self, bytes: u32) -> Self {
        self.wakeup_bytes = Some(bytes);
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

    /// How many scopes the tracer can hold at a time; default 256. Each takes four rows of counters per CPU.
    pub fn max_scopes(mut self, scopes: u32) -> Self {
        self.max_scopes = scopes.clamp(1, 1 << 16);
        self
    }

    /// How many processes of all scopes can live at a time before parents and tree membership get lost (counted);
    /// default 32,768. Each takes a row of a hash map that the kernel allocates beforehand.
    pub fn max_processes(mut self, processes: u32) -> Self {
        self.max_processes = processes.clamp(16, 1 << 22);
        self
    }

    /// Whether the second exec program is attached.
    pub fn backup(mut self, backup: Backup) -> Self {
        self.backup = backup;
        self
    }

    /// Adds a rule by which execs are left out, and counted, or kept; at most [`crate::MAX_RULES`]. The order says for which
    /// of several rules an exec counts.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a marker that is looked for in environments: `NAME`, with any value, or `NAME=VALUE`, with exactly that one. At
    /// most 64, of 62 bytes each. A process that has one hands it down to all that descends from it, and
    /// [`Event::env_marker`] is its place in the order of these calls. Of a variable that is two markers, the one with the
    /// value is found.
    ///
    /// The environment is looked at in the kernel, and nothing else of it comes out. Anybody can set a variable or clear
    /// it, so a marker tells of programs that do not hide.
    ///
    /// [`Event::env_marker`]: crate::Event::env_marker
    pub fn env_marker(mut self, marker: impl Into<Vec<u8>>) -> Self {
        self.markers.words.push(marker.into());
        self
    }

    /// Adds an executable whose environment is looked at for markers: the last component of the path of the file that runs
    /// (of a script, its interpreter), at most 15 bytes. At most 32; without any, nothing is looked at.
    pub fn env_marker_of(mut self, program: impl Into<Vec<u8>>) -> Self {
        self.markers.programs.push(program.into());
        self
    }

    /// Whether the end of each process whose exec was logged is told; default no.
    pub fn exits(mut self, exits: bool) -> Self {
        self.exits = exits;
        self
    }

    /// Which attempts to exec that failed are told, and by which hook; default none. Ask
    /// [`FailedHook::check`] before whether the host has the hook.
    pub fn failed(mut self, failed: Failed, hook: FailedHook) -> Self {
        self.failed = failed;
        self.failed_hook = hook;
        self
    }

    /// Keeps the kernel's half alive in a folder of a bpf file system, also when this process is killed, and takes over
    /// what it finds there. What was handed out stays in the ring until it is committed to the [`crate::Journal`].
    pub fn pin(mut self, folder: impl Into<PathBuf>) -> Self {
        self.pin = Some(folder.into());
        self
    }

    /// What must be the same for one tracer to take over from another: all that the kernel's half was made with.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut settings = TracerBuilder { pin: None, proc: PathBuf::new(), max_args_bytes: 0, ..self.clone() };
        settings.markers.programs.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(layout());
        hash.update(format!("{settings:?} {}", self.backup.is_on()));
        hash.finalize().into()
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

/// Names this version: the kernel's half, and what user space keeps there.
pub(crate) fn layout() -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(env!("EXECTRACE_KERNEL_PROGRAM"));
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(format!("{TOLD} {NOTES} {SCOPE_NOTES}"));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_tracer_must_share_is_told_apart_from_what_it_need_not() {
        let same = Tracer::builder().proc("/elsewhere").max_args_bytes(7).pin("/sys/fs/bpf/x");
        assert_eq!(same.fingerprint(), Tracer::builder().fingerprint());
        assert_ne!(Tracer::builder().exits(true).fingerprint(), Tracer::builder().fingerprint());
        let of = |uid| Rule { uid: Some(uid), ..Rule::default() };
        assert_ne!(Tracer::builder().rule(of(1)).fingerprint(), Tracer::builder().fingerprint());
        let in_order = |uids: [u32; 2]| uids.iter().fold(Tracer::builder(), |builder, uid| builder.rule(of(*uid)));
        assert_eq!(in_order([1, 2]).fingerprint(), in_order([1, 2]).fingerprint());
        // The counters go by the order.
        assert_ne!(in_order([1, 2]).fingerprint(), in_order([2, 1]).fingerprint());
        let marked = |words: [&str; 2]| words.iter().fold(Tracer::builder(), |builder, word| builder.env_marker(*word));
        assert_ne!(marked(["A", "B"]).fingerprint(), marked(["B", "A"]).fingerprint());
        let of = |names: [&str; 2]| names.iter().fold(Tracer::builder(), |builder, name| builder.env_marker_of(*name));
        assert_eq!(of(["a", "b"]).fingerprint(), of(["b", "a"]).fingerprint());
    }

    #[test]
    fn a_ring_has_a_size_that_the_kernel_takes() {
        assert_eq!(Tracer::builder().ring_bytes(1).ring_bytes, 128 << 10);
        assert_eq!(Tracer::builder().ring_bytes(5 << 20).ring_bytes, 8 << 20);
    }
}
