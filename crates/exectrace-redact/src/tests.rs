//! The corpus: what is missed of it, and what is taken for a secret that is none.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Beginnings of tokens, which do not stand in the corpus.
const BEGINNINGS: [(&str, &str); 17] = [
    ("{ghp}", concat!("gh", "p_")),
    ("{github_pat}", concat!("github", "_pat_")),
    ("{glpat}", concat!("gl", "pat-")),
    ("{xoxb}", concat!("xo", "xb-")),
    ("{akia}", concat!("AK", "IA")),
    ("{aiza}", concat!("AI", "za")),
    ("{sk_live}", concat!("sk", "_live_")),
    ("{sk_ant}", concat!("sk-", "ant-")),
    ("{npm}", concat!("np", "m_")),
    ("{hf}", concat!("h", "f_")),
    ("{dckr}", concat!("dckr", "_pat_")),
    ("{hvs}", concat!("hv", "s.")),
    ("{dop}", concat!("dop", "_v1_")),
    ("{cio}", concat!("ci", "o")),
    ("{age}", concat!("AGE-SECRET", "-KEY-1")),
    ("{PK}", concat!("PRIVATE", " KEY")),
    ("{pypi}", concat!("py", "pi-")),
];

/// One for all: making it takes longer than most tests.
fn redactor() -> &'static Redactor {
    static REDACTOR: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new(RedactionKey::new(b"a key of the tests"), UserRules::default()));
    &REDACTOR
}

fn redact(redactor: &Redactor, argv: &[Vec<u8>]) -> Option<Redacted> {
    redactor.redact(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A command line of the corpus.
struct Labelled {
    line: String,
    argv: Vec<Vec<u8>>,
    secrets: Vec<Span>,
}

/// Lines of a file; one goes on in the next until its quotes are closed.
fn corpus(name: &str) -> Vec<Labelled> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/redaction").join(name);
    let text = fs::read_to_string(&path).expect("a corpus");
    let (mut all, mut begun) = (Vec::new(), String::new());
    for line in text.lines() {
        if begun.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        begun.push_str(line);
        let expanded = BEGINNINGS.iter().fold(begun.clone(), |text, (name, begin)| text.replace(name, begin));
        match shlex::split(&expanded) {
            Some(words) => {
                all.push(labelled(std::mem::take(&mut begun), &words));
            }
            None => begun.push('\n'),
        }
    }
    assert!(begun.is_empty(), "quotes are not closed: {begun}");
    all
}

fn labelled(line: String, words: &[String]) -> Labelled {
    let (mut argv, mut secrets) = (Vec::new(), Vec::new());
    for (arg, word) in words.iter().enumerate() {
        let mut bytes = String::new();
        let mut start = 0;
        for char in word.chars() {
            match char {
                '⟦' => start = bytes.len(),
                '⟧' => secrets.push(Span { arg, start, end: bytes.len() }),
                char => bytes.push(char),
            }
        }
        argv.push(bytes.into_bytes());
    }
    Labelled { line, argv, secrets }
}

/// How rules did on a corpus.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    lines: usize,
    secrets: usize,
    /// Secrets of which a byte is left to read.
    missed: usize,
    /// Replaced, and no secret.
    false_alarms: usize,
}

fn score(name: &str) -> Score {
    let redactor = redactor();
    let mut score = Score::default();
    for Labelled { line, argv, secrets } in corpus(name) {
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let found = redactor.spans(&words);
        let covers = |secret: &Span| {
            found.iter().any(|span| span.arg == secret.arg && span.start <= secret.start && span.end >= secret.end)
        };
        let is_wanted = |span: &Span| {
            secrets.iter().any(|secret| span.arg == secret.arg && span.start < secret.end && secret.start < span.end)
        };
        for secret in secrets.iter().filter(|secret| !covers(secret)) {
            println!(
                "{name}: missed {:?} in {line}",
                String::from_utf8_lossy(&argv[secret.arg][secret.start..secret.end])
            );
            score.missed += 1;
        }
        for span in found.iter().filter(|span| !is_wanted(span)) {
            println!(
                "{name}: no secret {:?} in {line}",
                String::from_utf8_lossy(&argv[span.arg][span.start..span.end])
            );
            score.false_alarms += 1;
        }
        score.lines += 1;
        score.secrets += secrets.len();
    }
    score
}

/// The table of `docs/redaction.md` is what the rules do.
#[test]
fn the_corpus_is_redacted_as_the_documentation_says() {
    let docs = include_str!("../../../docs/redaction.md");
    for name in ["corpus.txt", "held-out.txt"] {
        let Score { lines, secrets, missed, false_alarms } = score(name);
        let row = format!("| `tests/redaction/{name}` | {lines} | {secrets} | {missed} | {false_alarms} |");
        assert!(docs.contains(&row), "docs/redaction.md needs the row\n{row}");
    }
}

#[test]
fn nothing_but_secrets_is_replaced_and_equal_ones_by_equal_marks() {
    let argv = ["sh", "-c", "mysql -phunter2 db;  curl -u 'a:hunter2' https://example.com\n"];
    let redacted = redactor().redact(&argv.map(str::as_bytes)).expect("two secrets");
    let script = String::from_utf8(redacted.argv[2].clone()).expect("text");
    let mark = script.split("-p").nth(1).and_then(|rest| rest.split(' ').next()).expect("a mark");
    assert!(is_mark(mark.as_bytes()), "{script}");
    assert_eq!(script, format!("mysql -p{mark} db;  curl -u 'a:{mark}' https://example.com\n"));
    assert_eq!((redacted.count, &redacted.argv[0][..]), (2, &b"sh"[..]));
}

#[test]
fn another_key_makes_another_mark() {
    let argv = [&b"x"[..], b"--password", b"hunter2"];
    let with =
        |key: &[u8]| Redactor::new(RedactionKey::new(key), UserRules::default()).redact(&argv).expect("a secret");
    assert_ne!(with(b"one"), with(b"two"));
    assert_eq!(with(b"one"), with(b"one"));
}

/// The documented way: HMAC-SHA256 under HMAC-SHA256 of the key file under a name; first 4 bytes.
#[test]
fn a_mark_is_the_documented_one() {
    let argv = [&b"x"[..], b"--password", b"hunter2"];
    let redactor = Redactor::new(RedactionKey::new(b"0123456789abcdef"), UserRules::default());
    let redacted = redactor.redact(&argv).expect("a secret");
    assert_eq!(String::from_utf8_lossy(&redacted.argv[2]), DOCUMENTED_MARK);
    assert!(include_str!("../../../docs/redaction.md").contains(DOCUMENTED_MARK));
}

const DOCUMENTED_MARK: &str = "[redacted:c45c1867]";

#[test]
fn who_puts_a_mark_before_a_secret_does_not_hide_it() {
    let argv = [&b"x"[..], b"--password", b"[redacted:00000000]hunter2"];
    let redacted = redactor().redact(&argv).expect("a secret");
    assert!(!redacted.argv[2].windows(7).any(|word| word == b"hunter2"));
}

#[test]
fn rules_of_the_user_are_kept() {
    let rules = UserRules::parse(include_str!("../../../examples/redaction.toml")).expect("rules");
    let redactor = Redactor::new(RedactionKey::new(b"key"), rules);
    let marks = |argv: &[&[u8]]| redactor.redact(argv).map_or(0, |redacted| redacted.count);
    assert_eq!(marks(&[b"open", b"badge-12345678"]), 1);
    assert_eq!(marks(&[b"deploy", b"--pin", b"1234"]), 1);
    assert_eq!(marks(&[b"deploy", b"--pin=1234"]), 1);
    assert_eq!(marks(&[b"other", b"--pin", b"1234"]), 0);
    assert_eq!(marks(&[b"other", b"--otp", b"1234"]), 1);
    assert_eq!(marks(&[b"x", b"--password", b"example-value"]), 0);
    assert_eq!(marks(&[b"x", b"--password", b"hunter2"]), 1);
}

#[test]
fn rules_that_are_built_in_can_be_left_out() {
    let rules = UserRules::parse("builtin = false\n[[flag]]\nname = '--pin'").expect("rules");
    let redactor = Redactor::new(RedactionKey::new(b"key"), rules);
    assert_eq!(redactor.redact(&[b"x", b"--password", b"hunter2"]), None);
    assert_eq!(redactor.redact(&[b"x", b"--pin", b"1234"]).map(|redacted| redacted.count), Some(1));
}

/// Words that make rules meet, between any bytes.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "--password",
            "=",
            "mysql",
            "-p",
            "curl",
            "-u",
            ":",
            "sh",
            "-c",
            "'",
            "\"",
            " ",
            ";",
            "\\",
            "Authorization: ",
            "Bearer ",
            "https://",
            "@",
            "token",
            "secret",
            "{\"password\":\"",
            "[redacted:",
            "0123abcd",
            "]",
            "$",
            "htpasswd",
            "vault",
            "login",
            "-----BEGIN PRIVATE KEY-----",
            "eyJhbGciOiJIUzI1",
            ".eyJ",
            "AKIA",
            "\n",
            "set",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
        "[a-z0-9]{1,12}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_arguments_stay_as_many_and_are_redacted_once(argv in proptest::collection::vec(word(), 0..8)) {
        let redactor = redactor();
        if let Some(redacted) = redact(redactor, &argv) {
            prop_assert_eq!(redacted.argv.len(), argv.len());
            prop_assert!(redacted.count > 0 && redacted.argv != argv);
            // What is found again was made by marks that put words together anew; it comes to an end.
            let again = redact(redactor, &redacted.argv);
            prop_assert!(again.is_none_or(|again| again.count <= redacted.count));
        }
    }

    /// Wherever it stands among arguments that are no secrets.
    #[test]
    fn no_secret_behind_a_flag_survives(
        secret in "[A-Za-z0-9]{6,20}",
        before in proptest::collection::vec("[a-z]{1,8}", 0..4),
        behind in proptest::collection::vec("[a-z]{1,8}", 0..4),
        way in 0..6,
    ) {
        let words = match way {
            0 => vec!["--password".to_owned(), format!("Z{secret}")],
            1 => vec![format!("--db-password=Z{secret}")],
            2 => vec![format!("API_TOKEN=Z{secret}")],
            3 => vec![format!("https://jessie:Z{secret}@example.com/")],
            4 => vec![format!("Authorization: Bearer Z{secret}")],
            _ => vec![format!("sh -c 'x; mysql -pZ{secret} db'")],
        };
        let argv: Vec<Vec<u8>> = before.into_iter().chain(words).chain(behind).map(String::into_bytes).collect();
        let redacted = redact(redactor(), &argv).expect("a secret");
        let needle = format!("Z{secret}").into_bytes();
        prop_assert!(!redacted.argv.iter().any(|word| word.windows(needle.len()).any(|text| text == needle)));
    }

    #[test]
    fn words_without_anything_to_announce_a_secret_are_left_alone(argv in proptest::collection::vec("[b-df-hj-np-rt-z ]{0,20}", 0..6)) {
        let argv: Vec<Vec<u8>> = argv.into_iter().map(String::into_bytes).collect();
        prop_assert_eq!(redact(redactor(), &argv), None);
    }
}
