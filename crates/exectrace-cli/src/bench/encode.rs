//! From a record in the ring to the bytes of a line, on one core: what the reader and the writer do, without an output.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use exectrace::{Item, PidNamespace, Scope, Tracer};
use exectrace_redact::Redactor;
use exectrace_sift::{Criteria, SiftConfig, Verdict};
use rustix::time::{ClockId, clock_gettime};

use super::ground::Ground;
use super::report::EncodeRow;
use crate::cli::Fields;
use crate::ledger::Books;
use crate::line::json::{JsonEncoder, Limits, Lines, Told};
use crate::line::{About, Entry, Place};
use crate::redaction::redact;
use crate::seal::{ChainMode, Seal};

/// Large enough for all records of the workload, so that they are all there before the first one is read.
const RING: u32 = 256 << 20;
/// A ring of this size takes so many, with room to spare.
const MOST: u64 = 200_000;

/// Labels as a workspace has them.
fn labels() -> BTreeMap<String, String> {
    [
        ("organization_id", "default"),
        ("user_email", "jessie@example.com"),
        ("user_id", "5e876e9a-1d2f-4c3b-9a44-3f8e5c1b7a60"),
        ("username", "jessie"),
        ("workspace_id", "621d2e52-7c1a-4f0e-8d35-90b2c4e6f718"),
        ("workspace_name", "main"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What is done with an event on its way to a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    /// Secrets are looked for.
    pub(crate) redactor: Option<&'a Redactor>,
    /// What can be folded is folded.
    pub(crate) rollup: bool,
}

/// Fills the ring, and then makes lines of what is there.
pub(crate) fn measure(mut ground: Ground<'_>, execs: u64, way: Way<'_>) -> anyhow::Result<EncodeRow> {
    let mut tracer = Tracer::builder().ring_bytes(RING).open()?;
    let namespace = PidNamespace::by_number("/proc".as_ref(), ground.pid_ns())?;
    tracer.add_scope(Scope::PidNamespace(namespace))?;
    ground.storm(execs.min(MOST))?;

    let told = Told { fields: Fields::Standard, scopes: false };
    let mut encoder = JsonEncoder::new(told, Limits { bytes: 16_384, args: 100 });
    encoder.set_labels(&labels());
    let mut seal = Seal::new(1, ChainMode::None);
    let mut books = Books::default();
    let mut out = Vec::with_capacity(1 << 20);
    let mut config = SiftConfig::default();
    // The workload lies in a folder that is not a usual one.
    config.rollup.folders.push("/**".to_owned());
    let mut sift = Criteria::new(&config, way.rollup)?.sift();
    let mut unwritten = Vec::new();
    let (mut execs, mut bytes) = (0, 0);
    let mut make_line = |item| {
        let Item::Exec(event) = item else { return };
        let mut entry = Entry::Exec(event);
        let redacted = way.redactor.map_or(0, |redactor| redact(&mut entry, redactor));
        let Entry::Exec(event) = &entry else { return };
        execs += 1;
        let judged = sift.exec(event, |session| {
            let about = About { redacted, session: Some(Arc::clone(session)), ..About::default() };
            let place = Place { run: seal.run(), line: seal.next_line(), last_ledger: 0, books: &books, about: &about };
            unwritten.clear();
            encoder.encode(
                &entry,
                SystemTime::now(),
                place,
                Lines { out: &mut unwritten, end: |_: &mut Vec<u8>, _| {} },
            );
            Some(unwritten.len() as u64)
        });
        if let Verdict::Folded(_) = judged.verdict {
            return;
        }
        let (run, line) = (seal.run(), seal.next_line());
        let about = About { redacted, session: judged.session, ..About::default() };
        let place = Place { run, line, last_ledger: 0, books: &books, about: &about };
        let start = out.len();
        let end = |out: &mut Vec<u8>, start| seal.put(out, start);
        encoder.encode(&entry, SystemTime::now(), place, Lines { out: &mut out, end });
        books.add(&entry);
        bytes += out.len() - start;
        if out.len() > 1 << 16 {
            std::hint::black_box(&out);
            out.clear();
        }
    };
    let begun = processor_time();
    tracer.drain(&mut make_line)?;
    let took = processor_time().saturating_sub(begun);
    let (redaction, seconds) = (way.redactor.is_some(), took.as_secs_f64());
    Ok(EncodeRow { redaction, rollup: way.rollup, execs, bytes: bytes as u64, seconds })
}

/// Of this thread.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
