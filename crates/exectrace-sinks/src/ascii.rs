//! JSON in printable ASCII, which every line of a log is.

use std::io;

/// Writes JSON without white space and without any byte outside of printable ASCII.
pub struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_plain = |byte: &u8| (0x20..0x7f).contains(byte);
        if fragment.as_bytes().iter().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        for char in fragment.chars() {
            if char.is_ascii() && char != '\x7f' {
                writer.write_all(char.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}
