//! The chain of one run, and its lines by number: which of them are what was written.

use super::finding::{Finding, Kind, Place};
use super::line::Time;
use super::record::{
    CHAIN, KEY_FITS, KEY_TOO_FAR, LINK_BROKEN, LINK_FITS, LineKind, Link, NO_LINK, OUT_OF_ORDER, Record, TAGGED,
};
use crate::seal::{KEYED, LINKED, Run, Tag, link};

/// What a run's chain turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chained {
    No,
    Linked,
    Keyed,
    /// Chained, but how cannot be told, or not be checked.
    Unchecked,
}

impl Chained {
    pub(super) fn name(self) -> &'static str {
        match self {
            Chained::No => "none",
            Chained::Linked => LINKED,
            Chained::Keyed => KEYED,
            Chained::Unchecked => "unchecked",
        }
    }
}

/// Follows the links of a run's lines, which are sorted by number.
pub(super) fn follow_links(lines: &mut [Record], links: &[Link]) {
    let link_of = |record: &Record| links.get(usize::try_from(record.link).unwrap_or(usize::MAX));
    // Tags that may stand before a line: those that the line before has, and that it should have had. So one line that
    // was changed breaks one link and not two.
    let mut before: (u64, Vec<Tag>) = (0, vec![Tag::default()]);
    let mut at = 0;
    while at < lines.len() {
        let number = lines[at].line;
        let end = at + lines[at..].iter().take_while(|record| record.line == number).count();
        let follows = before.0 + 1 == number;
        let mut tags = Vec::new();
        for record in &mut lines[at..end] {
            let Some(Link { digest, tag }) = link_of(record).filter(|_| record.link != NO_LINK) else { continue };
            if follows && !before.1.is_empty() {
                let due = before.1.iter().map(|before| link(*before, digest));
                let mut fits = false;
                for due in due {
                    fits |= due == *tag;
                    tags.push(due);
                }
                record.flags |= if fits { LINK_FITS } else { LINK_BROKEN };
            }
            tags.push(*tag);
        }
        tags.dedup();
        // Many lines with one number must not make work that grows with each further line.
        tags.truncate(8);
        before = (number, tags);
        at = end;
    }
}

/// What the chain says of a run; `declared` is what its start says.
pub(super) fn judge(
    run: Run,
    lines: &[Record],
    declared: Option<&str>,
    key_given: bool,
    findings: &mut Vec<Finding>,
) -> Chained {
    let all = || {
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        move |kind, why: &str| {
            Finding::new(kind, why)
                .run(run)
                .lines(first.line, last.line)
                .times(Some(first.time), Some(last.time))
                .execs(Some(0))
                .at(first.place)
        }
    };
    let any = |flag| lines.iter().any(|record| record.has(flag));
    if !any(TAGGED) && declared.is_none() {
        if key_given {
            findings.push(all()(
                Kind::NotKeyed,
                "a key was given, and this run is not chained: anybody could have written it",
            ));
        }
        return Chained::No;
    }
    let chained = match declared {
        _ if any(KEY_FITS) => Chained::Keyed,
        _ if any(LINK_FITS) => Chained::Linked,
        Some(LINKED) => Chained::Linked,
        Some(KEYED) | None if key_given => {
            let why = "no line of this run fits the key: it is another key, or somebody wrote this run without it";
            findings.push(all()(Kind::WrongKey, why));
            return Chained::Unchecked;
        }
        Some(KEYED) | None => Chained::Unchecked,
        Some(_) => {
            findings.push(all()(Kind::Unchecked, "chained in a way that this version does not know"));
            return Chained::Unchecked;
        }
    };
    match chained {
        Chained::Unchecked => {
            findings.push(all()(Kind::Unchecked, "chained with a key: it cannot be checked without --chain-key"));
        }
        Chained::Linked if key_given => {
            let why = "a key was given, and this run is chained without one: anybody could have written it";
            findings.push(all()(Kind::NotKeyed, why));
        }
        _ => {}
    }
    let spans = |kind, why: &str, is_so: &dyn Fn(&Record) -> bool, findings: &mut Vec<Finding>| {
        spans(run, kind, why, lines.iter().filter(|record| is_so(record)), findings);
    };
    let edited = "not the line that was written: its tag does not fit";
    match chained {
        Chained::Keyed => {
            let is_edited = |record: &Record| record.has(TAGGED) && !record.has(KEY_FITS) && !record.has(KEY_TOO_FAR);
            spans(Kind::Edited, edited, &is_edited, findings);
            let too_far = "its number is so far from all others that its key was not made";
            spans(Kind::Unchecked, too_far, &|record| record.has(KEY_TOO_FAR), findings);
        }
        Chained::Linked => spans(Kind::Edited, edited, &|record| record.has(LINK_BROKEN), findings),
        _ => {}
    }
    spans(Kind::Untagged, "a line without a tag in a run that is chained", &|record| !record.has(TAGGED), findings);
    chained
}

/// The lines of a run, one for each number: the one that its chain confirms, otherwise the first one. Names the others.
pub(super) fn by_number<'a>(
    run: Run,
    lines: &'a [Record],
    chained: Chained,
    findings: &mut Vec<Finding>,
) -> Vec<&'a Record> {
    let fits = match chained {
        Chained::Keyed => KEY_FITS,
        Chained::Linked => LINK_FITS,
        _ => 0,
    };
    let mut chosen = Vec::with_capacity(lines.len());
    let (mut doubled, mut conflicts, mut reordered) = (Vec::new(), Vec::new(), Vec::new());
    for same in lines.chunk_by(|a, b| a.line == b.line) {
        chosen.push(same.iter().find(|record| record.has(fits)).unwrap_or(&same[0]));
        if let [first, others @ .., last] = same {
            // Of two that differ in their tags one fits at most.
            let is_same =
                |record: &Record| record.content == first.content && record.flags & CHAIN == first.flags & CHAIN;
            if others.iter().chain([last]).all(is_same) {
                doubled.push(last);
            } else {
                conflicts.extend(others.iter().chain([last]).find(|record| !is_same(record)));
            }
        } else if same[0].has(OUT_OF_ORDER) {
            reordered.push(&same[0]);
        }
    }
    spans(run, Kind::Doubled, "the same line more than once", doubled, findings);
    spans(
        run,
        Kind::Conflict,
        "two different lines with one number: one of them is edited or forged",
        conflicts,
        findings,
    );
    let why = "stands after a line with a higher number: the lines were put into another order";
    spans(run, Kind::Reordered, why, reordered, findings);
    let broken = lines.iter().filter(|record| record.kind == LineKind::Broken);
    spans(run, Kind::Unreadable, "has a number, and cannot be read", broken, findings);
    chosen
}

/// One finding for each row of neighbours.
fn spans<'a>(
    run: Run,
    kind: Kind,
    why: &str,
    lines: impl IntoIterator<Item = &'a Record>,
    findings: &mut Vec<Finding>,
) {
    struct Span {
        lines: (u64, u64),
        times: (Time, Time),
        place: Place,
    }
    let mut spans: Vec<Span> = Vec::new();
    for record in lines {
        match spans.last_mut() {
            Some(span) if record.line - span.lines.1 <= 1 => {
                span.lines.1 = record.line;
                span.times = (span.times.0.min(record.time), span.times.1.max(record.time));
            }
            _ => spans.push(Span {
                lines: (record.line, record.line),
                times: (record.time, record.time),
                place: record.place,
            }),
        }
    }
    // These say nothing of execs that are missing, but for a line that cannot be read.
    let execs = (kind != Kind::Unreadable).then_some(0);
    findings.extend(spans.into_iter().map(|Span { lines, times, place }| {
        Finding::new(kind, why)
            .run(run)
            .lines(lines.0, lines.1)
            .times(Some(times.0), Some(times.1))
            .execs(execs)
            .at(place)
    }));
}
