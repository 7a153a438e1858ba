//! Bytes -> lines as exectrace wrote them: decompresses, and takes off what a container runtime put around them.
//!
//! What a file is, its first bytes tell and not its name. A container log (CRI) has a time, a stream and `P` or `F` before
//! each piece of a line; pieces of stdout are put together until `F`. Whether a line is of that form is asked of each line.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 256 << 10;
/// No line of ours is longer: 6 MiB of arguments, each byte as `\ufffd` and two digits, twice. A file without line breaks
/// must not fill the memory.
const MAX_LINE: u64 = 256 << 20;

/// A line as it was written, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where it begins in the (decompressed) file, from 1.
    pub(crate) number: u64,
    /// The input ended before the line did.
    pub(crate) cut: bool,
}

/// What an input had.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Physical lines.
    pub(crate) lines: u64,
    /// Lines of a container's stderr.
    pub(crate) stderr: u64,
    /// Why the compressed data could not be read to its end.
    pub(crate) damage: Option<io::Error>,
}

/// Gives every line of an input; an error is one of the input itself.
pub(crate) fn read<'a>(input: impl Read + 'a, mut each: impl FnMut(Line<'_>)) -> io::Result<Contents> {
    let mut reader = Reader::open(input)?;
    while reader.step(&mut each)? {}
    Ok(reader.contents)
}

/// The same step by step, for who reads several inputs at a time.
pub(crate) struct Reader<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Whether the input itself failed.
    failed: Rc<Cell<bool>>,
    line: Vec<u8>,
    pieces: Pieces,
    pub(crate) contents: Contents,
}

impl<'a> Reader<'a> {
    /// Reads the first bytes, to know what it is.
    pub(crate) fn open(input: impl Read + 'a) -> io::Result<Reader<'a>> {
        let failed = Rc::new(Cell::new(false));
        let mut input = BufReader::with_capacity(BUFFER, Watched { input, failed: Rc::clone(&failed) });
        let magic = peek(&mut input)?;
        let input: Box<dyn BufRead + 'a> = if magic.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(input)))
        } else if magic.starts_with(ZSTD) {
            Box::new(BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::with_buffer(input)?))
        } else {
            Box::new(input)
        };
        Ok(Reader { input, failed, line: Vec::new(), pieces: Pieces::default(), contents: Contents::default() })
    }

    /// Reads on by one physical line, which ends none, one or two lines. `false` at the end.
    pub(crate) fn step(&mut self, each: &mut impl FnMut(Line<'_>)) -> io::Result<bool> {
        let Reader { input, line, pieces, contents, .. } = self;
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', line);
        if !line.is_empty() {
            contents.lines += 1;
            let ended = line.pop_if(|byte| *byte == b'\n').is_some();
            // A file that went through another system's hands.
            line.pop_if(|byte| *byte == b'\r' && ended);
            match cri(line) {
                Some(piece) if piece.is_stderr => contents.stderr += 1,
                Some(piece) => pieces.add(&piece, contents.lines, !ended, each),
                None => {
                    pieces.end(each);
                    each(Line { bytes: line, number: contents.lines, cut: !ended });
                }
            }
        }
        match read {
            Ok(count) if count > 0 => return Ok(true),
            Ok(_) => pieces.end(each),
            Err(error) => {
                pieces.end(each);
                if self.failed.get() {
                    return Err(error);
                }
                contents.damage = Some(error);
            }
        }
        Ok(false)
    }
}

/// The first bytes of an input. A pipe may give them one at a time; then the first decides, which no line of ours has.
fn peek<R: Read>(input: &mut BufReader<R>) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    let first = input.fill_buf()?;
    let count = first.len().min(magic.len());
    magic[..count].copy_from_slice(&first[..count]);
    match (count, magic[0]) {
        (1, 0x1f) => magic[1] = GZIP[1],
        (1..4, 0x28) => magic.copy_from_slice(ZSTD),
        _ => {}
    }
    Ok(magic)
}

/// Tells an error of the file from one of what decompresses it.
struct Watched<R> {
    input: R,
    failed: Rc<Cell<bool>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.failed.set(true);
        }
        read
    }
}

/// The part of a line that the runtime has given so far.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    /// Where the first piece stood; `None` between lines.
    begin: Option<u64>,
}

impl Pieces {
    fn add(&mut self, piece: &Piece<'_>, number: u64, cut: bool, each: &mut impl FnMut(Line<'_>)) {
        // Pieces that never end must not fill memory.
        if (self.bytes.len() + piece.content.len()) as u64 > MAX_LINE {
            self.end(each);
        }
        match (self.begin, piece.is_last) {
            (None, true) => each(Line { bytes: piece.content, number, cut }),
            (begin, is_last) => {
                let begin = begin.unwrap_or(number);
                self.bytes.extend_from_slice(piece.content);
                self.begin = Some(begin);
                if is_last {
                    each(Line { bytes: &self.bytes, number: begin, cut });
                    *self = Pieces::default();
                }
            }
        }
    }

    /// Gives what has no end.
    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if let Some(number) = self.begin {
            each(Line { bytes: &self.bytes, number, cut: true });
            *self = Pieces::default();
        }
    }
}

struct Piece<'a> {
    is_stderr: bool,
    is_last: bool,
    content: &'a [u8],
}

/// `TIME stdout|stderr P|F CONTENT`; behind `P` or `F` more tags may follow, with colons.
fn cri(line: &[u8]) -> Option<Piece<'_>> {
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
    let is_stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let is_last = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let is_time =
        time.len() >= "2006-01-02T15:04:05Z".len() && time.get(4) == Some(&b'-') && time.get(10) == Some(&b'T');
    // Without content there may be no blank after the tags.
    is_time.then(|| Piece { is_stderr, is_last, content: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read_all(input: impl Read) -> (Vec<(String, u64, bool)>, Contents) {
        let mut all = Vec::new();
        let found = read(input, |line| {
            all.push((String::from_utf8_lossy(line.bytes).into_owned(), line.number, line.cut));
        });
        (all, found.expect("input"))
    }

    fn line(text: &str, number: u64, cut: bool) -> (String, u64, bool) {
        (text.to_owned(), number, cut)
    }

    /// Gives one byte at a time, as a pipe may.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("room");
        encoder.finish().expect("room")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("room")
    }

    #[test]
    fn lines_are_numbered_and_the_last_may_be_cut() {
        let (all, found) = read_all(&b"{a}\r\n\n{b"[..]);
        assert_eq!(all, [line("{a}", 1, false), line("", 2, false), line("{b", 3, true)]);
        assert_eq!((found.lines, found.stderr, found.damage.is_none()), (3, 0, true));
        assert_eq!(read_all(&b""[..]).0, []);
    }

    #[test]
    fn the_first_bytes_tell_what_is_compressed() {
        let plain = b"{a}\n{b}\n";
        let expected = [line("{a}", 1, false), line("{b}", 2, false)];
        for bytes in [
            plain.to_vec(),
            gzip(plain),
            zstd(plain),
            [gzip(b"{a}"), gzip(b"\n{b}\n")].concat(),
            [zstd(b"{a}"), zstd(b"\n{b}\n")].concat(),
        ] {
            assert_eq!(read_all(&bytes[..]).0, expected);
            assert_eq!(read_all(Drops(&bytes)).0, expected);
        }
    }

    #[test]
    fn damaged_data_gives_what_comes_before_and_says_so() {
        let plain: Vec<u8> = (0..200_000).flat_map(|number| format!("{{\"{number}\"}}\n").into_bytes()).collect();
        for bytes in [gzip(&plain), zstd(&plain)] {
            let (all, found) = read_all(&bytes[..bytes.len() / 2]);
            assert!(found.damage.is_some());
            assert!(all.len() > 10 && all.len() < 200_000, "{}", all.len());
        }
    }

    #[test]
    fn an_error_of_the_file_is_an_error() {
        assert!(read(std::fs::File::open("/").expect("a folder"), |_| {}).is_err());
    }

    #[test]
    fn pieces_of_a_container_log_become_lines() {
        let log = "2026-11-23T16:04:43.1Z stdout P {a\n\
                   2026-11-23T16:04:43.2Z stderr F {noise}\n\
                   2026-11-23T16:04:43.3Z stdout P ,b\n\
                   2026-11-23T16:04:43.4+01:00 stdout F }\n\
                   2026-11-23T16:04:43.5Z stdout F:more {c d}\n\
                   2026-11-23T16:04:43.6Z stdout P {e}\n\
                   2026-11-23T16:04:43.7Z stdout F\n\
                   2026-11-23T16:04:43.8Z stdout P {f}\n\
                   2026-11-23T16:04:43.9Z stdout F \n\
                   2026-11-23T16:04:44.0Z stdout P {g\n";
        let (all, found) = read_all(log.as_bytes());
        let expected = [
            line("{a,b}", 1, false),
            line("{c d}", 5, false),
            line("{e}", 6, false),
            line("{f}", 8, false),
            line("{g", 10, true),
        ];
        assert_eq!(all, expected);
        assert_eq!((found.lines, found.stderr), (10, 1));
    }

    #[test]
    fn what_only_looks_like_a_container_log_stays_as_it_is() {
        for text in ["1 stdout F x", "2026-11-23T16:04:43.1Z stdin F x", "2026-11-23T16:04:43.1Z stdout X x", "9"] {
            assert_eq!(read_all(text.as_bytes()).0, [line(text, 1, true)]);
        }
    }
}
