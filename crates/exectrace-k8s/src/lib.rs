//! exectrace in Kubernetes: the switch, the webhook that adds the sidecar, coverage, and the pods' logs.
//!
//! What decides is pure and has no cluster: [`settings`], [`workspace`], `mutate`, `coverage`. What talks to the API
//! server or listens is around it. Nothing here knows of the kernel; the container that is added is described by the
//! flags of `exectrace sidecar`.

#[cfg(feature = "cluster")]
pub mod api;
#[cfg(feature = "cluster")]
pub mod authority;
#[cfg(feature = "cluster")]
pub mod certificates;
#[cfg(feature = "cluster")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod coverage;
#[cfg(feature = "cluster")]
pub mod events;
#[cfg(all(test, feature = "cluster"))]
mod fake_api;
#[cfg(feature = "cluster")]
pub mod follow;
#[cfg(feature = "cluster")]
pub mod keeper;
#[cfg(feature = "cluster")]
mod lease;
#[cfg(feature = "cluster")]
mod likeness;
#[cfg(feature = "cluster")]
pub mod live;
#[cfg(feature = "cluster")]
pub mod logs;
#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod mutate;
pub mod names;
#[cfg(feature = "cluster")]
pub mod node_check;
#[cfg(feature = "cluster")]
pub mod notice;
#[cfg(feature = "cluster")]
pub mod obstacle;
#[cfg(feature = "cluster")]
mod qos;
#[cfg(feature = "cluster")]
mod quantity;
#[cfg(feature = "cluster")]
mod reload;
#[cfg(feature = "cluster")]
pub mod review;
#[cfg(feature = "cluster")]
pub mod serve;
#[cfg(feature = "cluster")]
pub mod server;
#[cfg(feature = "cluster")]
pub mod settings;
#[cfg(feature = "cluster")]
pub mod sidecar;
#[cfg(feature = "cluster")]
pub mod survey;
#[cfg(feature = "cluster")]
pub mod switch;
#[cfg(feature = "cluster")]
pub mod tls;
pub mod workspace;
