//! The kernel program from bytes to attached, and what to say when it cannot be.

use std::mem::{MaybeUninit, size_of};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, OpenObject, ProgramMut};

use crate::builder::{Backup, TracerBuilder};
use crate::host;
use crate::skel::types::{self, exclude_key};
use crate::skel::{ExecSkel, ExecSkelBuilder, OpenExecSkel};
use crate::tracer::TracerError;

/// Opens, configures and loads the kernel program.
pub(crate) fn load(settings: &TracerBuilder, log: &LoadLog) -> Result<ExecSkel<'static>, TracerError> {
    // The skeleton borrows where its object lives; one pointer per tracer is what it costs not to borrow from ourselves.
    let place: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open =
        ExecSkelBuilder::default().open(place).map_err(|source| log.failure("opening the kernel program", source))?;
    configure(&mut open, settings).map_err(|source| log.failure("configuring the kernel program", source))?;
    open.load().map_err(|source| log.failure("loading the kernel program", source))
}

fn configure(open: &mut OpenExecSkel<'_>, settings: &TracerBuilder) -> libbpf_rs::Result<()> {
    let backup = settings.backup.is_on();
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

/// Attaches the programs: from here on they run.
pub(crate) fn attach(skel: &mut ExecSkel<'static>, backup: Backup, log: &LoadLog) -> Result<(), TracerError> {
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
    if backup.is_on() {
        skel.links.exec_backup = attach(&skel.progs.exec_backup)?;
    }
    Ok(())
}

/// Tells the kernel program whose execs to leave out.
pub(crate) fn exclude(skel: &mut ExecSkel<'static>, settings: &TracerBuilder) -> Result<(), TracerError> {
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
}
