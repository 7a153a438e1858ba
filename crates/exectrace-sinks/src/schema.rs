//! Lines of the log in the words of other schemas.

/// What the lines of an output look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Our own: that of Coder's exectrace, with more fields.
    #[default]
    Coder,
    /// Elastic Common Schema.
    Ecs,
    /// Open Cybersecurity Schema Framework, class 1007 (Process Activity).
    Ocsf,
}
