//! A finite log as trees of processes: each exec once, below the exec that led to it; ends beside what ended, attempts
//! that failed and all else where they stand. Keeps what it draws in memory until all is read, because a parent's line may
//! come in any file.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::SystemTime;

use super::entry::Entry;
use super::told::Told;
use crate::line::paint::{DIM, NUMBER, PID_WIDTH, Pen, UID_WIDTH, printable, time};

/// Deeper levels are drawn at this one, or the indentation of a chain of execs would grow with its square.
const DEEPEST: usize = 64;
/// Of a time as it is shown.
const TIME_WIDTH: usize = "2006-01-02T15:04:05.000Z".len();

/// Trees that are not drawn yet.
pub(crate) struct Trees {
    pen: Pen,
    nodes: Vec<Node>,
    /// Execs by their ids.
    execs: HashMap<String, usize>,
    /// What stands at the margin, by whose it is, in the order of their first lines.
    groups: Vec<Group>,
}

struct Group {
    name: String,
    roots: Vec<usize>,
}

struct Node {
    /// `None` for what is not exectrace's.
    time: Option<SystemTime>,
    /// Pid and user.
    process: Option<(u32, u32)>,
    words: String,
    /// The end of what it shows.
    end: Option<String>,
    parent: Option<String>,
    group: usize,
    children: Vec<usize>,
}

impl Trees {
    pub(crate) fn new(pen: Pen) -> Trees {
        Trees { pen, nodes: Vec::new(), execs: HashMap::new(), groups: Vec::new() }
    }

    /// Takes the next line. One that says an exec again says nothing new.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let pen = self.pen;
        let (process, words, parent) = match Told::of(entry) {
            Told::Exec(exec) => {
                if let Some(id) = exec.id.clone() {
                    if self.execs.contains_key(&id) {
                        return;
                    }
                    self.execs.insert(id, self.nodes.len());
                }
                (Some((exec.pid, exec.uid)), exec.words(pen), exec.parent_id)
            }
            Told::Failed(exec) => (Some((exec.pid, exec.uid)), exec.failed_words(pen), exec.parent_id),
            Told::Running(exec) => (Some((exec.pid, exec.uid)), exec.running_words(pen), None),
            Told::Ended(ended) => {
                if let Some(at) = ended.id.as_ref().and_then(|id| self.execs.get(id)) {
                    self.nodes[*at].end = Some(ended.how());
                    return;
                }
                (Some((ended.pid, ended.uid)), ended.words(pen), None)
            }
            Told::Note(note) => (None, note.words(pen), None),
        };
        let group = self.group(entry);
        self.nodes.push(Node {
            time: entry.kind.is_ours().then_some(entry.time),
            process,
            words,
            end: None,
            parent,
            group,
            children: Vec::new(),
        });
    }

    fn group(&mut self, entry: &Entry) -> usize {
        let name = entry.owner.name();
        // Few: one for each workspace, and the last is the likeliest.
        self.groups.iter().rposition(|group| group.name == name).unwrap_or_else(|| {
            self.groups.push(Group { name, roots: Vec::new() });
            self.groups.len() - 1
        })
    }

    /// Draws all.
    pub(crate) fn draw(mut self, out: &mut impl Write) -> io::Result<()> {
        self.link();
        let widths = self.nodes.iter().filter_map(|node| node.process).map(|(_, uid)| uid.to_string().len());
        let width = widths.max().unwrap_or_default().max(UID_WIDTH);
        for group in std::mem::take(&mut self.groups) {
            writeln!(out, "{}", self.pen.styled(NUMBER, &printable(group.name.as_bytes())))?;
            for (number, root) in group.roots.iter().enumerate() {
                self.draw_tree(*root, number + 1 == group.roots.len(), width, out)?;
            }
        }
        Ok(())
    }

    /// Puts each node below its parent, or at the margin.
    fn link(&mut self) {
        let mut roots = Vec::new();
        for at in 0..self.nodes.len() {
            let parent =
                self.nodes[at].parent.as_ref().and_then(|id| self.execs.get(id)).filter(|parent| **parent != at);
            match parent {
                Some(parent) => self.nodes[*parent].children.push(at),
                None => roots.push(at),
            }
        }
        let mut reached = vec![false; self.nodes.len()];
        roots.iter().for_each(|root| self.reach(*root, &mut reached));
        // Only a forged log has execs that are each other's parents; they are shown like all others.
        for at in 0..self.nodes.len() {
            if reached[at] {
                continue;
            }
            if let Some(parent) = self.nodes[at].parent.as_ref().and_then(|id| self.execs.get(id)) {
                self.nodes[*parent].children.retain(|child| *child != at);
            }
            roots.push(at);
            self.reach(at, &mut reached);
        }
        roots.sort_unstable();
        for root in roots {
            self.groups[self.nodes[root].group].roots.push(root);
        }
    }

    fn reach(&self, root: usize, reached: &mut [bool]) {
        let mut next = vec![root];
        while let Some(at) = next.pop() {
            reached[at] = true;
            next.extend(&self.nodes[at].children);
        }
    }

    fn draw_tree(&self, root: usize, is_last: bool, width: usize, out: &mut impl Write) -> io::Result<()> {
        // Not by recursion: a chain of execs can be as long as its maker likes. Whether each level goes on is in `levels`.
        let mut next = vec![(root, 0, is_last)];
        let mut levels: Vec<bool> = Vec::new();
        while let Some((at, level, is_last)) = next.pop() {
            let node = &self.nodes[at];
            levels.truncate(level);
            let above: String = levels.iter().map(|goes_on| if *goes_on { "│  " } else { "   " }).collect();
            let head = match (node.time, node.process) {
                (Some(time), Some((pid, uid))) => self.pen.head_as_wide_as(width, time, pid, uid),
                (when, _) => {
                    let when = when.map_or_else(|| " ".repeat(TIME_WIDTH), time);
                    format!("{}{:columns$}", self.pen.styled(DIM, &when), "", columns = PID_WIDTH + width + 3)
                }
            };
            let branch = if is_last { "└─ " } else { "├─ " };
            let end = node.end.as_ref().map(|end| self.pen.styled(DIM, &format!("  {end}"))).unwrap_or_default();
            writeln!(out, "{head}{}{}{end}", self.pen.styled(DIM, &format!("{above}{branch}")), node.words)?;
            levels.push(!is_last);
            let below = (level + 1).min(DEEPEST);
            let last = node.children.last();
            next.extend(node.children.iter().rev().map(|child| (*child, below, Some(child) == last)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entries;
    use super::*;

    fn line(msg: &str, user: &str, cmdline: &str, event: &str) -> String {
        format!(
            r#"{{"ts":"2026-11-23T16:04:43.000000001Z","level":"INFO","msg":"{msg}","caller":"a","func":"b","fields":{{"labels":{{"username":"{user}","workspace_name":"main"}},"cmdline":"{cmdline}",{event},"line":"0000002a-1"}}}}}}"#
        )
    }

    fn exec(user: &str, id: &str, parent: &str, cmdline: &str) -> String {
        let event = format!(r#""event":{{"pid":7,"uid":1000,"id":"{id}","parent_id":"{parent}""#);
        line("exec", user, cmdline, &event)
    }

    /// Without the columns of time, pid and user.
    fn drawn(lines: &[String]) -> Vec<String> {
        let mut trees = Trees::new(Pen { colour: false });
        let mut entries = Entries::of("a");
        lines.iter().for_each(|line| trees.add(&entries.next(line.clone().into_bytes(), false)));
        let mut out = Vec::new();
        trees.draw(&mut out).expect("room");
        let text = String::from_utf8(out).expect("text");
        text.lines().map(|line| line.chars().skip(if line.starts_with("20") { 39 } else { 0 }).collect()).collect()
    }

    #[test]
    fn processes_stand_below_what_started_them() {
        let lines = [
            exec("jessie", "1", "", "bash"),
            exec("jessie", "2", "1", "make"),
            exec("zac", "8", "", "zsh"),
            exec("jessie", "3", "2", "cc a.c"),
            line(
                "exec-failed",
                "jessie",
                "x",
                r#""event":{"pid":9,"uid":1000,"filename":"x","error":"ENOENT","parent_id":"2""#,
            ),
            exec("jessie", "4", "1", "ls"),
            line(
                "exit",
                "jessie",
                "",
                r#""event":{"pid":7,"uid":1000,"id":"2","comm":"make","code":2,"duration_ns":1000000"#,
            ),
            line("lost", "jessie", "", r#""lost":{"reason":"ring_full","count":3"#),
        ];
        let expected = [
            "jessie/main",
            "├─ bash",
            "│  ├─ make  exit 2 after 1ms",
            "│  │  ├─ cc a.c",
            "│  │  └─ ENOENT: x [x]",
            "│  └─ ls",
            "└─ 3 execs lost: ring_full",
            "zac/main",
            "└─ zsh",
        ];
        assert_eq!(drawn(&lines), expected);
    }

    #[test]
    fn a_parent_whose_line_comes_later_is_found_and_an_exec_is_drawn_once() {
        let child = exec("jessie", "2", "1", "ls");
        let lines = [child.clone(), exec("jessie", "1", "", "bash"), child, exec("jessie", "5", "gone", "orphan")];
        assert_eq!(drawn(&lines), ["jessie/main", "├─ bash", "│  └─ ls", "└─ orphan"]);
    }

    #[test]
    fn execs_that_are_each_others_parents_are_shown_too() {
        let lines = [
            exec("jessie", "1", "2", "a"),
            exec("jessie", "2", "1", "b"),
            exec("jessie", "3", "3", "c"),
            exec("jessie", "4", "2", "d"),
        ];
        assert_eq!(drawn(&lines), ["jessie/main", "├─ a", "│  └─ b", "│     └─ d", "└─ c"]);
    }

    #[test]
    fn a_long_chain_is_drawn_and_its_indentation_is_bounded() {
        let lines: Vec<_> =
            (1..5_000).map(|id: u32| exec("jessie", &id.to_string(), &(id - 1).to_string(), "x")).collect();
        let drawn = drawn(&lines);
        assert_eq!(drawn.len(), lines.len() + 1);
        assert!(drawn.iter().all(|line| line.chars().count() <= 3 * (DEEPEST + 1) + 1));
    }

    #[test]
    fn an_end_without_its_exec_stands_by_itself() {
        let end = line("exit", "jessie", "", r#""event":{"pid":7,"uid":1000,"id":"2","comm":"make","code":0"#);
        assert_eq!(drawn(&[end]), ["jessie/main", "└─ make: exit 0 after 0ns, 0ns of processor time"]);
    }
}
