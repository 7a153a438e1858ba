//! A log that is open, and the runs that it can have: opened before anything is traced, because it may fail.

use anyhow::Context;

use crate::cli::LoggingArgs;
use crate::seal::{ChainKey, ChainMode, Seal};
use crate::sink::Sink;

/// Where lines go, and how they are numbered and chained.
pub(crate) struct Log {
    pub(crate) sink: Sink,
    /// Of the runs to come, the next one last. They are drawn while the key is there: it is read once and then forgotten,
    /// and what a run begins with does not lead back to it, nor to another run.
    pub(crate) seals: Vec<Seal>,
}

impl Log {
    /// Opens the output, and reads the key if there is one.
    pub(crate) fn open(args: &LoggingArgs, runs: usize) -> anyhow::Result<Log> {
        let chain = match &args.chain_key {
            Some(path) => ChainMode::Keyed(ChainKey::read(path)?),
            None if args.chain => ChainMode::Linked,
            None => ChainMode::None,
        };
        let seals = (0..runs).map(|_| draw(&chain)).collect::<anyhow::Result<_>>()?;
        let sink = match &args.log {
            Some(path) => Sink::file(path)?,
            None => Sink::stdout()?,
        };
        Ok(Log { sink, seals })
    }
}

/// A run of which nobody can guess the name.
fn draw(chain: &ChainMode) -> anyhow::Result<Seal> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("drawing a random number")?;
    Ok(Seal::new(u32::from_ne_bytes(random).max(1), chain.clone()))
}
