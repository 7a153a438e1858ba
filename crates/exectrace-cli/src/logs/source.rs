//! A finite source: bytes of a file, a pipe or a pod's log -> entries, with what was wrong with it.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::entry::{Entries, Entry};
use crate::input::Reader;

/// One source. It is read to its end, or as far as it can be.
pub(crate) struct Source {
    name: String,
    reader: Reader<'static>,
    entries: Entries,
    read: VecDeque<Entry>,
    ended: bool,
    /// Lines so far.
    count: u64,
    failure: Option<io::Error>,
}

impl Source {
    /// Reads its first bytes. `owner` is what lines without labels are named.
    pub(crate) fn open(name: &str, owner: &str, input: impl Read + 'static) -> io::Result<Source> {
        let reader = Reader::open(input)?;
        let entries = Entries::of(owner);
        Ok(Source {
            name: name.to_owned(),
            reader,
            entries,
            read: VecDeque::new(),
            ended: false,
            count: 0,
            failure: None,
        })
    }

    /// Tells on stderr what should be known of what was read; whether all of it could be.
    pub(crate) fn tell(&self) -> bool {
        let Source { name, entries, .. } = self;
        if entries.foreign > 0 {
            tracing::warn!(
                source = name,
                lines = entries.foreign,
                "some lines are not exectrace's; they are shown as they are"
            );
        }
        if entries.cut > 0 {
            tracing::warn!(
                source = name,
                lines = entries.cut,
                "some lines are cut; `exectrace verify` tells what is missing"
            );
        }
        if self.reader.contents.stderr > 0 {
            let lines = self.reader.contents.stderr;
            tracing::info!(source = name, lines, "lines of stderr are not part of the log, and are not shown");
        }
        if let Some(error) = &self.failure {
            tracing::error!(source = name, "it could not be read to its end: {error}");
        }
        if let Some(error) = &self.reader.contents.damage {
            tracing::error!(source = name, "the compressed data is damaged, and its end is not shown: {error}");
        }
        self.failure.is_none() && self.reader.contents.damage.is_none()
    }

    /// How many lines it had so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl Iterator for Source {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let Source { reader, entries, read, .. } = self;
        while read.is_empty() && !self.ended {
            let step = reader.step(&mut |line| {
                // An empty line says nothing.
                if !line.bytes.is_empty() {
                    read.push_back(entries.next(line.bytes.to_vec(), line.cut));
                }
            });
            match step {
                Ok(goes_on) => self.ended = !goes_on,
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
            }
        }
        let entry = read.pop_front()?;
        self.count += 1;
        Some(entry)
    }
}
