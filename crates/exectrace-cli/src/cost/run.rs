//! A run while its lines are read: whether it is replayed, and whose its lines are.

use std::collections::BTreeMap;
use std::sync::Arc;

use exectrace_sift::Criteria;

use super::figures::{Figures, Within};
use super::line::{Line, What};
use super::replay::{Owner, Replay};
use super::tally::{Whose, name};
use crate::seal::Run;

/// Runs that are followed at a time. Lines of another one that come later are judged as of a new run.
const MAX_RUNS: usize = 64;

/// A run while its lines are read.
pub(super) struct Followed {
    pub(super) run: Run,
    /// `None`: it is rolled up already.
    pub(super) replay: Option<Replay>,
    labels: String,
    pub(super) owner: Owner,
    pub(super) running: usize,
    /// The last line that others can follow: its number, whose it is if it is anybody's, and what became of it.
    pub(super) first: Option<(u64, Option<Whose>, Within)>,
}

/// The run, which is the last one from now on.
pub(super) fn follow<'a>(
    runs: &'a mut Vec<Followed>,
    run: Run,
    criteria: &Criteria,
    figures: &mut Figures,
) -> &'a mut Followed {
    let followed = match runs.iter().rposition(|followed| followed.run == run) {
        Some(at) if at + 1 == runs.len() => None,
        Some(at) => Some(runs.remove(at)),
        None => {
            if runs.len() >= MAX_RUNS {
                runs.remove(0).finish(figures);
                figures.notes.put_away += 1;
            }
            figures.notes.replayed_runs += 1;
            Some(Followed::new(run, criteria))
        }
    };
    runs.extend(followed);
    let last = runs.len() - 1;
    &mut runs[last]
}

impl Followed {
    fn new(run: Run, criteria: &Criteria) -> Followed {
        // Whether it is chained, and labels, come with the first line.
        let replay = Some(Replay::new(criteria.sift(), run));
        let owner = Owner { user: None, workspace: Arc::from(NO_WORKSPACE) };
        Followed { run, replay, labels: String::new(), owner, running: 0, first: None }
    }

    pub(super) fn relabel(&mut self, labels: &str) {
        if self.labels == labels {
            return;
        }
        labels.clone_into(&mut self.labels);
        let labels: BTreeMap<String, String> = serde_json::from_str(labels).unwrap_or_default();
        self.owner = owner(&labels);
        if let Some(replay) = &mut self.replay {
            replay.relabel(labels);
        }
    }

    /// Whether it goes on as it began: what says that it is rolled up is not replayed.
    pub(super) fn look(&mut self, line: &Line<'_>) -> bool {
        let Some(replay) = &mut self.replay else { return true };
        replay.is_chained = line.is_chained;
        match &line.what {
            What::Start { rolls_up: true } | What::Rollup(_) => return false,
            What::Exec(event) | What::Failed(event) if event.scope.is_some() => replay.tell_scopes(),
            _ => {}
        }
        true
    }

    pub(super) fn finish(&mut self, figures: &mut Figures) {
        if let Some(replay) = &mut self.replay {
            replay.finish(&self.owner, figures);
        }
    }
}

/// What is called so has no name of a workspace.
const NO_WORKSPACE: &str = "(no workspace)";

fn owner(labels: &BTreeMap<String, String>) -> Owner {
    let label = |key: &str| labels.get(key).filter(|value| !value.is_empty());
    let user = label("username").or_else(|| label("user_email")).map(|user| name(user));
    let workspace = match (label("workspace_name"), label("workspace_id")) {
        (Some(called), Some(id)) => name(&format!("{called} ({id})")),
        (Some(called), None) | (None, Some(called)) => name(called),
        (None, None) => Arc::from(NO_WORKSPACE),
    };
    Owner { user, workspace }
}
