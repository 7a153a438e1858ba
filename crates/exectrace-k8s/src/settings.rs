//! What the webhook adds to pods, as an admin sets it: a YAML file, in which an unknown key is an error.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::quantity;

/// Everything that decides what a pod gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Whether pods get the sidecar at all. With a cluster, the object of kind `ProcessLogging` says it instead.
    pub enabled: bool,
    /// The image of exectrace.
    pub image: String,
    /// When to pull it; `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// What kind of container is added.
    pub mode: Mode,
    /// What becomes of pods that cannot be traced.
    pub untraceable: Untraceable,
    /// Runtime classes whose containers have a kernel of their own, which the node's cannot see into; `*` stands for
    /// anything.
    pub sandboxed_runtime_classes: Vec<String>,
    /// Init containers that another webhook may put before ours. What they execute is not logged, and one that never ends
    /// would keep the tracer from starting; so a pod with any other there is refused.
    pub init_containers_before: Vec<String>,
    /// Adds SYS_RESOURCE, which kernels before 5.11 want for BPF's memory.
    pub sys_resource: bool,
    /// Requests and limits of the sidecar. In a pod of the class Guaranteed the limits are its requests, too.
    pub resources: ResourceRequirements,
    /// How many seconds the sidecar may take to attach until the kubelet starts it anew.
    pub startup_seconds: u32,
    /// Room on the node's disk for lines that wait for a place over the network, which such sinks in `args` need, as a
    /// quantity; empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub spool_size: String,
    /// Further flags of `exectrace sidecar`.
    pub args: Vec<String>,
    /// Labels for every line, beside those of the pod.
    pub labels: BTreeMap<String, String>,
}

/// What kind of container is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `initContainers[0]` with `restartPolicy: Always`, of Kubernetes 1.29 and later.
    NativeSidecar,
    /// An ordinary container, which may start after the workspace's.
    Container,
}

/// What becomes of pods that cannot be traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Untraceable {
    /// They are refused.
    Refuse,
    /// They are let in without a sidecar; a warning and an annotation say so.
    Admit,
}

/// Value of [`crate::names::STATUS_ANNOTATION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// Version of the webhook.
    pub version: String,
    /// What was added; `None`: nothing was.
    pub mode: Option<Mode>,
    /// [`Settings::hash`].
    pub settings: String,
    /// Why nothing was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        let list = |cpu: &str, memory: &str| {
            let pairs = [("cpu", cpu), ("memory", memory)];
            Some(pairs.into_iter().map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).collect())
        };
        Settings {
            enabled: true,
            image: format!("exectrace:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: "IfNotPresent".to_owned(),
            mode: Mode::NativeSidecar,
            untraceable: Untraceable::Refuse,
            sandboxed_runtime_classes: ["gvisor", "runsc", "kata*", "sysbox*"].map(str::to_owned).to_vec(),
            init_containers_before: Vec::new(),
            sys_resource: false,
            resources: ResourceRequirements {
                requests: list("10m", "64Mi"),
                limits: list("500m", "128Mi"),
                ..ResourceRequirements::default()
            },
            startup_seconds: 120,
            spool_size: String::new(),
            args: Vec::new(),
            labels: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads a YAML file's text.
    pub fn parse(text: &str) -> anyhow::Result<Settings> {
        let settings: Settings = serde_saphyr::from_str(text)?;
        settings.check()?;
        Ok(settings)
    }

    /// What the API server would refuse of every pod is better refused here, once.
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.image.trim().is_empty(), "image is empty: name exectrace's image");
        anyhow::ensure!(
            ["Always", "IfNotPresent", "Never"].contains(&self.image_pull_policy.as_str()),
            "imagePullPolicy is {:?}: it is Always, IfNotPresent or Never",
            self.image_pull_policy
        );
        anyhow::ensure!(self.startup_seconds > 0, "startupSeconds is 0: no sidecar starts that fast");
        let size = &self.spool_size;
        let is_amount = quantity::milli(&Quantity(size.clone())).is_some_and(|amount| amount > 0);
        anyhow::ensure!(size.is_empty() || is_amount, "spoolSize is {size:?}: it is a quantity, as 512Mi");
        for name in self.labels.keys() {
            anyhow::ensure!(
                !name.is_empty() && !name.contains('='),
                "labels has {name:?}: a name is not empty and has no ="
            );
        }
        let resources = &self.resources;
        for (name, amount) in resources.requests.iter().chain(&resources.limits).flatten() {
            anyhow::ensure!(
                quantity::milli(amount).is_some(),
                "resources has {name}: {:?}, which is no quantity",
                amount.0
            );
        }
        for (name, limit) in resources.limits.iter().flatten() {
            let request = resources.requests.as_ref().and_then(|requests| requests.get(name));
            anyhow::ensure!(
                request.is_none_or(|request| quantity::milli(request) <= quantity::milli(limit)),
                "resources requests more {name} than its limit"
            );
        }
        Ok(())
    }

    /// The first 16 hexadecimal digits of a hash over all that decides what a pod gets: two pods with the same one got
    /// the same. The switch itself is not in it.
    pub fn hash(&self) -> String {
        let Ok(text) = serde_json::to_vec(&Settings { enabled: true, ..self.clone() }) else { return String::new() };
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = Settings::parse("image: example.com/exectrace:1\nmode: container\n").expect("settings");
        assert_eq!((settings.image.as_str(), settings.mode), ("example.com/exectrace:1", Mode::Container));
        assert_eq!(settings.untraceable, Untraceable::Refuse);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = Settings::parse("imgae: x\n").expect_err("a typo").to_string();
        assert!(error.contains("imgae"), "{error}");
    }

    #[test]
    fn what_no_pod_could_have_is_an_error_that_names_it() {
        for (text, name) in [
            ("image: ''", "image"),
            ("imagePullPolicy: Sometimes", "imagePullPolicy"),
            ("startupSeconds: 0", "startupSeconds"),
            ("labels: {a=b: c}", "labels"),
            ("resources: {limits: {cpu: much}}", "cpu"),
            ("resources: {requests: {cpu: '2'}, limits: {cpu: 1500m}}", "cpu"),
        ] {
            let error = Settings::parse(text).expect_err(text).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_hash_is_of_what_a_pod_gets() {
        let settings = Settings::default();
        assert_eq!(settings.hash(), Settings { enabled: false, ..settings.clone() }.hash());
        assert_ne!(settings.hash(), Settings { sys_resource: true, ..settings.clone() }.hash());
        assert_eq!(settings.hash().len(), 16);
    }
}
