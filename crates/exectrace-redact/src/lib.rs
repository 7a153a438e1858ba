//! Secrets on command lines become marks before they leave the node.
//!
//! ```text
//! argv ──► needles: is there anything to look at? ──► no: the common case, nothing is allocated
//!             └─► words: flags, assignments, programs ─┐   a string with white space is read as a shell's script
//!                 text: headers, URLs, tokens, JSON ───┴─► spans ──► marks
//! ```
//!
//! A mark is `[redacted:` and 8 hexadecimal digits of HMAC-SHA256 over the secret: equal secrets have equal marks, and who
//! has no key cannot try out what a mark stands for. `docs/redaction.md` says what is found and what is not.

mod programs;
mod shell;
mod text;
mod user;
mod words;

use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use crate::user::{RulesError, UserRules};

use crate::text::Text;
use crate::words::Words;

/// What marks are made with. Never shown, and overwritten when it is dropped.
#[derive(Clone)]
pub struct RedactionKey([u8; 32]);

impl RedactionKey {
    /// A key of any length; whoever guesses it can try out what a mark stands for.
    pub fn new(bytes: &[u8]) -> RedactionKey {
        RedactionKey(hmac(b"exectrace redaction", bytes))
    }
}

impl std::fmt::Debug for RedactionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedactionKey")
    }
}

impl Drop for RedactionKey {
    fn drop(&mut self) {
        self.0.fill(0);
        // So that the compiler cannot know that nobody reads the zeros, and must write them.
        std::hint::black_box(&mut self.0);
    }
}

/// Finds secrets in arguments and replaces them.
#[derive(Debug)]
pub struct Redactor {
    key: RedactionKey,
    words: Words,
    text: Text,
}

/// Arguments without their secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// As many as there were.
    pub argv: Vec<Vec<u8>>,
    /// Secrets that were replaced.
    pub count: u32,
}

/// Where a secret is: in which argument, from which byte to which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    arg: usize,
    start: usize,
    end: usize,
}

impl Redactor {
    /// With the rules that are built in, unless the user's say otherwise, and the user's.
    pub fn new(key: RedactionKey, rules: UserRules) -> Redactor {
        let UserRules { builtin, patterns, flags, allowed } = rules;
        Redactor { key, words: Words::new(builtin, flags), text: Text::new(builtin, patterns, allowed) }
    }

    /// The arguments with marks instead of secrets; `None` if there are none.
    pub fn redact(&self, argv: &[&[u8]]) -> Option<Redacted> {
        let spans = self.spans(argv);
        if spans.is_empty() {
            return None;
        }
        let mut words: Vec<Vec<u8>> = argv.iter().map(|arg| arg.to_vec()).collect();
        // From behind, so that the places before stay where they are.
        for Span { arg, start, end } in spans.iter().rev() {
            let mark = self.mark(&argv[*arg][*start..*end]);
            words[*arg].splice(Range { start: *start, end: *end }, mark);
        }
        Some(Redacted { argv: words, count: u32::try_from(spans.len()).unwrap_or(u32::MAX) })
    }

    /// Where the secrets are: in order, and none within another.
    fn spans(&self, argv: &[&[u8]]) -> Vec<Span> {
        let mut spans = Vec::new();
        let is_worth_it = self.text.find(argv, &mut spans);
        if is_worth_it || self.words.has_rules_of_the_user() {
            self.words.find(argv, &mut spans);
        }
        spans.retain(|span| {
            let secret = &argv[span.arg][span.start..span.end];
            !is_no_secret(secret) && !self.text.allows(secret)
        });
        merged(spans)
    }

    fn mark(&self, secret: &[u8]) -> Vec<u8> {
        let hash = hmac(&self.key.0, secret);
        let digits: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        [MARK, digits.as_bytes(), b"]"].concat()
    }
}

const MARK: &[u8] = b"[redacted:";
const MARK_BYTES: usize = MARK.len() + 8 + 1;

fn is_mark(text: &[u8]) -> bool {
    let digits = text.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(b"]"));
    digits.is_some_and(|digits| digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// One mark or several, one after the other.
fn is_marks(text: &[u8]) -> bool {
    !text.is_empty() && text.chunks(MARK_BYTES).all(is_mark)
}

/// What stands where a secret might, and evidently is none: a reference, a placeholder, a file, a switch.
fn is_no_secret(value: &[u8]) -> bool {
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    let begins = |with: &[&str]| with.iter().any(|with| value.starts_with(with.as_bytes()));
    let is_all = |of: &[u8]| value.iter().all(|byte| of.contains(byte));
    value.is_empty()
        || is_marks(value)
        || is_reference(value)
        || is_few_digits(value)
        || begins(&["`", "@", "<", "{{", "%", "file:", "env:", "fd:", "vault:", "ssm:", "secretsmanager:"])
        || is(&[
            "-",
            "true",
            "false",
            "yes",
            "no",
            "null",
            "none",
            "nil",
            "undefined",
            "on",
            "off",
            "stdin",
            "prompt",
            "ask",
        ])
        || is_all(b"*.")
        || is_all(b"xX")
        || is_all(b"?")
}

/// `$NAME`, `${NAME}`, `$(command)`, `$1`.
fn is_reference(value: &[u8]) -> bool {
    let [b'$', first, rest @ ..] = value else { return value == b"$" };
    matches!(first, b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'{' | b'(' | b'@' | b'*' | b'?')
        || first.is_ascii_digit() && rest.is_empty()
}

/// A number of a setting, such as which pass of two it is.
fn is_few_digits(value: &[u8]) -> bool {
    value.len() <= 2 && value.iter().all(u8::is_ascii_digit)
}

/// In order, without overlaps: one that touches another's inside becomes part of it.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut().filter(|last| last.arg == span.arg && span.start < last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => merged.push(span),
        }
    }
    merged
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(message).finalize());
    mac.map(|mac| mac.into_bytes().into()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
