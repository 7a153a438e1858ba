//! The configuration file: rules, roll-up, origins and prices. `exectrace config` prints one with comments.

use std::fs;
use std::path::Path;

use anyhow::Context;
use exectrace_sift::{Conditions, OriginFile, RollupFile, SiftConfig, SiftFile};
use serde::Deserialize;

use crate::cost::prices::{self, Prices, PricesFile};
use crate::exit::{Exit, Failed};

/// What a file says, and what is built in where it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) sift: SiftConfig,
    pub(crate) prices: Prices,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exclude: Vec<Conditions>,
    #[serde(default)]
    include: Vec<Conditions>,
    #[serde(default)]
    rollup: RollupFile,
    #[serde(default)]
    origin: OriginFile,
    #[serde(default)]
    prices: PricesFile,
}

impl Config {
    /// From a file, or what is built in.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Config> {
        let Some(path) = path else { return Ok(Config { sift: SiftConfig::default(), prices: Prices::default() }) };
        let refused = || Failed(Exit::Usage, format!("the configuration {} cannot be used", path.display()));
        let text = fs::read_to_string(path).with_context(refused)?;
        Config::parse(&text).with_context(refused)
    }

    /// From a file's text.
    pub(crate) fn parse(text: &str) -> Result<Config, toml::de::Error> {
        let File { exclude, include, rollup, origin, prices } = toml::from_str(text)?;
        let sift = SiftFile { exclude, include, rollup, origin };
        Ok(Config { sift: sift.complete(), prices: prices.complete() })
    }

    /// The text of one that says what is built in.
    pub(crate) fn built_in() -> String {
        format!("{}\n{}", exectrace_sift::DEFAULT, prices::DEFAULT)
    }
}
