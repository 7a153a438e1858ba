//! What the downward API tells of a pod: whose workspace it is, and what it is called.
//!
//! The files `labels` and `annotations` hold lines `key="value"`, the value quoted as Go's %q does. An owner of the
//! workspace may be able to set annotations, so those that are not asked for are not looked at.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::Chars;

use anyhow::{Context, bail};
use exectrace_k8s::workspace::{DIALECTS, log_labels};

use crate::labels::Labels;

/// All annotations of an object have 256 KiB at most (`TotalAnnotationSizeLimitB` of apimachinery), and quoting makes a
/// byte four at most.
const MAX_FILE: u64 = 2 << 20;

/// Files that labels of the log come from.
pub(crate) const FILES: [&str; 2] = ["labels", "annotations"];

/// The log's labels of the pod that `folder` tells of.
pub(crate) fn labels(folder: &Path) -> anyhow::Result<Labels> {
    let [labels, annotations] = FILES.map(|name| pairs(&folder.join(name)));
    Ok(log_labels(&labels?, &annotations?))
}

/// What the pod is called: of the files `name` and `namespace`, those that are there.
pub(crate) fn names(folder: &Path) -> anyhow::Result<[Option<String>; 2]> {
    let [name, namespace] = ["name", "namespace"].map(|file| read(&folder.join(file)));
    let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok([trimmed(name?), trimmed(namespace?)])
}

/// `None` if there is no such file.
fn read(path: &PathBuf) -> anyhow::Result<Option<String>> {
    let what = || format!("cannot read what the pod's volume says, {}", path.display());
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(what),
    };
    if !file.metadata().with_context(what)?.is_file() {
        bail!("{}: it is no file", what());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(what)?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{}: it is longer than {MAX_FILE} bytes", what());
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The lines of a file that can make a label of the log.
fn pairs(path: &PathBuf) -> anyhow::Result<BTreeMap<String, String>> {
    let text = read(path)?.unwrap_or_default();
    let known = |key: &str| DIALECTS.iter().any(|(_, keys)| keys.contains(&key));
    let lines = text.lines().enumerate().filter_map(|(number, line)| {
        let (key, value) = line.split_once('=')?;
        known(key).then_some((number + 1, key, value))
    });
    lines
        .map(|(number, key, value)| {
            let value = unquote(value)
                .with_context(|| format!("{}: line {number} has no quoted value: {value}", path.display()))?;
            Ok((key.to_owned(), value))
        })
        .collect()
}

/// What Go's `strconv.Quote` made of a string.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut bytes = Vec::new();
    let push = |char: char, bytes: &mut Vec<u8>| bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    while let Some(char) = rest.next() {
        match char {
            '"' => return None,
            '\\' => match rest.next()? {
                'x' => bytes.push(u8::try_from(number(&mut rest, 2)?).ok()?),
                'u' => push(char::from_u32(number(&mut rest, 4)?)?, &mut bytes),
                'U' => push(char::from_u32(number(&mut rest, 8)?)?, &mut bytes),
                letter => bytes.push(byte_of(letter)?),
            },
            char => push(char, &mut bytes),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn number(rest: &mut Chars<'_>, digits: usize) -> Option<u32> {
    let text: String = rest.by_ref().take(digits).collect();
    u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits)
}

/// What a letter behind a backslash stands for.
fn byte_of(letter: char) -> Option<u8> {
    Some(match letter {
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 11,
        'f' => 12,
        'r' => b'\r',
        '\\' | '"' => u8::try_from(letter).ok()?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("a file");
        }
        folder
    }

    #[test]
    fn the_pod_s_labels_become_those_of_the_log() {
        let folder = folder(&[
            ("labels", "app=\"x\"\ncom.coder.user.username=\"jessie\"\ncom.coder.workspace.name=\"main\"\n"),
            ("annotations", "com.coder.user.email=\"jessie@example.com\"\nnote=broken, and nobody asks\n"),
            ("name", "coder-jessie-main"),
            ("namespace", "workspaces\n"),
        ]);
        let labels = labels(folder.path()).expect("labels");
        let expected = [("user_email", "jessie@example.com"), ("username", "jessie"), ("workspace_name", "main")];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let names = names(folder.path()).expect("names");
        assert_eq!(names, [Some("coder-jessie-main".to_owned()), Some("workspaces".to_owned())]);
    }

    #[test]
    fn a_pod_without_labels_is_no_error() {
        let folder = folder(&[("labels", "")]);
        assert!(labels(folder.path()).expect("none").is_empty());
        assert_eq!(names(folder.path()).expect("none"), [None, None]);
    }

    #[test]
    fn a_value_is_read_as_go_wrote_it() {
        for (quoted, value) in [
            (r#""plain""#, "plain"),
            (r#""a\"b\\c""#, "a\"b\\c"),
            (r#""\a\b\t\n\v\f\r""#, "\u{7}\u{8}\t\n\u{b}\u{c}\r"),
            (r#""\x7f\u200b\U000e0001ü""#, "\u{7f}\u{200b}\u{e0001}ü"),
        ] {
            assert_eq!(unquote(quoted).as_deref(), Some(value), "{quoted}");
        }
        for broken in ["", "\"", "x", r#""\""#, r#""\q""#, r#""\x7""#, r#""\ud800""#, r#""a"b""#] {
            assert_eq!(unquote(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_named_with_its_line() {
        let folder = folder(&[("labels", "a=\"x\"\ncom.coder.username=zac\n")]);
        let error = format!("{:#}", labels(folder.path()).expect_err("no quotes"));
        assert!(error.contains("line 2") && error.contains("zac"), "{error}");
    }
}
