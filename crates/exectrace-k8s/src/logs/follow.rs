//! Logs as they come: of pods that are there and of those that come later. Each pod has a task that opens its log again
//! whenever it ends, until the pod is gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt;
use futures::io::{AsyncBufReadExt, AsyncReadExt};
use futures::stream::select_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Given, Instance, LogsError, ReadMark, Selection, TracedPod, has_started, status};
use crate::names::CONTAINER;

/// No line of exectrace's is longer; one without end must not fill the memory.
const MAX_LINE: u64 = 256 << 20;
/// How long a log that ended is left alone, at first and at most. A change of the pod ends that.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Times of lines are those of what happened; they reach the log later. So much earlier it is read again, in any case.
const OVERLAP: Duration = Duration::from_secs(1);

/// What comes.
#[derive(Debug)]
pub enum Followed {
    /// From now on lines of this pod may come.
    Opened {
        /// By this number it is known from now on.
        source: usize,
        /// As people name it.
        title: String,
    },
    /// A line that was not given yet, without its line break.
    Line {
        /// Of this pod.
        source: usize,
        /// As it was logged.
        bytes: Vec<u8>,
        /// The log ended within it.
        cut: bool,
    },
    /// The pod is gone.
    Closed {
        /// This pod.
        source: usize,
    },
    /// A pod that was asked for has no container of exectrace's.
    Untraced {
        /// As people name it.
        title: String,
    },
    /// Something did not work; it is tried again.
    Trouble {
        /// As people name what it is about.
        about: String,
        /// Why.
        error: LogsError,
    },
}

/// Sends what comes, until nobody receives it any more. `known` are the pods whose logs were read already, with what was
/// given of them.
///
/// # Errors
///
/// If the pods may not be watched.
pub async fn follow(
    client: Client,
    selection: Selection,
    known: Vec<(TracedPod, Given)>,
    read_mark: ReadMark,
    to: mpsc::Sender<Followed>,
) -> Result<(), LogsError> {
    let api = selection.pods(&client);
    let watches = selection.selectors().into_iter().enumerate().map(|(number, selector)| {
        let events = watcher(api.clone(), watcher::Config::default().labels(&selector)).default_backoff();
        events.map(move |event| (number, event)).boxed()
    });
    let mut events = select_all(watches);
    let mut followers =
        Followers { client, read_mark, to, known, pods: HashMap::new(), tasks: JoinSet::new(), count: 0 };
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = followers.to.closed() => return Ok(()),
        };
        match event {
            None => return Ok(()),
            Some((number, Ok(Event::Apply(pod) | Event::InitApply(pod)))) => followers.is_there(number, pod).await,
            Some((number, Ok(Event::Delete(pod)))) => followers.is_gone(number, &pod),
            Some((_, Ok(Event::Init | Event::InitDone))) => {}
            Some((_, Err(error))) => {
                let error = watch_error(error, selection.namespace.as_deref());
                if matches!(error, LogsError::Forbidden { .. }) {
                    return Err(error);
                }
                followers.send(Followed::Trouble { about: "pods".to_owned(), error }).await;
            }
        }
    }
}

fn watch_error(error: watcher::Error, namespace: Option<&str>) -> LogsError {
    match error {
        watcher::Error::InitialListFailed(error) => LogsError::of(error, "list", "pods", namespace),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            LogsError::of(error, "watch", "pods", namespace)
        }
        watcher::Error::WatchError(status) => LogsError::of(kube::Error::Api(status), "watch", "pods", namespace),
        error @ watcher::Error::NoResourceVersion => {
            LogsError::of(kube::Error::Service(Box::new(error)), "watch", "pods", namespace)
        }
    }
}

/// The tasks, one for each pod.
struct Followers {
    client: Client,
    read_mark: ReadMark,
    to: mpsc::Sender<Followed>,
    /// Of which there is no task yet.
    known: Vec<(TracedPod, Given)>,
    /// By the pod's UID.
    pods: HashMap<String, Seen>,
    tasks: JoinSet<()>,
    count: usize,
}

/// A pod that is there.
struct Seen {
    /// Tells its task how it is; `None`: it has none, because the pod is not traced.
    task: Option<watch::Sender<Pod>>,
    /// The watches that see it: one that does no more, because labels have changed, says that it was deleted.
    by: HashSet<usize>,
}

impl Followers {
    async fn is_there(&mut self, seen_by: usize, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        if let Some(known) = self.pods.get_mut(&uid) {
            known.by.insert(seen_by);
            if let Some(task) = &known.task {
                task.send_replace(pod);
            }
            return;
        }
        let by = HashSet::from([seen_by]);
        let Some(traced) = TracedPod::of(&pod) else {
            self.pods.insert(uid, Seen { task: None, by });
            let title = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
            return self.send(Followed::Untraced { title }).await;
        };
        let at = self.known.iter().position(|(known, _)| known.uid == uid);
        let (restarts, given) = match at.map(|at| self.known.swap_remove(at)) {
            Some((known, given)) => (known.restarts, given),
            // All of the log is new, also of the container before the last start.
            None => (0, Given::default()),
        };
        let source = self.count;
        self.count += 1;
        self.send(Followed::Opened { source, title: traced.title() }).await;
        let (tell, state) = watch::channel(pod);
        self.pods.insert(uid, Seen { task: Some(tell), by });
        let follower = Follower {
            client: self.client.clone(),
            pod: TracedPod { restarts, ..traced },
            given,
            read_mark: self.read_mark,
            source,
            to: self.to.clone(),
            rest: Vec::new(),
            told: None,
        };
        self.tasks.spawn(follower.run(state));
        // Tasks that have ended are forgotten.
        while self.tasks.try_join_next().is_some() {}
    }

    fn is_gone(&mut self, unseen_by: usize, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let Some(known) = self.pods.get_mut(&uid) else { return };
        known.by.remove(&unseen_by);
        if known.by.is_empty() {
            self.pods.remove(&uid);
        }
    }

    async fn send(&self, what: Followed) {
        // Nobody receives it any more: the loop ends by itself.
        let _ = self.to.send(what).await;
    }
}

/// Follows one pod.
struct Follower {
    client: Client,
    pod: TracedPod,
    given: Given,
    read_mark: ReadMark,
    source: usize,
    to: mpsc::Sender<Followed>,
    /// A line that has no end yet.
    rest: Vec<u8>,
    /// What went wrong the last time.
    told: Option<String>,
}

/// Nobody receives lines any more.
struct Unheard;

impl Follower {
    async fn run(mut self, mut state: watch::Receiver<Pod>) {
        let mut wait = FIRST_WAIT;
        loop {
            let (instances, restarts, has_ended) = {
                let pod = state.borrow_and_update();
                let restarts = status(&pod).map_or(0, |status| status.restart_count);
                (self.unread(&pod, restarts), restarts, has_ended(&pod))
            };
            let mut has_news = false;
            for instance in instances {
                match self.read(*instance).await {
                    Ok(Ok(news)) => {
                        has_news |= news;
                        if *instance == Instance::Previous {
                            // Not before: what the container before this one said last is asked for until it is read.
                            self.pod.restarts = restarts;
                        }
                    }
                    Ok(Err(error)) if error.is_not_found() => return self.close().await,
                    Ok(Err(error)) => self.tell(error).await,
                    Err(Unheard) => return,
                }
            }
            if has_ended {
                break;
            }
            if has_news {
                wait = FIRST_WAIT;
                continue;
            }
            tokio::select! {
                changed = state.changed() => match changed {
                    Ok(()) => wait = FIRST_WAIT,
                    Err(_pod_is_gone) => break,
                },
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
        self.close().await;
    }

    /// The logs that may have something new.
    fn unread(&self, pod: &Pod, restarts: i32) -> &'static [Instance] {
        let before = self.pod.restarts;
        if !has_started(pod) {
            return &[];
        }
        if restarts > before { &[Instance::Previous, Instance::Current] } else { &[Instance::Current] }
    }

    /// Says what went wrong, once.
    async fn tell(&mut self, error: LogsError) {
        let words = error.to_string();
        if self.told.as_ref() != Some(&words) {
            self.told = Some(words);
            // Who does not hear it does not hear the next line either, which ends this.
            let _ = self.to.send(Followed::Trouble { about: self.pod.title(), error }).await;
        }
    }

    /// Reads a log to its end; whether it said anything new.
    async fn read(&mut self, instance: Instance) -> Result<Result<bool, LogsError>, Unheard> {
        let since = self.given.reopen().map(|time| time.checked_sub(OVERLAP).unwrap_or(time));
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            previous: instance == Instance::Previous,
            follow: instance == Instance::Current,
            // Down to a whole second, or it would be rounded up.
            since_time: since.and_then(|since| Timestamp::try_from(since).ok()).and_then(whole_second),
            ..LogParams::default()
        };
        let mut log = match self.pod.open(&self.client, &params).await {
            Ok(log) => log,
            Err(error) => return Ok(Err(error)),
        };
        let mut has_news = false;
        self.rest.clear();
        loop {
            let mut line = std::mem::take(&mut self.rest);
            let read = (&mut log).take(MAX_LINE).read_until(b'\n', &mut line).await;
            if line.pop_if(|byte| *byte == b'\n').is_none() && (line.len() as u64) < MAX_LINE {
                // It broke off within the line, or at its end; the log that is opened again has it whole.
                self.rest = line;
                if let Err(error) = read {
                    tracing::debug!("the log of {} broke off: {error}", self.pod.title());
                }
                return Ok(Ok(has_news));
            }
            has_news |= self.give(line, false).await?;
        }
    }

    async fn give(&mut self, bytes: Vec<u8>, cut: bool) -> Result<bool, Unheard> {
        // An empty line says nothing.
        if bytes.is_empty() || !self.given.is_new(&bytes, (self.read_mark)(&bytes)) {
            return Ok(false);
        }
        self.to.send(Followed::Line { source: self.source, bytes, cut }).await.map_err(|_| Unheard)?;
        Ok(true)
    }

    async fn close(mut self) {
        let rest = std::mem::take(&mut self.rest);
        if self.give(rest, true).await.is_ok() {
            // Whoever does not receive it needs not know.
            let _ = self.to.send(Followed::Closed { source: self.source }).await;
        }
    }
}

fn whole_second(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(time.as_second()).ok()
}

/// Its containers run no more, and will not again.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
