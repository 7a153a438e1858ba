//! What becomes of execs by the words of the command line and the configuration file: who decides what, and what is told
//! of it.

use std::sync::Arc;

use anyhow::Context;
use exectrace::TracerBuilder;
use exectrace_sift::{Conditions, Criteria, RollupConfig, Sift, SiftConfig, markers};

use crate::cli::sifting::SiftArgs;
use crate::config::Config;
use crate::exit::{Exit, Failed};
use crate::ledger::RuleName;

/// Decided once, before anything is traced.
#[derive(Debug, Clone)]
pub(crate) struct Sifting {
    config: SiftConfig,
    criteria: Criteria,
    names: Vec<RuleName>,
}

impl Sifting {
    /// From flags, and the file that they name.
    pub(crate) fn of(args: &SiftArgs) -> anyhow::Result<Sifting> {
        let mut config = Config::read(args.config.as_deref())?.sift;
        let of_uids = args.exclude_uid.iter().map(|uid| Conditions { uid: Some(*uid), ..Conditions::default() });
        let of_paths =
            args.exclude_path.iter().map(|path| Conditions { path: Some(path.clone()), ..Conditions::default() });
        config.exclude.extend(of_uids.chain(of_paths));
        config.exclude.extend(parse("--exclude", &args.exclude)?);
        config.include.extend(parse("--include", &args.include)?);
        config.rollup.more_than = args.rollup_more_than.unwrap_or(config.rollup.more_than);
        config.rollup.window = args.rollup_window.unwrap_or(config.rollup.window);
        if args.config.is_some() && !args.rollup {
            // What a file says is wrong also where it is not used.
            Sifting::new(config.clone(), true)?;
        }
        let sifting = Sifting::new(config, args.rollup)?;
        sifting.warn();
        Ok(sifting)
    }

    pub(crate) fn new(config: SiftConfig, rollup: bool) -> anyhow::Result<Sifting> {
        let criteria = Criteria::new(&config, rollup);
        let criteria = criteria.context(Failed(Exit::Usage, "the rules cannot be used".to_owned()))?.with_kernel();
        let place = |number: usize| criteria.told().iter().position(|(out, _)| *out == Some(number));
        let name =
            |(number, (name, _)): (usize, (&str, bool))| RuleName { name: Arc::from(name), in_kernel: place(number) };
        let names = criteria.rules().excluding().enumerate().map(name).collect();
        Ok(Sifting { config, criteria, names })
    }

    /// Warns of what can hide everything, and of what does nothing.
    pub(crate) fn warn(&self) {
        for rule in self.criteria.rules().that_could_hide_everything() {
            tracing::warn!(
                rule,
                "this rule could leave out everything that a workspace does: only the ledger would tell"
            );
        }
        if self.config.exclude.is_empty() && !self.config.include.is_empty() {
            tracing::warn!("nothing is left out, so the rules that include change nothing");
        }
    }

    /// Tells the kernel program what is its to decide, and what to look for in environments.
    pub(crate) fn tell(&self, builder: TracerBuilder) -> TracerBuilder {
        let rules = self.criteria.told().iter().map(|(_, rule)| rule.clone());
        let builder = rules.fold(builder, TracerBuilder::rule);
        let origin = &self.config.origin;
        let builder = markers(origin).fold(builder, |builder, (_, marker)| builder.env_marker(marker));
        origin.env_of.iter().fold(builder, |builder, program| builder.env_marker_of(program.as_str()))
    }

    /// What judges what the kernel program tells.
    pub(crate) fn sift(&self) -> Sift {
        self.criteria.sift()
    }

    /// What is folded, if anything is.
    pub(crate) fn rollup(&self) -> Option<&RollupConfig> {
        self.criteria.rollup()
    }

    /// All that was configured, for a hash over it.
    pub(crate) fn config(&self) -> &SiftConfig {
        &self.config
    }

    /// The rules that keep, as on a command line.
    pub(crate) fn keeping(&self) -> impl Iterator<Item = &str> {
        self.criteria.rules().keeping()
    }

    /// The rules that leave out, by number.
    pub(crate) fn names(&self) -> &[RuleName] {
        &self.names
    }
}

fn parse(flag: &str, rules: &[String]) -> Result<Vec<Conditions>, Failed> {
    let parse = |rule: &String| {
        Conditions::parse(rule).map_err(|error| Failed(Exit::Usage, format!("{flag} {rule:?} cannot be used: {error}")))
    };
    rules.iter().map(parse).collect()
}
