//! A shell that does as it is told, in a PID namespace, a cgroup or nowhere in particular.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::line::Line;
use crate::program::{EXECTRACE, Program};

/// A shell of the test's own. It ends with the value, and its PID namespace with it; so whatever traces it must be
/// declared after it, to go first.
pub(crate) struct Workspace {
    shell: Program,
    told: u32,
}

impl Workspace {
    /// A shell in a PID namespace and a mount namespace of its own.
    pub(crate) fn new() -> Workspace {
        Workspace::start(Command::new("unshare").args(NEW_NAMESPACE).arg("sh"))
    }

    /// The same as a user without any privilege.
    pub(crate) fn of_nobody() -> Workspace {
        Workspace::start(Command::new("unshare").args(NEW_NAMESPACE).arg("setpriv").args(NOBODY).arg("sh"))
    }

    /// A shell in the namespaces of the test.
    pub(crate) fn shared() -> Workspace {
        Workspace::start(&mut Command::new("sh"))
    }

    /// A shell in a PID namespace of which the first process is a child of `pid`, and in a cgroup.
    pub(crate) fn beside_the_child_of(pid: u32, cgroup: &CgroupFolder) -> Workspace {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$1/cgroup.procs\"; exec nsenter --pid=\"$2\" sh", "sh"]);
        Workspace::start(command.arg(cgroup.path()).arg(format!("/proc/{pid}/ns/pid_for_children")))
    }

    fn start(command: &mut Command) -> Workspace {
        let mut workspace = Workspace { shell: Program::start(command.stdin(Stdio::piped())), told: 0 };
        workspace.tell(":");
        workspace
    }

    /// Does what the line says and returns what it printed.
    #[track_caller]
    pub(crate) fn tell(&mut self, line: &str) -> Vec<String> {
        self.told += 1;
        let end = format!("told {}", self.told);
        let stdin = self.shell.stdin.as_mut().expect("an open pipe");
        writeln!(stdin, "{line}\necho 'told' {}", self.told).expect("a shell that listens");
        let mut said = Vec::new();
        loop {
            let line = self.shell.stdout().wait_for(&end, |_| true);
            if line == end {
                return said;
            }
            said.push(line);
        }
    }

    /// Waits, without an exec, until a file has so many lines with these words in it.
    #[track_caller]
    pub(crate) fn wait_for_lines(&mut self, path: &str, words: &str, count: usize) {
        let look = format!("n=0; while read -r line; do case $line in *'{words}'*) n=$((n+1));; esac; done <{path}");
        self.tell(&format!("n=0; while [ $n -lt {count} ]; do {look}; done"));
    }

    /// The one line that a command prints.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let said = self.tell(line);
        assert_eq!(said.len(), 1, "{line}: {said:?}");
        said.concat()
    }

    /// Number of the PID namespace.
    #[track_caller]
    pub(crate) fn number(&mut self) -> String {
        let link = self.ask("readlink /proc/self/ns/pid");
        link.trim_start_matches("pid:[").trim_end_matches(']').to_owned()
    }

    /// The shell's process in the namespace of the test; not to be used where the shell has a namespace of its own.
    pub(crate) fn pid(&self) -> u32 {
        self.shell.pid()
    }

    /// Waits for a line on the stderr of what runs in the shell.
    #[track_caller]
    pub(crate) fn wait_for_message(&mut self, words: &str) -> Line {
        self.shell.wait_for_message(words)
    }
}

const NEW_NAMESPACE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// Options of `setpriv`: nobody's user and group, and no capability ever.
pub(crate) const NOBODY: [&str; 5] =
    ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];

/// Options of `setpriv`: nobody, with the two capabilities that tracing needs and no way to more.
pub(crate) const ONLY_WHAT_TRACING_NEEDS: [&str; 7] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all,+bpf,+perfmon",
    "--ambient-caps=-all,+bpf,+perfmon",
    "--bounding-set=-all,+bpf,+perfmon",
];

/// A cgroup of the unified hierarchy, removed with the value; what is in it must have ended.
pub(crate) struct CgroupFolder(PathBuf);

impl CgroupFolder {
    /// `None`, and a line that says so, where there can be none.
    pub(crate) fn new() -> Option<CgroupFolder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let mount = mounts.lines().find_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            source.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
        });
        let name = format!("exectrace-cli-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = mount.map(|mount| mount.join(name));
        let made = folder.filter(|folder| fs::create_dir(folder).is_ok());
        if made.is_none() {
            println!("skipped: no cgroup v2 can be made here");
        }
        made.map(CgroupFolder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a cgroup of ours");
    }
}

impl Drop for CgroupFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            println!("{} stays: {error}", self.0.display());
        }
    }
}

/// A bpf file system of the test's own.
pub(crate) struct BpfFs(tempfile::TempDir);

impl BpfFs {
    pub(crate) fn new() -> BpfFs {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status();
        assert!(mounted.expect("mount").success());
        BpfFs(folder)
    }

    /// A folder of it, which is there once something is pinned.
    pub(crate) fn pin(&self) -> String {
        self.0.path().join("pin").display().to_string()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // What is pinned there would go on running.
        let _ = Command::new(EXECTRACE).arg("unpin").arg(self.pin()).stderr(Stdio::null()).status();
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}
