//! Events for tests.

use std::time::{Duration, SystemTime};

use exectrace::{Args, Event, ExecId, Hook, Interpreter, Origin, Partial, ScopeId, Traits};

/// The sample line of the README: `uname -a` in a shell of a workspace.
pub(crate) fn uname() -> Event {
    let id = ExecId { boot: 0xb7c9_e1d2_a4f0, start: 0x1_a2b3_c4d5, pid: 920_684, exec: 3 };
    Event {
        time: SystemTime::UNIX_EPOCH + Duration::new(1_646_080_178, 38_452_202),
        scope: ScopeId::FIRST,
        id,
        parent_id: Some(ExecId { exec: 2, pid: 920_600, ..id }),
        filename: b"/usr/bin/uname".to_vec(),
        argv: args(&[b"uname", b"-a"]),
        pid: 920_684,
        vpid: 84,
        ppid: 920_600,
        sid: 920_600,
        caller_tid: 920_684,
        uid: 101_000,
        gid: 101_000,
        euid: 101_000,
        egid: 101_000,
        loginuid: None,
        audit_session: None,
        comm: b"bash".to_vec(),
        exe: b"/usr/bin/uname".to_vec(),
        interpreter: None,
        cwd: b"/home/jessie".to_vec(),
        tty: Some(b"pts/3".to_vec()),
        cgroup: 8_127,
        ns_level: 1,
        pid_ns: 4_026_532_412,
        mnt_ns: 4_026_532_410,
        inode: 131_337,
        device: (8, 1),
        mode: 0o100_755,
        traits: Traits::empty(),
        partial: Partial::empty(),
        origin: Origin { cpu: 1, hook: Hook::Exec, seq: 41 },
    }
}

/// A script with everything that an event can have, and bytes that try to get out of their string.
pub(crate) fn everything() -> Event {
    let mut event = uname();
    event.filename = b"./tools/\xff\"run".to_vec();
    event.argv = args(&[
        b"./tools/\xff\"run",
        b"",
        b"two\nlines\n{\"msg\":\"exec\"}",
        "\u{202e}\u{fffd}".as_bytes(),
        b"$(id) 'x'",
        b"cu",
    ]);
    event.argv.count = 9;
    event.argv.total_bytes = 90_000;
    event.argv.sha256 = Some([0xab; 32]);
    event.exe = b"/usr/bin/dash".to_vec();
    event.interpreter = Some(Interpreter { path: b"/bin/sh".to_vec(), args: vec![b"-e".to_vec()] });
    event.euid = 0;
    event.egid = 0;
    event.loginuid = Some(1000);
    event.audit_session = Some(7);
    event.caller_tid = 920_690;
    event.traits = Traits::all();
    event.partial = Partial::ARGS_KEEP_LIMIT | Partial::CWD_CUT;
    event.origin.hook = Hook::Backup;
    event
}

/// What of an event can be missing is missing.
pub(crate) fn bare() -> Event {
    let mut event = uname();
    event.parent_id = None;
    event.comm = Vec::new();
    event.exe = Vec::new();
    event.cwd = Vec::new();
    event.tty = None;
    event.argv = Args::new(Vec::new(), 2, 9, None);
    event.partial = Partial::all();
    event
}

pub(crate) fn args(argv: &[&[u8]]) -> Args {
    let block: Vec<u8> = argv.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
    let bytes = block.len() as u64;
    Args::new(block, u32::try_from(argv.len()).expect("few arguments"), bytes, None)
}
