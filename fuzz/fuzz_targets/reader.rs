//! Any file for `verify`: the lines do not depend on how it is compressed, on how a container runtime cuts it, nor on how
//! it is read. The first byte says how it is read and cut.
#![no_main]

use std::io::{self, Read, Write};

use exectrace_cli::fuzzing::{Lines, lines};
use libfuzzer_sys::fuzz_target;

/// A compressed byte can make 32 KiB of lines, so more of them take too long.
const COMPRESSED: usize = 512;

fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let step = usize::from(*step).max(1);
    let is_compressed = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let bytes = if is_compressed { &bytes[..bytes.len().min(COMPRESSED)] } else { bytes };
    let plain = read(bytes);
    same_in_parts(bytes, step, &plain);
    assert!(is_compressed || plain.lines.iter().map(|(line, _)| line.len()).sum::<usize>() <= bytes.len());
    assert!(plain.lines.len() as u64 <= plain.physical, "{plain:?}");
    // Only the last line can be cut in a file, and each line that a runtime did not end.
    if !is_compressed && !is_magic_piece(bytes) {
        assert!(!plain.is_damaged);
        assert_eq!(read(&gzip(bytes)), plain);
        assert_eq!(read(&zstd::encode_all(bytes, 1).expect("room")), plain);
        damaged(&gzip(bytes), step, &plain);
        through_a_runtime(bytes, step);
    }
});

fn read(bytes: &[u8]) -> Lines {
    lines(bytes).expect("memory can be read")
}

/// A pipe that gives a few bytes at a time.
fn same_in_parts(bytes: &[u8], step: usize, expected: &Lines) {
    struct Parts<'a>(&'a [u8], usize);
    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(&mut buffer[..count])
        }
    }
    // With one or two bytes the first of them decides what a file is, which is right for what can be a log.
    if step >= 4 || bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        let read = lines(Parts(bytes, step)).expect("memory can be read");
        if !expected.is_damaged {
            return assert_eq!(&read, expected);
        }
        // How much can be had of damaged data depends on how much of it is there at a time.
        assert!(read.is_damaged);
        let is_less = read.lines.len() < expected.lines.len();
        let (fewer, more) = if is_less { (&read, expected) } else { (expected, &read) };
        let certain = &fewer.lines[..fewer.lines.len().saturating_sub(1)];
        assert!(more.lines.starts_with(certain));
    }
}

fn is_magic_piece(bytes: &[u8]) -> bool {
    bytes.len() < 4 && matches!(bytes.first(), Some(0x1f | 0x28))
}

/// Compressed data that ends early gives the first lines, of which the last may be cut, and says so.
fn damaged(compressed: &[u8], step: usize, whole: &Lines) {
    let cut = &compressed[..compressed.len().saturating_sub(step)];
    let Lines { lines, is_damaged, .. } = read(cut);
    // What is left of the head alone is no compressed data yet, and a piece of what a runtime puts before a line is none.
    let is_plain = |(line, _): &(Vec<u8>, bool)| !line.first().is_some_and(u8::is_ascii_digit);
    if cut.len() < 20 || whole.stderr > 0 || !lines.iter().all(is_plain) || whole.lines.len() as u64 != whole.physical {
        return;
    }
    assert!(is_damaged);
    assert!(lines.len() <= whole.lines.len());
    for ((line, is_cut), (of_whole, _)) in lines.iter().zip(&whole.lines) {
        // A line break may be of two bytes.
        assert!(if *is_cut { [of_whole, &b"\r"[..]].concat().starts_with(line) } else { of_whole == line });
    }
}

/// A log as a container runtime stores it, with noise of stderr between, reads as the log itself.
fn through_a_runtime(bytes: &[u8], step: usize) {
    let log: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
    let log = log.strip_suffix(b"\n").unwrap_or(&log);
    let (mut plain, mut stored, mut noise) = (Vec::new(), Vec::new(), 0);
    for line in log.split(|byte| *byte == b'\n') {
        // A line that looks as if a runtime had stored it is taken for one.
        if line.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        plain.extend_from_slice(line);
        plain.push(b'\n');
        let pieces: Vec<&[u8]> = line.chunks(step).collect();
        let (last, begin) = pieces.split_last().map_or((&[][..], &[][..]), |(last, begin)| (*last, begin));
        for piece in begin {
            store(&mut stored, "stdout P", piece);
            if piece.len() % 3 == 0 {
                store(&mut stored, "stderr F", line);
                noise += 1;
            }
        }
        store(&mut stored, "stdout F", last);
    }
    if matches!(plain.first(), None | Some(0x1f | 0x28)) {
        return;
    }
    let (plain, stored) = (read(&plain), read(&stored));
    assert_eq!(stored.stderr, noise);
    assert_eq!(stored.lines, plain.lines);
}

fn store(out: &mut Vec<u8>, stream: &str, piece: &[u8]) {
    write!(out, "2026-11-23T16:04:43.548644144Z {stream} ").expect("room");
    out.extend_from_slice(piece);
    out.push(b'\n');
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("room");
    encoder.finish().expect("room")
}
