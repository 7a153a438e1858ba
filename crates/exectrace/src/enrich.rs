//! One exec's records + facts of the host -> [`Event`]. Pure: clock and boot id come in.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::assemble::Exec;
use crate::event::{Args, Ended, Event, ExecId, FailedExec, Hook, Interpreter, Origin, Partial, Status, Traits};
use crate::pod;
use crate::scope::ScopeId;
use crate::skel::types::{exec_flag, exit_record, hook, image, record_head};

/// A script can be the interpreter of a script, five deep (`exec_binprm` of fs/exec.c); each adds a path and at most one
/// argument. So the first script's path is among the first eleven of the arguments that the kernel made.
const SCRIPT_PATH_AT_MOST: usize = 10;

/// The kernel's "not set" for login users and audit sessions.
const UNSET: u32 = u32::MAX;

/// What an event needs beyond the kernel's records.
#[derive(Debug, Clone)]
pub(crate) struct Enricher {
    /// First 48 bits of the boot id.
    pub(crate) boot: u64,
    /// Argument bytes to keep of each exec.
    pub(crate) max_args_bytes: u64,
}

impl Enricher {
    /// The 48 bits of the kernel's boot id, a random UUID, that ids begin with; they lie before its version digit.
    pub(crate) fn boot_of(boot_id: &str) -> Option<u64> {
        let digits: String = boot_id.chars().filter(|digit| *digit != '-').take(12).collect();
        (digits.len() == 12).then(|| u64::from_str_radix(&digits, 16).ok())?
    }

    /// An attempt that failed: `id` is that of the image that tried, `parent_id` the nearest one up the line that was
    /// logged, itself if it was.
    pub(crate) fn failed(&self, exec: Exec, boot_time: SystemTime, position: u64) -> FailedExec {
        FailedExec { errno: exec.fixed.error, attempt: self.event(exec, boot_time, position) }
    }

    /// The end of a process.
    pub(crate) fn ended(&self, exit: &exit_record, boot_time: SystemTime, position: u64) -> Ended {
        Ended {
            time: boot_time + Duration::from_nanos(exit.time),
            scope: ScopeId::new(exit.head.scope).unwrap_or(ScopeId::FIRST),
            id: self.id(exit.image),
            pid: exit.image.tgid,
            uid: exit.uid,
            comm: c_string(&exit.comm),
            status: Status(exit.status),
            lived: Duration::from_nanos(exit.lived),
            cpu_time: Duration::from_nanos(exit.cpu_time),
            max_rss_bytes: exit.max_rss.saturating_mul(rustix::param::page_size() as u64),
            origin: origin(&exit.head, position),
        }
    }

    /// `boot_time` is the wall clock's reading when CLOCK_BOOTTIME was 0, `position` that of the event in the ring.
    pub(crate) fn event(&self, exec: Exec, boot_time: SystemTime, position: u64) -> Event {
        let fixed = exec.fixed;
        let flag = |flag: exec_flag| fixed.head.flags.0 & flag.0 != 0;
        let mut partial = partial_of(fixed.head.flags.0);
        partial.set(Partial::ARGS_RING_FULL, exec.args_lost || flag(exec_flag::EXEC_ARGS_TIGHT));
        let has_strings = !flag(exec_flag::EXEC_STRINGS_TIGHT);
        let view = if flag(exec_flag::EXEC_SCRIPT) && has_strings {
            caller_view(&exec, flag(exec_flag::EXEC_ARGV0_KEPT), &mut partial)
        } else {
            CallerView { interpreter: None, skipped_bytes: 0, skipped_args: 0 }
        };
        let (args, args_partial) = self.args(&exec, &view);
        let mut traits = traits_of(fixed.head.flags.0);
        let exe = if partial.contains(Partial::EXE) { Vec::new() } else { exec.exe };
        traits.set(Traits::LD_SO, is_loader(&exe) || is_loader(&exec.filename));
        Event {
            time: boot_time + Duration::from_nanos(fixed.time),
            scope: ScopeId::new(fixed.head.scope).unwrap_or(ScopeId::FIRST),
            id: self.id(fixed.image),
            parent_id: (fixed.parent.exec != 0).then(|| self.id(fixed.parent)),
            filename: exec.filename,
            argv: args,
            pid: fixed.image.tgid,
            vpid: fixed.vpid,
            ppid: fixed.ppid,
            sid: fixed.sid,
            caller_tid: fixed.old_tid,
            uid: fixed.uid,
            gid: fixed.gid,
            euid: fixed.euid,
            egid: fixed.egid,
            loginuid: (fixed.loginuid != UNSET).then_some(fixed.loginuid),
            audit_session: (fixed.audit_session != UNSET).then_some(fixed.audit_session),
            comm: c_string(&fixed.comm),
            exe,
            interpreter: view.interpreter,
            cwd: exec.cwd,
            tty: Some(exec.tty).filter(|name| !name.is_empty()).map(terminal_name),
            container: pod::container_of(&exec.container),
            env_marker: fixed.env_marker.checked_sub(1),
            cgroup: fixed.cgroup,
            ns_level: fixed.ns_level,
            pid_ns: fixed.pid_ns,
            mnt_ns: fixed.mnt_ns,
            inode: fixed.exe_inode,
            device: (fixed.exe_device >> 20, fixed.exe_device & 0xf_ffff),
            mode: fixed.exe_mode,
            traits,
            partial: partial | args_partial,
            origin: origin(&fixed.head, position),
        }
    }

    fn id(&self, image: image) -> ExecId {
        ExecId { boot: self.boot, start: image.start, pid: image.tgid, exec: image.exec }
    }

    fn args(&self, exec: &Exec, view: &CallerView) -> (Args, Partial) {
        let block = exec.args.get(view.skipped_bytes..).unwrap_or_default();
        let total = u64::from(exec.fixed.args_total).saturating_sub(view.skipped_bytes as u64);
        let count = exec.fixed.argc.saturating_sub(view.skipped_args);
        let whole = exec.args.len() as u64 >= u64::from(exec.fixed.args_total);
        let keep = usize::try_from(self.max_args_bytes).unwrap_or(usize::MAX).min(block.len());
        let limited = keep < block.len();
        let sha256 = (whole && limited).then(|| Sha256::digest(block).into());
        let partial = if limited { Partial::ARGS_KEEP_LIMIT } else { Partial::empty() };
        (Args::new(block[..keep].to_vec(), count, total, sha256), partial)
    }
}

fn origin(head: &record_head, position: u64) -> Origin {
    let seen_by = match head.hook {
        hook::HOOK_BACKUP => Hook::Backup,
        hook::HOOK_FAILED => Hook::Failed,
        hook::HOOK_EXIT => Hook::Exit,
        _ => Hook::Exec,
    };
    Origin { cpu: head.cpu, hook: seen_by, seq: head.seq, position }
}

/// How the arguments that the kernel made divide into the interpreter's and the caller's.
struct CallerView {
    interpreter: Option<Interpreter>,
    skipped_bytes: usize,
    skipped_args: u32,
}

/// The kernel replaces a script's argv[0] by the interpreter, its argument and the script's path, which is `filename`;
/// a registered format with flag P keeps argv[0] behind the path.
fn caller_view(exec: &Exec, argv0_kept: bool, partial: &mut Partial) -> CallerView {
    let mut starts = vec![0];
    starts.extend(
        exec.args
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == 0)
            .map(|(at, _)| at + 1)
            .take(SCRIPT_PATH_AT_MOST + 1),
    );
    let args: Vec<&[u8]> = starts.windows(2).map(|pair| &exec.args[pair[0]..pair[1] - 1]).collect();
    let mut places = (1..args.len()).filter(|at| args[*at] == exec.filename);
    let found = places.next();
    if found.is_none() || places.next().is_some() {
        *partial |= Partial::SCRIPT_ARGS;
    }
    let path_at = found.unwrap_or(0);
    let skipped = path_at + usize::from(argv0_kept && found.is_some());
    let args = args.get(1..path_at).unwrap_or_default().iter().map(|arg| arg.to_vec()).collect();
    CallerView {
        interpreter: Some(Interpreter { path: exec.interp.clone(), args }),
        skipped_bytes: starts.get(skipped).copied().unwrap_or_default(),
        skipped_args: u32::try_from(skipped).unwrap_or_default(),
    }
}

fn traits_of(flags: u32) -> Traits {
    translate(
        flags,
        &[
            (exec_flag::EXEC_MEMFD, Traits::MEMFD),
            (exec_flag::EXEC_DELETED, Traits::DELETED),
            (exec_flag::EXEC_SETUID, Traits::SETUID),
            (exec_flag::EXEC_THREAD, Traits::THREAD),
            (exec_flag::EXEC_NESTED, Traits::NESTED),
        ],
    )
}

fn partial_of(flags: u32) -> Partial {
    translate(
        flags,
        &[
            (exec_flag::EXEC_FILENAME_FAULT, Partial::FILENAME),
            (exec_flag::EXEC_FILENAME_CUT, Partial::FILENAME_CUT),
            (exec_flag::EXEC_INTERP_FAULT, Partial::INTERPRETER),
            (exec_flag::EXEC_INTERP_CUT, Partial::INTERPRETER_CUT),
            (exec_flag::EXEC_EXE_FAULT, Partial::EXE),
            (exec_flag::EXEC_EXE_CUT, Partial::EXE_CUT),
            (exec_flag::EXEC_EXE_OUTSIDE, Partial::EXE_OUTSIDE_ROOT),
            (exec_flag::EXEC_CWD_FAULT, Partial::CWD),
            (exec_flag::EXEC_CWD_CUT, Partial::CWD_CUT),
            (exec_flag::EXEC_CWD_OUTSIDE, Partial::CWD_OUTSIDE_ROOT),
            (exec_flag::EXEC_COMM_UNKNOWN, Partial::COMM),
            (exec_flag::EXEC_ARGS_FAULT, Partial::ARGS_FAULT),
            (exec_flag::EXEC_ARGS_LIMITED, Partial::ARGS_READ_LIMIT),
            (exec_flag::EXEC_PARENT_UNKNOWN, Partial::PARENT),
            (exec_flag::EXEC_STRINGS_TIGHT, Partial::STRINGS_RING_FULL),
            (exec_flag::EXEC_ENV_FAULT, Partial::ENV_FAULT),
            (exec_flag::EXEC_ENV_LIMITED, Partial::ENV_LIMIT),
        ],
    )
}

fn translate<T: bitflags::Flags + Copy>(flags: u32, table: &[(exec_flag, T)]) -> T {
    table.iter().filter(|(wire, _)| flags & wire.0 != 0).fold(T::empty(), |all, (_, ours)| all.union(*ours))
}

/// The names that the loaders of glibc and musl go by. A copy under another name is not recognised.
fn is_loader(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    name == b"ld.so" || (name.starts_with(b"ld-") && has(b".so")) || (name.starts_with(b"ld64") && has(b".so"))
}

/// `pts3` -> `pts/3`, as ps and who tell it; other terminals have no slash.
fn terminal_name(name: Vec<u8>) -> Vec<u8> {
    match name.strip_prefix(b"pts") {
        Some(number) if number.first().is_some_and(u8::is_ascii_digit) => [b"pts/", number].concat(),
        _ => name,
    }
}

/// A `char` of the kernel program is signed, whatever it is for other programs of the machine.
fn c_string(chars: &[i8]) -> Vec<u8> {
    chars.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skel::types::exec_record;

    const KEEP_ALL: Enricher = Enricher { boot: 0xb7c9_e1d2_a4f0, max_args_bytes: u64::MAX };

    fn exec(filename: &[u8], argv: &[&[u8]]) -> Exec {
        let args: Vec<u8> = argv.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
        let len = u32::try_from(args.len()).expect("short");
        let argc = u32::try_from(argv.len()).expect("few");
        let mut fixed = exec_record { argc, args_total: len, args_wanted: len, loginuid: UNSET, ..Default::default() };
        fixed.head.scope = 1;
        fixed.head.flags = exec_flag(0);
        Exec {
            fixed,
            filename: filename.to_vec(),
            interp: Vec::new(),
            exe: filename.to_vec(),
            cwd: b"/".to_vec(),
            tty: Vec::new(),
            container: Vec::new(),
            args,
            args_lost: false,
            first: crate::ring::Span { start: 0, end: 0 },
        }
    }

    fn script(interp: &[u8], filename: &[u8], argv: &[&[u8]]) -> Exec {
        let mut exec = exec(filename, argv);
        exec.fixed.head.flags.0 |= exec_flag::EXEC_SCRIPT.0;
        exec.interp = interp.to_vec();
        exec
    }

    fn event(exec: Exec) -> Event {
        KEEP_ALL.event(exec, SystemTime::UNIX_EPOCH, 0)
    }

    fn argv(event: &Event) -> Vec<&[u8]> {
        event.argv.iter().collect()
    }

    #[test]
    fn a_script_shows_its_own_arguments_and_its_interpreter_beside_them() {
        let event = event(script(b"/bin/sh", b"./run", &[b"/bin/sh", b"-e", b"./run", b"", b"x"]));
        assert_eq!(argv(&event), [&b"./run"[..], b"", b"x"]);
        assert_eq!(event.argv.count, 3);
        assert_eq!(event.argv.total_bytes, 9);
        assert_eq!(event.interpreter, Some(Interpreter { path: b"/bin/sh".to_vec(), args: vec![b"-e".to_vec()] }));
        assert_eq!((event.partial, event.truncated()), (Partial::empty(), false));
    }

    #[test]
    fn a_script_of_a_script_keeps_the_inner_one_with_the_interpreter() {
        let event = event(script(b"/bin/sh", b"/outer", &[b"/bin/sh", b"/inner", b"-o", b"/outer", b"x"]));
        assert_eq!(argv(&event), [&b"/outer"[..], b"x"]);
        let interpreter = event.interpreter.expect("a script");
        assert_eq!(interpreter.args, [&b"/inner"[..], b"-o"]);
    }

    #[test]
    fn a_script_that_is_given_its_own_path_says_that_it_guesses_and_loses_nothing() {
        let event = event(script(b"/bin/sh", b"./run", &[b"/bin/sh", b"./run", b"./run"]));
        assert_eq!(argv(&event), [b"./run", b"./run"]);
        assert_eq!(event.partial, Partial::SCRIPT_ARGS);
    }

    #[test]
    fn a_registered_format_with_flag_p_shows_the_caller_s_own_argv0() {
        let mut exec = script(b"/usr/bin/qemu", b"/a.out", &[b"/usr/bin/qemu", b"/a.out", b"called", b"x"]);
        exec.fixed.head.flags.0 |= exec_flag::EXEC_ARGV0_KEPT.0;
        assert_eq!(argv(&event(exec)), [&b"called"[..], b"x"]);
    }

    #[test]
    fn a_limit_keeps_the_front_and_hashes_the_whole() {
        let enricher = Enricher { max_args_bytes: 4, ..KEEP_ALL };
        let event = enricher.event(exec(b"/x", &[b"ab", b"cdef"]), SystemTime::UNIX_EPOCH, 0);
        assert_eq!(argv(&event), [&b"ab"[..], b"c"]);
        assert!(event.truncated());
        assert_eq!((event.argv.count, event.argv.total_bytes, event.argv.kept_bytes()), (2, 8, 4));
        assert_eq!(event.argv.sha256, Some(Sha256::digest(b"ab\0cdef\0").into()));
        assert_eq!(event.partial, Partial::ARGS_KEEP_LIMIT);
    }

    #[test]
    fn arguments_that_did_not_arrive_have_no_hash() {
        let mut exec = exec(b"/x", &[b"ab", b"cdef"]);
        exec.args.truncate(5);
        exec.args_lost = true;
        let event = event(exec);
        assert!(event.truncated());
        assert_eq!((event.argv.sha256, event.partial), (None, Partial::ARGS_RING_FULL));
    }

    #[test]
    fn an_exec_of_which_only_numbers_came_has_no_strings_and_says_so() {
        let mut exec = script(b"", b"", &[]);
        exec.exe.clear();
        exec.fixed.argc = 3;
        exec.fixed.args_total = 20;
        exec.fixed.head.flags.0 |= exec_flag::EXEC_STRINGS_TIGHT.0 | exec_flag::EXEC_ARGS_TIGHT.0;
        let event = event(exec);
        assert_eq!((event.interpreter.as_ref(), event.argv.count, event.truncated()), (None, 3, true));
        assert_eq!(event.partial, Partial::STRINGS_RING_FULL | Partial::ARGS_RING_FULL);
    }

    #[test]
    fn a_marker_s_number_begins_at_0_and_none_is_none() {
        let of = |env_marker| {
            let mut exec = exec(b"/x", &[]);
            exec.fixed.env_marker = env_marker;
            event(exec).env_marker
        };
        assert_eq!((of(0), of(1), of(64)), (None, Some(0), Some(63)));
    }

    #[test]
    fn the_loader_is_known_by_its_names() {
        for name in [&b"/lib64/ld-linux-x86-64.so.2"[..], b"/lib/ld-musl-x86_64.so.1", b"ld.so", b"/lib64/ld64.so.2"] {
            assert!(is_loader(name));
        }
        for name in [&b"/usr/bin/ld"[..], b"/usr/bin/ld-wrapper", b"/lib/libc.so.6", b""] {
            assert!(!is_loader(name));
        }
    }

    #[test]
    fn numbers_that_no_kernel_tells_are_no_reason_to_stop() {
        let exit = exit_record { time: u64::MAX, lived: u64::MAX, max_rss: u64::MAX, ..Default::default() };
        assert_eq!(KEEP_ALL.ended(&exit, SystemTime::UNIX_EPOCH, 0).max_rss_bytes, u64::MAX);
    }

    #[test]
    fn the_time_is_the_boot_s_plus_the_record_s() {
        let mut exec = exec(b"/x", &[b"x"]);
        exec.fixed.time = 1_000_000_007;
        let boot = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(KEEP_ALL.event(exec, boot, 0).time, boot + Duration::new(1, 7));
    }

    #[test]
    fn the_boot_id_gives_its_first_48_bits() {
        assert_eq!(Enricher::boot_of("b7c9e1d2-a4f0-4d1c-9c55-0123456789ab"), Some(0xb7c9_e1d2_a4f0));
        assert_eq!(Enricher::boot_of("short"), None);
    }

    #[test]
    fn terminals_have_the_name_that_ps_shows() {
        assert_eq!(terminal_name(b"pts3".to_vec()), b"pts/3");
        assert_eq!(terminal_name(b"tty1".to_vec()), b"tty1");
    }
}
