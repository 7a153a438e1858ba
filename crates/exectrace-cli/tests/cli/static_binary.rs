//! The binary needs nothing beside it, so that an image FROM scratch can hold it.

use crate::program::EXECTRACE;

/// Type of the program header that names a dynamic loader, PT_INTERP of the ELF specification.
const PT_INTERP: u32 = 3;
/// The type of a header that tells what the loader must do; a static program may have one, to relocate itself.
const PT_DYNAMIC: u32 = 2;
/// The tag of an entry of it that names a library.
const DT_NEEDED: u64 = 1;

/// A little-endian number of up to eight bytes.
fn number(file: &[u8], at: usize, bytes: usize) -> u64 {
    file[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn place(file: &[u8], at: usize) -> usize {
    usize::try_from(number(file, at, 8)).expect("an offset")
}

#[test]
fn the_binary_has_no_loader_and_no_libraries() {
    let file = std::fs::read(EXECTRACE).expect("the binary");
    assert_eq!(file[..6], *b"\x7fELF\x02\x01", "a 64-bit little-endian program");
    let headers = place(&file, 0x20);
    let (size, count) = (number(&file, 0x36, 2), number(&file, 0x38, 2));
    assert!(count > 0);
    for index in 0..count {
        let header = headers + usize::try_from(index * size).expect("an offset");
        let kind = u32::try_from(number(&file, header, 4)).expect("a type");
        assert_ne!(kind, PT_INTERP, "a dynamic loader is named");
        if kind == PT_DYNAMIC {
            let (from, len) = (place(&file, header + 0x08), place(&file, header + 0x20));
            let mut tags = (from..from + len).step_by(16).map(|entry| number(&file, entry, 8));
            assert!(!tags.any(|tag| tag == DT_NEEDED), "a library is named");
        }
    }
}
