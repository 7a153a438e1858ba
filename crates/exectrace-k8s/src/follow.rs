//! The switch as the cluster holds it, followed while the webhook runs.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use crate::api::ProcessLogging;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::names::SWITCH;

/// Keeps the switch of `live` as the cluster has it, for ever. While the API server cannot be reached, the last that
/// was known holds.
pub async fn follow(client: Client, live: Arc<Live>, metrics: Metrics) {
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={SWITCH}"));
    let mut events = pin!(watcher(Api::<ProcessLogging>::all(client), only_ours).default_backoff());
    let mut follower = Follower::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(enabled) = follower.learn(&event) {
                    switch(&live, &metrics, enabled);
                }
            }
            Err(error) => tracing::warn!(
                "whether process logging is switched on cannot be asked: {error} (is the kind ProcessLogging installed, \
                 and may the webhook list and watch it?)"
            ),
        }
    }
}

fn switch(live: &Live, metrics: &Metrics, enabled: bool) {
    if live.enabled() != Some(enabled) {
        tracing::info!(enabled, "the switch of process logging is known");
    }
    live.set_switch(enabled);
    metrics.switched(enabled);
}

/// What was seen since the watch began anew.
#[derive(Default)]
struct Follower {
    listed: bool,
}

impl Follower {
    /// What an event says of the switch. Without the object it is off; but that it is missing is known only when the
    /// list has come to its end.
    fn learn(&mut self, event: &watcher::Event<ProcessLogging>) -> Option<bool> {
        match event {
            watcher::Event::Init => {
                self.listed = false;
                None
            }
            watcher::Event::InitApply(object) => {
                self.listed |= is_ours(object);
                enabled_by(object)
            }
            watcher::Event::InitDone => (!self.listed).then_some(false),
            watcher::Event::Apply(object) => enabled_by(object),
            watcher::Event::Delete(object) => is_ours(object).then_some(false),
        }
    }
}

fn is_ours(object: &ProcessLogging) -> bool {
    object.metadata.name.as_deref() == Some(SWITCH)
}

fn enabled_by(object: &ProcessLogging) -> Option<bool> {
    is_ours(object).then_some(object.spec.enabled)
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::api::ProcessLoggingSpec;

    fn object(name: &str, enabled: bool) -> ProcessLogging {
        ProcessLogging::new(name, ProcessLoggingSpec { enabled })
    }

    fn after(events: &[Event<ProcessLogging>]) -> Option<bool> {
        let mut follower = Follower::default();
        events.iter().filter_map(|event| follower.learn(event)).last()
    }

    #[test]
    fn the_switch_is_off_while_there_is_no_object() {
        assert_eq!(after(&[Event::Init]), None);
        assert_eq!(after(&[Event::Init, Event::InitDone]), Some(false));
        let deleted = Event::Delete(object(SWITCH, true));
        assert_eq!(
            after(&[Event::Init, Event::InitApply(object(SWITCH, true)), Event::InitDone, deleted]),
            Some(false)
        );
    }

    #[test]
    fn the_switch_is_what_the_object_says() {
        assert_eq!(after(&[Event::Init, Event::InitApply(object(SWITCH, true)), Event::InitDone]), Some(true));
        assert_eq!(after(&[Event::Init, Event::InitDone, Event::Apply(object(SWITCH, true))]), Some(true));
    }

    #[test]
    fn another_object_says_nothing() {
        assert_eq!(after(&[Event::Init, Event::InitApply(object("other", true)), Event::InitDone]), Some(false));
        assert_eq!(after(&[Event::Apply(object("other", true)), Event::Delete(object("other", true))]), None);
    }
}
