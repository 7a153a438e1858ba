//! Whether a container or a volume that is already in a pod is the one that the webhook would add.
//!
//! A pod comes to the webhook a second time after another webhook changed it, with ours in it; and anybody may write a
//! container with our name into a pod, or ours with another command. So the comparison is of the JSON as it came, in
//! which also a field counts that this program does not know. What the API server itself puts in is let pass.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value};

use crate::quantity;

/// Fields in which `found` is not `expected`, sorted; none: it is ours.
pub(crate) fn differences(found: &Value, expected: &Value) -> Vec<String> {
    let (Some(found), Some(expected)) = (found.as_object(), expected.as_object()) else {
        return vec!["all".to_owned()];
    };
    let mut found = found.clone();
    forget_what_the_api_server_adds(&mut found, expected);
    let mut names: Vec<String> = found
        .keys()
        .chain(expected.keys())
        .filter(|name| found.get(*name).filter(|value| !value.is_null()) != expected.get(*name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

fn forget_what_the_api_server_adds(found: &mut Map<String, Value>, expected: &Map<String, Value>) {
    // Kubernetes 1.33 and later write the default down.
    let by_default = |policy: &Value| policy["restartPolicy"] == "NotRequired";
    if found.get("resizePolicy").and_then(Value::as_array).is_some_and(|policies| policies.iter().all(by_default)) {
        found.remove("resizePolicy");
    }
    if let Some(context) = found.get_mut("securityContext").and_then(Value::as_object_mut)
        && context.get("procMount").is_some_and(|mount| mount == "Default")
    {
        context.remove("procMount");
    }
    // Terraform's provider writes the default down.
    for mount in found.get_mut("volumeMounts").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(mount) = mount.as_object_mut()
            && mount.get("mountPropagation").is_some_and(|propagation| propagation == "None")
        {
            mount.remove("mountPropagation");
        }
    }
    // The AlwaysPullImages plugin.
    if found.get("imagePullPolicy").is_some_and(|policy| policy == "Always")
        && let Some(policy) = expected.get("imagePullPolicy")
    {
        found.insert("imagePullPolicy".to_owned(), policy.clone());
    }
    if let (Some(resources), Some(expected)) = (found.get_mut("resources"), expected.get("resources")) {
        settle_resources(resources, expected);
    }
}

/// Quantities come back in another form, and the LimitRanger plugin adds those of which the settings say nothing.
fn settle_resources(found: &mut Value, expected: &Value) {
    let Some(found) = found.as_object_mut() else { return };
    for list in ["requests", "limits"] {
        let Some(amounts) = found.get_mut(list).and_then(Value::as_object_mut) else { continue };
        amounts.retain(|name, _| !expected[list][name].is_null());
        for (name, amount) in amounts.iter_mut() {
            let expected = &expected[list][name];
            if same_amount(amount, expected) {
                *amount = expected.clone();
            }
        }
        if amounts.is_empty() && expected[list].is_null() {
            found.remove(list);
        }
    }
}

fn same_amount(one: &Value, other: &Value) -> bool {
    let amount = |value: &Value| serde_json::from_value::<Quantity>(value.clone());
    matches!((amount(one), amount(other)), (Ok(one), Ok(other)) if quantity::same(&one, &other))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_adds_makes_no_difference() {
        let ours = json!({
            "name": "exectrace", "imagePullPolicy": "IfNotPresent", "securityContext": {"privileged": false},
            "resources": {"requests": {"cpu": "0.5"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        });
        let back = json!({
            "name": "exectrace", "imagePullPolicy": "Always",
            "securityContext": {"privileged": false, "procMount": "Default"},
            "resources": {"requests": {"cpu": "500m", "ephemeral-storage": "1Gi"}, "limits": {"memory": "1Gi"}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}],
        });
        assert_eq!(differences(&back, &ours), Vec::<String>::new());
    }

    #[test]
    fn anything_else_does() {
        let ours = json!({"name": "exectrace", "command": ["/exectrace"], "resources": {"limits": {"cpu": "1"}}});
        for (change, fields) in [
            (json!({"command": ["/bin/true"]}), vec!["command"]),
            (json!({"command": null}), vec!["command"]),
            (json!({"lifecycle": {}}), vec!["lifecycle"]),
            (json!({"aFieldOfTheFuture": 1, "env": []}), vec!["aFieldOfTheFuture", "env"]),
            (json!({"resources": {"limits": {"cpu": "2"}}}), vec!["resources"]),
            (json!({"resources": 7}), vec!["resources"]),
            (json!({"resizePolicy": [{"restartPolicy": "RestartContainer"}]}), vec!["resizePolicy"]),
            (json!({"securityContext": {"procMount": "Default"}}), vec!["securityContext"]),
        ] {
            let mut found = ours.clone();
            json_patch::merge(&mut found, &change);
            if change["command"].is_null() && change.get("command").is_some() {
                found["command"] = Value::Null;
            }
            assert_eq!(differences(&found, &ours), fields, "{change}");
        }
        assert_eq!(differences(&json!(3), &ours), ["all"]);
    }
}
