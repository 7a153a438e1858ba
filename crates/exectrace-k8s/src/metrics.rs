//! What the webhook counts, for Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::review::Verdict;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the time that an answer takes, in seconds. The API server waits for five.
const SECONDS: [f64; 8] = [0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.1, 0.5, 5.0];

/// All of it. Clones count into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: std::sync::Arc<Registry>,
    requests: Family<ByOutcome, Counter>,
    refusals: Family<ByReason, Counter>,
    duration: Histogram,
    certificate_expiry: Gauge,
    enabled: Gauge,
    events_dropped: Counter,
    reload_failures: Family<ByFile, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFile {
    what: &'static str,
}

/// What can be read again while the webhook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The certificate that is served.
    Certificate,
    /// The settings.
    Settings,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let requests = Family::default();
        let refusals = Family::default();
        let duration = Histogram::new(SECONDS);
        let certificate_expiry = Gauge::<i64, _>::default();
        let enabled = Gauge::<i64, _>::default();
        let events_dropped = Counter::<u64, AtomicU64>::default();
        let reload_failures = Family::default();
        let mut registry = Registry::with_prefix("exectrace_webhook");
        registry.register("requests", "Questions by what became of them", requests.clone());
        registry.register("refusals", "Pods that were not let in, by why", refusals.clone());
        registry.register_with_unit("answer", "Time to answer", Unit::Seconds, duration.clone());
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the certificate that is served expires, as Unix time",
            Unit::Seconds,
            certificate_expiry.clone(),
        );
        registry.register("enabled", "1 while the switch is on", enabled.clone());
        registry.register("events_dropped", "Events not sent, as they were too many", events_dropped.clone());
        registry.register(
            "reload_failures",
            "Changed files that could not be used, so the old contents still hold",
            reload_failures.clone(),
        );
        let registry = registry.into();
        Metrics { registry, requests, refusals, duration, certificate_expiry, enabled, events_dropped, reload_failures }
    }
}

impl Metrics {
    pub(crate) fn answered(&self, verdict: Verdict, took: Duration) {
        let outcome = match verdict {
            Verdict::Untouched => "untouched",
            Verdict::Patched => "patched",
            Verdict::Unchanged => "unchanged",
            Verdict::Untraced => "untraced",
            Verdict::Refused(_) => "refused",
        };
        self.requests.get_or_create(&ByOutcome { outcome }).inc();
        if let Verdict::Refused(reason) = verdict {
            self.refusals.get_or_create(&ByReason { reason }).inc();
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// A request that was no question, or came before the switch was known.
    pub(crate) fn not_answered(&self, outcome: &'static str) {
        self.requests.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(crate) fn certificate_expires(&self, unix_time: i64) {
        self.certificate_expiry.set(unix_time);
    }

    pub(crate) fn switched(&self, enabled: bool) {
        self.enabled.set(i64::from(enabled));
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn reload_failed(&self, what: Reloaded) {
        let what = match what {
            Reloaded::Certificate => "certificate",
            Reloaded::Settings => "settings",
        };
        self.reload_failures.get_or_create(&ByFile { what }).inc();
    }

    /// All of it in the format OpenMetrics.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        metrics.answered(Verdict::Patched, Duration::from_millis(2));
        metrics.answered(Verdict::Refused("windows"), Duration::from_millis(2));
        metrics.switched(true);
        metrics.certificate_expires(1_800_000_000);
        metrics.reload_failed(Reloaded::Settings);
        metrics.event_dropped();
        let text = metrics.text().expect("text");
        for line in [
            r#"exectrace_webhook_requests_total{outcome="patched"} 1"#,
            r#"exectrace_webhook_refusals_total{reason="windows"} 1"#,
            "exectrace_webhook_answer_seconds_count 2",
            "exectrace_webhook_certificate_expiry_timestamp_seconds 1800000000",
            "exectrace_webhook_enabled 1",
            "exectrace_webhook_events_dropped_total 1",
            r#"exectrace_webhook_reload_failures_total{what="settings"} 1"#,
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
    }
}
