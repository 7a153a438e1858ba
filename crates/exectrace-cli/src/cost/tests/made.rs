//! Logs as the writer makes them: the same execs with a line each, and rolled up.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use exectrace::{Args, Event, ExecId};
use exectrace_sift::{Criteria, SiftConfig, Verdict};

use crate::cli::Fields;
use crate::ledger::Books;
use crate::line::json::{JsonEncoder, Limits, Lines, Told};
use crate::line::{About, Entry, Folds, Place, Start, Stop, Why, samples};
use crate::seal::{ChainMode, Seal};

/// Two logs of the same execs.
pub(super) struct Made {
    pub(super) all: Vec<String>,
    pub(super) rolled_up: Vec<String>,
    /// How much longer the second one is by what a replay does not have: shorter numbers of lines, and its longer start.
    pub(super) shorter: i64,
}

/// A log that is being written.
struct Log {
    encoder: JsonEncoder,
    seal: Seal,
    lines: Vec<String>,
}

impl Log {
    fn new(rollup: bool) -> Log {
        let told = Told { fields: Fields::Standard, scopes: false };
        let mut encoder = JsonEncoder::new(told, Limits { bytes: 16_384, args: 100 });
        let labels = [("username", "jessie"), ("workspace_name", "code"), ("workspace_id", "w-1")];
        encoder.set_labels(&BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned()))));
        let mut log = Log { encoder, seal: Seal::new(0x19de_8888, ChainMode::Linked), lines: Vec::new() };
        let folds = Folds { more_than: 10, window: Duration::from_secs(60), complete: None };
        let start = Start { time: Some(at(0)), rollup: rollup.then_some(folds), ..Start::default() };
        log.put(&Entry::Start(Box::new(start)), &About::default(), 0);
        log
    }

    fn encode(&mut self, entry: &Entry, about: &About, second: u64) -> String {
        let (books, mut out) = (Books::default(), Vec::new());
        let place = Place { run: self.seal.run(), line: self.seal.next_line(), last_ledger: 0, books: &books, about };
        let end = |out: &mut Vec<u8>, start| self.seal.put(out, start);
        self.encoder.encode(entry, at(second), place, Lines { out: &mut out, end });
        String::from_utf8(out).expect("ASCII").trim_end_matches('\n').to_owned()
    }

    fn put(&mut self, entry: &Entry, about: &About, second: u64) {
        let line = self.encode(entry, about, second);
        self.lines.push(line);
    }

    /// Bytes that it would be.
    fn measure(&mut self, entry: &Entry, about: &About) -> u64 {
        let seal = self.seal.clone();
        let bytes = self.encode(entry, about, 0).len() as u64 + 1;
        self.seal = seal;
        bytes
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + second)
}

const fn id(pid: u32) -> ExecId {
    ExecId { boot: 0xb7c9_e1d2_a4f0, start: 0x1_a2b3_c4d5, pid, exec: 3 }
}

fn event(pid: u32, parent: Option<u32>, exe: &[u8], argv: &[&str], second: u64) -> Event {
    let mut block = argv.join("\0").into_bytes();
    block.push(0);
    let (count, total) = (u32::try_from(argv.len()).expect("few"), block.len() as u64);
    Event {
        time: at(second),
        id: id(pid),
        parent_id: parent.map(id),
        filename: exe.to_vec(),
        exe: exe.to_vec(),
        argv: Args::new(block, count, total, None),
        pid,
        tty: None,
        ..samples::uname()
    }
}

/// A shell that runs make, which runs gcc so many times, four a second; rolled up as the writer does it.
pub(super) fn build(compilers: u32) -> Made {
    const FIRST: u32 = 1_000;
    let mut events =
        vec![event(10, None, b"/bin/sh", &["sh", "build"], 0), event(11, Some(10), b"/usr/bin/make", &["make"], 0)];
    events.extend((0..compilers).map(|number| {
        let file = format!("src/file{}.c", number % 200);
        event(FIRST + number, Some(11), b"/usr/bin/gcc", &["gcc", "-O2", "-c", &file], u64::from(number / 4))
    }));
    let mut sift = Criteria::new(&SiftConfig::default(), true).expect("rules").sift();
    let (mut all, mut rolled_up, mut shorter) = (Log::new(false), Log::new(true), 0);
    let digits = |log: &Log| i64::try_from(log.seal.next_line().to_string().len()).expect("few");
    let mut last = 0;
    for event in events {
        let time = event.time;
        last = time.duration_since(at(0)).expect("later").as_secs();
        for rollup in sift.rolled_up(time) {
            rolled_up.put(&Entry::Rollup(Box::new(rollup)), &About::default(), last);
        }
        let entry = Entry::Exec(Box::new(event));
        let Entry::Exec(event) = &entry else { continue };
        let judged = sift.exec(event, |session| {
            Some(all.measure(&entry, &About { session: Some(session.clone()), ..About::default() }))
        });
        let about = About { session: judged.session, ..About::default() };
        let of_all = digits(&all);
        all.put(&entry, &about, last);
        if let Verdict::Line(rare) = judged.verdict {
            shorter += of_all - digits(&rolled_up);
            rolled_up.put(&entry, &About { rare, ..about }, last);
        }
    }
    for rollup in sift.finish() {
        rolled_up.put(&Entry::Rollup(Box::new(rollup)), &About::default(), last);
    }
    let stop = Entry::Stop(Stop { why: Why::Signal, pinned: false, position: 0 });
    shorter += digits(&all) - digits(&rolled_up);
    all.put(&stop, &About::default(), last);
    rolled_up.put(&stop, &About::default(), last);
    // The replayed log has no roll-up in its start.
    let [longer, start] = [&rolled_up, &all].map(|log| i64::try_from(log.lines[0].len()).expect("short"));
    shorter -= longer - start;
    Made { all: all.lines, rolled_up: rolled_up.lines, shorter }
}

/// One exec of a file, as a line.
pub(super) fn exec(number: u32, exe: &str) -> String {
    let mut log = Log::new(false);
    let entry = Entry::Exec(Box::new(event(100 + number, None, exe.as_bytes(), &["x"], u64::from(number))));
    log.put(&entry, &About::default(), 0);
    log.lines.remove(1)
}
