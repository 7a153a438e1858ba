//! The configuration file: rules, roll-up, origins. `exectrace config` prints one with comments.

use std::fs;
use std::path::Path;

use anyhow::Context;
use exectrace_sift::{SiftConfig, SiftFile};
use serde::Deserialize;

use crate::cost::{Prices, PricesFile};
use crate::exit::{Exit, Failed};

/// What a file says, and what is built in where it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) sift: SiftConfig,
    pub(crate) prices: Prices,
}

/// The table that is not about execs.
#[derive(Deserialize)]
struct Other {
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
        let Other { prices } = toml::from_str(text)?;
        let mut tables: toml::Table = toml::from_str(text)?;
        // Only an error of the text itself says in which line it is.
        let file: SiftFile = match tables.remove("prices") {
            Some(_) => tables.try_into()?,
            None => toml::from_str(text)?,
        };
        Ok(Config { sift: file.complete(), prices: prices.complete() })
    }

    /// The text of one that says what is built in.
    pub(crate) fn built_in() -> &'static str {
        exectrace_sift::DEFAULT
    }
}
