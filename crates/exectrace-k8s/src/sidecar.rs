//! The container that is added to a pod, and its volumes.
//!
//! What the API server fills in where nothing is said is said here, so that a pod which comes back to the webhook has
//! the container as it was given, and `likeness` need not know the defaults.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, ExecAction, ObjectFieldSelector, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::names::{
    CONTAINER, NODE_VARIABLE, POD_INFO_FOLDER, POD_INFO_VOLUME, POD_UID_VARIABLE, READY_SOCKET, RUN_FOLDER, RUN_VOLUME,
    SPOOL_FOLDER, SPOOL_VOLUME, TOKEN_FOLDER,
};
use crate::settings::{Mode, Settings};

/// The program, in an image that has nothing else.
const PROGRAM: &str = "/exectrace";
/// Mode of the files of [`POD_INFO_VOLUME`].
const READABLE_BY_ALL: i32 = 0o644;

/// The container. `guaranteed` says that the pod is of the class Guaranteed, which holds only while the requests of
/// every container are its limits.
pub fn container(settings: &Settings, guaranteed: bool) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(arguments(settings)),
        env: Some(vec![from_field(POD_UID_VARIABLE, "metadata.uid"), from_field(NODE_VARIABLE, "spec.nodeName")]),
        resources: Some(resources(&settings.resources, guaranteed)),
        restart_policy: (settings.mode == Mode::NativeSidecar).then(|| "Always".to_owned()),
        security_context: Some(security_context(settings.sys_resource)),
        startup_probe: Some(startup_probe(settings)),
        termination_message_path: Some("/dev/termination-log".to_owned()),
        // Why a node cannot trace is then in the pod's status, without a look into the log.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts(settings)),
        ..Container::default()
    }
}

/// The volumes that [`container`] mounts.
pub fn volumes(settings: &Settings) -> Vec<Volume> {
    let file = |path: &str, field: &str| DownwardAPIVolumeFile {
        path: path.to_owned(),
        field_ref: Some(field_of_pod(field)),
        ..DownwardAPIVolumeFile::default()
    };
    let size = Some(Quantity(settings.spool_size.clone()));
    let spool = has_spool(settings).then(|| Volume {
        name: SPOOL_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: size, ..EmptyDirVolumeSource::default() }),
        ..Volume::default()
    });
    let ours = [
        Volume {
            name: RUN_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity("1Mi".to_owned())),
            }),
            ..Volume::default()
        },
        Volume {
            name: POD_INFO_VOLUME.to_owned(),
            downward_api: Some(DownwardAPIVolumeSource {
                default_mode: Some(READABLE_BY_ALL),
                items: Some(vec![
                    file("labels", "metadata.labels"),
                    file("annotations", "metadata.annotations"),
                    file("name", "metadata.name"),
                    file("namespace", "metadata.namespace"),
                ]),
            }),
            ..Volume::default()
        },
    ];
    ours.into_iter().chain(spool).collect()
}

fn has_spool(settings: &Settings) -> bool {
    !settings.spool_size.is_empty()
}

fn arguments(settings: &Settings) -> Vec<String> {
    let labels = settings.labels.iter().map(|(name, value)| format!("--label={name}={value}"));
    let ours = [
        "sidecar".to_owned(),
        format!("--pod-uid=$({POD_UID_VARIABLE})"),
        format!("--node=$({NODE_VARIABLE})"),
        format!("--pod-info={POD_INFO_FOLDER}"),
        format!("--ready-socket={READY_SOCKET}"),
    ];
    let spool = has_spool(settings).then(|| format!("--spool={SPOOL_FOLDER}"));
    ours.into_iter()
        .chain(spool)
        .chain(labels.chain(settings.args.iter().cloned()).map(|text| literal(&text)))
        .collect()
}

/// Kubernetes puts a variable's value in the place of `$(NAME)`, and makes one `$` of two.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn field_of_pod(path: &str) -> ObjectFieldSelector {
    ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() }
}

/// An environment variable that the downward API fills.
pub(crate) fn from_field(name: &str, path: &str) -> EnvVar {
    let source = EnvVarSource { field_ref: Some(field_of_pod(path)), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

/// The requests and limits, as the API server completes them: a limit without a request is one.
fn resources(wanted: &ResourceRequirements, guaranteed: bool) -> ResourceRequirements {
    let mut requests = wanted.requests.clone().unwrap_or_default();
    let mut limits = wanted.limits.clone().unwrap_or_default();
    for (name, limit) in &limits {
        let request = requests.entry(name.clone()).or_insert_with(|| limit.clone());
        if guaranteed {
            *request = limit.clone();
        }
    }
    if guaranteed {
        for (name, request) in &requests {
            limits.entry(name.clone()).or_insert_with(|| request.clone());
        }
    }
    let unless_empty = |list: BTreeMap<String, Quantity>| Some(list).filter(|list| !list.is_empty());
    ResourceRequirements { requests: unless_empty(requests), limits: unless_empty(limits), ..wanted.clone() }
}

/// What tracing needs and nothing more.
pub(crate) fn security_context(sys_resource: bool) -> SecurityContext {
    let needed = ["BPF", "PERFMON"].into_iter().chain(sys_resource.then_some("SYS_RESOURCE"));
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: Some(needed.map(str::to_owned).collect()),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        // Capabilities that are added reach only a process of root's: there are no ambient ones in Kubernetes.
        run_as_user: Some(0),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..SecurityContext::default()
    }
}

/// Succeeds once the tracer is attached; until then the kubelet starts no container after this one. Over a socket file
/// and not over the network, which the workspace shares.
fn startup_probe(settings: &Settings) -> Probe {
    Probe {
        exec: Some(ExecAction { command: Some(vec![PROGRAM.to_owned(), "probe".to_owned(), READY_SOCKET.to_owned()]) }),
        period_seconds: Some(1),
        failure_threshold: Some(i32::try_from(settings.startup_seconds).unwrap_or(i32::MAX)),
        timeout_seconds: Some(1),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn mounts(settings: &Settings) -> Vec<VolumeMount> {
    let mount = |volume: &str, path: &str| VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let spool = has_spool(settings).then(|| mount(SPOOL_VOLUME, SPOOL_FOLDER));
    let ours = [
        mount(RUN_VOLUME, RUN_FOLDER),
        VolumeMount { read_only: Some(true), ..mount(POD_INFO_VOLUME, POD_INFO_FOLDER) },
        // The API server asks its ServiceAccount plugin again after a webhook has changed a pod, and that mounts the
        // workspace's token into every container which has nothing mounted in this place.
        VolumeMount { read_only: Some(true), sub_path: Some("no-token".to_owned()), ..mount(RUN_VOLUME, TOKEN_FOLDER) },
    ];
    ours.into_iter().chain(spool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_settings_say_is_not_expanded() {
        let settings = Settings {
            labels: [("cost".to_owned(), "$(EXECTRACE_POD_UID) $$".to_owned())].into(),
            args: vec!["--x=$(A)".to_owned()],
            ..Settings::default()
        };
        let args = container(&settings, false).args.expect("arguments");
        assert_eq!(args[1], "--pod-uid=$(EXECTRACE_POD_UID)");
        assert_eq!(args[5..], ["--label=cost=$$(EXECTRACE_POD_UID) $$$$", "--x=$$(A)"]);
    }

    #[test]
    fn only_two_capabilities_are_added_unless_the_settings_say_a_third() {
        let added = |settings: &Settings| {
            container(settings, false).security_context.and_then(|context| context.capabilities).and_then(|c| c.add)
        };
        assert_eq!(added(&Settings::default()).expect("capabilities"), ["BPF", "PERFMON"]);
        let old = Settings { sys_resource: true, ..Settings::default() };
        assert_eq!(added(&old).expect("capabilities"), ["BPF", "PERFMON", "SYS_RESOURCE"]);
    }

    #[test]
    fn a_spool_is_there_where_the_settings_give_it_room() {
        let without = Settings::default();
        let with = Settings { spool_size: "512Mi".to_owned(), ..Settings::default() };
        let names = |settings: &Settings| volumes(settings).into_iter().map(|volume| volume.name).collect::<Vec<_>>();
        assert!(!names(&without).contains(&SPOOL_VOLUME.to_owned()));
        assert!(names(&with).contains(&SPOOL_VOLUME.to_owned()));
        let container = container(&with, false);
        let mounted = container.volume_mounts.into_iter().flatten().find(|mount| mount.name == SPOOL_VOLUME);
        assert_eq!(mounted.map(|mount| mount.mount_path).as_deref(), Some(SPOOL_FOLDER));
        assert!(container.args.into_iter().flatten().any(|flag| flag == format!("--spool={SPOOL_FOLDER}")));
        assert_ne!(without.hash(), with.hash());
    }

    #[test]
    fn in_a_guaranteed_pod_requests_are_limits() {
        let plain = container(&Settings::default(), false).resources.expect("resources");
        assert_ne!(plain.requests, plain.limits);
        let guaranteed = container(&Settings::default(), true).resources.expect("resources");
        assert_eq!(guaranteed.requests, guaranteed.limits);
        assert_eq!(guaranteed.limits, plain.limits);

        let list = |name: &str| Some(BTreeMap::from([(name.to_owned(), Quantity("1".to_owned()))]));
        let half = ResourceRequirements { requests: list("cpu"), limits: list("memory"), ..Default::default() };
        let completed = resources(&half, true);
        assert_eq!(completed.requests, completed.limits);
        assert_eq!(completed.limits.expect("limits").len(), 2);
    }

    #[test]
    fn an_ordinary_container_has_no_restart_policy_of_its_own() {
        let settings = Settings { mode: Mode::Container, ..Settings::default() };
        assert_eq!(container(&settings, false).restart_policy, None);
        assert_eq!(container(&Settings::default(), false).restart_policy.as_deref(), Some("Always"));
    }
}
