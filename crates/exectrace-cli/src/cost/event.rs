//! What a line tells of a process -> the event that it was made of, as far as the line has it. What standard lines lack, such
//! as the inode and the mount namespace, is 0.

use std::time::SystemTime;

use exectrace::{
    Args, Ended, Event, ExecId, FailedExec, Hook, Interpreter, Origin, Partial, Running, ScopeId, Status, Traits,
};
use exectrace_sift::{OriginConfig, markers};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::replay::Fate;

/// `event` of an exec, and of an attempt that failed.
#[derive(Debug, Deserialize)]
pub(super) struct EventLine {
    pub(super) filename: String,
    argv: Vec<String>,
    truncated: bool,
    pid: u32,
    pub(super) uid: u32,
    gid: u32,
    comm: String,
    pub(super) parts: Option<u64>,
    rare: Option<IgnoredAny>,
    rollup: Option<IgnoredAny>,
    id: Option<String>,
    parent_id: Option<String>,
    #[serde(default)]
    ppid: u32,
    #[serde(default)]
    vpid: u32,
    argc: Option<u32>,
    pub(super) exe: Option<String>,
    interpreter: Option<String>,
    #[serde(default)]
    interpreter_args: Vec<String>,
    #[serde(default)]
    cwd: String,
    tty: Option<String>,
    #[serde(default)]
    sid: u32,
    euid: Option<u32>,
    egid: Option<u32>,
    loginuid: Option<u32>,
    #[serde(default)]
    cgroup: u64,
    #[serde(default)]
    ns_level: u32,
    container: Option<String>,
    #[serde(default)]
    nested: bool,
    #[serde(default)]
    memfd: bool,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    setuid: bool,
    #[serde(default)]
    ld_so: bool,
    argv_bytes: Option<u64>,
    argv_kept_bytes: Option<u64>,
    #[serde(default)]
    partial: Vec<String>,
    origin: Option<OriginLine>,
    pub(super) scope: Option<u32>,
    caller_tid: Option<u32>,
    #[serde(default)]
    pid_ns: u32,
    #[serde(default)]
    mnt_ns: u32,
    #[serde(default)]
    inode: u64,
    device: Option<String>,
    mode: Option<String>,
    /// Of an attempt that failed.
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct OriginLine {
    kind: String,
    by: Option<String>,
    root: Option<String>,
}

/// `event` of the end of a process.
#[derive(Debug, Deserialize)]
pub(super) struct ExitLine {
    id: String,
    pid: u32,
    pub(super) uid: u32,
    code: Option<u32>,
    rollup: Option<IgnoredAny>,
    scope: Option<u32>,
}

/// `event` of a process that ran already.
#[derive(Debug, Deserialize)]
pub(super) struct RunningLine {
    pid: u32,
    ppid: u32,
    uid: u32,
    gid: u32,
    comm: String,
    #[serde(default)]
    exe: String,
    #[serde(default)]
    cwd: String,
    argv: Vec<String>,
}

impl EventLine {
    /// What it is called everywhere; lines of `--fields seed` do not say.
    pub(super) fn id(&self) -> Option<ExecId> {
        parse_id(self.id.as_deref()?)
    }

    pub(super) fn parent_id(&self) -> Option<ExecId> {
        parse_id(self.parent_id.as_deref()?)
    }

    /// The file that ran, as text, as far as it is known.
    pub(super) fn exe(&self) -> &str {
        self.exe.as_deref().unwrap_or(&self.filename)
    }

    /// The same fate, without the member that the line has already, as the lines of a log that has all of them.
    pub(super) fn unmarked(&self, fate: Fate) -> Fate {
        fate.without(self.rare.is_some(), self.rollup.is_some())
    }

    /// The exec; `None` without an id.
    pub(super) fn event(&self, time: SystemTime, origin: &OriginConfig) -> Option<Event> {
        Some(self.with_id(self.id()?, time, origin))
    }

    /// The attempt. Its caller's own id is not in the line, but the nearest one up the line is.
    pub(super) fn failed(&self, time: SystemTime, origin: &OriginConfig) -> FailedExec {
        let nobody = ExecId { boot: 0, start: 0, pid: 0, exec: 0 };
        let errno = self.error.as_deref().map_or(0, errno);
        FailedExec { errno, attempt: self.with_id(nobody, time, origin) }
    }

    fn with_id(&self, id: ExecId, time: SystemTime, origin: &OriginConfig) -> Event {
        let partial = partial(&self.partial);
        let exe = match &self.exe {
            Some(exe) => exe,
            None if partial.intersects(Partial::EXE | Partial::STRINGS_RING_FULL) => "",
            None => &self.filename,
        };
        let interpreter = self.interpreter.as_deref().map(|path| Interpreter {
            path: to_bytes(path),
            args: self.interpreter_args.iter().map(|arg| to_bytes(arg)).collect(),
        });
        Event {
            time,
            scope: scope(self.scope),
            id,
            parent_id: self.parent_id(),
            filename: to_bytes(&self.filename),
            argv: self.args(),
            pid: self.pid,
            vpid: self.vpid,
            ppid: self.ppid,
            sid: self.sid,
            caller_tid: self.caller_tid.unwrap_or(self.pid),
            uid: self.uid,
            gid: self.gid,
            euid: self.euid.unwrap_or(self.uid),
            egid: self.egid.unwrap_or(self.gid),
            loginuid: self.loginuid,
            audit_session: None,
            comm: to_bytes(&self.comm),
            exe: to_bytes(exe),
            interpreter,
            cwd: to_bytes(&self.cwd),
            tty: self.tty.as_deref().map(to_bytes),
            container: self.container.as_deref().map(to_bytes),
            cgroup: self.cgroup,
            ns_level: self.ns_level,
            pid_ns: self.pid_ns,
            mnt_ns: self.mnt_ns,
            inode: self.inode,
            device: self.device.as_deref().and_then(device).unwrap_or_default(),
            mode: self.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or_default(),
            traits: self.traits(),
            partial,
            env_marker: self.marker(id, origin),
            origin: Origin { cpu: 0, hook: Hook::Exec, seq: 0, position: 0 },
        }
    }

    fn args(&self) -> Args {
        let words: Vec<Vec<u8>> = self.argv.iter().map(|arg| to_bytes(arg)).collect();
        let mut block = words.join(&0);
        let whole = block.len() as u64 + 1;
        if self.argv_kept_bytes.is_none_or(|kept| kept >= whole) && !words.is_empty() {
            block.push(0);
        }
        let kept = block.len() as u64;
        let total = match self.argv_bytes {
            Some(bytes) => bytes.max(kept),
            None => kept + u64::from(self.truncated),
        };
        let count = self.argc.or_else(|| u32::try_from(words.len()).ok()).unwrap_or(u32::MAX);
        Args::new(block, count, total, None)
    }

    fn traits(&self) -> Traits {
        let all = [
            (self.memfd, Traits::MEMFD),
            (self.deleted, Traits::DELETED),
            (self.setuid, Traits::SETUID),
            (self.ld_so, Traits::LD_SO),
            (self.caller_tid.is_some(), Traits::THREAD),
            (self.nested, Traits::NESTED),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, which)| which).collect()
    }

    /// Environments are not in the log; but it says where an agent's session began that was known by one.
    fn marker(&self, id: ExecId, config: &OriginConfig) -> Option<u32> {
        let OriginLine { kind, by, root } = self.origin.as_ref()?;
        let begins = kind == "agent" && root.as_deref().and_then(parse_id) == Some(id);
        let at = markers(config).position(|(name, _)| begins && Some(name) == by.as_deref())?;
        u32::try_from(at).ok()
    }
}

impl ExitLine {
    /// The last exec of what ended.
    pub(super) fn id(&self) -> Option<ExecId> {
        parse_id(&self.id)
    }

    /// As of an exec.
    pub(super) fn unmarked(&self, fate: Fate) -> Fate {
        fate.without(false, self.rollup.is_some())
    }

    pub(super) fn ended(&self, id: ExecId, time: SystemTime) -> Ended {
        const SOME_SIGNAL: u32 = 1;
        Ended {
            time,
            scope: scope(self.scope),
            id,
            pid: self.pid,
            uid: self.uid,
            comm: Vec::new(),
            status: Status::from_wait(self.code.map_or(SOME_SIGNAL, |code| code << 8)),
            lived: std::time::Duration::ZERO,
            cpu_time: std::time::Duration::ZERO,
            max_rss_bytes: 0,
            origin: Origin { cpu: 0, hook: Hook::Exit, seq: 0, position: 0 },
        }
    }
}

impl RunningLine {
    pub(super) fn running(&self) -> Running {
        let mut block = self.argv.iter().map(|arg| to_bytes(arg)).collect::<Vec<_>>().join(&0);
        block.push(0);
        let (count, total) = (u32::try_from(self.argv.len()).unwrap_or(u32::MAX), block.len() as u64);
        Running {
            pid: self.pid,
            ppid: self.ppid,
            uid: self.uid,
            gid: self.gid,
            comm: to_bytes(&self.comm),
            exe: to_bytes(&self.exe),
            cwd: to_bytes(&self.cwd),
            argv: Args::new(block, count, total, None),
            started: SystemTime::UNIX_EPOCH,
        }
    }
}

fn scope(number: Option<u32>) -> ScopeId {
    number.and_then(|number| ScopeId::try_from(number).ok()).unwrap_or(ScopeId::FIRST)
}

/// `BOOT-START-PID-EXEC`, all hexadecimal.
fn parse_id(text: &str) -> Option<ExecId> {
    let mut parts = text.split('-');
    let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
    let (boot, start, pid, exec) = (next()?, next()?, next()?, next()?);
    Some(ExecId { boot, start, pid: u32::try_from(pid).ok()?, exec: u32::try_from(exec).ok()? })
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn partial(names: &[String]) -> Partial {
    Partial::all().iter().filter(|reason| reason.names().any(|name| names.iter().any(|told| told == name))).collect()
}

/// The number of an error by its name; 0 for one that is not known.
fn errno(name: &str) -> u32 {
    // More than Linux has. Nearly all attempts are of the second.
    const MAX_ERRNO: i32 = 140;
    let is_it = |number: &i32| format!("{:?}", nix::errno::Errno::from_raw(*number)) == name;
    (1..MAX_ERRNO).find(is_it).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// A string of the log -> the bytes that it was made of: two digits follow each mark.
pub(super) fn to_bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split(char::REPLACEMENT_CHARACTER);
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&piece.as_bytes()[2..]);
            }
            // Nothing of ours.
            None => {
                bytes.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
                bytes.extend_from_slice(piece.as_bytes());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::super::line::{Read, What, read};
    use super::*;
    use crate::line::to_text;

    fn event(name: &str) -> Event {
        let line = golden::line(name);
        let Read::Line(line) = read(line.as_bytes()) else { panic!("{name}") };
        let What::Exec(event) = line.what else { panic!("{name}") };
        event.event(line.time, &OriginConfig::default()).expect("an id")
    }

    #[test]
    fn an_exec_is_what_it_was() {
        let event = event("exec-standard-everything");
        assert_eq!(event.id.to_string(), "b7c9e1d2a4f0-1a2b3c4d5-e0c6c-3");
        assert_eq!(event.parent_id.map(|id| id.exec), Some(2));
        assert_eq!(
            (event.filename.as_slice(), event.exe.as_slice()),
            (&b"./tools/\xff\"run"[..], &b"/usr/bin/dash"[..])
        );
        let argv: Vec<&[u8]> = event.argv.iter().collect();
        assert_eq!(argv[3], "\u{202e}\u{fffd}".as_bytes());
        assert_eq!((argv[1], argv.len(), event.argv.count), (&b""[..], 6, 9));
        assert_eq!((event.argv.total_bytes, event.argv.kept_bytes(), event.truncated()), (90_000, 60, true));
        assert_eq!((event.uid, event.euid, event.egid, event.gid), (101_000, 0, 0, 101_000));
        assert_eq!(event.partial, Partial::ARGS_KEEP_LIMIT | Partial::CWD_CUT);
        assert!(event.traits.contains(Traits::MEMFD | Traits::SETUID | Traits::NESTED) && event.tty.is_some());
        assert_eq!(event.interpreter.expect("a script").args, [b"-e"]);
    }

    #[test]
    fn what_full_lines_have_is_had_and_what_others_lack_is_nothing() {
        let full = event("exec-full-uname");
        assert_eq!((full.mnt_ns, full.inode, full.device, full.mode & 0o7777), (4_026_532_410, 131_337, (8, 1), 0o755));
        let standard = event("exec-standard-uname");
        assert_eq!((standard.mnt_ns, standard.inode, standard.device), (0, 0, (0, 0)));
        assert_eq!((standard.exe.as_slice(), standard.truncated()), (&b"/usr/bin/uname"[..], false));
        let bare = event("exec-standard-bare");
        assert_eq!((bare.exe.as_slice(), bare.argv.iter().count(), bare.truncated()), (&b""[..], 0, true));
    }

    #[test]
    fn a_line_without_an_id_is_no_event() {
        let line = golden::line("exec-seed-uname");
        let Read::Line(line) = read(line.as_bytes()) else { panic!("no line") };
        let What::Exec(event) = line.what else { panic!("no exec") };
        assert_eq!(event.event(line.time, &OriginConfig::default()), None);
    }

    #[test]
    fn errors_have_numbers() {
        assert_eq!([errno("ENOENT"), errno("EACCES"), errno("EWHATEVER")], [2, 13, 0]);
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(to_bytes(&to_text(&bytes)), bytes);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,20}") {
            to_bytes(&format!("\u{fffd}{text}\u{fffd}"));
        }
    }
}
