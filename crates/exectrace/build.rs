//! Compiles the kernel programs and generates their skeletons, with the record types of `bpf/record.h`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;
use sha2::{Digest, Sha256};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    build("pod", &out);
    let object = build("exec", &out);
    // What is pinned by one build must not be taken over by another that means something else by the same bytes.
    let digest = Sha256::digest(fs::read(&object).expect("the object that was just built"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=EXECTRACE_KERNEL_PROGRAM={hex}");
}

/// Compiles `bpf/NAME.bpf.c`, generates its skeleton, and returns the object.
fn build(name: &str, out: &Path) -> PathBuf {
    let object = out.join(format!("{name}.bpf.o"));
    SkeletonBuilder::new()
        .source(format!("bpf/{name}.bpf.c"))
        .obj(&object)
        .clang_args(["-Ibpf", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"])
        .build_and_generate(out.join(format!("{name}.skel.rs")))
        .unwrap_or_else(|error| {
            panic!("the kernel program does not build (clang is needed: `make deps` installs it): {error:#}")
        });
    object
}
