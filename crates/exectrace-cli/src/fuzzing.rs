//! What the fuzz targets call: the parts of the program that read what others wrote. Compiled with `--cfg fuzzing` only.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::handshake::{Incoming, Request, bad_request};
use crate::labels::LabelSource;
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

    /// As they are now, if they are other than at the last look and can be read.
    pub fn changed(&mut self) -> Option<BTreeMap<String, String>> {
        self.0.changed()
    }
}
