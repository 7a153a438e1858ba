//! How large lines are, in all that the ways of shipping them make of them.

use std::ops::{Add, AddAssign};

/// Of one line or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) lines: u64,
    /// With a line break each.
    pub(super) bytes: u64,
    /// Quotes and backslashes: what becomes a byte longer each within a string of JSON.
    pub(super) escapes: u64,
}

impl Size {
    /// Of a line without its line break.
    pub(super) fn of(line: &[u8]) -> Size {
        let escapes = line.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count() as u64;
        Size { lines: 1, bytes: line.len() as u64 + 1, escapes }
    }

    /// What a member makes a line longer.
    pub(super) fn of_member(json: &str) -> Size {
        let Size { bytes, escapes, .. } = Size::of(json.as_bytes());
        Size { lines: 0, bytes: bytes - 1, escapes }
    }

    /// Without the line breaks.
    pub(super) fn text(self) -> u64 {
        self.bytes.saturating_sub(self.lines)
    }
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size {
            // A roll-up says how much it stands for, and need not be right.
            lines: self.lines.saturating_add(other.lines),
            bytes: self.bytes.saturating_add(other.bytes),
            escapes: self.escapes.saturating_add(other.escapes),
        }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_counted() {
        let line = br#"{"a":"b\n"}"#;
        let size = Size::of(line);
        assert_eq!(size, Size { lines: 1, bytes: 12, escapes: 5 });
        let escaped = serde_json::to_string(std::str::from_utf8(line).expect("ASCII")).expect("a string");
        assert_eq!(size.text() + size.escapes + 2, escaped.len() as u64);
        assert_eq!(Size::of_member(r#","a":1"#), Size { lines: 0, bytes: 6, escapes: 2 });
    }
}
