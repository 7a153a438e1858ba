//! What each way of shipping makes of lines, and what that costs for a month.

use serde::Serialize;

use super::prices::{Prices, Service};
use super::size::Size;

/// Bytes of a GB, as they are billed.
pub(super) const GB: f64 = 1e9;
/// What a record of Fluent Bit has around the escaped line.
const LOG: &str = r#""log":"","#;

/// Where lines go, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    FluentBitKeepLog,
    FluentBit,
    Cloudwatch,
    Otlp,
    File,
    Raw,
}

impl Way {
    pub(super) const ALL: [Way; 6] =
        [Way::FluentBitKeepLog, Way::FluentBit, Way::Cloudwatch, Way::Otlp, Way::File, Way::Raw];

    /// What it is called for people.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Way::FluentBitKeepLog => "Fluent Bit to CloudWatch, Keep_Log On",
            Way::FluentBit => "Fluent Bit to CloudWatch, Keep_Log Off",
            Way::Cloudwatch => "--sink cloudwatch",
            Way::Otlp => "--sink otlp",
            Way::File => "--sink file, compressed when rotated",
            Way::Raw => "the lines as they are",
        }
    }

    /// Whether it leaves the machine.
    pub(super) fn ships(self) -> bool {
        !matches!(self, Way::File | Way::Raw)
    }

    /// Bytes of lines on this way; `compressed` is the part of them that is left in a rotated file.
    pub(super) fn bytes(self, size: Size, compressed: f64, prices: &Prices) -> f64 {
        let (text, lines, metadata) = (float(size.text()), float(size.lines), prices.fluent_bit.metadata_bytes);
        match self {
            Way::FluentBitKeepLog => 2.0 * text + float(size.escapes) + lines * float(metadata),
            Way::FluentBit => text + lines * float(metadata.saturating_sub(LOG.len() as u64)),
            Way::Cloudwatch | Way::Otlp => text,
            Way::File => float(size.bytes) * compressed,
            Way::Raw => float(size.bytes),
        }
    }

    /// What so many bytes and lines of a month cost for that month, once it has gone on for as long as they are kept.
    pub(super) fn money(self, bytes: f64, lines: f64, prices: &Prices, hours_a_month: f64) -> Option<Money> {
        match self {
            Way::FluentBitKeepLog | Way::FluentBit | Way::Cloudwatch => {
                service(&prices.cloudwatch, bytes, lines, hours_a_month)
            }
            Way::Otlp => service(&prices.otlp, bytes, lines, hours_a_month),
            Way::File => {
                let months = prices.disk.keep_days * 24.0 / hours_a_month;
                let disk = bytes / GB * months * prices.disk.store;
                Some(Money { disk, all: disk, ..Money::default() })
            }
            Way::Raw => None,
        }
    }
}

fn service(service: &Service, bytes: f64, lines: f64, hours_a_month: f64) -> Option<Money> {
    let Service { ingest, store, stored_part, retention_days, event_bytes } = *service;
    let billed = (bytes + lines * float(event_bytes)) / GB;
    let months = retention_days * 24.0 / hours_a_month;
    let (ingest, store) = (billed * ingest?, billed * stored_part * months * store);
    Some(Money { ingest, store, disk: 0.0, all: ingest + store })
}

/// What is paid for a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Money {
    /// For what is sent.
    pub(crate) ingest: f64,
    /// For what is kept where it was sent.
    pub(crate) store: f64,
    /// For disks of our own.
    pub(crate) disk: f64,
    /// Together.
    pub(crate) all: f64,
}

impl Money {
    pub(super) fn with_disk(self, disk: f64) -> Money {
        Money { disk: self.disk + disk, all: self.all + disk, ..self }
    }
}

#[allow(clippy::cast_precision_loss, reason = "to 16 digits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::value::RawValue;

    use super::*;

    /// The record of the documentation, with a line that is as long as the one of which it is told there.
    fn record() -> String {
        let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cost.md"));
        let (_, rest) = docs.split_once("```json\n{\"time\"").expect("a record");
        format!("{{\"time\"{}", rest.split_once("\n```").expect("its end").0)
    }

    #[test]
    fn what_fluent_bit_adds_is_what_the_documented_record_has() {
        let record = record();
        let parsed: HashMap<String, &RawValue> = serde_json::from_str(&record).expect("JSON");
        let line = parsed["log_processed"].get();
        assert_eq!(serde_json::from_str::<String>(parsed["log"].get()).expect("a string"), line);
        let (size, prices) = (Size::of(line.as_bytes()), Prices::default());
        assert_eq!(Way::FluentBitKeepLog.bytes(size, 1.0, &prices), float(record.len() as u64));
        let without = record.replacen(&format!("\"log\":{},", parsed["log"].get()), "", 1);
        assert!(without.len() < record.len());
        assert_eq!(Way::FluentBit.bytes(size, 1.0, &prices), float(without.len() as u64));
    }

    #[test]
    fn other_ways_have_the_line() {
        let (size, prices) = (Size { lines: 10, bytes: 1_010, escapes: 50 }, Prices::default());
        let bytes = |way: Way| way.bytes(size, 0.1, &prices);
        assert_eq!(
            (bytes(Way::Cloudwatch), bytes(Way::Otlp), bytes(Way::File), bytes(Way::Raw)),
            (1_000.0, 1_000.0, 101.0, 1_010.0)
        );
    }

    #[test]
    fn money_is_for_what_is_sent_and_for_what_is_kept() {
        let prices = Prices::default();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let money = Way::Cloudwatch.money(GB, 0.0, &prices, 720.0).expect("a price");
        assert!(near(money.ingest, 0.5) && near(money.store, 0.03 * 0.15) && near(money.all, 0.5045), "{money:?}");
        let money = Way::File.money(2.0 * GB, 0.0, &prices, 720.0).expect("a price");
        assert!(near(money.disk, 0.16) && near(money.all, 0.16), "{money:?}");
        assert_eq!(Way::Otlp.money(GB, 0.0, &prices, 720.0), None);
        let mut prices = prices;
        prices.cloudwatch.event_bytes = 26;
        let money = Way::FluentBit.money(0.0, GB, &prices, 720.0).expect("a price");
        assert!(near(money.ingest, 13.0), "{money:?}");
    }
}
