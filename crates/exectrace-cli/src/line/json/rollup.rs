//! The body of a line that stands for many.

use exectrace_sift::{Of, Rollup};
use serde::Serialize;

use super::super::escape::Text;
use super::super::{errno_name, to_text};
use super::event::{OriginBody, Shown, hex};
use super::timestamp;

#[derive(Serialize)]
pub(super) struct RollupBody<'a> {
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    count: u64,
    distinct: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    distinct_at_least: bool,
    first: String,
    last: String,
    uid: u32,
    parent_id: Shown<exectrace::ExecId>,
    parent_exe: Text<'a>,
    origin: OriginBody<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    exits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    failures: u64,
    bytes: u64,
    sha256: String,
    samples: Vec<Sample<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u32>,
}

/// A command, or its beginning and its end.
struct Sample<'a>(&'a [u8], &'a [u8]);

impl Serialize for Sample<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sample(head, tail) = self;
        if tail.is_empty() {
            return Text(head).serialize(serializer);
        }
        serializer.collect_str(&format_args!("{} \u{2026} {}", to_text(head), to_text(tail)))
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl<'a> RollupBody<'a> {
    /// `scope`: tell whose it is.
    pub(super) fn of(rollup: &'a Rollup, scope: bool) -> RollupBody<'a> {
        let (exe, error) = match &rollup.of {
            Of::Exe(exe) => (Some(Text(exe)), None),
            Of::Failed(errno) => (None, Some(errno_name(*errno))),
        };
        let [first, last] = rollup.times.map(timestamp);
        RollupBody {
            number: rollup.number,
            exe,
            error,
            count: rollup.count,
            distinct: rollup.distinct,
            distinct_at_least: rollup.distinct_at_least,
            first,
            last,
            uid: rollup.uid,
            parent_id: Shown(rollup.root),
            parent_exe: Text(&rollup.root_exe),
            origin: OriginBody::of(&rollup.session, false),
            exits: rollup.ends,
            failures: rollup.failures,
            bytes: rollup.bytes,
            sha256: hex(&rollup.sha256),
            samples: rollup.samples.iter().map(|(head, tail)| Sample(head, tail)).collect(),
            scope: scope.then(|| rollup.scope.get()),
        }
    }
}
