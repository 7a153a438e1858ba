//! `exectrace enable` and `exectrace disable`.

use std::io::Write;
use std::process::ExitCode;

use exectrace_k8s::switch::{Outcome, throw};

use super::api_server::ask;
use super::exit_code;
use crate::cli::cluster::SwitchArgs;

pub(crate) fn main(args: &SwitchArgs, enabled: bool) -> ExitCode {
    exit_code(ask(&args.cluster, async |client| {
        let outcome = throw(&client, enabled).await?;
        if let Some(error) = &outcome.untold {
            tracing::warn!(error, "the change is made, but left no Event");
        }
        Ok(writeln!(std::io::stdout(), "{}", sentence(&outcome, enabled))?)
    }))
}

fn sentence(outcome: &Outcome, enabled: bool) -> String {
    let position = if enabled { "on" } else { "off" };
    if !outcome.changed {
        return format!("process logging was {position} already: nothing changed");
    }
    let effect = if enabled {
        "new workspaces get a sidecar; those that run stay as they are until they are rebuilt"
    } else {
        "new workspaces get no sidecar; those that are traced stay so until they are rebuilt"
    };
    format!("process logging is {position}, switched by {}: {effect}", outcome.by)
}
