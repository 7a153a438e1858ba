//! Facts about this host that decide whether tracing works, and what each means.
//!
//! Facts are read below roots that the caller gives; a verdict is a pure function of the facts. Whether tracing really
//! works is for [`crate::Tracer`] to show.

use std::ffi::CStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is known about this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// Whether `/sys/kernel/btf/vmlinux` is there.
    pub btf: bool,
    /// Value of CONFIG_DEBUG_INFO_BTF, if the kernel's configuration can be read.
    pub config_btf: Option<bool>,
    /// The active mode of `/sys/kernel/security/lockdown`, if there is one.
    pub lockdown: Option<String>,
    /// Effective capabilities as a bit set, `CapEff` of `/proc/self/status`.
    pub capabilities: Option<u64>,
    /// Soft limit of locked memory in bytes; `None`: unlimited.
    pub memlock: Option<u64>,
    /// Where cgroups of the unified hierarchy are mounted, and whether older ones are too.
    pub cgroups: CgroupMode,
    /// Whether this process lives in the initial user namespace.
    pub initial_user_ns: Option<bool>,
}

/// How cgroups are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// The unified hierarchy only.
    Unified(PathBuf),
    /// The unified hierarchy beside older ones.
    Hybrid(PathBuf),
    /// Older hierarchies only.
    Legacy,
    /// None at all.
    #[default]
    None,
}

/// How good a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something will not work, or may not.
    Warn,
    /// Tracing cannot work.
    Fail,
}

/// One line of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was looked at.
    pub name: &'static str,
    /// How good it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

/// The oldest kernel that has the ring buffer and the capabilities BPF and PERFMON.
const OLDEST_KERNEL: (u32, u32) = (5, 8);
/// Kernels from here on charge BPF memory to the cgroup and not to RLIMIT_MEMLOCK.
const MEMCG_ACCOUNTING: (u32, u32) = (5, 11);
/// include/uapi/linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
/// Number of the initial user namespace, `PROC_USER_INIT_INO` of include/linux/proc_ns.h.
const INITIAL_USER_NS: u64 = 0xEFFF_FFFD;

impl Facts {
    /// Reads the facts below the given roots, usually `/proc`, `/sys` and `/boot`.
    pub fn read(proc: &Path, sys: &Path, boot: &Path) -> Facts {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Facts {
            btf: sys.join("kernel/btf/vmlinux").exists(),
            config_btf: kernel_config(proc, boot, &release).map(|config| config.contains("CONFIG_DEBUG_INFO_BTF=y")),
            lockdown: fs::read_to_string(sys.join("kernel/security/lockdown")).ok().and_then(|line| active_mode(&line)),
            capabilities: capabilities(proc),
            memlock: rustix::process::getrlimit(rustix::process::Resource::Memlock).current,
            cgroups: fs::read_to_string(proc.join("self/mountinfo"))
                .map(|mounts| cgroup_mode(&mounts))
                .unwrap_or_default(),
            initial_user_ns: fs::metadata(proc.join("self/ns/user"))
                .ok()
                .map(|file| std::os::unix::fs::MetadataExt::ino(&file) == INITIAL_USER_NS),
            release,
        }
    }

    /// What the facts mean, one verdict for each.
    pub fn verdicts(&self) -> Vec<Verdict> {
        vec![
            self.kernel(),
            self.btf(),
            self.config(),
            self.lockdown(),
            self.capability(),
            self.user_namespace(),
            self.memlock(),
            self.cgroups(),
        ]
    }

    fn kernel(&self) -> Verdict {
        let found = self.release.clone();
        match parse_version(&self.release) {
            Some(version) if version >= OLDEST_KERNEL => ok("kernel", found),
            Some(_) => fail("kernel", found, "use a node with kernel 5.8 or newer"),
            None => warn("kernel", found, "the version cannot be told; 5.8 is the oldest that works"),
        }
    }

    fn btf(&self) -> Verdict {
        if self.btf {
            ok("btf", "/sys/kernel/btf/vmlinux is there".to_owned())
        } else {
            let advice = "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y, and let /sys be seen";
            fail("btf", "/sys/kernel/btf/vmlinux is missing".to_owned(), advice)
        }
    }

    fn config(&self) -> Verdict {
        match self.config_btf {
            Some(true) => ok("config", "CONFIG_DEBUG_INFO_BTF=y".to_owned()),
            Some(false) => fail(
                "config",
                "CONFIG_DEBUG_INFO_BTF is not set".to_owned(),
                "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y",
            ),
            None => ok(
                "config",
                "neither /proc/config.gz nor /boot/config-… can be read here; btf says what counts".to_owned(),
            ),
        }
    }

    fn lockdown(&self) -> Verdict {
        match self.lockdown.as_deref() {
            None => ok("lockdown", "not in this kernel, or hidden".to_owned()),
            Some("confidentiality") => fail(
                "lockdown",
                "confidentiality".to_owned(),
                "the kernel forbids BPF to read kernel memory: boot with lockdown=integrity or none",
            ),
            Some(mode) => ok("lockdown", mode.to_owned()),
        }
    }

    fn capability(&self) -> Verdict {
        let Some(bits) = self.capabilities else {
            let advice = "mount a proc file system at /proc";
            return warn("capabilities", "/proc/self/status cannot be read".to_owned(), advice);
        };
        let missing = missing(bits);
        if missing.is_empty() {
            ok("capabilities", "BPF and PERFMON".to_owned())
        } else {
            let found = format!("without {}", missing.join(" and "));
            fail(
                "capabilities",
                found,
                "add BPF and PERFMON (Kubernetes: securityContext.capabilities.add; or be root)",
            )
        }
    }

    fn user_namespace(&self) -> Verdict {
        match self.initial_user_ns {
            Some(true) => ok("user_namespace", "the initial one".to_owned()),
            Some(false) => fail(
                "user_namespace",
                "not the initial one".to_owned(),
                "the kernel loads no BPF from inside a user namespace, whatever the capabilities (Kubernetes: hostUsers: true)",
            ),
            None => warn("user_namespace", "cannot be told".to_owned(), "mount a proc file system at /proc"),
        }
    }

    fn memlock(&self) -> Verdict {
        let needed = parse_version(&self.release).is_some_and(|version| version < MEMCG_ACCOUNTING);
        match self.memlock {
            None => ok("memlock", "unlimited".to_owned()),
            Some(bytes) if !needed => ok("memlock", format!("{bytes} bytes, which does not matter from 5.11 on")),
            Some(bytes) if bytes >= 64 << 20 => ok("memlock", format!("{bytes} bytes")),
            Some(bytes) => warn(
                "memlock",
                format!("{bytes} bytes"),
                "this kernel charges BPF memory to it: raise it to 64 MiB (ulimit -l, LimitMEMLOCK=) or add SYS_RESOURCE",
            ),
        }
    }

    fn cgroups(&self) -> Verdict {
        match &self.cgroups {
            CgroupMode::Unified(path) => ok("cgroups", format!("v2 at {}", path.display())),
            CgroupMode::Hybrid(path) => ok("cgroups", format!("v1, and v2 at {}", path.display())),
            CgroupMode::Legacy => warn(
                "cgroups",
                "v1 only".to_owned(),
                "cgroup scopes need v2 (systemd.unified_cgroup_hierarchy=1); PID namespaces and trees work",
            ),
            CgroupMode::None => {
                warn("cgroups", "none mounted here".to_owned(), "cgroup scopes need v2; PID namespaces and trees work")
            }
        }
    }
}

fn ok(name: &'static str, found: String) -> Verdict {
    Verdict { name, level: Level::Ok, found, advice: None }
}

fn warn(name: &'static str, found: String, advice: &str) -> Verdict {
    Verdict { name, level: Level::Warn, found, advice: Some(advice.to_owned()) }
}

fn fail(name: &'static str, found: String, advice: &str) -> Verdict {
    Verdict { name, level: Level::Fail, found, advice: Some(advice.to_owned()) }
}

/// Names of the needed capabilities that this process lacks.
pub(crate) fn missing_capabilities(proc: impl AsRef<Path>) -> Vec<&'static str> {
    capabilities(proc.as_ref()).map(missing).unwrap_or_default()
}

fn missing(bits: u64) -> Vec<&'static str> {
    let has = |capability: u32| bits >> capability & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(capability, name)| (!has(capability)).then_some(name))
        .collect()
}

/// Whether this kernel tells its types.
pub(crate) fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel_version() -> Option<(u32, u32)> {
    parse_version(&rustix::system::uname().release().to_string_lossy())
}

/// The number of a function of the kernel's in its type information, if it has it.
pub(crate) fn function_id(name: &CStr) -> Option<u32> {
    // SAFETY: the name is a C string, and the call keeps no pointer to it.
    let id = unsafe { libbpf_sys::libbpf_find_vmlinux_btf_id(name.as_ptr(), libbpf_sys::BPF_TRACE_FEXIT) };
    u32::try_from(id).ok().filter(|id| *id > 0)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn capabilities(proc: &Path) -> Option<u64> {
    let status = fs::read_to_string(proc.join("self/status")).ok()?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

fn kernel_config(proc: &Path, boot: &Path, release: &str) -> Option<String> {
    let packed = fs::File::open(proc.join("config.gz")).ok().and_then(|file| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).ok().map(|_| text)
    });
    packed.or_else(|| fs::read_to_string(boot.join(format!("config-{release}"))).ok())
}

/// `none [integrity] confidentiality` -> `integrity`.
fn active_mode(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

fn cgroup_mode(mountinfo: &str) -> CgroupMode {
    let (mut unified, mut legacy) = (None, false);
    for line in mountinfo.lines() {
        let Some((mount, source)) = line.split_once(" - ") else { continue };
        match source.split_ascii_whitespace().next() {
            Some("cgroup2") if unified.is_none() => {
                unified = mount.split_ascii_whitespace().nth(4).map(PathBuf::from);
            }
            Some("cgroup") => legacy = true,
            _ => {}
        }
    }
    match (unified, legacy) {
        (Some(path), false) => CgroupMode::Unified(path),
        (Some(path), true) => CgroupMode::Hybrid(path),
        (None, true) => CgroupMode::Legacy,
        (None, false) => CgroupMode::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            release: "6.1.0-56-amd64".to_owned(),
            btf: true,
            config_btf: Some(true),
            lockdown: Some("none".to_owned()),
            capabilities: Some(1 << CAP_BPF | 1 << CAP_PERFMON),
            memlock: Some(65_536),
            cgroups: CgroupMode::Unified(PathBuf::from("/sys/fs/cgroup")),
            initial_user_ns: Some(true),
        }
    }

    fn level(facts: &Facts, name: &str) -> Level {
        let verdict = facts.verdicts().into_iter().find(|verdict| verdict.name == name).expect("a verdict");
        assert_eq!(verdict.level == Level::Ok, verdict.advice.is_none(), "advice where something is to be done");
        verdict.level
    }

    #[test]
    fn a_good_host_has_nothing_to_do() {
        assert!(good().verdicts().iter().all(|verdict| verdict.level == Level::Ok));
    }

    #[test]
    fn each_fact_can_fail_by_itself() {
        let cases: [(&str, Level, Facts); 9] = [
            ("kernel", Level::Fail, Facts { release: "5.4.0-100-generic".to_owned(), memlock: None, ..good() }),
            ("kernel", Level::Warn, Facts { release: "strange".to_owned(), ..good() }),
            ("btf", Level::Fail, Facts { btf: false, ..good() }),
            ("config", Level::Fail, Facts { config_btf: Some(false), ..good() }),
            ("lockdown", Level::Fail, Facts { lockdown: Some("confidentiality".to_owned()), ..good() }),
            ("capabilities", Level::Fail, Facts { capabilities: Some(1 << CAP_BPF), ..good() }),
            ("user_namespace", Level::Fail, Facts { initial_user_ns: Some(false), ..good() }),
            ("memlock", Level::Warn, Facts { release: "5.10.0".to_owned(), ..good() }),
            ("cgroups", Level::Warn, Facts { cgroups: CgroupMode::Legacy, ..good() }),
        ];
        for (name, expected, facts) in cases {
            assert_eq!(level(&facts, name), expected, "{name}");
            let others = facts.verdicts().into_iter().filter(|verdict| verdict.name != name);
            assert!(others.into_iter().all(|verdict| verdict.level == Level::Ok), "only {name} is wrong");
        }
    }

    #[test]
    fn the_missing_capability_is_named() {
        assert_eq!(missing(1 << CAP_BPF), ["CAP_PERFMON"]);
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON"]);
        assert!(missing(1 << CAP_SYS_ADMIN).is_empty());
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("5.10.0-32-cloud-amd64"), Some((5, 10)));
        assert!(parse_version("7.3.4+deb13-cloud-amd64") >= Some((7, 0)));
        assert_eq!(parse_version("none"), None);
    }

    #[test]
    fn the_mode_of_lockdown_is_the_one_in_brackets() {
        assert_eq!(active_mode("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
    }

    #[test]
    fn the_mounts_tell_the_cgroup_mode() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        let v1 = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let path = PathBuf::from("/sys/fs/cgroup");
        assert_eq!(cgroup_mode(v2), CgroupMode::Unified(path.clone()));
        assert_eq!(cgroup_mode(&[v1, v2].concat()), CgroupMode::Hybrid(path));
        assert_eq!(cgroup_mode(v1), CgroupMode::Legacy);
        assert_eq!(cgroup_mode(""), CgroupMode::None);
    }

    #[test]
    fn the_configuration_is_read_from_boot_where_proc_has_none() {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::write(root.path().join("config-6.1.0"), "CONFIG_DEBUG_INFO_BTF=y\n").expect("a file");
        let config = kernel_config(&root.path().join("proc"), root.path(), "6.1.0");
        assert_eq!(config.as_deref(), Some("CONFIG_DEBUG_INFO_BTF=y\n"));
    }
}
