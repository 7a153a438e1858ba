//! The account: what there is, what it would be rolled up, and what that costs. Numbers only; `text` and `page` show them.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Asked;
use super::figures::{Figures, Notes};
use super::prices::Prices;
use super::shipping::{Money, Way, float};
use super::size::Size;
use super::tally::{Place, Sum, Tally};
use super::text::counted;
use crate::line::paint::printable;

/// What is shorter says little of a month.
const THIN: Duration = Duration::from_secs(3_600);
/// Boxes of a page, with the one of all others.
pub(super) const MAX_BOXES: usize = 500;
/// What is not among the largest.
pub(super) const OTHERS: &str = "(others)";

/// All that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) basis: Basis,
    pub(crate) settings: Vec<Volume>,
    /// Lines as they are, by their `msg`.
    pub(crate) kinds: Vec<Kind>,
    /// Whose the lines are that tell of processes: all of them.
    pub(crate) whole: Sum,
    pub(crate) top: Top,
    pub(crate) notes: Vec<String>,
    pub(crate) prices: Prices,
    /// For the page.
    #[serde(skip)]
    pub(super) boxes: Vec<(Place, Sum)>,
}

/// What all of it is reckoned from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Basis {
    /// The first and the last line's time.
    pub(crate) from: String,
    pub(crate) to: String,
    /// From the one to the other; or, of what was watched, how long that was.
    pub(crate) seconds: f64,
    /// That is too short for a month.
    pub(crate) thin: bool,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) execs: u64,
    pub(crate) runs: u64,
    pub(crate) hours_a_month: f64,
    pub(crate) times: f64,
}

/// Who decides what has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
    /// Each exec has one.
    Unrolled,
    /// `--rollup`.
    Rollup,
    /// The same, and each exec in a file.
    RollupFile,
}

impl Setting {
    /// What it is called for people.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Setting::Unrolled => "every exec",
            Setting::Rollup => "--rollup",
            Setting::RollupFile => "--rollup, all in a file",
        }
    }
}

/// What there is in a setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Volume {
    pub(crate) setting: Setting,
    /// Of what is shipped, with line breaks.
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// In the file beside it.
    pub(crate) file_bytes: Option<u64>,
    /// What part of them is left when they are compressed as a rotated file is.
    pub(crate) compressed: f64,
    pub(crate) ways: Vec<Shipped>,
}

/// What becomes of it on one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shipped {
    pub(crate) way: Way,
    pub(crate) bytes: f64,
    /// Absent where the time is not known from which a month could be reckoned.
    pub(crate) bytes_a_month: Option<f64>,
    /// Absent as well where there is no price.
    pub(crate) a_month: Option<Money>,
}

/// Lines of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Kind {
    pub(crate) msg: &'static str,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// The largest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Top {
    pub(crate) user: Vec<Talker>,
    pub(crate) workspace: Vec<Talker>,
    pub(crate) parent: Vec<Talker>,
    pub(crate) exe: Vec<Talker>,
}

/// One of them, or all others together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Talker {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) sum: Sum,
    /// Of all bytes.
    pub(crate) share: f64,
}

impl Report {
    /// For programs: in ASCII, so that no name steers a terminal.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let json = serde_json::to_string_pretty(self)?;
        let mut ascii = String::with_capacity(json.len() + 1);
        for char in json.chars() {
            // Only strings have others, and there they may be written so.
            match char {
                '\n' | ' '..='~' => ascii.push(char),
                _ => char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}"))),
            }
        }
        Ok(ascii + "\n")
    }

    /// `None` if there was nothing.
    pub(super) fn of(figures: Figures, prices: Prices, asked: &Asked) -> Option<Report> {
        let [from, to] = figures.times?;
        let watched = asked.watched.or_else(|| to.duration_since(from).ok()).unwrap_or_default();
        let all: Size = figures.kinds.values().fold(Size::default(), |sum, size| sum + *size);
        let whole = figures.tallies.whole;
        let basis = Basis {
            from: time(from),
            to: time(to),
            seconds: watched.as_secs_f64(),
            thin: watched < THIN,
            lines: all.lines,
            bytes: all.bytes,
            execs: whole.execs,
            runs: figures.notes.rolled_up_runs + figures.notes.replayed_runs,
            hours_a_month: asked.hours_a_month,
            times: asked.times,
        };
        let kinds =
            figures.kinds.iter().map(|(msg, Size { lines, bytes, .. })| Kind { msg, lines: *lines, bytes: *bytes });
        let kinds = kinds.collect();
        let tallies = &figures.tallies;
        let top = Top {
            user: talkers(&tallies.user, whole, asked.top),
            workspace: talkers(&tallies.workspace, whole, asked.top),
            parent: talkers(&tallies.parent, whole, asked.top),
            exe: talkers(&tallies.exe, whole, asked.top),
        };
        let boxes = boxes(&tallies.place);
        let notes = notes(&basis, &figures.notes, figures.unseen, &prices);
        let settings = Reckoning { basis: &basis, prices: &prices }.settings(figures);
        Some(Report { basis, settings, kinds, whole, top, notes, prices, boxes })
    }
}

struct Reckoning<'a> {
    basis: &'a Basis,
    prices: &'a Prices,
}

impl Reckoning<'_> {
    fn settings(&self, figures: Figures) -> Vec<Volume> {
        let Figures { unrolled, rolled_up, unseen, processes, complete, .. } = figures;
        let (seen, compressed) = unrolled.finish();
        let (rolled_up, rolled_up_compressed) = rolled_up.finish();
        // Lines that are not there: as many quotes in them as in those that are.
        let escapes = u128::from(unseen.bytes) * u128::from(processes.escapes) / u128::from(processes.bytes.max(1));
        let unseen = Size { escapes: u64::try_from(escapes).unwrap_or(u64::MAX), ..unseen };
        let file = complete + unseen;
        vec![
            self.volume(Setting::Unrolled, seen + unseen, compressed, None),
            self.volume(Setting::Rollup, rolled_up, rolled_up_compressed, None),
            self.volume(Setting::RollupFile, rolled_up, rolled_up_compressed, Some((file, compressed))),
        ]
    }

    fn volume(&self, setting: Setting, size: Size, compressed: f64, file: Option<(Size, f64)>) -> Volume {
        let ways = Way::ALL.into_iter().filter(|way| file.is_none() || way.ships());
        let ways = ways.map(|way| self.shipped(way, size, compressed, file)).collect();
        let file_bytes = file.map(|(size, _)| size.bytes);
        Volume { setting, lines: size.lines, bytes: size.bytes, file_bytes, compressed, ways }
    }

    fn shipped(&self, way: Way, size: Size, compressed: f64, file: Option<(Size, f64)>) -> Shipped {
        let hours = self.basis.hours_a_month;
        let bytes = way.bytes(size, compressed, self.prices);
        let a_month = |way: Way, bytes: f64, lines: f64| way.money(bytes, lines, self.prices, hours);
        let disk = file.map(|(size, compressed)| Way::File.bytes(size, compressed, self.prices));
        let money = self.months().and_then(|months| {
            let disk = disk.and_then(|bytes| a_month(Way::File, bytes * months, 0.0)).map_or(0.0, |money| money.all);
            Some(a_month(way, bytes * months, float(size.lines) * months)?.with_disk(disk))
        });
        Shipped { way, bytes, bytes_a_month: self.months().map(|months| bytes * months), a_month: money }
    }

    /// How often what was read is in a month of all workspaces.
    fn months(&self) -> Option<f64> {
        let Basis { seconds, hours_a_month, times, .. } = self.basis;
        (*seconds > 0.0).then(|| hours_a_month * 3_600.0 / seconds * times)
    }
}

fn talkers<K: AsRef<str> + Eq + std::hash::Hash + Ord + Clone>(
    tally: &Tally<K>,
    whole: Sum,
    top: usize,
) -> Vec<Talker> {
    let talker = |name: String, sum: Sum| Talker { name, sum, share: float(sum.bytes) / float(whole.bytes.max(1)) };
    let (rows, others) = tally.top(top);
    let rows = rows.into_iter().map(|(name, sum)| talker(name.as_ref().to_owned(), sum));
    rows.chain(others.map(|sum| talker(OTHERS.to_owned(), sum))).collect()
}

fn boxes(tally: &Tally<Place>) -> Vec<(Place, Sum)> {
    let (mut rows, others) = tally.top(MAX_BOXES - 1);
    rows.extend(others.map(|sum| ([OTHERS; 3].map(std::sync::Arc::from), sum)));
    rows
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What the figures do not say by themselves.
fn notes(basis: &Basis, notes: &Notes, unseen: Size, prices: &Prices) -> Vec<String> {
    let mut told = Vec::new();
    let mut say = |is_so: bool, what: fmt::Arguments<'_>| {
        if is_so {
            told.push(what.to_string());
        }
    };
    let Notes { folded, rollups, excluded, without_id, orphans, lost, put_away, .. } = *notes;
    let is_point = basis.seconds <= 0.0;
    say(is_point, format_args!("all lines have one time: nothing can be said of a month"));
    say(
        basis.thin && !is_point,
        format_args!(
            "thin basis: {} is less than an hour, and a month may be quite another",
            humantime::format_duration(Duration::from_secs_f64(basis.seconds.round().max(1.0)))
        ),
    );
    let lines = |count| counted(count, "line");
    say(folded > 0, format_args!("--rollup would fold {} into {rollups}", lines(folded)));
    say(
        notes.rolled_up_runs > 0,
        format_args!(
            "{} of {} rolled up already. What every exec would be there is told by their roll-ups: {} of {} bytes, of which \
             the quotes are estimated, and the compression is that of the others",
            notes.rolled_up_runs,
            counted(basis.runs, "run"),
            lines(unseen.lines),
            unseen.bytes
        ),
    );
    say(
        excluded > 0,
        format_args!("left out by rules of the configuration, and only in \"every exec\": {}", lines(excluded)),
    );
    say(
        lost > 0,
        format_args!("missing by the log itself, so that all figures are too low: {}", counted(lost, "exec")),
    );
    say(
        without_id > 0,
        format_args!(
            "without an id (--fields seed), so that they cannot be folded here and --rollup is too high: {}",
            counted(without_id, "exec")
        ),
    );
    say(orphans > 0, format_args!("nobody's, as they continue a line that is not there: {}", lines(orphans)));
    say(put_away > 0, format_args!("folded in pieces, as there were too many at a time: {}", counted(put_away, "run")));
    say(notes.torn > 0, format_args!("not counted, as they are cut, or no JSON: {}", lines(notes.torn)));
    say(
        notes.unreadable > 0,
        format_args!("not counted, as they cannot be read: {} of the log", lines(notes.unreadable)),
    );
    let others = notes.foreign + notes.diagnostics + notes.stderr;
    say(others > 0, format_args!("not counted, as they are not of the log: {}", lines(others)));
    for damaged in &notes.damaged {
        say(true, format_args!("the end of {} could not be decompressed", printable(damaged.as_bytes())));
    }
    say(
        prices.otlp.ingest.is_none(),
        format_args!("there is no price of a collector: put its vendor's into the configuration (prices.otlp)"),
    );
    say(
        prices.cloudwatch.event_bytes == 0,
        format_args!(
            "that AWS bills 26 bytes beside each event is not certain, and not counted (prices.cloudwatch.event_bytes)"
        ),
    );
    told
}
