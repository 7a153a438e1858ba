//! `exectrace unpin`: removes what a tracer with `--pin` left in the kernel, and says what goes with it.

use std::process::ExitCode;

use exectrace::{Pin, What};

use super::exit_code;
use crate::cli::UnpinArgs;
use crate::ledger::{Books, Counts};

pub(crate) fn main(args: &UnpinArgs) -> ExitCode {
    exit_code(unpin(args))
}

fn unpin(args: &UnpinArgs) -> anyhow::Result<()> {
    let left = exectrace::unpin(&args.folder)?;
    let folder = args.folder.display();
    match left.was {
        Pin::Whole => {}
        Pin::Unfinished => {
            tracing::info!(%folder, "removed what was left of a pinned tracer that never ran");
            return Ok(());
        }
        Pin::OfAnotherVersion => {
            tracing::warn!(%folder, "removed a pinned tracer of another version: what of it no log has, is not known");
            return Ok(());
        }
    }
    tracing::info!(%folder, scopes = left.scopes, seen = left.seen, "removed a pinned tracer");
    let (.., books) = Books::restore(&left.progress);
    let counts = Counts { seen: left.seen, excluded: [("all", left.excluded)].into(), ..Counts::default() };
    let unlogged = books.of(What::Exec).waiting(&counts);
    if unlogged > 0 {
        let unread = left.unread;
        tracing::warn!(
            unlogged,
            unread,
            "execs that no log has went with it: unread ones, and others for which its ring had no room"
        );
    }
    Ok(())
}
