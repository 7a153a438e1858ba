//! Chunks of lines become batches within the limits of a place.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Dress;
use crate::destination::{Limits, Line};
use crate::dropped::Number;
use crate::spool::Chunk;

/// Lines that are to be sent, in their order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lines: VecDeque<Waiting>,
    bytes: usize,
    last_chunk: i64,
    /// Of the last line that told one.
    time: Option<SystemTime>,
}

#[derive(Debug)]
struct Waiting {
    line: Line,
    /// The chunk that ends with it.
    completes: Option<i64>,
}

/// What is sent together.
#[derive(Debug)]
pub(super) struct Batch {
    /// In order of their time.
    pub(super) lines: Vec<Line>,
    /// All up to this chunk is sent when these are.
    pub(super) completes: Option<i64>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether there is enough for a batch.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.lines.len() >= limits.batch_lines || self.bytes + self.lines.len() * limits.overhead >= limits.batch_bytes
    }

    /// The last chunk that was added, 0 before the first.
    pub(super) fn last_chunk(&self) -> i64 {
        self.last_chunk
    }

    pub(super) fn add(&mut self, chunk: Chunk, dress: &Dress) {
        let Chunk { id, first, lines } = chunk;
        self.last_chunk = id;
        for (line, at) in lines.split_inclusive(|byte| *byte == b'\n').zip(0..) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.time = time_of(line).or(self.time);
            let number = Number { line: first.line + at, ..first };
            let line = Line { bytes: dress(line), time: self.time.unwrap_or(UNIX_EPOCH), number };
            self.bytes += line.bytes.len();
            self.lines.push_back(Waiting { line, completes: None });
        }
        if let Some(last) = self.lines.back_mut() {
            last.completes = Some(id);
        }
    }
}

/// The time that a line of ours begins with.
fn time_of(line: &[u8]) -> Option<SystemTime> {
    let text = line.strip_prefix(br#"{"ts":""#)?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    humantime::parse_rfc3339(std::str::from_utf8(&text[..end]).ok()?).ok()
}

/// Takes as many of the first lines as the limits allow, and at least one.
pub(super) fn batch_of(pending: &mut Pending, limits: &Limits) -> Batch {
    let (mut lines, mut bytes, mut completes) = (Vec::new(), 0, None);
    let mut times: Option<(SystemTime, SystemTime)> = None;
    while let Some(next) = pending.lines.front() {
        let line = &next.line;
        let (first, last) =
            times.map_or((line.time, line.time), |(first, last)| (first.min(line.time), last.max(line.time)));
        let span = last.duration_since(first).unwrap_or_default();
        let cost = line.bytes.len() + limits.overhead;
        let has_room = bytes + cost <= limits.batch_bytes
            && lines.len() < limits.batch_lines
            && limits.span.is_none_or(|most| span < most);
        if !has_room && !lines.is_empty() {
            break;
        }
        let Some(Waiting { line, completes: chunk }) = pending.lines.pop_front() else { break };
        times = Some((first, last));
        bytes += cost;
        pending.bytes -= line.bytes.len();
        completes = chunk.or(completes);
        lines.push(line);
    }
    // Lines are made in the order in which they were written, which is not quite that of what they tell of.
    lines.sort_by_key(|line| line.time);
    Batch { lines, completes }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn chunk(id: i64, first: u64, lines: &[(u64, usize)]) -> Chunk {
        let line = |(second, padding): &(u64, usize)| {
            let time = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_secs(*second));
            format!("{{\"ts\":\"{time}\",\"x\":\"{}\"}}\n", "y".repeat(*padding))
        };
        let lines = lines.iter().map(line).collect::<String>().into_bytes();
        Chunk { id, first: Number { run: 1, line: first }, lines }
    }

    fn as_it_is() -> Dress {
        Box::new(<[u8]>::to_vec)
    }

    proptest! {
        #[test]
        fn every_batch_keeps_to_the_limits_and_all_lines_come(
            chunks in proptest::collection::vec(proptest::collection::vec((0..200_000_u64, 0..400_usize), 1..12), 1..8),
            batch_bytes in 100..2_000_usize,
            batch_lines in 1..10_usize,
        ) {
            let span = Duration::from_secs(86_400);
            let limits = Limits { batch_bytes, overhead: 26, line_bytes: 400, batch_lines, span: Some(span) };
            let mut pending = Pending::default();
            let (mut next, mut ids) = (1, 0);
            for lines in &chunks {
                ids += 1;
                pending.add(chunk(ids, next, lines), &as_it_is());
                next += lines.len() as u64;
            }
            let (mut all, mut completed) = (Vec::new(), 0);
            while !pending.is_empty() {
                let Batch { lines, completes } = batch_of(&mut pending, &limits);
                let bytes: usize = lines.iter().map(|line| line.bytes.len() + 26).sum();
                prop_assert!(lines.len() == 1 || bytes <= batch_bytes && lines.len() <= batch_lines);
                prop_assert!(lines.is_sorted_by_key(|line| line.time));
                let (first, last) = (lines[0].time, lines[lines.len() - 1].time);
                prop_assert!(last.duration_since(first).expect("sorted") < span);
                all.extend(lines.iter().map(|line| line.number.line));
                if let Some(id) = completes {
                    completed = id;
                    let sent: usize = chunks[..usize::try_from(id).expect("small")].iter().map(Vec::len).sum();
                    prop_assert!((1..=sent as u64).all(|line| all.contains(&line)), "chunk {id} is not all sent");
                }
            }
            prop_assert_eq!(completed, ids);
            all.sort_unstable();
            prop_assert_eq!(all, (1..next).collect::<Vec<_>>());
            prop_assert_eq!(pending.bytes, 0);
        }
    }

    #[test]
    fn a_line_without_a_time_has_that_of_the_line_before() {
        let mut pending = Pending::default();
        let mut lines = chunk(1, 1, &[(7, 0)]);
        lines.lines.extend_from_slice(b"no time\n");
        pending.add(lines, &as_it_is());
        let limits = Limits { batch_bytes: 1000, overhead: 0, line_bytes: 1000, batch_lines: 10, span: None };
        let batch = batch_of(&mut pending, &limits);
        assert_eq!(batch.lines[1].time, UNIX_EPOCH + Duration::from_secs(7));
        assert_eq!(batch.lines[1].number, Number { run: 1, line: 2 });
    }
}
