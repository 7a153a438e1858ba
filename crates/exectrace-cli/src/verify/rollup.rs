//! Two logs of the same: one whose roll-ups stand for many, and the one beside it that has all lines. Does each roll-up say
//! what its lines say, and has each of the others a line in both?
//!
//! What one of them lacks, and says so or shows by its numbers, cannot be compared; that is a gap. What cannot be true
//! whatever is missing, or is not so although nothing is missing, is a change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserializer, de};
use sha2::{Digest, Sha256};

use super::finding::{Finding, Kind};
use super::line::{Rollup, Start, Text};
use super::parts::First;
use super::record::{Detail, FOLDED, Folded, LineKind, Name, Record};
use super::streams::Started;
use crate::seal::Run;

/// The run that a run with roll-ups says has all lines.
pub(super) fn complete_of(start: &Start) -> Option<Run> {
    Run::parse(start.rollup.as_ref()?.complete.as_ref()?.as_bytes())
}

/// A run with roll-ups, and the one with all lines, by their indices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) rolled: u32,
    pub(super) complete: u32,
}

/// The runs that belong together, of those that are there.
pub(super) fn pairs(
    starts: &BTreeMap<u32, Started<'_>>,
    index: &HashMap<Run, u32>,
    findings: &mut Vec<Finding>,
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut taken = HashSet::new();
    for (rolled, started) in starts {
        let Some(run) = complete_of(started.start) else { continue };
        let Some(complete) = index.get(&run).copied() else { continue };
        let why = if starts.get(&complete).is_some_and(|complete| complete.start.rollup.is_some()) {
            format!("says that run {run} has all lines, which folds some itself")
        } else if !taken.insert(complete) {
            format!("says that run {run} has all lines, which another run says, too")
        } else {
            pairs.push(Pair { rolled: *rolled, complete });
            continue;
        };
        let finding = Finding::new(Kind::Contradiction, why).run(started.run).lines(1, 1).execs(Some(0));
        findings.push(finding.times(Some(started.time), Some(started.time)).at(started.place));
    }
    pairs
}

/// SHA-256 over an array of strings as bytes, each with a NUL; `None` if it is none that the log's writer made.
pub(super) fn digest_of_args(array: &str) -> Option<[u8; 32]> {
    struct Args;
    impl<'de> Visitor<'de> for Args {
        type Value = Sha256;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Sha256, A::Error> {
            let mut hash = Sha256::new();
            while let Some(Text(arg)) = elements.next_element()? {
                add_bytes(&arg, &mut hash).ok_or_else(|| de::Error::custom("digits of a byte are missing"))?;
                hash.update([0]);
            }
            Ok(hash)
        }
    }
    let hash = serde_json::Deserializer::from_str(array).deserialize_seq(Args).ok()?;
    Some(hash.finalize().into())
}

/// Adds what a string of the log stands for: behind each replacement character are the two digits of one byte.
fn add_bytes(text: &str, hash: &mut Sha256) -> Option<()> {
    let mut pieces = text.split(char::REPLACEMENT_CHARACTER);
    hash.update(pieces.next()?);
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_byte = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hash.update([u8::from_str_radix(digits, 16).ok().filter(|_| is_byte)?]);
        hash.update(rest);
    }
    Some(())
}

/// 32 bytes as 64 digits.
pub(super) fn parse_digest(digits: &str) -> Option<[u8; 32]> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|pair| {
        let is_byte = pair.iter().all(u8::is_ascii_hexdigit);
        u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|_| is_byte)?, 16).ok()
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// What is kept beside the records.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) details: &'a [Detail],
    pub(super) folded: &'a [Folded],
    pub(super) firsts: &'a HashMap<(u32, u64), First>,
    pub(super) hasher: &'a RandomState,
}

/// One of two runs that are compared.
pub(super) struct Side<'a> {
    pub(super) run: Run,
    /// One for each number.
    pub(super) lines: Vec<&'a Record>,
    /// Some are missing that could count, whatever happened to them.
    pub(super) lacks_lines: bool,
}

/// Roll-ups that say what their lines say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Proved {
    pub(super) rollups: u64,
    /// And attempts that failed.
    pub(super) execs: u64,
}

/// Compares a run with roll-ups with the one that has all lines.
pub(super) fn compare(kept: Kept<'_>, rolled: &Side<'_>, complete: &Side<'_>, findings: &mut Vec<Finding>) -> Proved {
    let mut comparison = Comparison { kept, rolled, complete, findings, proved: Proved::default() };
    comparison.rollups();
    comparison.others();
    comparison.proved
}

struct Comparison<'a> {
    kept: Kept<'a>,
    rolled: &'a Side<'a>,
    complete: &'a Side<'a>,
    findings: &'a mut Vec<Finding>,
    proved: Proved,
}

/// Lines that cannot be compared, and why.
#[derive(Default)]
struct Open<'a> {
    count: u64,
    first: Option<&'a Record>,
    last: Option<&'a Record>,
    whys: BTreeSet<&'static str>,
}

impl<'a> Open<'a> {
    fn add(&mut self, lines: &[&'a Record], why: &'static str) {
        self.count += 1;
        let all = lines.iter().copied();
        self.first = all.clone().chain(self.first).min_by_key(|record| record.line);
        self.last = all.chain(self.last).max_by_key(|record| record.line);
        self.whys.insert(why);
    }
}

/// What does not fit.
#[derive(Default)]
struct Differences {
    /// Whatever is missing, it cannot be so.
    certain: Vec<String>,
    /// If nothing is missing it cannot be so.
    if_whole: Vec<String>,
    /// Why something could not be looked at.
    open: Option<&'static str>,
}

impl<'a> Comparison<'a> {
    /// Each roll-up against its lines.
    fn rollups(&mut self) {
        let folded = self.complete.lines.iter().filter(|record| record.has(FOLDED));
        let mut folded: Vec<(u64, &Record)> = folded.map(|record| (self.number(record), *record)).collect();
        folded.sort_unstable_by_key(|(number, record)| (*number, record.line));
        let mut told: Vec<(u64, &Record, &Rollup)> = self.rolled.lines.iter().filter_map(|r| self.rollup(r)).collect();
        told.sort_unstable_by_key(|(number, record, _)| (*number, record.line));
        let mut open = Open::default();
        let mut untold = Open::default();
        let mut folded = folded.as_slice();
        let mut before = None;
        for (number, record, rollup) in told {
            if before.replace(number) == Some(number) {
                self.differ(self.rolled, &[record], format!("roll-up {number} is told more than once"));
                continue;
            }
            let (without, rest) = folded.split_at(folded.partition_point(|(of, _)| *of < number));
            self.without_a_rollup(without, &mut untold);
            let (its, rest) = rest.split_at(rest.partition_point(|(of, _)| *of == number));
            folded = rest;
            let its: Vec<&Record> = its.iter().map(|(_, record)| *record).collect();
            self.one_rollup(record, rollup, &its, &mut open);
        }
        self.without_a_rollup(folded, &mut untold);
        let why = format!("cannot be held against the lines of run {}", self.complete.run);
        self.not_comparable(self.rolled, &open, "roll-up", &why);
        let why = format!("that these lines name have no line in run {}", self.rolled.run);
        self.not_comparable(self.complete, &untold, "roll-up", &why);
    }

    /// Lines of roll-ups of which the other run does not tell.
    fn without_a_rollup(&mut self, lines: &[(u64, &'a Record)], untold: &mut Open<'a>) {
        for same in lines.chunk_by(|a, b| a.0 == b.0) {
            let number = same[0].0;
            let lines: Vec<&Record> = same.iter().map(|(_, record)| *record).collect();
            if self.rolled.lacks_lines {
                untold.add(&lines, LACKS_LINES);
            } else {
                let run = self.rolled.run;
                let why =
                    format!("{} of roll-up {number}, of which run {run} does not tell", lines_in_words(lines.len()));
                self.differ(self.complete, &lines, why);
            }
        }
    }

    fn one_rollup(&mut self, record: &'a Record, rollup: &Rollup, lines: &[&Record], open: &mut Open<'a>) {
        let Differences { certain, if_whole, open: why } = self.differences(rollup, lines);
        let is_certain = !certain.is_empty() || !if_whole.is_empty() && !self.complete.lacks_lines;
        if is_certain {
            let run = self.complete.run;
            let what = certain.into_iter().chain(if_whole).collect::<Vec<_>>().join("; ");
            let why = format!("roll-up {} and the lines of run {run} that it stands for differ: {what}", rollup.number);
            self.differ(self.rolled, &[record], why);
        } else if !if_whole.is_empty() {
            open.add(&[record], LACKS_LINES);
        } else if let Some(why) = why {
            open.add(&[record], why);
        } else {
            self.proved.rollups += 1;
            self.proved.execs = self.proved.execs.saturating_add(rollup.count);
        }
    }

    fn differences(&self, rollup: &Rollup, lines: &[&Record]) -> Differences {
        let mut differences = Differences::default();
        let its: Vec<(&Record, &Folded)> =
            lines.iter().filter_map(|record| Some((*record, record.folded(self.kept.folded)?))).collect();
        let kind = if rollup.failed { LineKind::ExecFailed } else { LineKind::Exec };
        let of = self.kept.hasher.hash_one(&*rollup.of).max(1);
        let certain = &mut differences.certain;
        if its.iter().any(|(record, folded)| record.kind != kind || folded.of != of && folded.of != 0) {
            certain.push(if rollup.failed { "another error" } else { "another file" }.to_owned());
        }
        if its.iter().any(|(_, folded)| folded.uid != rollup.uid) {
            certain.push("another user".to_owned());
        }
        let is_others = |record: &Record| rollup.scope.is_some_and(|scope| ![0, scope].contains(&record.scope));
        if its.iter().any(|(record, _)| is_others(record)) {
            certain.push("another scope".to_owned());
        }
        let count = its.len() as u64;
        let exits = lines.iter().filter(|record| record.kind == LineKind::Exit);
        let failures = exits.clone().filter(|record| record.detail & 1 == 1).count() as u64;
        let what = if rollup.failed { "attempts" } else { "execs" };
        for (told, has, what) in [
            (rollup.count, count, what),
            (rollup.exits, exits.count() as u64, "ends"),
            (rollup.failures, failures, "failures"),
        ] {
            differences.count(told, has, what);
        }
        self.compare_times(rollup, lines, &mut differences);
        if count == rollup.count {
            self.compare_lists(rollup, &its, &mut differences);
        }
        differences
    }

    fn compare_times(&self, rollup: &Rollup, lines: &[&Record], differences: &mut Differences) {
        let last = lines.iter().map(|record| record.time).max();
        if last.is_some_and(|last| last > rollup.last) {
            differences.certain.push("one that is later than the last".to_owned());
        } else if lines.first().is_some_and(|first| first.time != rollup.first) || last != Some(rollup.last) {
            differences.if_whole.push("other times".to_owned());
        }
    }

    /// The exact list, of which none is missing and none too many.
    fn compare_lists(&self, rollup: &Rollup, its: &[(&Record, &Folded)], differences: &mut Differences) {
        let mut distinct: Vec<&[u8; 32]> = its.iter().map(|(_, folded)| &folded.args).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let distinct = distinct.len() as u64;
        let goes_on = |record: &Record| self.kept.firsts.contains_key(&(record.run, record.line));
        if its.iter().any(|(record, _)| goes_on(record)) {
            differences.open = Some("one goes on in other lines, so that not all of its arguments were compared");
            return;
        }
        if distinct < rollup.distinct || distinct > rollup.distinct && !rollup.distinct_at_least {
            let told = rollup.distinct;
            differences.certain.push(format!("{told} different argument lists told, and {distinct} there"));
        }
        if !rollup.failed && its.iter().any(|(_, folded)| folded.name == Name::None) {
            differences.open = Some("the lines have no ids");
            return;
        }
        let mut hash = Sha256::new();
        for (_, folded) in its {
            hash.update(folded.name.to_string().as_bytes());
            hash.update([0]);
            hash.update(folded.args);
        }
        if <[u8; 32]>::from(hash.finalize()) != rollup.sha256 {
            differences.certain.push("another list, by its hash: of arguments, ids or their order".to_owned());
        }
    }

    /// What has a line of its own must have one in both.
    fn others(&mut self) {
        let (rolled, complete) = (self.unfolded(self.rolled), self.unfolded(self.complete));
        let (mut of_rolled, mut of_complete) = (rolled.as_slice(), complete.as_slice());
        let (mut only_rolled, mut only_complete, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            match (of_rolled.split_first(), of_complete.split_first()) {
                (Some((one, rest)), Some((other, others))) if one.key == other.key => {
                    let is_same = one.content == other.content || one.content == 0 || other.content == 0;
                    changed.extend((!is_same).then_some(one.record));
                    (of_rolled, of_complete) = (rest, others);
                }
                (Some((one, rest)), other) if other.is_none_or(|(other, _)| one.key < other.key) => {
                    only_rolled.push(one.record);
                    of_rolled = rest;
                }
                (_, Some((other, others))) => {
                    only_complete.push(other.record);
                    of_complete = others;
                }
                _ => break,
            }
        }
        if !changed.is_empty() {
            let which = lines_in_words(changed.len());
            let why = format!("{which} of these that tell of an exec something else than run {}", self.complete.run);
            self.differ(self.rolled, &changed, why);
        }
        self.only_in(self.rolled, self.complete, &only_rolled);
        self.only_in(self.complete, self.rolled, &only_complete);
    }

    fn only_in(&mut self, side: &'a Side<'a>, other: &Side<'_>, lines: &[&'a Record]) {
        if lines.is_empty() {
            return;
        }
        let why = format!("of these that run {} does not have", other.run);
        if other.lacks_lines {
            let mut open = Open::default();
            lines.iter().for_each(|record| open.add(&[record], LACKS_LINES));
            self.not_comparable(side, &open, "line", &why);
        } else {
            self.differ(side, lines, format!("{} {why}", lines_in_words(lines.len())));
        }
    }

    /// What a run tells that is part of no roll-up, sorted.
    fn unfolded(&self, side: &Side<'a>) -> Vec<Other<'a>> {
        let kinds = [LineKind::Exec, LineKind::ExecFailed, LineKind::Exit];
        let lines = side.lines.iter().copied().filter(|record| !record.has(FOLDED) && kinds.contains(&record.kind));
        let other = |record: &'a Record| {
            // What goes on in other lines may be divided among them in another way.
            let goes_on = self.kept.firsts.contains_key(&(record.run, record.line));
            let content = if goes_on { 0 } else { record.content };
            let id = if record.kind == LineKind::Exec { record.detail } else { 0 };
            let key = if id == 0 { (record.kind, content) } else { (LineKind::Exec, id) };
            Other { key: (id != 0, key.0 as u8, key.1), content, record }
        };
        let mut others: Vec<Other<'_>> = lines.map(other).collect();
        others.sort_unstable_by_key(|other| (other.key, other.content, other.record.line));
        others
    }

    /// That of a folded line.
    fn number(&self, record: &Record) -> u64 {
        record.folded(self.kept.folded).map_or(record.detail >> 1, |folded| folded.number)
    }

    fn rollup(&self, record: &'a Record) -> Option<(u64, &'a Record, &'a Rollup)> {
        match record.detail(self.kept.details) {
            Some(Detail::Rollup(rollup)) if record.kind == LineKind::Rollup => Some((rollup.number, record, rollup)),
            _ => None,
        }
    }

    fn differ(&mut self, side: &Side<'_>, lines: &[&Record], why: String) {
        self.tell(Kind::LogsDiffer, side, lines, why);
    }

    fn not_comparable(&mut self, side: &Side<'_>, open: &Open<'_>, what: &str, why: &str) {
        let (Some(first), Some(last)) = (open.first, open.last) else { return };
        let plural = if open.count == 1 { "" } else { "s" };
        let whys = open.whys.iter().copied().collect::<Vec<_>>().join(", or ");
        self.tell(Kind::NotComparable, side, &[first, last], format!("{} {what}{plural} {why}: {whys}", open.count));
    }

    fn tell(&mut self, kind: Kind, side: &Side<'_>, lines: &[&Record], why: String) {
        let ends = (lines.iter().min_by_key(|record| record.line), lines.iter().max_by_key(|record| record.line));
        let (Some(first), Some(last)) = ends else { return };
        let finding = Finding::new(kind, why).run(side.run).lines(first.line, last.line).execs(Some(0));
        self.findings.push(finding.times(Some(first.time), Some(last.time)).at(first.place));
    }
}

const LACKS_LINES: &str = "lines are missing there";

/// Something that has a line of its own.
struct Other<'a> {
    /// An exec by its id, all else by what it says.
    key: (bool, u8, u64),
    /// 0 if that is not to be compared.
    content: u64,
    record: &'a Record,
}

impl Differences {
    fn count(&mut self, told: u64, has: u64, what: &str) {
        let why = || format!("{told} {what} told, and {has} there");
        if has > told {
            self.certain.push(why());
        } else if has < told {
            self.if_whole.push(why());
        }
    }
}

fn lines_in_words(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}
