//! The part of the configuration that is about execs: rules, roll-up, origin. `default.toml` says what each key means.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::origin::Starter;
use crate::rollup::{OnTty, RollupConfig};
use crate::rule::Conditions;

/// What is done where nobody says otherwise, with comments, as text.
pub const DEFAULT: &str = include_str!("default.toml");

/// What a file can say. What it does not say is as in [`DEFAULT`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SiftFile {
    /// What is left out.
    pub exclude: Vec<Conditions>,
    /// What is logged whatever `exclude` says.
    pub include: Vec<Conditions>,
    /// What is folded.
    pub rollup: RollupFile,
    /// Who begins what.
    pub origin: OriginFile,
}

/// The table `rollup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollupFile {
    more_than: Option<u64>,
    #[serde(deserialize_with = "duration")]
    window: Option<Duration>,
    tty: Option<OnTty>,
    folders: Option<Vec<String>>,
    programs: Option<Vec<String>>,
    interpreters: Option<Vec<String>>,
    line: Option<Vec<Conditions>>,
}

/// The table `origin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OriginFile {
    agent: Option<Vec<Starter>>,
    ide: Option<Vec<Starter>>,
    ssh: Option<Vec<Starter>>,
    cron: Option<Vec<Starter>>,
    service: Option<Vec<Starter>>,
    env_of: Option<Vec<String>>,
}

/// Which programs begin what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginConfig {
    /// AI coding agents.
    pub agent: Vec<Starter>,
    /// Servers of IDEs.
    pub ide: Vec<Starter>,
    /// Servers of logins; what they execute is a session.
    pub ssh: Vec<Starter>,
    /// Clocks, likewise.
    pub cron: Vec<Starter>,
    /// Managers of services, likewise.
    pub service: Vec<Starter>,
    /// Names of files whose environment is looked at for the agents' variables.
    pub env_of: Vec<String>,
}

/// All of it, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiftConfig {
    /// What is left out.
    pub exclude: Vec<Conditions>,
    /// What is logged whatever `exclude` says.
    pub include: Vec<Conditions>,
    /// What is folded, where folding is asked for.
    pub rollup: RollupConfig,
    /// Who begins what.
    pub origin: OriginConfig,
}

impl SiftFile {
    /// The whole, with what the file does not say.
    pub fn complete(self) -> SiftConfig {
        let RollupFile { more_than, window, tty, folders, programs, interpreters, line } = self.rollup;
        let OriginFile { agent, ide, ssh, cron, service, env_of } = self.origin;
        let built_in: SiftFile = toml::from_str(DEFAULT).unwrap_or_default();
        let (rollup, origin) = (built_in.rollup, built_in.origin);
        SiftConfig {
            exclude: self.exclude,
            include: self.include,
            rollup: RollupConfig {
                more_than: more_than.or(rollup.more_than).unwrap_or_default(),
                window: window.or(rollup.window).unwrap_or_default(),
                tty: tty.or(rollup.tty).unwrap_or(OnTty::Line),
                folders: folders.or(rollup.folders).unwrap_or_default(),
                programs: programs.or(rollup.programs).unwrap_or_default(),
                interpreters: interpreters.or(rollup.interpreters).unwrap_or_default(),
                line: line.or(rollup.line).unwrap_or_default(),
            },
            origin: OriginConfig {
                agent: agent.or(origin.agent).unwrap_or_default(),
                ide: ide.or(origin.ide).unwrap_or_default(),
                ssh: ssh.or(origin.ssh).unwrap_or_default(),
                cron: cron.or(origin.cron).unwrap_or_default(),
                service: service.or(origin.service).unwrap_or_default(),
                env_of: env_of.or(origin.env_of).unwrap_or_default(),
            },
        }
    }
}

impl Default for SiftConfig {
    fn default() -> SiftConfig {
        SiftFile::default().complete()
    }
}

/// Shorter windows fold nothing, and longer ones tell too late.
const WINDOWS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// A window from its text.
pub fn parse_window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if WINDOWS.contains(&window) => Ok(window),
        Ok(_) => Err("a window is 1s at least and 1h at most".to_owned()),
        Err(error) => Err(format!("{error}: a window is a time, such as 60s")),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_window(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_configuration_and_has_all() {
        let file: SiftFile = toml::from_str(DEFAULT).expect("a configuration");
        let config = file.complete();
        assert_eq!(config, SiftConfig::default());
        assert_eq!((config.rollup.more_than, config.rollup.window), (10, Duration::from_secs(60)));
        assert!(config.origin.agent.iter().any(|agent| agent.name == "claude-code" && agent.env.len() == 2));
        for list in [&config.origin.ide, &config.origin.ssh, &config.origin.cron, &config.origin.service] {
            assert!(!list.is_empty());
        }
    }

    #[test]
    fn a_list_that_a_file_has_takes_the_place_of_the_default() {
        let file: SiftFile = toml::from_str("[rollup]\nfolders = ['/opt/**']").expect("a configuration");
        let config = file.complete();
        assert_eq!(config.rollup.folders, ["/opt/**"]);
        assert_eq!(config.rollup.programs, SiftConfig::default().rollup.programs);
    }

    #[test]
    fn what_is_no_configuration_is_refused_and_named() {
        for (text, why) in [
            ("[roll_up]", "unknown field `roll_up`"),
            ("[[exclude]]\nfile = 'x'", "unknown field `file`"),
            ("[rollup]\nwindow = '1d'", "1h at most"),
            ("[rollup]\nwindow = 'soon'", "such as 60s"),
            ("[rollup]\ntty = 'some'", "unknown variant"),
            ("[[origin.agent]]\nexe = ['x']", "missing field `name`"),
        ] {
            let error = toml::from_str::<SiftFile>(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
