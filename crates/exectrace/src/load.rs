//! The kernel program from bytes to attached, and what to say when it cannot be.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapHandle, MapMut, OpenObject, ProgramMut};

use crate::builder::{Backup, Failed, TracerBuilder};
use crate::casts;
use crate::failed_hook::{self, FailedHook};
use crate::host;
use crate::journal;
use crate::kernel::{Kernel, Maps, Programs};
use crate::rules;
use crate::skel::types;
use crate::skel::{ExecSkel, ExecSkelBuilder, OpenExecSkel};
use crate::tracer::TracerError;

/// Opens, configures, loads and attaches the kernel program: from here on it runs.
pub(crate) fn load(settings: &TracerBuilder, log: &LoadLog) -> Result<Kernel, TracerError> {
    let mut place = MaybeUninit::uninit();
    let skel = open(&mut place, settings, log)?;
    let copied = |source: libbpf_rs::Error| log.failure("keeping the kernel program's maps", source);
    let map = |map: &MapMut<'_>| MapHandle::try_from(map).map_err(copied);
    let maps = Maps {
        pid_ns_scopes: map(&skel.maps.pid_ns_scopes)?,
        cgroup_scopes: map(&skel.maps.cgroup_scopes)?,
        processes: map(&skel.maps.processes)?,
        tree_claims: map(&skel.maps.tree_claims)?,
        left_out: map(&skel.maps.left_out)?,
        stats: map(&skel.maps.stats)?,
        records: map(&skel.maps.records)?,
        budgets: map(&skel.maps.budgets)?,
        bss: map(&skel.maps.bss)?,
        journal: map(&skel.maps.journal)?,
    };
    let progs = &skel.progs;
    let programs = Programs {
        exec: keep(if settings.backup.is_on() { &progs.exec_backup } else { &progs.exec_first })?,
        fork: keep(&progs.process_fork)?,
        exit: keep(&progs.process_exit)?,
        failed: failed_programs(&skel, settings).map(|(_, program)| keep(program)).collect::<Result<_, _>>()?,
    };
    settings.markers.tell(&skel.maps.env_markers, &skel.maps.env_programs)?;
    rules::tell(&settings.rules, &skel.maps.rules_of_uid, &skel.maps.rules_of_path)?;
    let mut kernel = Kernel::new(maps, programs, Vec::new())?;
    rules::switch_on(&settings.rules, &kernel.index());
    kernel.links = attach(&skel, settings, log)?;
    Ok(kernel)
}

fn keep(program: &ProgramMut<'_>) -> Result<OwnedFd, TracerError> {
    program
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| TracerError::System { what: "keeping the kernel program", source })
}

fn open<'a>(
    place: &'a mut MaybeUninit<OpenObject>,
    settings: &TracerBuilder,
    log: &LoadLog,
) -> Result<ExecSkel<'a>, TracerError> {
    let mut open =
        ExecSkelBuilder::default().open(place).map_err(|source| log.failure("opening the kernel program", source))?;
    configure(&mut open, settings).map_err(|source| log.failure("configuring the kernel program", source))?;
    open.load().map_err(|source| log.failure("loading the kernel program", source))
}

/// How often the reader is woken while a ring is filled: early enough that it empties the ring before that is full.
const WAKEUPS: u32 = 16;

fn configure(open: &mut OpenExecSkel<'_>, settings: &TracerBuilder) -> libbpf_rs::Result<()> {
    let backup = settings.backup.is_on();
    if let Some(rodata) = &mut open.maps.rodata_data {
        rodata.settings.args_limit = settings.read_args_bytes;
        rodata.settings.wakeup_bytes = settings.wakeup_bytes.unwrap_or(settings.ring_bytes / WAKEUPS);
        rodata.settings.ring_bytes = settings.ring_bytes;
        rodata.settings.env_markers = settings.markers.count();
        rodata.settings.env_first = settings.markers.first_bytes();
        rodata.settings.exits = u32::from(settings.exits);
        if let Some(types) = casts::types() {
            rodata.settings.casts = 1;
            rodata.settings.types = types;
        }
        rodata.settings.failed = match settings.failed {
            Failed::None => types::failed::FAILED_NONE,
            Failed::Notable => types::failed::FAILED_NOTABLE,
            Failed::All => types::failed::FAILED_ALL,
        };
    }
    open.progs.exec_backup.set_autoload(backup);
    open.progs.exec_first.set_autoload(settings.backup != Backup::Alone);
    let fexit = settings.failed != Failed::None && settings.failed_hook == FailedHook::Fexit;
    let tracepoint = settings.failed != Failed::None && settings.failed_hook == FailedHook::Tracepoint;
    let compat = fexit && failed_hook::has_compat_calls();
    open.progs.fexit_execve.set_autoload(fexit);
    open.progs.fexit_execveat.set_autoload(fexit);
    open.progs.fexit_compat_execve.set_autoload(compat);
    open.progs.fexit_compat_execveat.set_autoload(compat);
    open.progs.exit_execve.set_autoload(tracepoint);
    open.progs.exit_execveat.set_autoload(tracepoint);
    // Only a tracer that may have a successor keeps a journal of its scopes.
    let journal_scopes = if settings.pin.is_some() { settings.max_scopes } else { 0 };
    open.maps.journal.set_max_entries(journal::words(journal_scopes))?;
    open.maps.records.set_max_entries(settings.ring_bytes)?;
    open.maps.stats.set_max_entries((settings.max_scopes + 1) * types::hook::HOOK_COUNT.0)?;
    open.maps.budgets.set_max_entries(settings.max_scopes + 1)?;
    open.maps.pid_ns_scopes.set_max_entries(settings.max_scopes)?;
    open.maps.cgroup_scopes.set_max_entries(settings.max_scopes)?;
    open.maps.processes.set_max_entries(settings.max_processes)?;
    open.maps.tree_claims.set_max_entries(settings.max_processes)
}

/// Programs at the end of system calls that are loaded, with their names.
fn failed_programs<'a>(
    skel: &'a ExecSkel<'_>,
    settings: &TracerBuilder,
) -> impl Iterator<Item = (&'static str, &'a ProgramMut<'a>)> {
    let progs = &skel.progs;
    let all = [
        ("fexit_execve", &progs.fexit_execve),
        ("fexit_execveat", &progs.fexit_execveat),
        ("fexit_compat_execve", &progs.fexit_compat_execve),
        ("fexit_compat_execveat", &progs.fexit_compat_execveat),
        ("exit_execve", &progs.exit_execve),
        ("exit_execveat", &progs.exit_execveat),
    ];
    let any = settings.failed != Failed::None;
    all.into_iter().filter(move |(_, program)| any && program.autoload())
}

fn attach(skel: &ExecSkel<'_>, settings: &TracerBuilder, log: &LoadLog) -> Result<Vec<(String, Link)>, TracerError> {
    let progs = &skel.progs;
    // The table of processes stands before the first exec asks for it.
    let mut order = vec![
        ("process_exit", &progs.process_exit),
        ("process_fork", &progs.process_fork),
        ("caller_comm", &progs.caller_comm),
    ];
    if settings.backup != Backup::Alone {
        order.push(("exec_first", &progs.exec_first));
    }
    if settings.backup.is_on() {
        order.push(("exec_backup", &progs.exec_backup));
    }
    order.extend(failed_programs(skel, settings));
    order
        .into_iter()
        .map(|(name, program)| {
            let link = program.attach().map_err(|source| log.failure("attaching the kernel program", source))?;
            Ok((name.to_owned(), link))
        })
        .collect()
}

/// What libbpf says while a program is loaded, which it would print to stderr.
pub(crate) struct LoadLog {
    _one_load_at_a_time: MutexGuard<'static, ()>,
}

static LOADING: Mutex<()> = Mutex::new(());
static LOAD_LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl LoadLog {
    /// Keeps what libbpf says from now on.
    pub(crate) fn capture() -> LoadLog {
        let guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner).clear();
        libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, line| {
            LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_owned());
        })));
        LoadLog { _one_load_at_a_time: guard }
    }

    /// An error that says what to do, as far as that can be told.
    pub(crate) fn failure(&self, step: &'static str, source: libbpf_rs::Error) -> TracerError {
        use libbpf_rs::ErrorKind;
        let lines = LOAD_LOG.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = host::missing_capabilities("/proc");
        // libbpf tries the smallest of programs first: who may not load that, may load none. A seccomp profile says that
        // there is no such call.
        let may_load_none = lines.iter().any(|line| line.contains("trivial BPF program"));
        let is_refused = source.kind() == ErrorKind::PermissionDenied || may_load_none;
        if is_refused && !missing.is_empty() {
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
        if is_refused && (lines.is_empty() || may_load_none) {
            return TracerError::NotPermitted(
                "a seccomp profile, a security module or a user namespace stands in the way (in Kubernetes, RuntimeDefault \
                 lets bpf(2) through for CAP_BPF only with newer container runtimes)"
                    .to_owned(),
            );
        }
        let log = lines.iter().flat_map(|line| ["\n  ", line]).collect();
        TracerError::Kernel { step, source, log }
    }
}
