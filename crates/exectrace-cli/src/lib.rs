//! `exectrace`: the log of every program that runs in a workspace.
//!
//! Words become a command (`cli`), the command runs (`command/*`), its end is an exit code (`exit`). This is a library so
//! that fuzz targets can reach into it; it has no interface but [`main`].

#![cfg_attr(
    not(all(feature = "cloudwatch", feature = "kubernetes", feature = "metrics", feature = "otlp")),
    allow(dead_code, unused_imports, unused_variables, reason = "some is there for what was left out")
)]

mod attach;
mod backpressure;
mod bench;
mod capabilities;
mod cli;
mod command;
mod config;
mod confinement;
mod cost;
mod diagnostics;
mod exit;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod input;
mod insights;
mod labels;
mod ledger;
mod line;
mod log;
#[cfg(any(feature = "kubernetes", fuzzing))]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
mod pipeline;
mod pod_info;
mod queue;
mod ready;
mod redaction;
mod seal;
mod sifting;
mod sink;
mod start;
mod stats;
mod stop;
mod stream;
mod tally;
mod verify;
mod watchdog;
mod writer;

use std::process::ExitCode;

use exectrace_k8s::names::POD_UID_VARIABLE;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

/// What the program does: the words that it was called with come in, its exit code comes out.
pub fn main() -> ExitCode {
    if watchdog::is_probe() {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::from_words(std::env::args_os());
    diagnostics::init(cli.log_format);
    if let Some(why) = confinement::refusal(&cli.command, std::env::var_os(POD_UID_VARIABLE).as_deref()) {
        tracing::error!("{why}");
        return Exit::Usage.into();
    }
    match cli.command {
        Command::Run(args) => command::run::main(args),
        Command::Trace(args) => command::trace::main(args),
        Command::Sidecar(args) => command::sidecar::main(args),
        Command::Probe(args) => command::probe::main(&args),
        Command::Check(args) => command::check::main(args),
        Command::Verify(args) => command::verify::main(args),
        Command::Cost(args) => command::cost::main(&args),
        Command::Unpin(args) => command::unpin::main(&args),
        #[cfg(feature = "kubernetes")]
        Command::Enable(args) => command::switch::main(&args, true),
        #[cfg(feature = "kubernetes")]
        Command::Disable(args) => command::switch::main(&args, false),
        #[cfg(feature = "kubernetes")]
        Command::Status(args) => command::status::main(&args),
        #[cfg(feature = "kubernetes")]
        Command::Logs(args) => command::logs::main(&args),
        #[cfg(feature = "kubernetes")]
        Command::Webhook(args) => command::webhook::main(args),
        Command::Config(args) => command::config::main(&args),
        Command::Query(args) => command::query::main(&args),
        Command::Bench(args) => command::bench::main(&args),
        Command::Completions { shell } => command::generate::completions(shell),
        Command::Man => command::generate::man(),
    }
}
