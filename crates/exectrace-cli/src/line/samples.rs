//! What lines tell of, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use exectrace::{
    Args, Ended, Event, ExecId, FailedExec, Gone, Hook, Interpreter, LossReason, Origin, Partial, Running, ScopeId,
    Status, Traits, What,
};

use exectrace_sift::{Kind, Of, Rare, Rollup, Session};
use exectrace_sinks::dropped::{self, Dropped, Number};

use super::{About, Entry, Folds, Lost, PodNames, Resumed, Start};
use crate::ledger::{BY_RULE, Books, Counts, Reason, RuleCounts, Snapshot};
use crate::seal::{KEYED, LINKED, Run};

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
        container: None,
        cgroup: 8_127,
        ns_level: 1,
        pid_ns: 4_026_532_412,
        mnt_ns: 4_026_532_410,
        inode: 131_337,
        device: (8, 1),
        mode: 0o100_755,
        traits: Traits::empty(),
        partial: Partial::empty(),
        env_marker: None,
        origin: Origin { cpu: 1, hook: Hook::Exec, seq: 41, position: 4_096 },
    }
}

/// A script of which each string is too long for the smallest line.
pub(crate) fn long() -> Event {
    let path = |name: &str| format!("/{name}/{}", "\u{e9}".repeat(600)).into_bytes();
    let mut event = uname();
    event.filename = path("filename");
    event.exe = path("exe");
    event.interpreter = Some(Interpreter { path: path("interpreter"), args: vec![b"-e".to_vec()] });
    event.cwd = path("cwd");
    event.argv = args(&[b"./run", b"--pad", &[b'A'; 3_000], b"--", b"id"]);
    event
}

/// The same, seen when it ran already.
pub(crate) fn long_running() -> Running {
    let Event { exe, cwd, argv, .. } = long();
    Running { exe, cwd, argv, ..running() }
}

/// What the sink cloudwatch does not have.
pub(crate) fn dropped() -> Dropped {
    let number = |line| Some(Number { run: 0x19de_8888, line });
    let reason = dropped::Reason::SpoolFull;
    Dropped { sink: "cloudwatch", reason, lines: 812, first: number(17), last: number(828) }
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
    event.container = Some("8f6b0c1d2e3f4051".repeat(4).into_bytes());
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

/// The session of an agent in an IDE, which the exec of [`uname`] belongs to.
pub(crate) fn session() -> Arc<Session> {
    let root = ExecId { exec: 1, pid: 920_511, ..uname().id };
    Arc::new(Session { kind: Kind::Agent, by: Some("claude-code".into()), root: Some(root), tty: None, is_lost: false })
}

/// What is told of an exec that an agent began itself, within a build.
pub(crate) fn about() -> About {
    About { redacted: 0, session: Some(session()), rare: Some(Rare::Agent), rollup: None }
}

/// A compiler below make.
pub(crate) fn rollup() -> Rollup {
    let time = uname().time;
    Rollup {
        number: 17,
        scope: ScopeId::FIRST,
        of: Of::Exe(Arc::from(&b"/usr/lib/gcc/x86_64-linux-gnu/12/cc1"[..])),
        uid: 101_000,
        root: ExecId { pid: 920_650, exec: 2, ..uname().id },
        root_exe: Arc::from(&b"/usr/bin/make"[..]),
        session: session(),
        count: 188,
        times: [time, time + Duration::from_millis(58_120)],
        ends: 187,
        failures: 1,
        bytes: 402_113,
        distinct: 188,
        distinct_at_least: false,
        sha256: [0xab; 32],
        samples: vec![
            (b"/usr/lib/gcc/x86_64-linux-gnu/12".to_vec(), b"-o /tmp/\"cc\xff.s".to_vec()),
            (b"cc1 b.c".to_vec(), Vec::new()),
        ],
    }
}

/// Searches along a path, more different ones than can be told apart.
pub(crate) fn searches() -> Rollup {
    let session = Session { kind: Kind::Unknown, by: None, root: None, tty: None, is_lost: false };
    Rollup {
        of: Of::Failed(2),
        scope: second_scope(),
        session: Arc::new(session),
        ends: 0,
        failures: 0,
        distinct_at_least: true,
        samples: Vec::new(),
        ..rollup()
    }
}

/// A run that rolls up, beside one that has all lines.
pub(crate) fn start_rolling_up() -> Start {
    let folds = Folds { more_than: 10, window: Duration::from_secs(60), complete: Some(Run(0x0123_cdef)) };
    Start { rollup: Some(folds), ..start() }
}

pub(crate) fn args(argv: &[&[u8]]) -> Args {
    let block: Vec<u8> = argv.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
    let bytes = block.len() as u64;
    Args::new(block, u32::try_from(argv.len()).expect("few arguments"), bytes, None)
}

/// An attempt by a thread, with everything that one can have.
pub(crate) fn refused() -> FailedExec {
    let mut attempt = everything();
    attempt.argv = args(&[b"./tools/\xff\"run", b"two\nlines"]);
    attempt.exe = Vec::new();
    attempt.interpreter = None;
    (attempt.inode, attempt.device, attempt.mode) = (0, (0, 0), 0);
    attempt.traits = Traits::THREAD | Traits::NESTED;
    attempt.partial = Partial::CWD_CUT | Partial::ARGS_READ_LIMIT;
    attempt.origin.hook = Hook::Failed;
    FailedExec { errno: 13, attempt }
}

/// The end of [`uname`].
pub(crate) fn ended() -> Ended {
    let Event { time, scope, id, pid, uid, origin, .. } = uname();
    Ended {
        time: time + Duration::from_micros(1_742),
        scope,
        id,
        pid,
        uid,
        comm: b"uname".to_vec(),
        status: Status::from_wait(0),
        lived: Duration::from_micros(1_742),
        cpu_time: Duration::from_nanos(1_310_417),
        max_rss_bytes: 2_052_096,
        origin: Origin { hook: Hook::Exit, seq: 17, ..origin },
    }
}

/// The same, but that its memory was dumped after SIGSEGV.
pub(crate) fn crashed() -> Ended {
    Ended { status: Status::from_wait(11 | 0x80), ..ended() }
}

/// The shell of a workspace.
pub(crate) fn running() -> Running {
    Running {
        pid: 920_600,
        ppid: 920_511,
        uid: 101_000,
        gid: 101_000,
        comm: b"bash".to_vec(),
        exe: b"/usr/bin/bash".to_vec(),
        cwd: b"/home/jessie/\xff".to_vec(),
        argv: args(&[b"-bash", b"two words"]),
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_646_080_100_250),
    }
}

/// A thread of the kernel: nothing but numbers and a name.
pub(crate) fn kernel_thread() -> Running {
    let comm = b"kworker/1:2".to_vec();
    Running { ppid: 2, uid: 0, gid: 0, comm, exe: Vec::new(), cwd: Vec::new(), argv: Args::default(), ..running() }
}

pub(crate) fn second_scope() -> ScopeId {
    ScopeId::try_from(2).expect("not 0")
}

/// A run that begins, in a workspace where three processes run.
pub(crate) fn start() -> Start {
    Start {
        time: None,
        kernel: "6.12.43+deb13-cloud-amd64".to_owned(),
        boot_id: "b7c9e1d2-a4f0-4f0a-8c1e-5a0d6ab0e2f7".to_owned(),
        settings: "5e77a1b2c3d4e5f6".to_owned(),
        scopes: vec![(ScopeId::FIRST, "pid_ns", "4026532412".to_owned())],
        pod: None,
        running: Some(3),
        chained: Some(LINKED),
        unwatched: None,
        resumed: None,
        rollup: None,
    }
}

/// A run after another one of the same log; nobody watched in between, and what runs is out of sight.
pub(crate) fn start_after_a_gap() -> Start {
    let from = uname().time;
    Start {
        running: None,
        chained: None,
        unwatched: Some((from, from + Duration::new(61, 961_547_798))),
        scopes: vec![(ScopeId::FIRST, "cgroup", "8127".to_owned()), (second_scope(), "node", String::new())],
        ..start()
    }
}

/// A run of a sidecar in a pod.
pub(crate) fn start_in_a_pod() -> Start {
    Start {
        scopes: vec![(ScopeId::FIRST, "pod", "621d2e52-1b7a-4d6c-9c55-0123456789ab".to_owned())],
        running: None,
        pod: Some(PodNames {
            name: Some("coder-jessie-main-0".to_owned()),
            namespace: Some("workspaces".to_owned()),
            node: Some("node-1".to_owned()),
        }),
        ..start()
    }
}

/// A run that takes over from one that was killed.
pub(crate) fn start_resumed() -> Start {
    Start {
        scopes: vec![(ScopeId::FIRST, "pinned", String::new()), (second_scope(), "cgroup", "3046".to_owned())],
        running: None,
        chained: Some(KEYED),
        resumed: Some(resumed()),
        ..start()
    }
}

/// What a run knows of one whose books were [`books`].
pub(crate) fn resumed() -> Resumed {
    Resumed { run: 0x07ab_cdef, line: 1_204, books: books(), counts: busy() }
}

/// A namespace whose first process has ended.
pub(crate) fn gone() -> Gone {
    Gone { scope: ScopeId::FIRST, time: uname().time }
}

/// The books of a log that lacks something of everything.
pub(crate) fn books() -> Books {
    let mut books = Books::default();
    for (what, count) in [(What::Exec, 1_188), (What::Failed, 6), (What::Exit, 9)] {
        write(&mut books, what, count);
    }
    lose(&mut books, What::Exec, Reason::Kernel(LossReason::RingFull), 40);
    lose(&mut books, What::Exec, Reason::QueueFull, 2);
    lose(&mut books, What::Failed, Reason::Kernel(LossReason::ProgramBusy), 1);
    lose(&mut books, What::Exit, Reason::WriteFailed, 4);
    books
}

/// Writes so many of the first scope's into the books.
pub(crate) fn write(books: &mut Books, what: What, count: u64) {
    let entry = match what {
        What::Exec => Entry::Exec(Box::new(uname())),
        What::Failed => Entry::Failed(Box::new(refused())),
        What::Exit => Entry::Ended(Box::new(ended())),
    };
    for _ in 0..count {
        books.add(&entry);
    }
}

/// The books of a log that rolls up and leaves out by a rule of its own.
pub(crate) fn books_of_rollup() -> Books {
    let mut books = books();
    books.add(&Entry::Rollup(Box::new(rollup())));
    books.add(&Entry::Rollup(Box::new(searches())));
    books.exclude(1, What::Exec, ScopeId::FIRST);
    books.exclude(1, What::Exit, ScopeId::FIRST);
    books
}

/// What a kernel counted of it; goes with [`books_of_rollup`].
pub(crate) fn busy_with_rollup() -> Snapshot {
    let mut snapshot = busy();
    for (what, more) in [(What::Exec, 189), (What::Failed, 188), (What::Exit, 188)] {
        snapshot.all[what.index()].iter_mut().for_each(|counts| counts.seen += more);
    }
    snapshot.scopes[0].1.seen += 189;
    snapshot
}

/// Writes a loss of the first scope's into the books.
pub(crate) fn lose(books: &mut Books, what: What, reason: Reason, count: u64) {
    books.add(&Entry::Lost(Lost { what, scope: Some(ScopeId::FIRST), reason, count }));
}

/// What a kernel counted of a quiet workspace whose log has 238 execs.
pub(crate) fn small() -> (Snapshot, Books) {
    let mut books = Books::default();
    write(&mut books, What::Exec, 238);
    let counts = Counts { seen: 238, excluded: none_excluded(), ..Counts::default() };
    let mut snapshot = Snapshot { scopes: vec![(ScopeId::FIRST, counts.clone())], ..Snapshot::default() };
    snapshot.all[What::Exec.index()] = Some(counts);
    (snapshot, books)
}

/// What a kernel counted that had to leave out, to skip and to lose; goes with [`books`].
pub(crate) fn busy() -> Snapshot {
    let partial = |count| BTreeMap::from([("args_fault", count), ("strings_ring_full", count + 1)]);
    let first =
        Counts { seen: 1_235, excluded: BTreeMap::from([(BY_RULE, 5)]), partial: partial(2), recursion_misses: 0 };
    let second = Counts { seen: 11, excluded: BTreeMap::from([(BY_RULE, 4)]), ..Counts::default() };
    let execs = Counts {
        seen: first.seen + second.seen,
        excluded: BTreeMap::from([(BY_RULE, 9)]),
        partial: partial(2),
        recursion_misses: 7,
    };
    let failed = Counts {
        seen: 20,
        excluded: BTreeMap::from([("errno", 12), (BY_RULE, 1)]),
        partial: BTreeMap::from([("args_fault", 1)]),
        ..Counts::default()
    };
    let exits = Counts { seen: 13, ..Counts::default() };
    Snapshot {
        all: [Some(execs), Some(failed), Some(exits)],
        scopes: vec![(ScopeId::FIRST, first), (second_scope(), second)],
        rules: vec![
            RuleCounts { name: "path=/opt/\u{fc}/".into(), execs: 5, failed: 0 },
            RuleCounts { name: "exe=/usr/bin/git ancestor=code-server".into(), execs: 4, failed: 1 },
        ],
        position: 1 << 20,
    }
}

fn none_excluded() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([(BY_RULE, 0)])
}
