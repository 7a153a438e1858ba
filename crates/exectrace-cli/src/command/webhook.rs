//! `exectrace webhook`.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::cluster::WebhookArgs;

pub(crate) fn main(args: &WebhookArgs) -> ExitCode {
    exit_code(Err(anyhow::anyhow!("{args:?}")))
}
