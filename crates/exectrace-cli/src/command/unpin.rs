//! `exectrace unpin`: removes what a tracer with `--pin` left in the kernel, and says what goes with it.

use std::process::ExitCode;

use super::exit_code;
use crate::cli::UnpinArgs;

pub(crate) fn main(args: &UnpinArgs) -> ExitCode {
    exit_code(unpin(args))
}

fn unpin(args: &UnpinArgs) -> anyhow::Result<()> {
    let left = exectrace::unpin(&args.folder)?;
    let folder = args.folder.display();
    if left.was_whole {
        tracing::info!(%folder, scopes = left.scopes, seen = left.seen, unread = left.unread, "removed a pinned tracer");
    } else {
        tracing::info!(%folder, "removed what was left of a pinned tracer that never ran");
    }
    if left.unread > 0 {
        tracing::warn!(unread = left.unread, "execs that no log has are gone with it");
    }
    Ok(())
}
