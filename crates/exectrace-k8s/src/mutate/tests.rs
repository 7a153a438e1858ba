//! Pods of all kinds, made by chance: what comes back still has all that was there, and the second question gets
//! nothing more. Pods as an API server sends them are in `tests/reviews`.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), any::<bool>(), btree_map("[a-z]{1,8}", ".{0,20}", 0..3), vec(".{0,20}", 0..3)).prop_map(
        |(native, sys_resource, labels, args)| Settings {
            mode: if native { Mode::NativeSidecar } else { Mode::Container },
            sys_resource,
            labels,
            args,
            ..Settings::default()
        },
    )
}

/// Members with a value, a null or nothing.
fn maybe(strategy: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    option::of(prop_oneof![4 => strategy, 1 => Just(Value::Null)])
}

fn object(members: Vec<(&str, Option<Value>)>) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}

fn resources() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        Just(json!({"requests": {"cpu": "500m", "memory": "1024Mi"}, "limits": {"cpu": "0.5", "memory": "1Gi"}})),
        Just(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}})),
    ]
}

fn container() -> impl Strategy<Value = Value> {
    ("[a-z]{1,5}", maybe(resources()), maybe(Just(json!([]))), any::<Option<bool>>()).prop_map(
        |(name, resources, mounts, privileged)| {
            object(vec![
                ("name", Some(json!(name))),
                ("image", Some(json!("example.com/dev"))),
                ("resources", resources),
                ("volumeMounts", mounts),
                ("securityContext", privileged.map(|privileged| json!({"privileged": privileged}))),
                ("aFieldOfTheFuture", Some(json!({"kept": [1, null]}))),
            ])
        },
    )
}

fn list(elements: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec(elements, 0..4).prop_map(Value::Array)
}

fn strings() -> impl Strategy<Value = Value> {
    btree_map("[a-z~/.]{1,10}|exectrace.dev/status", ".{0,10}", 0..4).prop_map(|map| json!(map))
}

fn pod() -> impl Strategy<Value = Value> {
    let metadata = (maybe(strings()), maybe(strings()), any::<bool>()).prop_map(|(labels, annotations, generated)| {
        let name = if generated { "generateName" } else { "name" };
        object(vec![("labels", labels), ("annotations", annotations), (name, Some(json!("main-")))])
    });
    let volumes = maybe(list(Just(json!({"name": "home", "emptyDir": {}}))));
    let spec =
        (list(container()), maybe(list(container())), volumes, any::<Option<bool>>(), option::of("Always|Never"))
            .prop_map(|(containers, init_containers, volumes, host_pid, restart_policy)| {
                object(vec![
                    ("containers", Some(containers)),
                    ("initContainers", init_containers),
                    ("volumes", volumes),
                    ("hostPID", host_pid.map(Value::Bool)),
                    ("restartPolicy", restart_policy.map(Value::String)),
                    ("aFieldOfTheFuture", Some(json!(7))),
                ])
            });
    (option::of(metadata), spec).prop_map(|(metadata, spec)| {
        let (version, kind) = (Some(json!("v1")), Some(json!("Pod")));
        object(vec![("apiVersion", version), ("kind", kind), ("metadata", metadata), ("spec", Some(spec))])
    })
}

fn admission(pod: &Value, settings: &Settings) -> Admission {
    match mutate(pod, settings) {
        Outcome::Admitted(admission) => admission,
        other => panic!("{other:?}"),
    }
}

fn patched(pod: &Value, patch: &[Operation]) -> Value {
    let mut patched = pod.clone();
    let patch = serde_json::from_value::<json_patch::Patch>(json!(patch)).expect("a JSON patch");
    json_patch::patch(&mut patched, &patch).expect("a patch that fits");
    patched
}

/// What the API server and its plugins do to a pod between two questions.
fn defaulted(mut pod: Value) -> Value {
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            container["resizePolicy"] = json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
            container["imagePullPolicy"] = json!("Always");
            let requests = &mut container["resources"]["requests"];
            if requests["cpu"] == "0.5" {
                requests["cpu"] = json!("500m");
            }
            requests["ephemeral-storage"] = json!("1Gi");
        }
    }
    let volume = json!({"name": "kube-api-access-x", "projected": {"sources": []}});
    pod["spec"]["volumes"].as_array_mut().expect("volumes").push(volume);
    pod
}

/// The pod without what the webhook adds.
fn without_ours(mut pod: Value) -> Value {
    let ours = [CONTAINER, RUN_VOLUME, POD_INFO_VOLUME];
    for list in ["initContainers", "containers", "volumes"] {
        if let Some(list) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) {
            list.retain(|element| !ours.iter().any(|name| element["name"] == *name));
        }
    }
    if let Some(annotations) = pod.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(STATUS_ANNOTATION);
    }
    pod
}

/// What is empty, null or missing is the same.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_empty(value)));
            Value::Object(members.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The class of a pod with our container counted as any other.
fn whole_class(mut pod: Value) -> Class {
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if container["name"] == CONTAINER {
                container["name"] = json!("another");
            }
        }
    }
    class(&decoded(&pod).expect("a pod"))
}

proptest! {
    #[test]
    fn the_second_question_gets_nothing_more(pod in pod(), settings in settings()) {
        let first = admission(&pod, &settings);
        let once = patched(&pod, &first.patch);
        prop_assert_eq!(admission(&once, &settings).patch, vec![]);
        prop_assert_eq!(admission(&defaulted(once), &settings).patch, vec![]);
    }

    #[test]
    fn all_that_was_there_still_is(pod in pod(), settings in settings()) {
        let patched = patched(&pod, &admission(&pod, &settings).patch);
        prop_assert!(decoded(&patched).is_ok());
        prop_assert_eq!(without_empty(without_ours(patched)), without_empty(without_ours(pod)));
    }

    #[test]
    fn a_guaranteed_pod_stays_one(pod in pod(), settings in settings()) {
        let patched = patched(&pod, &admission(&pod, &settings).patch);
        prop_assert_eq!(whole_class(patched), whole_class(pod));
    }

    #[test]
    fn the_tracer_comes_first(pod in pod()) {
        let patched = patched(&pod, &admission(&pod, &Settings::default()).patch);
        prop_assert_eq!(&patched["spec"]["initContainers"][0]["name"], CONTAINER);
    }

    #[test]
    fn nothing_but_a_pod_is_admitted(value in prop_oneof![".*".prop_map(Value::String), any::<i64>().prop_map(|n| json!(n)), list(container())]) {
        let refused = matches!(mutate(&value, &Settings::default()), Outcome::Refused(Refusal { reason: MALFORMED, .. }));
        prop_assert!(refused);
        let refused = matches!(mutate(&json!({"spec": value}), &Settings::default()), Outcome::Refused(_));
        prop_assert!(refused);
    }
}

fn small_pod() -> Value {
    json!({"metadata": {"name": "main"}, "spec": {"containers": [{"name": "dev"}]}})
}

fn refusal(pod: &Value) -> Refusal {
    match mutate(pod, &Settings::default()) {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ours_with_anything_changed_is_an_impostor() {
    let settings = Settings::default();
    let pod = small_pod();
    let ours = patched(&pod, &admission(&pod, &settings).patch);
    for (path, value) in [
        ("command", json!(["/bin/sleep"])),
        ("args", json!(["sidecar"])),
        ("image", json!("example.com/other")),
        ("lifecycle", json!({"postStart": {"exec": {"command": ["/exectrace"]}}})),
        ("env", json!([{"name": "EXECTRACE_LOG_FORMAT", "value": "text"}])),
        ("restartPolicy", json!("Never")),
        ("startupProbe", Value::Null),
        ("securityContext", json!({"privileged": true})),
        ("volumeMounts", json!([])),
        ("aFieldOfTheFuture", json!(true)),
    ] {
        let mut changed = ours.clone();
        changed["spec"]["initContainers"][0][path] = value;
        let refusal = refusal(&changed);
        assert_eq!(refusal.reason, IMPOSTOR);
        assert!(refusal.message.contains(path), "{}", refusal.message);
    }
}

#[test]
fn ours_in_another_list_or_twice_is_an_impostor() {
    let settings = Settings::default();
    let container = json!(sidecar::container(&settings, false));
    for list in ["containers", "ephemeralContainers"] {
        let mut pod = small_pod();
        pod["spec"][list] = json!([container]);
        assert_eq!(refusal(&pod).reason, IMPOSTOR);
    }
    let mut pod = small_pod();
    pod["spec"]["initContainers"] = json!([container, container]);
    assert!(refusal(&pod).message.contains("two containers"));
}

#[test]
fn our_volumes_are_ours_alone() {
    let mut pod = small_pod();
    pod["spec"]["volumes"] = json!([{"name": RUN_VOLUME, "hostPath": {"path": "/run"}}]);
    assert!(refusal(&pod).message.contains(RUN_VOLUME));
    let mut pod = small_pod();
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": RUN_VOLUME, "mountPath": "/mnt"}]);
    assert!(refusal(&pod).message.contains("\"dev\""));
}

#[test]
fn the_form_of_before_is_ours_if_the_class_of_the_pod_has_changed_since() {
    let settings = Settings::default();
    let mut pod = small_pod();
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let mut ours = patched(&pod, &admission(&pod, &settings).patch);
    ours["spec"]["containers"].as_array_mut().expect("containers").push(json!({"name": "proxy"}));
    assert_eq!(admission(&ours, &settings).patch, vec![]);
}

#[test]
fn what_would_run_before_the_tracer_is_refused() {
    let mut ours = patched(&small_pod(), &admission(&small_pod(), &Settings::default()).patch);
    ours["spec"]["initContainers"].as_array_mut().expect("init containers").insert(0, json!({"name": "for-ever"}));
    let refused = refusal(&ours);
    assert_eq!(refused.reason, NOT_FIRST);
    assert!(refused.message.contains("for-ever") && refused.message.contains("initContainersBefore"), "{refused:?}");
}

#[test]
fn who_may_come_first_gets_a_warning() {
    let settings = Settings { init_containers_before: vec!["proxy".to_owned()], ..Settings::default() };
    let pod = small_pod();
    let mut ours = patched(&pod, &admission(&pod, &settings).patch);
    ours["spec"]["initContainers"].as_array_mut().expect("init containers").insert(0, json!({"name": "proxy"}));
    let second = admission(&ours, &settings);
    assert_eq!((second.patch.len(), second.warnings.len()), (0, 1));
}

#[test]
fn a_stamp_of_somebody_else_is_replaced() {
    let mut pod = small_pod();
    pod["metadata"]["annotations"] = json!({STATUS_ANNOTATION: "traced, I promise"});
    let patched = patched(&pod, &admission(&pod, &Settings::default()).patch);
    let stamp = patched["metadata"]["annotations"][STATUS_ANNOTATION].as_str().expect("text");
    let stamp: Stamp = serde_json::from_str(stamp).expect("a stamp");
    assert_eq!((stamp.mode, stamp.settings), (Some(Mode::NativeSidecar), Settings::default().hash()));
}

#[test]
fn an_untraceable_pod_is_refused_or_stamped() {
    let mut pod = small_pod();
    pod["spec"]["hostUsers"] = json!(false);
    assert_eq!(refusal(&pod).reason, "user-namespace");
    let settings = Settings { untraceable: Untraceable::Admit, ..Settings::default() };
    let admitted = admission(&pod, &settings);
    assert_eq!((admitted.untraced, admitted.warnings.len()), (Some("user-namespace"), 1));
    let patched = patched(&pod, &admitted.patch);
    assert_eq!(without_ours(patched.clone())["spec"], pod["spec"]);
    assert_eq!(admission(&patched, &settings).patch, vec![]);
}

#[test]
fn no_label_or_annotation_opts_out() {
    let mut pod = small_pod();
    let off = json!({"exectrace.dev/workspaces": "false", "exectrace.dev/inject": "false", "exectrace": "disabled"});
    (pod["metadata"]["labels"], pod["metadata"]["annotations"]) = (off.clone(), off);
    assert!(!admission(&pod, &Settings::default()).patch.is_empty());
}

#[test]
fn switched_off_all_pods_are_let_in_as_they_are() {
    let settings = Settings { enabled: false, ..Settings::default() };
    let mut pod = small_pod();
    pod["spec"]["containers"][0]["name"] = json!(CONTAINER);
    assert_eq!(mutate(&pod, &settings), Outcome::Untouched(Untouched::SwitchedOff));
}
