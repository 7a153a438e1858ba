//! `exectrace logs`: the log of workspaces, from their pods or from files, in one order. `docs/logs.md` is its manual.
//!
//! `source` makes `entry`s of bytes, `merge` puts those of finite sources into one order and `held` those of sources that
//! go on (`cluster`); `join` puts lines of one exec together for people, and `show` leaves out what is not wanted and writes the rest: as it was logged, as `text` or as a `tree`, in the words
//! of `told`. Reads what others wrote: nothing here fails on a line, or hides one.

#[cfg(feature = "kubernetes")]
pub(crate) mod cluster;
mod entry;
#[cfg(feature = "kubernetes")]
mod held;
mod join;
mod merge;
mod show;
mod source;
mod text;
mod told;
mod tree;

pub(crate) use self::merge::Merge;
pub(crate) use self::show::{Form, Show, Wanted};
pub(crate) use self::source::Source;
pub(crate) use self::text::Text;
pub(crate) use self::tree::Trees;
