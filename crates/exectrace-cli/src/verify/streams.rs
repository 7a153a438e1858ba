//! What lies between runs: which one goes on from which, when nobody watched, and execs that two lines tell.
//!
//! A *stream* is what runs of exectrace watch one after the other: the same scopes, with the same labels, in the same boot
//! of the machine. Time between two runs of one stream is a gap; two runs of different workspaces have nothing to do with
//! each other, whenever they ran, and may both see one exec. A run that goes on from another is of the
//! other's. Runs that have all lines of others, which have roll-ups, are a stream beside that of the others. A run without
//! its start is a stream of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::finding::{Finding, Kind, Place};
use super::line::{Resumed, Start, Time, Unwatched, parse_time};
use super::record::{Detail, Folded, LineKind, Record};
use super::rollup::complete_of;
use super::{RunLines, Summary, position};
use crate::seal::Run;

/// The start of a run.
pub(super) struct Started<'a> {
    pub(super) start: &'a Start,
    /// Equal for runs of one stream.
    pub(super) stream: u32,
    pub(super) run: Run,
    pub(super) time: Time,
    pub(super) place: Place,
}

/// A run that goes on from another one.
#[derive(Clone)]
pub(super) struct ResumedBy<'a> {
    pub(super) run: Run,
    /// What it says of the run that it goes on from.
    pub(super) resumed: Cow<'a, Resumed>,
    time: Time,
}

/// Starts by the index of their run. `records` are sorted.
pub(super) fn starts<'a>(records: &[Record], details: &'a [Detail], runs: &[RunLines]) -> BTreeMap<u32, Started<'a>> {
    let mut streams: HashMap<Stream<'_>, u32> = HashMap::new();
    let mut starts = BTreeMap::new();
    let first = |record: &&Record| record.kind == LineKind::Start && record.line == 1;
    let told = || {
        records.iter().filter(first).filter_map(|record| match record.detail(details) {
            Some(Detail::Start(start)) => Some((record, start)),
            _ => None,
        })
    };
    let complete: HashSet<Run> = told().filter_map(|(_, start)| complete_of(start)).collect();
    for (record, start) in told() {
        let run = &runs[position(record.run)];
        let next = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let stream = Stream::of(start, &run.labels, complete.contains(&run.run));
        let stream = *streams.entry(stream).or_insert(next);
        let (run, time, place) = (run.run, record.time, record.place);
        starts.entry(record.run).or_insert(Started { start, stream, run, time, place });
    }
    inherit(&mut starts);
    starts
}

/// What is the same for all runs of a stream.
#[derive(PartialEq, Eq, Hash)]
struct Stream<'a> {
    boot_id: &'a str,
    labels: &'a str,
    /// Kinds and names, in the order of the alphabet.
    scopes: Vec<(&'a str, &'a str)>,
    /// Another run says that this one has all lines.
    is_complete: bool,
}

impl<'a> Stream<'a> {
    fn of(start: &'a Start, labels: &'a str, is_complete: bool) -> Stream<'a> {
        let scopes = start.scopes.iter().map(|scope| (scope.kind.as_str(), scope.of.as_str()));
        let mut scopes: Vec<(&str, &str)> = scopes.collect();
        scopes.sort_unstable();
        Stream { boot_id: &start.boot_id, labels, scopes, is_complete }
    }
}

/// A run that goes on from another one is of its stream, whatever it calls its scopes.
fn inherit(starts: &mut BTreeMap<u32, Started<'_>>) {
    let indices: HashMap<Run, u32> = starts.iter().map(|(index, started)| (started.run, *index)).collect();
    let mut in_order: Vec<(Time, u32)> = starts.iter().map(|(index, started)| (started.time, *index)).collect();
    in_order.sort_unstable();
    for (_, index) in in_order {
        let before = starts[&index].start.resumed.as_ref().and_then(|resumed| Run::parse(resumed.run.as_bytes()));
        let stream = before.and_then(|before| Some(starts.get(indices.get(&before)?)?.stream));
        if let (Some(stream), Some(started)) = (stream, starts.get_mut(&index)) {
            started.stream = stream;
        }
    }
}

/// Which run goes on from which, by the index of the one that was resumed.
pub(super) fn resumed<'a>(
    starts: &BTreeMap<u32, Started<'a>>,
    index: &HashMap<Run, u32>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<u32, ResumedBy<'a>> {
    let mut claims: BTreeMap<u32, Vec<(u32, ResumedBy<'a>)>> = BTreeMap::new();
    for (own, started) in starts {
        let Some(resumed) = &started.start.resumed else { continue };
        let finding = |kind, why: String| Finding::new(kind, why).run(started.run).lines(1, 1).at(started.place);
        let before = Run::parse(resumed.run.as_bytes()).filter(|run| *run != started.run);
        let Some(before) = before else {
            findings
                .push(finding(Kind::Contradiction, format!("goes on from {:?}, which is no other run", resumed.run)));
            continue;
        };
        let Some(index) = index.get(&before) else {
            // A run that was killed before it wrote its first line.
            if resumed.line == 0 {
                continue;
            }
            let why =
                format!("run {started} goes on from this one, which is not in these files", started = started.run);
            let missing = Finding::new(Kind::MissingRun, why).run(before).lines(1, resumed.line);
            let told = resumed.execs.written;
            findings.push(missing.times(None, Some(started.time)).execs(Some(told)).at(started.place));
            continue;
        };
        claims
            .entry(*index)
            .or_default()
            .push((*own, ResumedBy { run: started.run, resumed: Cow::Borrowed(resumed), time: started.time }));
    }
    let mut all: BTreeMap<u32, ResumedBy<'a>> = BTreeMap::new();
    for (before, mut claims) in claims {
        claims.sort_by_key(|(_, by)| by.time);
        let Some((_, last)) = claims.pop() else { continue };
        // Those before it were killed before they could state how far they had come: it tells all that they told again.
        for (own, by) in claims {
            let nothing = Resumed { line: 0, ..by.resumed.into_owned() };
            all.insert(own, ResumedBy { resumed: Cow::Owned(nothing), ..last.clone() });
        }
        all.insert(before, last);
    }
    all
}

/// Runs that told what was left by one that was killed while it stopped.
pub(super) fn detached(records: &[Record], details: &[Detail]) -> HashSet<u32> {
    let stops = records.iter().filter(|record| record.kind == LineKind::Stop);
    let of_detached = stops.filter(|record| {
        let detail = record.detail(details);
        matches!(detail, Some(Detail::Stop(stop)) if stop.why == "detached")
    });
    of_detached.map(|record| record.run).collect()
}

/// When nobody watched.
pub(super) fn between(starts: &BTreeMap<u32, Started<'_>>, summaries: &[Summary], findings: &mut Vec<Finding>) {
    let mut in_order: Vec<(u32, &Started<'_>)> = starts.iter().map(|(index, started)| (*index, started)).collect();
    in_order.sort_by_key(|(_, started)| (started.stream, started.time));
    let mut before: Option<Watched> = None;
    for (index, started) in in_order {
        let Some(summary) = summaries.get(position(index)) else { continue };
        let same_stream = before.take().filter(|before| before.stream == started.stream);
        if let Some(unwatched) = &started.start.unwatched {
            findings.push(told(started, unwatched));
        } else if started.start.resumed.is_none()
            && let Some(before) = same_stream.as_ref().filter(|before| before.until < started.time && !before.is_told)
        {
            let why = format!("not watched between the end of run {} and this run's start", before.run);
            findings.push(unwatched(started, Some(before.until), Some(started.time), why));
        }
        if let Some(before) = same_stream.as_ref().filter(|before| before.until < started.time) {
            close(before.run, started.time, findings);
        }
        let this = Watched::of(started, summary);
        if this.is_pinned {
            let why = "the kernel program went on, no run in these files took over from it";
            let finding = Finding::new(Kind::NotResumed, why).run(started.run).lines(summary.lines.1, summary.lines.1);
            findings.push(finding.times(Some(this.until), None));
        }
        before = match same_stream {
            Some(before) if before.until > this.until => Some(before),
            _ => Some(this),
        };
    }
}

/// How far a stream was watched, and by whom.
struct Watched {
    stream: u32,
    run: Run,
    until: Time,
    /// A finding of that run's own says what followed.
    is_told: bool,
    is_pinned: bool,
}

impl Watched {
    fn of(started: &Started<'_>, summary: &Summary) -> Watched {
        let stop = summary.account.stop.as_ref();
        let is_resumed = summary.resumed_by.is_some();
        let is_pinned = stop.is_some_and(|(_, _, pinned)| *pinned) && !is_resumed;
        let until = stop.map_or(summary.times.1, |(time, _, _)| *time);
        Watched { stream: started.stream, run: started.run, until, is_told: is_pinned || stop.is_none(), is_pinned }
    }
}

/// What a run says of the time before it.
fn told(started: &Started<'_>, time: &Unwatched) -> Finding {
    let time_of = |text: &Option<String>| text.as_deref().and_then(parse_time);
    let why = "not watched, as the run itself says".to_owned();
    unwatched(started, time_of(&time.from), time_of(&time.to).or(Some(started.time)), why)
}

fn unwatched(started: &Started<'_>, from: Option<Time>, to: Option<Time>, why: String) -> Finding {
    Finding::new(Kind::Unwatched, why).run(started.run).lines(1, 1).times(from, to).at(started.place)
}

/// The next run of the stream ends what is not known of a run without an end.
fn close(run: Run, at: Time, findings: &mut [Finding]) {
    let open = findings.iter_mut().filter(|finding| finding.run == Some(run) && finding.to.is_none());
    open.filter(|finding| matches!(finding.kind, Kind::MissingEnd | Kind::NotResumed))
        .for_each(|finding| finding.to = Some(at));
}

/// The execs of all runs, to find those that two lines tell.
#[derive(Default)]
pub(super) struct Execs(Vec<Exec>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exec {
    id: u64,
    stream: u32,
    run: u32,
    line: u64,
}

impl Execs {
    /// Adds those of a run up to `until`, from where on another run tells them again.
    pub(super) fn add(&mut self, stream: u32, run: u32, until: u64, lines: &[&Record], folded: &[Folded]) {
        let told_once = lines.iter().filter(|record| record.line <= until);
        let execs = told_once.filter(|record| record.kind == LineKind::Exec);
        let execs = execs.map(|record| Exec { id: record.exec_id(folded), stream, run, line: record.line });
        self.0.extend(execs.filter(|exec| exec.id != 0));
    }

    /// One finding for each pair of runs.
    pub(super) fn doubled(mut self, summaries: &[Summary], records: &[Record], findings: &mut Vec<Finding>) {
        self.0.sort_unstable();
        let mut pairs: BTreeMap<(u32, u32), Vec<u64>> = BTreeMap::new();
        for pair in self.0.windows(2) {
            if (pair[0].id, pair[0].stream) == (pair[1].id, pair[1].stream) {
                pairs.entry((pair[0].run, pair[1].run)).or_default().push(pair[1].line);
            }
        }
        for ((first, second), lines) in pairs {
            let (Some(from), Some(to)) = (lines.iter().min(), lines.iter().max()) else { continue };
            let record =
                |line| records.get(records.partition_point(|record| (record.run, record.line) < (second, line)));
            let (Some(from), Some(to)) = (record(*from), record(*to)) else { continue };
            let what = if lines.len() == 1 { "an exec".to_owned() } else { format!("{} execs", lines.len()) };
            let why = match summaries.get(position(first)) {
                Some(other) if first != second => format!("{what} of these lines that run {} has too", other.run),
                _ => format!("{what} of these lines that other lines of the run have too"),
            };
            let finding = Finding::new(Kind::DoubledExec, why).lines(from.line, to.line).execs(Some(0)).at(from.place);
            let run = summaries.get(position(second)).map(|summary| summary.run);
            findings.push(Finding { run, ..finding.times(Some(from.time), Some(to.time)) });
        }
    }
}
