//! `exectrace enable` and `exectrace disable`.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::cluster::SwitchArgs;

pub(crate) fn main(args: &SwitchArgs, enabled: bool) -> ExitCode {
    exit_code(Err(anyhow::anyhow!("{args:?} {enabled}")))
}
