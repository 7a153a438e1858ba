//! The end of a line: its run, its number and, if chained, a tag. Both ends of the contract, the writer's ([`Seal`]) and
//! the reader's ([`parse_seal`] and what checks tags), so that they cannot drift apart. `docs/verify.md` has the format.
//!
//! A line ends in `,"line":"RUN-N"}}}` or `,"line":"RUN-N","chain":"TAG"}}}`. Its *body* is what stands before
//! `,"chain":"`.

use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failed};

/// What closes the body object, `fields` and the line.
const END: &[u8] = b"}}}";
const LINE: &[u8] = b",\"line\":\"";
const CHAIN: &[u8] = b",\"chain\":\"";
const TAG_BYTES: usize = 16;
/// Whoever guesses a shorter key needs no exectrace to write what the log says.
const MIN_KEY_BYTES: usize = 16;
/// No key is longer; a file that is was not meant.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// Names one run of exectrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run(pub(crate) u32);

impl Run {
    /// The 8 digits that a line shows.
    pub(crate) fn parse(digits: &[u8]) -> Option<Run> {
        let mut bytes = [0; 4];
        from_hex(digits, &mut bytes)?;
        Some(Run(u32::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The proof at the end of a chained line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag([u8; TAG_BYTES]);

impl Tag {
    fn of(digest: &[u8]) -> Tag {
        let mut tag = Tag::default();
        tag.0.copy_from_slice(&digest[..TAG_BYTES]);
        tag
    }

    fn parse(digits: &[u8]) -> Option<Tag> {
        let mut tag = Tag::default();
        from_hex(digits, &mut tag.0)?;
        Some(tag)
    }
}

/// How the lines of a run are bound together.
#[derive(Debug, Clone)]
pub(crate) enum ChainMode {
    /// Numbers only.
    None,
    /// Each tag depends on all lines before it. Proves nothing against who can write the whole log anew.
    Linked,
    /// Each line is signed by a key of its own that is forgotten with the line.
    Keyed(ChainKey),
}

/// `start.chained` of a chain without a key.
pub(crate) const LINKED: &str = "sha256";
/// `start.chained` of a chain with a key.
pub(crate) const KEYED: &str = "hmac-sha256";

/// What a key file gives. Every run gets its first key from it.
#[derive(Clone)]
pub(crate) struct ChainKey(Secret);

impl ChainKey {
    /// Reads a key from a file or a pipe, to its end.
    pub(crate) fn read(path: &Path) -> anyhow::Result<ChainKey> {
        let refused = |why: &str| Failed(Exit::Usage, format!("the chain key {} {why}", path.display()));
        // Room for all from the beginning: what a growing vector leaves behind would not be wiped.
        let mut bytes = Vec::with_capacity(usize::try_from(MAX_KEY_BYTES).unwrap_or_default() + 64);
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes))
            .with_context(|| refused("cannot be read"))?;
        if u64::try_from(bytes.len()).is_ok_and(|count| count > MAX_KEY_BYTES) {
            return Err(refused("is longer than 1 MiB").into());
        }
        let key = ChainKey::from_bytes(&bytes);
        wipe(&mut bytes);
        Ok(key.ok_or_else(|| refused("is too short: a key has at least 16 bytes"))?)
    }

    /// `None` if there are too few bytes. One line break at the end is not part of the key: editors and `echo` add it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<ChainKey> {
        let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |bytes| bytes.strip_suffix(b"\r").unwrap_or(bytes));
        let is_long_enough = bytes.len() >= MIN_KEY_BYTES;
        is_long_enough.then(|| ChainKey(Secret(sha256(&[b"exectrace chain\0", bytes]))))
    }

    fn first_of(&self, run: Run) -> Secret {
        Secret(hmac(&self.0, run.to_string().as_bytes()))
    }
}

/// Never shows the key.
impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

/// 32 bytes that are overwritten when they are not needed any more.
#[derive(Clone)]
struct Secret([u8; 32]);

impl Secret {
    fn next(&self) -> Secret {
        Secret(sha256(&[b"exectrace next\0", &self.0]))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // So that the compiler cannot know that nobody reads the zeros, and must write them.
    std::hint::black_box(bytes);
}

/// The writer's end: what the next line gets. A clone is tens of bytes, to go back to when a write has failed.
#[derive(Clone)]
pub(crate) struct Seal {
    run: Run,
    next_line: u64,
    chain: Chain,
}

/// The state of a chain before its next line.
#[derive(Clone)]
enum Chain {
    None,
    Linked(Tag),
    Keyed(Secret),
}

impl Seal {
    /// A new run; `run` is random.
    pub(crate) fn new(run: u32, chain: ChainMode) -> Seal {
        let run = Run(run);
        let chain = match chain {
            ChainMode::None => Chain::None,
            ChainMode::Linked => Chain::Linked(Tag::default()),
            ChainMode::Keyed(key) => Chain::Keyed(key.first_of(run)),
        };
        Seal { run, next_line: 1, chain }
    }

    /// The same, with another number for the next line.
    pub(crate) fn at(self, line: u64) -> Seal {
        Seal { next_line: line, ..self }
    }

    /// The name in the line `start`, for a run that is chained.
    pub(crate) fn chained(&self) -> Option<&'static str> {
        match self.chain {
            Chain::None => None,
            Chain::Linked(_) => Some(LINKED),
            Chain::Keyed(_) => Some(KEYED),
        }
    }

    /// The run that the lines belong to.
    pub(crate) fn run(&self) -> Run {
        self.run
    }

    /// The number that the next line gets.
    pub(crate) fn next_line(&self) -> u64 {
        self.next_line
    }

    /// Seals the line `out[start..]`, which ends in `}}}`, and ends it with a line break.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, start: usize) {
        debug_assert!(out[start..].ends_with(END), "a line of the log ends in }}}}}}");
        out.truncate(out.len() - END.len());
        out.extend_from_slice(LINE);
        out.extend_from_slice(format!("{}-{}\"", self.run, self.next_line).as_bytes());
        let body = &out[start..];
        let tag = match &mut self.chain {
            Chain::None => None,
            Chain::Linked(before) => {
                *before = link(*before, &digest(body));
                Some(*before)
            }
            Chain::Keyed(key) => {
                let tag = Tag::of(&hmac(key, body));
                // The old key is overwritten as it is dropped.
                *key = key.next();
                Some(tag)
            }
        };
        if let Some(tag) = tag {
            out.extend_from_slice(CHAIN);
            out.extend(tag.0.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)]));
            out.push(b'"');
        }
        out.extend_from_slice(END);
        out.push(b'\n');
        self.next_line += 1;
    }
}

/// The reader's end: what a line's end says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    pub(crate) run: Run,
    pub(crate) line: u64,
    /// What a tag is made of.
    pub(crate) body: &'a [u8],
    pub(crate) tag: Option<Tag>,
}

/// The seal of a line without its line break; `None` if it has none, or not one that [`Seal::put`] writes.
pub(crate) fn parse_seal(line: &[u8]) -> Option<Sealed<'_>> {
    let before_end = line.strip_suffix(END)?.strip_suffix(b"\"")?;
    let (body, tag) = match before_end.len().checked_sub(2 * TAG_BYTES) {
        Some(at) if before_end[..at].ends_with(CHAIN) => {
            (&before_end[..at - CHAIN.len()], Some(Tag::parse(&before_end[at..])?))
        }
        _ => (&line[..line.len() - END.len()], None),
    };
    let number = body.strip_suffix(b"\"")?;
    // The longest is ,"line":"RUN-18446744073709551615: so far back the key is, or nowhere.
    let longest = LINE.len() + 8 + 1 + 20;
    let number = &number[number.len().saturating_sub(longest)..];
    let at = number.windows(LINE.len()).rposition(|window| window == LINE)?;
    let (run, line) = number[at + LINE.len()..].split_at_checked(8)?;
    Some(Sealed { run: Run::parse(run)?, line: decimal(line.strip_prefix(b"-")?)?, body, tag })
}

/// Positive, without a sign or zeros at the front: every number has one form.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_canonical =
        digits.first().is_some_and(|first| (b'1'..=b'9').contains(first)) && digits.iter().all(u8::is_ascii_digit);
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a link of the chain without a key needs to know of a body.
pub(crate) fn digest(body: &[u8]) -> [u8; 32] {
    sha256(&[body])
}

/// The tag of a line in a chain without a key; before the first line stands a tag of zeros, [`Tag::default`].
pub(crate) fn link(before: Tag, digest: &[u8; 32]) -> Tag {
    Tag::of(&sha256(&[&before.0, digest]))
}

/// Checks lines of a keyed chain, in any order; in the order of their numbers it is fastest.
pub(crate) struct KeyedReader {
    /// The keys of lines 1, 1 + STEP, 1 + 2 STEP, …, as far as was needed.
    milestones: Vec<Secret>,
    /// The line after the last one that was checked, and its key.
    next: (u64, Secret),
}

/// Lines between two keys that are remembered: going back costs half as many hashes, on average.
const STEP: u64 = 256;

/// How many keys one verification may make for lines that lie ahead, so that a forged number does not keep it busy for
/// ever. As many take less than a minute and, at their milestones, 32 MiB.
pub(crate) const AHEAD: u64 = 1 << 28;

impl KeyedReader {
    pub(crate) fn new(key: &ChainKey, run: Run) -> KeyedReader {
        let first = key.first_of(run);
        KeyedReader { milestones: vec![first.clone()], next: (1, first) }
    }

    /// Whether a line's tag is its key's; `None` if its number is further ahead than `ahead`, what is left of [`AHEAD`].
    pub(crate) fn fits(&mut self, line: u64, body: &[u8], tag: Tag, ahead: &mut u64) -> Option<bool> {
        self.go_to(line, ahead)?;
        let fits = Tag::of(&hmac(&self.next.1, body)) == tag;
        self.step();
        Some(fits)
    }

    fn go_to(&mut self, line: u64, left: &mut u64) -> Option<()> {
        let (next, last_milestone) = (self.next.0, self.milestones.len() - 1);
        if line < next || (line - next > STEP && (line - 1) / STEP <= last_milestone as u64) {
            let milestone = usize::try_from((line - 1) / STEP).unwrap_or(usize::MAX).min(last_milestone);
            self.next = (milestone as u64 * STEP + 1, self.milestones[milestone].clone());
        }
        let ahead = line - self.next.0;
        if ahead > STEP {
            *left = left.checked_sub(ahead)?;
        }
        for _ in 0..ahead {
            self.step();
        }
        Some(())
    }

    fn step(&mut self) {
        let next = self.next.1.next();
        self.next = (self.next.0 + 1, next);
        let (line, known) = (self.next.0, self.milestones.len() as u64);
        if (line - 1) % STEP == 0 && (line - 1) / STEP == known {
            self.milestones.push(self.next.1.clone());
        }
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn hmac(key: &Secret, message: &[u8]) -> [u8; 32] {
    // A key that is shorter than a block is one with zeros after it; this form of it cannot fail.
    let mut block = [0; 64];
    block[..32].copy_from_slice(&key.0);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    wipe(&mut block);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Lower case only, so that every value has one form.
fn from_hex(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
    }
    Some(())
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value)]
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn key() -> ChainKey {
        ChainKey::from_bytes(b"sixteen bytes ..").expect("a key")
    }

    fn seal(seal: &mut Seal, body: &str) -> String {
        let mut out = b"before".to_vec();
        out.extend_from_slice(body.as_bytes());
        seal.put(&mut out, "before".len());
        String::from_utf8(out.split_off("before".len())).expect("ASCII")
    }

    fn parse(line: &str) -> Option<Sealed<'_>> {
        parse_seal(line.trim_end_matches('\n').as_bytes())
    }

    const BODY: &str = r#"{"msg":"exec","fields":{"event":{"pid":1}}}"#;

    #[test]
    fn a_line_without_a_chain_gets_its_number() {
        let mut state = Seal::new(0x2a, ChainMode::None);
        assert_eq!((state.run().to_string().as_str(), state.next_line()), ("0000002a", 1));
        assert_eq!(
            seal(&mut state, BODY),
            concat!(r#"{"msg":"exec","fields":{"event":{"pid":1,"#, r#""line":"0000002a-1"}}}"#, "\n")
        );
        let line = seal(&mut state, BODY);
        let sealed = parse(&line).expect("a seal");
        assert_eq!((sealed.run, sealed.line, sealed.tag), (Run(0x2a), 2, None));
    }

    /// By the words of `docs/verify.md`, with the hash alone.
    #[test]
    fn a_chain_without_a_key_is_the_documented_one() {
        let mut state = Seal::new(7, ChainMode::Linked);
        let mut before = [0; 16];
        for number in 1..=3 {
            let line = seal(&mut state, BODY);
            let (body, rest) = line.rsplit_once(r#","chain":""#).expect("a chain");
            assert!(body.ends_with(&format!(r#","line":"00000007-{number}""#)), "{line}");
            let mut input = before.to_vec();
            input.extend_from_slice(&Sha256::digest(body.as_bytes()));
            before.copy_from_slice(&Sha256::digest(&input)[..16]);
            let hex: String = before.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(rest, format!("{hex}\"}}}}}}\n"));
        }
    }

    /// By the words of `docs/verify.md`, with HMAC by its definition.
    #[test]
    fn a_chain_with_a_key_is_the_documented_one() {
        fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
            let pad = |with: u8| {
                let mut block = vec![with; 64];
                block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
                block
            };
            let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
            Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
        }
        let mut state = Seal::new(7, ChainMode::Keyed(key()));
        let master = Sha256::digest(b"exectrace chain\0sixteen bytes ..");
        let mut line_key = hmac(&master, b"00000007");
        for _ in 1..=3 {
            let line = seal(&mut state, BODY);
            let (body, rest) = line.rsplit_once(r#","chain":""#).expect("a chain");
            let hex: String = hmac(&line_key, body.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(rest, format!("{hex}\"}}}}}}\n"));
            line_key = Sha256::digest([b"exectrace next\0", line_key.as_slice()].concat()).to_vec();
        }
    }

    #[test]
    fn a_state_that_was_kept_gives_the_same_line_again() {
        for chain in [ChainMode::None, ChainMode::Linked, ChainMode::Keyed(key())] {
            let mut state = Seal::new(7, chain);
            seal(&mut state, BODY);
            let kept = state.clone();
            assert_eq!(seal(&mut state, BODY), seal(&mut kept.clone(), BODY));
        }
        assert!(size_of::<Seal>() <= 64, "{}", size_of::<Seal>());
    }

    #[test]
    fn what_no_writer_writes_is_no_seal() {
        for line in [
            "",
            "}}}",
            r#"{"a":{"b":{"line":"0000002a-0"}}}"#,
            r#"{"a":{"b":{,"line":"0000002a-01"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002A-1"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"000002a-1"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002a-"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002a-18446744073709551616"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002a-1","chain":"0123456789abcdef0123456789ABCDEF"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002a-1","chain":"0123456789abcdef0123456789abcde"}}}"#,
            r#"{"a":{"b":{"c":1,"chain":"0123456789abcdef0123456789abcdef"}}}"#,
            r#"{"a":{"b":{"c":1,"line":"0000002a-1"}}} "#,
        ] {
            assert_eq!(parse_seal(line.as_bytes()), None, "{line}");
        }
        assert!(parse(r#"{"a":{"b":{"c":1,"line":"0000002a-18446744073709551615"}}}"#).is_some());
    }

    #[test]
    fn keyed_lines_are_checked_in_any_order() {
        let mut state = Seal::new(7, ChainMode::Keyed(key()));
        let lines: Vec<String> = (0..1500).map(|_| seal(&mut state, BODY)).collect();
        let mut reader = KeyedReader::new(&key(), Run(7));
        let mut ahead = AHEAD;
        let order = [1499, 0, 1, 700, 255, 256, 257, 699, 2, 1400, 1023, 512].into_iter().chain(0..1500);
        for at in order {
            let sealed = parse(&lines[at]).expect("a seal");
            let tag = sealed.tag.expect("a tag");
            assert_eq!(reader.fits(sealed.line, sealed.body, tag, &mut ahead), Some(true), "{at}");
            assert_eq!(reader.fits(sealed.line + 1, sealed.body, tag, &mut ahead), Some(false), "{at}");
        }
        assert_eq!(reader.fits(u64::MAX, b"", Tag::default(), &mut ahead), None);
        let sealed = parse(&lines[3]).expect("a seal");
        assert_eq!(reader.fits(4, sealed.body, sealed.tag.expect("a tag"), &mut ahead), Some(true));
    }

    #[test]
    fn a_key_comes_from_a_file_or_a_pipe() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        let first = |key: &ChainKey| key.first_of(Run(1)).0;
        for bytes in [&b"sixteen bytes .."[..], b"sixteen bytes ..\n", b"sixteen bytes ..\r\n"] {
            std::fs::write(&path, bytes).expect("a file");
            assert_eq!(first(&ChainKey::read(&path).expect("a key")), first(&key()));
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        { writer }.write_all(b"sixteen bytes ..\n").expect("room");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(first(&ChainKey::read(Path::new(&path)).expect("a key")), first(&key()));
    }

    #[test]
    fn a_key_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        std::fs::write(&path, b"fifteen bytes .\n").expect("a file");
        for path in [&path, &folder.path().join("missing"), folder.path(), Path::new("/dev/zero")] {
            let error = ChainKey::read(path).expect_err("no key");
            assert!(format!("{error:#}").contains(&path.display().to_string()), "{error:#}");
            assert_eq!(crate::exit::report(&error), Exit::Usage);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_seal_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            parse_seal(&bytes);
            parse_seal(&[&bytes[..], b"\"}}}"].concat());
        }

        #[test]
        fn every_seal_is_read_as_it_was_written(run in any::<u32>(), lines in 1..5_u64, which in 0..3) {
            let chain = [ChainMode::None, ChainMode::Linked, ChainMode::Keyed(key())][usize::try_from(which).expect("small")].clone();
            let chained = !matches!(chain, ChainMode::None);
            let mut state = Seal::new(run, chain);
            for number in 1..=lines {
                let line = seal(&mut state, BODY);
                let sealed = parse(&line).expect("a seal");
                prop_assert_eq!((sealed.run, sealed.line, sealed.tag.is_some()), (Run(run), number, chained));
            }
        }
    }
}
