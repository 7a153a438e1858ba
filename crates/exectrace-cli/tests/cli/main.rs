//! `exectrace` as its users call it: words in; lines, messages and exit codes out.
//!
//! What needs root and a kernel that lets it load BPF has `root` in its name. Each test traces only what it started:
//! `run` by itself, the others a PID namespace, a cgroup or a process of the test's own. No wait is a sleep: what
//! happened is known from a line, from the end of a process or from the answer of a shell, each with a deadline.

mod cluster;
mod disk;
mod fixtures;
mod folder;
mod line;
mod podman;
mod program;
mod workspace;

mod bench;
mod check;
mod containers;
mod cost;
mod help;
mod kinds;
mod ledger;
#[cfg(feature = "kubernetes")]
mod logs;
mod network;
mod output;
mod outputs;
mod pin;
mod privilege;
mod proof;
mod run;
mod sidecar;
#[cfg(all(feature = "cloudwatch", feature = "otlp"))]
mod sinks;
mod static_binary;
mod status;
mod switch;
mod trace;
mod verify;
mod volume;
mod watchdog;
#[cfg(feature = "kubernetes")]
mod webhook;
