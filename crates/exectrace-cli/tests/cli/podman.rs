//! Real containers by podman and runc: the image of exectrace, and one that stands for a workspace's.
//!
//! All that podman stores lies in a folder of the build's. A pod is a cgroup that is named after its UID, as the kubelet
//! makes it; podman puts each container's cgroup into it.

use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::fixtures::fixture;
use crate::program::{EXECTRACE, Ended, PATIENCE, Program, Stopped};

/// Programs of busybox that the workspace's image has, beside the fixture `target`: others its shell runs without an exec.
const APPLETS: [&str; 2] = ["sh", "unshare"];
const WORKSPACE_IMAGE: &str = "localhost/workspace";

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("podman");
        fs::create_dir_all(&folder).expect("a folder of the build's");
        // The sandboxes in which tests run may not raise limits, and have no systemd.
        let conf = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
                    [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";
        fs::write(folder.join("containers.conf"), conf).expect("a file of ours");
        fs::write(folder.join("seccomp.json"), seccomp().to_string()).expect("a file of ours");
        load_images(&folder);
        folder
    })
}

/// The default profile of newer runtimes: the one that podman has here, in which bpf(2) and perf_event_open(2) are let
/// through for who has the capability, as containerd and moby do it since they know CAP_BPF and CAP_PERFMON.
fn seccomp() -> Value {
    let text = fs::read_to_string("/usr/share/containers/seccomp.json").expect("podman's profile is installed");
    let mut profile: Value = serde_json::from_str(&text).expect("JSON");
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    for rule in rules.iter_mut() {
        let names = rule["names"].as_array_mut().expect("names");
        names.retain(|name| name != "bpf" && name != "perf_event_open");
    }
    for (call, capability) in [("bpf", "CAP_BPF"), ("perf_event_open", "CAP_PERFMON")] {
        rules.push(json!({ "names": [call], "action": "SCMP_ACT_ALLOW", "includes": { "caps": [capability] } }));
    }
    profile
}

/// Where [`seccomp`] lies.
pub(crate) fn seccomp_profile() -> PathBuf {
    folder().join("seccomp.json")
}

fn load_images(folder: &Path) {
    let archive = folder.join("exectrace.tar");
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-image");
    run(Command::new(build).arg(EXECTRACE).arg(&archive));
    run(podman_in(folder).args(["load", "--quiet", "--input"]).arg(&archive));
    let root = folder.join("workspace/bin");
    fs::create_dir_all(&root).expect("a folder of ours");
    fs::copy("/bin/busybox", root.join("busybox")).expect("busybox-static is installed");
    fs::copy(fixture("target"), root.join("target")).expect("a program of the tests'");
    for applet in APPLETS {
        // It may be there from an earlier run.
        let _ = std::os::unix::fs::symlink("busybox", root.join(applet));
    }
    let files = folder.join("workspace.tar");
    run(Command::new("tar").arg("-C").arg(folder.join("workspace")).arg("-cf").arg(&files).arg("bin"));
    run(podman_in(folder).args(["import", "--quiet", "--change", "ENV PATH=/bin"]).arg(&files).arg(WORKSPACE_IMAGE));
}

#[track_caller]
fn run(command: &mut Command) {
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {ended:?}");
}

/// `podman`, which looks at nothing but its own folder.
pub(crate) fn podman() -> Command {
    podman_in(folder())
}

fn podman_in(folder: &Path) -> Command {
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", folder.join("containers.conf")).args(["--storage-driver", "vfs"]);
    command.arg("--root").arg(folder.join("storage"));
    for (flag, name) in [("--runroot", "run"), ("--tmpdir", "tmp")] {
        command.arg(flag).arg(short_folder(folder).join(name));
    }
    command
}

/// podman wants a short path for what lives as long as the machine runs; another build has another one.
fn short_folder(folder: &Path) -> PathBuf {
    let mut hasher = std::hash::DefaultHasher::new();
    folder.hash(&mut hasher);
    std::env::temp_dir().join(format!("exectrace-{:016x}", hasher.finish()))
}

/// The cgroup of a pod, gone with the value.
pub(crate) struct Pod {
    top: String,
    pub(crate) uid: String,
}

impl Pod {
    pub(crate) fn new() -> Pod {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (own, uid) = (std::process::id(), format!("621d2e52-1b7a-4d6c-9c55-{number:012x}"));
        Pod { top: format!("exectrace-test-{own}-{number}"), uid }
    }

    /// Where its containers' cgroups go.
    pub(crate) fn cgroup(&self) -> String {
        format!("/{}/burstable/pod{}", self.top, self.uid)
    }

    /// Where they go if the container runtime and the kubelet name cgroups in different ways.
    pub(crate) fn cgroup_of_another_driver(&self) -> String {
        let uid = self.uid.replace('-', "_");
        format!("/{}/containerd.service/kubepods-burstable-pod{uid}.slice:cri-containerd:0", self.top)
    }

    /// A container of the workspace: `sh -c SCRIPT`, with these further flags of `podman run`.
    #[track_caller]
    pub(crate) fn run(&self, flags: &[&str], script: &str) {
        let mut command = podman();
        command.args(["run", "--rm", "--network=none", "--cgroupns=private", "--cgroup-parent"]).arg(self.cgroup());
        run(command.args(flags).arg(WORKSPACE_IMAGE).args(["sh", "-c", script]));
    }

    /// A command that is put into a container of the workspace, beside its first process, as by `kubectl exec`.
    #[track_caller]
    pub(crate) fn enter(&self, flags: &[&str], words: &[&str]) {
        let container = Name(format!("exectrace-test-{}-entered", self.uid));
        let mut command = podman();
        command.args(["run", "--detach", "--name", &container.0, "--network=none", "--cgroupns=private"]);
        let _ = podman().args(["rm", "--force", "--time=0", &container.0]).output();
        run(command.arg("--cgroup-parent").arg(self.cgroup()).args([WORKSPACE_IMAGE, "busybox", "sleep", "600"]));
        run(podman().arg("exec").args(flags).arg(&container.0).args(words));
        run(podman().args(["rm", "--force", "--time=0", &container.0]));
    }
}

impl Drop for Pod {
    /// podman leaves the cgroups above its containers', in every hierarchy.
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let hierarchies = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, kind) = (words.next()?, words.next()?);
            kind.starts_with("cgroup").then(|| Path::new(path).join(&self.top))
        });
        hierarchies.for_each(|top| remove(&top));
    }
}

/// podman's own process for a container ends a moment after podman.
fn remove(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let pids = procs.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    for process in pids.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let patience = Timespec::try_from(PATIENCE).expect("a short time");
        let _ = rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
    }
    let _ = fs::remove_dir(cgroup);
}

/// A container that a pod's description says how to run.
pub(crate) struct Sidecar {
    program: Program,
    container: Name,
}

/// Of a container. It is removed with the value if the test fails, and by podman if not.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = podman().args(["rm", "--force", "--time=0", &self.0]).output();
        }
    }
}

impl Sidecar {
    /// Runs the container that the webhook adds, with what the kubelet and a runtime make of it.
    #[track_caller]
    pub(crate) fn start(container: &Value, pod: &Pod, pod_info: &Path, changes: &Changes<'_>) -> Sidecar {
        let (mut command, container) = command(container, pod, pod_info, changes);
        Sidecar { program: Program::start(&mut command), container }
    }

    /// The same, of one that ends by itself.
    #[track_caller]
    pub(crate) fn fail(container: &Value, pod: &Pod, pod_info: &Path, changes: &Changes<'_>) -> Ended {
        let (mut command, _container) = command(container, pod, pod_info, changes);
        Ended::of(&mut command)
    }

    /// Asks by the container's startup probe until it succeeds.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self, container: &Value) {
        self.program.wait_for_message("tracing this pod");
        let probe = words(&container["startupProbe"]["exec"]["command"]);
        let deadline = Instant::now() + PATIENCE;
        while Ended::of(podman().args(["exec", &self.container.0]).args(&probe)).code != Some(0) {
            assert!(Instant::now() < deadline, "the probe does not succeed");
        }
    }

    /// As with `kubectl exec`, in the same container.
    #[track_caller]
    pub(crate) fn exec(&self, words: &[&str]) -> Ended {
        Ended::of(podman().args(["exec", &self.container.0, "/exectrace"]).args(words))
    }

    pub(crate) fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Asks it to end, as the kubelet does, and returns what it left.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        self.program.stop().1
    }
}

/// What a test has otherwise than the webhook wants it.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    /// Instead of the pod's cgroup.
    pub(crate) cgroup: Option<String>,
    /// Without the capabilities that are to be added.
    pub(crate) no_capabilities: bool,
    /// podman's own seccomp profile, which knows nothing of CAP_BPF.
    pub(crate) old_seccomp: bool,
    /// Further flags of `podman run`.
    pub(crate) flags: &'a [&'a str],
}

/// `podman run` for a container of a pod's description. What is not translated is no field that the webhook sets.
fn command(container: &Value, pod: &Pod, pod_info: &Path, changes: &Changes<'_>) -> (Command, Name) {
    let security = &container["securityContext"];
    assert_eq!(security["privileged"], false);
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(security["seccompProfile"], json!({ "type": "RuntimeDefault" }));
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    let name = Name(format!("{}-{}", container["name"].as_str().expect("a name"), pod.top));
    let mut command = podman();
    command.args(["run", "--rm", "--network=none", "--cgroupns=private", "--name", &name.0]);
    command.args(["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]);
    command.arg("--cgroup-parent").arg(changes.cgroup.clone().unwrap_or_else(|| pod.cgroup()));
    command.arg(format!("--user={}:{}", security["runAsUser"], security["runAsGroup"]));
    if !changes.no_capabilities {
        command.args(words(&security["capabilities"]["add"]).iter().map(|name| format!("--cap-add={name}")));
    }
    if !changes.old_seccomp {
        command.arg("--security-opt").arg(format!("seccomp={}", seccomp_profile().display()));
    }
    for variable in container["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        command.arg(format!("--env={name}={}", expanded(&format!("$({name})"), container, pod)));
    }
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let at = mount["mountPath"].as_str().expect("a path");
        match mount["name"].as_str().expect("a name") {
            exectrace_k8s::names::POD_INFO_VOLUME => {
                command.arg("--volume").arg(format!("{}:{at}:ro", pod_info.display()))
            }
            exectrace_k8s::names::RUN_VOLUME if mount["readOnly"] == true => command.arg(format!("--tmpfs={at}:ro")),
            exectrace_k8s::names::RUN_VOLUME => command.arg(format!("--tmpfs={at}")),
            other => panic!("no such volume: {other}"),
        };
    }
    command.args(changes.flags);
    let program = words(&container["command"]);
    command
        .arg(format!("--entrypoint={}", program[0]))
        .arg(format!("localhost/exectrace:{}", env!("CARGO_PKG_VERSION")));
    command.args(words(&container["args"]).iter().map(|word| expanded(word, container, pod)));
    (command, name)
}

/// A word with its `$(NAME)`s, as the kubelet gives it to the container.
fn expanded(word: &str, container: &Value, pod: &Pod) -> String {
    let variables = container["env"].as_array().expect("variables");
    variables.iter().fold(word.to_owned(), |word, variable| {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().expect("a field") {
            "metadata.uid" => &pod.uid,
            "spec.nodeName" => "node-1",
            other => panic!("no such field: {other}"),
        };
        word.replace(&format!("$({})", variable["name"].as_str().expect("a name")), value)
    })
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
}
