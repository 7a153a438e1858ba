//! Lines for people: time, pid, user and command line, on a terminal in colour.

use std::time::SystemTime;

use exectrace::{Ended, Event, ExecId, FailedExec, Gone};
use exectrace_sift::{Of, Rollup};
use exectrace_sinks::dropped::Dropped;

use super::paint::{BAD, DIM, Depths, Pen, printable, round, time};
use super::{Entry, Lost, Watchdog, cmdline, errno_name, in_words, signal_name};

/// Writes lines for people.
pub(crate) struct TextEncoder {
    pen: Pen,
    depths: Option<Depths<ExecId>>,
}

impl TextEncoder {
    /// `tree` indents each line below the exec that led to it.
    pub(crate) fn new(colour: bool, tree: bool) -> TextEncoder {
        TextEncoder { pen: Pen { colour }, depths: tree.then(Depths::default) }
    }

    /// Appends one line with its line break. `now` is the time of what has no time of its own.
    pub(crate) fn encode(&mut self, entry: &Entry, now: SystemTime, out: &mut Vec<u8>) {
        let line = match entry {
            Entry::Exec(event) => self.exec(event),
            Entry::Failed(failed) => self.failed(failed),
            Entry::Ended(ended) => self.ended(ended),
            Entry::Lost(lost) => self.lost(lost, now),
            Entry::Watchdog(watchdog) => self.watchdog(watchdog, now),
            Entry::Dropped(dropped) => self.dropped(dropped, now),
            Entry::Gone(gone) => self.gone(gone),
            Entry::Rollup(rollup) => self.rollup(rollup),
            // Text lines have no labels.
            Entry::LabelsChanged(_) => return,
            // For who reads the log as it comes, these say nothing.
            Entry::Start(_)
            | Entry::Running(_)
            | Entry::Continued(_)
            | Entry::Ledger(_)
            | Entry::Reached(_)
            | Entry::Settle
            | Entry::Stop(_) => return,
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }

    fn exec(&mut self, event: &Event) -> String {
        let indent = self.depths.as_mut().map_or(0, |depths| depths.of(event.id, event.parent_id.as_ref())) * 2;
        let mut line = self.pen.head(event.time, event.pid, event.uid);
        line.push_str(&format!("{:indent$}{}", "", printable(&cmdline(&event.argv.iter().collect::<Vec<_>>()))));
        if event.truncated() {
            let missing = event.argv.total_bytes - event.argv.kept_bytes();
            line.push_str(&self.pen.styled(BAD, &format!(" … {missing} more bytes")));
        }
        if !event.partial.is_empty() {
            let names: Vec<_> = event.partial.names().collect();
            line.push_str(&self.pen.styled(DIM, &format!(" [{}]", names.join(" "))));
        }
        line
    }

    fn failed(&self, failed: &FailedExec) -> String {
        let FailedExec { errno, attempt } = failed;
        let mut line = self.pen.head(attempt.time, attempt.pid, attempt.uid);
        line.push_str(&self.pen.styled(BAD, &format!("{}: {} ", errno_name(*errno), printable(&attempt.filename))));
        line.push_str(
            &self.pen.styled(DIM, &format!("[{}]", printable(&cmdline(&attempt.argv.iter().collect::<Vec<_>>())))),
        );
        line
    }

    fn ended(&self, ended: &Ended) -> String {
        let how = match (ended.status.signal(), ended.status.code()) {
            (Some(signal), _) => signal_name(signal),
            (None, code) => format!("exit {}", code.unwrap_or_default()),
        };
        let took = format!("after {:?}, {:?} of processor time", round(ended.lived), round(ended.cpu_time));
        let mut line = self.pen.head(ended.time, ended.pid, ended.uid);
        line.push_str(&self.pen.styled(DIM, &format!("{}: {how} {took}", printable(&ended.comm))));
        line
    }

    fn watchdog(&self, watchdog: &Watchdog, now: SystemTime) -> String {
        let text =
            if watchdog.seen { "the kernel program sees execs again" } else { "the kernel program sees nothing" };
        format!("{} {}", self.pen.styled(DIM, &time(now)), self.pen.styled(BAD, text))
    }

    fn gone(&self, gone: &Gone) -> String {
        let text = format!("scope {} is gone: nothing can run there any more", gone.scope);
        format!("{} {}", self.pen.styled(DIM, &time(gone.time)), self.pen.styled(DIM, &text))
    }

    fn rollup(&self, rollup: &Rollup) -> String {
        let mut line = self.pen.head(rollup.times[1], rollup.root.pid, rollup.uid);
        let parent = printable(&rollup.root_exe);
        let what = match &rollup.of {
            Of::Exe(exe) => printable(exe),
            Of::Failed(errno) => errno_name(*errno),
        };
        let text = format!("{} times {what} below {parent}, {} different", rollup.count, rollup.distinct);
        line.push_str(&self.pen.styled(DIM, &text));
        line
    }

    fn dropped(&self, dropped: &Dropped, now: SystemTime) -> String {
        let Dropped { sink, reason, lines, .. } = dropped;
        let text = format!("{lines} lines are missing from the sink {sink}: {}", reason.name());
        format!("{} {}", self.pen.styled(DIM, &time(now)), self.pen.styled(BAD, &text))
    }

    fn lost(&self, lost: &Lost, now: SystemTime) -> String {
        let text = format!("{} {} lost: {}", lost.count, in_words(lost.what), lost.reason.name());
        format!("{} {}", self.pen.styled(DIM, &time(now)), self.pen.styled(BAD, &text))
    }
}

#[cfg(test)]
mod tests {
    use exectrace::LossReason;

    use super::*;
    use crate::ledger::Reason;
    use crate::line::samples;

    fn lines(encoder: &mut TextEncoder, entries: &[Entry]) -> String {
        let mut out = Vec::new();
        for entry in entries {
            encoder.encode(entry, SystemTime::UNIX_EPOCH, &mut out);
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_line_tells_time_pid_user_and_command() {
        let entry = Entry::Exec(Box::new(samples::uname()));
        let line = lines(&mut TextEncoder::new(false, false), &[entry]);
        assert_eq!(line, "2022-02-28T20:29:38.038Z  920684 101000 uname -a\n");
    }

    #[test]
    fn a_tree_indents_below_the_exec_that_led_there() {
        let parent = samples::uname();
        let mut child = samples::uname();
        child.parent_id = Some(parent.id);
        child.id.exec += 1;
        let entries = [Entry::Exec(Box::new(parent)), Entry::Exec(Box::new(child))];
        let out = lines(&mut TextEncoder::new(false, true), &entries);
        let columns: Vec<_> = out.lines().map(|line| line.find("uname").expect("the command")).collect();
        assert_eq!(columns[1], columns[0] + 2);
    }

    #[test]
    fn a_scope_that_is_gone_is_told_to_people_too() {
        let out = lines(&mut TextEncoder::new(false, false), &[Entry::Gone(samples::gone())]);
        assert_eq!(out, "2022-02-28T20:29:38.038Z scope 1 is gone: nothing can run there any more\n");
    }

    #[test]
    fn colour_only_where_asked() {
        let lost = [Entry::Lost(Lost {
            what: exectrace::What::Exec,
            scope: None,
            reason: Reason::Kernel(LossReason::RingFull),
            count: 3,
        })];
        assert_eq!(
            lines(&mut TextEncoder::new(false, false), &lost),
            "1970-01-01T00:00:00.000Z 3 execs lost: ring_full\n"
        );
        assert!(lines(&mut TextEncoder::new(true, false), &lost).contains("\x1b[31m"));
    }
}
