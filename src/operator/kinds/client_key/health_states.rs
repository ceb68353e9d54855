//! The states of a key, built by the functions that build every status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{
    plan::{Binding, Observed, Project, tests::settled},
    rotating::Rotating,
    status,
};
use crate::{
    backend::{BackendError, servers::ServerError},
    crd::{ActiveKey, ClientKey, ClientKeyStatus, ConditionStatus, Reason},
    operator::{
        databases::Unavailable,
        kinds::{
            failure::{Failure, Unmet},
            health_states::{HealthState, invalid, object, paused},
        },
        objects::{
            ApplyError,
            child::{ChildKind, Drift},
        },
    },
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// What a status is made from, before it is made.
struct Scene {
    enabled: bool,
    /// Its project is in another namespace.
    elsewhere: bool,
    observed: Observed,
    rotating: Option<Rotating>,
    failure: Option<Failure>,
}

/// The Secret holds an active key.
fn published() -> Scene {
    Scene { enabled: true, elsewhere: false, observed: settled(), rotating: None, failure: None }
}

fn rotating(reason: Reason) -> Rotating {
    let (status, message) = (ConditionStatus::True, "As it says.".to_owned());
    Rotating { retiring: None, next_rotation_at: None, status, reason, message, dead_key_in_use: None }
}

fn spec(enabled: bool) -> serde_json::Value {
    json!({"projectRef": {"name": "shop"}, "enabled": enabled})
}

fn spec_of(scene: &Scene) -> serde_json::Value {
    let mut spec = spec(scene.enabled);
    if scene.elsewhere {
        spec["projectRef"]["namespace"] = "shared".into();
    }
    spec
}

fn written(scene: &Scene) -> serde_json::Value {
    let key: ClientKey = serde_json::from_value(object("ClientKey", json!({}), spec_of(scene), None)).unwrap();
    let active = scene.observed.living.first().map(|_| ActiveKey {
        key_id: "7".into(),
        public_key_prefix: "0a1b2c3d".into(),
        created_at: Time(NOW),
    });
    let view = status::View {
        key: &key,
        before: &ClientKeyStatus::default(),
        observed: &scene.observed,
        active,
        rotating: scene.rotating.as_ref(),
        failure: scene.failure.as_ref(),
    };
    let status = status::build(&view, NOW);
    serde_json::to_value(status).unwrap()
}

fn state(
    name: &'static str,
    change: impl FnOnce(&mut Scene),
    conditions: &'static str,
    kstatus: &'static str,
    argocd: &'static str,
) -> HealthState {
    let mut scene = published();
    change(&mut scene);
    let object = object("ClientKey", json!({}), spec_of(&scene), Some(written(&scene)));
    HealthState { name, object, conditions, kstatus, argocd }
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<HealthState> {
    let without_key = |project| Observed { project, living: vec![], secret: Drift::Absent, ..settled() };
    let limit = || Unmet::Limit { namespace: "web".into(), objects: "client keys", limit: 1, retained: 0 };
    let unsupported =
        || Unmet::NotSupported { field: "spec.rateLimit", server: "GitLab", cure: "take it out of the spec" };
    let seen = written(&published());
    let bare = |name, metadata, status, conditions, kstatus, argocd| HealthState {
        name,
        object: object("ClientKey", metadata, spec(true), status),
        conditions,
        kstatus,
        argocd,
    };
    vec![
        bare("just created, no status yet", json!({}), None, "", "Current", "Progressing"),
        state(
            "its project is not there",
            |scene| scene.observed = without_key(Project::NotFound),
            "ProjectNotFound Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "its project is elsewhere, and not there for this namespace",
            |scene| {
                scene.elsewhere = true;
                scene.observed = without_key(Project::NotFound);
            },
            "ProjectNotFound Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "stalled: its project is elsewhere, and not there for this namespace any more",
            |scene| {
                scene.elsewhere = true;
                scene.observed.project = Project::Withdrawn;
                let (project, namespace) = ("shared/shop".into(), "web".into());
                scene.failure = Some(Unmet::NotAllowed { project, namespace }.into());
            },
            "NotAllowed Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "its project has no store yet",
            |scene| scene.observed = without_key(Project::Starting),
            "ProjectNotReady Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "its project is being deleted",
            |scene| scene.observed.project = Project::Leaving,
            "ProjectDeleted Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "database away before there is a key",
            |scene| {
                scene.observed = without_key(Project::DatabaseUnavailable(Unavailable::Connecting));
            },
            "DatabaseUnavailable Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "database away, key published",
            |scene| {
                scene.observed.project = Project::DatabaseUnavailable(Unavailable::Connecting);
            },
            "Published Ready",
            "Current",
            "Healthy",
        ),
        state(
            "the Secret is being written",
            |scene| scene.observed.secret = Drift::Absent,
            "Progressing Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "stalled: the Secret is somebody else's",
            |scene| {
                let conflict = ApplyError::Conflict {
                    kind: ChildKind::Secret,
                    name: "shop-dsn".into(),
                    holder: None,
                    owner: "ClientKey".into(),
                };
                scene.failure = Some(conflict.into());
                scene.observed.secret = Drift::Foreign;
            },
            "SecretConflict Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: the Secret for Service Binding is somebody else's",
            |scene| {
                scene.failure = Some(Unmet::BindingName { secret: "shop-binding".into(), holder: None }.into());
                scene.observed.binding = Binding::Asked(Drift::Foreign);
            },
            "Published Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: its project has no external URL",
            |scene| {
                scene.observed = Observed { no_external_url: true, ..without_key(Project::Known) };
                scene.failure = Some(Unmet::ExternalUrl { project: "shop".into() }.into());
            },
            "NoExternalURL Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: past the limit of the namespace",
            |scene| {
                scene.observed = Observed { past_limit: Some(1), ..without_key(Project::Known) };
                scene.failure = Some(limit().into());
            },
            "LimitExceeded Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: its server has nothing for a field",
            |scene| {
                scene.observed = without_key(Project::Known);
                scene.failure = Some(unsupported().into());
            },
            "NotSupported Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: its server has nothing for a field, and its key is published",
            |scene| scene.failure = Some(unsupported().into()),
            "NotSupported Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: its server keeps another limit",
            |scene| scene.failure = Some(Unmet::RateLimit { server: "Sentry" }.into()),
            "RateLimitUnsupported Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "its server does not answer before there is a key",
            |scene| {
                scene.observed = without_key(Project::Known);
                scene.failure = Some(BackendError::from(ServerError::Unreachable).into());
            },
            "ConnectionFailed Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "its server does not answer, key published",
            |scene| scene.failure = Some(BackendError::from(ServerError::Unreachable).into()),
            "Published Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "its server takes no more calls, key published",
            |scene| {
                let after = Duration::from_secs(7);
                scene.failure = Some(BackendError::from(ServerError::Limited { after }).into());
            },
            "Published Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "stalled: its server does not accept the token, key published",
            |scene| scene.failure = Some(BackendError::from(ServerError::Unauthorized).into()),
            "Published Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state("published", |_| {}, "Published Ready", "Current", "Healthy"),
        state(
            "a key goes on beside the next one",
            |scene| scene.rotating = Some(rotating(Reason::Overlap)),
            "Published Ready Rotating",
            "Current",
            "Healthy",
        ),
        state(
            "the next key waits for ingest",
            |scene| scene.rotating = Some(rotating(Reason::WaitingForIngest)),
            "Published Ready Rotating",
            "Current",
            "Healthy",
        ),
        state("disabled", |scene| scene.enabled = false, "KeyDisabled Ready", "Current", "Healthy"),
        bare(
            "spec changed, not seen yet",
            json!({"generation": 3}),
            Some(seen.clone()),
            "Published Ready",
            "InProgress",
            "Progressing",
        ),
        bare("unreadable", json!({}), Some(invalid()), "Invalid Stalled", "Failed", "Degraded"),
        bare("paused", json!({}), Some(paused(Some(seen.clone()))), "Published Ready Paused", "Current", "Suspended"),
        bare(
            "paused, spec changed",
            json!({"generation": 3}),
            Some(paused(Some(seen.clone()))),
            "Published Ready Paused",
            "InProgress",
            "Suspended",
        ),
        bare("paused from the start", json!({}), Some(paused(None)), "Paused", "Current", "Suspended"),
        bare(
            "deleting while paused",
            json!({"generation": 3, "deletionTimestamp": "2026-11-25T00:00:00Z", "finalizers": [crate::crd::FINALIZER]}),
            Some(paused(Some(seen.clone()))),
            "Published Ready Paused",
            "Terminating",
            "Progressing",
        ),
        bare(
            "deleting",
            json!({"generation": 3, "deletionTimestamp": "2026-11-25T00:00:00Z", "finalizers": [crate::crd::FINALIZER]}),
            Some(seen),
            "Published Ready",
            "Terminating",
            "Progressing",
        ),
    ]
}
