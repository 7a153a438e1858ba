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

impl Format {
    /// How many bytes longer than a line of ours a line can be, whose labels take up so many bytes of JSON.
    pub fn growth(self, _labels: usize) -> usize {
        match self {
            Format::Coder => 0,
            Format::Ecs | Format::Ocsf => 4096,
        }
    }
}

impl Format {
    /// A line in this schema.
    pub fn dress(self, line: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        std::borrow::Cow::Borrowed(line)
    }
}
