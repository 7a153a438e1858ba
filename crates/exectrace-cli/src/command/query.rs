//! `exectrace query`: finding execs in CloudWatch Logs.

#[cfg(feature = "cloudwatch")]
mod run;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::query::QueryArgs;
use crate::exit::{Exit, Failed, report};
use crate::insights::{Unsearchable, Wanted, query};

pub(crate) fn main(args: &QueryArgs) -> ExitCode {
    match ask(args) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => report(&error).into(),
    }
}

fn ask(args: &QueryArgs) -> anyhow::Result<()> {
    let wanted = Wanted { user: args.user.clone(), workspace: args.workspace.clone(), text: args.text.clone() };
    let text = query(args.layout, &wanted).map_err(|Unsearchable(option)| {
        Failed(Exit::Usage, format!("{option} has a control character, which a query cannot hold"))
    })?;
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        return Err(Failed(Exit::Usage, "--since is not before --until".to_owned()).into());
    }
    #[cfg(feature = "cloudwatch")]
    if args.run.run {
        return run::run(args, text);
    }
    if args.since.is_some() || args.until.is_some() {
        tracing::info!("a query holds no time: choose it where you run the query, or let --run do both");
    }
    print(&format!("{text}\n"))
}

/// Writes to stdout.
fn print(text: &str) -> anyhow::Result<()> {
    let cannot = || Failed(Exit::Output, "stdout cannot be written".to_owned());
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).with_context(cannot)
}
