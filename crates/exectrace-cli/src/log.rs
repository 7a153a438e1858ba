//! A log that is open, and the runs that it can have: opened before anything is traced, because it may fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use exectrace_redact::Redactor;
#[cfg(feature = "ship")]
use exectrace_sinks::destination::Destination;
use exectrace_sinks::dropped::DroppedLines;
#[cfg(feature = "ship")]
use exectrace_sinks::ship::{ShipOptions, Shipper};
#[cfg(feature = "ship")]
use exectrace_sinks::spool::{Spool, SpoolOptions, Sync, WhenFull};

use crate::cli::sinks::{SinkArgs, SinkName};
#[cfg(feature = "ship")]
use crate::cli::sinks::{SpoolFull, SpoolSync};
use crate::cli::{LoggingArgs, OutputFormat};
use crate::exit::{Exit, Failed};
use crate::labels::Labels;
use crate::redaction;
use crate::seal::{ChainKey, ChainMode, Run, Seal};
#[cfg(feature = "ship")]
use crate::sink::NetworkSink;
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
    pub(crate) fn open(args: &LoggingArgs, format: OutputFormat, labels: &Labels, runs: usize) -> anyhow::Result<Log> {
        let chain = match &args.chain_key {
            Some(path) => ChainMode::Keyed(ChainKey::read(path)?),
            None if args.chain => ChainMode::Linked,
            None => ChainMode::None,
        };
        let seals: Vec<Seal> = (0..runs).map(|_| draw(&chain)).collect::<anyhow::Result<_>>()?;
        let redactor = redaction::redactor(&args.redaction)?;
        let run = seals.last().map_or(Run(0), Seal::run);
        let opening = Opening { args: &args.outputs, labels, run, dropped: DroppedLines::default() };
        let outputs = opening.outputs(format)?;
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

/// What an output is made for.
struct Opening<'a> {
    args: &'a SinkArgs,
    /// Those that the log begins with.
    labels: &'a Labels,
    /// The first run.
    run: Run,
    dropped: DroppedLines,
}

impl Opening<'_> {
    fn outputs(&self, format: OutputFormat) -> anyhow::Result<Outputs> {
        let sinks = self.args.sinks();
        let is_for_people = |sink: &SinkName| matches!(sink, SinkName::Stdout | SinkName::File);
        if format == OutputFormat::Text && !(sinks.len() == 1 && sinks.iter().all(is_for_people)) {
            let why = "lines for people go to stdout or to a file, and nowhere else: give JSON to several sinks";
            return Err(Failed(Exit::Usage, why.to_owned()).into());
        }
        let places = sinks.into_iter().map(|sink| self.place(sink)).collect::<anyhow::Result<Vec<Place>>>()?;
        Outputs::of(places, self.dropped.clone()).context("there is no output")
    }

    fn place(&self, sink: SinkName) -> anyhow::Result<Place> {
        match sink {
            SinkName::Stdout => Ok(Place::Stdout(LineSink::stdout()?)),
            SinkName::File => {
                let path = self.args.log.as_deref().context(usage("the sink file needs --log FILE"))?;
                let rotation = Rotation { max_bytes: self.args.log_max_size, keep: self.args.log_keep };
                Ok(Place::File(RotatedFile::open(path, rotation)?))
            }
            #[cfg(feature = "cloudwatch")]
            SinkName::Cloudwatch => self.cloudwatch(),
        }
    }

    #[cfg(feature = "cloudwatch")]
    fn cloudwatch(&self) -> anyhow::Result<Place> {
        use exectrace_sinks::cloudwatch::{ClientOptions, CloudWatch, CloudWatchOptions, stream_name};

        let args = &self.args.cloudwatch;
        let group = args.group.clone().context(usage("the sink cloudwatch needs --cloudwatch-group NAME"))?;
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        let stream = stream_name(&args.stream, self.labels, &host, &self.run.to_string())
            .context(usage("--cloudwatch-stream cannot be used"))?;
        tracing::info!(group, stream, "lines go to CloudWatch Logs");
        let client = ClientOptions {
            region: args.region.clone(),
            endpoint_url: args.endpoint.clone(),
            ..ClientOptions::default()
        };
        let options = CloudWatchOptions { client, group, stream, retention_days: args.retention_days };
        self.network(CloudWatch::new(options))
    }

    #[cfg(feature = "ship")]
    fn network<D: Destination + Send + 'static>(&self, destination: D) -> anyhow::Result<Place> {
        let args = &self.args.spool;
        let needs = format!("the sink {} needs --spool DIR: where lines wait on disk until they are sent", D::NAME);
        let folder = args.folder.as_deref().context(Failed(Exit::Usage, needs))?;
        let options = SpoolOptions {
            name: D::NAME,
            max_bytes: args.size,
            when_full: match args.full {
                SpoolFull::DropOldest => WhenFull::DropOldest,
                SpoolFull::DropNewest => WhenFull::DropNewest,
            },
            sync: match args.sync {
                SpoolSync::Never => Sync::Never,
                SpoolSync::Batch => Sync::Batch,
                SpoolSync::Always => Sync::Always,
            },
        };
        let spool = Spool::open(folder, options, self.dropped.clone(), Arc::default())
            .context(Failed(Exit::Output, "the spool cannot be used".to_owned()))?;
        let (waiting, _) = spool.size();
        if waiting > 0 {
            tracing::info!(sink = D::NAME, lines = waiting, "lines that an earlier process left are sent first");
        }
        let start =
            Box::new(move |spool| Shipper::start(destination, spool, |line| line.to_vec(), ShipOptions::default()));
        Ok(Place::Network(Box::new(NetworkSink::new(D::NAME, spool, start))))
    }
}

fn usage(why: &str) -> Failed {
    Failed(Exit::Usage, why.to_owned())
}

/// A run of which nobody can guess the name.
fn draw(chain: &ChainMode) -> anyhow::Result<Seal> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("drawing a random number")?;
    Ok(Seal::new(u32::from_ne_bytes(random).max(1), chain.clone()))
}
