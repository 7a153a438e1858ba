//! One file per subcommand: wiring only.

#[cfg(feature = "kubernetes")]
mod api_server;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod cost;
mod files;
pub(crate) mod generate;
#[cfg(feature = "kubernetes")]
pub(crate) mod logs;
pub(crate) mod probe;
pub(crate) mod query;
pub(crate) mod run;
pub(crate) mod sidecar;
#[cfg(feature = "kubernetes")]
pub(crate) mod status;
#[cfg(feature = "kubernetes")]
pub(crate) mod switch;
pub(crate) mod trace;
pub(crate) mod unpin;
pub(crate) mod verify;
#[cfg(feature = "kubernetes")]
pub(crate) mod webhook;

use std::path::Path;
use std::process::ExitCode;

use crate::exit::{Exit, report};

/// Where the kernel tells of processes.
const PROC: &str = "/proc";

fn proc() -> &'static Path {
    Path::new(PROC)
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(error) => report(&error).into(),
    }
}
