//! What is left out, who began what, and what is folded.

mod config;
mod origin;
mod rollup;
mod rules;

use crate::line::Line;
use crate::program::Stopped;
use crate::trace::trace;
use crate::workspace::Workspace;

/// A PID namespace that there is not: what should have been refused before traces nothing.
const NOWHERE: &str = "1";

/// Traces a workspace with these options while it does what a line says.
#[track_caller]
fn traced(options: &[&str], line: &str) -> Stopped {
    let mut workspace = Workspace::new();
    let number = workspace.number();
    let program = trace(&[&["--pid-ns", &number], options].concat());
    workspace.tell(line);
    let (_, stopped) = program.stop();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    stopped
}

/// The last ledger.
#[track_caller]
fn ledger(log: &[Line]) -> &serde_json::Value {
    let ledgers: Vec<_> = log.iter().filter(|line| line.msg() == "ledger").collect();
    ledgers.last().expect("a ledger").field("ledger")
}
