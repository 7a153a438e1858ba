//! The logs of workspaces' pods, through the API server: which pods, which container, and their lines as they come.
//!
//! [`find`] and [`open_all`] give what is there; [`follow`](fn@follow) gives what comes, of pods that come later too, and
//! survives broken streams and containers that are started again. What a line says is not known here: who calls brings a
//! [`ReadMark`].

mod follow;
mod given;

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::io::{AsyncBufRead, AsyncReadExt};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};

pub use kube::Client;

pub use self::follow::{Followed, follow};
pub use self::given::{Given, Mark, ReadMark};
use crate::names::CONTAINER;
use crate::workspace::selectors;

/// How many logs are opened at a time: a node's kubelet is not to be stormed.
const OPENED_AT_ONCE: usize = 16;
/// The runtime's clock is not ours: so much more is asked for, and the lines' own times decide.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);

/// Whose logs.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Pods of this user.
    pub user: Option<String>,
    /// Pods of workspaces with this name.
    pub workspace: Option<String>,
    /// In this namespace; `None`: in all.
    pub namespace: Option<String>,
}

/// Pods by what was asked for.
#[derive(Debug, Default)]
pub struct Pods {
    /// Those with the container whose log it is, by namespace and name.
    pub traced: Vec<TracedPod>,
    /// Names of those without it.
    pub untraced: Vec<String>,
    /// Names of those whose container has not started, so that there is no log yet.
    pub not_started: Vec<String>,
}

/// A pod that has exectrace's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Another pod of the same name has another one.
    pub uid: String,
    /// How often the container was started again.
    pub restarts: i32,
}

/// Which of a container's logs: the API has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    /// Of the one before the last start.
    Previous,
    /// Of the one that runs, or ran last.
    Current,
}

/// How much of a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// Not older than this.
    pub since: Option<Duration>,
    /// Not more than the last so many lines.
    pub tail: Option<usize>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// What no label can hold selects nothing.
    #[error(
        "{flag} {value:?} can be no name: a label's value has at most 63 characters of A-Z a-z 0-9 . _ - and begins and ends with a letter or digit"
    )]
    Name {
        /// The flag that has it.
        flag: &'static str,
        /// The value.
        value: String,
    },
    /// The API server says that this user may not.
    #[error(
        "this needs the verb {verb} on {resource} {place}; an admin can give it (docs/logs.md has the rule): {message}"
    )]
    Forbidden {
        /// What was asked.
        verb: &'static str,
        /// Of what.
        resource: &'static str,
        /// Where.
        place: String,
        /// The API server's words.
        message: String,
    },
    /// Anything else that the API server or the way to it says.
    #[error("cannot {verb} {resource}: {why}")]
    Api {
        /// What was asked.
        verb: &'static str,
        /// Of what.
        resource: &'static str,
        /// Why not.
        why: String,
        /// The API server's code, if it answered.
        code: Option<u16>,
    },
}

impl LogsError {
    fn of(error: kube::Error, verb: &'static str, resource: &'static str, namespace: Option<&str>) -> LogsError {
        match error {
            kube::Error::Api(status) if status.code == 403 => {
                let place =
                    namespace.map_or_else(|| "in all namespaces".to_owned(), |name| format!("in namespace {name}"));
                LogsError::Forbidden { verb, resource, place, message: status.message.clone() }
            }
            kube::Error::Api(status) => {
                LogsError::Api { verb, resource, why: status.message.clone(), code: Some(status.code) }
            }
            error => LogsError::Api { verb, resource, why: with_causes(&error), code: None },
        }
    }

    fn is_not_found(&self) -> bool {
        matches!(self, LogsError::Api { code: Some(404), .. })
    }
}

/// All of it in one line; causes that their effects tell already are left out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

impl Selection {
    /// Whether what was asked for can be labels' values.
    ///
    /// # Errors
    ///
    /// [`LogsError::Name`] with the first that cannot.
    pub fn check(&self) -> Result<(), LogsError> {
        for (flag, value) in [("--user", &self.user), ("--workspace", &self.workspace)] {
            if let Some(value) = value.as_ref().filter(|value| !is_label_value(value)) {
                return Err(LogsError::Name { flag, value: value.clone() });
            }
        }
        Ok(())
    }

    fn pods(&self, client: &Client) -> Api<Pod> {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }

    /// Together they find the pods.
    fn selectors(&self) -> Vec<String> {
        selectors(self.user.as_deref(), self.workspace.as_deref())
    }
}

/// An empty value is a label's value too, but nobody's name.
fn is_label_value(value: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// The pods that were asked for, each once.
///
/// # Errors
///
/// If the API server does not list them.
pub async fn find(client: &Client, selection: &Selection) -> Result<Pods, LogsError> {
    let api = selection.pods(client);
    let mut found = BTreeMap::new();
    for selector in selection.selectors() {
        let listed = api.list(&ListParams::default().labels(&selector)).await;
        let listed = listed.map_err(|error| LogsError::of(error, "list", "pods", selection.namespace.as_deref()))?;
        found.extend(listed.items.into_iter().map(|pod| ((pod.namespace().unwrap_or_default(), pod.name_any()), pod)));
    }
    let mut pods = Pods::default();
    for ((namespace, name), pod) in found {
        match TracedPod::of(&pod) {
            Some(traced) if has_started(&pod) => pods.traced.push(traced),
            Some(traced) => pods.not_started.push(traced.title()),
            None => pods.untraced.push(format!("{namespace}/{name}")),
        }
    }
    Ok(pods)
}

impl TracedPod {
    /// `None` if the container is not there.
    fn of(pod: &Pod) -> Option<TracedPod> {
        let spec = pod.spec.as_ref()?;
        let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        containers.any(|container| container.name == CONTAINER).then(|| TracedPod {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            restarts: status(pod).map_or(0, |status| status.restart_count),
        })
    }

    /// As people name it.
    pub fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The logs that the API has of it, in their order.
    fn instances(&self) -> &'static [Instance] {
        if self.restarts > 0 { &[Instance::Previous, Instance::Current] } else { &[Instance::Current] }
    }

    async fn open(&self, client: &Client, params: &LogParams) -> Result<LogStream, LogsError> {
        let api: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let stream = api.log_stream(&self.name, params).await;
        let stream = stream.map_err(|error| LogsError::of(error, "get", "pods/log", Some(&self.namespace)))?;
        Ok(Box::pin(stream))
    }
}

fn status(pod: &Pod) -> Option<&ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.find(|status| status.name == CONTAINER)
}

/// Before the container has started for the first time, to ask for its log is an error.
fn has_started(pod: &Pod) -> bool {
    match status(pod) {
        Some(status) => {
            let is_waiting = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
            status.restart_count > 0 || !is_waiting
        }
        None => pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Pending"),
    }
}

/// Bytes of a log, as they come.
pub type LogStream = Pin<Box<dyn AsyncBufRead + Send>>;

/// A log that was opened, or why it was not.
pub struct Opened {
    /// Which of the pods.
    pub pod: usize,
    /// Which of its logs.
    pub instance: Instance,
    /// Its bytes.
    pub log: Result<LogStream, LogsError>,
}

/// Opens what is there of the logs of these pods; of each pod in order.
pub async fn open_all(client: &Client, pods: &[TracedPod], range: Range) -> Vec<Opened> {
    let all = pods.iter().enumerate().flat_map(|(at, pod)| pod.instances().iter().map(move |one| (at, pod, *one)));
    let opened = all.map(|(at, pod, instance)| {
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            previous: instance == Instance::Previous,
            since_seconds: range.since.map(|since| seconds(since.saturating_add(CLOCK_MARGIN))),
            tail_lines: range.tail.map(|tail| i64::try_from(tail).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        async move { Opened { pod: at, instance, log: pod.open(client, &params).await } }
    });
    // As a list, because what is borrowed by an iterator of futures confuses the compiler.
    let opened: Vec<_> = opened.collect();
    stream::iter(opened).buffered(OPENED_AT_ONCE).collect().await
}

/// At least one: the API server refuses none.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX).max(1)
}

/// A log's bytes for who reads as from a file. Not to be read within the runtime.
pub struct Blocking {
    stream: LogStream,
    runtime: tokio::runtime::Handle,
}

impl Blocking {
    /// Waits for bytes with this runtime.
    pub fn new(stream: LogStream, runtime: tokio::runtime::Handle) -> Blocking {
        Blocking { stream, runtime }
    }
}

impl io::Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.read(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_label_can_hold_is_refused_by_its_flag() {
        for name in ["jessie", "a", "Main-2.b_c", &"x".repeat(63)] {
            let selection = Selection { user: Some(name.to_owned()), ..Selection::default() };
            assert!(selection.check().is_ok(), "{name}");
        }
        for name in ["", "a b", "-a", "a-", "a,b=c", "jessie!", "ü", &"x".repeat(64)] {
            let selection = Selection { workspace: Some(name.to_owned()), ..Selection::default() };
            let error = selection.check().expect_err(name).to_string();
            assert!(error.contains("--workspace"), "{error}");
        }
    }

    #[test]
    fn the_container_is_found_among_both_kinds() {
        let pod = |key: &str, name: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "coder-jessie-main", "namespace": "coder", "uid": "u" },
                "spec": { "containers": [{ "name": "dev" }], key: [{ "name": name }] },
                "status": { "initContainerStatuses": [{ "name": "exectrace", "restartCount": 2, "image": "", "imageID": "", "ready": true }] },
            }))
            .expect("a pod")
        };
        for key in ["containers", "initContainers"] {
            let found = TracedPod::of(&pod(key, "exectrace")).expect("the container");
            assert_eq!((found.title().as_str(), found.restarts), ("coder/coder-jessie-main", 2));
            assert_eq!(TracedPod::of(&pod(key, "other")), None);
        }
    }
}
