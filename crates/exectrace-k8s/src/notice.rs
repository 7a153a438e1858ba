//! What is worth telling in the namespace of a pod: that it was refused, is not traced, or let in with warnings.

use serde_json::Value;

use crate::mutate::{Admission, Outcome};

/// Bytes that the note of an Event may have.
const NOTE_LIMIT: usize = 1024;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub about: About,
    /// What happened, for machines.
    pub reason: &'static str,
    /// The same for people, short enough for an Event.
    pub note: String,
}

/// Something in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The pod's namespace.
    pub namespace: String,
    /// Its name, or for a pod that has none yet, what its name begins with.
    pub name: String,
    /// Its UID. A pod has none yet.
    pub uid: Option<String>,
}

impl Notice {
    /// What is to be told of an outcome; `None`: nothing, since nobody will wonder, or it was told before.
    pub(crate) fn of(outcome: &Outcome, pod: &Value, namespace: &str) -> Option<Notice> {
        let (reason, note) = match outcome {
            Outcome::Refused(refusal) => ("WorkspaceRefused", refusal.message.clone()),
            // With nothing to add, this is the second question about the same pod.
            Outcome::Admitted(Admission { patch, warnings, .. }) if patch.is_empty() || warnings.is_empty() => {
                return None;
            }
            Outcome::Admitted(Admission { untraced, warnings, .. }) => {
                (if untraced.is_some() { "WorkspaceNotTraced" } else { "WorkspaceWarning" }, warnings.join("; "))
            }
            Outcome::Untouched(_) => return None,
        };
        Some(Notice { about: About::of(pod, namespace), reason, note: shortened(note) })
    }
}

impl About {
    /// What owns the pod, as its ReplicaSet, whose Events people look at; the pod itself if nothing does. There is
    /// none yet: an Event may name what is not there.
    fn of(pod: &Value, namespace: &str) -> About {
        let metadata = &pod["metadata"];
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        let owner = owners.iter().find(|owner| owner["controller"] == true).or(owners.first());
        let of_owner = owner.and_then(|owner| {
            Some(About {
                api_version: text(&owner["apiVersion"])?,
                kind: text(&owner["kind"])?,
                namespace: namespace.to_owned(),
                name: text(&owner["name"])?,
                uid: text(&owner["uid"]),
            })
        });
        of_owner.unwrap_or_else(|| {
            let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"])).unwrap_or_default();
            About {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: namespace.to_owned(),
                name: name.trim_end_matches('-').to_owned(),
                uid: None,
            }
        })
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > NOTE_LIMIT {
        note.truncate(note.floor_char_boundary(NOTE_LIMIT - '…'.len_utf8()));
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mutate::Refusal;

    fn refused(pod: &Value, message: &str) -> Notice {
        let refusal = Refusal { reason: "windows", message: message.to_owned() };
        Notice::of(&Outcome::Refused(refusal), pod, "coder").expect("a notice")
    }

    #[test]
    fn it_is_about_what_owns_the_pod() {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "main", "uid": "1", "controller": true});
        let other = json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2"});
        let notice = refused(&json!({"metadata": {"ownerReferences": [other, owner]}}), "no");
        assert_eq!((notice.about.kind.as_str(), notice.about.namespace.as_str()), ("ReplicaSet", "coder"));
    }

    #[test]
    fn a_pod_without_an_owner_is_named_itself() {
        let notice = refused(&json!({"metadata": {"generateName": "main-"}}), "no");
        assert_eq!((notice.about.kind.as_str(), notice.about.name.as_str()), ("Pod", "main"));
        assert_eq!(refused(&json!({"metadata": {"ownerReferences": [{}]}}), "no").about.kind, "Pod");
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = refused(&json!({}), &"ä".repeat(2000)).note;
        assert!(note.len() <= NOTE_LIMIT && note.ends_with("ä…"), "{}", note.len());
    }

    #[test]
    fn a_pod_that_was_told_of_before_is_not_told_of_again() {
        let second = Admission { patch: Vec::new(), warnings: vec!["careful".to_owned()], untraced: None };
        assert_eq!(Notice::of(&Outcome::Admitted(second), &json!({}), "coder"), None);
    }
}
