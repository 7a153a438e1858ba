//! The pod in which this process is a container: found by asking the kernel, not by what anybody says.
//!
//! A container sees neither the cgroups above its own nor their names. So a BPF program (`bpf/pod.bpf.c`) is run once,
//! which tells them, and [`choose`] takes the one that is named after the pod's UID: the container runtimes that
//! Kubernetes has name cgroups so, each in its own way.
//!
//! | driver | cgroups, from the pod's on |
//! | --- | --- |
//! | containerd, systemd | `kubepods-burstable-pod0a1b_….slice` / `cri-containerd-ID.scope` |
//! | containerd, cgroupfs | `pod0a1b-…` / `ID` |
//! | CRI-O with crun, systemd | `kubepods-burstable-pod0a1b_….slice` / `crio-ID.scope` / `container` |

use std::ffi::CStr;
use std::fmt;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags};

use crate::load::LoadLog;
use crate::skel::pod::PodSkelBuilder;
use crate::skel::pod::types::{named_cgroup, own_place};
use crate::tracer::TracerError;

/// A pod that holds the calling process's container, and that container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    uid: String,
    pub(crate) cgroup: Place,
    /// The container in which this process runs.
    pub(crate) own: Place,
    /// Level of the PID namespaces of the pod's containers, 0: they are the node's.
    pub(crate) ns_level: u32,
}

/// A cgroup of the unified hierarchy, by its id, and how many levels below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) level: u32,
}

/// Why the pod is not to be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodError {
    /// What was given is no UID.
    #[error("{0:?} is no UID of a pod: 32 hexadecimal digits, with or without hyphens (fieldPath: metadata.uid)")]
    NoUid(String),
    /// This process is in no cgroup of the unified hierarchy but its root.
    #[error(
        "this container is in no cgroup v2: the node runs cgroup v1, which Kubernetes gives up (--use-local-pidns with \
         shareProcessNamespace works there, too)"
    )]
    NoUnifiedHierarchy,
    /// The runtime and the kubelet name cgroups in different ways, so that all containers of the node lie in one cgroup.
    #[error(
        "the container runtime and the kubelet of this node use different cgroup drivers: the container's cgroup is called \
         {0:?} and is in no cgroup of its pod (make both systemd: SystemdCgroup = true in containerd's configuration)"
    )]
    DriverMismatch(String),
    /// No cgroup above this process is named after the pod.
    #[error("no cgroup of pod {uid} is above this process, whose cgroups are {found}")]
    NotThere {
        /// The pod's UID.
        uid: String,
        /// The cgroups that are, as a path.
        found: String,
    },
    /// The process is in the pod's cgroup and in no container's.
    #[error("this process is in the cgroup of pod {0} itself and in none of a container: what is not the workspace's?")]
    NoContainer(String),
}

impl Pod {
    /// The pod with this UID, in which the calling process must be a container. Needs Linux 5.10 and the capabilities
    /// BPF and PERFMON.
    pub fn of_this_process(uid: &str) -> Result<Pod, TracerError> {
        let uid = normalized(uid)?;
        let place = own_place()?;
        choose(&uid, &place).map_err(|error| TracerError::Scope(error.into()))
    }

    /// The pod's UID, in small letters.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uid)
    }
}

fn normalized(uid: &str) -> Result<String, TracerError> {
    let lower = uid.to_ascii_lowercase();
    let digits = lower.bytes().filter(u8::is_ascii_hexdigit).count();
    if digits != 32 || !lower.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(TracerError::Scope(PodError::NoUid(uid.to_owned()).into()));
    }
    Ok(lower)
}

/// A process's cgroups in the unified hierarchy, its own first, the root last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnPlace {
    cgroups: Vec<(u64, String)>,
    ns_level: u32,
}

/// Takes the cgroup of the pod from those above this process.
fn choose(uid: &str, place: &OwnPlace) -> Result<Pod, PodError> {
    let cgroups = &place.cgroups;
    if cgroups.len() < 2 {
        return Err(PodError::NoUnifiedHierarchy);
    }
    let depth_of = |at: usize| u32::try_from(cgroups.len() - 1 - at).unwrap_or(u32::MAX);
    let own = Place { id: cgroups[0].0, level: depth_of(0) };
    match cgroups.iter().position(|(_, name)| is_pod(name, uid)) {
        Some(0) => Err(PodError::NoContainer(uid.to_owned())),
        Some(at) => {
            let cgroup = Place { id: cgroups[at].0, level: depth_of(at) };
            Ok(Pod { uid: uid.to_owned(), cgroup, own, ns_level: place.ns_level })
        }
        None => match cgroups.iter().find(|(_, name)| name.contains(':') && mentions(name, uid)) {
            Some((_, name)) => Err(PodError::DriverMismatch(name.clone())),
            None => {
                let names: Vec<&str> = cgroups.iter().rev().map(|(_, name)| name.as_str()).collect();
                Err(PodError::NotThere { uid: uid.to_owned(), found: format!("/{}", names[1..].join("/")) })
            }
        },
    }
}

/// `podUID`, or the same as the last part of a slice: `kubepods-besteffort-podUID.slice`.
fn is_pod(name: &str, uid: &str) -> bool {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let of = |uid: &str| {
        let before = name.strip_suffix(uid).and_then(|before| before.strip_suffix("pod"));
        before.is_some_and(|before| before.is_empty() || before.ends_with('-'))
    };
    !name.contains(':') && (of(uid) || of(&uid.replace('-', "_")))
}

fn mentions(name: &str, uid: &str) -> bool {
    name.contains(uid) || name.contains(&uid.replace('-', "_"))
}

/// The container's id from what a runtime calls its cgroup: `cri-containerd-ID.scope`, `crio-ID.scope`, `ID`. A name of
/// another form stays as it is.
pub(crate) fn container_of(cgroup: &[u8]) -> Option<Vec<u8>> {
    let name = cgroup.strip_suffix(b".scope").unwrap_or(cgroup);
    let id = name.rsplit(|byte| *byte == b'-').next().unwrap_or_default();
    let is_id = id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit);
    (!cgroup.is_empty()).then(|| if is_id { id.to_vec() } else { cgroup.to_vec() })
}

fn own_place() -> Result<OwnPlace, TracerError> {
    let log = LoadLog::capture();
    let mut storage = MaybeUninit::uninit();
    let open = PodSkelBuilder::default()
        .open(&mut storage)
        .map_err(|source| log.failure("opening the program that finds the pod", source))?;
    let skel = open.load().map_err(|source| log.failure("loading the program that finds the pod", source))?;
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let program = skel.progs.own_place.as_fd().as_raw_fd();
    // SAFETY: the descriptor is that of a program, and the options are valid and have their own size; nothing is kept.
    let status = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &raw mut options) };
    if status < 0 {
        let source = std::io::Error::from_raw_os_error(-status);
        return Err(TracerError::System {
            what: "running the program that finds the pod, once (Linux 5.10 is needed)",
            source,
        });
    }
    let found = skel.maps.found.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY);
    let found = found.map_err(|source| log.failure("reading what the program found", source))?;
    decode(&found.unwrap_or_default()).ok_or_else(|| {
        let source = std::io::Error::other("the cgroups above this process are too many");
        TracerError::System { what: "finding the pod", source }
    })
}

/// `struct own_place` of `bpf/record.h`; `None` if it is not whole.
fn decode(bytes: &[u8]) -> Option<OwnPlace> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let levels = word(std::mem::offset_of!(own_place, levels))? as usize;
    if word(std::mem::offset_of!(own_place, complete))? == 0 {
        return None;
    }
    let first = std::mem::offset_of!(own_place, cgroups);
    let rows = bytes.get(first..)?.chunks_exact(size_of::<named_cgroup>()).take(levels);
    let cgroups = rows.map(|row| {
        let id = u64::from_ne_bytes(row.get(..8)?.try_into().ok()?);
        let name = CStr::from_bytes_until_nul(row.get(8..)?).ok()?;
        Some((id, name.to_string_lossy().into_owned()))
    });
    Some(OwnPlace {
        cgroups: cgroups.collect::<Option<_>>()?,
        ns_level: word(std::mem::offset_of!(own_place, ns_level))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "621d2e52-1b7a-4d6c-9c55-0123456789ab";
    const UNDERSCORED: &str = "621d2e52_1b7a_4d6c_9c55_0123456789ab";
    const ID: &str = "8f6b0c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f";

    /// From the root to the process's own cgroup.
    fn place(path: &[&str]) -> OwnPlace {
        let names = std::iter::once("").chain(path.iter().copied());
        let mut cgroups: Vec<_> = names.zip(1..).map(|(name, id)| (id, name.to_owned())).collect();
        cgroups.reverse();
        OwnPlace { cgroups, ns_level: 1 }
    }

    fn found(path: &[&str]) -> (u64, u32, u64, u32) {
        let pod = choose(UID, &place(path)).expect("a pod");
        (pod.cgroup.id, pod.cgroup.level, pod.own.id, pod.own.level)
    }

    #[test]
    fn every_runtime_s_way_of_naming_is_understood() {
        let slice = format!("kubepods-burstable-pod{UNDERSCORED}.slice");
        let containerd = format!("cri-containerd-{ID}.scope");
        let path = ["kubepods.slice", "kubepods-burstable.slice", &slice, &containerd];
        assert_eq!(found(&path), (4, 3, 5, 4));
        let guaranteed = format!("kubepods-pod{UNDERSCORED}.slice");
        assert_eq!(found(&["kubepods.slice", &guaranteed, &containerd]), (3, 2, 4, 3));
        let pod = format!("pod{UID}");
        assert_eq!(found(&["kubepods", "besteffort", &pod, ID]), (4, 3, 5, 4));
        let crio = format!("crio-{ID}.scope");
        assert_eq!(found(&["kubepods.slice", &slice, &crio, "container"]), (3, 2, 5, 4));
        let kind = ["docker", ID, "kubelet.slice", "kubelet-kubepods.slice", &slice, &containerd];
        assert_eq!(found(&kind), (6, 5, 7, 6));
    }

    #[test]
    fn a_driver_mismatch_is_refused_because_all_containers_of_the_node_are_there() {
        let flat = format!("kubepods-burstable-pod{UNDERSCORED}.slice:cri-containerd:{ID}");
        for path in [&["system.slice", "containerd.service", &flat][..], &[&flat]] {
            assert_eq!(choose(UID, &place(path)), Err(PodError::DriverMismatch(flat.clone())));
        }
    }

    #[test]
    fn another_pod_s_cgroup_is_not_taken() {
        let other = "pod721d2e52-1b7a-4d6c-9c55-0123456789ab";
        let error = choose(UID, &place(&["kubepods", other, ID])).expect_err("not ours");
        assert_eq!(error.to_string().matches(other).count(), 1, "{error}");
        for name in [UID.to_owned(), format!("xpod{UID}"), format!("pod{UID}x"), format!("pod{UID}-x.slice")] {
            let error = choose(UID, &place(&["kubepods", &name, ID])).expect_err(&name);
            assert!(matches!(error, PodError::NotThere { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn without_cgroups_v2_or_a_container_there_is_nothing_to_take() {
        assert_eq!(choose(UID, &place(&[])), Err(PodError::NoUnifiedHierarchy));
        let pod = format!("pod{UID}");
        assert_eq!(choose(UID, &place(&["kubepods", &pod])), Err(PodError::NoContainer(UID.to_owned())));
    }

    #[test]
    fn what_is_no_uid_is_refused_before_it_can_match_anything() {
        for uid in ["", "-", "a", "pod", "621d2e52-1b7a-4d6c-9c55-0123456789a", "621d2e52/1b7a-4d6c-9c55-0123456789ab"]
        {
            assert!(normalized(uid).is_err(), "{uid}");
        }
        assert_eq!(normalized(&UID.to_uppercase()).expect("a UID"), UID);
        assert!(normalized("0123456789abcdef0123456789abcdef").is_ok(), "of a static pod");
    }

    #[test]
    fn a_container_is_called_by_its_id() {
        for name in [format!("cri-containerd-{ID}.scope"), format!("crio-{ID}.scope"), ID.to_owned()] {
            assert_eq!(container_of(name.as_bytes()), Some(ID.as_bytes().to_vec()), "{name}");
        }
        assert_eq!(container_of(b"something-else.scope"), Some(b"something-else.scope".to_vec()));
        assert_eq!(container_of(b""), None);
    }

    #[test]
    fn what_is_not_whole_is_not_decoded() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&vec![0; size_of::<own_place>()]), None);
    }
}
