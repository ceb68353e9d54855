//! What a key's status says: a pure function from what was observed and what went wrong.

use jiff::Timestamp;

use super::plan::{Observed, Project};
use crate::{
    crd::{ActiveKey, ClientKey, ClientKeyStatus, ConditionType, Conditions, Reason},
    operator::{kinds::failure::Failure, objects::child::Drift},
};

/// Everything a status is made from.
pub struct View<'a> {
    pub key: &'a ClientKey,
    pub before: &'a ClientKeyStatus,
    pub observed: &'a Observed,
    pub active: Option<ActiveKey>,
    pub failure: Option<&'a Failure>,
}

/// The status to write; equal to the one before when nothing changed.
#[must_use]
pub fn build(view: &View<'_>, now: Timestamp) -> ClientKeyStatus {
    let (published, reason, message) = verdict(view);
    let stalled = view.failure.filter(|failure| failure.stalls());
    // A published key is Ready whatever else is under way, as the overlap of a rotation or a retry.
    let under_way = match view.failure {
        Some(failure) => Some((failure.reason(), failure.to_string())),
        None if published => None,
        None => Some((reason, message.clone())),
    };
    let mut conditions = Conditions::new(&view.before.conditions, view.key.metadata.generation, now);
    let (ready_reason, ready_message) = if published && !view.key.spec.enabled {
        (Reason::KeyDisabled, "spec.enabled is false: events with this key are refused.")
    } else {
        (reason, message.as_str())
    };
    conditions.set(ConditionType::Ready, published.into(), ready_reason, ready_message);
    conditions.set_progress(under_way, stalled.map(|failure| (failure.reason(), failure.to_string())));
    conditions.set(ConditionType::SecretPublished, published.into(), reason, &message);
    ClientKeyStatus {
        observed_generation: view.key.metadata.generation,
        conditions: conditions.finish(),
        active: view.active.clone().or_else(|| view.before.active.clone()),
        secret_name: if published { Some(view.key.secret_name()) } else { view.before.secret_name.clone() },
    }
}

fn verdict(view: &View<'_>) -> (bool, Reason, String) {
    let project = &view.key.spec.project_ref.name;
    let secret = view.key.secret_name();
    let settled = view.observed.secret == Drift::None && view.observed.active.is_some();
    if let Some(failure) = view.failure.filter(|failure| failure.stalls() || !settled) {
        return (false, failure.reason(), failure.to_string());
    }
    match &view.observed.project {
        Project::NotFound => (
            false,
            Reason::ProjectNotFound,
            match view.observed.secret {
                Drift::None => format!(
                    "There is no ErrorTrackingProject {project} in this namespace: create it, or delete this key. Secret \
                     {secret} still holds the key, which is refused."
                ),
                _ => format!(
                    "There is no ErrorTrackingProject {project} in this namespace: create it, or delete this key."
                ),
            },
        ),
        Project::Leaving => (
            false,
            Reason::ProjectDeleted,
            format!("ErrorTrackingProject {project} is being deleted: this key is revoked."),
        ),
        Project::Starting => {
            (false, Reason::ProjectNotReady, format!("ErrorTrackingProject {project} has no store yet."))
        }
        // An outage takes nothing back: the Secret is there, and ingest pods know the key.
        Project::Known | Project::DatabaseUnavailable { .. } if view.observed.secret == Drift::None => {
            (true, Reason::Published, format!("Secret {secret} holds SENTRY_DSN."))
        }
        Project::DatabaseUnavailable { reason, message } => (false, *reason, message.clone()),
        Project::Known => (false, Reason::Progressing, format!("Secret {secret} is being written.")),
    }
}
