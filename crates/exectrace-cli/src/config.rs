//! The configuration file: rules, roll-up, origins. `exectrace config` prints one with comments.

use std::fs;
use std::path::Path;

use anyhow::Context;
use exectrace_sift::{SiftConfig, SiftFile};

use crate::exit::{Exit, Failed};

/// What a file says, and what is built in where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) sift: SiftConfig,
}

impl Config {
    /// From a file, or what is built in.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Config> {
        let Some(path) = path else { return Ok(Config { sift: SiftConfig::default() }) };
        let refused = || Failed(Exit::Usage, format!("the configuration {} cannot be used", path.display()));
        let text = fs::read_to_string(path).with_context(refused)?;
        Config::parse(&text).with_context(refused)
    }

    /// From a file's text.
    pub(crate) fn parse(text: &str) -> Result<Config, toml::de::Error> {
        let file: SiftFile = toml::from_str(text)?;
        Ok(Config { sift: file.complete() })
    }

    /// The text of one that says what is built in.
    pub(crate) fn built_in() -> &'static str {
        exectrace_sift::DEFAULT
    }
}
