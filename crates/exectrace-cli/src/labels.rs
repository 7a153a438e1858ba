//! Labels of a workspace: from the command line, from a folder that may change, and from a pod, which may change hands.
//!
//! A downward-API volume holds one file for each item; its name is the label and its content the value. A file called
//! `labels` may instead hold all labels of the pod, as `fieldPath: metadata.labels` writes them: `key="value"` lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::line::json::bytes_of_labels;
use crate::pod_info;

pub(crate) type Labels = BTreeMap<String, String>;

/// No label of Kubernetes comes near; keeps a wrong folder from filling memory.
const MAX_VALUE: u64 = 64 << 10;

/// Where labels come from.
pub(crate) struct LabelSource {
    fixed: Labels,
    folder: Option<PathBuf>,
    pod_info: Option<PathBuf>,
    /// Bytes that all of them may have in a line.
    room: usize,
    seen: Fingerprint,
    current: Labels,
    failing: bool,
}

/// Names, inodes, sizes and times of a folder's files.
type Fingerprint = Vec<(PathBuf, u64, u64, Option<SystemTime>)>;

impl LabelSource {
    /// Labels that never change.
    pub(crate) fn fixed(labels: impl IntoIterator<Item = (String, String)>) -> LabelSource {
        LabelSource {
            fixed: labels.into_iter().collect(),
            folder: None,
            pod_info: None,
            room: usize::MAX,
            seen: Vec::new(),
            current: Labels::new(),
            failing: false,
        }
    }

    /// The same with those of a folder below them.
    pub(crate) fn with_folder(self, folder: Option<PathBuf>) -> LabelSource {
        LabelSource { folder, ..self }
    }

    /// The same with those of a pod below all.
    pub(crate) fn with_pod_info(self, pod_info: Option<PathBuf>) -> LabelSource {
        LabelSource { pod_info, ..self }
    }

    /// The same; more than so many bytes in a line are refused.
    pub(crate) fn at_most(self, room: usize) -> LabelSource {
        LabelSource { room, ..self }
    }

    /// The labels as they are now.
    pub(crate) fn read(&mut self) -> anyhow::Result<Labels> {
        self.seen = self.fingerprint()?;
        let mut labels = self.pod_info.as_deref().map_or(Ok(Labels::new()), pod_info::labels)?;
        if let Some(folder) = &self.folder {
            labels.extend(read_folder(folder)?);
        }
        labels.extend(self.fixed.clone());
        let bytes = bytes_of_labels(&labels);
        if bytes > self.room {
            bail!(
                "together they take {bytes} bytes of every line, and may take {} (a quarter of --max-line)",
                self.room
            );
        }
        self.current.clone_from(&labels);
        Ok(labels)
    }

    /// What is new, if the labels have changed since they were read. What cannot be read leaves them as they were, and
    /// says so once.
    pub(crate) fn changed(&mut self) -> Option<Change> {
        let unchanged = self.fingerprint().is_ok_and(|now| now == self.seen);
        if unchanged && !self.failing {
            return None;
        }
        let before = self.current.clone();
        match self.read() {
            Ok(now) => {
                self.failing = false;
                (now != before).then_some(Change { before, now })
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("the labels stay as they were: {error:#}");
                }
                None
            }
        }
    }

    fn fingerprint(&self) -> anyhow::Result<Fingerprint> {
        let mut files = Vec::new();
        let looked_at = self.folder.as_deref().map_or(Ok(Vec::new()), label_files)?;
        for path in looked_at {
            let meta = fs::metadata(&path).with_context(|| format!("cannot read the label {}", path.display()))?;
            files.push((path, meta.ino(), meta.len(), meta.modified().ok()));
        }
        for path in self.pod_info.iter().flat_map(|folder| pod_info::FILES.map(|name| folder.join(name))) {
            // One that is not there may come.
            let meta = fs::metadata(&path).ok();
            let modified = meta.as_ref().and_then(|meta| meta.modified().ok());
            files.push((path, meta.as_ref().map_or(0, MetadataExt::ino), meta.map_or(0, |meta| meta.len()), modified));
        }
        Ok(files)
    }
}

/// Labels before and after a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: Labels,
    pub(crate) now: Labels,
}

fn read_folder(folder: &Path) -> anyhow::Result<Labels> {
    let mut labels = Labels::new();
    for path in label_files(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let Some(name) = name else { bail!("the label {} has a name that is not UTF-8", path.display()) };
        let meta = fs::metadata(&path).with_context(|| format!("cannot read the label {}", path.display()))?;
        if meta.is_dir() {
            continue;
        }
        if !meta.is_file() {
            bail!("the label {} is no file", path.display());
        }
        let text = read_value(&path).with_context(|| format!("cannot read the label {}", path.display()))?;
        match name.as_str() {
            "labels" => labels.extend(parse_lines(&text).with_context(|| format!("in {}", path.display()))?),
            _ => {
                labels.insert(name, text.strip_suffix('\n').unwrap_or(&text).to_owned());
            }
        }
    }
    Ok(labels)
}

/// A file may grow while it is read, and some have no length beforehand.
fn read_value(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_VALUE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_VALUE {
        bail!("it is too long: at most {MAX_VALUE} bytes make a label");
    }
    Ok(String::from_utf8(bytes)?)
}

/// Files that are labels, in order: a downward-API volume keeps its own links in names that begin with two dots.
fn label_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the labels in {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the labels in {}", folder.display()))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// `key="value"` lines; the value is quoted as Go's %q does, which for the characters of a label is as JSON.
fn parse_lines(text: &str) -> anyhow::Result<Labels> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let parsed = line.split_once('=').and_then(|(key, value)| Some((key, serde_json::from_str(value).ok()?)));
            let (key, value) = parsed.with_context(|| format!("line {} is not key=\"value\": {line}", number + 1))?;
            Ok((key.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// A folder as the kubelet makes it: files are links through `..data`, which is swapped at once.
    fn volume(folder: &Path, version: &str, files: &[(&str, &str)]) {
        let data = folder.join(version);
        fs::create_dir(&data).expect("a folder");
        for (name, content) in files {
            fs::write(data.join(name), content).expect("a file");
            let _ = symlink(Path::new("..data").join(name), folder.join(name));
        }
        symlink(version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the swap");
    }

    fn source(folder: &Path) -> LabelSource {
        LabelSource::fixed([("a".to_owned(), "fixed".to_owned())]).with_folder(Some(folder.to_owned()))
    }

    #[test]
    fn each_file_is_a_label_and_the_command_line_wins() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("username", "jessie"), ("workspace_name", "main\n"), ("a", "b")]);
        let read = source(folder.path()).read().expect("labels");
        assert_eq!(read, labels(&[("a", "fixed"), ("username", "jessie"), ("workspace_name", "main")]));
    }

    #[test]
    fn a_file_called_labels_holds_lines() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("labels", "com.coder.user.username=\"zac\"\nnote=\"a\\\"b\"\n")]);
        let read = source(folder.path()).read().expect("labels");
        assert_eq!(read, labels(&[("a", "fixed"), ("com.coder.user.username", "zac"), ("note", "a\"b")]));
    }

    #[test]
    fn a_change_is_seen_and_only_a_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("username", "jessie")]);
        let mut source = source(folder.path());
        source.read().expect("labels");
        assert_eq!(source.changed(), None);
        volume(folder.path(), "..2", &[("username", "someone-else")]);
        let change = source.changed().expect("a change");
        assert_eq!(change.before, labels(&[("a", "fixed"), ("username", "jessie")]));
        assert_eq!(change.now, labels(&[("a", "fixed"), ("username", "someone-else")]));
        assert_eq!(source.changed(), None);
    }

    #[test]
    fn a_volume_that_is_made_anew_with_the_same_labels_is_no_change() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("username", "jessie")]);
        let mut source = source(folder.path());
        source.read().expect("labels");
        volume(folder.path(), "..2", &[("username", "jessie")]);
        assert_eq!(source.changed(), None);
    }

    #[test]
    fn a_pod_that_changes_hands_changes_the_labels_and_the_command_line_still_wins() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("labels", "com.coder.username=\"prebuilds\"\n"), ("annotations", "")]);
        let mut source = LabelSource::fixed([("organization_id".to_owned(), "default".to_owned())])
            .with_pod_info(Some(folder.path().to_owned()));
        let before = source.read().expect("labels");
        assert_eq!(before, labels(&[("organization_id", "default"), ("username", "prebuilds")]));
        volume(folder.path(), "..2", &[("labels", "com.coder.username=\"zac\"\n"), ("annotations", "")]);
        let change = source.changed().expect("a change");
        assert_eq!(change.before, before);
        assert_eq!(change.now, labels(&[("organization_id", "default"), ("username", "zac")]));
    }

    #[test]
    fn a_folder_that_breaks_keeps_the_labels_and_recovers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("labels", "k=\"v\"\n")]);
        let mut source = source(folder.path());
        source.read().expect("labels");
        volume(folder.path(), "..2", &[("labels", "no label at all\n")]);
        assert_eq!(source.changed(), None);
        volume(folder.path(), "..3", &[("labels", "k=\"w\"\n")]);
        assert_eq!(source.changed().expect("a change").now, labels(&[("a", "fixed"), ("k", "w")]));
    }

    #[test]
    fn what_is_no_label_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        volume(folder.path(), "..1", &[("labels", "ok=\"v\"\nbroken\n")]);
        let error = format!("{:#}", source(folder.path()).read().expect_err("a broken line"));
        assert!(error.contains("line 2") && error.contains("broken"), "{error}");
        let error = format!("{:#}", source(Path::new("/nonexistent")).read().expect_err("no folder"));
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn what_has_no_end_is_no_label() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pipe = folder.path().join("pipe");
        let (mode, fifo) = (rustix::fs::Mode::RUSR, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).expect("a pipe");
        let error = format!("{:#}", source(folder.path()).read().expect_err("a pipe"));
        assert!(error.contains("pipe") && error.contains("no file"), "{error}");
        fs::remove_file(pipe).expect("it is there");
        symlink("/dev/zero", folder.path().join("zero")).expect("a link");
        source(folder.path()).read().expect_err("a device");
        fs::remove_file(folder.path().join("zero")).expect("it is there");
        fs::write(folder.path().join("long"), "x".repeat(65_537)).expect("a file");
        let error = format!("{:#}", source(folder.path()).read().expect_err("a long label"));
        assert!(error.contains("long") && error.contains("65536"), "{error}");
    }

    #[test]
    fn without_a_folder_nothing_changes() {
        assert_eq!(LabelSource::fixed([]).changed(), None);
    }
}
