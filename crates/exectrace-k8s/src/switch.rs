//! `exectrace enable` and `exectrace disable`: the one object of the kind ProcessLogging, and the Event that a change
//! leaves.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::api::{ProcessLogging, ProcessLoggingSpec};
use crate::names::{CHANGED_BY_ANNOTATION, CHANGED_GENERATION_ANNOTATION, SWITCH};

/// Who writes, as `metadata.managedFields` and Events name it.
pub const MANAGER: &str = "exectrace";
/// How often to try again when somebody else changed the object in between.
const ATTEMPTS: usize = 5;

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the switch was in the other position, or nowhere.
    pub changed: bool,
    /// Who changed it, as far as the API tells.
    pub by: String,
    /// Why the change left no Event, though it was made.
    pub untold: Option<String>,
}

/// Why the switch could not be thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The API server does not know the kind.
    #[error(
        "the cluster does not know the kind ProcessLogging: install exectrace's chart first \
         (helm install exectrace charts/exectrace)"
    )]
    NotInstalled,
    /// The API server does not let the caller.
    #[error("the API server refuses: {0} (docs/status.md has the rights that this needs)")]
    Refused(String),
    /// Others change the object all the time.
    #[error("the switch was changed by somebody else again and again: try again")]
    Contended,
    /// Anything else that went wrong on the way.
    #[error("the API server cannot be asked: {0} (--kubeconfig and --context choose another)")]
    Unreachable(String),
}

impl SwitchError {
    /// What an answer that was none says.
    pub(crate) fn of(error: &kube::Error) -> SwitchError {
        match error {
            kube::Error::Api(status) if status.code == 404 => SwitchError::NotInstalled,
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                SwitchError::Refused(status.message.clone())
            }
            kube::Error::Api(status) => SwitchError::Unreachable(status.message.clone()),
            other => SwitchError::Unreachable(chain(other)),
        }
    }
}

/// An error and its causes, which `kube` hides behind short words.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if words.last().is_none_or(|last| !last.contains(&text)) {
            words.push(text);
        }
        source = cause.source();
    }
    words.join(": ")
}

/// The switch, if it was ever thrown.
pub async fn read(client: &Client) -> Result<Option<ProcessLogging>, SwitchError> {
    let all: Api<ProcessLogging> = Api::all(client.clone());
    match all.get(SWITCH).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_missing_object(&error) => Ok(None),
        Err(error) => Err(SwitchError::of(&error)),
    }
}

/// Throws the switch. Where it is already so, nothing is written and no Event left.
pub async fn throw(client: &Client, enabled: bool) -> Result<Outcome, SwitchError> {
    let all: Api<ProcessLogging> = Api::all(client.clone());
    for _ in 0..ATTEMPTS {
        let before = read(client).await?;
        if before.as_ref().is_some_and(|before| before.spec.enabled == enabled) {
            return Ok(Outcome { changed: false, by: String::new(), untold: None });
        }
        let by = whoami(client).await;
        let written = match before {
            None => create(&all, enabled, &by).await,
            Some(before) => change(&all, &before, enabled, &by).await,
        };
        match written {
            Ok(after) => {
                let told = leave_event(client, &after, &by).await;
                return Ok(Outcome { changed: true, by, untold: told.err().map(|error| chain(&error)) });
            }
            // Somebody was faster; what is there now decides.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(SwitchError::of(&error)),
        }
    }
    Err(SwitchError::Contended)
}

/// Who asks, by the API server's own account; `unknown` where it has none.
async fn whoami(client: &Client) -> String {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let name = answer.ok().and_then(|review| review.status?.user_info?.username);
    name.unwrap_or_else(|| "unknown".to_owned())
}

async fn create(all: &Api<ProcessLogging>, enabled: bool, by: &str) -> kube::Result<ProcessLogging> {
    let mut new = ProcessLogging::new(SWITCH, ProcessLoggingSpec { enabled });
    let annotations = new.annotations_mut();
    annotations.insert(CHANGED_BY_ANNOTATION.to_owned(), by.to_owned());
    annotations.insert(CHANGED_GENERATION_ANNOTATION.to_owned(), "1".to_owned());
    let options = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    all.create(&options, &new).await
}

/// The version of the object that was read goes along, so that the generation it becomes is known beforehand.
async fn change(
    all: &Api<ProcessLogging>,
    before: &ProcessLogging,
    enabled: bool,
    by: &str,
) -> kube::Result<ProcessLogging> {
    let generation = before.metadata.generation.unwrap_or_default() + 1;
    let patch = json!({
        "metadata": {
            "resourceVersion": before.metadata.resource_version,
            "annotations": {
                CHANGED_BY_ANNOTATION: by,
                CHANGED_GENERATION_ANNOTATION: generation.to_string(),
            },
        },
        "spec": {"enabled": enabled},
    });
    let options = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    all.patch(SWITCH, &options, &Patch::Merge(patch)).await
}

/// The user who made this generation of the object with `exectrace enable` or `disable`, which has left an Event for
/// it.
pub(crate) fn thrown_by(object: &ProcessLogging) -> Option<&str> {
    let annotations = object.annotations();
    let generation = annotations.get(CHANGED_GENERATION_ANNOTATION)?;
    let is_this = object.metadata.generation.is_some_and(|this| this.to_string() == *generation);
    is_this.then(|| annotations.get(CHANGED_BY_ANNOTATION).map(String::as_str)).flatten()
}

/// Who wrote the object last, as its managed fields tell: the name of a program, for they know no user.
pub(crate) fn last_manager(object: &ProcessLogging) -> Option<String> {
    let fields = object.metadata.managed_fields.as_ref()?;
    let of_object = fields.iter().filter(|field| field.subresource.as_deref().unwrap_or_default().is_empty());
    let last = of_object.max_by_key(|field| field.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}

/// Leaves an Event that tells the switch's position and who threw it. Of an object of the whole cluster it is kept in
/// the namespace `default`.
pub(crate) async fn leave_event(client: &Client, object: &ProcessLogging, by: &str) -> kube::Result<()> {
    let (reason, what) = if object.spec.enabled {
        ("Enabled", "on: new workspaces get a sidecar")
    } else {
        ("Disabled", "off: new workspaces get no sidecar")
    };
    let event = Event {
        type_: EventType::Normal,
        reason: reason.to_owned(),
        note: Some(format!("{by} switched process logging {what}; those that run stay as they are")),
        action: "Switch".to_owned(),
        secondary: None,
    };
    let reporter = Reporter { controller: format!("{MANAGER}.dev/switch"), instance: Some(MANAGER.to_owned()) };
    Recorder::new(client.clone(), reporter).publish(&event, &object.object_ref(&())).await
}

/// Whether the object is missing, and not its kind: of that the API server answers without saying of what.
fn is_missing_object(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound"
        && status.message.contains(SWITCH))
}
