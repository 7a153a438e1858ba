//! What the fuzz targets call: the parts of the program that read what others wrote. Compiled with `--cfg fuzzing` only.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use exectrace_sift::{Criteria, OriginConfig, SiftConfig};

use crate::cost::{Asked, Meter, Prices};
use crate::handshake::{Incoming, Request, bad_request};
use crate::labels::LabelSource;
use crate::line::paint::Pen;
use crate::logs::{Form, Merge, Show, Source, Text, Trees, Wanted};
use crate::pod_info;
use crate::seal::{ChainKey, ChainMode, Seal};
use crate::verify::{Verdict, Verifier};

/// The most that is read of a request.
pub const MAX_REQUEST: usize = crate::handshake::MAX_REQUEST;

/// What `exectrace verify` and `exectrace logs` read of an input.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines {
    /// As they were written, and whether the input ends within one.
    pub lines: Vec<(Vec<u8>, bool)>,
    /// How many the input has.
    pub physical: u64,
    /// Of these, lines of a container's stderr.
    pub stderr: u64,
    /// The compressed data cannot be read to its end.
    pub is_damaged: bool,
}

/// Reads an input to its end.
pub fn lines(input: impl io::Read) -> io::Result<Lines> {
    let mut lines = Vec::new();
    let contents = crate::input::read(input, |line| lines.push((line.bytes.to_vec(), line.cut)))?;
    let (physical, stderr, is_damaged) = (contents.lines, contents.stderr, contents.damage.is_some());
    Ok(Lines { lines, physical, stderr, is_damaged })
}

/// What `exectrace verify` says.
pub struct Verified {
    /// Nothing was found.
    pub is_whole: bool,
    /// What people read.
    pub text: String,
    /// What programs read.
    pub json: serde_json::Value,
}

/// Verifies inputs one after the other; `None` if no line is exectrace's.
pub fn verify(inputs: &[&[u8]], key: Option<&[u8]>) -> Option<Verified> {
    let mut verifier = Verifier::new(key.and_then(ChainKey::from_bytes));
    for (number, input) in inputs.iter().enumerate() {
        verifier.add(number.to_string(), *input).expect("memory can be read");
    }
    let report = verifier.finish()?;
    let (text, json) = (report.text(None), report.json(None));
    Some(Verified { is_whole: report.verdict == Verdict::Whole, text, json })
}

/// What `exectrace cost` says.
#[derive(Debug, PartialEq, Eq)]
pub struct Cost {
    /// Tables.
    pub text: String,
    /// What programs read.
    pub json: String,
    /// With a map.
    pub page: String,
}

/// Reckons what a log in these inputs costs; `None` if no line is exectrace's.
pub fn cost(inputs: &[&[u8]]) -> Option<Cost> {
    let mut meter = Meter::new(&COST.0, COST.1.clone()).expect("room");
    for input in inputs {
        meter.add("", *input).expect("memory can be read");
    }
    let asked = Asked { hours_a_month: 730.0, times: 1.0, top: 10, watched: None };
    let report = meter.finish(Prices::default(), &asked)?;
    Some(Cost { text: report.text(), json: report.json().expect("JSON"), page: report.page() })
}

/// Compiled once.
static COST: LazyLock<(Criteria, OriginConfig)> = LazyLock::new(|| {
    let config = SiftConfig::default();
    (Criteria::new(&config, true).expect("the default"), config.origin)
});

/// What `exectrace logs` shows.
pub struct Shown {
    /// As it was logged.
    pub json: Vec<u8>,
    /// How many lines there were.
    pub lines: u64,
    /// All could be read.
    pub is_whole: bool,
    /// The same to a terminal.
    pub json_to_terminal: String,
    /// For people.
    pub text: String,
    /// As trees of processes.
    pub tree: String,
}

/// Shows inputs together.
pub fn logs(inputs: &[&[u8]]) -> Shown {
    let pen = Pen { colour: false };
    let text = |form| String::from_utf8(shown(inputs, form).0).expect("UTF-8");
    let (json, lines, is_whole) = shown(inputs, Form::Json);
    Shown {
        json,
        lines,
        is_whole,
        json_to_terminal: text(Form::JsonToTerminal),
        text: text(Form::Text(Text::new(pen, true, true))),
        tree: text(Form::Trees(Trees::new(pen))),
    }
}

fn shown(inputs: &[&[u8]], form: Form) -> (Vec<u8>, u64, bool) {
    let open = |input: &&[u8]| Source::open("", "", io::Cursor::new(input.to_vec())).expect("memory can be read");
    let mut sources: Vec<Source> = inputs.iter().map(open).collect();
    let mut out = Vec::new();
    let mut show = Show::new(Wanted::default(), form, &mut out);
    Merge::of(sources.iter_mut()).for_each(|entry| show.take(entry).expect("room"));
    show.finish().expect("room");
    (out, sources.iter().map(Source::count).sum(), sources.iter().all(Source::tell))
}

/// Numbers lines that end in `}}}` anew, as the writer would, and chains them, with a key if there is one.
pub fn seal(lines: &[&[u8]], key: Option<&[u8]>) -> Vec<u8> {
    let chain = key.and_then(ChainKey::from_bytes).map_or(ChainMode::Linked, ChainMode::Keyed);
    let mut seal = Seal::new(0x5eed_cafe, chain);
    let mut out = Vec::new();
    for line in lines {
        let start = out.len();
        out.extend_from_slice(line);
        if line.ends_with(b"}}}") {
            seal.put(&mut out, start);
        } else {
            out.push(b'\n');
        }
    }
    out
}

/// What the sidecar makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// More must come.
    Unfinished,
    /// A namespace's number.
    Accepted(u32),
    /// The whole answer.
    Refused(String),
}

/// A request that comes in pieces.
#[derive(Default)]
pub struct Handshake(Incoming);

impl Handshake {
    /// How many bytes more are read, at most.
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// Takes the next piece.
    pub fn take(&mut self, piece: &[u8]) -> Judgement {
        match self.0.take(piece) {
            Request::Unfinished => Judgement::Unfinished,
            Request::Trace(number) => Judgement::Accepted(number),
            Request::Bad(why) => Judgement::Refused(bad_request(&why)),
        }
    }
}

/// The labels of a folder that may change.
pub struct Labels(LabelSource);

impl Labels {
    /// Nothing is read yet.
    pub fn of(folder: &Path) -> Labels {
        Labels(LabelSource::fixed([]).with_folder(Some(folder.to_owned())))
    }

    /// As they are now.
    pub fn read(&mut self) -> io::Result<BTreeMap<String, String>> {
        self.0.read().map_err(io::Error::other)
    }

    /// As they were and as they are now, if that is something else and can be read.
    pub fn changed(&mut self) -> Option<[BTreeMap<String, String>; 2]> {
        self.0.changed().map(|change| [change.before, change.now])
    }
}

/// The log's labels by the files of a pod's volume.
pub fn pod_labels(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    pod_info::labels(folder).map_err(io::Error::other)
}

/// A string as Go quotes it.
pub fn unquote(quoted: &str) -> Option<String> {
    pod_info::unquote(quoted)
}
