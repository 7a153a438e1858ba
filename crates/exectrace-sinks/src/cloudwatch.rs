//! Amazon CloudWatch Logs: a place for lines, and the queries of Logs Insights.
//!
//! Credentials are found as by all of AWS' tools: the environment, a web identity (IRSA), what a container is given (ECS, EKS
//! Pod Identity), a profile, the instance's metadata. They are looked for at the first request and not before.

mod client;
pub mod insights;
mod name;
mod put;

pub use self::client::ClientOptions;
pub use self::name::{StreamNameError, stream_name};
pub use self::put::{CloudWatch, CloudWatchOptions};
