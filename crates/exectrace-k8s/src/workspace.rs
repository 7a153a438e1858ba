//! Whose workspace a pod is: by its labels, in either of the two forms that templates write.
//!
//! Older templates have `com.coder.username`, newer ones `com.coder.user.username`; both have
//! `com.coder.workspace.name`. The user's e-mail address, which no label can hold, is an annotation.

use std::collections::BTreeMap;

/// Name of a label in the log, and the pod's labels or annotations that it is taken from, the first that is there.
pub const DIALECTS: [(&str, &[&str]); 6] = [
    ("organization_id", &["com.coder.organization.id", "com.coder.organization_id"]),
    ("user_email", &["com.coder.user.email", "com.coder.user_email"]),
    ("user_id", &["com.coder.user.id", "com.coder.user_id"]),
    ("username", &["com.coder.user.username", "com.coder.username"]),
    ("workspace_id", &["com.coder.workspace.id", "com.coder.workspace_id"]),
    ("workspace_name", &["com.coder.workspace.name", "com.coder.workspace_name"]),
];

/// Keys of labels that name the user, in the order in which they count.
pub const USER_KEYS: [&str; 2] = ["com.coder.user.username", "com.coder.username"];
/// The key of the label that names the workspace.
pub const WORKSPACE_KEY: &str = "com.coder.workspace.name";

/// The log's labels of a pod: those of [`DIALECTS`] that its labels and annotations give. A label comes before an
/// annotation of the same name, which is easier to set.
pub fn log_labels(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, keys) in DIALECTS {
        let value =
            keys.iter().find_map(|key| labels.get(*key)).or_else(|| keys.iter().find_map(|key| annotations.get(*key)));
        if let Some(value) = value {
            found.insert(name.to_owned(), value.clone());
        }
    }
    found
}

/// Label selectors that together find the pods of a user and a workspace, in both forms: a selector cannot say *or*
/// between keys.
pub fn selectors(user: Option<&str>, workspace: Option<&str>) -> Vec<String> {
    let of_workspace = workspace.map(|name| format!("{WORKSPACE_KEY}={name}"));
    match user {
        None => vec![of_workspace.unwrap_or_default()],
        Some(user) => USER_KEYS
            .iter()
            .map(|key| {
                [Some(format!("{key}={user}")), of_workspace.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn both_forms_are_understood() {
        for key in USER_KEYS {
            let labels = map(&[(key, "jessie"), ("com.coder.workspace.name", "main"), ("app", "x")]);
            let annotations = map(&[("com.coder.user.email", "jessie@example.com")]);
            let expected =
                map(&[("username", "jessie"), ("workspace_name", "main"), ("user_email", "jessie@example.com")]);
            assert_eq!(log_labels(&labels, &annotations), expected);
        }
    }

    #[test]
    fn a_label_comes_before_an_annotation() {
        let labels = map(&[("com.coder.username", "jessie")]);
        let annotations = map(&[("com.coder.user.username", "zac")]);
        assert_eq!(log_labels(&labels, &annotations)["username"], "jessie");
    }

    #[test]
    fn a_selector_has_all_that_was_asked_for_in_one() {
        assert_eq!(
            selectors(Some("jessie"), Some("main")),
            [
                "com.coder.user.username=jessie,com.coder.workspace.name=main",
                "com.coder.username=jessie,com.coder.workspace.name=main"
            ]
        );
        assert_eq!(selectors(None, Some("main")), ["com.coder.workspace.name=main"]);
    }
}
