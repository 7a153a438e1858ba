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
use prometheus_client::registry::Registry;

use crate::exit::{Exit, Failed};
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
        let excluded = each().flat_map(|(what, numbers)| {
            numbers.excluded.iter().map(move |(rule, of)| (vec![what, ("rule", *rule)], *of))
        });
        let lost = each().flat_map(|(what, numbers)| {
            numbers.lost.iter().map(move |(reason, of)| (vec![what, ("reason", *reason)], *of))
        });
        let (excluded, lost) = (excluded.collect(), lost.collect());
        counters(&mut encoder, "seen", "What happened in the scopes, as of the last ledger", seen)?;
        counters(&mut encoder, "excluded", "What a rule left out, as of the last ledger", excluded)?;
        counters(&mut encoder, "written", "What is in the log", written)?;
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
