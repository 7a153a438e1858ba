//! What is logged and what is folded: words of every command that logs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Rules, and roll-up.
#[derive(Debug, Args)]
#[command(next_help_heading = "Volume")]
pub(crate) struct SiftArgs {
    /// Rules, roll-up, origins and prices from a file (TOML); `exectrace config` prints one
    #[arg(long, value_name = "FILE", env = "EXECTRACE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Leave out, but count, the execs for which all of this holds, such as 'exe=/usr/bin/git tty=no ancestor=code-server';
    /// repeatable
    #[arg(long, value_name = "RULE")]
    pub(crate) exclude: Vec<String>,
    /// Log what this holds for, whatever --exclude says; repeatable
    #[arg(long, value_name = "RULE")]
    pub(crate) include: Vec<String>,
    /// The same as --exclude uid=UID (id as the node sees it); repeatable
    #[arg(long, value_name = "UID")]
    pub(crate) exclude_uid: Vec<u32>,
    /// The same as --exclude path=PREFIX: files whose path begins so; end with / for a folder; repeatable
    #[arg(long, value_name = "PREFIX")]
    pub(crate) exclude_path: Vec<String>,
    /// Fold what builds execute: one line for each program and window, and a line for everything unusual. With --sink file
    /// among others, that file has every exec
    #[arg(long)]
    pub(crate) rollup: bool,
    /// Execs below one exec in a window from which on they are folded [default: 10]
    #[arg(long, value_name = "N", requires = "rollup")]
    pub(crate) rollup_more_than: Option<u64>,
    /// How long a line stands for; so late is what is folded [default: 60s]
    #[arg(long, value_name = "TIME", requires = "rollup", value_parser = exectrace_sift::parse_window)]
    pub(crate) rollup_window: Option<Duration>,
}
