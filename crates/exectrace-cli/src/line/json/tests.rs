use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use exectrace::{Ended, Hook, Interpreter, LossReason, Partial, Running, ScopeId, Status, Traits, What};
use exectrace_sinks::dropped::Dropped;
use jsonschema::Validator;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ledger::{BY_RULE, Books, Counts, Reason, RuleCounts, Snapshot};
use crate::line::escape::tests::to_bytes;
use crate::line::{About, Lost, Resumed, Start, Stop, Watchdog, Why, errno_name, samples, signal_name};
use crate::seal::{ChainMode, Run, Seal, parse_seal};

mod long;

const RUN: Run = Run(0x19de_8888);

const ALL_FIELDS: [(Fields, &str); 3] =
    [(Fields::Seed, "seed"), (Fields::Standard, "standard"), (Fields::Full, "full")];

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../../docs/events.schema.json")).expect("the schema is JSON")
});
static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).expect("the schema is a schema"));

fn is_valid(line: &Value) -> bool {
    VALIDATOR.is_valid(line)
}

#[track_caller]
fn parse_valid(line: &str) -> Value {
    let parsed = serde_json::from_str(line).expect("a line is JSON");
    let errors: Vec<_> = VALIDATOR.iter_errors(&parsed).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{line}\n{errors:#?}");
    parsed
}

/// The labels that a Coder template gives.
fn labels() -> BTreeMap<String, String> {
    [
        ("organization_id", "0d4bd3a2-6b5a-4a02-8f43-f4d2e66a8d3c"),
        ("user_email", "jessie@example.com"),
        ("user_id", "a1a94b8a-9ac2-4cb6-8a1c-5ab2f1d0a7b4"),
        ("username", "jessie"),
        ("workspace_id", "b5f1fca2-6a3e-4cc5-b0a9-3d1b0c4d9f11"),
        ("workspace_name", "main \u{1f980} \"x\"\n"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

const LIMITS: Limits = Limits { bytes: 16_384, args: 100 };

fn encoder(told: Told, limits: Limits) -> JsonEncoder {
    JsonEncoder::new(told, limits)
}

/// Writes a line as the writer does.
fn put(fields: Fields, entry: &Entry, books: &Books, seal: &mut Seal) -> String {
    put_after(0, fields, entry, books, seal)
}

/// The same, where the last ledger has this number.
fn put_after(last_ledger: u64, fields: Fields, entry: &Entry, books: &Books, seal: &mut Seal) -> String {
    put_with(&About::default(), last_ledger, fields, entry, books, seal)
}

fn put_with(about: &About, last_ledger: u64, fields: Fields, entry: &Entry, books: &Books, seal: &mut Seal) -> String {
    let mut encoder = encoder(Told { fields, scopes: false }, LIMITS);
    encoder.set_labels(&labels());
    let mut out = Vec::new();
    let place = Place { run: RUN, line: seal.next_line(), last_ledger, books, about };
    let end = |out: &mut Vec<u8>, start| seal.put(out, start);
    encoder.encode(entry, SystemTime::UNIX_EPOCH, place, Lines { out: &mut out, end });
    String::from_utf8(out).expect("ASCII")
}

/// The first line of a run that is not chained.
fn encode(fields: Fields, entry: &Entry) -> String {
    put(fields, entry, &Books::default(), &mut Seal::new(RUN.0, ChainMode::None))
}

/// The same, with what is told of a process beside what the kernel said.
fn encode_with(about: &About, fields: Fields, entry: &Entry) -> String {
    put_with(about, 0, fields, entry, &Books::default(), &mut Seal::new(RUN.0, ChainMode::None))
}

/// The first line of a run that is chained.
fn encode_chained(entry: &Entry) -> String {
    put(Fields::Full, entry, &Books::default(), &mut Seal::new(RUN.0, ChainMode::Linked))
}

/// A ledger, as the given line of its run.
fn ledger(line: u64, snapshot: Snapshot, books: &Books) -> String {
    let mut seal = Seal::new(RUN.0, ChainMode::None);
    while seal.next_line() < line {
        seal.put(&mut b"}}}".to_vec(), 0);
    }
    put(Fields::Standard, &Entry::Ledger(Box::new(snapshot)), books, &mut seal)
}

fn exec(event: Event) -> Entry {
    Entry::Exec(Box::new(event))
}

fn failed(failed: FailedExec) -> Entry {
    Entry::Failed(Box::new(failed))
}

fn start(start: Start) -> Entry {
    Entry::Start(Box::new(start))
}

fn lost(what: What, reason: Reason, scope: Option<ScopeId>) -> Entry {
    Entry::Lost(Lost { what, scope, reason, count: 17 })
}

/// A diagnostic with a field of each type, as `diagnostics` makes it.
fn sample_diagnostic() -> String {
    let fields = serde_json::json!({ "pid_ns": 4_026_532_412_u32, "held": true, "peer": "127.0.0.1:4711" });
    let Value::Object(fields) = fields else { panic!("an object") };
    let msg = "tracing the workspace's PID namespace \u{fc}\n";
    diagnostic(SystemTime::UNIX_EPOCH + Duration::from_nanos(1), "INFO", msg, "src/x.rs", "exectrace::x", &fields)
}

/// Each golden line of the log, and what makes it.
fn log_goldens() -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let mut add = |name: &str, line: String| {
        assert_eq!(lines.insert(format!("{name}.json"), line), None, "{name}");
    };
    for (fields, name) in ALL_FIELDS {
        for (sample, event) in
            [("uname", samples::uname()), ("everything", samples::everything()), ("bare", samples::bare())]
        {
            add(&format!("exec-{name}-{sample}"), encode(fields, &exec(event)));
        }
        add(&format!("exec-failed-{name}"), encode(fields, &failed(samples::refused())));
    }
    add("exec-chained", encode_chained(&exec(samples::uname())));
    let ring_full = Reason::Kernel(LossReason::RingFull);
    let program_busy = Reason::Kernel(LossReason::ProgramBusy);
    let (small, books) = samples::small();
    add("ledger-small", ledger(240, small, &books));
    add("ledger-everything", ledger(1_210, samples::busy(), &samples::books()));
    let (about, rolled_up) = (samples::about(), About { rollup: Some(17), ..About::default() });
    add("exec-origin", encode_with(&about, Fields::Standard, &exec(samples::uname())));
    add("exec-failed-origin", encode_with(&about, Fields::Standard, &failed(samples::refused())));
    add("exec-rolled-up", encode_with(&rolled_up, Fields::Seed, &exec(samples::uname())));
    add("exec-failed-rolled-up", encode_with(&rolled_up, Fields::Seed, &failed(samples::refused())));
    add("exit-rolled-up", encode_with(&rolled_up, Fields::Seed, &Entry::Ended(Box::new(samples::ended()))));
    add("ledger-rollup", ledger(1_215, samples::busy_with_rollup(), &samples::books_of_rollup()));
    add("rollup-failed", encode(Fields::Full, &Entry::Rollup(Box::new(samples::searches()))));
    for (name, entry) in [
        ("rollup", Entry::Rollup(Box::new(samples::rollup()))),
        ("start-rollup", start(samples::start_rolling_up())),
        ("exit-code", Entry::Ended(Box::new(samples::ended()))),
        ("exit-signal", Entry::Ended(Box::new(samples::crashed()))),
        ("running", Entry::Running(Box::new(samples::running()))),
        ("running-kernel-thread", Entry::Running(Box::new(samples::kernel_thread()))),
        ("lost-ring-full", lost(What::Exec, ring_full, Some(ScopeId::FIRST))),
        ("lost-queue-full", lost(What::Exec, Reason::QueueFull, None)),
        ("lost-exec-failed", lost(What::Failed, program_busy, Some(samples::second_scope()))),
        ("lost-exit", lost(What::Exit, Reason::WriteFailed, Some(ScopeId::FIRST))),
        ("start-fresh", start(samples::start())),
        ("start-unwatched", start(samples::start_after_a_gap())),
        ("start-pod", start(samples::start_in_a_pod())),
        ("start-resumed", start(samples::start_resumed())),
        (
            "watchdog-unseen",
            Entry::Watchdog(Watchdog { seen: false, missed: 1, last_seen: Some(samples::uname().time) }),
        ),
        ("watchdog-seen-again", Entry::Watchdog(Watchdog { seen: true, missed: 12, last_seen: None })),
        ("stop", Entry::Stop(Stop { why: Why::CommandEnded, pinned: false, position: 0 })),
        ("stop-pinned", Entry::Stop(Stop { why: Why::Signal, pinned: true, position: 0 })),
        ("stop-gone", Entry::Stop(Stop { why: Why::ScopeGone, pinned: false, position: 0 })),
        ("stop-detached", Entry::Stop(Stop { why: Why::Detached, pinned: false, position: 0 })),
        ("labels-changed", Entry::LabelsChanged(BTreeMap::from([("username".to_owned(), "prebuilds".to_owned())]))),
        ("scope-gone", Entry::Gone(samples::gone())),
        ("dropped", Entry::Dropped(samples::dropped())),
        ("dropped-unknown", Entry::Dropped(Dropped { lines: 0, first: None, last: None, ..samples::dropped() })),
    ] {
        add(name, encode(Fields::Standard, &entry));
    }
    long::goldens().into_iter().for_each(|(name, line)| add(&name, line));
    lines
}

/// The same of all lines, those of exectrace's own too.
fn goldens() -> BTreeMap<String, String> {
    let mut lines = log_goldens();
    lines.insert("diagnostic.json".to_owned(), sample_diagnostic());
    lines
}

/// `EXECTRACE_UPDATE_GOLDENS=1 cargo test -p exectrace-cli golden` writes them anew.
#[test]
fn the_lines_are_the_golden_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lines");
    let made = goldens();
    if std::env::var_os("EXECTRACE_UPDATE_GOLDENS").is_some() {
        for entry in fs::read_dir(&folder).expect("the folder of the golden lines") {
            fs::remove_file(entry.expect("an entry").path()).expect("a golden line");
        }
        for (name, line) in &made {
            fs::write(folder.join(name), line).expect("a golden line");
        }
    }
    let mut kept = BTreeMap::new();
    for entry in fs::read_dir(&folder).expect("the folder of the golden lines") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        kept.insert(name, fs::read_to_string(&path).expect("a golden line"));
    }
    let names = |lines: &BTreeMap<String, String>| lines.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&kept), "made here, and kept in {}", folder.display());
    for (name, line) in &made {
        assert_eq!(line, &kept[name], "{name}");
    }
}

#[test]
fn every_golden_line_is_one_line_of_the_schema() {
    for (name, line) in goldens() {
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{name}");
        parse_valid(&line);
    }
}

#[test]
fn every_line_of_the_log_ends_in_its_number_and_no_other_has_one() {
    for (name, line) in log_goldens() {
        let line = line.strip_suffix('\n').expect("a line break");
        let sealed = parse_seal(line.as_bytes()).expect(&name);
        assert_eq!((sealed.run, sealed.tag.is_some()), (RUN, name == "exec-chained.json"), "{name}");
        let number = format!(",\"line\":\"{RUN}-{}\"", sealed.line);
        assert_eq!(line.matches(&number).count(), 1, "{name}");
        assert!(sealed.tag.is_some() || line.ends_with(&format!("{number}}}}}}}")), "{line}");
    }
    assert_eq!(parse_seal(sample_diagnostic().trim_end().as_bytes()), None);
}

/// Queries of the first version's logs must find what they look for, where they look for it.
#[test]
fn the_seed_s_names_and_their_order_are_the_contract() {
    let line = encode(Fields::Seed, &exec(samples::uname()));
    let caller = "crates/exectrace-cli/src/line/json/mod.rs";
    let (before, after) = line.split_once(",\"fields\":").expect("the fields");
    assert_eq!(
        before,
        format!(
            "{{\"ts\":\"2022-02-28T20:29:38.038452202Z\",\"level\":\"INFO\",\"msg\":\"exec\",\
             \"caller\":\"{caller}\",\"func\":\"exectrace::line::json::exec\""
        )
    );
    let (labels, after) = after.split_once(",\"cmdline\":").expect("the command line");
    let names: Vec<_> = labels.split("\":\"").filter_map(|part| part.rsplit('"').next()).map(str::to_owned).collect();
    assert!(labels.starts_with("{\"labels\":{\"organization_id\":"), "{labels}");
    assert_eq!(
        names[..6],
        ["organization_id", "user_email", "user_id", "username", "workspace_id", "workspace_name"],
        "{labels}"
    );
    assert_eq!(
        after,
        "\"uname -a\",\"event\":{\"filename\":\"/usr/bin/uname\",\"argv\":[\"uname\",\"-a\"],\"truncated\":false,\
         \"pid\":920684,\"uid\":101000,\"gid\":101000,\"comm\":\"bash\",\"line\":\"19de8888-1\"}}}\n"
    );
}

/// A line up to its number.
fn without_end(line: &str) -> &str {
    line.rsplit_once(",\"line\":").expect("a number").0
}

/// Where a tracer has several scopes, each line says whose it is.
#[test]
fn the_scope_is_told_at_every_level_where_there_are_several() {
    let mut encoder = encoder(Told { fields: Fields::Seed, scopes: true }, LIMITS);
    encoder.set_labels(&labels());
    let books = Books::default();
    let about = About::default();
    let place = Place { run: RUN, line: 1, last_ledger: 0, books: &books, about: &about };
    for entry in [exec(samples::uname()), failed(samples::refused()), Entry::Ended(Box::new(samples::ended()))] {
        let mut out = Vec::new();
        let end = |out: &mut Vec<u8>, start| Seal::new(RUN.0, ChainMode::None).put(out, start);
        encoder.encode(&entry, SystemTime::UNIX_EPOCH, place, Lines { out: &mut out, end });
        let line = parse_valid(&String::from_utf8(out).expect("ASCII"));
        assert_eq!(line["fields"]["event"]["scope"], 1);
    }
}

#[test]
fn more_fields_come_after_the_seed_s() {
    let [seed, standard, full] = ALL_FIELDS.map(|(fields, _)| encode(fields, &exec(samples::everything())));
    assert!(standard.starts_with(&format!("{},\"id\":", without_end(&seed))), "{standard}");
    assert!(full.starts_with(&format!("{},\"scope\":", without_end(&standard))), "{full}");
}

#[test]
fn an_attempt_begins_as_an_exec_does_and_says_that_it_is_a_claim() {
    let [seed, standard, full] = ALL_FIELDS.map(|(fields, _)| encode(fields, &failed(samples::refused())));
    let names: Vec<_> = ["filename", "argv", "truncated", "pid", "uid", "gid", "comm", "error", "claim"]
        .map(|name| seed.find(&format!("\"{name}\":")))
        .into_iter()
        .collect();
    assert!(names.is_sorted() && names.iter().all(Option::is_some), "{names:?} {seed}");
    assert!(without_end(&seed).ends_with("\"comm\":\"bash\",\"error\":\"EACCES\",\"claim\":true"), "{seed}");
    assert!(standard.starts_with(&format!("{},\"parent_id\":", without_end(&seed))), "{standard}");
    assert!(full.starts_with(&format!("{},\"scope\":", without_end(&standard))), "{full}");
}

#[test]
fn errors_and_signals_go_by_their_names() {
    for (errno, name) in [(1, "EPERM"), (2, "ENOENT"), (8, "ENOEXEC"), (11, "EAGAIN"), (26, "ETXTBSY"), (511, "511")] {
        let line = encode(Fields::Seed, &failed(FailedExec { errno, ..samples::refused() }));
        assert_eq!(parse_valid(&line)["fields"]["event"]["error"], name);
    }
    for (signal, name) in [(2, "SIGINT"), (9, "SIGKILL"), (31, "SIGSYS"), (64, "64")] {
        let ended = Ended { status: Status::from_wait(signal), ..samples::ended() };
        let line = encode(Fields::Standard, &Entry::Ended(Box::new(ended)));
        assert_eq!(parse_valid(&line)["fields"]["event"]["signal"], name);
    }
}

/// Each object of the log but the labels: where the schema has it, and where the lines do.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("event", "exec", "/event"),
    ("failed", "exec-failed", "/event"),
    ("exit", "exit", "/event"),
    ("running", "running", "/event"),
    ("continued", "continued", "/event"),
    ("continued/properties/rest", "continued", "/event/rest"),
    ("lost", "lost", "/lost"),
    ("dropped", "dropped", "/dropped"),
    ("start", "start", "/start"),
    ("startScope", "start", "/start/scopes/0"),
    ("start/properties/unwatched", "start", "/start/unwatched"),
    ("startResumed", "start", "/start/resumed"),
    ("excluded", "start", "/start/resumed/excluded"),
    ("resumedFailed", "start", "/start/resumed/failed"),
    ("excludedFailed", "start", "/start/resumed/failed/excluded"),
    ("resumedExits", "start", "/start/resumed/exits"),
    ("resumedScope", "start", "/start/resumed/scopes/0"),
    ("resumedScope", "start", "/start/resumed/scopes/1"),
    ("ledger", "ledger", "/ledger"),
    ("excluded", "ledger", "/ledger/excluded"),
    ("failedAccount", "ledger", "/ledger/failed"),
    ("excludedFailed", "ledger", "/ledger/failed/excluded"),
    ("exitAccount", "ledger", "/ledger/exits"),
    ("scopeAccount", "ledger", "/ledger/scopes/0"),
    ("scopeAccount", "ledger", "/ledger/scopes/1"),
    ("rule", "ledger", "/ledger/rules/0"),
    ("rule", "ledger", "/ledger/rules/1"),
    ("watchdog", "watchdog", "/watchdog"),
    ("labelsChanged", "labels-changed", "/changed"),
    ("rollup", "rollup", "/rollup"),
    ("origin", "rollup", "/rollup/origin"),
    ("origin", "exec", "/event/origin"),
    ("scopeGone", "scope-gone", "/gone"),
    ("stop", "stop", "/stop"),
];

/// Valid lines with this msg, between them with every field that there can be.
fn lines_with(msg: &str) -> Vec<Value> {
    let [event, refused] =
        [exec(samples::everything()), failed(samples::refused())].map(|entry| encode_chained(&entry));
    let stop = Entry::Stop(Stop { why: Why::Signal, pinned: true, position: 0 });
    let full = [event, refused, encode_chained(&stop), encode_chained(&Entry::Ended(Box::new(samples::ended())))];
    let lines = log_goldens().into_values().chain(full).map(|line| parse_valid(&line));
    lines.filter(|line| line["msg"] == msg).collect()
}

fn names<'a>(objects: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    objects.into_iter().flat_map(|object| object.as_object().expect("an object").keys().cloned()).collect()
}

#[test]
fn the_schema_has_every_field_and_the_lines_have_every_field_of_the_schema() {
    let mut written: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (object, msg, place) in OBJECTS.iter().copied() {
        let lines = lines_with(msg);
        let objects: Vec<_> = lines.iter().filter_map(|line| line["fields"].pointer(place)).collect();
        assert!(!objects.is_empty(), "no {place} in any line {msg}");
        written.entry(object).or_default().extend(names(objects));
    }
    for (object, mut written) in written {
        let properties = SCHEMA.pointer(&format!("/$defs/{object}/properties")).expect(object);
        // That any line can have this one is shown below.
        if properties.get("chain").is_some() {
            written.insert("chain".to_owned());
        }
        assert_eq!(written, names([properties]), "{object}");
    }
}

#[test]
fn every_line_of_the_log_can_be_chained() {
    for (name, line) in log_goldens() {
        let mut chained = parse_valid(&line);
        body(&mut chained).insert("chain".to_owned(), "0123456789abcdef".repeat(2).into());
        assert!(is_valid(&chained), "{name}");
        for wrong in ["0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF", ""] {
            body(&mut chained).insert("chain".to_owned(), wrong.into());
            assert!(!is_valid(&chained), "{name}: {wrong}");
        }
    }
}

/// What the line's number stands in.
fn body(line: &mut Value) -> &mut Map<String, Value> {
    let fields = line["fields"].as_object_mut().expect("fields");
    let bodies = fields.values_mut().filter_map(Value::as_object_mut).filter(|object| object.contains_key("line"));
    bodies.last().expect("a body")
}

#[test]
fn the_schema_has_every_msg() {
    let all = [
        EXEC,
        EXEC_FAILED,
        EXIT,
        RUNNING,
        CONTINUED,
        LOST,
        DROPPED,
        ROLLUP,
        START,
        LEDGER,
        WATCHDOG,
        LABELS_CHANGED,
        SCOPE_GONE,
        STOP,
    ]
    .map(|kind| kind.msg);
    assert_eq!(reasons("diagnosticLine/properties/msg/not"), all);
    for msg in all {
        for mut line in lines_with(msg) {
            for other in all.into_iter().filter(|other| *other != msg) {
                line["msg"] = other.into();
                assert!(!is_valid(&line), "{msg} as {other}");
            }
        }
    }
}

/// The words of an enum of the schema.
fn reasons(name: &str) -> Vec<String> {
    let value = SCHEMA.pointer(&format!("/$defs/{name}/enum")).expect("an enum");
    serde_json::from_value(value.clone()).expect("words")
}

#[test]
fn the_schema_has_every_reason() {
    assert_eq!(reasons("partialReason"), Partial::all().names().collect::<Vec<_>>());
    assert_eq!(reasons("lostReason"), Reason::all().map(Reason::name).collect::<Vec<_>>());
    for reason in Reason::all() {
        for what in What::ALL {
            let mut line = parse_valid(&encode(Fields::Standard, &lost(what, reason, None)));
            line["fields"]["lost"]["reason"] = "boredom".into();
            assert!(!is_valid(&line));
        }
    }
    let mut books = Books::default();
    for reason in Reason::all() {
        What::ALL.into_iter().for_each(|what| samples::lose(&mut books, what, reason, 1));
    }
    parse_valid(&ledger(2, samples::busy(), &books));
    let resumed = Some(Resumed { books, ..samples::resumed() });
    parse_valid(&encode(Fields::Standard, &start(Start { resumed, ..samples::start() })));
}

#[test]
fn the_schema_has_every_reason_of_a_sink() {
    assert_eq!(reasons("dropped/properties/reason"), exectrace_sinks::dropped::Reason::ALL.map(|reason| reason.name()));
}

#[test]
fn every_hook_has_its_place() {
    assert_eq!(reasons("event/properties/hook"), [Hook::Exec, Hook::Backup].map(Hook::name));
    assert_eq!(SCHEMA["$defs"]["failed"]["properties"]["hook"]["const"], Hook::Failed.name());
    assert_eq!(SCHEMA["$defs"]["exit"]["properties"]["hook"]["const"], Hook::Exit.name());
}

#[test]
fn what_a_ledger_tells_adds_up() {
    for (name, place) in [
        ("ledger-small.json", "/fields/ledger"),
        ("ledger-everything.json", "/fields/ledger"),
        ("start-resumed.json", "/fields/start/resumed"),
    ] {
        assert_adds_up(parse_valid(&log_goldens()[name]).pointer(place).expect(place));
    }
}

/// All of execs, and of attempts and ends of processes where they are told.
fn assert_adds_up(ledger: &Value) {
    let scopes = ledger["scopes"].as_array().into_iter().flatten();
    for account in [Some(ledger), ledger.get("failed"), ledger.get("exits")].into_iter().flatten().chain(scopes) {
        let number = |value: &Value| value.as_u64().expect("a number");
        let sum = |name: &str| account[name].as_object().expect(name).values().map(number).sum::<u64>();
        let waiting = account.get("waiting").map_or(0, number);
        let told = number(&account["written"]) + account.get("rolled_up").map_or(0, number);
        let rest = told + sum("excluded") + sum("lost") + waiting;
        assert_eq!(number(&account["seen"]), rest, "{account}");
    }
}

#[test]
fn a_ledger_covers_what_lies_behind_the_one_before_and_ends_before_itself() {
    for (line, last_ledger, covered) in
        [(2, 0, (1, 1)), (240, 0, (1, 239)), (241, 240, (241, 240)), (500, 240, (241, 499))]
    {
        let mut seal = Seal::new(RUN.0, ChainMode::None);
        (1..line).for_each(|_| drop(put(Fields::Standard, &exec(samples::uname()), &Books::default(), &mut seal)));
        let small = Entry::Ledger(Box::new(samples::small().0));
        let written = put_after(last_ledger, Fields::Standard, &small, &Books::default(), &mut seal);
        let written = parse_valid(&written);
        let ledger = &written["fields"]["ledger"];
        assert_eq!((ledger["first"].as_u64(), ledger["last"].as_u64()), (Some(covered.0), Some(covered.1)));
    }
}

/// Changes a valid line at one place, which makes it invalid.
#[track_caller]
fn refused(line: &str, pointer: &str, value: impl Into<Value>) {
    let mut changed = parse_valid(line);
    *changed.pointer_mut(pointer).expect(pointer) = value.into();
    assert!(!is_valid(&changed), "{pointer}: {changed}");
}

#[test]
fn the_schema_refuses_what_is_no_line() {
    let line = encode(Fields::Full, &exec(samples::everything()));
    refused(&line, "/ts", "2022-02-28T20:29:38.038Z");
    refused(&line, "/ts", "2022-02-28T20:29:38.038452202+00:00");
    refused(&line, "/level", "WARN");
    refused(&line, "/msg", "lost");
    refused(&line, "/fields/cmdline", "\u{fffd}");
    refused(&line, "/fields/labels", serde_json::json!({ "a": 1 }));
    for (field, value) in [
        ("pid", Value::from(-1)),
        ("truncated", false.into()),
        ("partial/0", "tired".into()),
        ("hook", "enter".into()),
        ("hook", "failed".into()),
        ("line", "19de8888-0".into()),
        ("line", "19de8888-01".into()),
        ("line", "19DE8888-1".into()),
        ("line", "19de888-1".into()),
        ("line", 1.into()),
    ] {
        refused(&line, &format!("/fields/event/{field}"), value);
    }
    for name in ["interpreter", "ppid", "cpu"] {
        let mut changed = parse_valid(&line);
        changed["fields"]["event"].as_object_mut().expect("an event").remove(name);
        assert!(!is_valid(&changed), "without {name}");
    }
}

#[test]
fn the_schema_refuses_what_is_no_line_of_any_other_kind() {
    let lines = log_goldens();
    for (name, changes) in [
        (
            "exec-failed-full",
            &[
                ("level", "WARN"),
                ("fields/event/error", "no such file"),
                ("fields/event/claim", "true"),
                ("fields/event/hook", "exec"),
                ("fields/event/partial/0", "tired"),
            ][..],
        ),
        (
            "exit-code",
            &[("fields/event/code", "0"), ("fields/event/id", "19de8888-1"), ("fields/event/duration_ns", "1s")],
        ),
        ("exit-signal", &[("fields/event/signal", "killed"), ("fields/event/core", "false")]),
        ("running", &[("fields/event/started", "yesterday"), ("fields/event/snapshot", "no")]),
        ("lost-exec-failed", &[("level", "INFO"), ("fields/lost/what", "exec"), ("fields/lost/reason", "boredom")]),
        (
            "start-fresh",
            &[
                ("fields/start/settings", "5e77"),
                ("fields/start/boot_id", "?"),
                ("fields/start/chained", "md5"),
                ("fields/start/scopes/0/kind", "user"),
                ("fields/start/scopes/0/of", "jessie"),
                ("fields/start/running", "3"),
            ],
        ),
        ("start-unwatched", &[("fields/start/unwatched/from", "yesterday")]),
        ("start-resumed", &[("fields/start/resumed/run", "19de8888-1")]),
        ("watchdog-unseen", &[("level", "INFO"), ("level", "WARN")]),
        ("watchdog-seen-again", &[("level", "ERROR")]),
        ("stop", &[("fields/stop/why", "tired")]),
        (
            "rollup",
            &[
                ("fields/rollup/sha256", "ab"),
                ("fields/rollup/first", "yesterday"),
                ("fields/rollup/origin/kind", "moon"),
                ("fields/rollup/count", "188"),
            ],
        ),
        ("exec-origin", &[("fields/event/rare", "steak"), ("fields/event/origin/interactive", "maybe")]),
        ("start-rollup", &[("fields/start/rollup/complete", "19de8888-1")]),
    ] {
        let line = &lines[&format!("{name}.json")];
        for (place, value) in changes {
            refused(line, &format!("/{place}"), *value);
        }
    }
    refused(&lines["lost-exit.json"], "/fields/lost/count", 0);
    refused(&lines["exit-code.json"], "/fields/event/code", 256);
    refused(&lines["ledger-everything.json"], "/fields/ledger/excluded/rule", -1);
    refused(&lines["ledger-everything.json"], "/fields/ledger/lost", serde_json::json!({ "boredom": 1 }));
    refused(&lines["ledger-everything.json"], "/fields/ledger/lost/ring_full", 0);
    refused(&lines["ledger-everything.json"], "/fields/ledger/partial", serde_json::json!({ "cwd_cut": 1 }));
    refused(&lines["ledger-everything.json"], "/fields/ledger/exits/excluded", serde_json::json!({ "uid": 1 }));
    let mut both = parse_valid(&lines["rollup.json"]);
    both["fields"]["rollup"]["error"] = "ENOENT".into();
    assert!(!is_valid(&both), "a file that ran, and failures");
    refused(&lines["rollup.json"], "/fields/rollup/number", 0);
    refused(&lines["watchdog-seen-again.json"], "/fields/watchdog/missed", 0);
    let mut ended = parse_valid(&lines["exit-code.json"]);
    ended["fields"]["event"]["signal"] = "SIGKILL".into();
    assert!(!is_valid(&ended), "a code and a signal");
    for (name, without) in [("exit-code", "code"), ("exit-signal", "signal")] {
        let mut ended = parse_valid(&lines[&format!("{name}.json")]);
        ended["fields"]["event"].as_object_mut().expect("an event").remove(without);
        assert!(!is_valid(&ended), "neither a code nor a signal");
    }
}

#[test]
fn no_object_of_the_log_may_have_more_or_lack_what_it_must_have() {
    for (object, msg, place) in OBJECTS.iter().copied() {
        let definition = SCHEMA.pointer(&format!("/$defs/{object}")).expect(object);
        let required = definition.get("required").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let required: Vec<String> = serde_json::from_value(required).expect("names");
        assert!(object != "event" || required.len() == 8, "the seed and the number");
        let place = format!("/fields{place}");
        for line in lines_with(msg).into_iter().filter(|line| line.pointer(&place).is_some()) {
            let change = |what: &dyn Fn(&mut Map<String, Value>)| {
                let mut changed = line.clone();
                what(changed.pointer_mut(&place).and_then(Value::as_object_mut).expect("an object"));
                changed
            };
            for name in &required {
                assert!(!is_valid(&change(&|object| drop(object.remove(name)))), "{msg} without {name}");
            }
            assert!(!is_valid(&change(&|object| drop(object.insert("more".to_owned(), 1.into())))), "{msg} {place}");
        }
    }
    for line in log_goldens().into_values() {
        for place in ["", "/fields"] {
            let mut changed = parse_valid(&line);
            changed.pointer_mut(place).expect("an object")["more"] = 1.into();
            assert!(!is_valid(&changed), "{place} of {line}");
        }
    }
}

/// What a string of the kernel's can be: text, bytes, or text that tries to leave its string.
fn kernel_string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(1..=u8::MAX, 0..40),
        "[^\u{0}]{0,20}".prop_map(String::into_bytes),
        "[\"\\\\\n{}\u{fffd}\u{2028}f'$ ~#!-]{0,12}".prop_map(String::into_bytes),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let strings = (kernel_string(), kernel_string(), kernel_string(), kernel_string(), kernel_string());
    let argv = vec(kernel_string(), 0..6);
    let interpreter = proptest::option::of((kernel_string(), vec(kernel_string(), 0..3)));
    let flags = (any::<u32>(), any::<u32>(), any::<u64>());
    (strings, argv, interpreter, flags).prop_map(
        |((filename, comm, exe, cwd, tty), argv, interpreter, (traits, partial, number))| {
            let mut event = samples::uname();
            event.argv = samples::args(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>());
            event.argv.total_bytes += number % 3;
            event.filename = filename;
            event.comm = comm;
            event.exe = exe;
            event.cwd = cwd;
            event.tty = Some(tty);
            event.interpreter = interpreter.map(|(path, args)| Interpreter { path, args });
            event.traits = Traits::from_bits_truncate(traits);
            event.partial = Partial::from_bits_truncate(partial);
            event.inode = number;
            event
        },
    )
}

fn attempt() -> impl Strategy<Value = FailedExec> {
    (event(), 1..512_u32).prop_map(|(mut attempt, errno)| {
        attempt.origin.hook = Hook::Failed;
        FailedExec { errno, attempt }
    })
}

fn ended() -> impl Strategy<Value = Ended> {
    (0..=0xffff_u32, kernel_string(), any::<u64>(), any::<u64>())
        // Whatever the kernel may give but that a process was stopped or goes on, which is no end.
        .prop_filter("an end", |(status, ..)| status & 0x7f != 0x7f)
        .prop_map(|(status, comm, time, bytes)| {
            let lived = Duration::from_nanos(time);
            Ended { status: Status::from_wait(status), comm, lived, max_rss_bytes: bytes, ..samples::ended() }
        })
}

fn running() -> impl Strategy<Value = Running> {
    let strings = (kernel_string(), kernel_string(), kernel_string(), vec(kernel_string(), 0..6));
    strings.prop_map(|(comm, exe, cwd, argv)| {
        let argv = samples::args(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Running { comm, exe, cwd, argv, ..samples::running() }
    })
}

/// Counters and books that agree: what was seen, and of it what is written, left out and lost.
fn account() -> impl Strategy<Value = (Snapshot, Books)> {
    let numbers = (0..500_u64, 0..100_u64, 0..100_u64, 0..100_u64, vec(0..3_u64, Reason::all().count()));
    vec(numbers, What::COUNT).prop_map(|numbers| {
        let (mut snapshot, mut books) = (Snapshot::default(), Books::default());
        for (what, (written, excluded, by_rule, waiting, lost)) in What::ALL.into_iter().zip(numbers) {
            samples::write(&mut books, what, written);
            Reason::all().zip(&lost).for_each(|(reason, count)| samples::lose(&mut books, what, reason, *count));
            let excluded = match what {
                What::Exec => BTreeMap::from([(BY_RULE, excluded)]),
                What::Failed => BTreeMap::from([("errno", excluded), (BY_RULE, by_rule)]),
                What::Exit => BTreeMap::new(),
            };
            let all = written + excluded.values().sum::<u64>() + lost.iter().sum::<u64>() + waiting;
            snapshot.all[what.index()] = Some(Counts { seen: all, excluded, ..Counts::default() });
        }
        (snapshot, books)
    })
}

fn bytes_of(value: &Value) -> Vec<u8> {
    to_bytes(value.as_str().expect("a string"))
}

proptest! {
    /// One event is one line, whatever is in it, and the line tells it without loss.
    #[test]
    fn any_event_is_one_line_that_tells_it(event in event()) {
        for (fields, _) in ALL_FIELDS {
            let line = encode(fields, &exec(event.clone()));
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(line.trim_end_matches('\n').bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
            let written = &parse_valid(&line)["fields"];
            prop_assert_eq!(&written["labels"], &serde_json::to_value(labels()).expect("labels"));
            prop_assert_eq!(bytes_of(&written["event"]["filename"]), event.filename.clone());
            prop_assert_eq!(bytes_of(&written["event"]["comm"]), event.comm.clone());
            let argv: Vec<_> = written["event"]["argv"].as_array().expect("argv").iter().map(bytes_of).collect();
            prop_assert_eq!(&argv, &event.argv.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            prop_assert_eq!(shlex::bytes::split(&bytes_of(&written["cmdline"])), Some(argv));
            if fields >= Fields::Standard && !event.cwd.is_empty() {
                prop_assert_eq!(bytes_of(&written["event"]["cwd"]), event.cwd.clone());
            }
        }
    }

    /// The same of an attempt that failed.
    #[test]
    fn any_attempt_is_one_line_that_tells_it(refused in attempt()) {
        for (fields, _) in ALL_FIELDS {
            let line = encode(fields, &failed(refused.clone()));
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            prop_assert!(line.trim_end_matches('\n').bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
            let written = &parse_valid(&line)["fields"];
            prop_assert_eq!(&written["event"]["error"], &Value::String(errno_name(refused.errno)));
            prop_assert_eq!(bytes_of(&written["event"]["filename"]), refused.attempt.filename.clone());
            prop_assert_eq!(bytes_of(&written["event"]["comm"]), refused.attempt.comm.clone());
            let argv: Vec<_> = written["event"]["argv"].as_array().expect("argv").iter().map(bytes_of).collect();
            prop_assert_eq!(&argv, &refused.attempt.argv.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            prop_assert_eq!(shlex::bytes::split(&bytes_of(&written["cmdline"])), Some(argv));
            if fields >= Fields::Standard && !refused.attempt.cwd.is_empty() {
                prop_assert_eq!(bytes_of(&written["event"]["cwd"]), refused.attempt.cwd.clone());
            }
        }
    }

    #[test]
    fn any_end_of_a_process_is_a_code_or_a_signal(ended in ended()) {
        let written = &parse_valid(&encode(Fields::Standard, &Entry::Ended(Box::new(ended.clone()))))["fields"]["event"];
        prop_assert_eq!(bytes_of(&written["comm"]), ended.comm.clone());
        prop_assert_eq!(written["code"].as_u64(), ended.status.code().map(u64::from));
        let signal = ended.status.signal().map(signal_name);
        prop_assert_eq!(written["signal"].as_str(), signal.as_deref());
    }

    #[test]
    fn any_running_process_is_one_line_that_tells_it(running in running()) {
        let line = encode(Fields::Standard, &Entry::Running(Box::new(running.clone())));
        let written = &parse_valid(&line)["fields"];
        let argv: Vec<_> = written["event"]["argv"].as_array().expect("argv").iter().map(bytes_of).collect();
        prop_assert_eq!(&argv, &running.argv.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        prop_assert_eq!(shlex::bytes::split(&bytes_of(&written["cmdline"])), Some(argv));
    }

    #[test]
    fn any_ledger_adds_up(account in account()) {
        let (snapshot, books) = account;
        assert_adds_up(&parse_valid(&ledger(2, snapshot.clone(), &books))["fields"]["ledger"]);
        let resumed = Some(Resumed { books, counts: snapshot, ..samples::resumed() });
        let line = encode(Fields::Standard, &start(Start { resumed, ..samples::start() }));
        assert_adds_up(&parse_valid(&line)["fields"]["start"]["resumed"]);
    }

    #[test]
    fn any_message_of_our_own_is_one_line(msg in ".{0,40}", name in ".{0,10}", value in ".{0,40}") {
        let fields: Map<String, Value> = [(name, Value::String(value))].into_iter().collect();
        let line = diagnostic(SystemTime::UNIX_EPOCH, "ERROR", &msg, "caller", "func", &fields);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let written = parse_valid(&line);
        prop_assert_eq!(&written["msg"], &Value::String(msg));
        prop_assert_eq!(&written["fields"], &Value::Object(fields));
    }
}
