//! Rules of the user: a TOML file, as `examples/redaction.toml` explains it.

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

/// What a user says of secrets that are not known here.
#[derive(Debug, Clone)]
pub struct UserRules {
    pub(crate) builtin: bool,
    pub(crate) patterns: Vec<Regex>,
    pub(crate) flags: Vec<UserFlag>,
    pub(crate) allowed: Vec<Regex>,
}

/// A flag with a secret behind it.
#[derive(Debug, Clone)]
pub(crate) struct UserFlag {
    program: Option<String>,
    pub(crate) name: String,
}

impl UserFlag {
    /// Whether it is a flag of one of these.
    pub(crate) fn is_for<'a>(&self, mut programs: impl Iterator<Item = &'a [u8]>) -> bool {
        self.program.as_ref().is_none_or(|program| programs.any(|name| name == program.as_bytes()))
    }
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// No TOML, or not the keys that rules have; the message has the line.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// Not a regular expression.
    #[error("{name}: {error}")]
    Pattern {
        /// Which rule.
        name: String,
        /// What is wrong with it.
        error: regex::Error,
    },
    /// No group that says what of it is the secret.
    #[error("{name}: the pattern needs a group (?P<secret>…) around what is to be replaced")]
    NoSecret {
        /// Which rule.
        name: String,
    },
    /// A flag is a word that begins with a dash or a slash.
    #[error("the flag {name:?} does not begin with - or /")]
    NoFlag {
        /// Which one.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "on")]
    builtin: bool,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    flag: Vec<Flag>,
    #[serde(default)]
    allow: Vec<Allow>,
}

fn on() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    pattern: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flag {
    program: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    pattern: String,
}

/// None but those that are built in.
impl Default for UserRules {
    fn default() -> UserRules {
        UserRules { builtin: true, patterns: Vec::new(), flags: Vec::new(), allowed: Vec::new() }
    }
}

impl UserRules {
    /// Rules from the text of a file.
    pub fn parse(text: &str) -> Result<UserRules, RulesError> {
        let File { builtin, rule, flag, allow } = toml::from_str(text)?;
        let patterns = rule.into_iter().map(|Rule { name, pattern }| {
            let regex = compile(&name, &pattern)?;
            let has_secret = regex.capture_names().any(|group| group == Some("secret"));
            if has_secret { Ok(regex) } else { Err(RulesError::NoSecret { name }) }
        });
        let flags = flag.into_iter().map(|Flag { program, name }| {
            if name.starts_with(['-', '/']) { Ok(UserFlag { program, name }) } else { Err(RulesError::NoFlag { name }) }
        });
        // What is allowed is the whole secret, so that it does not allow one that has it somewhere.
        let allowed = allow.into_iter().map(|Allow { pattern }| compile("allow", &format!("^(?:{pattern})$")));
        Ok(UserRules {
            builtin,
            patterns: patterns.collect::<Result<_, _>>()?,
            flags: flags.collect::<Result<_, _>>()?,
            allowed: allowed.collect::<Result<_, _>>()?,
        })
    }
}

fn compile(name: &str, pattern: &str) -> Result<Regex, RulesError> {
    let regex = RegexBuilder::new(pattern).unicode(false).build();
    regex.map_err(|error| RulesError::Pattern { name: name.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_rules() {
        let rules = UserRules::parse(include_str!("../../../examples/redaction.toml")).expect("rules");
        assert!(rules.builtin);
        assert_eq!((rules.patterns.len(), rules.flags.len(), rules.allowed.len()), (1, 2, 1));
    }

    #[test]
    fn what_is_no_rule_is_refused_and_named() {
        for (text, why) in [
            ("[[rules]]", "unknown field `rules`"),
            ("\n\n[[rule]]\nname = 1", "line 4"),
            ("[[rule]]\nname = 'x'\npattern = '('", "x: "),
            ("[[rule]]\nname = 'x'\npattern = 'y'", "(?P<secret>"),
            ("[[flag]]\nname = 'pin'", "does not begin with -"),
            ("[[allow]]\npattern = '['", "allow: "),
        ] {
            let error = UserRules::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
