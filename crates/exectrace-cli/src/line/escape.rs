//! Bytes -> JSON strings and back: lossless, always valid JSON, ASCII only.
//!
//! An argument is any bytes but NUL; a JSON string is Unicode. Text that is valid UTF-8 stays the text that it is. A byte
//! that is not becomes U+FFFD, the replacement character, and the byte's two hexadecimal digits; a U+FFFD that was there
//! is treated as three such bytes, so that each U+FFFD in the output is followed by two digits and reading it back is
//! unambiguous. Then everything but printable ASCII is written as `\uXXXX`.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

const MARK: char = char::REPLACEMENT_CHARACTER;

/// Bytes that serialize as a string.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_text(self.0))
    }
}

pub(crate) fn to_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(MARK) => Cow::Borrowed(text),
        _ => Cow::Owned(mark_bytes(bytes)),
    }
}

fn mark_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == MARK {
                mark(&mut text, MARK.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(char);
            }
        }
        mark(&mut text, chunk.invalid());
    }
    text
}

fn mark(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(MARK);
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
}

/// Bytes that a string takes up in JSON, without its quotes, as [`Text`] and [`exectrace_sinks::ascii::Ascii`] write it.
pub(super) fn json_len(bytes: &[u8]) -> usize {
    // The mark and two digits.
    const MARKED: usize = 8;
    let of_char = |char: char| match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        ' '..='~' => 1,
        MARK => MARKED * MARK.len_utf8(),
        char => 6 * char.len_utf16(),
    };
    let of_chunk = |chunk: std::str::Utf8Chunk<'_>| {
        chunk.valid().chars().map(of_char).sum::<usize>() + MARKED * chunk.invalid().len()
    };
    bytes.utf8_chunks().map(of_chunk).sum()
}

/// The last place up to `at` that is not within a character: the texts of what is before and behind it are together the
/// text of the whole.
pub(super) fn char_start(bytes: &[u8], at: usize) -> usize {
    // A character has four bytes at most, so it began three before its last one at the earliest.
    let is_within = |start: &usize| {
        let next = bytes[*start..].utf8_chunks().next();
        next.and_then(|chunk| chunk.valid().chars().next()).is_some_and(|char| start + char.len_utf8() > at)
    };
    (at.saturating_sub(3)..at).find(is_within).unwrap_or(at)
}

#[cfg(test)]
pub(super) mod tests {
    use exectrace_sinks::ascii::Ascii;
    use proptest::prelude::*;

    use super::*;

    /// The way back, as `docs/events.md` tells it.
    pub(in crate::line) fn to_bytes(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char == MARK {
                let hex: String = chars.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&hex, 16).expect("two digits follow U+FFFD"));
            } else {
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        bytes
    }

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        Text(bytes).serialize(&mut serde_json::Serializer::with_formatter(&mut out, Ascii)).expect("a Vec takes all");
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn what_is_text_stays_text() {
        assert_eq!(json(b"date +%s \\ \"x\""), r#""date +%s \\ \"x\"""#);
        assert_eq!(json("fünf".as_bytes()), r#""f\u00fcnf""#);
        assert_eq!(json("🦀".as_bytes()), r#""\ud83e\udd80""#);
    }

    #[test]
    fn what_could_move_a_terminal_or_a_reader_is_escaped() {
        assert_eq!(json(b"\x1b[2J\n\x7f"), r#""\u001b[2J\n\u007f""#);
        assert_eq!(json("a\u{202e}b".as_bytes()), r#""a\u202eb""#);
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        assert_eq!(json(b"\xff\xfe"), r#""\ufffdff\ufffdfe""#);
        assert_eq!(json("\u{fffd}".as_bytes()), r#""\ufffdef\ufffdbf\ufffdbd""#);
    }

    proptest! {
        #[test]
        fn the_length_is_known_beforehand(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in any::<String>()) {
            prop_assert_eq!(json_len(&bytes), json(&bytes).len() - 2);
            prop_assert_eq!(json_len(text.as_bytes()), json(text.as_bytes()).len() - 2);
        }

        #[test]
        fn what_is_cut_between_characters_is_the_same_text(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xac), Just(0xf0)], 0..40),
            at in 0..40_usize,
        ) {
            let at = at.min(bytes.len());
            let cut = char_start(&bytes, at);
            prop_assert!(cut <= at && cut + 3 >= at);
            let pieces = format!("{}{}", to_text(&bytes[..cut]), to_text(&bytes[cut..]));
            prop_assert_eq!(pieces, to_text(&bytes));
        }

        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let json = json(&bytes);
            prop_assert!(json.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let text: String = serde_json::from_str(&json).expect("valid JSON");
            prop_assert_eq!(to_bytes(&text), bytes);
        }

        #[test]
        fn any_text_with_marks_comes_back(text in "[\u{fffd}0-9a-f\u{e9}]{0,12}") {
            let read: String = serde_json::from_str(&json(text.as_bytes())).expect("valid JSON");
            prop_assert_eq!(to_bytes(&read), text.as_bytes());
        }
    }
}
