//! The command line: words -> [`Cli`]. Nothing here touches the system.

#[cfg(feature = "kubernetes")]
pub(crate) mod cluster;
pub(crate) mod cost;
pub(crate) mod query;
pub(crate) mod sifting;
pub(crate) mod sinks;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The file name by which kubectl finds its plugin `exectrace`, and what one calls it then.
const PLUGIN: &str = "kubectl-exectrace";
const PLUGIN_NAME: &str = "kubectl exectrace";

/// Log every program that runs in a workspace: once, truthfully, as one JSON line each.
#[derive(Debug, Parser)]
#[command(name = "exectrace", version, about, long_about = None, propagate_version = true, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failure, 2 usage, 3 tracing is not possible here (`exectrace check` says why), \
    4 no handshake in time, 5 the log could not be written; run: the command's own, 125 not started, 126 not executable, 127 not found."
)]
pub(crate) struct Cli {
    /// Format of exectrace's own messages on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Json, env = "EXECTRACE_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command and log it and all its descendants
    Run(RunArgs),
    /// Log what runs in a PID namespace, below a process, in a cgroup or on the whole node
    Trace(TraceArgs),
    /// Log a workspace from a container beside it
    Sidecar(SidecarArgs),
    /// Tell whether a sidecar is attached: the startup probe of its container
    Probe(ProbeArgs),
    /// Tell whether this host can trace, and what to do if not
    Check(CheckArgs),
    /// Tell whether a log is whole: what is missing, and what was changed
    Verify(VerifyArgs),
    /// Tell what a log costs a month, who makes it large, and what a roll-up would save
    Cost(Box<cost::CostArgs>),
    /// Remove what a tracer with --pin left behind
    Unpin(UnpinArgs),
    /// Switch process logging on: every new workspace gets a sidecar
    #[cfg(feature = "kubernetes")]
    Enable(cluster::SwitchArgs),
    /// Switch process logging off, for new workspaces
    #[cfg(feature = "kubernetes")]
    Disable(cluster::SwitchArgs),
    /// Tell which workspaces and nodes are traced, and why the others are not
    #[cfg(feature = "kubernetes")]
    Status(cluster::StatusArgs),
    /// Read the log of workspaces, from their pods or from files
    #[cfg(feature = "kubernetes")]
    Logs(cluster::LogsArgs),
    /// Add the sidecar to new workspaces, as a webhook of the API server
    #[cfg(feature = "kubernetes")]
    Webhook(cluster::WebhookArgs),
    /// Print the configuration that is built in, with comments, or say what one says
    Config(ConfigArgs),
    /// Print, or run, a query that finds execs in CloudWatch Logs
    Query(query::QueryArgs),
    /// Measure what tracing costs on this machine, beside other tools that are installed
    Bench(BenchArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

#[derive(Debug, Args)]
#[command(after_help = "The command keeps its terminal, signals and exit status. Logging ends with the command: \
    what it left running in the background is logged until then.\n\n\
    Example: exectrace run --tree -- make -j4")]
pub(crate) struct RunArgs {
    /// Indent each line below the exec that led to it (text)
    #[arg(long)]
    pub(crate) tree: bool,
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Indent each line below the exec that led to it (text)
    #[arg(long)]
    pub(crate) tree: bool,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct TargetArgs {
    /// A PID namespace and those below it, by number (readlink /proc/PID/ns/pid); repeatable
    #[arg(long, value_name = "N")]
    pub(crate) pid_ns: Vec<u32>,
    /// A process and all its descendants; repeatable
    #[arg(long, value_name = "P")]
    pub(crate) pid: Vec<u32>,
    /// A cgroup v2 folder and those below it; repeatable
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Vec<PathBuf>,
    /// The whole node
    #[arg(long, conflicts_with_all = ["pid_ns", "pid", "cgroup"])]
    pub(crate) all: bool,
}

/// What a tracer that runs for long has in common.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Keep the kernel's half in this folder of a bpf file system, so that it outlives a kill; a start with the same
    /// settings takes over and loses nothing. Not with --rollup, which holds execs back that a pin would have to keep
    #[arg(long, value_name = "DIR", conflicts_with = "rollup")]
    pub(crate) pin: Option<PathBuf>,
    /// Remove the pin when told to stop, so that only a kill leaves it
    #[arg(long, requires = "pin")]
    pub(crate) unpin_on_stop: bool,
    /// How often to execute something of our own, to see that it is seen; 0: never
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_interval)]
    pub(crate) watchdog: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct UnpinArgs {
    /// The folder that was given to --pin
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "In Kubernetes give --pod-uid: the sidecar finds its pod by itself, and nothing in the workspace can \
    steer it.\n\n\
    Without it and --use-local-pidns the workspace's start script tells its PID namespace once:\n\n  \
    curl -H Content-Type:text/plain http://127.0.0.1:56123 \\\n    \
    -d \"$(readlink /proc/self/ns/pid | tr -dc 0-9)\"\n\n\
    Lines are JSON, and go to stdout if not told otherwise."
)]
pub(crate) struct SidecarArgs {
    /// Trace the pod with this UID, in which this process must be a container (fieldPath: metadata.uid); all of the pod
    /// but this container
    #[arg(long, value_name = "UID", conflicts_with_all = ["init_address", "startup_timeout", "use_local_pidns"])]
    pub(crate) pod_uid: Option<String>,
    /// A downward-API volume with the pod's `labels` and `annotations`, and perhaps its `name` and `namespace`; who the
    /// workspace belongs to is taken from them, and again when they change
    #[arg(long, value_name = "DIR", requires = "pod_uid")]
    pub(crate) pod_info: Option<PathBuf>,
    /// Name of the node, for the first line of the log
    #[arg(long, value_name = "NAME", requires = "pod_uid")]
    pub(crate) node: Option<String>,
    /// Answer at this socket file once the tracer is attached; `exectrace probe` asks there
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_socket: Option<PathBuf>,
    /// Where to wait for the PID namespace's number
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:56123", value_parser = parse_address)]
    pub(crate) init_address: SocketAddr,
    /// How long to wait for it
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    pub(crate) startup_timeout: Duration,
    /// Trace the PID namespace that this process itself is in, without waiting (shareProcessNamespace)
    #[arg(long)]
    pub(crate) use_local_pidns: bool,
    /// A label for every line; repeatable, wins over --labels-dir, and that over --pod-info
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// A folder of labels, one file each, as a downward-API volume makes it; read again when it changes
    #[arg(long, value_name = "DIR")]
    pub(crate) labels_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it is attached, 1 it is not, or not yet.")]
pub(crate) struct ProbeArgs {
    /// What was given to --ready-socket
    #[arg(value_name = "FILE")]
    pub(crate) socket: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it can be used, 2 it cannot, 5 it could not be printed.")]
pub(crate) struct ConfigArgs {
    /// Say what this file says, and who decides its rules [default: print what is built in]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Whether the pod with this UID, in which this must be a container, can be found as well, as a sidecar finds it
    #[arg(long, value_name = "UID")]
    pub(crate) pod_uid: Option<String>,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) output: CheckFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "Files are plain, gzip or zstd, or a container's log (CRI), in any order.\n\n\
    Exit codes: 0 whole, 1 something is missing or was changed, and is named, 2 not a log or not readable, \
    5 the report could not be written.")]
pub(crate) struct VerifyArgs {
    /// The key that the log was chained with; any file that can be read, a pipe too
    #[arg(long, value_name = "FILE")]
    pub(crate) chain_key: Option<PathBuf>,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) output: CheckFormat,
    /// Print at most so many findings, and how many more there are [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) max_findings: Option<usize>,
    /// Print no report: the exit code says it
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Files of the log; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Everything runs in a PID namespace and a cgroup of its own, and the tools look at nothing else: \
    execsnoop (libbpf-tools), bpftrace, and auditd where nobody uses the kernel's audit. What is not installed is left out \
    and named. While the kernel's part is timed, kernel.bpf_stats_enabled is on for the whole machine.\n\n\
    Run it while nothing else runs; compare figures of one call only. It takes about five minutes. Needs root."
)]
pub(crate) struct BenchArgs {
    /// Execs of the workload in each measurement
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) execs: u64,
    /// Processes that execute them [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) workers: Option<u32>,
    /// How often each tool takes its turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// What to measure; repeatable, or with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Section>,
    /// Numbers of scopes to measure an exec with that is nobody's
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 100, 10_000],
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) scopes: Vec<u32>,
    /// Numbers of scopes to measure with a tracer for each, and with one for all
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 10, 64, 100],
        value_parser = clap::value_parser!(u32).range(1..=250))]
    pub(crate) sidecars: Vec<u32>,
    /// Write all figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A part of `exectrace bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// The workload untraced, with exectrace, and with other tools
    Tools,
    /// An exec that is nobody's, by the number of scopes
    Scopes,
    /// From a record to the bytes of a line
    Encode,
    /// A tracer for each scope against one for all
    Sidecars,
}

impl BenchArgs {
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    pub(crate) fn workers(&self) -> u32 {
        let processors =
            || std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        self.workers.unwrap_or_else(processors)
    }
}

/// What every command that logs has in common.
#[derive(Debug, Args)]
pub(crate) struct LoggingArgs {
    /// How much of each event to write: the seven seed fields, the usual ones, or all
    #[arg(long, value_enum, default_value_t = Fields::Standard)]
    pub(crate) fields: Fields,
    /// Argument bytes of an exec to write; the rest is told by count and hash [default: all]
    #[arg(long = "argv-limit", visible_alias = "max-args-bytes", value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) max_args_bytes: Option<u64>,
    /// Argument bytes of an exec to read from the kernel; the rest is told by count [default: all, at most 6 MiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_u32)]
    pub(crate) read_args_bytes: Option<u32>,
    /// Attempts to execute that failed: all but files that are not there, all, or none [default: notable, where seeing
    /// them costs other system calls nothing]
    #[arg(long, value_enum)]
    pub(crate) failed: Option<FailedArg>,
    /// Where to see them; tracepoint makes every system call of the node some ns slower
    #[arg(long, value_enum, default_value_t = FailedHookArg::Auto)]
    pub(crate) failed_hook: FailedHookArg,
    /// Log how and when each process ended that was logged
    #[arg(long)]
    pub(crate) exits: bool,
    /// How often to write down what was seen, written and lost so far; 0: at the end only
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_interval)]
    pub(crate) ledger_interval: Duration,
    /// Chain the lines by hashes, so that `exectrace verify` finds what was changed
    #[arg(long)]
    pub(crate) chain: bool,
    /// The same, signed by what this file holds; only who has it can write such a log
    #[arg(long, value_name = "FILE")]
    pub(crate) chain_key: Option<PathBuf>,
    /// Size of the kernel's ring buffer
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = parse_bytes_u32)]
    pub(crate) ring_size: u32,
    /// Memory for events that wait for a slow output; what does not fit is counted and told
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = parse_bytes)]
    pub(crate) queue_size: u64,
    #[command(flatten)]
    pub(crate) sifting: sifting::SiftArgs,
    #[command(flatten)]
    pub(crate) redaction: sinks::RedactArgs,
    #[command(flatten)]
    pub(crate) outputs: sinks::SinkArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailedArg {
    /// All but those of files that are not there, which are counted
    Notable,
    All,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailedHookArg {
    /// fexit, or none at all
    Auto,
    /// At the system calls' own functions, where the kernel lets programs in
    Fexit,
    /// At the tracepoints sys_exit_execve and sys_exit_execveat
    Tracepoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fields {
    /// The seven fields of the first version
    Seed,
    /// What most questions need
    Standard,
    /// Everything
    Full,
}

/// `IP:PORT`, and the two short forms that need no name server: `localhost:PORT` and `:PORT`, which is every address.
fn parse_address(word: &str) -> Result<SocketAddr, String> {
    let ip = match word.rsplit_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(("", port)) => format!("0.0.0.0:{port}"),
        _ => word.to_owned(),
    };
    ip.parse().map_err(|_| "an address is IP:PORT".to_owned())
}

/// `humantime` wants a unit even for nothing.
fn parse_interval(word: &str) -> Result<Duration, String> {
    let interval = if word == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(word) };
    match interval.map_err(|error| error.to_string())? {
        interval if interval.is_zero() || interval >= Duration::from_secs(1) => Ok(interval),
        _ => Err("at least 1s, or 0 for never".to_owned()),
    }
}

fn parse_label(word: &str) -> Result<(String, String), String> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}

fn parse_bytes(word: &str) -> Result<u64, String> {
    parse_size::parse_size(word)
        .map_err(|error| format!("{error}; a size is a number with an optional KiB, MiB or GiB"))
}

fn parse_bytes_u32(word: &str) -> Result<u32, String> {
    u32::try_from(parse_bytes(word)?).map_err(|_| "at most 4 GiB".to_owned())
}

impl Cli {
    /// Parses, or prints what clap has to say (help, version, error) and exits.
    pub(crate) fn from_words(words: impl IntoIterator<Item = OsString>) -> Cli {
        let words: Vec<OsString> = words.into_iter().collect();
        Cli::try_from_words(words).unwrap_or_else(|error| error.exit())
    }

    /// The same for who wants to know what is wrong.
    pub(crate) fn try_from_words(words: Vec<OsString>) -> Result<Cli, clap::Error> {
        Cli::parse_as(with_sidecar(words))
    }

    /// Parses under the name by which it was called: kubectl calls its plugins `kubectl-NAME` for `kubectl NAME`.
    fn parse_as(words: Vec<OsString>) -> Result<Cli, clap::Error> {
        let mut command = <Cli as clap::CommandFactory>::command();
        if words.first().is_some_and(|word| Path::new(word).file_name() == Some(OsStr::new(PLUGIN))) {
            command = command.bin_name(PLUGIN_NAME).display_name(PLUGIN_NAME).no_binary_name(true);
            let mut matches = command.try_get_matches_from_mut(words.iter().skip(1))?;
            return <Cli as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)
                .map_err(|error| error.format(&mut command));
        }
        Cli::try_parse_from(words)
    }

    fn is_command(word: &str) -> bool {
        <Cli as clap::CommandFactory>::command().find_subcommand(word).is_some()
    }
}

/// Images and templates of the first version call `exectrace --init-address …`, or `exectrace run --init-address …`
/// without a command: both mean the sidecar.
fn with_sidecar(words: Vec<OsString>) -> Vec<OsString> {
    let as_sidecar = |rest: &[OsString]| {
        let mut sidecar = vec![words[0].clone(), OsString::from("sidecar")];
        sidecar.extend_from_slice(rest);
        sidecar
    };
    let Some(first) = words.get(1).and_then(|word| word.to_str()) else { return words };
    let names_a_command = || words.iter().any(|word| word.to_str().is_some_and(Cli::is_command));
    let is_help = || Cli::try_parse_from(&words).is_err_and(|error| !error.use_stderr());
    let sidecar = match first {
        "run" => Some(as_sidecar(&words[2..])).filter(|words| Cli::try_parse_from(words).is_ok()),
        _ => (first.starts_with('-') && !names_a_command() && !is_help()).then(|| as_sidecar(&words[1..])),
    };
    sidecar.unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Result<Cli, clap::Error> {
        let words = std::iter::once("exectrace").chain(words.split_ascii_whitespace()).map(OsString::from).collect();
        Cli::try_from_words(words)
    }

    fn sidecar(words: &str) -> SidecarArgs {
        match parse(words).expect(words).command {
            Command::Sidecar(args) => args,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_flags_of_the_first_version_mean_the_sidecar() {
        for prefix in ["", "run ", "sidecar "] {
            let args =
                sidecar(&format!("{prefix}--init-address 127.0.0.1:9 --startup-timeout 2m --label a=b --label c=d=e"));
            assert_eq!(args.init_address.port(), 9);
            assert_eq!(args.startup_timeout, Duration::from_secs(120));
            assert_eq!(args.labels, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d=e".to_owned())]);
        }
        assert!(sidecar("run --use-local-pidns").use_local_pidns);
        assert_eq!(sidecar("run").init_address.to_string(), "127.0.0.1:56123");
    }

    #[test]
    fn an_address_needs_no_name_server() {
        for (word, address) in
            [("localhost:9", "127.0.0.1:9"), (":9", "0.0.0.0:9"), ("[::1]:9", "[::1]:9"), ("0.0.0.0:9", "0.0.0.0:9")]
        {
            assert_eq!(sidecar(&format!("--init-address {word}")).init_address.to_string(), address);
        }
        assert!(parse("sidecar --init-address example.com:9").is_err());
    }

    #[test]
    fn run_with_a_command_runs_it() {
        for (words, command) in [
            ("run -- ls -l", "ls -l"),
            ("run ls -l --tree -- -x", "ls -l --tree -- -x"),
            ("run --tree -- sidecar --label a=b", "sidecar --label a=b"),
            ("run -- --odd", "--odd"),
        ] {
            let Command::Run(args) = parse(words).expect(words).command else { panic!("{words}") };
            assert_eq!(args.command.join(std::ffi::OsStr::new(" ")), command, "{words}");
        }
    }

    #[test]
    fn a_flag_that_run_does_not_know_is_not_taken_for_a_command() {
        for words in ["run --nonsense ls", "run -x", "run --tree --nonsense -- ls"] {
            let error = parse(words).expect_err(words);
            assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument, "{words}: {error}");
        }
    }

    #[test]
    fn help_and_version_are_not_the_sidecar_s() {
        for words in ["--help", "--version", "-V"] {
            assert!(!parse(words).expect_err(words).use_stderr(), "{words}");
        }
        let help = parse("run --help").expect_err("help").to_string();
        assert!(help.contains("CMD"), "{help}");
    }

    #[test]
    fn a_wrong_flag_of_the_first_version_is_told_as_the_sidecar_s() {
        let error = parse("--init-address nowhere").expect_err("no address").to_string();
        assert!(error.contains("--init-address"), "{error}");
    }

    #[test]
    fn a_wrong_flag_of_another_command_is_told_as_that_one_s() {
        let error = parse("--log-format text trace --nonsense").expect_err("no such flag").to_string();
        assert!(error.contains("--nonsense") && error.contains("exectrace trace"), "{error}");
    }

    #[test]
    fn trace_needs_targets_or_the_whole_node() {
        assert!(parse("trace").is_err());
        assert!(parse("trace --all --pid 1").is_err());
        assert!(parse("trace --pid-ns 4026532200 -f json").is_ok());
        assert!(parse("trace --cgroup /a --cgroup /b --pid 1").is_ok());
    }

    #[test]
    fn bad_values_are_refused() {
        for words in [
            "sidecar --label novalue",
            "sidecar --label =x",
            "trace --all --ring-size much",
            "trace --all --fields most",
            "trace --all --ledger-interval 10ms",
            "trace --all --watchdog soon",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let Command::Trace(args) = parse("trace --all --ring-size 1MiB --max-args-bytes 0").expect("sizes").command
        else {
            panic!("no trace");
        };
        assert_eq!((args.logging.ring_size, args.logging.max_args_bytes), (1 << 20, Some(0)));
    }
}
