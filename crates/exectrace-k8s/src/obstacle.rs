//! Why a pod cannot be traced, as far as its description tells. Whether the node's kernel can is another question:
//! `exectrace check` answers it there.

use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

use crate::settings::Settings;

/// The label by which nodes name their operating system.
const OS_LABEL: &str = "kubernetes.io/os";

/// Why a pod cannot be traced. As text it says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// `hostUsers: false`. From inside a user namespace no BPF program can be loaded, whatever the capabilities.
    UserNamespace,
    /// The runtime class gives the containers a kernel of their own, or one that is emulated.
    SandboxedRuntime {
        /// The pod's `runtimeClassName`.
        class: String,
    },
    /// The pod is for Windows.
    Windows,
}

impl Obstacle {
    /// Its name for machines: in the status annotation, in metrics and in events.
    pub fn reason(&self) -> &'static str {
        match self {
            Obstacle::UserNamespace => "user-namespace",
            Obstacle::SandboxedRuntime { .. } => "sandboxed-runtime",
            Obstacle::Windows => "windows",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::UserNamespace => f.write_str(
                "the pod has a user namespace of its own (hostUsers: false), and from inside one no tracer can be \
                 loaded into the kernel: leave hostUsers out, or set it to true",
            ),
            Obstacle::SandboxedRuntime { class } => write!(
                f,
                "the runtime class {class:?} runs containers behind a kernel of their own, which the node's kernel \
                 cannot see into: use a class that shares the node's kernel, or, if this one does, take it out of \
                 sandboxedRuntimeClasses in the webhook's settings",
            ),
            Obstacle::Windows => f.write_str("the pod is for Windows, and exectrace traces only Linux"),
        }
    }
}

/// The first obstacle of a pod; `None`: nothing in its description is in the way.
pub fn obstacle(spec: &PodSpec, settings: &Settings) -> Option<Obstacle> {
    if is_windows(spec) {
        return Some(Obstacle::Windows);
    }
    if let Some(class) = &spec.runtime_class_name
        && settings.sandboxed_runtime_classes.iter().any(|pattern| matches(pattern, class))
    {
        return Some(Obstacle::SandboxedRuntime { class: class.clone() });
    }
    (spec.host_users == Some(false)).then_some(Obstacle::UserNamespace)
}

fn is_windows(spec: &PodSpec) -> bool {
    let by_os = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let by_selector = spec.node_selector.as_ref().and_then(|selector| selector.get(OS_LABEL));
    by_os || by_selector.is_some_and(|os| os == "windows")
}

/// Whether `text` is what `pattern` says, in which `*` stands for anything, also for nothing.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(before) else { return false };
    // The first place where a middle piece fits leaves the most for those after it.
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodOS;

    use super::*;

    fn of(spec: &PodSpec) -> Option<&'static str> {
        obstacle(spec, &Settings::default()).map(|obstacle| obstacle.reason())
    }

    #[test]
    fn an_ordinary_pod_has_none() {
        assert_eq!(of(&PodSpec::default()), None);
        assert_eq!(of(&PodSpec { host_users: Some(true), ..PodSpec::default() }), None);
        assert_eq!(of(&PodSpec { runtime_class_name: Some("nvidia".to_owned()), ..PodSpec::default() }), None);
    }

    #[test]
    fn a_user_namespace_is_one() {
        assert_eq!(of(&PodSpec { host_users: Some(false), ..PodSpec::default() }), Some("user-namespace"));
    }

    #[test]
    fn a_sandboxed_runtime_is_one_and_the_settings_say_which_are() {
        for class in ["gvisor", "kata", "kata-qemu", "sysbox-runc"] {
            let spec = PodSpec { runtime_class_name: Some(class.to_owned()), ..PodSpec::default() };
            assert_eq!(of(&spec), Some("sandboxed-runtime"), "{class}");
            let settings = Settings { sandboxed_runtime_classes: Vec::new(), ..Settings::default() };
            assert_eq!(obstacle(&spec, &settings), None);
        }
    }

    #[test]
    fn windows_is_one_in_both_ways_to_say_it() {
        let os = PodSpec { os: Some(PodOS { name: "windows".to_owned() }), ..PodSpec::default() };
        assert_eq!(of(&os), Some("windows"));
        let selector = [(OS_LABEL.to_owned(), "windows".to_owned())].into();
        assert_eq!(of(&PodSpec { node_selector: Some(selector), ..PodSpec::default() }), Some("windows"));
        let os = PodSpec { os: Some(PodOS { name: "linux".to_owned() }), ..PodSpec::default() };
        assert_eq!(of(&os), None);
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [("kata*", "kata"), ("*", ""), ("*-fc", "kata-fc"), ("a*b*c", "a-b-b-c"), ("*a*", "bab")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("kata", "kata-qemu"), ("kata*", "my-kata"), ("a*b*c", "a-c"), ("ab*b", "ab")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
