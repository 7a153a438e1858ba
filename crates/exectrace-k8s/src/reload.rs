//! Files that are read again while the program runs.
//!
//! They are looked at every few seconds rather than watched: Kubernetes swaps a symbolic link for all files of a volume
//! at once, which no notification of a file tells. What cannot be used changes nothing, and is told once.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// Files that belong together, and how they were when last looked at.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    last: Result<Vec<Vec<u8>>, String>,
}

/// What a look at the files gave.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Same,
    Taken,
    /// They changed into something that cannot be used.
    Failed(String),
}

impl Files {
    /// Reads them for the first time.
    pub(crate) fn read(paths: Vec<PathBuf>) -> Files {
        let last = contents(&paths);
        Files { paths, last }
    }

    /// As they were when last looked at, or why they cannot be read.
    pub(crate) fn contents(&self) -> Result<&[Vec<u8>], &str> {
        self.last.as_deref().map_err(String::as_str)
    }

    /// Hands the contents on whenever they change, for ever.
    pub(crate) async fn follow(
        mut self,
        mut take: impl FnMut(&[Vec<u8>]) -> Result<(), String>,
        failed: impl Fn(&str),
    ) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Look::Failed(error) = self.look(&mut take) {
                failed(&error);
            }
        }
    }

    fn look(&mut self, take: &mut impl FnMut(&[Vec<u8>]) -> Result<(), String>) -> Look {
        let now = contents(&self.paths);
        if now == self.last {
            return Look::Same;
        }
        self.last = now;
        match self.last.as_deref().map_err(Clone::clone).and_then(take) {
            Ok(()) => Look::Taken,
            Err(error) => Look::Failed(error),
        }
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    paths
        .iter()
        .map(|path| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Takes anything but `bad`.
    fn take(contents: &[Vec<u8>]) -> Result<(), String> {
        if contents[0] == b"bad" { Err("it is bad".to_owned()) } else { Ok(()) }
    }

    #[test]
    fn a_change_is_taken_once_and_a_bad_one_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.yaml");
        fs::write(&path, "one").expect("a file");
        let mut files = Files::read(vec![path.clone()]);
        assert_eq!(files.contents(), Ok(&[b"one".to_vec()][..]));
        assert_eq!(files.look(&mut take), Look::Same);
        for (text, look) in [("two", Look::Taken), ("bad", Look::Failed("it is bad".to_owned())), ("two", Look::Taken)]
        {
            fs::write(&path, text).expect("a file");
            assert_eq!(files.look(&mut take), look);
            assert_eq!(files.look(&mut take), Look::Same);
        }
        fs::remove_file(&path).expect("a file");
        assert!(matches!(files.look(&mut take), Look::Failed(error) if error.contains("settings.yaml")));
        assert_eq!(files.look(&mut take), Look::Same);
        fs::write(&path, "two").expect("a file");
        assert_eq!(files.look(&mut take), Look::Taken);
    }

    #[test]
    fn a_link_that_is_swapped_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        for version in ["1", "2"] {
            fs::create_dir(folder.path().join(version)).expect("a folder");
            fs::write(folder.path().join(version).join("tls.crt"), version).expect("a file");
        }
        let data = folder.path().join("..data");
        symlink("1", &data).expect("a link");
        let mut files = Files::read(vec![data.join("tls.crt")]);
        let swapped = folder.path().join("..new");
        symlink("2", &swapped).expect("a link");
        fs::rename(&swapped, &data).expect("a swap");
        assert_eq!(files.look(&mut take), Look::Taken);
        assert_eq!(files.contents(), Ok(&[b"2".to_vec()][..]));
    }
}
