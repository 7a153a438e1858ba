//! The quality-of-service class that the kubelet will give a pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::names::CONTAINER;
use crate::quantity;

/// What counts for the class.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The class by the pod's containers, without exectrace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Every container has limits, and its requests are its limits.
    Guaranteed,
    /// Another, which one more container with requests does not change for the worse; or the pod's own resources say
    /// the class, and no container's do.
    Other,
}

/// Works the class out.
pub(crate) fn class(spec: &PodSpec) -> Class {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut others = containers.filter(|container| container.name != CONTAINER).peekable();
    let by_containers = others.peek().is_some()
        && others.all(|container| container.resources.as_ref().is_some_and(requests_are_limits));
    if by_containers && !has_resources_of_its_own(spec) { Class::Guaranteed } else { Class::Other }
}

fn has_resources_of_its_own(spec: &PodSpec) -> bool {
    let Some(resources) = &spec.resources else { return false };
    COUNTED.iter().any(|name| amount(&resources.requests, name).is_some() || amount(&resources.limits, name).is_some())
}

fn requests_are_limits(resources: &ResourceRequirements) -> bool {
    COUNTED.iter().all(|name| match (amount(&resources.requests, name), amount(&resources.limits, name)) {
        (Some(request), Some(limit)) => quantity::same(request, limit),
        // The API server takes the limit for the request.
        (None, Some(_)) => true,
        (_, None) => false,
    })
}

/// An amount other than zero.
fn amount<'a>(list: &'a Option<BTreeMap<String, Quantity>>, name: &str) -> Option<&'a Quantity> {
    list.as_ref()?.get(name).filter(|amount| quantity::milli(amount) != Some(0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Class {
        class(&serde_json::from_value(spec).expect("a spec"))
    }

    fn container(resources: Value) -> Value {
        json!({"name": "dev", "resources": resources})
    }

    #[test]
    fn a_pod_is_guaranteed_if_the_requests_of_every_container_are_its_limits() {
        let equal = container(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "memory": "1Gi"}}));
        let unequal =
            container(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}));
        assert_eq!(of(json!({"containers": [equal]})), Class::Guaranteed);
        assert_eq!(of(json!({"containers": [unequal]})), Class::Other);
        assert_eq!(of(json!({"containers": [equal], "initContainers": [unequal]})), Class::Other);
        assert_eq!(of(json!({"containers": [equal], "initContainers": [equal]})), Class::Guaranteed);
        assert_eq!(of(json!({"containers": [container(json!({"limits": {"cpu": "1"}}))]})), Class::Other);
        assert_eq!(
            of(json!({"containers": [container(json!({"limits": {"cpu": "0", "memory": "1"}}))]})),
            Class::Other
        );
        assert_eq!(of(json!({"containers": []})), Class::Other);
    }

    #[test]
    fn our_own_container_does_not_count() {
        let equal = container(json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
        assert_eq!(of(json!({"containers": [equal], "initContainers": [{"name": "exectrace"}]})), Class::Guaranteed);
    }

    #[test]
    fn resources_of_the_pod_itself_say_the_class() {
        let equal = container(json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
        assert_eq!(of(json!({"containers": [equal], "resources": {"limits": {"cpu": "2"}}})), Class::Other);
    }
}
