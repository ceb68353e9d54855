//! The status of a project, made from the observation and the failure. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    elsewhere, floods,
    names::internal_url,
    plan::{CatalogRow, Observed},
    rollout::Rollout,
};
use crate::{
    crd::{
        ConditionStatus, ConditionType, Conditions, DatabaseStatus, ErrorTrackingProject, ErrorTrackingProjectStatus,
        IngestMode, IngestStatus, Reason, Scale,
    },
    dsn::ProjectId,
    kubernetes::names::PROJECT_LABEL,
    operator::{
        databases::Database,
        kinds::{failure::Failure, kind::unread_pause},
    },
    store::tls::LinkProtection,
};

/// Everything a status is made from.
pub struct View<'a> {
    pub project: &'a ErrorTrackingProject,
    pub before: &'a ErrorTrackingProjectStatus,
    pub observed: &'a Observed,
    pub id: Option<ProjectId>,
    /// `None` while the database is away.
    pub home: Option<HomeDatabase>,
    pub failure: Option<&'a Failure>,
    /// Address of the console, without a slash at the end.
    pub console: Option<&'a str>,
}

/// The database that the project is in.
pub struct HomeDatabase {
    pub server: String,
    pub installation: String,
    /// Name of the operator's login, when the ingest pods use it too.
    pub shared_login: Option<String>,
    pub link: LinkProtection,
}

impl HomeDatabase {
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self {
            server: database.server.clone(),
            installation: database.admin.installation().to_string(),
            shared_login: database.shared_login().map(|(role, _)| role.to_owned()),
            link: database.link(),
        }
    }
}

/// One condition before it is written.
struct Verdict {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl Verdict {
    fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

/// The status to write; equal to the one before when nothing changed.
#[must_use]
pub fn build(view: &View<'_>, now: Timestamp) -> ErrorTrackingProjectStatus {
    let project = view.project;
    if let (Some(server), Some(reference)) = (&view.observed.server, project.server()) {
        return elsewhere::build(view, server, reference, now);
    }
    let database = database(view);
    let ingest = ingest(view, &database);
    let stalled = view.failure.filter(|failure| failure.stalls());
    let ready = ready(view, &database, &ingest);
    let under_way = under_way(view, &ready, &ingest);

    let mut conditions = Conditions::new(&view.before.conditions, project.metadata.generation, now);
    conditions.set(ConditionType::Ready, ready.status, ready.reason, &ready.message);
    conditions.set_progress(under_way, stalled.map(|failure| (failure.reason(), failure.to_string())));
    conditions.set(ConditionType::DatabaseReady, database.status, database.reason, database.message);
    conditions.set(ConditionType::IngestReady, ingest.status, ingest.reason, ingest.message);
    match receiving(view) {
        Some(receiving) => {
            conditions.set(ConditionType::Receiving, receiving.status, receiving.reason, receiving.message);
        }
        None => conditions.keep(ConditionType::Receiving),
    }
    match &view.observed.database {
        CatalogRow::Known(known) => {
            if let Some((reason, message)) = floods::describe(&known.floods) {
                conditions.set(ConditionType::Flooded, ConditionStatus::True, reason, message);
            }
        }
        _ => conditions.keep(ConditionType::Flooded),
    }
    if let Some(value) = unread_pause(&project.metadata) {
        conditions.set_pause_ignored(value);
    }

    let id = view.id.map(ProjectId::as_i64).or(view.before.project_id);
    let namespace = project.metadata.namespace.as_deref().unwrap_or_default();
    let name = project.metadata.name.as_deref().unwrap_or_default();
    ErrorTrackingProjectStatus {
        observed_generation: project.metadata.generation,
        conditions: conditions.finish(),
        project_id: id,
        console_url: view.console.filter(|_| id.is_some()).map(|console| format!("{console}/{namespace}/{name}")),
        database: match (&view.home, view.id) {
            (Some(home), Some(id)) => Some(DatabaseStatus {
                schema: id.schema(),
                server: home.server.clone(),
                installation: Some(home.installation.clone()),
            }),
            _ => view.before.database.clone(),
        },
        ingest: id.map(|_| IngestStatus {
            mode: IngestMode::Dedicated,
            internal_url: internal_url(namespace, name),
            external_url: project.external_url(),
            replicas: desired(view),
            ready_replicas: view.observed.rollout.ready,
            ready: format!("{}/{}", view.observed.rollout.ready, desired(view)),
        }),
        sentry: None,
    }
}

/// Pods asked for: by the project, or by its autoscaler.
fn desired(view: &View<'_>) -> i32 {
    match view.project.scale() {
        Scale::Fixed(replicas) => replicas,
        Scale::Automatic(bounds) => view.observed.rollout.desired.max(bounds.min_replicas),
    }
}

/// The reason and the message of Reconciling: why the project is not Ready, or what goes on while it is.
fn under_way(view: &View<'_>, ready: &Verdict, ingest: &Verdict) -> Option<(Reason, String)> {
    if ready.status != ConditionStatus::True {
        return Some((ready.reason, ready.message.clone()));
    }
    if let Some(failure) = view.failure {
        return Some((failure.reason(), failure.to_string()));
    }
    let reason = match &view.observed.held {
        Some(held) if held.halted_by.is_some() => Reason::RolloutHalted,
        Some(_) => Reason::RolloutWaiting,
        None => {
            let before =
                view.before.conditions.iter().find(|condition| condition.type_ == ConditionType::Reconciling.as_str());
            let idle = before.is_some_and(|condition| condition.status == ConditionStatus::False.as_str())
                && view.before.observed_generation == view.project.metadata.generation;
            if view.observed.rollout.settled(view.project.scale(), idle) {
                return view.observed.no_address.as_ref().map(|route| (Reason::NoAddress, route.to_string()));
            }
            if view.observed.rollout.failing { Reason::PodsFailing } else { Reason::WaitingForPods }
        }
    };
    Some((reason, ingest.message.clone()))
}

fn database(view: &View<'_>) -> Verdict {
    let in_use = matches!(&view.observed.database, CatalogRow::Known(known) if known.in_use());
    // What is tried again in a moment takes nothing away from pods that work.
    let counts = |failure: &&Failure| failure.is_of_database() && !(in_use && failure.is_retried());
    if let Some(failure) = view.failure.filter(counts) {
        return Verdict::new(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    match &view.observed.database {
        CatalogRow::Unavailable(unavailable) => {
            Verdict::new(ConditionStatus::False, unavailable.reason(), unavailable.to_string())
        }
        CatalogRow::Known(known) if known.in_use() => {
            let schema = view.id.map(ProjectId::schema).unwrap_or_default();
            if !(known.migrated && known.partitions_complete) {
                let message = format!("Schema {schema} is in use, and is being brought up to date.");
                return Verdict::new(ConditionStatus::True, Reason::Available, message);
            }
            let shared = view.home.as_ref().and_then(|home| home.shared_login.as_deref());
            let exposed = view.home.as_ref().is_some_and(|home| home.link.exposed);
            let (reason, mut message) = match shared {
                Some(role) => (
                    Reason::SharedCredentials,
                    format!(
                        "Schema {schema} is up to date. Login {role} may not create roles, so the ingest pods use it too: who \
                         takes over a pod can read and change everything in this database. Give the login CREATEROLE \
                         to end that."
                    ),
                ),
                None if exposed => (Reason::ServerNotVerified, format!("Schema {schema} is up to date.")),
                None => (Reason::Available, format!("Schema {schema} is up to date.")),
            };
            if let Some(home) = &view.home {
                let _ = write!(message, " {}", home.link.sentence);
            }
            Verdict::new(ConditionStatus::True, reason, message)
        }
        _ => Verdict::new(ConditionStatus::False, Reason::Progressing, "The schema and its login are being made."),
    }
}

fn ingest(view: &View<'_>, database: &Verdict) -> Verdict {
    let (rollout, wanted) = (&view.observed.rollout, desired(view));
    if !view.project.spec.active {
        let message = "spec.active is false: events are refused; everything stored stays readable.";
        return Verdict::new(ConditionStatus::False, Reason::Inactive, message);
    }
    if wanted == 0 {
        let message = "spec.backend.integrated.ingest.replicas is 0: nothing receives events.";
        return Verdict::new(ConditionStatus::False, Reason::ScaledToZero, message);
    }
    if *rollout == Rollout::default() && database.status != ConditionStatus::True {
        let message = "Ingest pods follow once the database is ready.";
        return Verdict::new(ConditionStatus::False, Reason::WaitingForPods, message);
    }
    let mut message = match view.observed.database {
        CatalogRow::Unavailable(_) if rollout.ready > 0 => {
            format!("{} of {wanted} ingest pods are ready; they answer 503 while Postgres is away.", rollout.ready)
        }
        _ => format!("{} of {wanted} ingest pods are ready.", rollout.ready),
    };
    if let Some(held) = &view.observed.held {
        let _ = write!(message, " {held}");
    }
    if let Some(refused) = &rollout.refused {
        let _ = write!(message, " Pods cannot be made: {refused}.");
    } else if rollout.failing {
        let name = view.project.metadata.name.as_deref().unwrap_or_default();
        let namespace = view.project.metadata.namespace.as_deref().unwrap_or_default();
        match &view.observed.pod_trouble {
            Some(trouble) => _ = write!(message, " New pods do not come up: {}.", trouble.trim_end_matches('.')),
            None => message.push_str(" New pods do not come up."),
        }
        let _ = write!(message, " See why: kubectl describe pod -n {namespace} -l {PROJECT_LABEL}={name}");
    } else if let Some(trouble) = &view.observed.autoscaler_trouble {
        let _ = write!(
            message,
            " Their number is not adapted to the load ({trouble}): the HorizontalPodAutoscaler needs the resource metrics \
             API."
        );
    }
    match rollout.ready {
        0 if rollout.failing || rollout.refused.is_some() => {
            Verdict::new(ConditionStatus::False, Reason::PodsFailing, message)
        }
        0 => Verdict::new(ConditionStatus::False, Reason::WaitingForPods, message),
        _ => Verdict::new(ConditionStatus::True, Reason::Available, message),
    }
}

/// Whether events come, which is for people and sums up to nothing: nobody has to send any. Told by the hour, so that a
/// project that receives all the time is written once an hour. `None`: the database does not say now.
fn receiving(view: &View<'_>) -> Option<Verdict> {
    let last = match &view.observed.database {
        CatalogRow::Known(known) => known.keys_used_at,
        CatalogRow::Unknown => None,
        CatalogRow::Unavailable(_) | CatalogRow::Elsewhere { .. } => return None,
    };
    let Some(hour) = last.and_then(|last| Timestamp::from_second(last.as_second().div_euclid(3600) * 3600).ok()) else {
        let message = "Nothing has come yet with any key of the project. It is looked for every ten minutes.";
        return Some(Verdict::new(ConditionStatus::Unknown, Reason::NoEventYet, message));
    };
    let message = format!("The last event came in the hour after {hour}.");
    Some(Verdict::new(ConditionStatus::True, Reason::EventReceived, message))
}

/// Ready sums up: events can be received and are stored. A project that was asked to have no pods is as it should be.
/// A failure beside pods that receive events shows in Reconciling or Stalled alone.
fn ready(view: &View<'_>, database: &Verdict, ingest: &Verdict) -> Verdict {
    let at_rest = matches!(ingest.reason, Reason::ScaledToZero | Reason::Inactive);
    let receives = ingest.status == ConditionStatus::True && view.observed.has_service();
    if database.status == ConditionStatus::True && (at_rest || receives) {
        return Verdict::new(ConditionStatus::True, ingest.reason, &ingest.message);
    }
    if let Some(failure) = view.failure {
        return Verdict::new(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    let missing = if database.status == ConditionStatus::True { ingest } else { database };
    Verdict::new(ConditionStatus::False, missing.reason, &missing.message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::{
        kinds::project::{
            plan::Catalogued,
            rollout::{Held, Rollout},
        },
        objects::child::Drift,
    };
    use crate::{
        operator::databases::Unavailable,
        store::{
            StoreError,
            admin::{Flood, FloodKind},
            tls::Tls,
        },
    };

    fn observed(rollout: Rollout) -> Observed {
        Observed {
            has_finalizer: true,
            past_limit: None,
            database: CatalogRow::Known(Catalogued::settled()),
            database_secret: Drift::None,
            secret_password: Some("aa".into()),
            workload: vec![],
            unwanted: vec![],
            hand_over: false,
            gateway_api_missing: false,
            rollout,
            held: None,
            autoscaler_trouble: None,
            pod_trouble: None,
            no_address: None,
            server: None,
        }
    }

    fn pods(desired: i32, ready: i32) -> Rollout {
        Rollout { desired, ready, updated: desired, existing: desired, seen: true, ..Rollout::default() }
    }

    fn status_of(spec: &Value, before: &ErrorTrackingProjectStatus, observed: &Observed) -> ErrorTrackingProjectStatus {
        let mut project: ErrorTrackingProject = serde_json::from_value(json!({
            "apiVersion": "errortracking.dev/v1alpha1", "kind": "ErrorTrackingProject",
            "metadata": {"name": "shop", "namespace": "web"}, "spec": spec,
        }))
        .unwrap();
        project.metadata.generation = Some(1);
        let id = ProjectId::new(42);
        let link = Tls::default().describe("db.web.svc", None);
        let home =
            HomeDatabase { server: "db:5432/e".into(), installation: "1a2b3c4d".into(), shared_login: None, link };
        let view = View { project: &project, before, observed, id, home: Some(home), failure: None, console: None };
        build(&view, Timestamp::from_second(1).unwrap())
    }

    fn condition(status: &ErrorTrackingProjectStatus, kind: &str) -> (String, String) {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status.clone(), found.reason.clone())
    }

    #[test]
    fn whether_events_come_is_told_by_the_hour() {
        let used = |at: Option<&str>| {
            let known = Catalogued { keys_used_at: at.map(|at| at.parse().unwrap()), ..Catalogued::settled() };
            Observed { database: CatalogRow::Known(known), ..observed(pods(2, 2)) }
        };
        let told = |before: &ErrorTrackingProjectStatus, observed: &Observed| {
            let status = status_of(&json!({}), before, observed);
            let found = status.conditions.iter().find(|condition| condition.type_ == "Receiving");
            let found = found.map(|of| format!("{} {} {}", of.status, of.reason, of.message));
            (status, found.unwrap_or_default())
        };
        let (none, message) = told(&ErrorTrackingProjectStatus::default(), &used(None));
        assert!(message.starts_with("Unknown NoEventYet Nothing has come yet"), "{message}");
        assert_eq!(condition(&none, "Ready"), ("True".into(), "Available".into()));
        let (first, message) = told(&none, &used(Some("2026-11-29T01:00:00Z")));
        assert_eq!(message, "True EventReceived The last event came in the hour after 2026-11-29T01:00:00Z.");
        for (at, writes) in [("2026-11-29T01:59:59Z", false), ("2026-11-29T02:00:01Z", true)] {
            assert_eq!(told(&first, &used(Some(at))).0 != first, writes, "{at}");
        }
        // A database that is away takes nothing back, and says nothing of a project that is new.
        let away = Observed { database: unavailable(), ..used(None) };
        assert_eq!(told(&first, &away).1, message);
        assert_eq!(told(&ErrorTrackingProjectStatus::default(), &away).1, "");
    }

    #[test]
    fn a_flood_is_told_until_an_hour_after_it_and_takes_nothing_away() {
        let flood = Flood { kind: FloodKind::Releases, an_hour: 500, since: Timestamp::UNIX_EPOCH, met: 1_234 };
        let with = |floods: Vec<Flood>| {
            let known = Catalogued { floods, ..Catalogued::settled() };
            Observed { database: CatalogRow::Known(known), ..observed(pods(2, 2)) }
        };
        let none = ErrorTrackingProjectStatus::default();
        let flooded = status_of(&json!({}), &none, &with(vec![flood]));
        assert_eq!(condition(&flooded, "Flooded"), ("True".into(), "TooManyNewReleases".into()));
        assert_eq!(condition(&flooded, "Ready"), ("True".into(), "Available".into()));
        // What changes all the time is not written all the time.
        assert_eq!(status_of(&json!({}), &flooded, &with(vec![Flood { met: 1_999, ..flood }])), flooded);
        // A database that is away takes nothing back.
        let away = Observed { database: unavailable(), ..with(vec![]) };
        assert_eq!(condition(&status_of(&json!({}), &flooded, &away), "Flooded").0, "True");
        let over = status_of(&json!({}), &flooded, &with(vec![]));
        assert!(!over.conditions.iter().any(|condition| condition.type_ == "Flooded"));
    }

    fn unavailable() -> CatalogRow {
        let refused = StoreError::Unavailable { message: "connection refused".into() };
        CatalogRow::Unavailable(Unavailable::refused(refused))
    }

    #[test]
    fn each_state_of_the_pods_is_told() {
        let held = |halted_by: Option<&str>| Observed {
            held: Some(Held { kept: "1".into(), newer: "2".into(), halted_by: halted_by.map(str::to_owned) }),
            ..observed(pods(2, 2))
        };
        let stuck = Rollout { updated: 1, existing: 3, failing: true, ..pods(2, 2) };
        let refused = Rollout { refused: Some("no PriorityClass".into()), updated: 0, existing: 0, ..pods(2, 0) };
        for (case, spec, observed, ready, reconciling) in [
            ("all run", json!({}), observed(pods(2, 2)), ("True", "Available"), ("False", "Idle")),
            ("one runs", json!({}), observed(pods(2, 1)), ("True", "Available"), ("True", "WaitingForPods")),
            ("none runs", json!({}), observed(pods(2, 0)), ("False", "WaitingForPods"), ("True", "WaitingForPods")),
            ("new ones fail", json!({}), observed(stuck), ("True", "Available"), ("True", "PodsFailing")),
            ("refused", json!({}), observed(refused), ("False", "PodsFailing"), ("True", "PodsFailing")),
            ("inactive", json!({"active": false}), observed(pods(0, 0)), ("True", "Inactive"), ("False", "Idle")),
            ("waits", json!({}), held(None), ("True", "Available"), ("True", "RolloutWaiting")),
            ("halted", json!({}), held(Some("a")), ("True", "Available"), ("True", "RolloutHalted")),
        ] {
            let status = status_of(&spec, &ErrorTrackingProjectStatus::default(), &observed);
            let found = (condition(&status, "Ready"), condition(&status, "Reconciling"));
            let pair = |(status, reason): (&str, &str)| (status.to_owned(), reason.to_owned());
            assert_eq!(found, (pair(ready), pair(reconciling)), "{case}");
        }
        let status = status_of(&json!({}), &ErrorTrackingProjectStatus::default(), &held(Some("a")));
        let message = &status.conditions.iter().find(|condition| condition.type_ == "IngestReady").unwrap().message;
        assert_eq!(
            message,
            "2 of 2 ingest pods are ready. They keep version 1: the rollout of version 2 is halted by a, where it \
             does not come up."
        );
    }

    #[test]
    fn an_autoscaler_at_work_changes_the_counts_and_no_condition() {
        let spec = || json!({"backend": {"integrated": {"ingest": {"autoscaling": {"maxReplicas": 8}}}}});
        let before = status_of(&spec(), &ErrorTrackingProjectStatus::default(), &observed(pods(2, 2)));
        assert_eq!(condition(&before, "Reconciling"), ("False".into(), "Idle".into()));
        for rollout in [Rollout { desired: 4, seen: false, ..pods(2, 2) }, pods(4, 2), pods(4, 4)] {
            let after = status_of(&spec(), &before, &observed(rollout.clone()));
            for kind in ["Ready", "Reconciling", "Stalled", "IngestReady"] {
                assert_eq!(condition(&after, kind), condition(&before, kind), "{kind} at {rollout:?}");
            }
            let ingest = after.ingest.unwrap();
            assert_eq!((ingest.replicas, ingest.ready), (4, format!("{}/4", rollout.ready)));
        }
    }
}
