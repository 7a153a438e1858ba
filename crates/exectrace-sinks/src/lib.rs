//! Lines of the log to places over the network.
//!
//! ```text
//! whole lines ──► spool (on disk) ──► ship: batches, retries ──► destination: cloudwatch, otlp
//!                                          │
//!                                     schema: coder, ecs, ocsf
//! ```
//!
//! What comes in are lines as `exectrace` writes them to stdout, described in `docs/events.md`: each is JSON in one line,
//! ASCII, and has the number of its run (`RUN-N`). So a place far away gets exactly what the log says, and whoever reads it
//! there can find what is missing by the same numbers.

pub mod ascii;
#[cfg(feature = "cloudwatch")]
pub mod cloudwatch;
pub mod coder;
#[cfg(feature = "ship")]
pub mod counts;
#[cfg(feature = "ship")]
pub mod destination;
pub mod dropped;
#[cfg(feature = "ship")]
mod errors;
#[cfg(test)]
mod golden;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod schema;
#[cfg(feature = "ship")]
pub mod ship;
#[cfg(feature = "ship")]
pub mod spool;
#[cfg(feature = "ship")]
mod tls;
