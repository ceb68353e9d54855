//! The status of a key, made from the observation and the failure. Pure.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::{
    binding,
    plan::{Observed, Project},
    project_name,
    rotating::Rotating,
};
use crate::{
    crd::{ActiveKey, ClientKey, ClientKeyStatus, ConditionStatus, ConditionType, Conditions, Reason},
    operator::{
        kinds::{
            failure::{Failure, Unmet, Waiting, kept_out},
            kind::unread_pause,
        },
        objects::child::Drift,
    },
};

/// How long the project of a new key may be applied after it without anybody being warned.
const NEW: SignedDuration = SignedDuration::from_secs(5);

/// Everything a status is made from.
pub struct View<'a> {
    pub key: &'a ClientKey,
    pub before: &'a ClientKeyStatus,
    pub observed: &'a Observed,
    pub active: Option<ActiveKey>,
    /// `None`: nothing is known of it now.
    pub rotating: Option<&'a Rotating>,
    pub failure: Option<&'a Failure>,
}

/// The status to write; equal to the one before when nothing changed.
#[must_use]
pub fn build(view: &View<'_>, now: Timestamp) -> ClientKeyStatus {
    let (published, reason, message) = verdict(view);
    let stalled = view.failure.filter(|failure| failure.stalls());
    let told = |failure: &Failure| told(view.key, failure);
    // A published key is Ready whatever else is under way, as the overlap of a rotation or a retry.
    let under_way = match view.failure {
        Some(failure) => Some(told(failure)),
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
    conditions.set_progress(under_way, stalled.map(told));
    // A project that is applied a moment after its key is no trouble yet.
    let expected = reason == Reason::ProjectNotFound && is_new(view.key, now);
    let secret_published = if expected { ConditionStatus::Unknown } else { published.into() };
    conditions.set(ConditionType::SecretPublished, secret_published, reason, &message);
    if let Some(Rotating { status, reason, message, dead_key_in_use, .. }) = view.rotating {
        conditions.set(ConditionType::Rotating, *status, *reason, message);
        // Gone when nothing came for an hour.
        if let Some(message) = dead_key_in_use {
            conditions.set(ConditionType::DeadKeyInUse, ConditionStatus::True, Reason::EventsRefused, message);
        }
    } else {
        conditions.keep(ConditionType::Rotating);
        conditions.keep(ConditionType::DeadKeyInUse);
    }
    if let Some(value) = unread_pause(&view.key.metadata) {
        conditions.set_pause_ignored(value);
    }
    ClientKeyStatus {
        observed_generation: view.key.metadata.generation,
        conditions: conditions.finish(),
        active: view.active.clone().or_else(|| view.before.active.clone()),
        retiring: view.rotating.map_or_else(|| view.before.retiring.clone(), |rotating| rotating.retiring.clone()),
        next_rotation_at: view
            .rotating
            .map_or_else(|| view.before.next_rotation_at.clone(), |rotating| rotating.next_rotation_at.clone()),
        secret_name: if published { Some(view.key.secret_name()) } else { view.before.secret_name.clone() },
        binding: binding::reference(view.key, view.before, view.observed),
    }
}

/// By a clock that may differ from that of the API server.
fn is_new(key: &ClientKey, now: Timestamp) -> bool {
    let age = key.metadata.creation_timestamp.as_ref().map(|created| now.duration_since(created.0));
    age.is_some_and(|age| !age.is_negative() && age < NEW)
}

/// Reason and sentence of a failure, as far as it is the business of the key's namespace.
fn told(key: &ClientKey, failure: &Failure) -> (Reason, String) {
    let of_database = failure.is_caused_by_database() || matches!(failure, Failure::Waiting(Waiting::Tombstone(_)));
    if key.is_elsewhere() && of_database {
        return database_elsewhere(key);
    }
    if key.is_elsewhere() && failure.tells_of_server() {
        return server_elsewhere(key, failure);
    }
    (failure.reason(), failure.to_string())
}

/// As [`database_elsewhere`], of the server that keeps the keys and of its token.
fn server_elsewhere(key: &ClientKey, failure: &Failure) -> (Reason, String) {
    let project = project_name(key);
    let message = format!(
        "The server that keeps the keys of ErrorTrackingProject {project} does not do what this key needs now: the project \
         itself says why, to those who may read it."
    );
    let starts = failure.reason() == Reason::Progressing;
    (if starts { Reason::Progressing } else { Reason::ConnectionFailed }, message)
}

/// Servers, logins and Secrets of another namespace are for the eyes of that one.
fn database_elsewhere(key: &ClientKey) -> (Reason, String) {
    let project = project_name(key);
    let message = format!(
        "The database of ErrorTrackingProject {project} cannot be used now: the project itself says why, to those who may \
         read it."
    );
    (Reason::DatabaseUnavailable, message)
}

fn verdict(view: &View<'_>) -> (bool, Reason, String) {
    let project = project_name(view.key);
    let secret = view.key.secret_name();
    let settled = view.observed.secret == Drift::None && !view.observed.living.is_empty();
    // The second Secret takes nothing from the first.
    let of_binding = |failure: &Failure| matches!(failure, Failure::Unmet(Unmet::BindingName { .. }));
    // Nor does a server that cannot be told something take what is published.
    let blocks = |failure: &&Failure| !settled || failure.stalls() && !of_binding(failure) && !failure.is_of_server();
    if let Some(failure) = view.failure.filter(blocks) {
        let (reason, message) = told(view.key, failure);
        return (false, reason, message);
    }
    let namespace = view.key.metadata.namespace.as_deref().unwrap_or_default();
    match &view.observed.project {
        Project::NotFound if view.key.is_elsewhere() => (false, Reason::ProjectNotFound, kept_out(&project, namespace)),
        Project::Withdrawn => (false, Reason::NotAllowed, kept_out(&project, namespace)),
        Project::NotFound => (
            false,
            Reason::ProjectNotFound,
            match view.observed.secret {
                Drift::None => format!(
                    "There is no ErrorTrackingProject {project} in this namespace: create it, or delete this key. The key in \
                     Secret {secret} is refused; a new project gives it another key."
                ),
                _ => format!(
                    "There is no ErrorTrackingProject {project} in this namespace: create it, correct spec.projectRef, or \
                     delete this key."
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
        Project::Known | Project::DatabaseUnavailable(_) if view.observed.secret == Drift::None => {
            let mut message = format!("Secret {secret} holds SENTRY_DSN.");
            if view.observed.no_address {
                let _ = write!(message, " Its URL leads nowhere yet: ErrorTrackingProject {project} has no address.");
            }
            (true, Reason::Published, message)
        }
        Project::DatabaseUnavailable(_) if view.key.is_elsewhere() => {
            let (reason, message) = database_elsewhere(view.key);
            (false, reason, message)
        }
        Project::DatabaseUnavailable(unavailable) => (false, unavailable.reason(), unavailable.to_string()),
        Project::Known => (false, Reason::Progressing, format!("Secret {secret} is being written.")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        backend::{BackendError, NotConnected, servers::ServerError},
        crd::{ClientKeySpec, ProjectRef},
        operator::{
            databases::Unavailable,
            kinds::{client_key::plan::tests::settled, warnings::warnings},
        },
    };

    #[test]
    fn a_key_that_is_applied_a_moment_before_its_project_warns_nobody() {
        let spec = ClientKeySpec {
            project_ref: ProjectRef { name: "shop".into(), namespace: None },
            ..ClientKeySpec::default()
        };
        let mut key = ClientKey::new("shop", spec);
        key.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_000).unwrap()));
        let observed = observed(Project::NotFound);
        let mut before = ClientKeyStatus::default();
        for (second, warned) in [(1_001, 0), (1_002, 0), (1_011, 1), (1_021, 0), (999, 0)] {
            let view =
                View { key: &key, before: &before, observed: &observed, active: None, rotating: None, failure: None };
            let after = build(&view, Timestamp::from_second(second).unwrap());
            let ready = after.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
            assert_eq!((&*ready.status, &*ready.reason), ("False", "ProjectNotFound"), "at {second} s");
            let warnings: Vec<_> = warnings(&before.conditions, &after.conditions).map(|of| &*of.reason).collect();
            assert_eq!(warnings, vec!["ProjectNotFound"; warned], "at {second} s");
            before = after;
        }
    }

    fn observed(project: Project) -> Observed {
        Observed { has_finalizer: false, project, living: vec![], secret: Drift::Absent, ..settled() }
    }

    fn key_of(project: &serde_json::Value) -> ClientKey {
        let spec = serde_json::from_value(serde_json::json!({"projectRef": project})).unwrap();
        let mut key = ClientKey::new("shop", spec);
        key.metadata.namespace = Some("web".into());
        key
    }

    fn said(key: &ClientKey, observed: &Observed, failure: Option<&Failure>) -> String {
        let before = ClientKeyStatus::default();
        let view = View { key, before: &before, observed, active: None, rotating: None, failure };
        serde_json::to_string(&build(&view, Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn a_key_is_told_nothing_of_the_database_of_another_namespace() {
        let secret =
            || crate::operator::databases::ConnectError::NoSecret { name: "pg-of-the-others".into(), of_project: true };
        let unavailable = || Unavailable::NotConnected(std::sync::Arc::new(secret()));
        let own = key_of(&serde_json::json!({"name": "shop"}));
        let elsewhere = key_of(&serde_json::json!({"name": "shop", "namespace": "shared"}));
        for (case, observed, failure) in [
            ("before there is a key", observed(Project::DatabaseUnavailable(unavailable())), None),
            ("a step failed", observed(Project::Known), Some(Failure::Database(unavailable()))),
        ] {
            assert!(said(&own, &observed, failure.as_ref()).contains("pg-of-the-others"), "{case}");
            let told = said(&elsewhere, &observed, failure.as_ref());
            assert!(!told.contains("pg-of-the-others") && told.contains("ErrorTrackingProject shared/shop"), "{told}");
        }
    }

    #[test]
    fn a_key_is_told_nothing_of_the_server_of_another_namespace() {
        let own = key_of(&serde_json::json!({"name": "shop"}));
        let elsewhere = key_of(&serde_json::json!({"name": "shop", "namespace": "shared"}));
        let no_secret =
            NotConnected::NoSecret { secret: "of-the-others".into(), key: "token".into(), what: "the token" };
        let not_allowed = ServerError::HostNotAllowed { host: "of-the-others".into() };
        let rejected = ServerError::Rejected { status: 400, detail: "Quota of-the-others.".into() };
        for error in [no_secret.into(), not_allowed.into(), BackendError::from(rejected)] {
            let failure = Failure::from(error);
            let absent = observed(Project::Known);
            for observed in [settled(), absent] {
                assert!(said(&own, &observed, Some(&failure)).contains("of-the-others"), "{failure}");
                let told = said(&elsewhere, &observed, Some(&failure));
                assert!(!told.contains("of-the-others") && told.contains("ErrorTrackingProject shared/shop"), "{told}");
                assert!(told.contains("ConnectionFailed"), "{told}");
            }
        }
        let busy = said(&elsewhere, &observed(Project::Known), Some(&BackendError::Busy.into()));
        assert!(busy.contains("this one is next"), "{busy}");
    }
}
