//! Real builds, as `tests/builds/record` recorded them, unfolded and folded.

use std::path::Path;

use super::*;

/// Lines of a recorded build.
fn recorded(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/builds/{name}.jsonl.zst"));
    let bytes = zstd::decode_all(std::fs::File::open(&path).expect("a recorded build")).expect("zstd");
    String::from_utf8(bytes).expect("ASCII").lines().map(str::to_owned).collect()
}

/// How much of the bytes of a log is left when it is rolled up, in percent; and how many lines, and lines of roll-ups.
fn left(name: &str) -> (f64, u64, u64) {
    let lines = recorded(name);
    let report = report(strs(&lines));
    let (all, folded) = (volume(&report, Setting::Unrolled), volume(&report, Setting::Rollup));
    let execs = lines.iter().filter(|line| line.contains(r#""msg":"exec""#)).count() as u64;
    assert_eq!(report.whole.execs, execs, "each exec counts once, folded or not");
    assert_whole(&report);
    let percent = 100.0 * float(folded.bytes) / float(all.bytes);
    println!(
        "{name}: {execs} execs, {} lines left of {}, {} bytes of {}: {percent:.1} %",
        folded.lines, all.lines, folded.bytes, all.bytes
    );
    (percent, execs, folded.lines)
}

#[test]
fn a_make_of_200_files_costs_a_twentieth() {
    let (percent, execs, _) = left("make");
    assert!(execs > 800 && percent <= 5.0, "{percent}");
}

#[test]
fn a_configure_costs_a_tenth() {
    let (percent, execs, _) = left("configure");
    assert!(execs > 1_000 && percent <= 10.0, "{percent}");
}

/// Its compiler is in a home folder, where the user can put others.
#[test]
fn a_cargo_build_of_a_compiler_in_a_home_folder_is_not_folded_unless_that_is_usual() {
    let (percent, execs, lines) = left("cargo");
    assert!(execs > 80 && percent > 60.0 && lines > 50, "{percent}");
    let mut config = SiftConfig::default();
    config.rollup.folders.push("/home/*/.rustup/toolchains/**".to_owned());
    let mut meter = Meter::of(config).expect("rules");
    recorded("cargo").iter().for_each(|line| meter.line(line.as_bytes()));
    let report = meter.finish(Prices::default(), &ASKED).expect("a log");
    let folded =
        100.0 * float(volume(&report, Setting::Rollup).bytes) / float(volume(&report, Setting::Unrolled).bytes);
    println!("cargo, with the toolchain as a usual folder: {folded:.1} %");
    assert!(folded < percent - 20.0, "{folded}");
}

#[test]
fn scripts_of_npm_that_call_scripts_are_folded_but_for_what_runs_from_the_project() {
    let (percent, execs, _) = left("npm");
    assert!(execs > 250 && percent < 70.0, "{percent}");
}
