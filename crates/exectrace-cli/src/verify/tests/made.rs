//! Writes the log that exectrace would have written of made-up runs, with the writer's own seal.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::seal::{ChainKey, ChainMode, Seal};

/// What happens in a run, in its order.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Exec(Exec),
    /// An exec that a rule leaves out.
    Excluded,
    Lost(&'static str, u64),
    Ledger,
    /// Whether the watchdog's own exec was seen.
    Watchdog(bool),
    Running,
    Exit,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Exec {
    Whole,
    Truncated,
    WithoutId,
    /// With the id of the one before: what a true log never has.
    Again,
}

/// A run. `resumes`: it goes on from the run before it, which was killed, and tells this many of its events again.
#[derive(Debug, Clone)]
pub(super) struct RunOps {
    pub(super) ops: Vec<Op>,
    pub(super) resumes: Option<usize>,
}

/// What happened, by the maker's own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) execs: u64,
    pub(super) excluded: u64,
    pub(super) lost: u64,
}

impl Made {
    fn add(&mut self, op: &Op) {
        match op {
            Op::Exec(_) => self.execs += 1,
            Op::Excluded => self.excluded += 1,
            Op::Lost(_, count) => self.lost += count,
            _ => {}
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) chain: &'static str,
    /// Without line breaks.
    pub(super) lines: Vec<String>,
    pub(super) made: Made,
    /// The same of each scope, where there are several.
    pub(super) of_scopes: BTreeMap<u32, Made>,
    /// Seals of last lines of runs that were killed, if the next run tells them again.
    last_told_again: Vec<String>,
}

impl Log {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
    }

    /// What the reader needs to know.
    pub(super) fn key(&self) -> Option<ChainKey> {
        (self.chain == "hmac-sha256").then(key)
    }

    pub(super) fn is_last_of_what_is_told_again(&self, at: usize) -> bool {
        self.last_told_again.contains(&self.lines[at])
    }
}

pub(super) fn key() -> ChainKey {
    ChainKey::from_bytes(b"a key for the tests alone").expect("a key")
}

pub(super) fn diagnostic() -> String {
    line(0, "INFO", "the log could not be written", json!({ "lost": 3 }))
}

/// Sums since the kernel program was loaded.
#[derive(Debug, Clone, Default)]
struct Sums {
    written: u64,
    excluded: u64,
    lost: BTreeMap<&'static str, u64>,
    exits: u64,
}

impl Sums {
    fn of_all(scopes: &[Sums]) -> Sums {
        scopes.iter().fold(Sums::default(), |mut all, scope| {
            all.written += scope.written;
            all.excluded += scope.excluded;
            all.exits += scope.exits;
            scope.lost.iter().for_each(|(reason, count)| *all.lost.entry(reason).or_default() += count);
            all
        })
    }

    /// As a ledger has them.
    fn told(&self) -> Value {
        let Sums { written, excluded, lost, .. } = self;
        let seen = written + excluded + lost.values().sum::<u64>();
        json!({ "seen": seen, "written": written, "excluded": { "uid": excluded }, "lost": lost })
    }

    /// The same of all, and of each scope if there are several.
    fn told_with_scopes(scopes: &[Sums]) -> Value {
        let mut told = Sums::of_all(scopes).told();
        if scopes.len() > 1 {
            let each = (1..).zip(scopes).map(|(scope, sums)| {
                let mut told = sums.told();
                told["scope"] = json!(scope);
                told
            });
            told["scopes"] = each.collect();
        }
        told
    }
}

struct Writer {
    seal: Seal,
    workspace: usize,
    /// By scope.
    sums: Vec<Sums>,
    first: u64,
    lines: Vec<String>,
    /// The numbers after each line.
    history: Vec<Vec<Sums>>,
    /// What each line told, to tell it again.
    told: Vec<Vec<(Op, u64)>>,
}

/// Seconds, ids and random numbers: each is new.
struct Counter(u64);

impl Counter {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The log of these runs, one after the other, of one scope.
pub(super) fn log_of(chain: &str, runs: &[RunOps]) -> Log {
    log_of_scopes(chain, 1, runs)
}

/// The same of several scopes.
pub(super) fn log_of_scopes(chain: &str, scopes: u32, runs: &[RunOps]) -> Log {
    let (chain, mode) = match chain {
        "none" => ("none", ChainMode::None),
        "sha256" => ("sha256", ChainMode::Linked),
        _ => ("hmac-sha256", ChainMode::Keyed(key())),
    };
    let (lines, last_told_again) = (Vec::new(), Vec::new());
    let mut log = Log { chain, lines, made: Made::default(), of_scopes: BTreeMap::new(), last_told_again };
    let mut counter = Counter(0);
    let mut before: Option<Writer> = None;
    for (number, run) in runs.iter().enumerate() {
        let is_killed = runs.get(number + 1).is_some_and(|next| next.resumes.is_some());
        let seal = Seal::new(0x5eed_0000 + u32::try_from(number).expect("few runs"), mode.clone());
        let mut writer = Writer {
            seal,
            workspace: number,
            sums: vec![Sums::default(); scopes as usize],
            first: 1,
            lines: Vec::new(),
            history: Vec::new(),
            told: Vec::new(),
        };
        let forerunner = before.take().zip(run.resumes);
        let running = u64::try_from(run.ops.iter().filter(|op| matches!(op, Op::Running)).count()).expect("few");
        let mut start = json!({
            "version": "0.1.0", "kernel": "6.18.44", "boot_id": "boot", "settings": "0123456789abcdef",
            "running": running,
        });
        let mut again = Vec::new();
        if let Some((forerunner, count)) = forerunner {
            writer.workspace = forerunner.workspace;
            let kept = forerunner.lines.len().saturating_sub(count).max(1);
            writer.sums = forerunner.history[kept - 1].clone();
            start["resumed"] = Sums::told_with_scopes(&writer.sums);
            start["resumed"]["run"] = json!(forerunner.seal.run().to_string());
            start["resumed"]["line"] = json!(kept);
            let exits = Sums::of_all(&writer.sums).exits;
            if exits > 0 {
                start["resumed"]["exits"] = json!({ "seen": exits, "written": exits, "excluded": {}, "lost": {} });
            }
            again = forerunner.told[kept..].iter().flatten().cloned().collect();
            if kept < forerunner.lines.len() {
                log.last_told_again.extend(forerunner.lines.last().cloned());
            }
        }
        let of = |scope: u32| if scope == 1 { String::new() } else { format!(".{scope}") };
        let name = |scope: u32| format!("{}{}", writer.workspace, of(scope));
        start["scopes"] =
            (1..=scopes).map(|scope| json!({ "scope": scope, "kind": "pid_ns", "of": name(scope) })).collect();
        if let Some(chained) = writer.seal.chained() {
            start["chained"] = json!(chained);
        }
        writer.write(&mut counter, "INFO", "start", "start", start, None);
        for (op, id) in again {
            writer.op(&op, id, &mut counter);
        }
        let mut id = counter.next();
        for op in &run.ops {
            if !matches!(op, Op::Exec(Exec::Again)) {
                id = counter.next();
            }
            log.made.add(op);
            if scopes > 1 {
                log.of_scopes.entry(writer.scope_of(id)).or_default().add(op);
            }
            writer.op(op, id, &mut counter);
        }
        if !is_killed {
            writer.op(&Op::Ledger, 0, &mut counter);
            writer.write(&mut counter, "INFO", "stop", "stop", json!({ "why": "asked to" }), None);
        }
        log.lines.extend(writer.lines.iter().cloned());
        before = Some(writer);
    }
    log
}

impl Writer {
    fn scope_of(&self, id: u64) -> u32 {
        u32::try_from(1 + id / 2 % self.sums.len() as u64).expect("few scopes")
    }

    fn op(&mut self, op: &Op, id: u64, counter: &mut Counter) {
        let told = Some((op.clone(), id));
        let scope = self.scope_of(id);
        let sums = &mut self.sums[scope as usize - 1];
        match op {
            Op::Exec(exec) => {
                sums.written += 1;
                let mut event = json!({ "scope": scope, "filename": "/usr/bin/uname", "argv": ["uname", "-a"], "truncated": matches!(exec, Exec::Truncated) });
                if !matches!(exec, Exec::WithoutId) {
                    event["id"] = json!(format!("b7c9e1d2a4f0-{id:x}-e0c6c-3"));
                }
                self.write(counter, "INFO", "exec", "event", event, told);
            }
            // Tells nothing by itself: the next ledger does.
            Op::Excluded => {
                sums.excluded += 1;
                self.history.last_mut().expect("a start").clone_from(&self.sums);
                self.told.last_mut().expect("a start").extend(told);
            }
            Op::Lost(reason, count) => {
                *sums.lost.entry(reason).or_default() += count;
                let lost = json!({ "reason": reason, "count": count, "scope": scope });
                self.write(counter, "WARN", "lost", "lost", lost, told);
            }
            Op::Ledger => {
                let number = self.seal.next_line();
                let exits = Sums::of_all(&self.sums).exits;
                let mut ledger = Sums::told_with_scopes(&self.sums);
                ledger["first"] = json!(self.first);
                ledger["last"] = json!(number - 1);
                ledger["waiting"] = json!(0);
                ledger["recursion_misses"] = json!(0);
                ledger["exits"] = json!({ "seen": exits, "written": exits, "lost": {}, "waiting": 0 });
                self.first = number + 1;
                self.write(counter, "INFO", "ledger", "ledger", ledger, None);
            }
            Op::Watchdog(seen) => {
                let level = if *seen { "INFO" } else { "ERROR" };
                self.write(counter, level, "watchdog", "watchdog", json!({ "seen": seen }), None);
            }
            Op::Running => self.write(counter, "INFO", "running", "event", json!({ "pid": 1 }), None),
            Op::Exit => {
                sums.exits += 1;
                self.write(counter, "INFO", "exit", "event", json!({ "id": "b7c9e1d2a4f0-1-e0c6c-3" }), told);
            }
        }
    }

    fn write(
        &mut self,
        counter: &mut Counter,
        level: &str,
        msg: &str,
        name: &str,
        body: Value,
        told: Option<(Op, u64)>,
    ) {
        let mut fields = json!({ "labels": { "workspace": self.workspace.to_string() } });
        if name == "event" {
            fields["cmdline"] = json!("uname -a");
        }
        // After `labels` and `cmdline` also by the alphabet that these objects are sorted by.
        fields[BODY] = body;
        let line = line(counter.next(), level, msg, fields).replace(BODY, name);
        let mut bytes = line.into_bytes();
        self.seal.put(&mut bytes, 0);
        let line = String::from_utf8(bytes).expect("ASCII");
        self.lines.push(line.trim_end().to_owned());
        self.history.push(self.sums.clone());
        self.told.push(told.into_iter().collect());
    }
}

pub(super) const BODY: &str = "~body";

pub(super) fn line(second: u64, level: &str, msg: &str, fields: Value) -> String {
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        r#"{{"ts":"2026-11-23T{hours:02}:{minutes:02}:{seconds:02}.548644144Z","level":"{level}","msg":"{msg}","caller":"src/json.rs","func":"exectrace::line","fields":{fields}}}"#
    )
}

fn op(with_loss: bool) -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Exec(Exec::Whole)),
        1 => Just(Op::Exec(Exec::Truncated)),
        1 => Just(Op::Exec(Exec::WithoutId)),
        1 => Just(Op::Excluded),
        1 => Just(Op::Running),
        1 => Just(Op::Exit),
        1 => Just(Op::Watchdog(true)),
        2 => Just(Op::Ledger),
        u32::from(with_loss) => (proptest::sample::select(&["ring_full", "queue_full"][..]), 1..9_u64)
            .prop_map(|(reason, count)| Op::Lost(reason, count)),
    ]
}

/// Logs of one to three runs, chained in any way; without losses, if so asked, so that whole is what they are.
pub(super) fn log(with_loss: bool) -> impl Strategy<Value = Log> {
    log_chained(&["none", "sha256", "hmac-sha256"], with_loss)
}

/// Whole logs that are chained.
pub(super) fn chained_log() -> impl Strategy<Value = Log> {
    log_chained(&["sha256", "hmac-sha256"], false)
}

fn log_chained(chains: &'static [&'static str], with_loss: bool) -> impl Strategy<Value = Log> {
    let run = (vec(op(with_loss), 0..12), proptest::option::of(0..8_usize));
    let chain = proptest::sample::select(chains);
    (chain, 1..4_u32, vec(run, 1..4)).prop_map(|(chain, scopes, runs)| {
        let runs = runs.into_iter().enumerate();
        let runs: Vec<RunOps> =
            runs.map(|(number, (ops, resumes))| RunOps { ops, resumes: resumes.filter(|_| number > 0) }).collect();
        log_of_scopes(chain, scopes, &runs)
    })
}
