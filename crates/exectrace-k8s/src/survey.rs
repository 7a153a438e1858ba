//! What `exectrace status` asks of the API server, and what its caller may not ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;

use crate::api::ProcessLogging;
use crate::coverage::{Coverage, Facts, selected};
use crate::names::{CHANGED_BY_ANNOTATION, NAMESPACE_LABEL, NAMESPACE_LABEL_VALUE};
use crate::switch::{self, SwitchError};

/// The keeper writes every minute, changed or not. After so many seconds it is not there.
const STALE: SignedDuration = SignedDuration::from_secs(180);

/// A cluster as it was seen once. As JSON it is what `exectrace status -o json` prints.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// The switch; `None`: it was never thrown, and is off.
    pub enabled: Option<bool>,
    /// Who threw it last with `exectrace enable` or `disable`.
    pub changed_by: Option<String>,
    /// Workspaces and nodes.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// What the webhook's leader has written last; `None`: nothing yet.
    pub keeper: Option<Keeper>,
    /// What could not be seen, or does not count, in whole sentences.
    pub notes: Vec<String>,
    /// The image that nodes are checked with.
    #[serde(skip)]
    pub image: Option<String>,
    /// The nodes, as they are described.
    #[serde(skip)]
    pub nodes: Vec<Arc<Node>>,
}

/// The one who keeps the object's status.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keeper {
    /// When it looked last.
    pub observed_at: Option<Time>,
    /// Whether that is too long ago, or about another position of the switch.
    pub stale: bool,
}

impl Survey {
    /// Whether every workspace is traced, and those to come will be.
    pub fn is_whole(&self) -> bool {
        let is_on = self.enabled == Some(true) || self.coverage.workspaces.total == 0;
        self.coverage.is_whole() && is_on
    }
}

/// Looks at one namespace, or at all that hold workspaces.
pub async fn survey(client: &Client, namespace: Option<&str>) -> Result<Survey, SwitchError> {
    let object = switch::read(client).await?;
    let mut notes = Vec::new();
    let namespaces = namespaces(client, namespace, &mut notes).await?;
    let pods = try_join_all(namespaces.iter().map(|name| pods(client, name))).await?.concat();
    let nodes = nodes(client, &mut notes).await?;
    let status = object.as_ref().and_then(|object| object.status.clone()).unwrap_or_default();
    let facts = Facts {
        pods,
        namespaces,
        nodes,
        checked: status.nodes,
        settings: None,
        settings_hash: status.settings,
        enabled: object.as_ref().is_some_and(|object| object.spec.enabled),
    };
    let by = object.as_ref().and_then(|object| object.metadata.annotations.as_ref()?.get(CHANGED_BY_ANNOTATION));
    Ok(Survey {
        enabled: object.as_ref().map(|object| object.spec.enabled),
        changed_by: by.cloned(),
        coverage: facts.coverage(),
        keeper: object.as_ref().and_then(|object| keeper(object, Timestamp::now())),
        notes,
        image: status.image,
        nodes: facts.nodes.unwrap_or_default(),
    })
}

async fn namespaces(
    client: &Client,
    only: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<String>, SwitchError> {
    let label = format!("{NAMESPACE_LABEL}={NAMESPACE_LABEL_VALUE}");
    let all: Api<Namespace> = Api::all(client.clone());
    let found = all.list(&ListParams::default().labels(&label)).await;
    let found = match (found, only) {
        (Ok(found), _) => selected(&found.items.into_iter().map(Arc::new).collect::<Vec<_>>()),
        (Err(error), Some(only)) if is_refusal(&error) => {
            notes.push(format!("namespaces may not be listed, so {only} is taken to be one with workspaces"));
            return Ok([only.to_owned()].into());
        }
        (Err(error), None) if is_refusal(&error) => {
            return Err(SwitchError::Refused(format!("{}; choose one with -n", switch::chain(&error))));
        }
        (Err(error), _) => return Err(SwitchError::of(&error)),
    };
    let Some(only) = only else {
        if found.is_empty() {
            notes.push(format!("no namespace has the label {label}: kubectl label namespace NAME {label}"));
        }
        return Ok(found);
    };
    if found.contains(only) {
        return Ok([only.to_owned()].into());
    }
    notes.push(format!("the namespace {only} holds no workspaces: kubectl label namespace {only} {label}"));
    Ok(BTreeSet::new())
}

async fn pods(client: &Client, namespace: &str) -> Result<Vec<Arc<Pod>>, SwitchError> {
    let all: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = all.list(&ListParams::default()).await.map_err(|error| SwitchError::of(&error))?;
    Ok(found.items.into_iter().map(Arc::new).collect())
}

async fn nodes(client: &Client, notes: &mut Vec<String>) -> Result<Option<Vec<Arc<Node>>>, SwitchError> {
    let all: Api<Node> = Api::all(client.clone());
    match all.list(&ListParams::default()).await {
        Ok(found) => Ok(Some(found.items.into_iter().map(Arc::new).collect())),
        Err(error) if is_refusal(&error) => {
            notes
                .push("nodes may not be listed, so nothing is said of them (docs/status.md has the rights)".to_owned());
            Ok(None)
        }
        Err(error) => Err(SwitchError::of(&error)),
    }
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

fn keeper(object: &ProcessLogging, now: Timestamp) -> Option<Keeper> {
    let status = object.status.as_ref()?;
    let age = status.observed_at.as_ref().map(|time| now.duration_since(time.0));
    let is_old = age.is_none_or(|age| age > STALE);
    let is_of_another = status.observed_generation != object.metadata.generation;
    Some(Keeper { observed_at: status.observed_at.clone(), stale: is_old || is_of_another })
}
