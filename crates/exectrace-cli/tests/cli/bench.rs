//! `exectrace bench`: that it measures what it says. What comes out is for people to judge, and no test.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{EXECTRACE, Ended, PATIENCE, Program, exectrace};
use crate::workspace::NOBODY;

#[track_caller]
fn figures(words: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("figures.json");
    let mut command = exectrace(["bench", "--execs", "300", "--rounds", "1"]);
    // Each of its waits has an end; on a machine that has much to do, all of them together take longer than `PATIENCE`.
    let output = command.args(words).arg("--json").arg(&json).output().expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let figures = serde_json::from_slice(&fs::read(json).expect("the figures")).expect("JSON");
    (figures, String::from_utf8(output.stdout).expect("UTF-8"))
}

#[track_caller]
fn positive(row: &Value, names: &[&str]) {
    for name in names {
        assert!(row[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {row}");
    }
}

#[test]
fn root_exectrace_sees_all_of_the_workload_and_has_all_figures() {
    let (figures, tables) = figures(&["--only", "tools"]);
    assert_eq!(figures["execs"], 300);
    let rows = figures["tools"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["tool"] == "exectrace").expect("exectrace itself");
    assert_eq!((&row["lost"], &row["letters_kept"]), (&Value::from(0), &Value::from(4096)), "{row}");
    let names = [
        "untraced_execs_per_second",
        "traced_execs_per_second",
        "cpu_us_per_exec",
        "cpu_seconds",
        "peak_memory",
        "bytes_per_exec",
        "attached_ms",
        "untraced_call_ns",
        "traced_call_ns",
    ];
    positive(row, &names);
    let kernel = figures["kernel"].as_array().expect("rows").iter().find(|row| row["tool"] == "exectrace");
    let programs = kernel.expect("exectrace itself")["programs"].as_array().expect("programs").clone();
    for name in ["caller_comm", "exec_first", "process_exit", "process_fork"] {
        let program = programs.iter().find(|program| program["program"] == name).unwrap_or_else(|| panic!("{name}"));
        assert!(program["runs"].as_u64() >= Some(300), "{program}");
        positive(program, &["ns"]);
    }
    let told =
        |tool: &str| rows.iter().any(|row| row["tool"] == tool) || tables.contains(&format!("measured: {tool}: "));
    for tool in ["execsnoop (libbpf-tools)", "bpftrace", "auditd"] {
        assert!(told(tool), "{tool} was neither measured nor said to be left out:\n{tables}");
    }
    assert!(tables.contains("\n| exectrace | "), "{tables}");
}

#[test]
fn root_scopes_lines_and_sidecars_are_measured_too() {
    let (figures, _) =
        figures(&["--only", "scopes,encode,sidecars", "--scopes", "1,3", "--sidecars", "1,2", "--workers", "1"]);
    assert_eq!(figures["workers"], 1);
    let rows = |name: &str| figures[name].as_array().expect("rows").clone();
    let scopes: Vec<_> = rows("scopes").iter().map(|row| row["scopes"].as_u64()).collect();
    assert_eq!(scopes, [Some(1), Some(3)]);
    rows("scopes").iter().for_each(|row| positive(row, &["ns_per_exec"]));
    // The storm itself is one more than it executes.
    let is = |row: &serde_json::Value, name: &str| row[name] == true;
    let encode: Vec<_> =
        rows("encode").iter().map(|row| (is(row, "redaction"), is(row, "rollup"), row["execs"].as_u64())).collect();
    assert_eq!(encode, [(false, false, Some(301)), (true, false, Some(301)), (true, true, Some(301))]);
    rows("encode").iter().for_each(|row| positive(row, &["bytes", "seconds"]));
    let sidecars: Vec<_> =
        rows("sidecars").iter().map(|row| (row["scopes"].as_u64(), row["tracers"].as_u64())).collect();
    assert_eq!(sidecars, [(Some(1), Some(1)), (Some(2), Some(2)), (Some(2), Some(1))]);
    for row in rows("sidecars") {
        assert_eq!(row["lost"], 0, "{row}");
        positive(&row, &["peak_memory", "attached_ms", "kernel_ns_per_exec"]);
    }
}

/// Whether a process has a handler for a signal (`SigCgt`).
fn handles(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("the signals that it handles");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("a mask");
    mask & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn root_who_interrupts_it_finds_everything_as_it_was() {
    let stats = || fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").expect("the switch");
    let before = stats();
    let bench = Program::start(&mut exectrace(["--log-format", "text", "bench", "--only", "scopes,sidecars"]));
    let deadline = Instant::now() + PATIENCE;
    while !handles(bench.pid(), Signal::TERM) {
        assert!(Instant::now() < deadline, "it does not listen");
        thread::yield_now();
    }
    let pid = bench.pid();
    bench.signal(Signal::TERM);
    let (status, _, stderr) = bench.end();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(stderr.iter().any(|line| line.contains("interrupted")), "{stderr:?}");
    assert_eq!(stats(), before);
    for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let names = fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let left: Vec<_> =
            names.filter(|name| name.to_string_lossy().starts_with(&format!("exectrace-bench-{pid}-"))).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn root_who_may_not_make_a_namespace_is_told_so() {
    let mut command = Command::new("setpriv");
    let ended = Ended::of(command.args(NOBODY).args([EXECTRACE, "--log-format", "text", "bench", "--only", "encode"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("making a PID namespace needs root"), "{ended:?}");
}
