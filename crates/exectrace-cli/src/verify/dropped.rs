//! Lines `dropped`: which of the missing lines one sink did not take, as the log itself says.

use std::collections::HashMap;

use serde::Deserialize;

use super::finding::{Finding, Kind};
use super::record::Detail;
use crate::seal::Run;

/// What one sink does not have.
#[derive(Debug, Deserialize)]
pub(super) struct Dropped {
    pub(super) sink: String,
    pub(super) reason: String,
    pub(super) lines: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
}

/// `RUN-N`.
pub(super) fn number(text: &str) -> Option<(Run, u64)> {
    let (run, line) = text.split_once('-')?;
    Some((Run::parse(run.as_bytes())?, line.parse().ok()?))
}

/// Says of missing lines that a sink dropped them, if that was told.
pub(super) fn explain(details: &[Detail], findings: &mut [Finding]) {
    let mut by_run: HashMap<Run, Vec<(u64, u64, &Dropped)>> = HashMap::new();
    let mut unknown = Vec::new();
    for detail in details {
        let Detail::Dropped(dropped) = detail else { continue };
        let [first, last] = [&dropped.first, &dropped.last].map(|text| text.as_deref().and_then(number));
        match (first, last) {
            (Some((run, first)), Some((_, last))) => by_run.entry(run).or_default().push((first, last, dropped)),
            _ => unknown.push(dropped),
        }
    }
    let is_gap = |kind| matches!(kind, Kind::MissingLines | Kind::MissingBeginning);
    for finding in findings.iter_mut().filter(|finding| is_gap(finding.kind)) {
        let (Some(run), Some((first, last))) = (finding.run, finding.lines) else { continue };
        let told = by_run.get(&run).into_iter().flatten().filter(|(from, to, _)| *from <= last && first <= *to);
        for (from, to, Dropped { sink, reason, .. }) in told {
            let (from, to) = (first.max(*from), last.min(*to));
            finding.why.push_str(&format!("; the sink {sink} dropped lines {from} to {to}: {reason}"));
        }
        for Dropped { sink, reason, lines, .. } in &unknown {
            finding
                .why
                .push_str(&format!("; the sink {sink} dropped {lines} lines or more, nobody knows which: {reason}"));
        }
    }
}
