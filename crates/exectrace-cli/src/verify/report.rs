//! Findings and totals, told to people and to programs. `docs/verify.md` has the keys of the JSON.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::line::{Reasons, Scope, Time};
use super::sums::{Totals, total};
use super::{Chained, Finding, Input, Place, Summary, Verdict};

/// All that is to be said of a log.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(super) runs: Vec<Summary>,
    /// In the order of the runs, and of their lines.
    pub(super) findings: Vec<Finding>,
    pub(super) inputs: Vec<Input>,
    /// Of all runs.
    pub(super) totals: Totals,
}

impl Report {
    pub(super) fn new(runs: Vec<Summary>, mut findings: Vec<Finding>, inputs: Vec<Input>) -> Report {
        let place_of = |finding: &Finding| runs.iter().position(|summary| Some(summary.run) == finding.run);
        findings.sort_by_cached_key(|finding| {
            // What belongs to no run, or to one that is not there, comes after the others.
            (place_of(finding).unwrap_or(usize::MAX), finding.lines, finding.place, finding.kind)
        });
        let verdict = findings.iter().map(|finding| finding.kind.verdict()).max().unwrap_or(Verdict::Whole);
        let mut totals = Totals::zero();
        let once = runs.iter().filter(|summary| summary.complete_of.is_none());
        once.for_each(|summary| totals.add(&summary.account.execs));
        Report { verdict, runs, findings, inputs, totals }
    }

    fn note(&self, of: impl Fn(&Summary) -> u64) -> u64 {
        self.runs.iter().map(of).fold(0, u64::saturating_add)
    }

    fn inputs(&self, of: impl Fn(&Input) -> u64) -> u64 {
        self.inputs.iter().map(of).sum()
    }

    /// `at_most`: how many findings to tell; the others are counted.
    pub(crate) fn text(&self, at_most: Option<usize>) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut out, at_most.unwrap_or(usize::MAX));
        out
    }

    fn write_text(&self, out: &mut String, at_most: usize) -> std::fmt::Result {
        let verdict = match self.verdict {
            Verdict::Whole => "whole: nothing is missing, no change was found",
            Verdict::Gaps => "gaps: execs may be missing, see below",
            Verdict::Tampered => "tampered: lines are not as, or where, they were written, see below",
        };
        writeln!(out, "{verdict}")?;
        writeln!(out, "execs: {}", in_words(&self.totals))?;
        for summary in &self.runs {
            write_run(out, summary)?;
        }
        for finding in self.findings.iter().take(at_most) {
            self.write_finding(out, finding)?;
        }
        if self.findings.len() > at_most {
            writeln!(out, "and {} findings more (--max-findings)", self.findings.len() - at_most)?;
        }
        for (count, what) in [
            (self.note(proved), "roll-ups agree with all of their lines, which another run has"),
            (
                self.note(only_counted),
                "execs are only counted, in roll-ups: the log that has all lines, beside, could prove them",
            ),
            (self.note(nowhere), "execs are only counted, in roll-ups: no log has their lines"),
            (self.note(|run| run.account.args_cut), "execs have not all of their arguments"),
            (self.note(|run| run.account.args_missing), "processes lack arguments, whose lines are missing"),
            (self.note(|run| run.account.without_id), "execs have no id: whether one is told twice cannot be seen"),
            (self.note(|run| run.account.running), "lines tell what ran already when a run began"),
            (self.note(|run| run.account.told_again), "lines are told again by a later run and were not counted"),
            (self.note(|run| run.account.unknown), "lines are of a kind that this version does not know"),
            (self.inputs(|input| input.diagnostics), "lines are exectrace's own messages and were ignored"),
            (self.inputs(|input| input.stderr), "lines are of a container's stderr and were ignored"),
        ] {
            if count > 0 {
                writeln!(out, "note: {count} {what}")?;
            }
        }
        for (chained, what) in [
            (Chained::No, "without a chain: a change that keeps all numbers right cannot be seen"),
            (Chained::Linked, "are chained without a key: who can write the whole log can make it anew"),
        ] {
            let count = self.runs.iter().filter(|summary| summary.chained == chained).count();
            if count > 0 {
                writeln!(out, "note: {count} runs {what}")?;
            }
        }
        Ok(())
    }

    fn write_finding(&self, out: &mut String, finding: &Finding) -> std::fmt::Result {
        let class = if finding.kind.verdict() == Verdict::Tampered { "TAMPERED" } else { "GAP" };
        write!(out, "{class} {}:", finding.kind.name())?;
        if let Some(run) = finding.run {
            write!(out, " run {run}")?;
        }
        match finding.lines {
            Some((first, last)) if first == last => write!(out, " line {first}")?,
            Some((first, last)) => write!(out, " lines {first} to {last}")?,
            None => {}
        }
        if finding.run.is_some() {
            write!(out, ":")?;
        }
        write!(out, " {}", shown(&finding.why))?;
        match finding.execs {
            None => write!(out, "; not known how many execs")?,
            Some(0) => {}
            Some(1) => write!(out, "; 1 exec")?,
            Some(count) => write!(out, "; {count} execs")?,
        }
        match (finding.from, finding.to) {
            (Some(from), Some(to)) if from == to => write!(out, "; {}", show_time(from))?,
            (Some(from), Some(to)) => write!(out, "; {} to {}", show_time(from), show_time(to))?,
            (Some(from), None) => write!(out, "; from {}", show_time(from))?,
            (None, Some(to)) => write!(out, "; until {}", show_time(to))?,
            (None, None) => {}
        }
        if let Some(place) = finding.place {
            write!(out, " ({}:{})", shown(self.name(place)), place.line)?;
        }
        writeln!(out)
    }

    fn name(&self, place: Place) -> &str {
        usize::try_from(place.file).ok().and_then(|file| self.inputs.get(file)).map_or("", |input| &input.name)
    }

    /// The report as one JSON object.
    pub(crate) fn json(&self, at_most: Option<usize>) -> Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .take(at_most.unwrap_or(usize::MAX))
            .map(|finding| {
                json!({
                    "kind": finding.kind.name(),
                    "class": if finding.kind.verdict() == Verdict::Tampered { "tampering" } else { "gap" },
                    "run": finding.run.map(|run| run.to_string()),
                    "from_line": finding.lines.map(|(first, _)| first),
                    "to_line": finding.lines.map(|(_, last)| last),
                    "from": finding.from.map(show_time),
                    "to": finding.to.map(show_time),
                    "execs": finding.execs,
                    "why": finding.why,
                    "file": finding.place.map(|place| self.name(place)),
                    "file_line": finding.place.map(|place| place.line),
                })
            })
            .collect();
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|input| {
                json!({
                    "file": input.name,
                    "lines": input.lines,
                    "log_lines": input.sealed,
                    "diagnostics": input.diagnostics,
                    "stderr": input.stderr,
                })
            })
            .collect();
        json!({
            "verdict": self.verdict.name(),
            "totals": totals_json(&self.totals),
            "findings_left_out": self.findings.len() - findings.len(),
            "findings": findings,
            "runs": self.runs.iter().map(run_json).collect::<Vec<_>>(),
            "notes": {
                "rollups_proved": self.note(proved),
                "only_counted": self.note(|run| only_counted(run) + nowhere(run)),
                "args_cut": self.note(|run| run.account.args_cut),
                "args_missing": self.note(|run| run.account.args_missing),
                "without_id": self.note(|run| run.account.without_id),
                "running": self.note(|run| run.account.running),
                "told_again": self.note(|run| run.account.told_again),
                "unknown": self.note(|run| run.account.unknown),
                "diagnostics": self.inputs(|input| input.diagnostics),
                "stderr": self.inputs(|input| input.stderr),
            },
            "inputs": inputs,
        })
    }
}

fn write_run(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let Summary { run, lines, times, chained, account, .. } = summary;
    write!(out, "run {run}: lines {} to {}, {} to {}", lines.0, lines.1, show_time(times.0), show_time(times.1))?;
    write!(out, "; {} execs", account.execs.execs)?;
    if account.execs.rolled_up > 0 {
        write!(out, ", {} rolled up", account.execs.rolled_up)?;
    }
    write!(out, "; chain {}", chained.name())?;
    for scope in &summary.scopes {
        write!(out, "; {} {}", shown(&scope.kind), shown(&scope.of))?;
    }
    if &*summary.labels != "{}" {
        write!(out, "; {}", shown(&summary.labels))?;
    }
    if let Some(by) = summary.resumed_by {
        write!(out, "; run {by} went on from it")?;
    }
    if let Some(of) = summary.complete_of {
        write!(out, "; has all lines of run {of}, where they count")?;
    }
    writeln!(out)?;
    for (number, totals) in &account.scopes {
        let name = scope_of(summary, *number).map(|scope| format!(" ({} {})", shown(&scope.kind), shown(&scope.of)));
        writeln!(out, "  scope {number}{}: {}", name.unwrap_or_default(), in_words(totals))?;
    }
    Ok(())
}

fn scope_of(summary: &Summary, number: u32) -> Option<&Scope> {
    summary.scopes.iter().find(|scope| scope.scope == number)
}

fn in_words(totals: &Totals) -> String {
    let Totals { execs, rolled_up, excluded, lost, missing, seen } = totals;
    let seen = seen.map_or("not known how many".to_owned(), |seen| seen.to_string());
    let with_reasons = |reasons: &Reasons| {
        let all: Vec<_> = reasons.iter().filter(|(_, count)| **count > 0).collect();
        let names: Vec<_> = all.iter().map(|(reason, count)| format!("{} {count}", shown(reason))).collect();
        if names.is_empty() { "0".to_owned() } else { format!("{} ({})", total(reasons), names.join(", ")) }
    };
    let (excluded, lost) = (with_reasons(excluded), with_reasons(lost));
    let rolled_up = if *rolled_up > 0 { format!("{rolled_up} rolled up, ") } else { String::new() };
    format!("{seen} seen, {execs} in the log, {rolled_up}{excluded} excluded, {lost} lost, {missing} in missing lines")
}

/// With the keys that it has anywhere.
fn totals_json(totals: &Totals) -> Value {
    let Totals { execs, rolled_up, excluded, lost, missing, seen } = totals;
    let mut totals = json!({ "seen": seen, "execs": execs, "excluded": excluded, "lost": lost, "missing": missing });
    // As in a ledger.
    if *rolled_up > 0 {
        totals["rolled_up"] = json!(rolled_up);
    }
    totals
}

fn run_json(summary: &Summary) -> Value {
    let Summary { lines, times, account, .. } = summary;
    let labels: Value = serde_json::from_str(&summary.labels).unwrap_or_default();
    let scope = |scope: &Scope| {
        let totals = account.scopes.get(&scope.scope).map(totals_json);
        let named = json!({ "scope": scope.scope, "kind": scope.kind, "of": scope.of });
        merged(named, totals.unwrap_or_default())
    };
    let scopes: Vec<_> = summary.scopes.iter().map(scope).collect();
    let run = json!({
        "run": summary.run.to_string(),
        "labels": labels,
        "version": summary.version,
        "boot_id": summary.boot_id,
        "scopes": scopes,
        "first_line": lines.0,
        "last_line": lines.1,
        "from": show_time(times.0),
        "to": show_time(times.1),
        "chain": summary.chained.name(),
        "resumes": summary.resumes,
        "resumed_by": summary.resumed_by.map(|run| run.to_string()),
        "complete": summary.complete.map(|run| run.to_string()),
        "complete_of": summary.complete_of.map(|run| run.to_string()),
        "stop": account.stop.as_ref().map(|(_, why, _)| why),
        "pinned": account.stop.as_ref().is_some_and(|(_, _, pinned)| *pinned),
        "failed": account.failed,
        "exits": account.exits,
        "running": account.running,
    });
    merged(run, totals_json(&account.execs))
}

/// The members of both objects.
fn merged(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn proved(summary: &Summary) -> u64 {
    summary.proved.map_or(0, |proved| proved.rollups)
}

/// Execs that another run could prove, which is not there.
fn only_counted(summary: &Summary) -> u64 {
    if summary.complete.is_some() && summary.proved.is_none() { summary.account.execs.rolled_up } else { 0 }
}

/// Execs that have no line anywhere.
fn nowhere(summary: &Summary) -> u64 {
    if summary.complete.is_none() { summary.account.execs.rolled_up } else { 0 }
}

/// A file name or a forged line must not move a cursor or begin a line of the report.
fn shown(text: &str) -> String {
    let is_plain = |char: &char| {
        !char.is_control()
            && !matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|char| if is_plain(&char) { char } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn show_time(time: Time) -> String {
    let distance = Duration::from_nanos(time.unsigned_abs());
    let time = if time < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
    humantime::format_rfc3339_nanos(time).to_string()
}
