//! Compiles the workload of `exectrace bench`, which the program carries along: the one that the kernel tests use.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const PROGRAMS: &str = "../exectrace/tests/fixtures";

fn main() {
    for file in ["build.sh", "fixture.h", "storm.c", "target.c"] {
        println!("cargo::rerun-if-changed={PROGRAMS}/{file}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let compiler = cc::Build::new().get_compiler();
    let status = Command::new("sh")
        .arg(format!("{PROGRAMS}/build.sh"))
        .arg(out)
        .args(["storm", "target"])
        .env("CC", compiler.path())
        .status()
        .expect("sh runs");
    assert!(
        status.success(),
        "the workload of `exectrace bench` does not build (a C compiler and a static libc are needed)"
    );
}
