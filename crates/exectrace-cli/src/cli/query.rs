//! Words of `exectrace query`.

#[cfg(feature = "cloudwatch")]
use std::time::Duration;
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use crate::insights::Layout;

#[derive(Debug, Args)]
#[command(
    after_help = "Without --run, nothing is sent anywhere: the query is for the console, or for aws logs start-query.\n\n\
    Example: exectrace query --user zac --workspace code --text 'curl *' --since 1h --run --group /exectrace/workspaces --layout direct"
)]
pub(crate) struct QueryArgs {
    /// Lines of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Lines of this workspace
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// Command lines that have this in them; with * (anything) or ? (one character): that are this from the first character
    /// to the last
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// How the log got to CloudWatch Logs
    #[arg(long, value_enum, default_value_t = Layout::ContainerInsights)]
    pub(crate) layout: Layout,
    /// Events from here on: a time (RFC 3339), or how long ago (1h) [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<SystemTime>,
    /// Events up to here, likewise [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<SystemTime>,
    #[cfg(feature = "cloudwatch")]
    #[command(flatten)]
    pub(crate) run: RunQueryArgs,
}

#[cfg(feature = "cloudwatch")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Running it")]
pub(crate) struct RunQueryArgs {
    /// Send the query to CloudWatch Logs and print what it finds. AWS bills what is read for it
    #[arg(long, requires = "group")]
    pub(crate) run: bool,
    /// Log group; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Vec<String>,
    /// Region [default: as by all of AWS' tools]
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Where CloudWatch Logs is, if not where it usually is
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Rows at most; AWS gives no more than 10000
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) limit: i32,
    /// Give up after so long
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// The form of what is found
    #[arg(short, long, value_enum, default_value_t = ResultFormat::Table)]
    pub(crate) output: ResultFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// A row in each line, for people
    Table,
    /// One object: rows, and what AWS read for them
    Json,
}

/// A time, or how long ago.
fn parse_time(word: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(word) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "there was no time before that".to_owned());
    }
    humantime::parse_rfc3339(word)
        .map_err(|_| "neither a time (2026-11-28T09:00:00Z) nor how long ago (90m)".to_owned())
}
