//! The log of a container, with each line's time, and what a request wants of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Default)]
pub(crate) struct PodLog {
    lines: Vec<(Timestamp, String)>,
    ended: bool,
}

impl PodLog {
    pub(crate) fn set(&mut self, text: &str) {
        self.lines.clear();
        self.append(text);
    }

    pub(crate) fn append(&mut self, text: &str) {
        for line in text.lines() {
            let timed = line.split_once(' ').and_then(|(time, rest)| Some((time.parse().ok()?, rest)));
            let before = self.lines.last().map_or_else(Timestamp::now, |(time, _)| *time);
            let (time, rest) = timed.unwrap_or((before, line));
            self.lines.push((time, rest.to_owned()));
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}

/// What a request wants of a log.
#[derive(Debug)]
pub(crate) struct Wanted {
    since: Option<Timestamp>,
    tail: Option<usize>,
    timestamps: bool,
    pub(crate) follow: bool,
}

impl Wanted {
    pub(crate) fn parse(query: &BTreeMap<String, String>) -> Wanted {
        let seconds = query.get("sinceSeconds").and_then(|word| word.parse().ok());
        let ago = seconds.and_then(|count| Timestamp::now().checked_sub(SignedDuration::from_secs(count)).ok());
        let is_true = |key: &str| query.get(key).is_some_and(|word| word == "true");
        Wanted {
            since: query.get("sinceTime").and_then(|word| word.parse().ok()).or(ago),
            tail: query.get("tailLines").and_then(|word| word.parse().ok()),
            timestamps: is_true("timestamps"),
            follow: is_true("follow"),
        }
    }

    /// What is there now, and how many lines that was.
    pub(crate) fn first(&self, log: &PodLog) -> String {
        let late_enough = |(time, _): &&(Timestamp, String)| self.since.is_none_or(|since| *time >= since);
        let lines: Vec<_> = log.lines.iter().filter(late_enough).collect();
        let skipped = self.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        lines[skipped..].iter().map(|line| self.line(line)).collect()
    }

    /// What came after so many lines.
    pub(crate) fn after(&self, log: &PodLog, count: usize) -> String {
        log.lines.iter().skip(count).map(|line| self.line(line)).collect()
    }

    fn line(&self, (time, text): &(Timestamp, String)) -> String {
        if self.timestamps { format!("{time:.9} {text}\n") } else { format!("{text}\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str, text: &str) -> String {
        let mut log = PodLog::default();
        log.set(text);
        Wanted::parse(&crate::request::parse_query(query)).first(&log)
    }

    #[test]
    fn a_request_chooses_lines() {
        let text = "2026-01-01T00:00:00Z a\n2026-01-01T00:00:01Z b\nc\n";
        assert_eq!(wanted("", text), "a\nb\nc\n");
        assert_eq!(wanted("tailLines=1", text), "c\n");
        assert_eq!(wanted("sinceTime=2026-01-01T00%3A00%3A01Z", text), "b\nc\n");
        assert_eq!(wanted("sinceSeconds=60", "2020-01-01T00:00:00Z a\n"), "");
        assert_eq!(wanted("timestamps=true&tailLines=1", text), "2026-01-01T00:00:01.000000000Z c\n");
    }
}
