//! What is never folded, however much is executed around it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use exectrace::{Event, Partial, Traits};

use crate::lineage::Row;
use crate::origin::Kind;
use crate::pattern::{PatternError, PatternSet, name};
use crate::rollup::{OnTty, RollupConfig};

/// Why an exec has a line of its own although others around it are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rare {
    /// It has a terminal.
    Tty,
    /// A set-user-ID or set-group-ID bit took effect, or the process has rights that its user has not.
    Setuid,
    /// The file lives in memory only.
    Memfd,
    /// The file has no name any more.
    Deleted,
    /// The dynamic loader was called to run a file that is only an argument.
    LdSo,
    /// Something of it could not be read or is not kept, so that nobody can tell what it is.
    Partial,
    /// The file, or the script that runs by its path, is outside the usual folders.
    Folder,
    /// An interpreter that is given a script outside the usual folders, or code, or that reads it from its input.
    Script,
    /// A program that talks to networks, or another one that is listed.
    Program,
    /// An AI agent executed it itself.
    Agent,
    /// Another user than what it would be folded with.
    User,
    /// It is in another mount namespace than what it would be folded with.
    Namespace,
    /// A rule of the configuration.
    Rule,
    /// This file was not seen in this workspace before.
    New,
    /// An attempt that failed otherwise than a search along a path does.
    Failure,
    /// Its line would be several.
    Long,
}

impl Rare {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Rare::Tty => "tty",
            Rare::Setuid => "setuid",
            Rare::Memfd => "memfd",
            Rare::Deleted => "deleted",
            Rare::LdSo => "ld_so",
            Rare::Partial => "partial",
            Rare::Folder => "folder",
            Rare::Script => "script",
            Rare::Program => "program",
            Rare::Agent => "agent",
            Rare::User => "user",
            Rare::Namespace => "namespace",
            Rare::Rule => "rule",
            Rare::New => "new",
            Rare::Failure => "failure",
            Rare::Long => "long",
        }
    }
}

/// What this says of the environment says nothing of what is executed.
const OF_ENVIRONMENT: Partial = Partial::ENV_FAULT.union(Partial::ENV_LIMIT);
/// Files that are remembered as seen; beyond these every other one is new each time.
const MAX_SEEN: usize = 65_536;
/// Programs that are many, by their first argument.
const MULTI_CALL: [&[u8]; 2] = [b"busybox", b"toybox"];
/// Interpreters whose code in an argument is what builds consist of.
const SHELLS: [&[u8]; 8] = [b"sh", b"bash", b"dash", b"zsh", b"fish", b"ksh", b"mksh", b"ash"];

/// What is usual, by the configuration.
#[derive(Debug)]
pub(crate) struct Usual {
    folders: PatternSet,
    programs: PatternSet,
    interpreters: PatternSet,
    on_tty: OnTty,
}

impl Usual {
    pub(crate) fn new(config: &RollupConfig) -> Result<Usual, PatternError> {
        let patterns = |globs: &[String]| PatternSet::paths(globs.iter().map(String::as_str));
        Ok(Usual {
            folders: patterns(&config.folders)?,
            programs: patterns(&config.programs)?,
            interpreters: patterns(&config.interpreters)?,
            on_tty: config.tty,
        })
    }
}

/// Tells what is rare.
#[derive(Debug)]
pub(crate) struct Rarity {
    usual: Arc<Usual>,
    /// Hashes, with keys that nobody can know.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Rarity {
    pub(crate) fn new(usual: Arc<Usual>) -> Rarity {
        Rarity { usual, seen: HashSet::new(), hasher: RandomState::new() }
    }

    /// Whether its file is seen for the first time, from now on no more.
    pub(crate) fn is_new(&mut self, event: &Event) -> bool {
        let script = event.interpreter.as_ref().map(|_| whole(event, &event.filename));
        let key = (event.scope, &event.exe, event.inode, event.device, script);
        let hash = self.hasher.hash_one(key);
        if self.seen.contains(&hash) {
            return false;
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.insert(hash);
        }
        true
    }

    /// Why an exec is rare, if it is; `root` is what it would be folded under.
    pub(crate) fn find(&self, event: &Event, parent: &Row, root: &Row, is_new: bool) -> Option<Rare> {
        let is_typed = match self.usual.on_tty {
            OnTty::Line => event.tty.is_some(),
            OnTty::Typed => event.tty.is_some() && (event.ppid == event.sid || parent.is_prompt),
        };
        let has = |which| event.traits.contains(which);
        let is_privileged = has(Traits::SETUID) || event.euid != event.uid || event.egid != event.gid;
        let is_agents = parent.job.is_none() && parent.session.kind == Kind::Agent;
        [
            (is_typed, Rare::Tty),
            (is_privileged, Rare::Setuid),
            (has(Traits::MEMFD), Rare::Memfd),
            (has(Traits::DELETED), Rare::Deleted),
            (has(Traits::LD_SO), Rare::LdSo),
            (!(event.partial - OF_ENVIRONMENT).is_empty() || event.truncated(), Rare::Partial),
            (self.is_elsewhere(event), Rare::Folder),
            (self.is_listed(event), Rare::Program),
            (self.is_script(event), Rare::Script),
            (is_agents, Rare::Agent),
            (event.uid != root.uid, Rare::User),
            (event.mnt_ns != root.mnt_ns, Rare::Namespace),
            (is_new, Rare::New),
        ]
        .into_iter()
        .find_map(|(is, rare)| is.then_some(rare))
    }

    fn is_usual(&self, path: &[u8]) -> bool {
        self.usual.folders.is_match(path)
    }

    fn is_elsewhere(&self, event: &Event) -> bool {
        // Behind a link, `..` leads elsewhere than the path says.
        let goes_back = || event.filename.split(|byte| *byte == b'/').any(|part| part == b"..");
        let is_script = event.interpreter.is_some();
        !self.is_usual(&event.exe) || is_script && (goes_back() || !self.is_usual(&whole(event, &event.filename)))
    }

    /// Whether it is a program of the list, under whatever name it was called.
    pub(crate) fn is_listed(&self, event: &Event) -> bool {
        let is_multi_call = |path: &[u8]| MULTI_CALL.iter().any(|known| name(path).starts_with(known));
        let first = event.argv.iter().next().unwrap_or_default();
        let own = [event.exe.as_slice(), &event.filename, first];
        // busybox busybox wget is wget.
        let applet = event.argv.iter().skip(1).find(|arg| !is_multi_call(arg));
        let applet = applet.filter(|_| own.iter().any(|path| is_multi_call(path)));
        let mut names = own.into_iter().chain(applet);
        names.any(|path| self.usual.programs.is_match(path))
    }

    /// Whether it does what nobody can see in its file.
    fn is_script(&self, event: &Event) -> bool {
        let names = [event.exe.as_slice(), &event.filename];
        let is_interpreter = names.iter().any(|path| self.usual.interpreters.is_match(path));
        // A script that was called by its path is judged by that.
        if !is_interpreter || event.interpreter.is_some() {
            return false;
        }
        match code(event) {
            Code::Argument => !names.iter().any(|path| SHELLS.contains(&name(path))),
            Code::Input => true,
            Code::File(path) => path.windows(2).any(|two| two == b"..") || !self.is_usual(&whole(event, path)),
        }
    }
}

/// Where an interpreter has its code from.
#[derive(Debug, PartialEq, Eq)]
enum Code<'a> {
    Argument,
    Input,
    File(&'a [u8]),
}

/// By the arguments, as far as all interpreters have them in common: what does not look like an option is a file.
fn code(event: &Event) -> Code<'_> {
    for arg in event.argv.iter().skip(1) {
        let Some(option) = arg.strip_prefix(b"-").filter(|option| !option.is_empty()) else {
            return if arg == b"-" { Code::Input } else { Code::File(arg) };
        };
        let is_long = option.starts_with(b"-");
        let takes_code = match is_long {
            true => [&b"-eval"[..], b"-print", b"-command"].iter().any(|name| option.starts_with(name)),
            false => option.iter().any(|letter| b"ceErp".contains(letter)),
        };
        if takes_code && !is_only_a_setting(event, option) {
            return Code::Argument;
        }
    }
    Code::Input
}

/// `sh -e script` stops at errors, and runs no code from an argument.
fn is_only_a_setting(event: &Event, option: &[u8]) -> bool {
    let is_shell = [event.exe.as_slice(), &event.filename].iter().any(|path| SHELLS.contains(&name(path)));
    is_shell && !option.starts_with(b"-") && !option.contains(&b'c')
}

/// Whether a shell reads what somebody types: it is given neither a script nor a command.
pub(crate) fn is_prompt(event: &Event) -> bool {
    let is_shell = SHELLS.contains(&name(&event.exe));
    is_shell && event.tty.is_some() && event.interpreter.is_none() && code(event) == Code::Input
}

/// A path from the root on and without `.` and `..`, as far as that can be told without looking.
fn whole(event: &Event, path: &[u8]) -> Vec<u8> {
    let whole = match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [event.cwd.as_slice(), b"/", path].concat(),
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/".as_slice(), &parts.join(&b'/')].concat()
}
