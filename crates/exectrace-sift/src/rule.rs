//! Rules by which execs are left out of a log, or kept in it: conditions that must all hold.

use std::fmt;

use serde::Deserialize;

use crate::origin::Kind;
use crate::pattern::{Pattern, PatternError, Start};

/// What an admin writes: on a command line as `exe=/usr/lib/** tty=no`, in a file as a table with the same keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Glob of the file that runs; one without a slash is of its name.
    pub exe: Option<String>,
    /// Its path begins so.
    pub path: Option<String>,
    /// Glob of the arguments, joined by spaces.
    pub argv: Option<String>,
    /// Regular expression that is found in them.
    pub argv_regex: Option<String>,
    /// Real user, as the node sees it.
    pub uid: Option<u32>,
    /// Whether there is a controlling terminal.
    pub tty: Option<bool>,
    /// Glob of the file of the exec that led to this one.
    pub parent: Option<String>,
    /// The same of that one or of any before it.
    pub ancestor: Option<String>,
    /// What began the session.
    pub origin: Option<Kind>,
}

/// Why words are no rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Quotes that do not end.
    #[error("{0:?} has a quote that does not end")]
    Quote(String),
    /// Not `KEY=VALUE`.
    #[error(
        "{0:?} is no condition: one is KEY=VALUE, KEY being exe, path, argv, argv_regex, uid, tty, parent, ancestor or origin"
    )]
    NoCondition(String),
    /// The same key a second time.
    #[error("{0} is given twice; a rule needs all of its conditions, and two rules say either")]
    Twice(String),
    /// A value that the key does not take.
    #[error("{key}={value}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        why: &'static str,
    },
    /// More rules than can be told apart.
    #[error("{0} rules: there can be {max} in all", max = crate::rules::MAX_RULES)]
    TooMany(usize),
    /// A pattern that is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Conditions {
    /// From the words of a command line; values may be quoted as in a shell.
    pub fn parse(text: &str) -> Result<Conditions, RuleError> {
        let words = shlex::split(text).ok_or_else(|| RuleError::Quote(text.to_owned()))?;
        let mut conditions = Conditions::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| RuleError::NoCondition(word.clone()))?;
            conditions.set(key, value)?;
        }
        Ok(conditions)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), RuleError> {
        let refused = |key, why| RuleError::Value { key, value: value.to_owned(), why };
        let text = || Some(value.to_owned());
        let was_there = match key {
            "exe" => std::mem::replace(&mut self.exe, text()).is_some(),
            "path" => std::mem::replace(&mut self.path, text()).is_some(),
            "argv" => std::mem::replace(&mut self.argv, text()).is_some(),
            "argv_regex" => std::mem::replace(&mut self.argv_regex, text()).is_some(),
            "parent" => std::mem::replace(&mut self.parent, text()).is_some(),
            "ancestor" => std::mem::replace(&mut self.ancestor, text()).is_some(),
            "uid" => {
                let uid = value.parse().map_err(|_| refused("uid", "the number of a user"))?;
                self.uid.replace(uid).is_some()
            }
            "tty" => {
                let tty = match value {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    _ => return Err(refused("tty", "yes or no")),
                };
                self.tty.replace(tty).is_some()
            }
            "origin" => {
                let kind = Kind::parse(value).ok_or_else(|| refused("origin", Kind::NAMES))?;
                self.origin.replace(kind).is_some()
            }
            _ => return Err(RuleError::NoCondition(format!("{key}={value}"))),
        };
        if was_there { Err(RuleError::Twice(key.to_owned())) } else { Ok(()) }
    }
}

/// As on a command line.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("exe", &self.exe),
            ("path", &self.path),
            ("argv", &self.argv),
            ("argv_regex", &self.argv_regex),
            ("parent", &self.parent),
            ("ancestor", &self.ancestor),
        ];
        let texts = texts.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", quoted(value.as_deref()?))));
        let uid = self.uid.map(|uid| format!("uid={uid}"));
        let tty = self.tty.map(|tty| format!("tty={}", if tty { "yes" } else { "no" }));
        let origin = self.origin.map(|kind| format!("origin={}", kind.name()));
        let all: Vec<String> = texts.chain(uid).chain(tty).chain(origin).collect();
        f.write_str(if all.is_empty() { "(everything)" } else { "" })?;
        f.write_str(&all.join(" "))
    }
}

/// NUL is the only character that cannot be quoted, and what is refused elsewhere is shown as it is.
fn quoted(value: &str) -> String {
    shlex::try_quote(value).map_or_else(|_| value.to_owned(), |value| value.into_owned())
}

/// A rule that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: String,
    exe: Vec<Pattern>,
    argv: Vec<Pattern>,
    uid: Option<u32>,
    tty: Option<bool>,
    parent: Option<Pattern>,
    pub(crate) ancestor: Option<Pattern>,
    origin: Option<Kind>,
}

/// Something that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact<T> {
    Is(T),
    /// There is none: no condition of it holds.
    None,
    /// It was lost, or forgotten: who floods must not get past a rule by that. What leaves out does not hold for it, and
    /// what keeps does.
    Unknown,
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// None of an attempt that failed: nothing ran.
    pub(crate) exe: Fact<&'a [u8]>,
    /// Arguments, joined by spaces.
    pub(crate) argv: Fact<&'a [u8]>,
    pub(crate) uid: u32,
    pub(crate) has_tty: Fact<bool>,
    /// The file of the exec before.
    pub(crate) parent: Fact<&'a [u8]>,
    /// Of each rule whether its condition of ancestors holds.
    pub(crate) ancestors: Fact<u128>,
    pub(crate) origin: Fact<Kind>,
}

/// What a rule does with what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    Holds,
    DoesNot,
}

impl Doubt {
    fn of<T>(self, fact: Fact<T>, holds: impl FnOnce(T) -> bool) -> bool {
        match fact {
            Fact::Is(is) => holds(is),
            Fact::None => false,
            Fact::Unknown => self == Doubt::Holds,
        }
    }
}

impl Rule {
    pub(crate) fn new(conditions: &Conditions) -> Result<Rule, RuleError> {
        let Conditions { exe, path, argv, argv_regex, uid, tty, parent, ancestor, origin } = conditions;
        let glob = |glob: &Option<String>| glob.as_deref().map(Pattern::path).transpose();
        let path = path.as_deref().map(|prefix| match prefix.starts_with('/') {
            true => Pattern::prefix(prefix).map_err(RuleError::from),
            false => Err(RuleError::Value { key: "path", value: prefix.to_owned(), why: "a path begins with /" }),
        });
        let words = argv.as_deref().map(Pattern::words).transpose()?;
        let regex = argv_regex.as_deref().map(Pattern::regex).transpose()?;
        Ok(Rule {
            name: conditions.to_string(),
            exe: glob(exe)?.into_iter().chain(path.transpose()?).collect(),
            argv: words.into_iter().chain(regex).collect(),
            uid: *uid,
            tty: *tty,
            parent: glob(parent)?,
            ancestor: glob(ancestor)?,
            origin: *origin,
        })
    }

    /// Whether all conditions hold; `at` is its place among all rules.
    pub(crate) fn holds(&self, at: usize, facts: &Facts<'_>, doubt: Doubt) -> bool {
        let all = |patterns: &[Pattern], fact| {
            patterns.iter().all(|pattern| doubt.of(fact, |text: &[u8]| pattern.matches(text)))
        };
        self.uid.is_none_or(|uid| uid == facts.uid)
            && self.tty.is_none_or(|tty| doubt.of(facts.has_tty, |has_tty| tty == has_tty))
            && self.origin.is_none_or(|kind| doubt.of(facts.origin, |origin| kind == origin))
            && (self.ancestor.is_none() || doubt.of(facts.ancestors, |ancestors| ancestors >> at & 1 == 1))
            && all(&self.exe, facts.exe)
            && all(self.parent.as_slice(), facts.parent)
            && all(&self.argv, facts.argv)
    }

    /// Whether it looks at arguments.
    pub(crate) fn looks_at_arguments(&self) -> bool {
        !self.argv.is_empty()
    }

    /// Whether it looks at the exec before.
    pub(crate) fn looks_at_parents(&self) -> bool {
        self.parent.is_some()
    }

    /// Whether it looks at what led to an exec, over any number of others.
    pub(crate) fn looks_back(&self) -> bool {
        self.ancestor.is_some() || self.origin.is_some()
    }

    /// What the kernel program can be told instead, if it can decide all of it.
    pub(crate) fn for_kernel(&self, keep: bool) -> Option<exectrace::Rule> {
        let is_known_there = self.argv.is_empty() && self.parent.is_none() && self.ancestor.is_none();
        let path = match self.exe.as_slice() {
            [] => None,
            [pattern] => Some(match pattern.start()? {
                Start::Exact(path) => exectrace::RulePath::Exact(path.clone()),
                Start::Prefix(prefix) => exectrace::RulePath::Prefix(prefix.clone()),
            }),
            _ => return None,
        };
        let rule = exectrace::Rule { path, uid: self.uid, tty: self.tty, keep };
        (is_known_there && self.origin.is_none() && rule.check().is_ok()).then_some(rule)
    }

    /// Whether it may hold for everything that a workspace does.
    pub(crate) fn could_hide_everything(&self) -> bool {
        // What no workspace can have executed; a pattern that takes these takes anything.
        const ANYTHING: [&[u8]; 2] = [b"/\x01/\x02\x03", b"/usr/bin/\x01 \x02/\x03"];
        let takes_anything = |patterns: &[Pattern]| {
            patterns.iter().all(|pattern| ANYTHING.iter().all(|anything| pattern.matches(anything)))
        };
        let of_others = self.parent.iter().chain(&self.ancestor);
        // Most workspaces have one user.
        self.origin.is_none()
            && takes_anything(&self.exe)
            && takes_anything(&self.argv)
            && of_others.clone().all(|pattern| takes_anything(std::slice::from_ref(pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        Rule::new(&Conditions::parse(text).expect(text)).expect(text)
    }

    const FACTS: Facts<'static> = Facts {
        exe: Fact::Is(b"/usr/bin/git"),
        argv: Fact::Is(b"git status --porcelain"),
        uid: 1000,
        has_tty: Fact::Is(false),
        parent: Fact::Is(b"/opt/ide/node"),
        ancestors: Fact::Is(0b10),
        origin: Fact::Is(Kind::Ide),
    };

    #[test]
    fn all_conditions_must_hold() {
        for (text, holds) in [
            ("", true),
            ("exe=git", true),
            ("exe=/usr/bin/*", true),
            ("path=/usr/bi", true),
            ("argv='git status*' tty=no uid=1000 parent=node origin=ide", true),
            ("argv_regex='status --p'", true),
            ("exe=git tty=yes", false),
            ("exe=git uid=0", false),
            ("exe=git origin=agent", false),
            ("exe=git parent=bash", false),
            ("exe=git path=/opt/", false),
            ("argv=status", false),
        ] {
            for doubt in [Doubt::Holds, Doubt::DoesNot] {
                assert_eq!(rule(text).holds(0, &FACTS, doubt), holds, "{text}");
            }
        }
        let of_make = rule("ancestor=make");
        assert!(of_make.holds(1, &FACTS, Doubt::DoesNot) && !of_make.holds(0, &FACTS, Doubt::Holds));
        assert!(!rule("exe=**").holds(0, &Facts { exe: Fact::None, ..FACTS }, Doubt::Holds), "nothing ran");
    }

    #[test]
    fn what_is_not_known_holds_only_for_who_keeps() {
        let facts = Facts { exe: Fact::Unknown, has_tty: Fact::Unknown, ancestors: Fact::Unknown, ..FACTS };
        for text in ["exe=git", "tty=no", "tty=yes", "ancestor=make", "exe=git uid=1000"] {
            assert!(
                rule(text).holds(0, &facts, Doubt::Holds) && !rule(text).holds(0, &facts, Doubt::DoesNot),
                "{text}"
            );
        }
        assert!(!rule("exe=git uid=7").holds(0, &facts, Doubt::Holds));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["exe=/usr/lib/** tty=no", "argv='git status *' uid=7 origin=agent", "path='/a b/'"] {
            let conditions = Conditions::parse(text).expect(text);
            assert_eq!(Conditions::parse(&conditions.to_string()).expect(text), conditions);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_to_do() {
        for (text, why) in [
            ("exe", "one is KEY=VALUE"),
            ("file=/x", "one is KEY=VALUE"),
            ("uid=root", "the number of a user"),
            ("tty=maybe", "yes or no"),
            ("origin=moon", "terminal"),
            ("exe='a", "quote that does not end"),
            ("exe=a exe=b", "given twice"),
            ("path=usr", "begins with /"),
            ("exe=a/b", "is no pattern"),
        ] {
            let error = Conditions::parse(text).and_then(|conditions| Rule::new(&conditions).map(drop));
            let error = error.expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_that_takes_everything_is_known() {
        for text in
            ["", "exe=**", "exe=*", "path=/", "argv=*", "tty=no", "argv_regex=.", "ancestor=**", "exe=/**", "uid=1000"]
        {
            assert!(rule(text).could_hide_everything(), "{text}");
        }
        for text in ["exe=/usr/**", "uid=1000 exe=cc", "exe=cc", "argv=git*", "parent=node", "origin=ide"] {
            assert!(!rule(text).could_hide_everything(), "{text}");
        }
    }

    #[test]
    fn the_kernel_decides_what_it_can() {
        for text in ["uid=1", "tty=no", "exe=/usr/bin/cc", "exe=/usr/lib/** uid=0 tty=yes", "path=/opt/x", ""] {
            assert!(rule(text).for_kernel(false).is_some(), "{text}");
        }
        let long = format!("path=/{}", "x".repeat(300));
        for text in ["exe=cc", "argv=x", "parent=x", "ancestor=x", "origin=ssh", "exe=/a/** path=/a/", &long] {
            assert!(rule(text).for_kernel(false).is_none(), "{text}");
        }
    }
}
