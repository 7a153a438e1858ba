//! The kernel's half in a folder of a bpf file system, where it outlives the process that made it.
//!
//! Everything goes there: maps, programs and what attaches them. Who holds the lock of the folder reads the ring. The map
//! `journal` goes last and is looked for first, so that a folder with it is whole, and one without is left over from
//! somebody who did not come to the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, MapCore, MapHandle, Program};
use rustix::fs::{FlockOperation, flock, fstat, fstatfs};

use crate::builder::{self, TracerBuilder};
use crate::journal::{Journal, Progress};
use crate::kernel::{Field, Kernel, MAP_NAMES, Maps, Programs};
use crate::loss::What;
use crate::record;
use crate::ring::Ring;
use crate::scope::ScopeId;
use crate::tracer::TracerError;

/// What was pinned when it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftBehind {
    /// What it was; the rest is 0 if not a whole kernel's half of this version.
    pub was: Pin,
    /// Scopes that it traced, but for the tracer's own children.
    pub scopes: u64,
    /// Execs in them.
    pub seen: u64,
    /// Of these, execs that were left out.
    pub excluded: u64,
    /// Execs that waited in the ring for a reader.
    pub unread: u64,
    /// What its reader had committed.
    pub progress: Progress,
}

/// What a folder held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pin {
    /// A whole kernel's half, made by this version.
    Whole,
    /// Nothing, or what somebody left who did not come to the end of pinning.
    #[default]
    Unfinished,
    /// A whole kernel's half of another version, which only that one can read.
    OfAnotherVersion,
}

/// Removes what a tracer with [`TracerBuilder::pin`] left in a folder, and the folder; nothing is traced by it from then
/// on. Refused as long as a tracer uses it.
pub fn unpin(folder: &Path) -> Result<LeftBehind, TracerError> {
    let folder = PinFolder::lock_existing(folder)?;
    let left = match folder.content()? {
        Pin::Whole => look_at(&folder.take()?)?,
        was => LeftBehind { was, ..LeftBehind::default() },
    };
    folder.remove()?;
    Ok(left)
}

fn look_at(kernel: &Kernel) -> Result<LeftBehind, TracerError> {
    let progress = kernel.journal.progress();
    let own = kernel.index().get(Field::OWN);
    let mut left = LeftBehind { was: Pin::Whole, progress, ..LeftBehind::default() };
    let numbers = (1..=kernel.journal.scopes()).filter_map(|number| u32::try_from(number).ok());
    for scope in numbers.filter(|number| *number != own).filter_map(ScopeId::new) {
        left.scopes += 1;
        for (hook, stats) in kernel.stats(scope)? {
            if What::of_hook(hook) == What::Exec {
                left.seen += stats.seen;
                left.excluded += stats.excluded_rule;
            }
        }
    }
    let mut ring = Ring::open(kernel.maps.records.as_fd(), kernel.maps.records.max_entries())
        .map_err(|source| TracerError::System { what: "opening the ring buffer", source })?;
    while let Some((span, bytes)) = ring.next() {
        let is_unread = span.start >= left.progress.position && record::scope_of(bytes) != own;
        left.unread += u64::from(is_unread && record::is_exec(bytes));
    }
    Ok(left)
}

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// A folder that this process has to itself.
#[derive(Debug)]
pub(crate) struct PinFolder {
    path: PathBuf,
    _locked: File,
}

impl PinFolder {
    /// Makes the folder if it is missing, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<PinFolder, TracerError> {
        if let Err(error) = fs::DirBuilder::new().mode(0o700).create(path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(refuse(path, format!("it cannot be made: {error}")));
        }
        PinFolder::lock_existing(path)
    }

    /// Locks a folder that must be there.
    pub(crate) fn lock_existing(path: &Path) -> Result<PinFolder, TracerError> {
        let folder = File::open(path).map_err(|error| refuse(path, format!("it cannot be opened: {error}")))?;
        let kind = fstatfs(&folder).map_err(|error| refuse(path, error.to_string()))?.f_type;
        if u64::try_from(kind).map(|kind| kind & 0xffff_ffff) != Ok(BPF_FS_MAGIC) {
            let advice = "it is not on a bpf file system (mount -t bpf bpf /sys/fs/bpf, then name a folder in it)";
            return Err(refuse(path, advice.to_owned()));
        }
        let stat = fstat(&folder).map_err(|error| refuse(path, error.to_string()))?;
        let own = rustix::process::geteuid().as_raw();
        if stat.st_uid != own && stat.st_uid != 0 {
            return Err(refuse(
                path,
                format!("it belongs to user {}: name a folder that is not there yet", stat.st_uid),
            ));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(refuse(
                path,
                "others may write there (chmod go-w, or name a folder that is not there yet)".to_owned(),
            ));
        }
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(PinFolder { path: path.to_owned(), _locked: folder }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(refuse(path, "another exectrace is using it".to_owned())),
            Err(error) => Err(refuse(path, format!("it cannot be locked: {error}"))),
        }
    }

    /// Whether a whole kernel's half is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.path.join(map_name("journal")).exists()
    }

    fn journal(&self) -> Result<Journal, TracerError> {
        let map = MapHandle::from_pinned_path(self.path.join(map_name("journal"))).map_err(failed)?;
        Journal::open(&map, map.max_entries())
            .map_err(|source| TracerError::System { what: "reading the journal", source })
    }

    /// How many scopes were added to what is there.
    pub(crate) fn scopes(&self) -> Result<u64, TracerError> {
        Ok(self.journal()?.scopes())
    }

    fn content(&self) -> Result<Pin, TracerError> {
        Ok(match self.is_whole() {
            false => Pin::Unfinished,
            true if self.journal()?.layout() == builder::layout() => Pin::Whole,
            true => Pin::OfAnotherVersion,
        })
    }

    /// Puts a kernel's half there; from now on it outlives this process.
    pub(crate) fn store(&self, kernel: &mut Kernel, settings: &TracerBuilder) -> Result<(), TracerError> {
        self.clear()?;
        self.try_store(kernel, settings).inspect_err(|_| {
            // A half that is pinned in part would run on and be nobody's.
            let _ = self.clear();
        })
    }

    fn try_store(&self, kernel: &mut Kernel, settings: &TracerBuilder) -> Result<(), TracerError> {
        for (name, link) in &mut kernel.links {
            let path = self.path.join(format!("{LINK}{name}"));
            link.pin(&path).map_err(failed)?;
            let again = Link::open(&path).map_err(failed)?;
            let_go(std::mem::replace(link, again));
        }
        let programs = &kernel.programs;
        let failed_calls = programs.failed.iter().enumerate().map(|(at, fd)| (format!("failed_{at}"), fd));
        let named = [("exec", &programs.exec), ("fork", &programs.fork), ("exit", &programs.exit)];
        for (name, fd) in named.map(|(name, fd)| (name.to_owned(), fd)).into_iter().chain(failed_calls) {
            pin_fd(fd, &self.path.join(format!("{PROGRAM}{name}")))?;
        }
        kernel.journal.set_layout(&builder::layout());
        kernel.journal.set_fingerprint(&settings.fingerprint());
        kernel.journal.set_links(kernel.links.len() as u64);
        for (name, map) in MAP_NAMES.into_iter().zip(kernel.maps.all()) {
            map.pin(self.path.join(map_name(name))).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes over what is there, if it was made with the same settings by the same version.
    pub(crate) fn restore(&self, settings: &TracerBuilder) -> Result<Kernel, TracerError> {
        let journal = self.journal()?;
        if journal.layout() != builder::layout() || journal.fingerprint() != settings.fingerprint() {
            let why = "what is pinned there was made by another version of exectrace or with other settings: start with \
                       the same ones, or remove it with `exectrace unpin` (what waits there unread is lost)";
            return Err(refuse(&self.path, why.to_owned()));
        }
        let mut kernel = self.take()?;
        if journal.detached().is_some() {
            // Some may still be there; what they saw from then on nobody can tell from what the others missed.
            self.remove_links()?;
            kernel.links.clear();
        } else if kernel.links.len() as u64 != journal.links() {
            let why =
                "some of its programs are missing, so it does not see everything: remove it with `exectrace unpin`";
            return Err(refuse(&self.path, why.to_owned()));
        }
        Ok(kernel)
    }

    fn take(&self) -> Result<Kernel, TracerError> {
        let program = |name: &str| Program::fd_from_pinned_path(self.path.join(format!("{PROGRAM}{name}")));
        let maps = Maps::from_all(|name| MapHandle::from_pinned_path(self.path.join(map_name(name))).map_err(failed))?;
        let mut links = Vec::new();
        let mut failed_calls = Vec::new();
        for name in self.names()? {
            if let Some(name) = name.strip_prefix(LINK) {
                let link = Link::open(self.path.join(format!("{LINK}{name}"))).map_err(failed)?;
                links.push((name.to_owned(), link));
            } else if let Some(name) = name.strip_prefix(PROGRAM).filter(|name| name.starts_with("failed_")) {
                failed_calls.push(program(name).map_err(failed)?);
            }
        }
        let programs = Programs {
            exec: program("exec").map_err(failed)?,
            fork: program("fork").map_err(failed)?,
            exit: program("exit").map_err(failed)?,
            failed: failed_calls,
        };
        Kernel::new(maps, programs, links)
    }

    /// Removes what keeps the programs attached.
    pub(crate) fn remove_links(&self) -> Result<(), TracerError> {
        let links = self.names()?.into_iter().filter(|name| name.starts_with(LINK));
        links.into_iter().try_for_each(|name| self.remove_file(&name))
    }

    /// Removes the folder and all that is there, which detaches it once nobody holds it otherwise.
    pub(crate) fn remove(self) -> Result<(), TracerError> {
        self.clear()?;
        fs::remove_dir(&self.path).map_err(|error| refuse(&self.path, format!("it cannot be removed: {error}")))
    }

    fn clear(&self) -> Result<(), TracerError> {
        let mut names = self.names()?;
        if let Some(foreign) = names.iter().find(|name| !is_ours(name)) {
            return Err(refuse(
                &self.path,
                format!("it holds {foreign}, which is not exectrace's: name a folder of its own"),
            ));
        }
        // The journal goes first: from then on the folder is not whole.
        names.sort_by_key(|name| *name != map_name("journal"));
        names.iter().try_for_each(|name| self.remove_file(name))
    }

    fn remove_file(&self, name: &str) -> Result<(), TracerError> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(|error| refuse(&path, format!("it cannot be removed: {error}")))
    }

    fn names(&self) -> Result<Vec<String>, TracerError> {
        let entries =
            fs::read_dir(&self.path).map_err(|error| refuse(&self.path, format!("it cannot be read: {error}")))?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

const LINK: &str = "link_";
const PROGRAM: &str = "program_";
const MAP: &str = "map_";

fn map_name(map: &str) -> String {
    format!("{MAP}{map}")
}

fn failed(source: libbpf_rs::Error) -> TracerError {
    TracerError::Kernel { step: "pinning the kernel program, or taking it over", source, log: String::new() }
}

fn is_ours(name: &str) -> bool {
    [LINK, PROGRAM, MAP].iter().any(|prefix| name.starts_with(prefix))
}

fn refuse(path: &Path, why: String) -> TracerError {
    TracerError::Pin { folder: path.to_owned(), why }
}

/// Closes a link without detaching what its pin keeps: libbpf would switch a tracepoint off.
fn let_go(mut link: Link) {
    let fd = link.as_fd().as_raw_fd();
    link.disconnect();
    drop(link);
    // SAFETY: a disconnected link leaves its descriptor open and to nobody.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

fn pin_fd(fd: &OwnedFd, path: &Path) -> Result<(), TracerError> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| refuse(path, "its name holds a NUL".to_owned()))?;
    // SAFETY: the descriptor is open and the name is a C string; nothing is kept of either.
    let status = unsafe { libbpf_sys::bpf_obj_pin(fd.as_raw_fd(), name.as_ptr()) };
    if status < 0 {
        return Err(refuse(path, io::Error::from_raw_os_error(-status).to_string()));
    }
    Ok(())
}
