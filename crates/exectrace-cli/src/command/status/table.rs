//! The report for people: a head, the workspaces, the nodes, and what is left to say.

use std::fmt::Write;

use exectrace_k8s::api::NodeVerdict;
use exectrace_k8s::coverage::Workspace;
use exectrace_k8s::survey::Survey;

/// Between two columns.
const GAP: usize = 2;

pub(super) fn text(found: &Survey) -> String {
    let mut sections = vec![columns(&head(found))];
    let pods = &found.coverage.pods;
    if !pods.is_empty() {
        let title = ["USER", "WORKSPACE", "NAMESPACE", "POD", "NODE", "VERDICT", "WHY"];
        sections.push(columns(&with_title(&title, pods.iter().map(workspace))));
    }
    let nodes = &found.coverage.nodes;
    if !nodes.is_empty() {
        let title = ["NODE", "KERNEL", "BTF", "VERDICT", "WHY"];
        let rows = nodes.iter().map(|node| {
            let btf = node.btf.map_or("-", |btf| if btf { "yes" } else { "no" });
            let why = node.reason.as_deref().unwrap_or_default();
            [&node.name, &node.kernel, btf, node_verdict(node.verdict), why].map(str::to_owned).to_vec()
        });
        sections.push(columns(&with_title(&title, rows)));
    }
    if !found.notes.is_empty() {
        sections.push(found.notes.iter().fold(String::new(), |text, note| text + "note: " + &printable(note) + "\n"));
    }
    sections.join("\n")
}

pub(super) fn node_verdict(verdict: NodeVerdict) -> &'static str {
    match verdict {
        NodeVerdict::Ready => "ready",
        NodeVerdict::Unchecked => "unchecked",
        NodeVerdict::CannotTrace => "cannot-trace",
        NodeVerdict::NodeNotReady => "node-not-ready",
    }
}

fn head(found: &Survey) -> Vec<Vec<String>> {
    let position = match found.enabled {
        Some(true) => "on",
        Some(false) => "off",
        None => "off, and never was on",
    };
    let by = found.changed_by.as_ref().map(|by| format!(", switched by {by}")).unwrap_or_default();
    let counts = &found.coverage.workspaces;
    let mut workspaces = format!("{} traced", counts.summary);
    for (count, what) in [
        (counts.starting, "starting"),
        (counts.needs_rebuild, "needs-rebuild"),
        (counts.not_traced, "not-traced"),
        (counts.other_settings, "with other settings"),
    ] {
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(workspaces, ", {count} {what}");
        }
    }
    let nodes = found.coverage.nodes_ready.as_ref().map_or("not known".to_owned(), |ready| format!("{ready} ready"));
    let keeper = match &found.keeper {
        None => "has written nothing yet: look whether the webhook runs".to_owned(),
        Some(keeper) => {
            let at = keeper.observed_at.as_ref().map_or("never".to_owned(), |time| format!("{:.0}", time.0));
            let stale = if keeper.stale { ", which is stale: look whether the webhook runs" } else { "" };
            format!("{at}{stale}")
        }
    };
    [("Switch:", position.to_owned() + &by), ("Workspaces:", workspaces), ("Nodes:", nodes), ("Kept status:", keeper)]
        .map(|(name, value)| vec![name.to_owned(), value])
        .to_vec()
}

fn workspace(pod: &Workspace) -> Vec<String> {
    let or_dash = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        or_dash(&pod.user),
        or_dash(&pod.workspace),
        pod.namespace.clone(),
        pod.pod.clone(),
        or_dash(&pod.node),
        pod.verdict.name().to_owned(),
        pod.advice.clone().unwrap_or_default(),
    ]
}

fn with_title(title: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let title = title.iter().map(|word| (*word).to_owned()).collect();
    std::iter::once(title).chain(rows).collect()
}

/// Rows of as many cells each, under one another.
fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let count = rows.first().map_or(0, Vec::len);
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0) + GAP;
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// What a pod says of itself may hold anything, and must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
