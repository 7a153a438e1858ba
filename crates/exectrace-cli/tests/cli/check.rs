//! `exectrace check`: whether this host can trace, and what to do if not.

use std::process::Command;

use serde_json::Value;

use crate::program::{EXECTRACE, Ended, exectrace};
use crate::workspace::{NOBODY, ONLY_WHAT_TRACING_NEEDS};

const NAMES: [&str; 9] =
    ["kernel", "btf", "config", "lockdown", "capabilities", "user_namespace", "memlock", "cgroups", "trace"];

fn check_as(options: &[&str], words: &[&str]) -> Ended {
    Ended::of(Command::new("setpriv").args(options).args([EXECTRACE, "check"]).args(words))
}

#[track_caller]
fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[track_caller]
fn verdict<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("verdicts");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))
}

#[test]
fn root_a_host_that_can_trace_is_told_so() {
    let ended = Ended::of(&mut exectrace(["check"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for name in NAMES {
        let told = ended.stdout.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().is_some_and(|level| ["ok", "warn"].contains(&level)) && words.next() == Some(name)
        });
        assert!(told, "{name}: {}", ended.stdout);
    }
}

#[test]
fn root_a_program_can_read_it() {
    let ended = Ended::of(&mut exectrace(["check", "-o", "json"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["tracing_works"], true);
    let names: Vec<_> = report["checks"].as_array().expect("verdicts").iter().map(|check| &check["name"]).collect();
    assert_eq!(names, NAMES);
    assert_eq!(verdict(&report, "trace")["level"], "ok");
}

#[test]
fn root_a_pod_that_cannot_be_found_decides_as_well() {
    let uid = "621d2e52-1b7a-4d6c-9c55-0123456789ab";
    let ended = Ended::of(&mut exectrace(["check", "-o", "json", "--pod-uid", uid]));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["tracing_works"], false);
    assert_eq!(
        (&verdict(&report, "trace")["level"], &verdict(&report, "pod")["level"]),
        (&"ok".into(), &"fail".into())
    );
}

#[test]
fn root_a_user_without_privileges_is_told_what_is_missing_and_what_to_do() {
    let ended = check_as(&NOBODY, &["-o", "json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["tracing_works"], false);
    let capabilities = verdict(&report, "capabilities");
    assert_eq!(capabilities["level"], "fail");
    assert_eq!(capabilities["found"], "without CAP_BPF and CAP_PERFMON");
    assert!(capabilities["advice"].as_str().is_some_and(|advice| advice.contains("add BPF and PERFMON")), "{report}");
    let trial = verdict(&report, "trace");
    assert_eq!(trial["level"], "fail");
    assert!(trial["found"].as_str().is_some_and(|found| found.contains("CAP_BPF and CAP_PERFMON")), "{report}");
    let text = check_as(&NOBODY, &[]);
    assert_eq!(text.code, Some(3), "{text:?}");
    assert!(text.stdout.contains("fail capabilities") && text.stdout.contains("-> add BPF and PERFMON"), "{text:?}");
}

#[test]
fn root_the_one_capability_that_is_missing_is_named() {
    let mut options = ONLY_WHAT_TRACING_NEEDS.to_vec();
    for option in &mut options {
        *option = match *option {
            "--inh-caps=-all,+bpf,+perfmon" => "--inh-caps=-all,+bpf",
            "--ambient-caps=-all,+bpf,+perfmon" => "--ambient-caps=-all,+bpf",
            other => other,
        };
    }
    let ended = check_as(&options, &["-o", "json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(verdict(&report(&ended), "capabilities")["found"], "without CAP_PERFMON");
}

#[test]
fn root_two_capabilities_are_enough() {
    let ended = check_as(&ONLY_WHAT_TRACING_NEEDS, &["-o", "json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(report(&ended)["tracing_works"], true);
}

#[test]
fn root_a_process_in_a_pid_namespace_of_its_own_can_check_too() {
    let mut command = Command::new("unshare");
    let ended = Ended::of(command.args(["--pid", "--fork", "--mount-proc", "--kill-child", EXECTRACE, "check"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn root_inside_a_user_namespace_the_reason_is_told() {
    let ended =
        Ended::of(Command::new("unshare").args(["--user", "--map-root-user", EXECTRACE, "check", "-o", "json"]));
    if ended.stdout.is_empty() {
        return println!("skipped: no user namespace can be made here: {}", ended.stderr.trim());
    }
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report = report(&ended);
    assert_eq!(verdict(&report, "user_namespace")["level"], "fail");
    assert_eq!(verdict(&report, "trace")["level"], "fail");
}
