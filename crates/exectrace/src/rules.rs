//! Rules by which execs are left out or kept: told to the kernel program before it runs, counted by it, rule by rule.
//!
//! A set of rules is a number, of which bit n is rule n; `bpf/rules.h` says what is done with them.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use libbpf_rs::{MapCore, MapFlags};

use crate::kernel::{Field, Index};
use crate::skel::types::{left_out, path_key};
use crate::tracer::TracerError;

/// How many rules a tracer can have.
pub const MAX_RULES: usize = u64::BITS as usize;

/// Conditions that the kernel program can decide, and what becomes of an exec that fulfils all of them: it is left out but
/// counted, or, with `keep`, it is kept whatever other rules say. A rule without conditions is one for every exec.
///
/// ```
/// use exectrace::{Rule, RulePath};
///
/// // What the user 1000 runs of /usr/bin without a terminal …
/// let path = Some(RulePath::Prefix(b"/usr/bin/".to_vec()));
/// let noise = Rule { path, uid: Some(1000), tty: Some(false), keep: false };
/// // … but for this, whoever runs it.
/// let path = Some(RulePath::Exact(b"/usr/bin/sudo".to_vec()));
/// let sudo = Rule { path, keep: true, ..Rule::default() };
/// assert!(noise.check().is_ok() && sudo.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The path of the file that runs, as the process sees it: a workspace's root can mount what it likes there. A path that
    /// is not known whole fulfils no such condition, nor does an attempt that failed, for which no file was opened.
    pub path: Option<RulePath>,
    /// The real user, told as the node sees it.
    pub uid: Option<u32>,
    /// Whether the process has a controlling terminal.
    pub tty: Option<bool>,
    /// Whether the rule keeps what others leave out.
    pub keep: bool,
}

/// A condition of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulePath {
    /// It is this one. At most 255 bytes.
    Exact(Vec<u8>),
    /// It begins so. At most 256 bytes; end it with a `/` to mean a folder.
    Prefix(Vec<u8>),
}

impl RulePath {
    /// What the path begins with, its closing NUL included.
    fn beginning(&self) -> Vec<u8> {
        match self {
            RulePath::Exact(path) => [path, &b"\0"[..]].concat(),
            RulePath::Prefix(prefix) => prefix.clone(),
        }
    }

    fn check(&self) -> Result<(), RuleRefused> {
        let (RulePath::Exact(path) | RulePath::Prefix(path)) = self;
        if !path.starts_with(b"/") {
            return Err(RuleRefused::NotAbsolute);
        }
        if path.contains(&0) {
            return Err(RuleRefused::Nul);
        }
        if self.beginning().len() > path_key::default().path.len() {
            return Err(RuleRefused::TooLong);
        }
        Ok(())
    }
}

impl Rule {
    /// Whether the kernel program can decide it; asked by [`crate::TracerBuilder::open`], too.
    pub fn check(&self) -> Result<(), RuleRefused> {
        self.path.as_ref().map_or(Ok(()), RulePath::check)
    }
}

/// Why a rule is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleRefused {
    /// Its path is relative.
    #[error("a path must begin with a /")]
    NotAbsolute,
    /// Its path holds a NUL.
    #[error("a path holds no NUL")]
    Nul,
    /// Its path is longer than the kernel program can compare.
    #[error("a path has 255 bytes at most, and the beginning of one 256")]
    TooLong,
    /// There are [`MAX_RULES`] before it. No rule is refused so by itself.
    #[error("there are 64 rules at most")]
    TooMany,
}

/// What a rule left out, in all scopes. An exec counts for one rule: the first of those that leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// The rule's place in the order of [`crate::TracerBuilder::rule`], from 0 on.
    pub rule: usize,
    /// Execs.
    pub execs: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Whether all of them can be told to the kernel program.
pub(crate) fn check(rules: &[Rule]) -> Result<(), TracerError> {
    let refused = |rule: usize| match rules[rule].check() {
        _ if rule >= MAX_RULES => Some(TracerError::Rule { rule, why: RuleRefused::TooMany }),
        checked => checked.err().map(|why| TracerError::Rule { rule, why }),
    };
    (0..rules.len()).find_map(refused).map_or(Ok(()), Err)
}

/// Tells the kernel program which rules ask for which user, and which for which path.
pub(crate) fn tell(rules: &[Rule], of_uid: &impl MapCore, of_path: &impl MapCore) -> Result<(), TracerError> {
    let failed = |source| TracerError::Kernel { step: "telling the kernel the rules", source, log: String::new() };
    for (uid, rules) in by_uid(rules) {
        of_uid.update(&uid.to_ne_bytes(), &rules.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
    }
    for (beginning, rules) in by_path(rules) {
        of_path.update(&key(&beginning), &rules.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
    }
    Ok(())
}

/// Tells it which rules there are, after it knows what they ask for.
pub(crate) fn switch_on(rules: &[Rule], index: &Index<'_>) {
    let set = |field, is_in: fn(&Rule) -> bool| index.set_u64(field, those(rules, is_in));
    set(Field::RULES_ANY_UID, |rule| rule.uid.is_none());
    set(Field::RULES_ANY_PATH, |rule| rule.path.is_none());
    set(Field::RULES_TTY, |rule| rule.tty != Some(false));
    set(Field::RULES_NO_TTY, |rule| rule.tty != Some(true));
    set(Field::RULES_KEEP, |rule| rule.keep);
    set(Field::RULES_OUT, |rule| !rule.keep);
}

/// What each rule that leaves out has left out so far.
pub(crate) fn counts(rules: &[Rule], counters: &impl MapCore) -> Result<Vec<LeftOut>, TracerError> {
    let failed = |source| TracerError::Kernel { step: "reading the counters", source, log: String::new() };
    let mut counts = Vec::new();
    for (rule, _) in rules.iter().enumerate().filter(|(_, rule)| !rule.keep) {
        let row = u32::try_from(rule).unwrap_or(u32::MAX);
        let value = counters.lookup(&row.to_ne_bytes(), MapFlags::ANY).map_err(failed)?.unwrap_or_default();
        let count = |at: usize| {
            let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_ne_bytes)
        };
        let (execs, failed) = (count(offset_of!(left_out, execs)), count(offset_of!(left_out, failed)));
        counts.push(LeftOut { rule, execs, failed });
    }
    Ok(counts)
}

/// The set of those rules for which something is so.
fn those(rules: &[Rule], is_in: impl Fn(&Rule) -> bool) -> u64 {
    rules.iter().enumerate().filter(|(_, rule)| is_in(rule)).fold(0, |all, (number, _)| all | 1 << number)
}

/// For each user that some rule asks for, those rules.
fn by_uid(rules: &[Rule]) -> BTreeMap<u32, u64> {
    let uids = rules.iter().filter_map(|rule| rule.uid);
    uids.map(|uid| (uid, those(rules, |rule| rule.uid == Some(uid)))).collect()
}

/// For each beginning that some rule asks for, all rules that it fulfils: those that ask for a shorter one, too.
fn by_path(rules: &[Rule]) -> BTreeMap<Vec<u8>, u64> {
    let beginnings = rules.iter().filter_map(|rule| rule.path.as_ref()).map(RulePath::beginning);
    let fulfilled = |beginning: &[u8]| {
        those(rules, |rule| rule.path.as_ref().is_some_and(|path| beginning.starts_with(&path.beginning())))
    };
    beginnings.map(|beginning| (beginning.clone(), fulfilled(&beginning))).collect()
}

/// An LPM trie's key: how many bits count, then the bytes. What is longer than a path that was checked is cut.
fn key(beginning: &[u8]) -> Vec<u8> {
    let bits = u32::try_from(beginning.len() * 8).unwrap_or(u32::MAX);
    let mut key = bits.to_ne_bytes().to_vec();
    key.extend_from_slice(beginning);
    key.resize(size_of::<path_key>(), 0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::Tracer;

    fn exact(path: &str) -> Rule {
        Rule { path: Some(RulePath::Exact(path.into())), ..Rule::default() }
    }

    fn prefix(path: &str) -> Rule {
        Rule { path: Some(RulePath::Prefix(path.into())), ..Rule::default() }
    }

    #[test]
    fn a_path_is_absolute_and_has_no_nul_and_fits_the_key_with_its_end() {
        let of_len = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert_eq!(prefix("usr/bin").check(), Err(RuleRefused::NotAbsolute));
        assert_eq!(exact("").check(), Err(RuleRefused::NotAbsolute));
        assert_eq!(exact("/a\0b").check(), Err(RuleRefused::Nul));
        assert_eq!((prefix(&of_len(256)).check(), prefix(&of_len(257)).check()), (Ok(()), Err(RuleRefused::TooLong)));
        assert_eq!((exact(&of_len(255)).check(), exact(&of_len(256)).check()), (Ok(()), Err(RuleRefused::TooLong)));
        assert_eq!(Rule::default().check(), Ok(()));
    }

    #[test]
    fn a_key_says_how_much_of_it_counts() {
        let key = key(b"/usr/lib/");
        assert_eq!(key.len(), size_of::<path_key>());
        assert_eq!(key[..4], 72u32.to_ne_bytes());
        assert_eq!(&key[4..14], b"/usr/lib/\0");
    }

    #[test]
    fn a_beginning_has_the_rules_of_all_that_are_shorter() {
        let rules =
            [prefix("/a"), exact("/a"), prefix("/a/b"), exact("/a/b"), prefix("/"), prefix("/a"), Rule::default()];
        let due: [(&[u8], u64); 5] =
            [(b"/", 0b01_0000), (b"/a", 0b11_0001), (b"/a\0", 0b11_0011), (b"/a/b", 0b11_0101), (b"/a/b\0", 0b11_1101)];
        assert_eq!(by_path(&rules), due.map(|(beginning, rules)| (beginning.to_vec(), rules)).into());
    }

    #[test]
    fn a_user_has_all_rules_that_ask_for_it() {
        let of = |uid| Rule { uid: Some(uid), ..Rule::default() };
        assert_eq!(by_uid(&[of(7), Rule::default(), of(8), of(7)]), [(7, 0b1001), (8, 0b0100)].into());
    }

    #[test]
    fn the_rule_that_is_refused_is_named() {
        let refusal = |rules: &[Rule]| match check(rules) {
            Err(TracerError::Rule { rule, why }) => Some((rule, why)),
            _ => None,
        };
        assert_eq!(refusal(&vec![Rule::default(); MAX_RULES]), None);
        assert_eq!(refusal(&vec![Rule::default(); MAX_RULES + 1]), Some((MAX_RULES, RuleRefused::TooMany)));
        assert_eq!(refusal(&[Rule::default(), prefix("a")]), Some((1, RuleRefused::NotAbsolute)));
        let opened = Tracer::builder().rule(prefix("a")).open().err().expect("a refusal");
        assert_eq!(opened.to_string(), "rule 1 cannot be had: a path must begin with a /");
    }
}
