//! From a record in the ring to the bytes of a line, on one core: what the reader and the writer do, without an output.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use exectrace::{Item, PidNamespace, Scope, Tracer};
use exectrace_redact::Redactor;
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

/// Fills the ring, and then makes lines of what is there; with a redactor, secrets are looked for in each.
pub(crate) fn measure(mut ground: Ground<'_>, execs: u64, redactor: Option<&Redactor>) -> anyhow::Result<EncodeRow> {
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
    let (mut lines, mut bytes) = (0, 0);
    let mut make_line = |item| {
        let Item::Exec(event) = item else { return };
        let mut entry = Entry::Exec(event);
        let redacted = redactor.map_or(0, |redactor| redact(&mut entry, redactor));
        let (run, line) = (seal.run(), seal.next_line());
        let about = About { redacted, ..About::default() };
        let place = Place { run, line, last_ledger: 0, books: &books, about: &about };
        let start = out.len();
        let end = |out: &mut Vec<u8>, start| seal.put(out, start);
        encoder.encode(&entry, SystemTime::now(), place, Lines { out: &mut out, end });
        books.add(&entry);
        lines += 1;
        bytes += out.len() - start;
        if out.len() > 1 << 16 {
            std::hint::black_box(&out);
            out.clear();
        }
    };
    let begun = processor_time();
    tracer.drain(&mut make_line)?;
    let took = processor_time().saturating_sub(begun);
    Ok(EncodeRow { redaction: redactor.is_some(), lines, bytes: bytes as u64, seconds: took.as_secs_f64() })
}

/// Of this thread.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
