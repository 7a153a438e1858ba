//! `exectrace status`.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::cluster::StatusArgs;

pub(crate) fn main(args: &StatusArgs) -> ExitCode {
    exit_code(Err(anyhow::anyhow!("{args:?}")))
}
