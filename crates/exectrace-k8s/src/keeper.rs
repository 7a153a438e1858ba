//! The status of the ProcessLogging object, kept by one of the webhook's processes: the one that holds the Lease.
//!
//! It watches the switch, the nodes, the namespaces with workspaces and the pods in them, and writes what follows when
//! it changed, and once a minute so that a reader knows that it is there. Verdicts of `exectrace status --check-nodes`
//! in the status are kept while the node has not booted again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{ProcessLogging, ProcessLoggingStatus};
use crate::coverage::{Facts, selected};
use crate::lease::Wanted;
use crate::names::{NAMESPACE_LABEL, NAMESPACE_LABEL_VALUE, SWITCH};
use crate::settings::Settings;
use crate::switch::{MANAGER, chain, last_manager, leave_event, thrown_by};

/// The Lease by which one of several is chosen.
pub const LEASE: &str = "exectrace-webhook";

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a lease lasts that is not renewed.
    pub lease: Duration,
    /// How often it is tried for, and renewed.
    pub renew: Duration,
    /// The shortest time between two looks at what changed.
    pub look: Duration,
    /// The longest time between two writes.
    pub beat: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            look: Duration::from_secs(3),
            beat: Duration::from_secs(60),
        }
    }
}

/// Keeps the status until `stop` is over, then lets the lease go. The lease is in `namespace`; `identity` is this
/// process's name among those that want it, as its pod's.
pub async fn keep(
    client: Client,
    settings: watch::Receiver<Arc<Settings>>,
    namespace: &str,
    identity: &str,
    pace: Pace,
    stop: impl Future<Output = ()>,
) {
    let lease = Wanted::new(client.clone(), namespace, LEASE, identity, pace.lease);
    tokio::select! {
        () = take_turns(&client, &settings, &lease, pace) => {}
        () = stop => {}
    }
    if let Err(error) = lease.release().await {
        tracing::warn!(error = chain(&error), "the lease could not be let go, and ends by itself");
    }
}

async fn take_turns(client: &Client, settings: &watch::Receiver<Arc<Settings>>, lease: &Wanted, pace: Pace) {
    loop {
        match lease.hold().await {
            Ok(true) => {
                tracing::info!("this process keeps the status of ProcessLogging now");
                tokio::select! {
                    () = observe(client, settings.clone(), pace) => {}
                    () = until_lost(lease, pace) => {}
                }
                tracing::warn!("this process keeps the status of ProcessLogging no more");
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(error = chain(&error), "the lease {LEASE} cannot be asked for"),
        }
        tokio::time::sleep(pace.renew).await;
    }
}

/// Renews the lease; over when it is somebody else's, or might be by now.
async fn until_lost(lease: &Wanted, pace: Pace) {
    let mut held_until = Instant::now() + pace.lease;
    loop {
        tokio::time::sleep(pace.renew).await;
        let asked = Instant::now();
        match tokio::time::timeout_at(held_until, lease.hold()).await {
            Ok(Ok(true)) => held_until = asked + pace.lease,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "the lease {LEASE} was not renewed");
                if Instant::now() + pace.renew > held_until {
                    return;
                }
            }
        }
    }
}

/// Objects that a task keeps current; it ends with this value.
struct Followed<K: Resource<DynamicType: Eq + Hash> + 'static> {
    store: Store<K>,
    _task: JoinSet<()>,
}

fn follow<K>(all: Api<K>, config: watcher::Config, changed: &Arc<Notify>) -> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changed = Arc::clone(changed);
    let objects = watcher(all, config).default_backoff().reflect(writer);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut objects = std::pin::pin!(objects);
        while let Some(event) = objects.next().await {
            if let Err(error) = event {
                tracing::warn!(error = chain(&error), "{} cannot be watched", K::plural(&()));
            }
            changed.notify_one();
        }
    });
    Followed { store, _task: task }
}

/// Watches everything, and writes, without end.
async fn observe(client: &Client, mut settings: watch::Receiver<Arc<Settings>>, pace: Pace) {
    let changed = Arc::new(Notify::new());
    let labels = format!("{NAMESPACE_LABEL}={NAMESPACE_LABEL_VALUE}");
    let switch: Followed<ProcessLogging> = follow(
        Api::all(client.clone()),
        watcher::Config::default().fields(&format!("metadata.name={SWITCH}")),
        &changed,
    );
    let nodes: Followed<Node> = follow(Api::all(client.clone()), watcher::Config::default(), &changed);
    let namespaces: Followed<Namespace> =
        follow(Api::all(client.clone()), watcher::Config::default().labels(&labels), &changed);
    let mut pods: BTreeMap<String, Followed<Pod>> = BTreeMap::new();
    let mut written = None;
    let mut replaced = None;
    loop {
        let is_ready = switch.store.wait_until_ready().await.is_ok()
            && nodes.store.wait_until_ready().await.is_ok()
            && namespaces.store.wait_until_ready().await.is_ok();
        if !is_ready {
            return;
        }
        let selected = selected(&namespaces.store.state());
        follow_pods(client, &mut pods, &selected, &changed).await;
        let mut next = written.unwrap_or_else(Instant::now) + pace.beat;
        let object = switch.store.state().pop();
        // What was written over is no news; what was written comes in a moment.
        if let Some(object) = object.filter(|object| object.resource_version() != replaced) {
            let current = settings.borrow_and_update().clone();
            let facts = Facts {
                pods: pods.values().flat_map(|pods| pods.store.state()).collect(),
                namespaces: selected,
                nodes: Some(nodes.store.state()),
                checked: object.status.clone().unwrap_or_default().nodes,
                settings_hash: Some(current.hash()),
                settings: Some(current),
                enabled: object.spec.enabled,
            };
            let is_due = written.is_none_or(|at: Instant| at.elapsed() >= pace.beat);
            match update(client, &object, &facts, is_due).await {
                Done::Written(version) => {
                    // A write of what is there already makes no new version.
                    replaced = object.resource_version().filter(|before| Some(before) != version.as_ref());
                    written = Some(Instant::now());
                    next = Instant::now() + pace.beat;
                }
                Done::Failed => next = Instant::now() + pace.renew,
                Done::Nothing => {}
            }
        }
        tokio::time::sleep(pace.look).await;
        tokio::select! {
            () = changed.notified() => {}
            result = settings.changed() => if result.is_err() { return },
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Follows the pods of these namespaces and of no other.
async fn follow_pods(
    client: &Client,
    pods: &mut BTreeMap<String, Followed<Pod>>,
    selected: &BTreeSet<String>,
    changed: &Arc<Notify>,
) {
    pods.retain(|namespace, _| selected.contains(namespace));
    for namespace in selected {
        let of_namespace = || Api::namespaced(client.clone(), namespace);
        let followed = pods
            .entry(namespace.clone())
            .or_insert_with(|| follow(of_namespace(), watcher::Config::default(), changed));
        // Without its pods a namespace would look empty, and a status that says so would be wrong.
        if followed.store.wait_until_ready().await.is_err() {
            tracing::warn!(namespace, "the pods are watched no more");
        }
    }
}

/// What became of a status.
enum Done {
    /// It is as it was.
    Nothing,
    /// It is written, and the object has this version now.
    Written(Option<String>),
    /// It is to be tried again.
    Failed,
}

/// Writes the status where it is another, or where it is time to.
async fn update(client: &Client, object: &ProcessLogging, facts: &Facts, is_due: bool) -> Done {
    let coverage = facts.coverage();
    let before = object.status.clone().unwrap_or_default();
    let mut status = ProcessLoggingStatus {
        observed_generation: object.metadata.generation,
        observed_at: before.observed_at.clone(),
        image: facts.settings.as_ref().map(|settings| settings.image.clone()),
        settings: facts.settings_hash.clone(),
        workspaces: coverage.workspaces,
        nodes_ready: coverage.nodes_ready.unwrap_or_default(),
        nodes: coverage.nodes,
    };
    if status == before && !is_due {
        return Done::Nothing;
    }
    status.observed_at = Some(Time(Timestamp::now()));
    let version = match write(client, object, &status).await {
        Ok(written) => written.resource_version(),
        // What somebody else wrote is seen in a moment.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Done::Failed,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the status of ProcessLogging cannot be written");
            return Done::Failed;
        }
    };
    if before.observed_generation != status.observed_generation && thrown_by(object).is_none() {
        let by = last_manager(object).unwrap_or_else(|| "somebody unknown".to_owned());
        if let Err(error) = leave_event(client, object, &format!("somebody with {by}")).await {
            tracing::warn!(error = chain(&error), "a change of the switch is told by no Event");
        }
    }
    Done::Written(version)
}

/// Writes a status over the one that was read, and over no other.
pub(crate) async fn write(
    client: &Client,
    object: &ProcessLogging,
    status: &ProcessLoggingStatus,
) -> kube::Result<ProcessLogging> {
    let all: Api<ProcessLogging> = Api::all(client.clone());
    let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
    let options = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    all.patch_status(SWITCH, &options, &Patch::Merge(patch)).await
}
