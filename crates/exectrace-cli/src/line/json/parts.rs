//! What of a process does not fit into one line: how its arguments, and its long strings, are divided among lines.
//!
//! Who writes lines to a pipe of a container's runtime has them cut at 16,384 bytes (containerd) or 8,192 (CRI-O), and a
//! line that is cut is no JSON any more: padding would hide a command. So lines are divided here, where it is known what
//! they say.

use super::super::escape::{char_start, json_len};

/// What a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes, with the seal and the line break.
    pub(crate) bytes: usize,
    /// Arguments.
    pub(crate) args: usize,
}

/// The smallest line that has room for something beside what every line has.
pub(crate) const MIN_LINE: u32 = 4096;

/// What a seal adds to a line at most: a number of 20 digits, a tag and the line break.
pub(super) const SEAL: usize = 96;

/// A string of an event: its key, and the string or what is left of it.
pub(super) type Named<'a> = (&'static str, &'a [u8]);

/// What a line has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) argv: Vec<&'a [u8]>,
    /// The first argument is the rest of the last one of the part before.
    pub(super) joined: bool,
    pub(super) rest: Vec<Named<'a>>,
}

/// Divides arguments and the rests of strings among lines. The first line has room for `first` bytes of them, and each of
/// the others for `room`; the bytes are those of JSON.
pub(super) fn divide<'a>(
    argv: &[&'a [u8]],
    rest: impl IntoIterator<Item = Named<'a>>,
    first: usize,
    room: usize,
    args: usize,
) -> Vec<Part<'a>> {
    let mut parts = Divided { parts: vec![Part::default()], left: first, room };
    for arg in argv {
        parts.add_argument(arg, args);
    }
    // The first line has its share of these.
    for named in rest {
        parts.add_rest(named);
    }
    parts.parts
}

struct Divided<'a> {
    parts: Vec<Part<'a>>,
    /// Room in the last one.
    left: usize,
    /// Room in each but the first.
    room: usize,
}

impl<'a> Divided<'a> {
    fn add_argument(&mut self, mut arg: &'a [u8], most: usize) {
        loop {
            let whole = cost(arg);
            if self.last().argv.len() < most && whole <= self.left {
                self.last().argv.push(arg);
                self.left -= whole;
                return;
            }
            // One that fits into a line of its own is not torn.
            let is_torn = whole > self.room && self.last().argv.len() < most && self.left >= self.room / 4;
            let piece = if is_torn { fitting(arg, self.left, cost) } else { 0 };
            if piece > 0 {
                self.last().argv.push(&arg[..piece]);
                arg = &arg[piece..];
            }
            self.next();
            self.last().joined = piece > 0;
        }
    }

    fn add_rest(&mut self, (name, mut text): Named<'a>) {
        while !text.is_empty() {
            if self.parts.len() == 1 {
                self.next();
            }
            // Quotes, colon, comma, and once for each line the key and braces of `rest`.
            let around = name.len() + 16;
            match fitting(text, self.left.saturating_sub(around), json_len) {
                0 => self.next(),
                piece => {
                    self.last().rest.push((name, &text[..piece]));
                    self.left = self.left.saturating_sub(around + json_len(&text[..piece]));
                    text = &text[piece..];
                }
            }
        }
    }

    fn next(&mut self) {
        self.parts.push(Part::default());
        self.left = self.room;
    }

    fn last(&mut self) -> &mut Part<'a> {
        let at = self.parts.len() - 1;
        &mut self.parts[at]
    }
}

/// Bytes that an argument takes up, in `argv` and in `cmdline`.
fn cost(arg: &[u8]) -> usize {
    let quoted = shlex::bytes::try_quote(arg).unwrap_or_default();
    json_len(arg) + json_len(&quoted) + 4
}

/// How many of the first bytes of a string take up so much room at most; never a part of a character.
pub(super) fn fitting(text: &[u8], room: usize, cost: impl Fn(&[u8]) -> usize) -> usize {
    let mut end = text.len().min(room);
    loop {
        end = char_start(text, end);
        let cost = cost(&text[..end]);
        if cost <= room || end == 0 {
            return if cost <= room { end } else { 0 };
        }
        // As much as would fit if all of it took up as much as this on average, and always less.
        end = (end * room / cost).min(end - 1);
    }
}
