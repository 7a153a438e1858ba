//! `exectrace logs`.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::cluster::LogsArgs;

pub(crate) fn main(args: &LogsArgs) -> ExitCode {
    exit_code(Err(anyhow::anyhow!("{args:?}")))
}
