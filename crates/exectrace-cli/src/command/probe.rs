//! `exectrace probe`: whether a sidecar is attached, for its startup probe.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::ProbeArgs;
use crate::ready;

pub(crate) fn main(args: &ProbeArgs) -> ExitCode {
    exit_code(ready::ask(&args.socket))
}
