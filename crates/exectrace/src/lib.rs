//! Every exec of a workspace, once and truthfully: from a record of the kernel's to an [`Event`].
//!
//! ```text
//! kernel: bpf/exec.bpf.c -> ring buffer
//!                               |
//!            tracer  reads it   v
//!            record  bytes -> one record          (total: any bytes)
//!            assemble  records -> one exec        (large arguments come in pieces)
//!            loss    sequence numbers -> what is missing, and where
//!            enrich  exec + boot id, clock -> Event
//!                               |
//!                               v
//!            Item::Exec(Event) | Item::Lost(Loss) | …, in the order of the ring
//! ```
//!
//! Needs a kernel from 5.8 on with BTF, and the capabilities BPF and PERFMON. What to trace is a [`Scope`]:
//!
//! ```no_run
//! use std::{path::Path, time::Duration};
//! use exectrace::{Item, PidNamespace, Scope, Tracer};
//!
//! let mut tracer = Tracer::builder().open()?;
//! tracer.add_scope(Scope::PidNamespace(PidNamespace::of_process(Path::new("/proc"), 1234)?))?;
//! loop {
//!     tracer.poll(Duration::from_millis(100), |item| match item {
//!         Item::Exec(event) => println!("{} {:?}", event.pid, event.filename),
//!         Item::Lost(loss) => println!("{} execs lost: {}", loss.count, loss.reason.name()),
//!         Item::Failed(_) | Item::Ended(_) | Item::Gone(_) => {}
//!     })?;
//! }
//! # #[allow(unreachable_code)] Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assemble;
mod builder;
mod casts;
mod cgroup;
mod enrich;
mod event;
mod failed_hook;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod host;
mod inbox;
mod journal;
mod kernel;
mod load;
mod loss;
mod mapped;
mod markers;
mod pin;
mod pod;
mod procfs;
mod record;
mod ring;
mod rules;
mod running;
mod scope;
mod scoping;
mod skel;
mod takeover;
mod tracer;

pub use builder::{Backup, Failed, TracerBuilder};
pub use event::{Args, Ended, Event, ExecId, FailedExec, Hook, Interpreter, Origin, Partial, Status, Traits};
pub use failed_hook::FailedHook;
pub use journal::{Journal, NOTES, Progress, SCOPE_NOTES, Share};
pub use loss::{Loss, LossReason, What};
pub use pin::{LeftBehind, Pin, unpin};
pub use pod::{Pod, PodError};
pub use rules::{LeftOut, MAX_RULES, Rule, RulePath, RuleRefused};
pub use running::Running;
pub use scope::{Cgroup, Known, PidNamespace, Scope, ScopeError, ScopeId, Tree};
pub use tracer::{Gone, Item, ScopeStats, Tracer, TracerError};
