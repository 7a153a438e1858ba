//! What is left out by a rule: told to the kernel program before it runs, counted by it, rule by rule.

use std::mem::{offset_of, size_of};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::builder::TracerBuilder;
use crate::kernel::Maps;
use crate::skel::types::{exclude_key, left_out};
use crate::tracer::TracerError;

/// A rule by which execs are left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// See [`TracerBuilder::exclude_path`].
    Path(PathBuf),
    /// See [`TracerBuilder::exclude_uid`].
    Uid(u32),
}

/// What a rule left out, in all scopes. An exec counts for one rule: for its user's, otherwise for the longest prefix that
/// its path has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The rule.
    pub by: Exclusion,
    /// Execs.
    pub execs: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Tells the kernel program whose execs to leave out.
pub(crate) fn tell(maps: &Maps, settings: &TracerBuilder) -> Result<(), TracerError> {
    let failed =
        |source| TracerError::Kernel { step: "telling the kernel what to exclude", source, log: String::new() };
    let none_yet = [0; size_of::<left_out>()];
    for rule in rules(settings) {
        let (map, key) = row(maps, &rule)?;
        map.update(&key, &none_yet, MapFlags::ANY).map_err(failed)?;
    }
    Ok(())
}

/// What each rule left out so far: paths first, then users, in the order of the alphabet and of the numbers.
pub(crate) fn counts(maps: &Maps, settings: &TracerBuilder) -> Result<Vec<LeftOut>, TracerError> {
    let failed = |source| TracerError::Kernel { step: "reading the counters", source, log: String::new() };
    let mut counts = Vec::new();
    for by in rules(settings) {
        let (map, key) = row(maps, &by)?;
        let value = map.lookup(&key, MapFlags::ANY).map_err(failed)?.unwrap_or_default();
        let number = |at: usize| {
            let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_ne_bytes)
        };
        let (execs, failed) = (number(offset_of!(left_out, execs)), number(offset_of!(left_out, failed)));
        counts.push(LeftOut { by, execs, failed });
    }
    Ok(counts)
}

/// Each once.
fn rules(settings: &TracerBuilder) -> Vec<Exclusion> {
    let paths = settings.exclude_paths.iter().cloned().map(Exclusion::Path);
    let mut rules: Vec<Exclusion> = paths.chain(settings.exclude_uids.iter().copied().map(Exclusion::Uid)).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn row<'a>(maps: &'a Maps, rule: &Exclusion) -> Result<(&'a MapHandle, Vec<u8>), TracerError> {
    Ok(match rule {
        Exclusion::Path(prefix) => (&maps.excluded_paths, path_key(prefix)?),
        Exclusion::Uid(uid) => (&maps.excluded_uids, uid.to_ne_bytes().to_vec()),
    })
}

/// An LPM trie's key: how many bits count, then the bytes.
fn path_key(prefix: &Path) -> Result<Vec<u8>, TracerError> {
    let bytes = prefix.as_os_str().as_bytes();
    let refuse = |why| Err(TracerError::Exclusion { what: prefix.to_owned(), why });
    if !bytes.starts_with(b"/") {
        return refuse("the prefix of a path must begin with a /");
    }
    let max = exclude_key::default().path.len();
    match u32::try_from(bytes.len() * 8) {
        Ok(bits) if bytes.len() <= max => {
            let mut key = bits.to_ne_bytes().to_vec();
            key.extend_from_slice(bytes);
            key.resize(size_of::<exclude_key>(), 0);
            Ok(key)
        }
        _ => refuse("the prefix is longer than 256 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_must_be_an_absolute_prefix_of_at_most_256_bytes() {
        assert!(path_key(Path::new("usr/bin")).is_err());
        assert!(path_key(Path::new(&format!("/{}", "x".repeat(256)))).is_err());
        let key = path_key(Path::new("/usr/lib/")).expect("a prefix");
        assert_eq!(key.len(), size_of::<exclude_key>());
        assert_eq!(key[..4], 72u32.to_ne_bytes());
        assert_eq!(&key[4..14], b"/usr/lib/\0");
    }

    #[test]
    fn each_rule_is_there_once() {
        let settings = TracerBuilder::default().exclude_uid(7).exclude_path("/b").exclude_path("/a").exclude_uid(7);
        let [a, b] = ["/a", "/b"].map(|path| Exclusion::Path(path.into()));
        assert_eq!(rules(&settings), [a, b, Exclusion::Uid(7)]);
    }
}
