//! The words of `exectrace cost`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use super::TargetArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Files are plain, gzip or zstd, or a container's log (CRI); those of one run in their order.\n\n\
    Prices and the roll-up are those of the configuration; `exectrace config` prints it.\n\n\
    Exit codes: 0 done, 1 failure, 2 usage, not readable, or no line of exectrace, 3 tracing is not possible here (--live), \
    5 the report could not be written.\n\n\
    Examples:\n  exectrace cost -o html exectrace.log* > cost.html\n  exectrace cost --live --pid-ns 4026532200 --for 10m",
    group(ArgGroup::new("target").args(["pid_ns", "pid", "cgroup", "all"]).multiple(true))
)]
pub(crate) struct CostArgs {
    /// Rules, roll-up and prices from a file (TOML); `exectrace config` prints one
    #[arg(long, value_name = "FILE", env = "EXECTRACE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = CostFormat::Table)]
    pub(crate) output: CostFormat,
    /// Rows of each list; what comes after them is one
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
    /// Hours of a month in which it goes on like this
    #[arg(long, value_name = "H", default_value = "730", value_parser = parse_hours)]
    pub(crate) hours_a_month: f64,
    /// Workspaces like this one
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_times)]
    pub(crate) times: f64,
    /// Trace for a while instead of reading a log, and write nothing
    #[arg(long, requires = "target", conflicts_with = "files")]
    pub(crate) live: bool,
    /// How long to trace; an interrupt ends it before
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = parse_time, requires = "live")]
    pub(crate) time: Duration,
    /// A PID namespace and those below it, by number (readlink /proc/PID/ns/pid); repeatable
    #[arg(long, value_name = "N", requires = "live")]
    pid_ns: Vec<u32>,
    /// A process and all its descendants; repeatable
    #[arg(long, value_name = "P", requires = "live")]
    pid: Vec<u32>,
    /// A cgroup v2 folder and those below it; repeatable
    #[arg(long, value_name = "PATH", requires = "live")]
    cgroup: Vec<PathBuf>,
    /// The whole node
    #[arg(long, requires = "live", conflicts_with_all = ["pid_ns", "pid", "cgroup"])]
    all: bool,
    /// Files of the log; - is stdin
    #[arg(required_unless_present = "live", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

impl CostArgs {
    /// What to trace, with --live.
    pub(crate) fn target(&self) -> TargetArgs {
        let CostArgs { pid_ns, pid, cgroup, all, .. } = self;
        TargetArgs { pid_ns: pid_ns.clone(), pid: pid.clone(), cgroup: cgroup.clone(), all: *all }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CostFormat {
    Table,
    Json,
    /// One page for a browser, with a map
    Html,
}

fn parse_time(word: &str) -> Result<Duration, String> {
    match humantime::parse_duration(word).map_err(|error| error.to_string())? {
        time if time.is_zero() => Err("at least something".to_owned()),
        time => Ok(time),
    }
}

fn parse_hours(word: &str) -> Result<f64, String> {
    let hours = parse_times(word)?;
    if hours <= 744.0 { Ok(hours) } else { Err("a month has 744 hours at most".to_owned()) }
}

fn parse_times(word: &str) -> Result<f64, String> {
    let number: f64 = word.parse().map_err(|_| "a number".to_owned())?;
    if number > 0.0 && number <= 1e9 { Ok(number) } else { Err("more than 0, and at most 10^9".to_owned()) }
}
