//! What has no room in one line.

use super::*;

pub(super) const SMALL: Limits = Limits { bytes: MIN_LINE as usize, args: 100 };

/// All lines that an entry becomes, from the first line of a run on.
pub(super) fn encode_all(fields: Fields, limits: Limits, redacted: u32, entry: &Entry) -> Vec<String> {
    encode_behind(0, fields, limits, redacted, entry)
}

/// The same, behind so many lines that have no ledger.
fn encode_behind(before: u64, fields: Fields, limits: Limits, redacted: u32, entry: &Entry) -> Vec<String> {
    let mut encoder = encoder(Told { fields, scopes: false }, limits);
    encoder.set_labels(&labels());
    let (mut seal, mut out, mut ends) = (Seal::new(RUN.0, ChainMode::None), Vec::new(), vec![0]);
    let books = Books::default();
    (0..before).for_each(|_| seal.put(&mut b"}}}".to_vec(), 0));
    let about = About { redacted, ..About::default() };
    let place = Place { run: RUN, line: before + 1, last_ledger: 0, books: &books, about: &about };
    let end = |out: &mut Vec<u8>, start| {
        seal.put(out, start);
        ends.push(out.len());
    };
    encoder.encode(entry, SystemTime::UNIX_EPOCH, place, Lines { out: &mut out, end });
    ends.windows(2).map(|ends| String::from_utf8(out[ends[0]..ends[1]].to_vec()).expect("ASCII")).collect()
}

/// Lines of each kind that can be long, with what only such lines have.
pub(super) fn goldens() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, entry) in [
        ("exec-long", exec(samples::long())),
        ("exec-failed-long", failed(FailedExec { attempt: samples::long(), ..samples::refused() })),
        ("running-long", Entry::Running(Box::new(samples::long_running()))),
        ("ledger-long", Entry::Ledger(Box::new(many(24, 3)))),
    ] {
        let is_ledger = matches!(entry, Entry::Ledger(_));
        let (before, redacted) = if is_ledger { (8, 0) } else { (0, 2) };
        let all = encode_behind(before, Fields::Standard, SMALL, redacted, &entry);
        lines.extend(all.into_iter().enumerate().map(|(at, line)| (format!("{name}-{}", at + 1), line)));
    }
    lines
}

/// What a reader makes of the lines of one process, as `docs/events.md` tells it.
struct Joined {
    argv: Vec<String>,
    strings: BTreeMap<String, String>,
}

fn join(lines: &[String]) -> Joined {
    let lines: Vec<Value> = lines.iter().map(|line| parse_valid(line)).collect();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let first = &lines[0]["fields"]["event"];
    let mut argv = texts(&first["argv"]);
    let mut strings: BTreeMap<String, String> = first
        .as_object()
        .expect("an event")
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    assert_eq!(first.get("parts").and_then(Value::as_u64), (lines.len() > 1).then_some(lines.len() as u64));
    for (at, line) in lines.iter().enumerate().skip(1) {
        let (fields, event) = (&line["fields"], &line["fields"]["event"]);
        assert_eq!((&line["msg"], &line["ts"]), (&Value::from("continued"), &lines[0]["ts"]));
        assert_eq!((event["part"].as_u64(), event["parts"].as_u64()), (Some(at as u64 + 1), Some(lines.len() as u64)));
        assert_eq!((&event["of"], &event["id"]), (&first["line"], &first["id"]));
        assert_eq!(fields["labels"], lines[0]["fields"]["labels"]);
        let mut words = texts(&event["argv"]);
        let bytes: Vec<_> = words.iter().map(|word| to_bytes(word)).collect();
        assert_eq!(shlex::bytes::split(&to_bytes(&text(&fields["cmdline"]))), Some(bytes));
        if event.get("joined").is_some() {
            let rest = words.remove(0);
            argv.last_mut().expect("an argument to go on with").push_str(&rest);
        }
        argv.extend(words);
        for (name, rest) in event["rest"].as_object().into_iter().flatten() {
            strings.entry(name.clone()).or_default().push_str(rest.as_str().expect("a string"));
        }
    }
    Joined { argv, strings }
}

#[track_caller]
fn assert_told(lines: &[String], event: &Event, fields: Fields, limits: Limits) {
    for line in lines {
        // A tag, which these lines do not have.
        assert!(line.len() + 43 <= limits.bytes, "{} bytes: {line}", line.len());
        let args = parse_valid(line)["fields"]["event"]["argv"].as_array().map_or(0, Vec::len);
        assert!(args <= limits.args, "{args} arguments");
    }
    let Joined { argv, strings } = join(lines);
    let argv: Vec<_> = argv.iter().map(|word| to_bytes(word)).collect();
    assert_eq!(argv, event.argv.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
    assert_eq!(to_bytes(&strings["filename"]), event.filename);
    if fields >= Fields::Standard && !event.cwd.is_empty() {
        assert_eq!(to_bytes(&strings["cwd"]), event.cwd);
    }
}

fn with_argv(argv: &[&[u8]]) -> Event {
    Event { argv: samples::args(argv), ..samples::uname() }
}

#[test]
fn a_padded_command_is_told_to_its_last_argument() {
    let padding = vec![b'A'; 40_000];
    let event = with_argv(&[b"sh", b"-c", &padding, b"curl", b"https://example.com/x"]);
    let lines = encode_all(Fields::Standard, LIMITS, 0, &exec(event.clone()));
    assert_told(&lines, &event, Fields::Standard, LIMITS);
    let first = parse_valid(&lines[0]);
    assert!(first["fields"]["cmdline"].as_str().expect("text").starts_with("sh -c AAAA"), "useful by itself");
    let last = parse_valid(lines.last().expect("lines"));
    assert!(last["fields"]["cmdline"].as_str().expect("text").ends_with("A curl https://example.com/x"), "{last}");
}

#[test]
fn an_argument_that_has_room_in_a_line_of_its_own_is_not_torn() {
    let words = [vec![b'a'; 3_000], vec![b'b'; 6_000], vec![b'c'; 6_000]];
    let event = with_argv(&words.each_ref().map(Vec::as_slice));
    let lines = encode_all(Fields::Standard, LIMITS, 0, &exec(event.clone()));
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("\"joined\"")), "{lines:#?}");
    assert_told(&lines, &event, Fields::Standard, LIMITS);
}

#[test]
fn many_small_arguments_are_told_a_hundred_at_a_time() {
    let event = with_argv(&[b"x".as_slice(); 203]);
    let lines = encode_all(Fields::Standard, LIMITS, 0, &exec(event.clone()));
    assert_eq!(lines.len(), 3);
    assert_told(&lines, &event, Fields::Standard, LIMITS);
    let event = with_argv(&[b"x".as_slice(); 100]);
    assert_eq!(encode_all(Fields::Standard, LIMITS, 0, &exec(event)).len(), 1);
}

/// The kernel takes one argument of 128 KiB, and 2 MiB of them.
#[test]
fn the_longest_command_is_told() {
    let words: Vec<Vec<u8>> = (0..16).map(|at| vec![b'a' + at; 131_071]).collect();
    let event = with_argv(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let lines = encode_all(Fields::Full, LIMITS, 0, &exec(event.clone()));
    assert_told(&lines, &event, Fields::Full, LIMITS);
    // Twice 2 MiB, in argv and in cmdline, and less than a tenth of it around them.
    assert!((256..290).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn long_strings_leave_room_for_arguments() {
    for fields in [Fields::Seed, Fields::Standard, Fields::Full] {
        let event = samples::long();
        let lines = encode_all(fields, SMALL, 0, &exec(event.clone()));
        assert_told(&lines, &event, fields, SMALL);
        let words = parse_valid(&lines[0])["fields"]["event"]["argv"].as_array().map_or(0, Vec::len);
        assert!(words > 0, "{}", lines[0]);
    }
}

#[test]
fn a_hash_that_would_give_a_secret_away_is_not_told() {
    let mut event = samples::everything();
    event.argv.sha256 = Some([0xab; 32]);
    let told = |redacted| encode_all(Fields::Standard, LIMITS, redacted, &exec(event.clone())).remove(0);
    assert!(told(0).contains("argv_sha256"));
    assert!(!told(1).contains("argv_sha256"));
    assert_eq!(parse_valid(&told(1))["fields"]["event"]["redacted"], 1);
}

/// An argument that may be long, of what takes up one byte, two, six, eight, twelve or twenty-four.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"'".to_vec()),
        Just(b"\"\\".to_vec()),
        Just(b"\x01".to_vec()),
        Just(vec![0xff]),
        Just("é".as_bytes().to_vec()),
        Just("🦀".as_bytes().to_vec()),
        Just("\u{fffd}".as_bytes().to_vec()),
        Just(vec![0xe2, 0x82]),
        Just(b"$!".to_vec()),
    ];
    (vec(unit, 1..6), prop_oneof![4 => 0..20_usize, 1 => 0..900_usize])
        .prop_map(|(units, times)| units.concat().repeat(times))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_arguments_come_back_whole(words in vec(word(), 0..140), path in word(), args in 1..120_usize) {
        let path = &path[..path.len().min(4095)];
        let mut event = with_argv(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        (event.filename, event.cwd, event.exe) = (path.to_vec(), [b"/", path].concat(), [b"/x/", path].concat());
        for limits in [Limits { args, ..SMALL }, Limits { args, ..LIMITS }] {
            let lines = encode_all(Fields::Full, limits, 0, &exec(event.clone()));
            assert_told(&lines, &event, Fields::Full, limits);
        }
    }
}

/// So many scopes, each with an account of its own, and rules with long paths.
fn many(scopes: u32, rules: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let counts = |seen| Counts { seen, excluded: BTreeMap::from([(BY_RULE, 0)]), ..Counts::default() };
    snapshot.all[What::Exec.index()] = Some(counts(u64::from(scopes) * 5));
    let scope = |number| ScopeId::try_from(number).expect("not 0");
    let counts = counts(5);
    snapshot.scopes = (1..=scopes).map(|number| (scope(number), counts.clone())).collect();
    let rule =
        |number| RuleCounts { name: format!("path=/{}/{number}", "\u{e9}".repeat(100)).into(), execs: 3, failed: 0 };
    snapshot.rules = (0..rules).map(rule).collect();
    snapshot
}

#[test]
fn accounts_that_have_no_room_in_one_ledger_are_in_several() {
    for (scopes, rules) in [(2, 0), (255, 0), (255, 256), (2, 30)] {
        let snapshot = many(scopes, rules);
        let all = encode_behind(8, Fields::Standard, SMALL, 0, &Entry::Ledger(Box::new(snapshot)));
        let lines: Vec<Value> = all.iter().map(|line| parse_valid(line)).collect();
        assert!(all.iter().all(|line| line.len() <= SMALL.bytes), "{scopes} {rules}");
        assert_eq!(lines.len() > 1, scopes + rules > 2);
        let ledgers: Vec<&Value> = lines.iter().map(|line| &line["fields"]["ledger"]).collect();
        let list = |name: &str| -> Vec<Value> {
            ledgers.iter().flat_map(|ledger| ledger[name].as_array().cloned().unwrap_or_default()).collect()
        };
        let numbers: Vec<u64> = list("scopes").iter().filter_map(|scope| scope["scope"].as_u64()).collect();
        assert_eq!(numbers, (1..=u64::from(scopes)).collect::<Vec<_>>());
        assert_eq!(list("rules").len() as u64, u64::from(rules));
        for (at, ledger) in (1_u64..).zip(&ledgers) {
            assert_eq!((ledger["last"].as_u64(), ledger["seen"].as_u64()), (Some(at + 7), Some(u64::from(scopes) * 5)));
            assert_eq!(ledger["first"].as_u64(), Some(if at == 1 { 1 } else { at + 8 }));
            let number = (lines.len() > 1).then_some((Some(at), Some(lines.len() as u64)));
            assert_eq!(ledger.get("part").map(|part| (part.as_u64(), ledger["parts"].as_u64())), number);
        }
    }
}
