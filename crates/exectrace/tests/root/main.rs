//! What the library shows of execs that a real kernel makes. Needs root; each test traces only what it started itself.
//!
//!     cargo test -p exectrace --test root
//!
//! Environment: `EXECTRACE_FIXTURES` names a folder with the fixture programs, and then nothing is built (for machines
//! without a compiler); `EXECTRACE_EXAMPLES` one with the examples; `EXECTRACE_DEADLINE` how many seconds any wait may
//! take, 30 unless told; `EXECTRACE_LOAD` how many execs storms make, in percent of what they make here. What a kernel or
//! a machine lacks is printed as `skipped: why` (seen with `--nocapture`).

mod arguments;
mod backup;
mod binfmt;
mod calls;
mod capabilities;
mod ends;
mod example;
mod failed;
mod hammer;
mod identity;
mod loss;
mod markers;
mod namespaces;
mod paths;
mod pins;
mod pods;
mod processes;
mod room;
mod rules;
mod scopes;
mod scripts;
mod storm;
mod support;
mod trees;
mod watch;
