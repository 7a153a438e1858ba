//! Requests that go wrong, because a test wants them to.

/// Which requests fail, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    method: &'static str,
    part: String,
    how: How,
    left: Option<usize>,
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With this HTTP status and the body that goes with it.
    Status(u16),
    /// The connection ends in the middle of the answer.
    Dropped,
}

impl Fault {
    /// Requests of this method whose path and query contain the part.
    #[must_use]
    pub fn new(method: &'static str, part: &str, how: How) -> Fault {
        Fault { method, part: part.to_owned(), how, left: None }
    }

    /// Only the next so many of them.
    #[must_use]
    pub fn times(self, count: usize) -> Fault {
        Fault { left: Some(count), ..self }
    }

    /// Whether this one fails.
    pub(crate) fn strike(&mut self, method: &str, path_and_query: &str) -> Option<How> {
        if self.left == Some(0) || method != self.method || !path_and_query.contains(&self.part) {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        Some(self.how)
    }
}
