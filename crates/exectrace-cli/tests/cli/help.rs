//! What the program tells of itself: help, version, completions, manual page, and its messages' two forms.

use crate::program::{EXECTRACE, Ended, exectrace};

const LOGGING: [&str; 20] = [
    "--log",
    "--fields",
    "--max-args-bytes",
    "--read-args-bytes",
    "--config",
    "--exclude",
    "--include",
    "--exclude-uid",
    "--exclude-path",
    "--rollup",
    "--rollup-more-than",
    "--rollup-window",
    "--failed",
    "--failed-hook",
    "--exits",
    "--ledger-interval",
    "--chain",
    "--chain-key",
    "--ring-size",
    "--queue-size",
];
const SUBCOMMANDS: [&str; 18] = [
    "run",
    "trace",
    "sidecar",
    "probe",
    "check",
    "verify",
    "cost",
    "unpin",
    "enable",
    "disable",
    "status",
    "logs",
    "webhook",
    "config",
    "query",
    "bench",
    "completions",
    "man",
];

#[track_caller]
fn printed(words: &[&str]) -> String {
    let ended = Ended::of(&mut exectrace(words));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words:?}: {ended:?}");
    ended.stdout
}

#[test]
fn every_subcommand_s_help_has_its_flags() {
    let cases: [(&str, &[&str], bool); 18] = [
        ("run", &["--output", "--tree", "CMD"], true),
        (
            "trace",
            &["--pid-ns", "--pid", "--cgroup", "--all", "--format", "--tree", "--pin", "--unpin-on-stop", "--watchdog"],
            true,
        ),
        (
            "sidecar",
            &[
                "--pod-uid",
                "--pod-info",
                "--node",
                "--ready-socket",
                "--init-address",
                "--startup-timeout",
                "--use-local-pidns",
                "--label",
                "--labels-dir",
                "--pin",
                "--unpin-on-stop",
                "--watchdog",
                "curl",
            ],
            true,
        ),
        ("probe", &["FILE"], false),
        ("check", &["--output", "--pod-uid"], false),
        ("config", &["FILE", "Exit codes"], false),
        ("enable", &["--kubeconfig", "--context"], false),
        ("disable", &["--kubeconfig", "--context"], false),
        (
            "status",
            &["--kubeconfig", "--context", "--namespace", "--all-namespaces", "--check-nodes", "--output"],
            false,
        ),
        (
            "logs",
            &[
                "--kubeconfig",
                "--context",
                "--namespace",
                "--all-namespaces",
                "--user",
                "--workspace",
                "--since",
                "--follow",
                "--tail",
                "--output",
            ],
            false,
        ),
        (
            "webhook",
            &[
                "--listen",
                "--health",
                "--tls-cert",
                "--tls-key",
                "--tls-secret",
                "--kubeconfig",
                "--in-cluster",
                "--settings",
            ],
            false,
        ),
        ("verify", &["--chain-key", "--output", "--max-findings", "--quiet"], false),
        (
            "cost",
            &["--config", "--output", "--top", "--hours-a-month", "--times", "--live", "--for", "--pid-ns"],
            false,
        ),
        ("unpin", &["DIR"], false),
        ("query", &["--user", "--workspace", "--text", "--layout", "--since", "--until", "--run", "--group"], false),
        (
            "bench",
            &["--execs", "--workers", "--rounds", "--only", "--scopes", "--sidecars", "--json", "bpf_stats_enabled"],
            false,
        ),
        ("completions", &["bash", "zsh", "fish"], false),
        ("man", &["roff"], false),
    ];
    for (subcommand, flags, logs) in cases {
        let help = printed(&[subcommand, "--help"]);
        let logging = if logs { &LOGGING[..] } else { &[] };
        for flag in flags.iter().chain(logging).chain(&["--log-format"]) {
            assert!(help.contains(flag), "{subcommand} --help does not tell of {flag}:\n{help}");
        }
    }
}

#[test]
fn the_program_s_help_has_the_subcommands_and_the_exit_codes() {
    let help = printed(&["--help"]);
    for word in SUBCOMMANDS.iter().chain(&["Exit codes", "125", "126", "127"]) {
        assert!(help.contains(word), "{word}:\n{help}");
    }
    let ended = Ended::of(&mut exectrace::<[&str; 0]>([]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("Usage: exectrace"), "{ended:?}");
}

#[test]
fn the_version_is_the_package_s() {
    for words in [&["--version"][..], &["-V"], &["trace", "--version"]] {
        assert!(printed(words).trim_end().ends_with(env!("CARGO_PKG_VERSION")), "{words:?}");
    }
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for word in ["exectrace", "sidecar", "pid-ns", "labels-dir"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(Ended::of(&mut exectrace(["completions", "tcsh"])).code, Some(2));
}

#[test]
fn bash_takes_its_completions() {
    let mut command = std::process::Command::new("bash");
    let source = format!("source <({EXECTRACE} completions bash) && complete -p exectrace");
    let ended = Ended::of(command.args(["--norc", "-c", &source]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn the_manual_page_has_every_subcommand() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH exectrace 1"), "{page}");
    for name in SUBCOMMANDS {
        assert!(page.contains(&format!("exectrace\\-{name}")), "{name}");
    }
    assert!(page.contains("\\-\\-use\\-local\\-pidns"), "{page}");
}

#[test]
fn messages_have_two_forms() {
    let words = ["run", "--log", "/nonexistent/log", "true"];
    let json = Ended::of(&mut exectrace(words));
    let line = json.message();
    assert!(line.msg().contains("/nonexistent/log"));
    let text = Ended::of(exectrace(words).args(["x", "--log-format", "text"]).env("EXECTRACE_LOG_FORMAT", "text"));
    assert_eq!(text.stderr, format!("exectrace: error: {}\n", line.msg()));
    let flag = Ended::of(exectrace(["--log-format", "text"]).args(words));
    assert_eq!(flag.stderr, text.stderr);
}

#[test]
fn an_output_that_is_closed_is_no_panic() {
    let script = format!("{EXECTRACE} man | head -c 1; {EXECTRACE} completions bash | head -c 1; {EXECTRACE} man >&-");
    let ended = Ended::of(std::process::Command::new("sh").args(["-c", &script]));
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}
