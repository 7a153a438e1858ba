//! Lines that have no room in one -> one entry, for people: what follows a first line is put to it again.
//!
//! Parts come right behind their first line in their own source; of other sources anything may come in between. Where
//! one does not come, what is there is shown, and keeps the key `parts`, by which `told` knows that there is more.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::entry::{Entry, Kind};
use super::told::bytes_of;
use crate::line::to_text;
use crate::seal::Run;

/// Bytes of entries that are held until their last part has come.
const MOST_BYTES: usize = 64 << 20;

/// Holds first lines until they are whole.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Oldest first; one for each run at most.
    open: Vec<Open>,
    bytes: usize,
    most_bytes: usize,
}

impl Default for Joiner {
    fn default() -> Joiner {
        Joiner { open: Vec::new(), bytes: 0, most_bytes: MOST_BYTES }
    }
}

#[derive(Debug)]
struct Open {
    run: Run,
    /// The number of the next part.
    next: u64,
    /// That of the last one.
    last: u64,
    first: Entry,
    rest: Vec<Vec<u8>>,
}

impl Joiner {
    /// Takes the next line; `give` gets what is whole, or will not be.
    pub(crate) fn take<E>(&mut self, entry: Entry, mut give: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let Some((run, number)) = entry.number.filter(|_| entry.kind == Kind::Ours) else { return give(entry) };
        if let Some(at) = self.open.iter().position(|open| open.run == run) {
            if self.open[at].next == number && is_continued(&entry.bytes) {
                return self.add(at, entry, give);
            }
            // Whatever it was waiting for does not come any more.
            self.end(at, &mut give)?;
        }
        match parts_of(&entry.bytes) {
            Some(parts) => {
                self.bytes += entry.bytes.len();
                let last = number.saturating_add(parts - 1);
                self.open.push(Open { run, next: number + 1, last, first: entry, rest: Vec::new() });
                self.make_room(give)
            }
            None => give(entry),
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish<E>(&mut self, mut give: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        while !self.open.is_empty() {
            self.end(0, &mut give)?;
        }
        Ok(())
    }

    fn add<E>(&mut self, at: usize, part: Entry, mut give: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let open = &mut self.open[at];
        self.bytes += part.bytes.len();
        open.rest.push(part.bytes);
        open.next += 1;
        if open.next > open.last { self.end(at, &mut give) } else { self.make_room(give) }
    }

    fn make_room<E>(&mut self, mut give: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        while self.bytes > self.most_bytes && !self.open.is_empty() {
            self.end(0, &mut give)?;
        }
        Ok(())
    }

    fn end<E>(&mut self, at: usize, give: &mut impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let Open { first, rest, next, last, .. } = self.open.remove(at);
        self.bytes -= first.bytes.len() + rest.iter().map(Vec::len).sum::<usize>();
        let joined = joined(&first.bytes, &rest, next > last);
        give(Entry { bytes: joined.unwrap_or(first.bytes), ..first })
    }
}

fn is_continued(line: &[u8]) -> bool {
    msg(line).is_some_and(|msg| msg == "continued")
}

fn msg(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        msg: String,
    }
    serde_json::from_slice::<Line>(line).ok().map(|line| line.msg)
}

/// How many lines a first line is the first of, if that is more than one.
fn parts_of(line: &[u8]) -> Option<u64> {
    const PARTS: &[u8] = b",\"parts\":";
    // Nearly all lines lack it, and need not be read for that.
    if !line.windows(PARTS.len()).any(|window| window == PARTS) || is_continued(line) {
        return None;
    }
    let line: Value = serde_json::from_slice(line).ok()?;
    line.pointer("/fields/event/parts").and_then(Value::as_u64).filter(|parts| *parts > 1)
}

/// The first line with what the others have.
fn joined(first: &[u8], rest: &[Vec<u8>], is_whole: bool) -> Option<Vec<u8>> {
    let mut line: Value = serde_json::from_slice(first).ok()?;
    let event = line.pointer_mut("/fields/event")?.as_object_mut()?;
    for part in rest {
        add_part(event, part)?;
    }
    if is_whole {
        event.remove("parts");
    }
    let words: Vec<Vec<u8>> = event.get("argv")?.as_array()?.iter().filter_map(Value::as_str).map(bytes_of).collect();
    let cmdline = shlex::bytes::try_join(words.iter().map(Vec::as_slice)).unwrap_or_default();
    line.pointer_mut("/fields")?.as_object_mut()?.insert("cmdline".to_owned(), to_text(&cmdline).into());
    serde_json::to_vec(&line).ok()
}

fn add_part(event: &mut Map<String, Value>, part: &[u8]) -> Option<()> {
    let mut part: Value = serde_json::from_slice(part).ok()?;
    let part = part.pointer_mut("/fields/event")?.as_object_mut()?;
    if let Some(Value::Array(mut more)) = part.remove("argv") {
        let argv = event.get_mut("argv")?.as_array_mut()?;
        let is_joined = part.get("joined") == Some(&Value::Bool(true)) && !more.is_empty();
        let rest = if is_joined { more.remove(0) } else { Value::Null };
        if let (Some(Value::String(last)), Value::String(rest)) = (argv.last_mut(), rest) {
            last.push_str(&rest);
        }
        argv.append(&mut more);
    }
    for (name, rest) in part.get("rest").and_then(Value::as_object).into_iter().flatten() {
        if let (Some(Value::String(text)), Value::String(rest)) = (event.get_mut(name), rest) {
            text.push_str(rest);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::entry::Entries;
    use super::super::told::Told;
    use super::*;
    use crate::line::paint::Pen;

    const LONG: [&str; 7] = [
        include_str!("../../tests/golden/lines/exec-long-1.json"),
        include_str!("../../tests/golden/lines/exec-long-2.json"),
        include_str!("../../tests/golden/lines/exec-long-3.json"),
        include_str!("../../tests/golden/lines/exec-long-4.json"),
        include_str!("../../tests/golden/lines/exec-long-5.json"),
        include_str!("../../tests/golden/lines/exec-long-6.json"),
        include_str!("../../tests/golden/lines/exec-long-7.json"),
    ];

    fn join<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Entry> {
        let (mut joiner, mut entries, mut all) = (Joiner::default(), Entries::of("file"), Vec::new());
        let mut give = |entry| {
            all.push(entry);
            Ok::<(), Infallible>(())
        };
        for line in lines {
            let Ok(()) = joiner.take(entries.next(line.trim_end().as_bytes().to_vec(), false), &mut give);
        }
        let Ok(()) = joiner.finish(&mut give);
        assert_eq!(joiner.bytes, 0);
        all
    }

    fn words(entry: &Entry) -> String {
        match Told::of(entry) {
            Told::Exec(exec) => exec.words(Pen { colour: false }),
            _ => panic!("no exec: {}", String::from_utf8_lossy(&entry.bytes)),
        }
    }

    #[test]
    fn an_exec_of_several_lines_is_shown_as_one() {
        let all = join(LONG);
        assert_eq!(all.len(), 1);
        assert_eq!(words(&all[0]), format!("./run --pad {} -- id", "A".repeat(3_000)));
        let line: Value = serde_json::from_slice(&all[0].bytes).expect("JSON");
        let cwd = line.pointer("/fields/event/cwd").and_then(Value::as_str).expect("a folder");
        assert_eq!(cwd, format!("/cwd/{}", "\u{e9}".repeat(600)));
    }

    #[test]
    fn lines_of_others_may_come_in_between() {
        let other =
            include_str!("../../tests/golden/lines/exec-standard-uname.json").replace("19de8888-1", "0000002a-9");
        let lines = LONG.iter().flat_map(|line| [*line, &other]);
        let all = join(lines);
        assert_eq!(all.len(), 1 + LONG.len());
        assert_eq!(all.iter().filter(|entry| words(entry) == "uname -a").count(), LONG.len());
    }

    #[test]
    fn what_lacks_a_part_is_shown_with_what_there_is_and_says_so() {
        let next =
            include_str!("../../tests/golden/lines/exec-standard-uname.json").replace("19de8888-1", "19de8888-8");
        for lines in [vec![LONG[0], &next], vec![LONG[0]], vec![LONG[0], LONG[2]]] {
            let count = lines.len();
            let all = join(lines);
            assert_eq!(all.len(), count);
            let shown = words(&all[0]);
            assert!(shown.starts_with("./run --pad A") && shown.ends_with(" … (arguments missing)"), "{shown}");
        }
    }

    #[test]
    fn a_number_of_parts_that_nobody_can_hold_is_not_waited_for_for_ever() {
        let huge = LONG[0].replace("\"parts\":7", "\"parts\":18446744073709551615");
        assert_eq!(join([huge.as_str(), LONG[1]]).len(), 1);
    }

    #[test]
    fn what_many_sources_begin_and_none_ends_does_not_fill_memory() {
        let mut joiner = Joiner { most_bytes: 20_000, ..Joiner::default() };
        let (mut entries, mut given) = (Entries::of("file"), 0);
        for run in 0..50 {
            let line = LONG[0].trim_end().replace("19de8888-1", &format!("{run:08x}-1"));
            let Ok(()) = joiner.take(entries.next(line.into_bytes(), false), |_| {
                given += 1;
                Ok::<(), Infallible>(())
            });
            assert!(joiner.bytes <= 20_000 && joiner.open.len() + given == run + 1);
        }
    }
}
