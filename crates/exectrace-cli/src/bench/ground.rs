//! Where the workload runs: a PID namespace and a cgroup that were made for it, so that no tool need look at anything
//! else on the machine.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};

use super::workload::{Programs, Storm};

/// A shell in the namespace, which does what it is told line by line.
pub(crate) struct Ground<'a> {
    shell: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pid_ns: u32,
    cgroup: Result<Cgroup, String>,
    programs: &'a Programs,
    workers: u32,
}

/// What tells one ground of this process from the next.
static GROUNDS: AtomicU32 = AtomicU32::new(0);

impl<'a> Ground<'a> {
    pub(crate) fn new(programs: &'a Programs, workers: u32) -> anyhow::Result<Ground<'a>> {
        let cgroup = Cgroup::new();
        let mut shell = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("making a PID namespace (unshare, of util-linux)")?;
        let input = shell.stdin.take();
        let output = BufReader::new(shell.stdout.take().context("a pipe that was asked for")?).lines();
        let mut ground = Ground { shell, input, output, pid_ns: 0, cgroup, programs, workers };
        if let Ok(cgroup) = &ground.cgroup {
            let join = format!("echo 0 > {}/cgroup.procs", cgroup.leaf().display());
            ground.tell(&join)?;
        }
        let link = ground.ask("readlink /proc/self/ns/pid").context("making a PID namespace needs root")?;
        let digits: String = link.chars().filter(char::is_ascii_digit).collect();
        ground.pid_ns = digits.parse().context("the number of a PID namespace")?;
        Ok(ground)
    }

    pub(crate) fn pid_ns(&self) -> u32 {
        self.pid_ns
    }

    /// Where the workload is, in the unified hierarchy; or why it is in no cgroup of its own.
    pub(crate) fn cgroup(&self) -> Result<&Cgroup, &str> {
        self.cgroup.as_ref().map_err(String::as_str)
    }

    /// Lets all workers execute the target, so many times in all.
    pub(crate) fn storm(&mut self, execs: u64) -> anyhow::Result<Storm> {
        let (storm, target) = (self.programs.storm(), self.programs.target());
        let line = self.ask(&format!("{} {} {} {execs} 0", storm.display(), target.display(), self.workers))?;
        serde_json::from_str(&line).with_context(|| format!("the workload said {line:?}"))
    }

    /// Executes the target once, with one argument.
    pub(crate) fn execute(&mut self, argument: &str) -> anyhow::Result<()> {
        let target = self.programs.target();
        self.ask(&format!("{} {argument}; echo", target.display())).map(drop)
    }

    /// Gives the workload another login id, by which audit rules can know it.
    pub(crate) fn set_login(&mut self, id: &str) -> anyhow::Result<()> {
        self.tell(&format!("echo {id} > /proc/self/loginuid"))
    }

    fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the shell has its input until the end")?;
        writeln!(input, "{line}").context("the shell of the workload is gone")
    }

    /// Lets the shell run a command that prints one line.
    fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.tell(line)?;
        match self.output.next() {
            Some(line) => Ok(line?),
            None => bail!("the shell of the workload is gone"),
        }
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        // The shell ends with its input, and the namespace with the shell.
        self.input = None;
        let _ended = self.shell.wait();
    }
}

/// A folder in the unified hierarchy, with the workload as deep in it as a container of a pod is.
pub(crate) struct Cgroup {
    root: PathBuf,
}

impl Cgroup {
    fn new() -> Result<Cgroup, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let mount = cgroup2_mount(&mounts).ok_or("no cgroup v2 is mounted")?;
        let number = GROUNDS.fetch_add(1, Ordering::Relaxed);
        let root = mount.join(format!("exectrace-bench-{}-{number}", std::process::id()));
        let cgroup = Cgroup { root };
        fs::create_dir_all(cgroup.leaf())
            .map_err(|error| format!("no cgroup can be made in {}: {error}", mount.display()))?;
        Ok(cgroup)
    }

    /// Where the workload is.
    pub(crate) fn leaf(&self) -> PathBuf {
        self.root.join("burstable/pod/container")
    }

    /// Makes an empty cgroup beside that of the workload, two levels higher.
    pub(crate) fn neighbour(&self, number: u32) -> std::io::Result<PathBuf> {
        let path = self.root.join(format!("neighbour-{number}"));
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is in use somewhere stays, and harms nobody.
        remove_empty(&self.root);
    }
}

fn remove_empty(folder: &Path) {
    for child in fs::read_dir(folder).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&child.path());
        }
    }
    let _removed = fs::remove_dir(folder);
}

fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find_map(|words| match words[..] {
        [_, path, "cgroup2", ..] => Some(PathBuf::from(path)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_wherever_it_is_mounted() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup2_mount(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2_mount("proc /proc proc rw 0 0\n"), None);
    }
}
