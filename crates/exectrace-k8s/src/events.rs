//! Notices as Events of the cluster: bounded, at a limited rate, and never in the way of an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::notice::Notice;

/// Notices that wait to be sent.
const WAITING: usize = 64;
/// Events that may be sent at once.
const BURST: u32 = 20;
/// Afterwards, one in so long.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the API server may take for one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes a notice, without waiting.
pub type Teller = Arc<dyn Fn(Notice) + Send + Sync>;

/// A teller, and the task that sends what it is told, which ends with the last clone of the teller.
pub fn teller(client: Client, identity: String, metrics: Metrics) -> (Teller, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let counted = metrics.clone();
    let tell = move |notice| {
        if sender.try_send(notice).is_err() {
            counted.event_dropped();
        }
    };
    let recorder =
        Recorder::new(client, Reporter { controller: "exectrace-webhook".to_owned(), instance: Some(identity) });
    (Arc::new(tell), send_all(receiver, recorder, metrics))
}

async fn send_all(mut notices: mpsc::Receiver<Notice>, recorder: Recorder, metrics: Metrics) {
    let mut limit = Limit::new(Instant::now());
    while let Some(notice) = notices.recv().await {
        if !limit.allows(Instant::now()) {
            metrics.event_dropped();
            continue;
        }
        let (event, about) = event_of(&notice);
        match tokio::time::timeout(PATIENCE, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                metrics.event_dropped();
                tracing::warn!("an Event could not be sent: {error} (the webhook must be let create and patch events)");
            }
            Err(_) => {
                metrics.event_dropped();
                tracing::warn!("an Event could not be sent: the API server took too long");
            }
        }
    }
}

fn event_of(notice: &Notice) -> (Event, ObjectReference) {
    let event = Event {
        type_: EventType::Warning,
        reason: notice.reason.to_owned(),
        note: Some(notice.note.clone()),
        action: "Admission".to_owned(),
        secondary: None,
    };
    let about = &notice.about;
    let reference = ObjectReference {
        api_version: Some(about.api_version.clone()),
        kind: Some(about.kind.clone()),
        namespace: Some(about.namespace.clone()),
        name: Some(about.name.clone()),
        uid: about.uid.clone(),
        ..ObjectReference::default()
    };
    (event, reference)
}

/// At most [`BURST`] at once, and one more for each [`INTERVAL`].
struct Limit {
    left: u32,
    since: Instant,
}

impl Limit {
    fn new(now: Instant) -> Limit {
        Limit { left: BURST, since: now }
    }

    fn allows(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.since) >= INTERVAL {
            self.left += 1;
            self.since += INTERVAL;
        }
        if self.left == BURST {
            self.since = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;
    use crate::notice::About;

    fn notice(name: &str) -> Notice {
        Notice {
            about: About {
                api_version: "apps/v1".to_owned(),
                kind: "ReplicaSet".to_owned(),
                namespace: "coder".to_owned(),
                name: name.to_owned(),
                uid: Some("1".to_owned()),
            },
            reason: "WorkspaceRefused",
            note: "no".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_notice_becomes_an_event_in_its_namespace() {
        let api = FakeApi::default();
        let (tell, task) = teller(api.client(), "webhook-0".to_owned(), Metrics::default());
        tell(notice("main"));
        drop(tell);
        task.await;
        let events = api.list("/apis/events.k8s.io/v1/namespaces/coder/events/");
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["reason"], &events[0]["type"]), (&"WorkspaceRefused".into(), &"Warning".into()));
        assert_eq!(events[0]["regarding"]["kind"], "ReplicaSet");
    }

    #[tokio::test]
    async fn what_is_too_much_is_dropped_and_counted_and_nobody_waits() {
        let api = FakeApi::default();
        let metrics = Metrics::default();
        let (tell, task) = teller(api.client(), "webhook-0".to_owned(), metrics.clone());
        for index in 0..WAITING + 5 {
            tell(notice(&format!("main-{index}")));
        }
        let dropped = |metrics: &Metrics| metrics.text().expect("text").contains("events_dropped_total 5\n");
        assert!(dropped(&metrics));
        drop(tell);
        task.await;
        assert!(api.list("/apis/events.k8s.io/").len() >= BURST as usize);
    }

    #[test]
    fn the_rate_is_limited_and_recovers() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        assert!((0..BURST).all(|_| limit.allows(start)));
        assert!(!limit.allows(start));
        assert!(limit.allows(start + INTERVAL));
        assert!(!limit.allows(start + INTERVAL));
        let later = start + INTERVAL * 1000;
        assert!((0..BURST).all(|_| limit.allows(later)));
        assert!(!limit.allows(later));
    }
}
