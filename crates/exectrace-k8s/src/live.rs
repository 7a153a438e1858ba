//! What holds at the moment: the settings, whose file may change, and the switch, which the cluster may hold.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::settings::Settings;

/// Who holds the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchHolder {
    /// `enabled` of the settings.
    Settings,
    /// The object of kind `ProcessLogging` in the cluster. Until it was asked for, the switch is not known.
    Cluster,
}

/// Settings and switch, which other tasks change while questions are answered.
#[derive(Debug)]
pub struct Live {
    settings: watch::Sender<Arc<Settings>>,
    holder: SwitchHolder,
    switch: ArcSwapOption<bool>,
}

impl Live {
    /// Begins with these settings.
    pub fn new(settings: Settings, holder: SwitchHolder) -> Live {
        Live { settings: watch::Sender::new(Arc::new(settings)), holder, switch: ArcSwapOption::empty() }
    }

    /// The settings without the switch.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The settings without the switch, for who wants to know of changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// Whether the switch is on; `None`: not known yet.
    pub fn enabled(&self) -> Option<bool> {
        match self.holder {
            SwitchHolder::Settings => Some(self.settings.borrow().enabled),
            SwitchHolder::Cluster => self.switch.load().as_deref().copied(),
        }
    }

    /// The settings with the switch in [`Settings::enabled`]; `None`: the switch is not known yet.
    pub(crate) fn in_force(&self) -> Option<Arc<Settings>> {
        let enabled = self.enabled()?;
        let settings = self.settings();
        Some(if settings.enabled == enabled { settings } else { Arc::new(Settings { enabled, ..(*settings).clone() }) })
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    pub(crate) fn set_switch(&self, enabled: bool) {
        self.switch.store(Some(Arc::new(enabled)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_hold_the_switch_without_a_cluster() {
        let live = Live::new(Settings::default(), SwitchHolder::Settings);
        assert_eq!(live.enabled(), Some(true));
        let changes = live.subscribe();
        live.set_settings(Settings { enabled: false, ..Settings::default() });
        assert!(changes.has_changed().expect("a sender"));
        assert_eq!(live.in_force().map(|settings| settings.enabled), Some(false));
    }

    #[test]
    fn with_a_cluster_nothing_is_known_until_it_was_asked() {
        let live = Live::new(Settings::default(), SwitchHolder::Cluster);
        assert_eq!((live.enabled(), live.in_force()), (None, None));
        live.set_switch(false);
        assert_eq!(live.in_force().map(|settings| settings.enabled), Some(false));
        live.set_switch(true);
        assert_eq!(live.in_force().map(|settings| settings.enabled), Some(true));
    }
}
