//! auditd. The kernel has one audit for all, so it is only taken where nobody uses it, is told to look at nothing but the
//! workload, which gets a login id of its own, and is left as it was.

use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::ground::Ground;

/// The login id of the workload: nobody's.
const LOGIN: &str = "3999999999";
/// Records that may wait for auditd; the kernel's own 64 would be a test of nothing else.
const BACKLOG: &str = "65536";

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether nobody uses the audit; if somebody does, how that shows.
pub(super) fn check() -> Result<(), String> {
    let status = auditctl(&["-s"])?;
    if number_of(&status, "enabled") != Some(0) || number_of(&status, "pid") != Some(0) {
        return Err("the kernel's audit is in use (auditctl -s)".to_owned());
    }
    if !auditctl(&["-l"])?.contains("No rules") {
        return Err("the kernel's audit has rules (auditctl -l)".to_owned());
    }
    Ok(())
}

/// auditd, writing into a file and doing nothing else.
pub(super) fn command(folder: &Path, output: &Path) -> anyhow::Result<Command> {
    let settings = [
        "local_events = yes",
        "write_logs = yes",
        &format!("log_file = {}", output.display()),
        "log_format = RAW",
        "flush = NONE",
        "q_depth = 65536",
        "max_log_file = 10000",
        "max_log_file_action = IGNORE",
        "space_left = 2",
        "space_left_action = IGNORE",
        "admin_space_left = 1",
        "admin_space_left_action = IGNORE",
        "disk_full_action = IGNORE",
        "disk_error_action = IGNORE",
    ];
    std::fs::write(folder.join("auditd.conf"), settings.join("\n") + "\n").context("writing auditd.conf")?;
    let mut command = Command::new("/usr/sbin/auditd");
    command.args(["-n", "-s", "nochange", "-c"]).arg(folder);
    Ok(command)
}

/// The audit while it is ours; given back when this is dropped.
pub(super) struct Audit {
    backlog: u64,
}

impl Audit {
    /// Tells the kernel what to audit, once auditd is there to read it.
    pub(super) fn take(auditd: &Child, ground: &mut Ground<'_>) -> anyhow::Result<Audit> {
        ground.set_login(LOGIN)?;
        let begun = Instant::now();
        let status = loop {
            let status = auditctl(&["-s"]).map_err(anyhow::Error::msg)?;
            if number_of(&status, "pid") == Some(u64::from(auditd.id())) {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                bail!("auditd does not come up");
            }
            thread::sleep(LOOK_EVERY);
        };
        let audit = Audit { backlog: number_of(&status, "backlog_limit").unwrap_or(64) };
        let login = format!("auid={LOGIN}");
        let rules: [&[&str]; 4] = [
            &["-b", BACKLOG],
            // Messages of user space are no execs, and other people's.
            &["-a", "always,exclude", "-F", "msgtype>=1100", "-F", "msgtype<=1299"],
            &["-a", "always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-F", &login],
            &["-e", "1"],
        ];
        for words in rules {
            auditctl(words).map_err(anyhow::Error::msg).context("telling the kernel what to audit")?;
        }
        Ok(audit)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // Nobody used it before, and what cannot be given back shows in `auditctl -s`.
        let _rules = auditctl(&["-D"]);
        let _off = auditctl(&["-e", "0"]);
        let _backlog = auditctl(&["-b", &self.backlog.to_string()]);
    }
}

fn auditctl(words: &[&str]) -> Result<String, String> {
    let output = Command::new("/usr/sbin/auditctl").args(words).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("auditctl: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number_of(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_audit_is_read_line_by_line() {
        let status = "enabled 0\nfailure 1\npid 27\nbacklog_limit 64\nbacklog 3\n";
        assert_eq!(number_of(status, "enabled"), Some(0));
        assert_eq!(number_of(status, "pid"), Some(27));
        assert_eq!(number_of(status, "backlog"), Some(3));
        assert_eq!(number_of(status, "lost"), None);
    }
}
