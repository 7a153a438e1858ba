//! How lines for people look: colours, columns, indentation, and text that cannot steer a terminal. Shared by who writes
//! the log (`text`) and who reads it (`logs`).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const NUMBER: Style = AnsiColor::Cyan.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Columns, without the blank after each.
pub(crate) const PID_WIDTH: usize = 7;
pub(crate) const UID_WIDTH: usize = 5;

/// Puts colour to text, where it is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pen {
    pub(crate) colour: bool,
}

impl Pen {
    /// The columns that each line of a process begins with.
    pub(crate) fn head(self, when: SystemTime, pid: u32, uid: u32) -> String {
        self.head_as_wide_as(UID_WIDTH, when, pid, uid)
    }

    /// The same where all lines are known, and so the widest user's number.
    pub(crate) fn head_as_wide_as(self, width: usize, when: SystemTime, pid: u32, uid: u32) -> String {
        format!(
            "{} {} {} ",
            self.styled(DIM, &time(when)),
            self.styled(NUMBER, &format!("{pid:>PID_WIDTH$}")),
            self.styled(DIM, &format!("{uid:>width$}")),
        )
    }

    pub(crate) fn styled(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// How deep each exec lies below the first that is known of its line.
pub(crate) struct Depths<K> {
    known: HashMap<K, usize>,
}

impl<K> Default for Depths<K> {
    fn default() -> Depths<K> {
        Depths { known: HashMap::new() }
    }
}

impl<K: Eq + Hash> Depths<K> {
    /// Beyond this many execs the oldest tree is forgotten, and later ones begin at the margin again.
    const MAX: usize = 65_536;
    const DEEPEST: usize = 24;

    /// Of an exec, which is known from now on.
    pub(crate) fn of(&mut self, id: K, parent: Option<&K>) -> usize {
        if self.known.len() >= Self::MAX {
            self.known.clear();
        }
        let depth = self.below(parent);
        self.known.insert(id, depth);
        depth
    }

    /// Of what lies below an exec.
    pub(crate) fn below(&self, parent: Option<&K>) -> usize {
        let above = parent.and_then(|parent| self.known.get(parent));
        above.map_or(0, |depth| (depth + 1).min(Self::DEEPEST))
    }
}

/// To the microsecond: nobody reads more.
pub(crate) fn round(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Text that cannot move a cursor, hide itself or break the line: what is no visible character is shown by its number.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || is_format(char) {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Characters that change how others look, as the bidirectional controls do.
fn is_format(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_could_steer_it() {
        assert_eq!(printable(b"a\x1b[2J\n\x7f\xff\t"), "a\\u{1b}[2J\\n\\u{7f}\\xff\\t");
        assert_eq!(printable("gpj.\u{202e}txt ü".as_bytes()), "gpj.\\u{202e}txt ü");
    }
}
