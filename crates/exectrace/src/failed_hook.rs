//! Where attempts to exec that failed can be seen: which hooks this kernel has. Asked by trying, because whether a
//! program of this type may be loaded and attached is told nowhere.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use crate::host;

/// The end of the system calls that exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedHook {
    /// fexit programs at the system calls' own functions: only a call that fails pays. Not every kernel lets them in, and
    /// machines without BPF trampolines have none.
    Fexit,
    /// The tracepoints `sys_exit_execve` and `sys_exit_execveat`: they make every system call of the node some 5 ns
    /// slower, need tracefs, and do not see the calls of 32-bit programs. From Linux 5.15 on.
    Tracepoint,
}

impl FailedHook {
    /// Whether this host has the hook; if not, why.
    pub fn check(self) -> Result<(), String> {
        match self {
            FailedHook::Fexit => can_fexit(),
            FailedHook::Tracepoint => can_tracepoint(),
        }
    }
}

/// bpf_task_pt_regs, by which the tracepoint's program finds the call's arguments, is of 5.15.
const TRACEPOINT_FROM: (u32, u32) = (5, 15);
/// bpf_get_current_task_btf is of 5.11, and the atomic operations that the programs use are of 5.12.
const FEXIT_FROM: (u32, u32) = (5, 12);

fn can_tracepoint() -> Result<(), String> {
    at_least(TRACEPOINT_FROM)?;
    let mut hidden = None;
    for mount in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        match std::fs::metadata(format!("{mount}/events/syscalls/sys_exit_execve")) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => hidden = Some(format!("{mount} cannot be looked at: {error}")),
        }
    }
    Err(hidden.unwrap_or_else(|| {
        "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing), or has no system calls".to_owned()
    }))
}

fn at_least(wanted: (u32, u32)) -> Result<(), String> {
    match host::kernel_version() {
        Some(version) if version < wanted => Err(format!("it needs Linux {}.{}", wanted.0, wanted.1)),
        _ => Ok(()),
    }
}

#[cfg(target_arch = "aarch64")]
const EXECVE: &CStr = c"__arm64_sys_execve";
#[cfg(not(target_arch = "aarch64"))]
const EXECVE: &CStr = c"__x64_sys_execve";

#[cfg(target_arch = "aarch64")]
const COMPAT_EXECVE: &CStr = c"__arm64_compat_sys_execve";
#[cfg(not(target_arch = "aarch64"))]
const COMPAT_EXECVE: &CStr = c"__ia32_compat_sys_execve";

/// Whether the kernel has system calls for 32-bit programs.
pub(crate) fn has_compat_calls() -> bool {
    host::function_id(COMPAT_EXECVE).is_some()
}

/// Attaches a program that does nothing, and lets it go again.
fn can_fexit() -> Result<(), String> {
    at_least(FEXIT_FROM)?;
    let function = host::function_id(EXECVE).ok_or("the kernel's type information does not have the system call")?;
    // r0 = 0; exit
    let instructions: [u64; 2] = [0xb7, 0x95];
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as libbpf_sys::size_t,
        expected_attach_type: libbpf_sys::BPF_TRACE_FEXIT,
        attach_btf_id: function,
        ..Default::default()
    };
    // SAFETY: two instructions of eight bytes each, C strings, and options with their own size; nothing is kept.
    let program = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_TRACING,
            c"probe".as_ptr(),
            c"Dual MIT/GPL".as_ptr(),
            instructions.as_ptr().cast(),
            instructions.len() as libbpf_sys::size_t,
            &raw mut options,
        )
    };
    let program = opened(program).map_err(|error| format!("the kernel refuses fexit programs: {error}"))?;
    // SAFETY: the descriptor is that of a program; no name is wanted for this type.
    let link = unsafe { libbpf_sys::bpf_raw_tracepoint_open(ptr::null(), std::os::fd::AsRawFd::as_raw_fd(&program)) };
    opened(link).map(drop).map_err(|error| format!("the kernel does not attach fexit programs: {error}"))
}

fn opened(fd: i32) -> Result<OwnedFd, std::io::Error> {
    if fd < 0 {
        return Err(std::io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
