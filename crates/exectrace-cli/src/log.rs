//! A log that is open, and the runs that it can have: opened before anything is traced, because it may fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use exectrace_redact::Redactor;
use exectrace_sinks::dropped::DroppedLines;

use crate::cli::sinks::{SinkArgs, SinkName};
use crate::cli::{LoggingArgs, OutputFormat};
use crate::exit::{Exit, Failed};
use crate::redaction;
use crate::seal::{ChainKey, ChainMode, Seal};
use crate::sink::{LineSink, Outputs, Place, RotatedFile, Rotation};
use crate::stats::Stats;

/// Where lines go, how they are numbered and chained, and what they do not tell.
pub(crate) struct Log {
    pub(crate) outputs: Outputs,
    pub(crate) redactor: Option<Arc<Redactor>>,
    pub(crate) stats: Arc<Stats>,
    /// Of the runs to come, the next one last. They are drawn while the key is there: it is read once and then forgotten,
    /// and what a run begins with does not lead back to it, nor to another run.
    pub(crate) seals: Vec<Seal>,
}

impl Log {
    /// Opens the outputs, and reads the keys if there are any.
    pub(crate) fn open(args: &LoggingArgs, format: OutputFormat, runs: usize) -> anyhow::Result<Log> {
        let chain = match &args.chain_key {
            Some(path) => ChainMode::Keyed(ChainKey::read(path)?),
            None if args.chain => ChainMode::Linked,
            None => ChainMode::None,
        };
        let seals = (0..runs).map(|_| draw(&chain)).collect::<anyhow::Result<_>>()?;
        let redactor = redaction::redactor(&args.redaction)?;
        let outputs = open_outputs(&args.outputs, format)?;
        let stats = Arc::new(Stats::of(&outputs));
        #[cfg(feature = "metrics")]
        if let Some(address) = args.outputs.metrics {
            crate::metrics::serve(address, Arc::clone(&stats))?;
        }
        Ok(Log { outputs, redactor, stats, seals })
    }

    /// Ends the outputs, when all is written to them. What goes over the network has [`SENDING`] for what waits.
    pub(crate) fn finish(self) {
        self.outputs.finish(Instant::now() + SENDING);
    }
}

/// A third of what Kubernetes grants by default; writing may have taken another one.
const SENDING: Duration = Duration::from_secs(10);

fn open_outputs(args: &SinkArgs, format: OutputFormat) -> anyhow::Result<Outputs> {
    let sinks = args.sinks();
    let is_for_people = |sink: &SinkName| matches!(sink, SinkName::Stdout | SinkName::File);
    if format == OutputFormat::Text && !(sinks.len() == 1 && sinks.iter().all(is_for_people)) {
        let why = "lines for people go to stdout or to a file, and nowhere else: give JSON to several sinks";
        return Err(Failed(Exit::Usage, why.to_owned()).into());
    }
    let dropped = DroppedLines::default();
    let places = sinks.into_iter().map(|sink| open_place(sink, args));
    let places = places.collect::<anyhow::Result<Vec<Place>>>()?;
    Outputs::of(places, format.schema(), dropped).context("there is no output")
}

fn open_place(sink: SinkName, args: &SinkArgs) -> anyhow::Result<Place> {
    match sink {
        SinkName::Stdout => Ok(Place::Stdout(LineSink::stdout()?)),
        SinkName::File => {
            let needs = || Failed(Exit::Usage, "the sink file needs --log FILE".to_owned());
            let path = args.log.as_deref().with_context(needs)?;
            let rotation = Rotation { max_bytes: args.log_max_size, keep: args.log_keep };
            Ok(Place::File(RotatedFile::open(path, rotation)?))
        }
    }
}

/// A run of which nobody can guess the name.
fn draw(chain: &ChainMode) -> anyhow::Result<Seal> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("drawing a random number")?;
    Ok(Seal::new(u32::from_ne_bytes(random).max(1), chain.clone()))
}
