//! The states of a project, built by the functions that build every status.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;

use super::{
    elsewhere::{ServerSeen, connected},
    exposure::NoAddress,
    plan::{CatalogRow, Catalogued, Observed},
    rollout::{Held, Rollout},
    status,
};
use crate::{
    backend::{BackendError, NotConnected, servers::ServerError},
    crd::{ErrorTrackingProject, ErrorTrackingProjectStatus},
    dsn::ProjectId,
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
    store::{
        StoreError,
        admin::{Flood, FloodKind},
        tls::Tls,
    },
};

/// What a status is made from, before it is made.
struct Scene {
    spec: serde_json::Value,
    observed: Observed,
    failure: Option<Failure>,
    id: Option<ProjectId>,
}

/// Everything is there and two pods are ready.
fn settled() -> Scene {
    Scene {
        spec: json!({}),
        observed: Observed {
            has_finalizer: true,
            past_limit: None,
            database: CatalogRow::Known(Catalogued::settled()),
            database_secret: Drift::None,
            secret_password: Some("aa".into()),
            workload: vec![(ChildKind::Service, Drift::None), (ChildKind::Deployment, Drift::None)],
            unwanted: vec![],
            hand_over: false,
            gateway_api_missing: false,
            rollout: rollout(2, false),
            held: None,
            autoscaler_trouble: None,
            pod_trouble: None,
            no_address: None,
            server: None,
        },
        failure: None,
        id: ProjectId::new(42),
    }
}

/// Two pods of the newest template, of which `ready` are ready.
fn rollout(ready: i32, failing: bool) -> Rollout {
    Rollout { desired: 2, ready, updated: 2, existing: 2, seen: true, failing, refused: None }
}

fn unavailable() -> CatalogRow {
    CatalogRow::Unavailable(Unavailable::refused(StoreError::Unavailable { message: "connection refused".into() }))
}

fn written(scene: &Scene) -> serde_json::Value {
    let project: ErrorTrackingProject =
        serde_json::from_value(object("ErrorTrackingProject", json!({}), &scene.spec, None)).unwrap();
    let view = status::View {
        project: &project,
        before: &ErrorTrackingProjectStatus::default(),
        observed: &scene.observed,
        id: scene.id,
        home: Some(status::HomeDatabase {
            server: "db.example:5432/errors".into(),
            installation: "6b1f0c52-5e4b-4d2a-9a39-2f1f6d1c7e11".into(),
            shared_login: None,
            link: Tls::default().describe("db.web.svc", None),
        }),
        failure: scene.failure.as_ref(),
        console: Some("https://errors.example"),
    };
    let status = status::build(&view, Timestamp::UNIX_EPOCH);
    serde_json::to_value(status).unwrap()
}

fn state(
    name: &'static str,
    change: impl FnOnce(&mut Scene),
    conditions: &'static str,
    kstatus: &'static str,
    argocd: &'static str,
) -> HealthState {
    let mut scene = settled();
    change(&mut scene);
    let status = written(&scene);
    let object = object("ErrorTrackingProject", json!({}), &scene.spec, Some(status));
    HealthState { name, object, conditions, kstatus, argocd }
}

/// A project at another server, whose connection and step came to this.
fn elsewhere(
    name: &'static str,
    connection: Result<(), NotConnected>,
    failure: Option<Failure>,
    conditions: &'static str,
    kstatus: &'static str,
    argocd: &'static str,
) -> HealthState {
    let change = |scene: &mut Scene| {
        let token = json!({"name": "token"});
        let sentry =
            json!({"url": "https://sentry.io", "organization": "acme", "project": "shop", "tokenSecretRef": token});
        scene.spec = json!({"backend": {"sentry": sentry}});
        let server = ServerSeen { connection: connection.clone(), ..connected() };
        scene.observed = Observed { server: Some(server), ..Observed::nothing(true, None) };
        scene.failure = failure.or_else(|| connection.err().map(|error| BackendError::from(error).into()));
        scene.id = None;
    };
    state(name, change, conditions, kstatus, argocd)
}

/// The states that only projects at another server have.
fn all_elsewhere() -> Vec<HealthState> {
    let server = |error: ServerError| Err(NotConnected::Server(Arc::new(error)));
    let limited = || ServerError::Limited { after: Duration::from_secs(7) };
    let no_token = NotConnected::NoSecret { secret: "token".into(), key: "token".into(), what: "the token" };
    let not_yet = Err(NotConnected::NotYet("Sentry"));
    vec![
        elsewhere("elsewhere: connected", Ok(()), None, "Connected Ready", "Current", "Healthy"),
        elsewhere(
            "elsewhere: not connected yet",
            not_yet,
            None,
            "Progressing Reconciling",
            "InProgress",
            "Progressing",
        ),
        elsewhere(
            "elsewhere: the server is away",
            server(ServerError::Unreachable),
            None,
            "ConnectionFailed Reconciling",
            "InProgress",
            "Degraded",
        ),
        elsewhere(
            "elsewhere: the server takes no more calls at the start",
            server(limited()),
            None,
            "BackendLimited Reconciling",
            "InProgress",
            "Progressing",
        ),
        elsewhere(
            "elsewhere: the server takes no more calls",
            Ok(()),
            Some(BackendError::from(limited()).into()),
            "BackendLimited Reconciling",
            "InProgress",
            "Progressing",
        ),
        elsewhere(
            "elsewhere, stalled: the token is not accepted",
            server(ServerError::Unauthorized),
            None,
            "AuthenticationFailed Stalled",
            "Failed",
            "Degraded",
        ),
        elsewhere(
            "elsewhere, stalled: there is no token",
            Err(no_token),
            None,
            "TokenSecretInvalid Stalled",
            "Failed",
            "Degraded",
        ),
        elsewhere(
            "elsewhere, stalled: the project was renamed there",
            server(ServerError::Moved { to: Some("store".into()) }),
            None,
            "BackendProjectMoved Stalled",
            "Failed",
            "Degraded",
        ),
        elsewhere(
            "elsewhere, stalled: error tracking is off",
            Ok(()),
            Some(BackendError::from(ServerError::FeatureOff).into()),
            "ErrorTrackingDisabled Stalled",
            "Failed",
            "Degraded",
        ),
        elsewhere(
            "elsewhere: the ledger is away",
            Ok(()),
            Some(Failure::Database(Unavailable::Connecting)),
            "DatabaseUnavailable Reconciling",
            "InProgress",
            "Degraded",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn all_integrated() -> Vec<HealthState> {
    let stalled = |kind, holder: Option<&str>| {
        let (name, owner) = ("shop-ingest".into(), "ErrorTrackingProject".into());
        Some(Failure::from(ApplyError::Conflict { kind, name, holder: holder.map(Into::into), owner }))
    };
    let refused = || {
        let status = json!({"status": "Failure", "code": 422, "message": "Deployment shop-ingest is invalid"});
        let error = kube::Error::Api(serde_json::from_value(status).unwrap());
        Some(Failure::from(ApplyError::kubernetes("apply", "Deployment", "shop-ingest")(error)))
    };
    let held = |halted_by: Option<&str>| {
        Some(Held { kept: "0.1.0".into(), newer: "0.2.0".into(), halted_by: halted_by.map(Into::into) })
    };
    let nothing_yet = |scene: &mut Scene, database| {
        scene.observed = Observed {
            database,
            database_secret: Drift::Absent,
            secret_password: None,
            workload: Vec::new(),
            rollout: Rollout::default(),
            ..settled().observed
        };
        scene.id = None;
    };
    let seen = written(&settled());
    let bare = |name, metadata, status, conditions, kstatus, argocd| HealthState {
        name,
        object: object("ErrorTrackingProject", metadata, json!({}), status),
        conditions,
        kstatus,
        argocd,
    };
    vec![
        // kstatus takes what has no conditions for done: its users wait for Ready, which `kubectl wait` and Flux do.
        bare("just created, no status yet", json!({}), None, "", "Current", "Progressing"),
        state(
            "starting",
            |scene| nothing_yet(scene, CatalogRow::Unknown),
            "Progressing Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "database away at the start",
            |scene| nothing_yet(scene, unavailable()),
            "DatabaseUnavailable Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "database away, pods run",
            |scene| scene.observed.database = unavailable(),
            "DatabaseUnavailable Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "database refuses the login",
            |scene| {
                scene.observed.database = CatalogRow::Unavailable(Unavailable::refused(StoreError::NotPermitted {
                    message: "password authentication failed".into(),
                }));
            },
            "DatabaseRejected Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "a migration fails",
            |scene| {
                scene.failure = Some(Failure::from(StoreError::Migration {
                    schema: "project_42".into(),
                    migration: "1",
                    source: Box::new(StoreError::Other { message: "no such column".into(), sqlstate: None }),
                }));
            },
            "MigrationFailed Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "stalled: another database",
            |scene| scene.failure = Some(Failure::DatabaseChanged { id: 42, server: "db.example:5432/other".into() }),
            "DatabaseChanged Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: a name is taken",
            |scene| {
                scene.observed.workload = vec![(ChildKind::Service, Drift::Foreign)];
                scene.failure = stalled(ChildKind::Service, None);
            },
            "NameConflict Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: the spec of a new project is refused",
            |scene| {
                scene.observed.rollout = Rollout::default();
                scene.failure = refused();
            },
            "Rejected Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: a changed spec is refused, and pods receive events",
            |scene| scene.failure = refused(),
            "Available Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: a filter that cannot be used",
            |scene| scene.failure = Some(Unmet::Setting("It cannot be had here.".into()).into()),
            "Available Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: a label that the installation does not allow",
            |scene| scene.failure = Some(Unmet::Key("It is left out.".into()).into()),
            "Available Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "stalled: the cluster has no Gateway API",
            |scene| scene.failure = Some(Unmet::GatewayApi.into()),
            "Available Ready Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "a step failed beside pods that receive events, and is tried again",
            |scene| scene.failure = Some(Failure::from(StoreError::Busy { message: "lock timeout".into() })),
            "Available Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "the Ingress has no address",
            |scene| {
                let name = "shop-ingest".into();
                scene.observed.no_address = Some(NoAddress::Ingress { name, class: Some("nobody".into()) });
            },
            "Available Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "stalled: past the limit of the namespace",
            |scene| {
                nothing_yet(scene, CatalogRow::Unknown);
                scene.failure =
                    Some(Unmet::Limit { namespace: "web".into(), objects: "projects", limit: 1, retained: 0 }.into());
            },
            "LimitExceeded Stalled",
            "Failed",
            "Degraded",
        ),
        state(
            "waiting for pods",
            |scene| scene.observed.rollout = rollout(0, false),
            "WaitingForPods Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "pods fail",
            |scene| scene.observed.rollout = rollout(0, true),
            "PodsFailing Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "pods cannot be made",
            |scene| {
                scene.observed.rollout = Rollout { refused: Some("exceeded quota".into()), ..rollout(0, false) };
            },
            "PodsFailing Reconciling",
            "InProgress",
            "Degraded",
        ),
        state(
            "waits for its turn to get the new version",
            |scene| scene.observed.held = held(None),
            "Available Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "keeps the old version: a rollout elsewhere failed",
            |scene| scene.observed.held = held(Some("other")),
            "Available Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state(
            "ready, one pod still to come",
            |scene| scene.observed.rollout = rollout(1, false),
            "Available Ready Reconciling",
            "InProgress",
            "Progressing",
        ),
        state("ready, no event yet", |_| {}, "Available Ready", "Current", "Healthy"),
        state(
            "ready, and events come",
            |scene| {
                let keys_used_at = Some(Timestamp::UNIX_EPOCH);
                scene.observed.database = CatalogRow::Known(Catalogued { keys_used_at, ..Catalogued::settled() });
            },
            "Available Ready",
            "Current",
            "Healthy",
        ),
        state(
            "ready, and flooded",
            |scene| {
                let flood =
                    Flood { kind: FloodKind::Issues, an_hour: 1_000, since: Timestamp::UNIX_EPOCH, met: 20_000 };
                let known = Catalogued { floods: vec![flood], ..Catalogued::settled() };
                scene.observed.database = CatalogRow::Known(known);
            },
            "Available Ready",
            "Current",
            "Healthy",
        ),
        state(
            "scaled to zero",
            |scene| {
                scene.spec = json!({"backend": {"integrated": {"ingest": {"replicas": 0}}}});
                scene.observed.rollout = Rollout { seen: true, ..Rollout::default() };
            },
            "ScaledToZero Ready",
            "Current",
            "Healthy",
        ),
        state(
            "inactive",
            |scene| {
                scene.spec = json!({"active": false});
                scene.observed.rollout = Rollout { seen: true, ..Rollout::default() };
            },
            "Inactive Ready",
            "Current",
            "Healthy",
        ),
        bare(
            "spec changed, not seen yet",
            json!({"generation": 3}),
            Some(seen.clone()),
            "Available Ready",
            "InProgress",
            "Progressing",
        ),
        bare("unreadable", json!({}), Some(invalid()), "Invalid Stalled", "Failed", "Degraded"),
        bare("paused", json!({}), Some(paused(Some(seen.clone()))), "Available Ready Paused", "Current", "Suspended"),
        bare(
            "paused, spec changed",
            json!({"generation": 3}),
            Some(paused(Some(seen.clone()))),
            "Available Ready Paused",
            "InProgress",
            "Suspended",
        ),
        bare("paused from the start", json!({}), Some(paused(None)), "Paused", "Current", "Suspended"),
        bare(
            "deleting while paused",
            json!({"generation": 3, "deletionTimestamp": "2026-11-25T00:00:00Z", "finalizers": [crate::crd::FINALIZER]}),
            Some(paused(Some(seen.clone()))),
            "Available Ready Paused",
            "Terminating",
            "Progressing",
        ),
        bare(
            "deleting",
            json!({"generation": 3, "deletionTimestamp": "2026-11-25T00:00:00Z", "finalizers": [crate::crd::FINALIZER]}),
            Some(seen),
            "Available Ready",
            "Terminating",
            "Progressing",
        ),
    ]
}

pub fn all() -> Vec<HealthState> {
    let mut all = all_integrated();
    all.extend(all_elsewhere());
    all
}
