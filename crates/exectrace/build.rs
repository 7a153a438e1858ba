//! Compiles the kernel program and generates its skeleton, with the record types of `bpf/record.h`.

use std::env;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    SkeletonBuilder::new()
        .source("bpf/exec.bpf.c")
        .clang_args(["-Ibpf", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"])
        .build_and_generate(out.join("exec.skel.rs"))
        .unwrap_or_else(|error| {
            panic!("the kernel program does not build (clang is needed: `make deps` installs it): {error:#}")
        });
}
