//! What a GB costs where: the table `prices` of the configuration. `prices.toml` says what each key means, and from where
//! each price is.

use serde::{Deserialize, Serialize};

/// The prices that are built in, with comments, as text.
pub(crate) const DEFAULT: &str = include_str!("prices.toml");

/// What a file says of prices. What it does not say is as in [`DEFAULT`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PricesFile {
    date: Option<String>,
    currency: Option<String>,
    cloudwatch: ServiceFile,
    fluent_bit: FluentBitFile,
    otlp: ServiceFile,
    disk: DiskFile,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServiceFile {
    ingest: Option<Price>,
    store: Option<Price>,
    stored_part: Option<Price>,
    retention_days: Option<Price>,
    event_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FluentBitFile {
    metadata_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DiskFile {
    store: Option<Price>,
    keep_days: Option<Price>,
}

/// A number that is not negative and has an end.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Price(f64);

impl TryFrom<f64> for Price {
    type Error = String;

    fn try_from(number: f64) -> Result<Price, String> {
        let is_price = number.is_finite() && number >= 0.0;
        is_price.then_some(Price(number)).ok_or_else(|| format!("{number} is no price, share or number of days"))
    }
}

/// All prices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Prices {
    /// When they were true.
    pub(crate) date: String,
    pub(crate) currency: String,
    pub(crate) cloudwatch: Service,
    pub(crate) fluent_bit: FluentBit,
    pub(crate) otlp: Service,
    pub(crate) disk: Disk,
}

/// Of what is sent somewhere and kept there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Service {
    /// For each GB that is sent; `None`: not known, and then nothing is reckoned.
    pub(crate) ingest: Option<f64>,
    /// For each GB that is kept for a month.
    pub(crate) store: f64,
    /// The part of it that is billed as kept.
    pub(crate) stored_part: f64,
    pub(crate) retention_days: f64,
    /// Bytes that are billed for each event beside its text.
    pub(crate) event_bytes: u64,
}

/// What Fluent Bit makes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct FluentBit {
    /// Bytes of a record beside both forms of the line.
    pub(crate) metadata_bytes: u64,
}

/// Of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Disk {
    /// For each GB for a month.
    pub(crate) store: f64,
    pub(crate) keep_days: f64,
}

impl PricesFile {
    /// The whole, with what the file does not say.
    pub(crate) fn complete(self) -> Prices {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Text {
            prices: PricesFile,
        }
        let built_in = toml::from_str::<Text>(DEFAULT).unwrap_or_default().prices;
        let or = |own: Option<Price>, other: Option<Price>| own.or(other).map_or(0.0, |price| price.0);
        let service = |own: ServiceFile, other: ServiceFile| Service {
            ingest: own.ingest.or(other.ingest).map(|price| price.0),
            store: or(own.store, other.store),
            stored_part: or(own.stored_part, other.stored_part),
            retention_days: or(own.retention_days, other.retention_days),
            event_bytes: own.event_bytes.or(other.event_bytes).unwrap_or_default(),
        };
        let metadata_bytes = self.fluent_bit.metadata_bytes.or(built_in.fluent_bit.metadata_bytes);
        Prices {
            date: self.date.or(built_in.date).unwrap_or_default(),
            currency: self.currency.or(built_in.currency).unwrap_or_default(),
            cloudwatch: service(self.cloudwatch, built_in.cloudwatch),
            fluent_bit: FluentBit { metadata_bytes: metadata_bytes.unwrap_or_default() },
            otlp: service(self.otlp, built_in.otlp),
            disk: Disk {
                store: or(self.disk.store, built_in.disk.store),
                keep_days: or(self.disk.keep_days, built_in.disk.keep_days),
            },
        }
    }
}

impl Default for Prices {
    fn default() -> Prices {
        PricesFile::default().complete()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Prices, String> {
        Config::parse(text).map(|config| config.prices).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_a_configuration_and_has_all() {
        assert_eq!(parse(DEFAULT).expect("prices"), Prices::default());
        let Prices { date, currency, cloudwatch, otlp, disk, .. } = Prices::default();
        assert_eq!((date.as_str(), currency.as_str()), ("2026-08-09", "USD"));
        assert_eq!((cloudwatch.ingest, cloudwatch.store, cloudwatch.stored_part), (Some(0.5), 0.03, 0.15));
        assert_eq!((otlp.ingest, disk.store, disk.keep_days), (None, 0.08, 30.0));
    }

    #[test]
    fn what_a_file_does_not_say_is_as_built_in() {
        let prices = parse("[prices]\ncurrency = 'EUR'\n[prices.otlp]\ningest = 1").expect("prices");
        assert_eq!((prices.currency.as_str(), prices.otlp.ingest), ("EUR", Some(1.0)));
        assert_eq!(prices.cloudwatch, Prices::default().cloudwatch);
        let config = Config::parse("[prices.disk]\nstore = 1\n[rollup]\nmore_than = 3").expect("a configuration");
        assert_eq!((config.prices.disk.store, config.sift.rollup.more_than), (1.0, 3));
    }

    #[test]
    fn what_is_no_price_is_refused_and_named() {
        for (text, why) in [
            ("[prices.cloudwatch]\ningest = -1", "-1 is no price"),
            ("[prices.cloudwatch]\ningest = nan", "no price"),
            ("[prices.cloudwatch]\nbytes = 1", "unknown field `bytes`"),
            ("[prices.s3]\ningest = 1", "unknown field `s3`"),
            ("[prices]\n[roll_up]", "unknown field `roll_up`"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
