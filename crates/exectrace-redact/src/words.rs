//! Secrets by what a word is to the program that gets it: behind a flag, in an assignment, at a place.

use std::collections::HashMap;
use std::ops::Range;

use regex::bytes::Regex;

use crate::Span;
use crate::programs::{FLAGS, POSITIONS, Part, Place, ProgramFlag, SETTINGS, WRAPPERS};
use crate::shell::{commands, without_quotes};
use crate::user::UserFlag;

/// Scripts within scripts; deeper ones are left.
const DEPTH: usize = 4;

/// What a flag or a variable is called that holds a secret: its name ends so. `--password-file` and `TOKEN_PATH` do not.
const SECRET_NAME: &str = r"(?ix-u)
    (?: passw(?:or)?d | passphrase
      | (?:^|[-_.:/]) (?: pass | pwd | secret | token | credentials? | cookie | bearer )
      | (?: api | access | secret | private | auth | account | storage | encryption | signing | master | shared | license | deploy | client )
        [-_.]? (?: key | token | secret )
      | (?-i: [a-z0-9] (?: Pass | Pwd | Secret | Token ))
      | aws_session_token | sshpass | storepass | keypass | connection[-_]?string | _auth | webhook_url
    ) $";

/// Names that end so and hold none.
const NO_SECRET_NAME: &str = r"(?ix-u) ^-*(?: (?: old )? pwd | (?: [a-z0-9_-]*[-_] )? public[-_]?(?: key | token ) | no-?pass(?:word)?
    | ask-?pass | git_askpass | ssh_askpass | use[-_]?token | csrf[-_]?token[-_]?name | next[-_]?token | page[-_]?token | continuation[-_]?token
    | starting[-_]?token | max[-_]?token | password[-_]?secret | primary[-_]?key | sort[-_]?key | host[-_]?key ) $";

/// The rules, by the program that they are for.
#[derive(Debug)]
pub(crate) struct Words {
    builtin: bool,
    secret_name: Regex,
    no_secret_name: Regex,
    by_program: HashMap<&'static [u8], Vec<&'static ProgramFlag>>,
    flags: Vec<UserFlag>,
}

/// A word: of which argument, from where to where, without quotes around it.
#[derive(Debug, Clone)]
struct Word {
    arg: usize,
    range: Range<usize>,
}

impl Words {
    pub(crate) fn new(builtin: bool, flags: Vec<UserFlag>) -> Words {
        let mut by_program: HashMap<&'static [u8], Vec<&'static ProgramFlag>> = HashMap::new();
        for flag in FLAGS {
            for program in flag.programs {
                by_program.entry(program.as_bytes()).or_default().push(flag);
            }
        }
        let regex = |pattern| Regex::new(pattern).expect("a pattern of ours; a test makes it");
        let (secret_name, no_secret_name) = (regex(SECRET_NAME), regex(NO_SECRET_NAME));
        Words { builtin, secret_name, no_secret_name, by_program, flags }
    }

    /// Rules that may say something of arguments in which nothing looks like a secret.
    pub(crate) fn has_rules_of_the_user(&self) -> bool {
        !self.flags.is_empty()
    }

    pub(crate) fn find(&self, argv: &[&[u8]], spans: &mut Vec<Span>) {
        let words: Vec<Word> = argv.iter().enumerate().map(|(arg, text)| Word { arg, range: 0..text.len() }).collect();
        self.command(argv, &words, 0, spans);
    }

    fn command(&self, argv: &[&[u8]], words: &[Word], depth: usize, spans: &mut Vec<Span>) {
        let text = |at: usize| words.get(at).map_or(&b""[..], |word| &argv[word.arg][word.range.clone()]);
        let mut found = Found { words, spans };
        let programs = programs(words.len(), text);
        for at in 0..words.len() {
            if self.builtin {
                self.by_name(at, text, &mut found);
                by_place(&programs, at, text, &mut found);
                for program in programs.iter().filter(|program| program.at < at) {
                    for flag in self.by_program.get(program.name).into_iter().flatten() {
                        by_flag(flag, program.at, at, text, &mut found);
                    }
                }
            }
            for flag in self.flags.iter().filter(|flag| flag.is_for(programs.iter().map(|program| program.name))) {
                let rule = (flag.name.as_bytes(), Place::Either, Part::Whole);
                behind_flag(rule, at, text, &mut found);
            }
        }
        if depth == DEPTH {
            return;
        }
        for word in words {
            let script = &argv[word.arg][word.range.clone()];
            if !script.iter().any(|byte| byte.is_ascii_whitespace()) {
                continue;
            }
            for command in commands(script) {
                let inner = |range: Range<usize>| {
                    let range = without_quotes(script, range);
                    Word { arg: word.arg, range: word.range.start + range.start..word.range.start + range.end }
                };
                let words: Vec<Word> = command.into_iter().map(inner).collect();
                let is_the_same = words.len() == 1 && words[0].range == word.range;
                if !is_the_same {
                    self.command(argv, &words, depth + 1, found.spans);
                }
            }
        }
    }

    /// `--password X`, `--password=X`, `NAME_SECRET=X`, `set NAME X`.
    fn by_name<'a>(&self, at: usize, text: impl Fn(usize) -> &'a [u8], found: &mut Found<'_>) {
        let word = text(at);
        let mut name = 0;
        // `-var=db_password=X` has the name behind the first one.
        for (equals, _) in word.iter().enumerate().filter(|(_, byte)| **byte == b'=').take(3) {
            if self.is_secret_name(&word[name..equals]) {
                return found.in_word(at, word, equals + 1);
            }
            name = equals + 1;
        }
        if name > 0 {
            return;
        }
        let is_flag = word.len() > 1 && word[0] == b'-';
        if is_flag && self.is_secret_name(word) && !text(at + 1).starts_with(b"-") {
            found.whole(at + 1, text(at + 1));
        }
        // `_authToken` of a registry: //registry.example.com/:_authToken
        let setting = word.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        if !is_flag && SETTINGS.iter().any(|name| setting.eq_ignore_ascii_case(name.as_bytes())) {
            found.whole(at + 1, text(at + 1));
        }
    }

    fn is_secret_name(&self, name: &[u8]) -> bool {
        // Longer ones are no names, but text that has a `=` somewhere.
        name.len() <= 128
            && !name.iter().any(u8::is_ascii_whitespace)
            && self.secret_name.is_match(name)
            && !self.no_secret_name.is_match(name)
    }
}

/// A program among the words.
struct Program<'a> {
    name: &'a [u8],
    at: usize,
}

/// The first word, and what a program runs that only runs others.
fn programs<'a>(count: usize, text: impl Fn(usize) -> &'a [u8]) -> Vec<Program<'a>> {
    let name = |at: usize| text(at).rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_assignment = |at: usize| text(at).contains(&b'=');
    let Some(first) = (0..count).find(|at| !is_assignment(*at)) else { return Vec::new() };
    let mut programs = vec![Program { name: name(first), at: first }];
    if WRAPPERS.iter().any(|wrapper| wrapper.as_bytes() == programs[0].name) {
        programs.extend((first + 1..count).map(|at| Program { name: name(at), at }));
    }
    programs
}

fn by_flag<'a>(
    flag: &ProgramFlag,
    program: usize,
    at: usize,
    text: impl Fn(usize) -> &'a [u8] + Copy,
    found: &mut Found<'_>,
) {
    let is_sub = |at: usize| flag.subcommand.is_none_or(|sub| text(at) == sub.as_bytes());
    if flag.subcommand.is_none() || (program + 1..at).any(is_sub) {
        behind_flag((flag.flag.as_bytes(), flag.place, flag.part), at, text, found);
    }
}

fn behind_flag<'a>(
    (flag, place, part): (&[u8], Place, Part),
    at: usize,
    text: impl Fn(usize) -> &'a [u8],
    found: &mut Found<'_>,
) {
    let word = text(at);
    let is_long = flag.starts_with(b"--");
    if place != Place::Attached && (word == flag || ends_cluster(word, flag)) {
        found.part(at + 1, text(at + 1), 0, part);
    } else if place != Place::Next && word.len() > flag.len() && word.starts_with(flag) {
        let rest = &word[flag.len()..];
        match (is_long, rest[0]) {
            (true, b'=') => found.part(at, word, flag.len() + 1, part),
            (true, _) => {}
            (false, _) => found.part(at, word, flag.len(), part),
        }
    }
}

/// `-sSu`, of which the last letter is a flag with a value.
fn ends_cluster(word: &[u8], flag: &[u8]) -> bool {
    let [b'-', letter] = flag else { return false };
    let [b'-', letters @ .., last] = word else { return false };
    last == letter && !letters.is_empty() && letters.len() <= 6 && letters.iter().all(u8::is_ascii_alphabetic)
}

/// `vault login X`; `htpasswd -b FILE USER X`.
fn by_place<'a>(programs: &[Program<'a>], at: usize, text: impl Fn(usize) -> &'a [u8], found: &mut Found<'_>) {
    for program in programs.iter().filter(|program| program.at < at) {
        let behind = |(name, sub): &&(&str, &str)| {
            program.name == name.as_bytes() && at >= program.at + 2 && text(at - 1) == sub.as_bytes()
        };
        if POSITIONS.iter().any(|position| behind(&position))
            && !text(at).starts_with(b"-")
            && !text(at).contains(&b'=')
        {
            found.whole(at, text(at));
        }
        let is_last = text(at + 1).is_empty();
        let has_flag = || (program.at + 1..at).any(|at| text(at).starts_with(b"-") && text(at).contains(&b'b'));
        if program.name == b"htpasswd" && is_last && at >= program.at + 3 && has_flag() {
            found.whole(at, text(at));
        }
    }
}

struct Found<'s> {
    words: &'s [Word],
    spans: &'s mut Vec<Span>,
}

impl Found<'_> {
    fn whole(&mut self, at: usize, text: &[u8]) {
        self.in_word(at, text, 0);
    }

    /// What stands behind so many bytes of a word, without quotes around it.
    fn in_word(&mut self, at: usize, text: &[u8], from: usize) {
        let Some(word) = self.words.get(at) else { return };
        let range = without_quotes(text, from..text.len());
        if !range.is_empty() {
            let (start, end) = (word.range.start + range.start, word.range.start + range.end);
            self.spans.push(Span { arg: word.arg, start, end });
        }
    }

    fn part(&mut self, at: usize, text: &[u8], from: usize, part: Part) {
        let Some(value) = text.get(from..) else { return };
        match part {
            Part::Whole => self.in_word(at, text, from),
            Part::After(byte) => {
                if let Some(behind) = value.iter().position(|one| *one == byte) {
                    self.in_word(at, text, from + behind + 1);
                }
            }
            Part::AfterPrefix(prefix) => {
                if value.starts_with(prefix.as_bytes()) {
                    self.in_word(at, text, from + prefix.len());
                }
            }
        }
    }
}
