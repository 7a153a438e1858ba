//! The tools that are measured: how each is started so that it looks at nothing but the workload, and how to find in what
//! it wrote which execs it saw.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, anyhow};
use regex::bytes::Regex;
use rustix::process::Signal;

use super::audit::{self, Audit};
use super::ground::Ground;
use super::process::Process;

/// What traces execs on Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// This program, JSON lines into a file.
    Exectrace,
    /// The C program of libbpf-tools.
    Execsnoop,
    /// A line that prints the arguments, as bpftrace's own execsnoop.bt.
    Bpftrace,
    /// The kernel's audit, read by auditd.
    Auditd,
}

/// How long a tool has to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Tool {
    pub(crate) const ALL: [Tool; 4] = [Tool::Exectrace, Tool::Execsnoop, Tool::Bpftrace, Tool::Auditd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Exectrace => "exectrace",
            Tool::Execsnoop => "execsnoop (libbpf-tools)",
            Tool::Bpftrace => "bpftrace",
            Tool::Auditd => "auditd",
        }
    }

    /// Whether it can be measured here; if not, why.
    pub(crate) fn check(self, ground: &Ground<'_>) -> Result<(), String> {
        match self {
            Tool::Exectrace => Ok(()),
            Tool::Execsnoop => is_installed("execsnoop", "libbpf-tools").and(has_cgroup(ground)),
            Tool::Bpftrace => is_installed("bpftrace", "bpftrace").and(has_cgroup(ground)),
            Tool::Auditd => {
                is_installed("auditd", "auditd").and_then(|()| is_installed("auditctl", "auditd"))?;
                audit::check()
            }
        }
    }

    /// Starts it; what it prints goes into a folder.
    pub(crate) fn start(self, ground: &mut Ground<'_>, folder: &Path) -> anyhow::Result<Tracing> {
        let output = folder.join("output");
        let command = match self {
            Tool::Exectrace => {
                let mut command = Command::new(env::current_exe().context("finding this program")?);
                command.args(["trace", "--failed", "none", "--pid-ns", &ground.pid_ns().to_string(), "--log"]);
                command.arg(&output);
                command
            }
            Tool::Execsnoop => {
                let leaf = ground.cgroup().map_err(|why| anyhow!("{why}"))?.leaf();
                with_tracefs(&["execsnoop", "-c", &leaf.to_string_lossy()])
            }
            Tool::Bpftrace => {
                let leaf = ground.cgroup().map_err(|why| anyhow!("{why}"))?.leaf();
                let id = fs::metadata(leaf).context("the workload's cgroup")?.ino();
                let here = format!("/cgroup == {id}/ {{ printf(\"%d \", pid); join(args->argv); }}");
                let calls = ["execve", "execveat"].map(|call| format!("tracepoint:syscalls:sys_enter_{call} {here}"));
                with_tracefs(&["bpftrace", "-e", &calls.join(" ")])
            }
            Tool::Auditd => audit::command(folder, &output)?,
        };
        let mut tracing = Tracing::start(self, command, folder, output)?;
        if self == Tool::Auditd {
            tracing.audit = Some(Audit::take(&tracing.child, ground)?);
        }
        Ok(tracing)
    }
}

fn is_installed(program: &str, package: &str) -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    if folders.map(|folder| folder.join(program)).any(|file| file.is_file()) {
        return Ok(());
    }
    Err(format!("not installed (apt-get install {package})"))
}

fn has_cgroup(ground: &Ground<'_>) -> Result<(), String> {
    ground.cgroup().map(drop).map_err(|why| format!("it can only be confined to a cgroup, but {why}"))
}

/// In a mount namespace of its own, with the file system by which it attaches itself, which not every host has mounted.
fn with_tracefs(words: &[&str]) -> Command {
    let mount = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; \
        mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", mount, "sh"]).args(words);
    command
}

/// A tool that runs.
pub(crate) struct Tracing {
    tool: Tool,
    /// Given back before auditd ends.
    audit: Option<Audit>,
    child: Child,
    pub(crate) begun: Instant,
    output: PathBuf,
    messages: PathBuf,
}

impl Tracing {
    fn start(tool: Tool, mut command: Command, folder: &Path, output: PathBuf) -> anyhow::Result<Tracing> {
        let messages = folder.join("messages");
        // exectrace and auditd write their file by themselves.
        let stdout = match tool {
            Tool::Exectrace | Tool::Auditd => Stdio::null(),
            Tool::Execsnoop | Tool::Bpftrace => File::create(&output)?.into(),
        };
        let stderr = File::create(&messages)?;
        let begun = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("starting {}", tool.name()))?;
        Ok(Tracing { tool, audit: None, child, begun, output, messages })
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// What it wrote so far.
    pub(crate) fn written(&self) -> io::Result<Vec<u8>> {
        match fs::read(&self.output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Why it does not run any more, if it does not.
    pub(crate) fn failure(&mut self) -> io::Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let said = fs::read_to_string(&self.messages)?;
        Ok(Some(format!("it ended ({status}): {}", said.trim())))
    }

    /// Asks it to end, and waits until it has written what it had.
    pub(crate) fn stop(mut self) -> anyhow::Result<Vec<u8>> {
        let signal = match self.tool {
            Tool::Exectrace | Tool::Auditd => Signal::TERM,
            Tool::Execsnoop | Tool::Bpftrace => Signal::INT,
        };
        self.audit = None;
        self.end(signal)?;
        Ok(self.written()?)
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        self.process().signal(signal)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                self.child.kill()?;
                self.child.wait()?;
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.audit = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended = self.end(Signal::TERM);
        }
    }
}

/// Which of the workload's execs stand in a tool's output: number of the worker, number of its exec.
pub(crate) fn execs_in(output: &[u8]) -> HashSet<(u32, u32)> {
    numbers(&EXEC, output).filter_map(|found| Some((found[0]?, found[1]?))).collect()
}

/// The first of the probes that stands there.
pub(crate) fn first_probe_in(output: &[u8]) -> Option<u32> {
    numbers(&PROBE, output).filter_map(|found| found[0]).min()
}

/// How many letters are left of the argument that began with `long-`.
pub(crate) fn letters_kept(output: &[u8]) -> usize {
    LONG.captures_iter(output).map(|found| found[1].len()).max().unwrap_or(0)
}

// Each tool has its own way to write arguments one after the other: a blank, `","`, `" a1="`.
static EXEC: LazyLock<Regex> = LazyLock::new(|| pattern(r#"target(?:" a1=|[" ,])+([0-9]+)-([0-9]+)"#));
static PROBE: LazyLock<Regex> = LazyLock::new(|| pattern(r"probe-([0-9]+)"));
static LONG: LazyLock<Regex> = LazyLock::new(|| pattern("long-([a-z]*)"));

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern that the tests compile")
}

fn numbers<'a>(pattern: &'a Regex, output: &'a [u8]) -> impl Iterator<Item = [Option<u32>; 2]> + 'a {
    pattern.captures_iter(output).map(|found| {
        let number = |at| found.get(at).and_then(|digits| std::str::from_utf8(digits.as_bytes()).ok()?.parse().ok());
        [number(1), number(2)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_execs_are_found_however_a_tool_writes_arguments() {
        for line in [
            r#""argv":["/tmp/x/target","1-17"],"truncated":false"#,
            "target           2044   29509    0 /tmp/x/target 1-17 \n",
            "412 /tmp/x/target 1-17\n",
            r#"type=EXECVE msg=audit(1.2:3): argc=2 a0="/tmp/x/target" a1="1-17""#,
        ] {
            assert_eq!(execs_in(line.as_bytes()), HashSet::from([(1, 17)]), "{line}");
        }
        assert!(execs_in(b"/tmp/x/target probe-1").is_empty());
    }

    #[test]
    fn probes_and_what_is_left_of_a_long_argument_are_found_too() {
        let output = b"target probe-7\ntarget probe-4\ntarget long-abcdef...\n";
        assert_eq!(first_probe_in(output), Some(4));
        assert_eq!(letters_kept(output), 6);
        assert_eq!(first_probe_in(b""), None);
    }
}
