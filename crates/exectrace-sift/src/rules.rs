//! All rules of a log: which of them leave out, which keep, and who decides.

use crate::origin::Starters;
use crate::rule::{Conditions, Doubt, Facts, Rule, RuleError};

/// Rules in all.
pub const MAX_RULES: usize = 128;

/// Rules, numbered: those that leave out from 0 on, in the order in which they were given, then the others.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// How many of them leave out.
    out: usize,
    /// How many of them leave out or keep; the rest say what is never folded.
    keep: usize,
    /// For each that leaves out: the kernel program does it.
    in_kernel: Vec<bool>,
    /// Some look at arguments.
    arguments: bool,
}

impl Rules {
    /// Of these; the kernel program decides none yet.
    pub(crate) fn new(exclude: &[Conditions], include: &[Conditions], line: &[Conditions]) -> Result<Rules, RuleError> {
        let all = exclude.iter().chain(include).chain(line);
        let rules: Vec<Rule> = all.map(Rule::new).collect::<Result<_, _>>()?;
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany(rules.len()));
        }
        let out = exclude.len();
        let arguments = rules.iter().any(Rule::looks_at_arguments);
        Ok(Rules { rules, out, keep: out + include.len(), in_kernel: vec![false; out], arguments })
    }

    /// Leaves to the kernel program what it can decide, and returns what to tell it: rules in their order, those that leave
    /// out with their numbers.
    ///
    /// What it leaves out is not seen here, not even as what led to others. So nothing is its to decide where a rule that
    /// keeps is not, or where the answer to another rule, or whose a session is, could depend on it.
    pub(crate) fn for_kernel(&mut self, starters: &Starters) -> Vec<(Option<usize>, exectrace::Rule)> {
        if self.rules.iter().any(Rule::looks_at_parents) {
            return Vec::new();
        }
        let looks_back = self.rules.iter().any(Rule::looks_back);
        let leads_nowhere = |path: Option<&exectrace::RulePath>| match path {
            Some(exectrace::RulePath::Exact(path)) => !starters.may_be(path) && ancestors(&self.rules, path) == 0,
            _ => !looks_back,
        };
        let keep: Option<Vec<_>> = self.rules[self.out..self.keep].iter().map(|rule| rule.for_kernel(true)).collect();
        let Some(keep) = keep.filter(|keep| keep.len() < exectrace::MAX_RULES) else { return Vec::new() };
        let mut told = Vec::new();
        for (number, rule) in self.rules[..self.out].iter().enumerate() {
            if told.len() + keep.len() == exectrace::MAX_RULES {
                break;
            }
            if let Some(rule) = rule.for_kernel(false).filter(|rule| leads_nowhere(rule.path.as_ref())) {
                self.in_kernel[number] = true;
                told.push((Some(number), rule));
            }
        }
        if told.is_empty() {
            return Vec::new();
        }
        told.extend(keep.into_iter().map(|rule| (None, rule)));
        told
    }

    /// The rules that leave out, by name, and whether the kernel program decides them.
    pub fn excluding(&self) -> impl Iterator<Item = (&str, bool)> {
        self.rules[..self.out].iter().map(|rule| rule.name.as_str()).zip(self.in_kernel.iter().copied())
    }

    /// The rules that keep, by name.
    pub fn keeping(&self) -> impl Iterator<Item = &str> {
        self.rules[self.out..self.keep].iter().map(|rule| rule.name.as_str())
    }

    /// Those that leave out and may hold for everything that a workspace does, where nothing keeps any of it.
    pub fn that_could_hide_everything(&self) -> impl Iterator<Item = &str> {
        let can_hide = self.out == self.keep;
        self.rules[..self.out]
            .iter()
            .filter(move |rule| can_hide && rule.could_hide_everything())
            .map(|rule| rule.name.as_str())
    }

    /// The first rule that leaves something out, if none keeps it. What the kernel program leaves out does not come here.
    pub(crate) fn excluded(&self, facts: &Facts<'_>) -> Option<usize> {
        let holds = |(number, rule): &(usize, &Rule), doubt| rule.holds(*number, facts, doubt);
        let numbered = || self.rules.iter().enumerate();
        let mut out = numbered().take(self.out).filter(|(number, _)| !self.in_kernel[*number]);
        let (number, _) = out.find(|rule| holds(rule, Doubt::DoesNot))?;
        let mut keeping = numbered().take(self.keep).skip(self.out);
        (!keeping.any(|rule| holds(&rule, Doubt::Holds))).then_some(number)
    }

    /// Whether some rule looks at arguments.
    pub(crate) fn look_at_arguments(&self) -> bool {
        self.arguments
    }

    /// Whether it is never folded.
    pub(crate) fn is_line(&self, facts: &Facts<'_>) -> bool {
        let mut lines = self.rules.iter().enumerate().skip(self.keep);
        lines.any(|(number, rule)| rule.holds(number, facts, Doubt::Holds))
    }

    /// Of each rule, whether its condition of ancestors holds for what descends from this file.
    pub(crate) fn ancestors(&self, exe: &[u8]) -> u128 {
        ancestors(&self.rules, exe)
    }
}

fn ancestors(rules: &[Rule], exe: &[u8]) -> u128 {
    let holds = |rule: &Rule| rule.ancestor.as_ref().is_some_and(|pattern| pattern.matches(exe));
    rules.iter().enumerate().fold(0, |bits, (number, rule)| bits | u128::from(holds(rule)) << number)
}
