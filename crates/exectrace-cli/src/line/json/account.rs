//! Bodies of the lines that tell of the log itself: where it begins and ends, what is in it and what is missing.

use std::collections::BTreeMap;

use exectrace::{Gone, ScopeId, What};
use exectrace_sinks::dropped::Dropped;
use serde::Serialize;

use super::super::{Folds, Lost, Place, PodNames, Resumed, Start, Stop, Watchdog};
use super::timestamp;
use crate::ledger::{BY_RULE, Counts, RuleCounts, Snapshot, Sums};
use crate::seal::Run;

#[derive(Serialize)]
pub(super) struct StartBody<'a> {
    version: &'static str,
    kernel: &'a str,
    boot_id: &'a str,
    settings: &'a str,
    scopes: Vec<ScopeBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<PodBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chained: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unwatched: Option<Unwatched>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<ResumedBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollup: Option<FoldsBody>,
}

/// What is folded.
#[derive(Serialize)]
struct FoldsBody {
    more_than: u64,
    window_ms: u64,
    /// The run that has all lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<String>,
}

impl From<&Folds> for FoldsBody {
    fn from(folds: &Folds) -> FoldsBody {
        FoldsBody {
            more_than: folds.more_than,
            window_ms: u64::try_from(folds.window.as_millis()).unwrap_or(u64::MAX),
            complete: folds.complete.map(|run| run.to_string()),
        }
    }
}

#[derive(Serialize)]
struct ScopeBody<'a> {
    scope: u32,
    kind: &'static str,
    of: &'a str,
}

#[derive(Serialize)]
struct PodBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

#[derive(Serialize)]
struct Unwatched {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct ResumedBody {
    run: String,
    line: u64,
    #[serde(flatten)]
    execs: Before,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<Before>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<ScopeBefore>,
}

#[derive(Serialize)]
struct ScopeBefore {
    scope: u32,
    #[serde(flatten)]
    execs: Before,
}

/// What the run before had come to: seen = written + excluded + lost.
#[derive(Serialize)]
struct Before {
    seen: u64,
    written: u64,
    excluded: BTreeMap<&'static str, u64>,
    lost: BTreeMap<&'static str, u64>,
}

impl Before {
    fn new(sums: &Sums, counts: &Counts) -> Before {
        let (written, lost, excluded) = (sums.written, sums.lost(), excluded(sums, counts));
        let seen = written + lost.values().chain(excluded.values()).sum::<u64>();
        Before { seen, written, excluded, lost }
    }
}

/// What was left out, by the kernel's half and by the program itself.
fn excluded(sums: &Sums, counts: &Counts) -> BTreeMap<&'static str, u64> {
    let mut excluded = counts.excluded.clone();
    if sums.excluded > 0 {
        *excluded.entry(BY_RULE).or_default() += sums.excluded;
    }
    excluded
}

impl ResumedBody {
    fn of(resumed: &Resumed) -> ResumedBody {
        let Resumed { run, line, books, counts } = resumed;
        let before = |what: What| {
            let nothing = Counts::default();
            Before::new(&books.of(what), counts.all[what.index()].as_ref().unwrap_or(&nothing))
        };
        let if_any = |what| Some(before(what)).filter(|before| before.seen > 0);
        let scopes = counts.scopes.iter().map(|(scope, counts)| ScopeBefore {
            scope: scope.get(),
            execs: Before::new(&books.of_scope(*scope), counts),
        });
        ResumedBody {
            run: Run(*run).to_string(),
            line: *line,
            execs: before(What::Exec),
            failed: if_any(What::Failed),
            exits: if_any(What::Exit),
            scopes: if counts.scopes.len() > 1 { scopes.collect() } else { Vec::new() },
        }
    }
}

impl<'a> From<&'a Start> for StartBody<'a> {
    fn from(start: &'a Start) -> StartBody<'a> {
        let scope = |(scope, kind, of): &'a (ScopeId, &'static str, String)| ScopeBody { scope: scope.get(), kind, of };
        StartBody {
            version: env!("CARGO_PKG_VERSION"),
            kernel: &start.kernel,
            boot_id: &start.boot_id,
            settings: &start.settings,
            scopes: start.scopes.iter().map(scope).collect(),
            pod: start.pod.as_ref().map(|PodNames { name, namespace, node }| PodBody {
                name: name.as_deref(),
                namespace: namespace.as_deref(),
                node: node.as_deref(),
            }),
            running: start.running,
            chained: start.chained,
            unwatched: start.unwatched.map(|(from, to)| Unwatched { from: timestamp(from), to: timestamp(to) }),
            resumed: start.resumed.as_ref().map(ResumedBody::of),
            rollup: start.rollup.as_ref().map(FoldsBody::from),
        }
    }
}

#[derive(Clone, Serialize)]
pub(super) struct LedgerBody<'a> {
    first: u64,
    last: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    #[serde(flatten)]
    execs: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exits: Option<Account>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<ScopeAccount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleBody<'a>>,
}

/// What one rule left out.
#[derive(Clone, Serialize)]
struct RuleBody<'a> {
    rule: &'a str,
    execs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    exits: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl<'a> RuleBody<'a> {
    /// What the kernel's half and what the program itself has left out by it.
    fn of(rule: &'a RuleCounts, ours: [u64; What::COUNT]) -> RuleBody<'a> {
        let [execs, failed, exits] = ours;
        RuleBody { rule: &rule.name, execs: rule.execs + execs, failed: rule.failed + failed, exits }
    }
}

/// seen = written + rolled_up + excluded + lost + waiting.
#[derive(Clone, Serialize)]
struct Account {
    seen: u64,
    written: u64,
    #[serde(skip_serializing_if = "is_zero")]
    rolled_up: u64,
    excluded: BTreeMap<&'static str, u64>,
    lost: BTreeMap<&'static str, u64>,
    waiting: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    partial: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursion_misses: Option<u64>,
}

#[derive(Clone, Serialize)]
struct ScopeAccount {
    scope: u32,
    #[serde(flatten)]
    execs: Account,
}

impl Account {
    fn new(counts: &Counts, sums: &Sums) -> Account {
        Account {
            seen: counts.seen,
            written: sums.written,
            rolled_up: sums.rolled_up,
            excluded: excluded(sums, counts),
            lost: sums.lost(),
            waiting: sums.waiting(counts),
            partial: counts.partial.clone(),
            recursion_misses: Some(counts.recursion_misses),
        }
    }

    /// The kernel tells misses for the whole node only.
    fn of_scope(counts: &Counts, sums: &Sums) -> Account {
        Account { recursion_misses: None, ..Account::new(counts, sums) }
    }
}

impl<'a> LedgerBody<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, place: Place<'_>) -> LedgerBody<'a> {
        let account = |what: What| {
            let counts = snapshot.all[what.index()].as_ref()?;
            Some(Account::new(counts, &place.books.of(what)))
        };
        let scopes = snapshot.scopes.iter().map(|(scope, counts)| ScopeAccount {
            scope: scope.get(),
            execs: Account::of_scope(counts, &place.books.of_scope(*scope)),
        });
        let rules = snapshot.rules.iter().enumerate();
        LedgerBody {
            first: place.last_ledger + 1,
            last: place.line - 1,
            part: None,
            parts: None,
            execs: account(What::Exec).unwrap_or_else(|| Account::new(&Counts::default(), &Sums::default())),
            failed: account(What::Failed),
            exits: account(What::Exit),
            scopes: if snapshot.scopes.len() > 1 { scopes.collect() } else { Vec::new() },
            rules: rules.map(|(number, rule)| RuleBody::of(rule, place.books.of_rule(number))).collect(),
        }
    }

    /// Several ledgers, one right after the other, of which each has all sums, and the accounts of some scopes and rules:
    /// as many as `room` bytes hold beside what all have, and at least one.
    pub(super) fn divided(self, room: impl FnOnce(&LedgerBody<'a>) -> usize) -> Vec<LedgerBody<'a>> {
        let number = Some(u32::MAX as usize);
        let LedgerBody { scopes, rules, .. } = self;
        let empty = LedgerBody { part: number, parts: number, scopes: Vec::new(), rules: Vec::new(), ..self };
        let room = room(&empty);
        let mut pieces = Pieces { of: empty, room, left: 0, ledgers: Vec::new() };
        for scope in scopes {
            pieces.with_room_for(&scope).scopes.push(scope);
        }
        for rule in rules {
            pieces.with_room_for(&rule).rules.push(rule);
        }
        let Pieces { of, mut ledgers, .. } = pieces;
        if ledgers.is_empty() {
            return vec![LedgerBody { part: None, parts: None, ..of }];
        }
        let parts = ledgers.len();
        for (at, ledger) in ledgers.iter_mut().enumerate() {
            (ledger.part, ledger.parts) = (Some(at + 1), Some(parts));
            if at > 0 {
                // Right behind a ledger, so it closes no lines.
                ledger.last += at as u64;
                ledger.first = ledger.last + 1;
            }
        }
        ledgers
    }
}

struct Pieces<'a> {
    of: LedgerBody<'a>,
    room: usize,
    /// In the last one.
    left: usize,
    ledgers: Vec<LedgerBody<'a>>,
}

impl<'a> Pieces<'a> {
    /// The last ledger, or one more if this has no room there.
    fn with_room_for(&mut self, what: &impl Serialize) -> &mut LedgerBody<'a> {
        let mut bytes = Vec::new();
        super::write(&mut bytes, what);
        let size = bytes.len() + 1;
        if self.ledgers.is_empty() || size > self.left {
            self.ledgers.push(self.of.clone());
            self.left = self.room;
        }
        self.left = self.left.saturating_sub(size);
        let last = self.ledgers.len() - 1;
        &mut self.ledgers[last]
    }
}

#[derive(Serialize)]
pub(super) struct LostBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
    reason: &'static str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u32>,
}

impl From<&Lost> for LostBody {
    fn from(lost: &Lost) -> LostBody {
        let what = match lost.what {
            What::Exec => None,
            What::Failed => Some("exec-failed"),
            What::Exit => Some("exit"),
        };
        LostBody { what, reason: lost.reason.name(), count: lost.count, scope: lost.scope.map(ScopeId::get) }
    }
}

#[derive(Serialize)]
pub(super) struct WatchdogBody {
    seen: bool,
    missed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

impl From<&Watchdog> for WatchdogBody {
    fn from(watchdog: &Watchdog) -> WatchdogBody {
        WatchdogBody { seen: watchdog.seen, missed: watchdog.missed, last_seen: watchdog.last_seen.map(timestamp) }
    }
}

/// Beside `labels`, which are the new ones.
#[derive(Serialize)]
pub(super) struct LabelsChangedBody<'a> {
    pub(super) before: &'a BTreeMap<String, String>,
}

/// What one sink does not have.
#[derive(Serialize)]
pub(super) struct DroppedBody {
    sink: &'static str,
    reason: &'static str,
    lines: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

impl From<&Dropped> for DroppedBody {
    fn from(dropped: &Dropped) -> DroppedBody {
        let Dropped { sink, reason, lines, first, last } = dropped;
        let [first, last] = [first, last].map(|number| number.map(|number| number.to_string()));
        DroppedBody { sink, reason: reason.name(), lines: *lines, first, last }
    }
}

#[derive(Serialize)]
pub(super) struct GoneBody {
    scope: u32,
}

impl From<&Gone> for GoneBody {
    fn from(gone: &Gone) -> GoneBody {
        GoneBody { scope: gone.scope.get() }
    }
}

#[derive(Serialize)]
pub(super) struct StopBody {
    why: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
}

impl From<&Stop> for StopBody {
    fn from(stop: &Stop) -> StopBody {
        StopBody { why: stop.why.name(), pinned: stop.pinned }
    }
}
