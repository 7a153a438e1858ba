//! What the fuzz targets call: it must hold whatever comes from the ring. Compiled with `--cfg fuzzing` only.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use crate::assemble::Exec;
use crate::enrich::Enricher;
use crate::inbox::{Arrival, Inbox};
use crate::loss::{LossReason, What};
use crate::record::{DecodeError, Record, decode};
use crate::ring::Span;
use crate::scope::ScopeId;
use crate::skel::types::{exec_flag, exec_record, exit_record, hook as Hook, record_head, record_kind, record_version};

/// Bytes are a record or an error; what is read of a record are its parts, all of them, and nothing beside them.
pub fn one_record(bytes: &[u8], max_args_bytes: u64) {
    let record = match decode(bytes) {
        Ok(record) => record,
        Err(DecodeError::Short { len, needed }) => {
            assert!(len == bytes.len() && needed > len, "{needed} bytes are needed, and {len} are there");
            return;
        }
        Err(_) => return,
    };
    let (fixed, parts) = parts(&record);
    let mut at = fixed;
    for part in parts {
        assert!(std::ptr::eq(part.as_ptr(), bytes[at..].as_ptr()), "a part begins where the one before it ends");
        at += part.len();
    }
    assert!(at <= bytes.len(), "{at} bytes of {}", bytes.len());
    assert!(matches!(decode(&bytes[..at - 1]), Err(DecodeError::Short { .. })), "a byte less is no record");
    assert_eq!(format!("{:?}", decode(&bytes[..at])), format!("{:?}", Ok::<_, DecodeError>(&record)));
    enrich(&record, max_args_bytes);
}

/// How long the part of fixed size is, and the others in their order.
fn parts<'a>(record: &Record<'a>) -> (usize, Vec<&'a [u8]>) {
    match record {
        Record::Exec(exec) | Record::Failed(exec) => {
            let parts = vec![exec.filename, exec.interp, exec.exe, exec.cwd, exec.tty, exec.container, exec.args];
            assert_eq!(exec.args.len(), exec.fixed.head.args_len as usize);
            assert_eq!(exec.filename.len(), exec.fixed.filename_len as usize);
            (size_of::<exec_record>(), parts)
        }
        Record::Args(args) => (size_of::<record_head>(), vec![args.args]),
        Record::Exit(_) => (size_of::<exit_record>(), Vec::new()),
    }
}

/// An event keeps what the record has, and no more than was asked for.
fn enrich(record: &Record<'_>, max_args_bytes: u64) {
    let enricher = Enricher { boot: 0xb7c9_e1d2_a4f0, max_args_bytes };
    let first = Span { start: 0, end: 8 };
    match record {
        Record::Exec(exec) | Record::Failed(exec) => {
            let event = enricher.event(Exec::new(exec, first), SystemTime::UNIX_EPOCH, 0);
            assert_eq!((&event.filename[..], &event.cwd[..]), (exec.filename, exec.cwd));
            let kept: Vec<u8> = event.argv.iter().flat_map(|arg| [arg, &b"\0"[..]].concat()).collect();
            let kept = kept.strip_suffix(b"\0").unwrap_or(&kept);
            assert!(kept.len() as u64 <= max_args_bytes);
            assert!(exec.args.windows(kept.len().max(1)).any(|window| window == kept) || kept.is_empty());
        }
        Record::Exit(exit) => drop(enricher.ended(exit, SystemTime::UNIX_EPOCH, 0)),
        Record::Args(_) => {}
    }
}

/// What a program of the kernel's half does next, in this order of the ring.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Which program, and where.
    pub cpu: u8,
    /// A number of `enum hook`.
    pub hook: u8,
    /// If it begins an exec: whose, and how long its arguments are, in pieces.
    pub scope: u8,
    /// As above.
    pub pieces: u8,
    /// What becomes of the record that it makes.
    pub fate: Fate,
    /// Afterwards the reader gives up on what it waits for.
    pub expire: bool,
    /// Afterwards the reader looks at the counters.
    pub count: bool,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the ring.
    Arrives,
    /// It found no room.
    Lost,
    /// There was no room for more arguments, and the record says so.
    Tight,
    /// As `Tight`, and the record that says so found no room either.
    TightLost,
    /// It is in the ring, and no record.
    Garbled,
}

/// Whatever the kernel's half does, each exec that it began comes out once, with arguments that are its own, or is told
/// to be lost; the sum of what is told is what was lost, and nothing is held back in the end.
pub fn a_stream(steps: &[Step], in_order: bool) {
    let mut model =
        Model { inbox: if in_order { Inbox::in_order_from(0) } else { Inbox::default() }, ..Model::default() };
    for step in steps {
        model.step(*step);
        let streams = model.begun.len();
        assert!(model.inbox.unfinished() <= streams, "one exec at most waits for each program");
        model.take(in_order);
    }
    model.inbox.expire(u64::MAX);
    model.count();
    model.take(in_order);
    assert_eq!(model.inbox.unfinished(), 0);
    model.settle();
}

/// What the numbers of the ring's records count.
type Stream = (ScopeId, u32, u32);

#[derive(Default)]
struct Model {
    inbox: Inbox,
    position: u64,
    /// The exec of which each CPU and hook sends pieces.
    begun: HashMap<(u32, u32), Option<Begun>>,
    seqs: HashMap<Stream, u64>,
    /// What found no room, as the kernel counts it.
    lost: BTreeMap<Stream, u64>,
    /// What is in the ring and did not come out: wanted bytes, and whether all of them were sent.
    due: BTreeMap<(Stream, u64), (usize, bool)>,
    /// Records that cannot be read.
    garbled: u64,
    told: BTreeMap<(Option<ScopeId>, What, LossReason), u64>,
    /// Nothing from before it comes any more.
    given_up_to: u64,
}

struct Begun {
    stream: Stream,
    /// Number of its first record.
    id: u64,
    wanted: usize,
    sent: usize,
}

/// Arguments in each record.
const PIECE: usize = 5;

impl Model {
    fn step(&mut self, step: Step) {
        let cpu = u32::from(step.cpu);
        let hook = Hook(u32::from(step.hook) % Hook::HOOK_COUNT.0);
        match hook {
            Hook::HOOK_FAILED | Hook::HOOK_EXIT => self.single(step, cpu, hook),
            _ => match self.begun.entry((cpu, hook.0)).or_default().take() {
                Some(begun) => self.more(step, begun),
                None => self.begin(step, cpu, hook),
            },
        }
        if step.expire {
            self.inbox.round += 1;
            self.inbox.expire(self.inbox.round);
        }
        if step.count {
            self.count();
        }
    }

    fn single(&mut self, step: Step, cpu: u32, hook: Hook) {
        let stream = (scope(step.scope), hook.0, cpu);
        let kind = if hook == Hook::HOOK_EXIT { record_kind::RECORD_EXIT } else { record_kind::RECORD_FAILED };
        let head = self.head(stream, kind);
        if matches!(step.fate, Fate::Lost | Fate::TightLost) {
            *self.lost.entry(stream).or_default() += 1;
            return;
        }
        if !self.send(&bytes_of(head, 0, &[]), step.fate) {
            // A number that never comes, and that the kernel does not count as lost.
            return self.forget(stream);
        }
        self.due.insert((stream, head.seq), (0, true));
    }

    fn begin(&mut self, step: Step, cpu: u32, hook: Hook) {
        let stream = (scope(step.scope), hook.0, cpu);
        let head = self.head(stream, record_kind::RECORD_EXEC);
        if matches!(step.fate, Fate::Lost | Fate::TightLost) {
            *self.lost.entry(stream).or_default() += 1;
            return;
        }
        let wanted = usize::from(step.pieces % 4) * PIECE;
        let sent = wanted.min(PIECE);
        if !self.send(&bytes_of(head, wanted, &args(head.seq, 0..sent)), step.fate) {
            return self.forget(stream);
        }
        self.due.insert((stream, head.seq), (wanted, sent == wanted));
        let begun = (sent < wanted).then_some(Begun { stream, id: head.seq, wanted, sent });
        self.begun.insert((cpu, hook.0), begun);
    }

    fn more(&mut self, step: Step, mut begun: Begun) {
        let (_, hook, cpu) = begun.stream;
        let mut head = self.head(begun.stream, record_kind::RECORD_ARGS);
        head.args_offset = u32::try_from(begun.sent).expect("few");
        let end = begun.wanted.min(begun.sent + PIECE);
        let is_sent = match step.fate {
            Fate::Arrives | Fate::Garbled => {
                self.send(&bytes_of(head, 0, &args(begun.id, begun.sent..end)), Fate::Arrives)
            }
            Fate::Tight => {
                head.flags.0 |= exec_flag::EXEC_ARGS_TIGHT.0;
                self.send(&bytes_of(head, 0, &[]), Fate::Arrives);
                false
            }
            Fate::Lost | Fate::TightLost => false,
        };
        if !is_sent {
            return;
        }
        begun.sent = end;
        if begun.sent == begun.wanted {
            if let Some((_, is_whole)) = self.due.get_mut(&(begun.stream, begun.id)) {
                *is_whole = true;
            }
        } else {
            self.begun.insert((cpu, hook), Some(begun));
        }
    }

    fn head(&mut self, (scope, hook, cpu): Stream, kind: record_kind) -> record_head {
        let next = self.seqs.entry((scope, hook, cpu)).or_default();
        let seq = *next;
        *next += 1;
        let hook = Hook(hook);
        record_head { version: record_version::RECORD_VERSION, kind, hook, cpu, scope: scope.get(), seq, ..EMPTY }
    }

    /// False: what arrives cannot be read.
    fn send(&mut self, bytes: &[u8], fate: Fate) -> bool {
        let start = self.position;
        self.position += bytes.len() as u64 + 8;
        let is_garbled = fate == Fate::Garbled;
        self.garbled += u64::from(is_garbled);
        let bytes = if is_garbled { &bytes[..20] } else { bytes };
        self.inbox.push(bytes, Span { start, end: self.position });
        !is_garbled
    }

    /// A record that cannot be read leaves a gap in its numbers as well, and is told twice: what it was nobody knows.
    fn forget(&mut self, stream: Stream) {
        *self.lost.entry(stream).or_default() += 1;
    }

    fn count(&mut self) {
        for (stream, lost) in &self.lost {
            let told = self.inbox.ledger.on_counter(*stream, *lost);
            *self.told.entry((Some(stream.0), What::of_hook(stream.1), LossReason::RingFull)).or_default() += told;
        }
    }

    fn take(&mut self, in_order: bool) {
        for arrival in std::mem::take(&mut self.inbox.arrivals) {
            let (first, position) = match arrival {
                Arrival::Exec(exec, position) => {
                    let first = exec.first.start;
                    self.exec(*exec);
                    (first, position)
                }
                Arrival::Failed(failed, position) => {
                    self.came(&failed.fixed.head);
                    (failed.first.start, position)
                }
                Arrival::Exit(exit, position) => {
                    self.came(&exit.head);
                    (self.given_up_to, position)
                }
                Arrival::Lost(loss) => {
                    *self.told.entry((loss.scope, loss.what, loss.reason)).or_default() += loss.count;
                    continue;
                }
            };
            assert!(!in_order || first >= self.given_up_to, "all from before {} was given", self.given_up_to);
            self.given_up_to = position;
        }
        assert!(!in_order || self.inbox.position() >= self.given_up_to);
    }

    fn came(&mut self, head: &record_head) -> (usize, bool) {
        let stream = (ScopeId::new(head.scope).expect("a scope"), head.hook.0, head.cpu);
        self.due.remove(&(stream, head.seq)).expect("what comes out went in, and comes once")
    }

    fn exec(&mut self, exec: Exec) {
        let head = exec.fixed.head;
        let (wanted, is_whole) = self.came(&head);
        assert_eq!(exec.args, args(head.seq, 0..exec.args.len()), "its own arguments, from the first on");
        let says_that_it_is_cut = exec.args_lost || head.flags.0 & exec_flag::EXEC_ARGS_TIGHT.0 != 0;
        assert_eq!(exec.args.len() < wanted, says_that_it_is_cut, "{is_whole} {exec:?}");
    }

    fn settle(&self) {
        assert!(self.due.is_empty(), "{:?} did not come out", self.due);
        let told = |what: (Option<ScopeId>, What, LossReason)| self.told.get(&what).copied().unwrap_or_default();
        assert_eq!(told((None, What::Exec, LossReason::Undecodable)), self.garbled);
        let mut lost: BTreeMap<(ScopeId, What), u64> = BTreeMap::new();
        for ((scope, hook, _), count) in &self.lost {
            *lost.entry((*scope, What::of_hook(*hook))).or_default() += count;
        }
        for ((scope, what), lost) in lost {
            assert_eq!(told((Some(scope), what, LossReason::RingFull)), lost, "{what:?} of {scope:?}");
        }
    }
}

const EMPTY: record_head = record_head {
    version: record_version(0),
    kind: record_kind(0),
    hook: Hook(0),
    flags: exec_flag(0),
    cpu: 0,
    scope: 0,
    seq: 0,
    args_offset: 0,
    args_len: 0,
};

fn scope(number: u8) -> ScopeId {
    ScopeId::new(u32::from(number % 2) + 1).expect("not 0")
}

/// Different for each exec and place, as far as a byte goes.
fn args(id: u64, places: std::ops::Range<usize>) -> Vec<u8> {
    places.map(|at| id.wrapping_mul(37).wrapping_add(at as u64).to_le_bytes()[0]).collect()
}

/// A record as the kernel would send it; `wanted` counts for the first one of an exec.
fn bytes_of(head: record_head, wanted: usize, args: &[u8]) -> Vec<u8> {
    let head = record_head { args_len: u32::try_from(args.len()).expect("few"), ..head };
    let wanted = u32::try_from(wanted).expect("few");
    let mut bytes = match head.kind {
        record_kind::RECORD_ARGS => crate::record::as_bytes(&head).to_vec(),
        record_kind::RECORD_EXIT => crate::record::as_bytes(&exit_record { head, ..Default::default() }).to_vec(),
        _ => {
            let fixed = exec_record { head, args_wanted: wanted, args_total: wanted, ..Default::default() };
            crate::record::as_bytes(&fixed).to_vec()
        }
    };
    bytes.extend_from_slice(args);
    bytes
}
