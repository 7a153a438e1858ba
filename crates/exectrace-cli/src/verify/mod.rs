//! `exectrace verify`: is a log whole, and is it what was written? `docs/verify.md` says what that can prove.
//!
//! [`input`] gives lines, `line` says what each is, `record` is what is kept of it. When all is read, `chain` says which lines
//! are what was written, `account` whether a run's numbers and ledgers agree with its lines, `rollup` whether roll-ups agree
//! with the log that has all lines, `streams` what lies between runs; each adds findings, and `report` tells them.

mod account;
mod chain;
mod dropped;
mod finding;
mod line;
mod parts;
mod record;
mod report;
mod rollup;
mod streams;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use serde_json::value::RawValue;

pub(crate) use self::finding::Verdict;
pub(crate) use self::report::Report;

use self::account::Account;
use self::chain::Chained;
use self::finding::{Finding, Kind, Place};
use self::line::{Content, Message, Parsed, Time};
use self::parts::First;
use self::record::{Detail, Folded, LineKind, Link, Name, Record};
use self::rollup::{Kept, Proved, Side};
use crate::input;
use crate::seal::{AHEAD, ChainKey, KeyedReader, Run, Sealed, digest};

/// Reads inputs, one after the other, and then judges them together.
pub(crate) struct Verifier {
    key: Option<ChainKey>,
    /// What is left of it.
    ahead: u64,
    hasher: RandomState,
    runs: Vec<RunLines>,
    index: HashMap<Run, u32>,
    records: Vec<Record>,
    links: Vec<Link>,
    details: Vec<Detail>,
    folded: Vec<Folded>,
    /// Lines that others follow, by index of the run and number.
    firsts: HashMap<(u32, u64), First>,
    strays: Vec<Stray>,
    findings: Vec<Finding>,
    inputs: Vec<Input>,
}

/// What was read of an input.
#[derive(Debug, Default)]
struct Input {
    name: String,
    lines: u64,
    /// Lines of runs.
    sealed: u64,
    /// exectrace's own messages, which are no part of the log.
    diagnostics: u64,
    /// Lines of a container's stderr.
    stderr: u64,
    last_time: Option<Time>,
}

/// What is known of a run while it is read.
struct RunLines {
    run: Run,
    /// Those of its start; until that is read, those of the first line that came.
    labels: Box<str>,
    keyed: Option<KeyedReader>,
    /// The input that its last line came from, and the highest number there.
    order: (u32, u64),
}

/// Neighbouring lines that belong to no run.
struct Stray {
    kind: Kind,
    place: Place,
    last: u32,
    count: u64,
    from: Option<Time>,
    to: Option<Time>,
    /// The file ended within it.
    cut: bool,
}

impl Verifier {
    pub(crate) fn new(key: Option<ChainKey>) -> Verifier {
        Verifier {
            key,
            ahead: AHEAD,
            hasher: RandomState::new(),
            runs: Vec::new(),
            index: HashMap::new(),
            records: Vec::new(),
            links: Vec::new(),
            details: Vec::new(),
            folded: Vec::new(),
            firsts: HashMap::new(),
            strays: Vec::new(),
            findings: Vec::new(),
            inputs: Vec::new(),
        }
    }

    /// Reads one input to its end. An error is one of reading; what is wrong with the lines is told by the report.
    pub(crate) fn add(&mut self, name: String, input: impl Read) -> io::Result<()> {
        let file = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        self.inputs.push(Input { name, ..Input::default() });
        let contents = input::read(input, |line| {
            let place = Place { file, line: u32::try_from(line.number).unwrap_or(u32::MAX) };
            self.line(line.bytes, place, line.cut);
        })?;
        let Some(input) = self.inputs.last_mut() else { return Ok(()) };
        input.lines = contents.lines;
        input.stderr = contents.stderr;
        if let Some(error) = contents.damage {
            let line = u32::try_from(contents.lines).unwrap_or(u32::MAX);
            let why = format!("the compressed data cannot be read from here on: {error}");
            let finding = Finding::new(Kind::Damaged, why).times(input.last_time, None);
            self.findings.push(finding.at(Place { file, line }));
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], place: Place, cut: bool) {
        if bytes.is_empty() {
            return;
        }
        match line::parse(bytes) {
            Parsed::Sealed(seal, content) => {
                if let (Message::Broken, Some(at)) = (&content.message, line::glued(bytes)) {
                    self.stray(Kind::Torn, place, true);
                    return self.line(&bytes[at..], place, cut);
                }
                self.sealed(&seal, content, place);
            }
            Parsed::Diagnostic => {
                if let Some(input) = self.inputs.last_mut() {
                    input.diagnostics += 1;
                }
            }
            Parsed::Unsealed => self.stray(Kind::Unsealed, place, false),
            Parsed::Foreign => self.stray(Kind::Foreign, place, false),
            Parsed::Torn => self.stray(Kind::Torn, place, cut),
        }
    }

    fn stray(&mut self, kind: Kind, place: Place, cut: bool) {
        let from = self.inputs.last().and_then(|input| input.last_time);
        match self.strays.last_mut() {
            Some(last) if last.kind == kind && last.place.file == place.file && last.last + 1 == place.line && !cut => {
                last.last = place.line;
                last.count += 1;
            }
            _ => self.strays.push(Stray { kind, place, last: place.line, count: 1, from, to: None, cut }),
        }
    }

    fn sealed(&mut self, seal: &Sealed<'_>, content: Content<'_>, place: Place) {
        let index = self.run(seal.run, content.labels, &content.message);
        let mut flags = self.order(index, seal.line, place.file);
        let mut link = record::NO_LINK;
        if let Some(tag) = seal.tag {
            flags |= record::TAGGED;
            let run = &mut self.runs[position(index)];
            if let Some(keyed) = &mut run.keyed {
                match keyed.fits(seal.line, seal.body, tag, &mut self.ahead) {
                    Some(true) => flags |= record::KEY_FITS,
                    Some(false) => {}
                    None => flags |= record::KEY_TOO_FAR,
                }
            }
            if flags & record::KEY_FITS == 0 {
                link = u32::try_from(self.links.len()).unwrap_or(record::NO_LINK);
                self.links.push(Link { digest: digest(seal.body), tag });
            }
        }
        if let Some(input) = self.inputs.last_mut() {
            input.sealed += 1;
            input.last_time = content.time.or(input.last_time);
        }
        let time = self.inputs.last().and_then(|input| input.last_time).unwrap_or_default();
        if let Some(stray) = self.strays.last_mut().filter(|stray| stray.place.file == place.file) {
            stray.to = stray.to.or(content.time);
        }
        let scope = if let Message::Exec { scope, .. } = content.message { scope } else { 0 };
        if let Message::Exec { first, .. } | Message::Running(first) | Message::ExecFailed { first, .. } =
            &content.message
        {
            self.firsts.extend(first.map(|first| ((index, seal.line), first)));
        }
        let (kind, detail) = self.keep(content.message, &mut flags);
        let content = self.hasher.hash_one(unsealed(seal));
        let record = Record { line: seal.line, time, content, detail, run: index, place, link, scope, kind, flags };
        self.records.push(record);
    }

    fn run(&mut self, run: Run, labels: Option<&RawValue>, message: &Message<'_>) -> u32 {
        let labels = || labels.map_or("{}", RawValue::get).into();
        if let Some(index) = self.index.get(&run) {
            if let Message::Start(_) = message {
                self.runs[position(*index)].labels = labels();
            }
            return *index;
        }
        let index = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        let keyed = self.key.as_ref().map(|key| KeyedReader::new(key, run));
        self.runs.push(RunLines { run, labels: labels(), keyed, order: (0, 0) });
        self.index.insert(run, index);
        index
    }

    fn order(&mut self, run: u32, line: u64, file: u32) -> u8 {
        let order = &mut self.runs[position(run)].order;
        if order.0 != file {
            *order = (file, 0);
        }
        let is_behind = line < order.1;
        order.1 = order.1.max(line);
        if is_behind { record::OUT_OF_ORDER } else { 0 }
    }

    /// What the record keeps of a message, and where the rest of it is.
    fn keep(&mut self, message: Message<'_>, flags: &mut u8) -> (LineKind, u64) {
        let next = self.details.len() as u64;
        let (kind, detail) = match message {
            Message::Exec { id, truncated, folded, .. } => {
                *flags |= if truncated { record::TRUNCATED } else { 0 };
                let hash = id.as_ref().map_or(0, |id| self.hasher.hash_one(id.as_bytes()).max(1));
                let detail = folded.map_or(hash, |folded| self.fold(*folded, id.as_deref(), hash, flags));
                return (LineKind::Exec, detail);
            }
            Message::ExecFailed { folded, .. } => {
                return (LineKind::ExecFailed, folded.map_or(0, |folded| self.fold(*folded, None, 0, flags)));
            }
            Message::Exit(None) => return (LineKind::Exit, 0),
            Message::Exit(Some((number, failed))) => {
                *flags |= record::FOLDED;
                return (LineKind::Exit, 2 * number + u64::from(failed));
            }
            Message::Running(_) => return (LineKind::Running, 0),
            Message::LabelsChanged => return (LineKind::LabelsChanged, 0),
            Message::ScopeGone => return (LineKind::ScopeGone, 0),
            Message::Unknown => return (LineKind::Unknown, 0),
            Message::Broken => return (LineKind::Broken, 0),
            Message::Continued(continued) => (LineKind::Continued, Detail::Continued(continued)),
            Message::Dropped(dropped) => (LineKind::Dropped, Detail::Dropped(dropped)),
            Message::Lost(lost) => (LineKind::Lost, Detail::Lost(lost)),
            Message::Rollup(rollup) => (LineKind::Rollup, Detail::Rollup(rollup)),
            Message::Watchdog(watchdog) => (LineKind::Watchdog, Detail::Watchdog(watchdog)),
            Message::Ledger(ledger) => (LineKind::Ledger, Detail::Ledger(ledger)),
            Message::Start(start) => (LineKind::Start, Detail::Start(start)),
            Message::Stop(stop) => (LineKind::Stop, Detail::Stop(stop)),
        };
        self.details.push(detail);
        (kind, next)
    }

    /// Keeps what is part of a roll-up; returns where.
    fn fold(&mut self, folded: line::Folded<'_>, id: Option<&str>, hash: u64, flags: &mut u8) -> u64 {
        let line::Folded { rollup: number, of, uid, args } = folded;
        let of = of.map_or(0, |of| self.hasher.hash_one(&*of).max(1));
        let at = self.folded.len() as u64;
        self.folded.push(Folded { number, id: hash, name: Name::of(id), args, of, uid });
        *flags |= record::FOLDED;
        at
    }

    /// Judges all that was read; `None` if there was no line of exectrace's.
    pub(crate) fn finish(mut self) -> Option<Report> {
        if self.records.is_empty() {
            return None;
        }
        self.records.sort_unstable_by_key(|record| (record.run, record.line, record.place));
        let mut findings = std::mem::take(&mut self.findings);
        let mut summaries = Vec::with_capacity(self.runs.len());
        let mut execs = streams::Execs::default();
        let starts = streams::starts(&self.records, &self.details, &self.runs);
        let resumed = streams::resumed(&starts, &self.index, &mut findings);
        let detached = streams::detached(&self.records, &self.details);
        let pairs = rollup::pairs(&starts, &self.index, &mut findings);
        let paired: HashSet<u32> = pairs.iter().flat_map(|pair| [pair.rolled, pair.complete]).collect();
        let mut sides: HashMap<u32, Side<'_>> = HashMap::new();
        let mut rest = self.records.as_mut_slice();
        while let Some(first) = rest.first() {
            let index = first.run;
            let (records, others) = rest.split_at_mut(rest.partition_point(|record| record.run == index));
            rest = others;
            let run = self.runs[position(index)].run;
            let start = starts.get(&index);
            chain::follow_links(records, &self.links);
            let records: &[Record] = records;
            let declared = start.and_then(|start| start.start.chained.as_deref());
            let chained = chain::judge(run, records, declared, self.key.is_some(), &mut findings);
            let lines = chain::by_number(run, records, chained, &mut findings);
            let resumed = resumed.get(&index);
            let by = resumed.map(|by| account::ResumedBy {
                resumed: by.resumed.as_ref(),
                is_detached: self.index.get(&by.run).is_some_and(|index| detached.contains(index)),
            });
            let mut account = account::judge(run, &lines, &self.details, &self.folded, by, &mut findings);
            account.args_missing = parts::judge(run, &lines, &self.details, &self.firsts, &mut findings);
            let until = resumed.map_or(u64::MAX, |by| by.resumed.line);
            execs.add(start.map_or(u32::MAX - index, |start| start.stream), index, until, &lines, &self.folded);
            let (first, last, lacks_lines) = (lines[0], lines[lines.len() - 1], account.lacks_lines);
            summaries.push(Summary {
                run,
                labels: self.runs[position(index)].labels.clone(),
                version: start.map(|start| start.start.version.clone()),
                boot_id: start.map(|start| start.start.boot_id.clone()),
                scopes: start.map(|start| start.start.scopes.clone()).unwrap_or_default(),
                lines: (first.line, last.line),
                times: (first.time, last.time),
                chained,
                resumes: start.and_then(|start| start.start.resumed.as_ref()).map(|resumed| resumed.run.clone()),
                resumed_by: resumed.map(|by| by.run),
                complete: start.and_then(|start| rollup::complete_of(start.start)),
                complete_of: None,
                proved: None,
                account,
            });
            if paired.contains(&index) {
                sides.insert(index, Side { run, lines, lacks_lines });
            }
        }
        let kept = Kept { details: &self.details, folded: &self.folded, firsts: &self.firsts, hasher: &self.hasher };
        for pair in pairs {
            let (Some(rolled), Some(complete)) = (sides.remove(&pair.rolled), sides.remove(&pair.complete)) else {
                continue;
            };
            let proved = rollup::compare(kept, &rolled, &complete, &mut findings);
            if let Some(summary) = summaries.get_mut(position(pair.rolled)) {
                summary.proved = Some(proved);
            }
            if let Some(summary) = summaries.get_mut(position(pair.complete)) {
                summary.complete_of = Some(rolled.run);
            }
        }
        streams::between(&starts, &summaries, &mut findings);
        dropped::explain(&self.details, &mut findings);
        execs.doubled(&summaries, &self.records, &mut findings);
        findings.extend(self.strays.into_iter().map(Stray::told));
        Some(Report::new(summaries, findings, self.inputs))
    }
}

/// One run, as the report tells it.
#[derive(Debug)]
struct Summary {
    run: Run,
    /// As JSON.
    labels: Box<str>,
    /// These are of its start, and not known without it.
    version: Option<String>,
    boot_id: Option<String>,
    scopes: Vec<line::Scope>,
    lines: (u64, u64),
    /// Of the first and the last line.
    times: (Time, Time),
    chained: Chained,
    resumes: Option<String>,
    resumed_by: Option<Run>,
    /// The run that has all lines, of one that has roll-ups.
    complete: Option<Run>,
    /// The run whose lines it has all; they count once, there.
    complete_of: Option<Run>,
    /// What comparing the two has shown; `None` if one of them is not there.
    proved: Option<Proved>,
    account: Account,
}

impl Stray {
    fn told(self) -> Finding {
        let lines = if self.count == 1 { "1 line".to_owned() } else { format!("{} lines", self.count) };
        let why = match self.kind {
            Kind::Torn if self.cut => "a line that is cut in the middle".to_owned(),
            Kind::Torn => format!("{lines} of no JSON: cut, or not exectrace's"),
            Kind::Unsealed => format!("{lines} of the log without a number: edited, or of a version that gives none"),
            _ => format!("{lines} of JSON that is not exectrace's"),
        };
        Finding::new(self.kind, why).times(self.from, self.to).at(self.place)
    }
}

/// A line without its number and its tag: what a log beside it has, too.
fn unsealed<'a>(seal: &Sealed<'a>) -> &'a [u8] {
    let number = format!(",\"line\":\"{}-{}\"", seal.run, seal.line);
    seal.body.strip_suffix(number.as_bytes()).unwrap_or(seal.body)
}

fn position(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
