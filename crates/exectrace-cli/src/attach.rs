//! From the words of the command line to a tracer that is attached.

use anyhow::bail;
use exectrace::{Failed, FailedHook, Tracer};

use crate::cli::{FailedArg, FailedHookArg, LoggingArgs, ServiceArgs};
use crate::exit::{Exit, Failed as FailedWith};
use crate::sifting::Sifting;

/// A tracer with the settings of the command line; `service` are those of a command that runs for long.
pub(crate) fn open(
    args: &LoggingArgs,
    service: Option<&ServiceArgs>,
    sifting: &Sifting,
    attempts: &mut Attempts,
) -> anyhow::Result<Tracer> {
    let mut builder = Tracer::builder().ring_bytes(args.ring_size).exits(args.exits);
    builder = builder.failed(attempts.failed, attempts.hook);
    if let Some(bytes) = args.max_args_bytes {
        builder = builder.max_args_bytes(bytes);
    }
    if let Some(bytes) = args.read_args_bytes {
        builder = builder.read_args_bytes(bytes);
    }
    builder = sifting.tell(builder);
    if let Some(folder) = service.and_then(|service| service.pin.as_ref()) {
        builder = builder.pin(folder);
    }
    let tracer = builder.open()?;
    // Not before: to who cannot trace at all, this is no news. And once.
    if let Some(why) = attempts.not_seen.take() {
        tracing::info!(%why, "attempts to execute that fail are not logged (--failed-hook tracepoint may change that)");
    }
    Ok(tracer)
}

/// Which attempts that failed are told, and by which hook.
pub(crate) struct Attempts {
    failed: Failed,
    hook: FailedHook,
    /// Why none are, although nobody said so; until that was told.
    not_seen: Option<String>,
}

impl Attempts {
    /// What was asked for and cannot be had is an error; what was not asked for is had where it costs nothing.
    pub(crate) fn of(args: &LoggingArgs) -> anyhow::Result<Attempts> {
        let hook = match args.failed_hook {
            FailedHookArg::Auto | FailedHookArg::Fexit => FailedHook::Fexit,
            FailedHookArg::Tracepoint => FailedHook::Tracepoint,
        };
        let (failed, asked_for) = match args.failed {
            Some(FailedArg::None) => return Ok(Attempts { failed: Failed::None, hook, not_seen: None }),
            Some(FailedArg::Notable) => (Failed::Notable, true),
            Some(FailedArg::All) => (Failed::All, true),
            None => (Failed::Notable, args.failed_hook != FailedHookArg::Auto),
        };
        match (hook.check(), asked_for) {
            (Ok(()), _) => Ok(Attempts { failed, hook, not_seen: None }),
            (Err(why), true) => {
                let advice = match hook {
                    FailedHook::Fexit => {
                        "--failed-hook tracepoint may work and makes every system call of the node some ns slower"
                    }
                    FailedHook::Tracepoint => "--failed none does without",
                };
                bail!(FailedWith(
                    Exit::CannotTrace,
                    format!("attempts that fail cannot be seen here: {why} ({advice})")
                ))
            }
            (Err(why), false) => Ok(Attempts { failed: Failed::None, hook, not_seen: Some(why) }),
        }
    }
}
