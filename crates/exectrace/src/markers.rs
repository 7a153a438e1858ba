//! Markers in environments, by which what a program starts is known as its work: told to the kernel program, which looks
//! for them and hands out nothing but the number of the one that it found.

use std::mem::size_of;

use libbpf_rs::{MapCore, MapFlags};

use crate::skel::types::{env_key, program_name};
use crate::tracer::TracerError;

/// Markers, and names of programs, that the kernel program has room for.
const MAX_MARKERS: usize = 64;
const MAX_PROGRAMS: usize = 32;

/// Which markers are looked for, and in whose environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Markers {
    /// `NAME` or `NAME=VALUE`.
    pub(crate) words: Vec<Vec<u8>>,
    /// Last components of the paths of files that run.
    pub(crate) programs: Vec<Vec<u8>>,
}

impl Markers {
    /// Whether the kernel program can look for all of them.
    pub(crate) fn check(&self) -> Result<(), TracerError> {
        let words = self.words.iter().enumerate().map(|(at, word)| (word, refusal_of_marker(at, word)));
        let programs = self.programs.iter().enumerate().map(|(at, name)| (name, refusal_of_program(at, name)));
        match words.chain(programs).find_map(|(what, refusal)| Some((what, refusal?))) {
            Some((what, why)) => Err(TracerError::EnvMarker { what: what.escape_ascii().to_string(), why }),
            None => Ok(()),
        }
    }

    /// How many the kernel program looks for: where it looks in nobody's environment, none.
    pub(crate) fn count(&self) -> u32 {
        if self.programs.is_empty() { 0 } else { u32::try_from(self.words.len()).unwrap_or(u32::MAX) }
    }

    /// The bytes that they begin with, as bits.
    pub(crate) fn first_bytes(&self) -> [u32; 8] {
        let mut bits = [0; 8];
        for byte in self.words.iter().filter_map(|word| word.first()) {
            bits[usize::from(*byte >> 5)] |= 1 << (byte & 31);
        }
        bits
    }

    /// Tells the kernel program.
    pub(crate) fn tell(&self, markers: &impl MapCore, programs: &impl MapCore) -> Result<(), TracerError> {
        let failed =
            |source| TracerError::Kernel { step: "telling the kernel the markers", source, log: String::new() };
        // Of two that are the same the first counts.
        for (number, word) in (1u32..).zip(&self.words).collect::<Vec<_>>().into_iter().rev() {
            markers.update(&key(&beginning(word)), &number.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
        }
        for program in &self.programs {
            let mut name = program.clone();
            name.resize(size_of::<program_name>(), 0);
            programs.update(&name, &1u32.to_ne_bytes(), MapFlags::ANY).map_err(failed)?;
        }
        Ok(())
    }
}

/// What a variable begins with that is the marker: a whole one ends in a NUL.
fn beginning(word: &[u8]) -> Vec<u8> {
    let end = if word.contains(&b'=') { 0 } else { b'=' };
    [word, &[end]].concat()
}

fn refusal_of_marker(at: usize, word: &[u8]) -> Option<&'static str> {
    match word {
        _ if at >= MAX_MARKERS => Some("there are 64 markers at most"),
        [] | [b'=', ..] => Some("a marker begins with the name of a variable"),
        _ if word.contains(&0) => Some("a marker holds no NUL"),
        // What it is compared with ends in a NUL or =.
        _ if word.len() > MARKER_BYTES => Some("a marker has 62 bytes at most"),
        _ => None,
    }
}

const MARKER_BYTES: usize = 62;

fn refusal_of_program(at: usize, name: &[u8]) -> Option<&'static str> {
    match name {
        _ if at >= MAX_PROGRAMS => Some("there are 32 programs at most in whose environment markers are looked for"),
        [] => Some("a program has a name"),
        _ if name.contains(&b'/') => Some("a program is named without its folder"),
        _ if name.contains(&0) => Some("a name holds no NUL"),
        _ if name.len() >= size_of::<program_name>() => Some("a program's name has 15 bytes at most"),
        _ => None,
    }
}

/// An LPM trie's key: how many bits count, then the bytes.
fn key(beginning: &[u8]) -> Vec<u8> {
    let bits = u32::try_from(beginning.len() * 8).unwrap_or(u32::MAX);
    let mut key = bits.to_ne_bytes().to_vec();
    key.extend_from_slice(beginning);
    key.resize(size_of::<env_key>(), 0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::Tracer;

    fn refusal(words: &[&[u8]], programs: &[&[u8]]) -> Option<String> {
        let owned = |all: &[&[u8]]| all.iter().map(|one| one.to_vec()).collect();
        Markers { words: owned(words), programs: owned(programs) }.check().err().map(|error| error.to_string())
    }

    #[test]
    fn a_marker_is_a_name_with_or_without_a_value() {
        assert_eq!(beginning(b"AGENT"), b"AGENT=");
        assert_eq!(beginning(b"AGENT=1"), b"AGENT=1\0");
        assert_eq!(beginning(b"AGENT="), b"AGENT=\0");
        assert_eq!(refusal(&[b"AGENT", b"AGENT=1", b"AGENT=", &[b'x'; 62]], &[b"bash", b"fifteen-letters"]), None);
    }

    #[test]
    fn a_marker_that_cannot_be_compared_is_refused_by_name() {
        for bad in [&b""[..], b"=1", b"A\0B", &[b'x'; 63], b"/\xff\0"] {
            let said = refusal(&[b"GOOD", bad], &[]).expect("a refusal");
            assert!(said.starts_with(&format!("cannot look for {:?}: ", bad.escape_ascii().to_string())), "{said}");
        }
        assert_eq!(refusal(&[&b"A"[..]; 64], &[]), None);
        assert!(refusal(&[&b"A"[..]; 65], &[]).is_some());
    }

    #[test]
    fn a_program_is_a_name_that_the_kernel_can_compare_whole() {
        for bad in [&b""[..], b"/bin/sh", b"sh\0", b"sixteen-letters!"] {
            assert!(refusal(&[b"A"], &[b"sh", bad]).is_some(), "{}", bad.escape_ascii());
        }
        assert_eq!(refusal(&[], &[&b"sh"[..]; 32]), None);
        assert!(refusal(&[], &[&b"sh"[..]; 33]).is_some());
        assert!(Tracer::builder().env_marker_of("/bin/sh").open().is_err());
    }

    #[test]
    fn nothing_is_looked_for_where_there_is_nobody_to_look_at() {
        let mut markers = Markers { words: vec![b"A".to_vec(), b"B=1".to_vec()], programs: Vec::new() };
        assert_eq!(markers.count(), 0);
        markers.programs.push(b"sh".to_vec());
        assert_eq!(markers.count(), 2);
        assert_eq!(markers.first_bytes(), [0, 0, 0b110, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_key_has_room_for_the_longest_marker() {
        assert!(beginning(&[b'x'; MARKER_BYTES]).len() < env_key::default().text.len());
        assert_eq!(key(b"A=")[..7], [16u32.to_ne_bytes().as_slice(), b"A=\0"].concat());
        assert_eq!(key(b"A=").len(), size_of::<env_key>());
    }
}
