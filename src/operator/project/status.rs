//! What a project's status says: a pure function from what was observed and what went wrong.

use jiff::Timestamp;

use super::plan::{self, Observed};
use crate::{
    crd::{
        ConditionStatus, ConditionType, Conditions, DatabaseStatus, ErrorTrackingProject, ErrorTrackingProjectStatus,
        IngestMode, IngestStatus, Reason,
    },
    dsn::ProjectId,
    operator::{child::PROJECT_LABEL, database::Database, failure::Failure},
};

/// Everything a status is made from.
pub struct View<'a> {
    pub project: &'a ErrorTrackingProject,
    pub before: &'a ErrorTrackingProjectStatus,
    pub observed: &'a Observed,
    pub id: Option<ProjectId>,
    /// `None` while the database is away.
    pub place: Option<Place>,
    pub failure: Option<&'a Failure>,
}

/// The database that the project is in.
pub struct Place {
    pub server: String,
    pub installation: String,
    /// Name of the operator's login, when the ingest pods use it too.
    pub shared_login: Option<String>,
}

impl Place {
    #[must_use]
    pub fn of(database: &Database) -> Self {
        Self {
            server: database.server.clone(),
            installation: database.admin.installation().to_string(),
            shared_login: database.shared_login().map(|(role, _)| role.to_owned()),
        }
    }
}

/// One condition before it is written down.
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
    let database = database(view);
    let ingest = ingest(view);
    let stalled = view.failure.filter(|failure| failure.stalls());
    let ready = ready(view, &database, &ingest);
    let under_way = if ready.status != ConditionStatus::True {
        Some((ready.reason, ready.message.clone()))
    } else if view.observed.rollout.complete {
        None
    } else {
        Some((Reason::WaitingForPods, ingest.message.clone()))
    };

    let mut conditions = Conditions::new(&view.before.conditions, project.metadata.generation, now);
    conditions.set(ConditionType::Ready, ready.status, ready.reason, &ready.message);
    conditions.set_progress(under_way, stalled.map(|failure| (failure.reason(), failure.to_string())));
    conditions.set(ConditionType::DatabaseReady, database.status, database.reason, database.message);
    conditions.set(ConditionType::IngestReady, ingest.status, ingest.reason, ingest.message);

    let id = view.id.map(ProjectId::as_i64).or(view.before.project_id);
    let namespace = project.metadata.namespace.as_deref().unwrap_or_default();
    let name = project.metadata.name.as_deref().unwrap_or_default();
    ErrorTrackingProjectStatus {
        observed_generation: project.metadata.generation,
        conditions: conditions.finish(),
        project_id: id,
        database: match (&view.place, view.id) {
            (Some(place), Some(id)) => Some(DatabaseStatus {
                schema: id.schema(),
                server: place.server.clone(),
                installation: Some(place.installation.clone()),
            }),
            _ => view.before.database.clone(),
        },
        ingest: id.map(|_| IngestStatus {
            mode: IngestMode::Dedicated,
            internal_url: super::internal_url(namespace, name),
            replicas: desired(project),
            ready_replicas: view.observed.rollout.ready,
        }),
    }
}

fn desired(project: &ErrorTrackingProject) -> i32 {
    project.spec.backend.integrated.as_ref().map_or(0, |integrated| integrated.ingest.replicas())
}

fn database(view: &View<'_>) -> Verdict {
    if let Some(failure @ (Failure::Database { .. } | Failure::DatabaseChanged(_))) = view.failure {
        return Verdict::new(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    match &view.observed.database {
        plan::Database::Unavailable { reason, message } => Verdict::new(ConditionStatus::False, *reason, message),
        plan::Database::Known(known) if known.migrated && known.partitions_complete && known.password.is_some() => {
            let schema = view.id.map(ProjectId::schema).unwrap_or_default();
            let shared = view.place.as_ref().and_then(|place| place.shared_login.as_deref());
            let (reason, message) = match shared {
                Some(role) => (
                    Reason::SharedCredentials,
                    format!(
                        "Schema {schema} is up to date. Login {role} may not create roles, so the ingest pods use it too: who \
                         takes over a pod can read and change everything in this database. Give the login CREATEROLE \
                         to end that."
                    ),
                ),
                None => (Reason::Available, format!("Schema {schema} is up to date.")),
            };
            Verdict::new(ConditionStatus::True, reason, message)
        }
        _ => Verdict::new(ConditionStatus::False, Reason::Progressing, "The schema and its login are being made."),
    }
}

fn ingest(view: &View<'_>) -> Verdict {
    let (rollout, wanted) = (view.observed.rollout, desired(view.project));
    let counted = match view.observed.database {
        plan::Database::Unavailable { .. } if rollout.ready > 0 => {
            format!("{} of {wanted} ingest pods are ready; they answer 503 while Postgres is away.", rollout.ready)
        }
        _ => format!("{} of {wanted} ingest pods are ready.", rollout.ready),
    };
    if wanted == 0 {
        let message = "spec.backend.integrated.ingest.replicas is 0: nothing receives events.";
        return Verdict::new(ConditionStatus::False, Reason::ScaledToZero, message);
    }
    match rollout.ready {
        0 if rollout.failing => {
            let name = view.project.metadata.name.as_deref().unwrap_or_default();
            let message = format!("{counted} See why: kubectl describe pod -l {PROJECT_LABEL}={name}");
            Verdict::new(ConditionStatus::False, Reason::PodsFailing, message)
        }
        0 => Verdict::new(ConditionStatus::False, Reason::WaitingForPods, counted),
        _ => Verdict::new(ConditionStatus::True, Reason::Available, counted),
    }
}

/// Ready sums up: events can be received and are stored. A project that was asked to have no pods is as it should be.
fn ready(view: &View<'_>, database: &Verdict, ingest: &Verdict) -> Verdict {
    if let Some(failure) = view.failure {
        return Verdict::new(ConditionStatus::False, failure.reason(), failure.to_string());
    }
    if database.status != ConditionStatus::True {
        return Verdict::new(ConditionStatus::False, database.reason, &database.message);
    }
    if ingest.reason == Reason::ScaledToZero {
        return Verdict::new(ConditionStatus::True, Reason::ScaledToZero, &ingest.message);
    }
    Verdict::new(ingest.status, ingest.reason, &ingest.message)
}
