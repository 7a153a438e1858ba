//! What is counted, for Prometheus: `docs/metrics.md` has each name. Off unless an address is given.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use exectrace::What;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
#[cfg(feature = "ship")]
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::exit::{Exit, Failed};
use crate::ledger::BY_RULE;
use crate::stats::Stats;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers at an address, by a thread of its own, for as long as the program runs.
pub(crate) fn serve(address: SocketAddr, stats: Arc<Stats>) -> anyhow::Result<()> {
    let refused = || Failed(Exit::Usage, format!("cannot serve metrics at {address} (--metrics chooses another)"));
    let listener = std::net::TcpListener::bind(address).with_context(refused)?;
    listener.set_nonblocking(true).with_context(refused)?;
    let mut registry = Registry::with_prefix("exectrace");
    registry.register_collector(Box::new(Counted(stats)));
    let router = axum::Router::new().route("/metrics", get(answer)).with_state(Arc::new(registry));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().with_context(refused)?;
    tracing::info!(address = %listener.local_addr().with_context(refused)?, "serving metrics");
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router).await
    };
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::error!("metrics are not served any more: {error}");
            }
        })
        .with_context(refused)?;
    Ok(())
}

async fn answer(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

struct Counted(Arc<Stats>);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

type Label = (&'static str, &'static str);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Counted(stats) = self;
        let kinds = stats.kinds();
        let each = || What::ALL.into_iter().map(|what| (("what", name(what)), &kinds[what.index()]));
        let plain = |of: u64| vec![(vec![], of)];
        let seen = each().map(|(what, numbers)| (vec![what], numbers.seen)).collect();
        let written = each().map(|(what, numbers)| (vec![what], numbers.written)).collect();
        let rolled_up = each().map(|(what, numbers)| (vec![what], numbers.rolled_up)).collect();
        let excluded = each().flat_map(|(what, numbers)| {
            let all = |by: &str, of: u64| if by == BY_RULE { of + numbers.excluded_here } else { of };
            numbers.excluded.iter().map(move |(by, of)| (vec![what, ("rule", *by)], all(by, *of)))
        });
        let lost = each().flat_map(|(what, numbers)| {
            numbers.lost.iter().map(move |(reason, of)| (vec![what, ("reason", *reason)], *of))
        });
        let (excluded, lost) = (excluded.collect(), lost.collect());
        counters(&mut encoder, "seen", "What happened in the scopes, as of the last ledger", seen)?;
        counters(&mut encoder, "excluded", "What a rule left out, as of the last ledger", excluded)?;
        counters(&mut encoder, "written", "What is in the log", written)?;
        counters(&mut encoder, "rolled_up", "What lines in the log stand for that stand for many", rolled_up)?;
        counters(&mut encoder, "lost", "What is not in the log, and why", lost)?;
        counters(&mut encoder, "written_bytes", "Bytes of lines, as they were made", plain(stats.bytes()))?;
        counters(&mut encoder, "redacted_secrets", "Secrets that were replaced", plain(stats.secrets()))?;
        #[cfg(feature = "ship")]
        self.sinks(&mut encoder)?;
        Ok(())
    }
}

/// As the lines are called that tell of it.
fn name(what: What) -> &'static str {
    match what {
        What::Exec => "exec",
        What::Failed => "exec-failed",
        What::Exit => "exit",
    }
}

#[cfg(feature = "ship")]
impl Counted {
    fn sinks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        use exectrace_sinks::counts::Counts;
        use exectrace_sinks::dropped::Reason;

        let sinks = self.0.sinks();
        let each = |of: fn(&Counts) -> u64| {
            sinks.iter().map(|(sink, counts)| (vec![("sink", *sink)], of(counts))).collect::<Vec<_>>()
        };
        counters(encoder, "sink_lines", "Lines that the place has taken", each(Counts::lines_sent))?;
        counters(encoder, "sink_bytes", "Bytes of these", each(Counts::bytes_sent))?;
        counters(encoder, "sink_batches", "Batches that the place has taken", each(Counts::batches_sent))?;
        counters(encoder, "sink_retries", "Attempts that failed and were made again", each(Counts::retries))?;
        let dropped = sinks.iter().flat_map(|(sink, counts)| {
            Reason::ALL.map(|reason| (vec![("sink", *sink), ("reason", reason.name())], counts.dropped(reason)))
        });
        counters(encoder, "sink_dropped_lines", "Lines that the place will never have", dropped.collect())?;
        gauges(encoder, "spool_lines", "Lines that wait on disk", each(Counts::spool_lines))?;
        gauges(encoder, "spool_bytes", "Bytes that wait on disk", each(Counts::spool_bytes))?;
        gauges(encoder, "sink_failing", "1 while the last attempt failed", each(Counts::failing))?;
        gauges(
            encoder,
            "sink_last_success_seconds",
            "When the place last took a batch, 0: never",
            each(Counts::last_success),
        )
    }
}

#[cfg(feature = "ship")]
fn gauges(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, values: Vec<(Vec<Label>, u64)>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: Vec<(Vec<Label>, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
