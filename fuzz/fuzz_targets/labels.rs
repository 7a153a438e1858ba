//! Any files in a folder of labels, as the kubelet makes it: what is read is what was written, or an error is told. A
//! second version of the folder is seen as a change, and one that cannot be read changes nothing.
//!
//! The input is a list of files, each with what it is, its name and its content, by lengths of one byte; the second half
//! of it is the second version.
#![no_main]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use exectrace_cli::fuzzing::{Labels, pod_labels, unquote};
use libfuzzer_sys::fuzz_target;

const POD_LABELS: [&str; 6] =
    ["organization_id", "user_email", "user_id", "username", "workspace_id", "workspace_name"];

/// `None`: it cannot be read.
type Expected = Option<BTreeMap<String, String>>;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    assert_eq!(unquote(&format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).as_deref(), Some(&*text));
    // Whatever is not quoted so must not be taken for something, or stop the program.
    let _ = unquote(&text);
    let (first, second) = input.split_at(input.len() / 2);
    let (first, second) = (Volume::of(first), Volume::of(second));
    let folder =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).expect("a folder");
    first.make(folder.path(), "..1");
    let mut labels = Labels::of(folder.path());
    let read = labels.read();
    assert_eq!(read.as_ref().ok(), first.expected().as_ref(), "{first:?}: {read:?}");
    if read.is_err() {
        return;
    }
    assert_eq!(labels.changed(), None);
    first.remove(folder.path());
    second.make(folder.path(), "..2");
    let before = read.expect("it was read");
    let change = second.expected().filter(|now| *now != before).map(|now| [before, now]);
    assert_eq!(labels.changed(), change, "{first:?}, then {second:?}");
    // The same files as a pod's volume: whatever is in them, only what names a workspace becomes a label.
    if let Ok(labels) = pod_labels(folder.path()) {
        assert!(labels.keys().all(|name| POD_LABELS.contains(&name.as_str())), "{second:?}: {labels:?}");
    }
});

#[derive(Debug)]
struct Volume {
    files: BTreeMap<OsString, File>,
}

#[derive(Debug)]
enum File {
    Content(Vec<u8>),
    /// `key="value"` lines, as the kubelet writes them.
    Pairs(Vec<(String, String)>),
    Folder,
    Nowhere,
    Pipe,
    /// Longer than a label can be.
    Long,
}

impl Volume {
    fn of(mut bytes: &[u8]) -> Volume {
        let mut files = BTreeMap::new();
        while let Some((kind, name, content)) = next_file(&mut bytes) {
            let name = if kind >= 0xf0 { b"labels" } else { name };
            let is_name = !name.is_empty() && !name.starts_with(b"..") && name != b"." && !name.contains(&b'/');
            if !is_name || name.contains(&0) {
                continue;
            }
            let file = match kind {
                0 => File::Folder,
                1 => File::Nowhere,
                2 => File::Pipe,
                3 => File::Long,
                0xf8.. => File::Pairs(pairs(content)),
                _ => File::Content(content.to_vec()),
            };
            files.insert(OsStr::from_bytes(name).to_owned(), file);
        }
        Volume { files }
    }

    /// Files are links through `..data`.
    fn make(&self, folder: &Path, version: &str) {
        let data = folder.join(version);
        fs::create_dir(&data).expect("a folder");
        for (name, file) in &self.files {
            let path = data.join(name);
            match file {
                File::Content(content) => fs::write(path, content).expect("a file"),
                File::Pairs(pairs) => fs::write(path, written(pairs)).expect("a file"),
                File::Folder => fs::create_dir(path).expect("a folder"),
                File::Pipe => {
                    let mode = rustix::fs::Mode::RUSR;
                    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
                }
                File::Long => fs::write(path, [b'x'; (64 << 10) + 1]).expect("a file"),
                File::Nowhere => {}
            }
            symlink(Path::new("..data").join(name), folder.join(name)).expect("a link");
        }
        symlink(version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the swap");
    }

    fn remove(&self, folder: &Path) {
        for name in self.files.keys() {
            fs::remove_file(folder.join(name)).expect("a link");
        }
    }

    /// What must be read, told without the reader.
    fn expected(&self) -> Expected {
        let mut labels = BTreeMap::new();
        for (name, file) in self.files.iter().filter(|(name, _)| !name.as_bytes().starts_with(b".")) {
            let name = name.to_str()?;
            match file {
                File::Folder => {}
                File::Nowhere | File::Pipe | File::Long => return None,
                File::Pairs(pairs) => labels.extend(pairs.iter().cloned()),
                File::Content(content) => {
                    let text = std::str::from_utf8(content).ok()?;
                    if name == "labels" {
                        labels.extend(lines(text)?);
                    } else {
                        labels.insert(name.to_owned(), text.strip_suffix('\n').unwrap_or(text).to_owned());
                    }
                }
            }
        }
        Some(labels)
    }
}

fn next_file<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (name, rest) = part(rest)?;
    let (content, rest) = part(rest)?;
    *bytes = rest;
    Some((*kind, name, content))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    Some(rest.split_at(rest.len().min(usize::from(*len))))
}

/// Labels that a pod can have, made of any bytes.
fn pairs(content: &[u8]) -> Vec<(String, String)> {
    let text: String = content.iter().map(|byte| char::from(*byte)).filter(|char| !char.is_control()).collect();
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    for pair in text.split(';') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !key.trim().is_empty() {
            pairs.insert(key.to_owned(), value.to_owned());
        }
    }
    pairs.into_iter().collect()
}

/// As the kubelet writes labels: `%q` of Go escapes the quote and the backslash.
fn written(pairs: &[(String, String)]) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    pairs.iter().map(|(key, value)| format!("{key}=\"{}\"\n", quoted(value))).collect()
}

fn lines(text: &str) -> Expected {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.to_owned(), serde_json::from_str(value).ok()?))
        })
        .collect()
}
