//! Entries as lines for people, as exectrace's own text: time, pid, user and command line.

use super::entry::Entry;
use super::told::Told;
use crate::line::paint::{DIM, Depths, NUMBER, Pen, printable, time};

/// Writes lines for people, one after the other.
pub(crate) struct Text {
    pen: Pen,
    /// Whether each line begins with whose it is.
    named: bool,
    depths: Option<Depths<String>>,
}

impl Text {
    /// `tree` indents each line below the exec that led to it.
    pub(crate) fn new(pen: Pen, named: bool, tree: bool) -> Text {
        Text { pen, named, depths: tree.then(Depths::default) }
    }

    pub(crate) fn line(&mut self, entry: &Entry) -> String {
        let pen = self.pen;
        let told = Told::of(entry);
        let indent = " ".repeat(2 * self.depth(&told));
        let line = match &told {
            Told::Exec(exec) => format!("{}{indent}{}", pen.head(entry.time, exec.pid, exec.uid), exec.words(pen)),
            Told::Failed(exec) => {
                format!("{}{indent}{}", pen.head(entry.time, exec.pid, exec.uid), exec.failed_words(pen))
            }
            Told::Running(exec) => format!("{}{}", pen.head(entry.time, exec.pid, exec.uid), exec.running_words(pen)),
            Told::Ended(ended) => {
                format!("{}{indent}{}", pen.head(entry.time, ended.pid, ended.uid), ended.words(pen))
            }
            Told::Note(note) if !entry.kind.is_ours() => note.words(pen),
            Told::Note(note) => format!("{} {}", pen.styled(DIM, &time(entry.time)), note.words(pen)),
        };
        let name = if self.named { entry.owner.name() } else { String::new() };
        if name.is_empty() { line } else { format!("{} {line}", pen.styled(NUMBER, &printable(name.as_bytes()))) }
    }

    fn depth(&mut self, told: &Told) -> usize {
        let Some(depths) = &mut self.depths else { return 0 };
        match told {
            Told::Exec(exec) => match &exec.id {
                Some(id) => depths.of(id.clone(), exec.parent_id.as_ref()),
                None => 0,
            },
            Told::Failed(exec) => depths.below(exec.parent_id.as_ref()),
            Told::Ended(ended) => depths.below(ended.id.as_ref()),
            Told::Running(_) | Told::Note(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entries;
    use super::*;

    const EXEC: &str = include_str!("../../tests/golden/lines/exec-standard-uname.json");
    const EXIT: &str = include_str!("../../tests/golden/lines/exit-code.json");
    const LOST: &str = include_str!("../../tests/golden/lines/lost-ring-full.json");

    fn entry(line: &str) -> Entry {
        Entries::of("pod").next(line.trim_end().as_bytes().to_vec(), false)
    }

    fn text(named: bool, tree: bool) -> Text {
        Text::new(Pen { colour: false }, named, tree)
    }

    #[test]
    fn a_line_is_as_exectrace_itself_writes_it() {
        assert_eq!(text(false, false).line(&entry(EXEC)), "2022-02-28T20:29:38.038Z  920684 101000 uname -a");
        assert_eq!(text(false, false).line(&entry(LOST)), "1970-01-01T00:00:00.000Z 17 execs lost: ring_full");
        assert!(Text::new(Pen { colour: true }, false, false).line(&entry(LOST)).contains("\x1b[31m"));
    }

    #[test]
    fn where_there_are_several_workspaces_each_line_says_whose_it_is() {
        let line = text(true, false).line(&entry(&EXEC.replace(" \\ud83e\\udd80 \\\"x\\\"\\n", "\\u001b")));
        assert_eq!(line, "jessie/main\\u{1b} 2022-02-28T20:29:38.038Z  920684 101000 uname -a");
        assert_eq!(text(true, false).line(&entry("words")), "pod words", "no labels, and no time");
    }

    #[test]
    fn a_tree_that_comes_line_by_line_is_indented() {
        let mut text = text(false, true);
        let mut column = |line: &str, word: &str| text.line(&entry(line)).find(word).expect("the word");
        let parent = column(EXEC, "uname");
        let child = EXEC.replace("e0c6c-3\"", "e0c6c-4\"").replace("e0c18-2", "e0c6c-3");
        assert_eq!(column(&child, "uname"), parent + 2);
        assert_eq!(column(EXIT, "uname"), parent + 2, "an end stands below what ended");
    }
}
