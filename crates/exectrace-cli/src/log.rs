//! A log that is open, and the runs that it can have: opened before anything is traced, because it may fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use exectrace_redact::Redactor;
#[cfg(feature = "ship")]
use exectrace_sinks::destination::Destination;
use exectrace_sinks::dropped::DroppedLines;
use exectrace_sinks::schema::{Host, Schema, Translator};
#[cfg(feature = "ship")]
use exectrace_sinks::ship::{Dress, ShipOptions, Shipper};
#[cfg(feature = "ship")]
use exectrace_sinks::spool::{Spool, SpoolOptions, Sync, WhenFull};

use crate::cli::sinks::{OutputFormat, SinkArgs, SinkName};
#[cfg(feature = "ship")]
use crate::cli::sinks::{SpoolFull, SpoolSync};
use crate::cli::{Fields, LoggingArgs};
use crate::exit::{Exit, Failed};
use crate::labels::Labels;
use crate::line::PodNames;
use crate::redaction;
use crate::seal::{ChainKey, ChainMode, Run, Seal};
use crate::sifting::Sifting;
#[cfg(feature = "ship")]
use crate::sink::NetworkSink;
use crate::sink::{LineSink, Outputs, Place, RotatedFile, Rotation};
use crate::stats::Stats;

/// Where lines go, how they are numbered and chained, and what they do not tell.
pub(crate) struct Log {
    pub(crate) runs: Runs,
    /// Where all lines are, beside a log with roll-ups.
    pub(crate) complete: Option<Runs>,
    /// What is left out and what is folded.
    pub(crate) sifting: Arc<Sifting>,
    pub(crate) redactor: Option<Arc<Redactor>>,
    pub(crate) stats: Arc<Stats>,
}

/// The outputs of a log, and the seals of the runs that it can have.
pub(crate) struct Runs {
    pub(crate) outputs: Outputs,
    /// Of the runs to come, the next one last. They are drawn while the key is there: it is read once and then forgotten,
    /// and what a run begins with does not lead back to it, nor to another run.
    pub(crate) seals: Vec<Seal>,
}

impl Log {
    /// Opens the outputs, and reads the keys if there are any.
    pub(crate) fn open(args: &LoggingArgs, origin: &Origin<'_>, runs: usize) -> anyhow::Result<Log> {
        args.outputs.limits()?;
        let chain = match &args.chain_key {
            Some(path) => ChainMode::Keyed(ChainKey::read(path)?),
            None if args.chain => ChainMode::Linked,
            None => ChainMode::None,
        };
        let draw_all = || (0..runs).map(|_| draw(&chain)).collect::<anyhow::Result<Vec<Seal>>>();
        let seals = draw_all()?;
        let sifting = Arc::new(Sifting::of(&args.sifting)?);
        let redactor = redaction::redactor(&args.redaction)?;
        let run = seals.last().map_or(Run(0), Seal::run);
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy().into_owned();
        let opening =
            Opening { args: &args.outputs, fields: args.fields, origin, host, run, dropped: DroppedLines::default() };
        let (sinks, complete) = opening.sinks(sifting.rollup().is_some())?;
        let complete = match complete {
            Some(sink) => {
                let dropped = DroppedLines::default();
                let outputs = Opening { dropped, host: opening.host.clone(), ..opening }.outputs(vec![sink])?;
                Some(Runs { outputs, seals: draw_all()? })
            }
            None => None,
        };
        let runs = Runs { outputs: opening.outputs(sinks)?, seals };
        let stats = Arc::new(Stats::of(&runs.outputs));
        #[cfg(feature = "metrics")]
        if let Some(address) = args.outputs.metrics {
            crate::metrics::serve(address, Arc::clone(&stats))?;
        }
        Ok(Log { runs, complete, sifting, redactor, stats })
    }

    /// Ends the outputs, when all is written to them. What goes over the network has [`SENDING`] for what waits.
    pub(crate) fn finish(self) {
        let deadline = Instant::now() + SENDING;
        self.runs.outputs.finish(deadline);
        if let Some(complete) = self.complete {
            complete.outputs.finish(deadline);
        }
    }
}

/// A third of what Kubernetes grants by default; writing may have taken another one.
const SENDING: Duration = Duration::from_secs(10);

/// What a log is about, as far as its outputs are named by it.
#[derive(Default)]
pub(crate) struct Origin<'a> {
    /// Those that the log begins with.
    pub(crate) labels: Labels,
    /// UID and names of the pod that is traced.
    pub(crate) pod: Option<(&'a str, &'a PodNames)>,
}

/// What an output is made for.
struct Opening<'a> {
    args: &'a SinkArgs,
    fields: Fields,
    origin: &'a Origin<'a>,
    /// The name of this machine.
    host: String,
    /// The first run.
    run: Run,
    dropped: DroppedLines,
}

impl Opening<'_> {
    /// The sinks of the log; and with a roll-up the one that is to have all lines, which is the file if there are others.
    fn sinks(&self, with_rollup: bool) -> anyhow::Result<(Vec<SinkName>, Option<SinkName>)> {
        let sinks = self.args.sinks();
        let is_for_people = |sink: &SinkName| matches!(sink, SinkName::Stdout | SinkName::File);
        if self.args.format == OutputFormat::Text && !(sinks.len() == 1 && sinks.iter().all(is_for_people)) {
            let why = "lines for people go to stdout or to a file, and nowhere else: give JSON to several sinks";
            return Err(Failed(Exit::Usage, why.to_owned()).into());
        }
        if with_rollup && sinks.len() > 1 && sinks.contains(&SinkName::File) && self.fields == Fields::Seed {
            let why =
                "what is rolled up is held against the file with all lines by ids, which --fields seed leaves out";
            return Err(Failed(Exit::Usage, why.to_owned()).into());
        }
        let complete = (with_rollup && sinks.len() > 1 && sinks.contains(&SinkName::File)).then_some(SinkName::File);
        Ok((sinks.into_iter().filter(|sink| Some(*sink) != complete).collect(), complete))
    }

    fn outputs(&self, sinks: Vec<SinkName>) -> anyhow::Result<Outputs> {
        let places = sinks.into_iter().map(|sink| self.place(sink)).collect::<anyhow::Result<Vec<Place>>>()?;
        Outputs::of(places, self.translator(), self.dropped.clone()).context("there is no output")
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
            #[cfg(feature = "otlp")]
            SinkName::Otlp => self.otlp(),
        }
    }

    fn translator(&self) -> Option<Translator> {
        let schema = self.args.format.schema();
        let host = Host { name: self.host.clone(), version: env!("CARGO_PKG_VERSION") };
        (schema != Schema::Coder).then(|| Translator::new(schema, host))
    }

    #[cfg(feature = "cloudwatch")]
    fn cloudwatch(&self) -> anyhow::Result<Place> {
        use exectrace_sinks::cloudwatch::{ClientOptions, CloudWatch, CloudWatchOptions, stream_name};

        let args = &self.args.cloudwatch;
        let group = args.group.clone().context(usage("the sink cloudwatch needs --cloudwatch-group NAME"))?;
        let stream = stream_name(&args.stream, &self.origin.labels, &self.host, &self.run.to_string())
            .context(usage("--cloudwatch-stream cannot be used"))?;
        tracing::info!(group, stream, "lines go to CloudWatch Logs");
        let client = ClientOptions {
            region: args.region.clone(),
            endpoint_url: args.endpoint.clone(),
            ..ClientOptions::default()
        };
        let options = CloudWatchOptions { client, group, stream, retention_days: args.retention_days };
        self.network(CloudWatch::new(options), self.translator())
    }

    #[cfg(feature = "otlp")]
    fn otlp(&self) -> anyhow::Result<Place> {
        use exectrace_sinks::otlp::{Otlp, OtlpOptions, Protocol, Resource, parse_list};

        use crate::cli::sinks::{OtlpCompression, OtlpProtocol};

        let args = &self.args.otlp;
        let endpoint = args.otlp_endpoint.clone().context(usage("the sink otlp needs --otlp-endpoint URL"))?;
        let mut resource = parse_list(&args.otlp_resource).context(usage("--otlp-resource cannot be used"))?;
        let mut known = vec![("host.name", Some(self.host.as_str()))];
        if let Some((uid, PodNames { name, namespace, node })) = self.origin.pod {
            known.push(("k8s.pod.uid", Some(uid)));
            known.push(("k8s.pod.name", name.as_deref()));
            known.push(("k8s.namespace.name", namespace.as_deref()));
            known.push(("k8s.node.name", node.as_deref()));
        }
        for (name, value) in known {
            let is_named = resource.iter().any(|(other, _)| other == name);
            resource.extend(value.filter(|_| !is_named).map(|value| (name.to_owned(), value.to_owned())));
        }
        tracing::info!(endpoint, "lines go to a collector");
        let options = OtlpOptions {
            endpoint,
            protocol: match args.otlp_protocol {
                OtlpProtocol::Http => Protocol::Http,
                OtlpProtocol::Grpc => Protocol::Grpc,
            },
            headers: parse_list(&args.otlp_headers).context(usage("--otlp-headers cannot be used"))?,
            gzip: args.otlp_compression == OtlpCompression::Gzip,
            resource: Resource(resource),
            original: args.otlp_original,
            attempt: None,
        };
        self.network(Otlp::new(options).context(usage("the sink otlp cannot be used"))?, None)
    }

    /// A sink that is given lines by way of its spool, which holds them as they were written.
    #[cfg(feature = "ship")]
    fn network<D: Destination + Send + 'static>(
        &self,
        destination: D,
        translator: Option<Translator>,
    ) -> anyhow::Result<Place> {
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
        let dress: Dress = match translator {
            Some(translator) => Box::new(move |line| {
                let mut translated = Vec::with_capacity(2 * line.len());
                translator.translate(line, &mut translated);
                translated
            }),
            None => Box::new(<[u8]>::to_vec),
        };
        let start = Box::new(move |spool| Shipper::start(destination, spool, dress, ShipOptions::default()));
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
