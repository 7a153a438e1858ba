//! From entries in order to the output: which of them are wanted, and in what form they are written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::SystemTime;

use super::entry::{Entry, Kind};
use super::join::Joiner;
use super::text::Text;
use super::tree::Trees;
use crate::line::paint::printable;

/// Which lines are wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// None from before.
    pub(crate) since: Option<SystemTime>,
    /// Only the last so many.
    pub(crate) tail: Option<usize>,
    /// Only those whose labels name this user.
    pub(crate) user: Option<String>,
    /// Only those whose labels name this workspace.
    pub(crate) workspace: Option<String>,
}

/// How they are written.
pub(crate) enum Form {
    /// As they were logged, byte for byte.
    Json,
    /// The same for a terminal. exectrace's lines are no others there; somebody else's may hold what steers it.
    JsonToTerminal,
    /// For people.
    Text(Text),
    /// As trees of processes, when all are read.
    Trees(Trees),
}

/// The way to the output.
pub(crate) struct Show<W> {
    wanted: Wanted,
    form: Form,
    out: W,
    /// People see a process once, however many lines it takes.
    joiner: Joiner,
    /// The last so many, until all that is old is read.
    last: VecDeque<Entry>,
}

impl<W: Write> Show<W> {
    pub(crate) fn new(wanted: Wanted, form: Form, out: W) -> Show<W> {
        Show { wanted, form, out, joiner: Joiner::default(), last: VecDeque::new() }
    }

    /// Takes the next line.
    pub(crate) fn take(&mut self, entry: Entry) -> io::Result<()> {
        if matches!(self.form, Form::Json | Form::JsonToTerminal) {
            return self.take_whole(entry);
        }
        let mut joiner = std::mem::take(&mut self.joiner);
        let taken = joiner.take(entry, |entry| self.take_whole(entry));
        self.joiner = joiner;
        taken
    }

    fn take_whole(&mut self, entry: Entry) -> io::Result<()> {
        if !self.wants(&entry) {
            return Ok(());
        }
        let Some(tail) = self.wanted.tail else { return self.write(&entry) };
        self.last.push_back(entry);
        if self.last.len() > tail {
            self.last.pop_front();
        }
        Ok(())
    }

    /// What comes from now on is new: nothing waits to be among the last.
    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        self.wanted.tail = None;
        while let Some(entry) = self.last.pop_front() {
            self.write(&entry)?;
        }
        self.flush()
    }

    /// All is read.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let mut joiner = std::mem::take(&mut self.joiner);
        joiner.finish(|entry| self.take_whole(entry))?;
        self.go_on()?;
        if let Form::Trees(trees) = self.form {
            trees.draw(&mut self.out)?;
        }
        self.out.flush()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn wants(&self, entry: &Entry) -> bool {
        let Wanted { since, user, workspace, .. } = &self.wanted;
        let is = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        // Of what stands before the first line of a log, no time is known.
        since.is_none_or(|since| since <= entry.time || entry.time == SystemTime::UNIX_EPOCH)
            && is(user, &entry.owner.user)
            && is(workspace, &entry.owner.workspace)
            && (matches!(self.form, Form::Json | Form::JsonToTerminal) || entry.kind != Kind::Ledger)
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        match &mut self.form {
            Form::Json => {
                self.out.write_all(&entry.bytes)?;
                self.out.write_all(b"\n")
            }
            Form::JsonToTerminal => writeln!(self.out, "{}", printable(&entry.bytes)),
            Form::Text(text) => writeln!(self.out, "{}", text.line(entry)),
            Form::Trees(trees) => {
                trees.add(entry);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::entry::Owner;
    use super::super::merge::tests::entry;
    use super::*;
    use crate::line::paint::Pen;

    fn shown(wanted: Wanted, form: Form, entries: Vec<Entry>) -> String {
        let mut out = Vec::new();
        let mut show = Show::new(wanted, form, &mut out);
        entries.into_iter().for_each(|entry| show.take(entry).expect("room"));
        show.finish().expect("room");
        String::from_utf8(out).expect("text")
    }

    fn at(seconds: u64) -> SystemTime {
        entry(seconds, "").time
    }

    #[test]
    fn lines_from_before_are_left_out_and_the_last_of_the_rest_are_shown() {
        let entries = || (1..6).map(|seconds| entry(seconds, &seconds.to_string())).collect();
        let since = Some(at(2));
        assert_eq!(shown(Wanted { since, ..Wanted::default() }, Form::Json, entries()), "2\n3\n4\n5\n");
        assert_eq!(shown(Wanted { since, tail: Some(2), ..Wanted::default() }, Form::Json, entries()), "4\n5\n");
        assert_eq!(shown(Wanted { tail: Some(9), ..Wanted::default() }, Form::Json, entries()).lines().count(), 5);
        assert_eq!(shown(Wanted { tail: Some(0), ..Wanted::default() }, Form::Json, entries()), "");
    }

    #[test]
    fn a_line_of_somebody_else_cannot_steer_a_terminal() {
        let golden = include_str!("../../tests/golden/lines/exec-standard-everything.json");
        for (line, to_terminal) in
            [("\u{1b}[2J\u{202e}ü", "\\u{1b}[2J\\u{202e}ü"), (golden.trim_end(), golden.trim_end())]
        {
            assert_eq!(shown(Wanted::default(), Form::Json, vec![entry(1, line)]), format!("{line}\n"));
            let shown = shown(Wanted::default(), Form::JsonToTerminal, vec![entry(1, line)]);
            assert_eq!(shown, format!("{to_terminal}\n"));
        }
    }

    #[test]
    fn what_is_new_does_not_wait_to_be_among_the_last() {
        let mut out = Vec::new();
        let mut show = Show::new(Wanted { tail: Some(1), ..Wanted::default() }, Form::Json, &mut out);
        ["a", "b"].into_iter().for_each(|text| show.take(entry(1, text)).expect("room"));
        show.go_on().expect("room");
        ["c", "d"].into_iter().for_each(|text| show.take(entry(1, text)).expect("room"));
        drop(show);
        assert_eq!(out, b"b\nc\nd\n");
    }

    #[test]
    fn lines_of_others_are_left_out_by_their_labels() {
        let of = |user: &str, text| {
            let owner = Owner { user: Some(user.to_owned()), ..Owner::default() };
            Entry { owner: Rc::new(owner), ..entry(1, text) }
        };
        let entries = vec![of("jessie", "a"), of("zac", "b"), entry(1, "nobody's")];
        let wanted = Wanted { user: Some("jessie".to_owned()), ..Wanted::default() };
        assert_eq!(shown(wanted, Form::Json, entries), "a\n");
    }

    #[test]
    fn people_see_no_ledgers_and_the_last_lines_are_of_those_that_they_see() {
        let ledger = Entry { kind: Kind::Ledger, ..entry(2, "{}") };
        let words = Entry { kind: Kind::Foreign, ..entry(1, "words") };
        let entries = || vec![words.clone(), ledger.clone()];
        let tail = || Wanted { tail: Some(1), ..Wanted::default() };
        let text = Form::Text(Text::new(Pen { colour: false }, false, false));
        assert_eq!(shown(tail(), text, entries()), "words\n");
        assert_eq!(shown(tail(), Form::Json, entries()), "{}\n");
    }
}
