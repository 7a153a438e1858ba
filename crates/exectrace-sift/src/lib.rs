//! What becomes of an exec between the kernel and the log: is it left out, is it folded into a line that stands for many,
//! and whose is it? Pure: no clock, no files, no system calls.
//!
//! ```text
//! Event ──► Sift ──► lineage  what is known of the exec that led to it
//!                    origin   the session that both belong to
//!                    rules    left out, and counted by who asked
//!                    busy     is so much executed here that it is folded?
//!                    rare     is this one to have its line nevertheless?
//!                    rollup   folded, until the window is over ──► Rollup
//! ```

mod busy;
mod config;
mod lineage;
mod origin;
mod pattern;
mod rare;
mod rollup;
mod rule;
mod rules;
mod sift;
#[cfg(test)]
mod tests;

pub use config::{DEFAULT, OriginConfig, OriginFile, RollupFile, SiftConfig, SiftFile, parse_window};
pub use origin::{Kind, Session, Starter, markers};
pub use pattern::PatternError;
pub use rare::Rare;
pub use rollup::{Item, Of, OnTty, Rollup, RollupConfig};
pub use rule::{Conditions, RuleError};
pub use rules::{MAX_RULES, Rules};
pub use sift::{Criteria, Judged, Sift, Verdict};
