//! `ErrorTrackingProject`: observe, plan, apply, and say how it went in the status.

mod children;
mod deletion;
mod identity;
mod login;
mod plan;
mod status;

pub use children::{DatabaseAddress, IngestImage, database_secret_name, ingest_name, internal_url};

use std::sync::Arc;

use jiff::Timestamp;
use kube::{Resource, ResourceExt, api::DynamicObject};
use secrecy::SecretString;

use self::plan::{Catalogued, Observed, Rollout, Step};
use super::{
    Context,
    apply::ApplyError,
    child::{Child, ChildKind, Drift, cached_digest, holder},
    controller::{Action, PassFailed},
    database::{Database, State},
    failure::Failure,
    pass::{self, Pass},
    watches::Guarded,
};
use crate::{
    crd::{DeletionPolicy, ErrorTrackingProject, FINALIZER},
    dsn::{ProjectId, hex},
    store::admin::{self, Phase, ProjectSettings, ProjectState},
};

/// One pass.
pub async fn reconcile(
    project: Arc<Guarded<ErrorTrackingProject>>,
    context: Arc<Context>,
) -> Result<Action, PassFailed> {
    let project = match &project.0 {
        Ok(project) => project,
        Err(invalid) => {
            if invalid.metadata.deletion_timestamp.is_some() {
                // What cannot be read is not asked to be dropped.
                return deletion::finish(&invalid.metadata, DeletionPolicy::Retain, &context).await;
            }
            let reported = context.report_invalid::<ErrorTrackingProject>(&invalid.metadata, &invalid.error).await;
            return pass::finished(reported.map_err(Failure::from));
        }
    };
    if project.metadata.deletion_timestamp.is_some() {
        return deletion::finish(&project.metadata, project.spec.deletion_policy, &context).await;
    }
    pass::run(ProjectPass::new(project, &context), &context).await
}

/// One pass over one project.
struct ProjectPass<'a> {
    project: &'a ErrorTrackingProject,
    context: &'a Context,
    namespace: String,
    name: String,
    uid: String,
    /// Added in this pass, so the cached object does not show it yet.
    finalizer_added: bool,
    id: Option<ProjectId>,
    role: Option<String>,
    /// What the API server answered in this pass, ahead of the cache.
    written: Vec<(ChildKind, String, DynamicObject)>,
}

impl<'a> ProjectPass<'a> {
    fn new(project: &'a ErrorTrackingProject, context: &'a Context) -> Self {
        Self {
            project,
            context,
            namespace: project.namespace().unwrap_or_default(),
            name: project.name_any(),
            uid: project.uid().unwrap_or_default(),
            finalizer_added: false,
            id: None,
            role: None,
            written: Vec::new(),
        }
    }

    fn workload(&self, id: ProjectId, database: &Database) -> Vec<Child> {
        children::workload(self.project, id, &self.context.image, database.address.port)
    }

    /// Everything in the Secret but the password, which is compared by its digest.
    fn compare_secret(&self, database: &Database) -> Drift {
        let password = SecretString::from("");
        let role = self.role.as_deref().unwrap_or_default();
        let desired = children::database_secret(self.project, &database.address, role, &password);
        let live = self.live(ChildKind::Secret, &desired.name).map(|live| {
            let mut live = (*live).clone();
            live.data["data"]["password"] = serde_json::json!(super::child::digest(b""));
            live
        });
        desired.compare(live.as_ref())
    }

    fn live(&self, kind: ChildKind, name: &str) -> Option<Arc<DynamicObject>> {
        let written = self.written.iter().rev().find(|(of, called, _)| *of == kind && called == name);
        match written {
            Some((_, _, object)) => Some(Arc::new(object.clone())),
            None => self.context.caches.child(kind, &self.namespace, name),
        }
    }

    fn child_name(&self, kind: ChildKind) -> String {
        match kind {
            ChildKind::Secret => database_secret_name(&self.name),
            _ => ingest_name(&self.name),
        }
    }

    /// Whether anything was written.
    async fn ensure(&mut self, child: &Child) -> Result<bool, Failure> {
        let live = self.context.ensure(child).await?;
        let written = live.is_some();
        self.written.extend(live.map(|live| (child.kind, child.name.clone(), live)));
        Ok(written)
    }
}

impl Pass for ProjectPass<'_> {
    type Kind = ErrorTrackingProject;
    type Observed = Observed;
    type Step = Step;

    const CONTROLLER: &'static str = "project";
    // Finalizer, database, workload, nothing.
    const ROUNDS: usize = 4;

    fn object(&self) -> &ErrorTrackingProject {
        self.project
    }

    async fn observe(&mut self) -> Result<Observed, Failure> {
        let has_finalizer = self.finalizer_added || self.project.finalizers().iter().any(|name| name == FINALIZER);
        let state = self.context.database_of(self.project);
        let (database, workload, database_secret) = match &state {
            State::Ready(database) => {
                let known = self.look_up(database).await?;
                let workload = self.id.map_or_else(Vec::new, |id| self.workload(id, database));
                (known, workload, self.compare_secret(database))
            }
            // Nothing is taken back that was said before the operator was started.
            State::Connecting if self.project.database_secret().is_some() => {
                return Err(Failure::Waiting("The operator is connecting to Postgres.".into()));
            }
            State::Connecting => (
                plan::Database::Unavailable {
                    reason: crate::crd::Reason::DatabaseUnavailable,
                    message: "The operator is connecting to Postgres.".into(),
                },
                Vec::new(),
                Drift::Absent,
            ),
            State::Unavailable { reason, message } => {
                (plan::Database::Unavailable { reason: *reason, message: message.clone() }, Vec::new(), Drift::Absent)
            }
        };
        let secret = self.live(ChildKind::Secret, &database_secret_name(&self.name));
        Ok(Observed {
            has_finalizer,
            database,
            database_secret,
            secret_password: secret.as_deref().and_then(|secret| cached_digest(secret, "password")),
            workload: workload
                .iter()
                .map(|child| (child.kind, self.context.drift(child, self.live(child.kind, &child.name))))
                .collect(),
            rollout: self
                .live(ChildKind::Deployment, &ingest_name(&self.name))
                .map(|live| rollout(&live))
                .unwrap_or_default(),
        })
    }

    fn plan(observed: &Observed) -> Vec<Step> {
        plan::plan(observed)
    }

    fn obstacle(&self, observed: &Observed) -> Option<Failure> {
        if let plan::Database::Elsewhere { id, server } = &observed.database {
            return Some(Failure::DatabaseChanged(format!(
                "Project {id} is in {server}, and the database that the operator uses now does not know it. Point the \
                 operator at that database again, or delete this project and apply it anew to start empty."
            )));
        }
        if let plan::Database::Unavailable { reason, message } = &observed.database {
            let failure = Failure::Database { reason: *reason, message: message.clone(), retryable: false };
            return failure.stalls().then_some(failure);
        }
        let (kind, drift) = plan::obstacle(observed)?;
        let name = self.child_name(kind);
        Some(match drift {
            Drift::Leaving => ApplyError::Leaving { kind, name }.into(),
            _ => Failure::Conflict { holder: self.live(kind, &name).as_deref().and_then(holder), kind, name },
        })
    }

    fn waits(observed: &Observed) -> bool {
        matches!(observed.database, plan::Database::Unavailable { .. })
    }

    fn name(step: Step) -> &'static str {
        step.as_str()
    }

    async fn perform(&mut self, observed: &Observed, step: Step) -> Result<(), Failure> {
        if step == Step::AddFinalizer {
            self.context.set_finalizer::<ErrorTrackingProject>(&self.project.metadata, true).await?;
            self.finalizer_added = true;
            return Ok(());
        }
        let State::Ready(database) = self.context.database_of(self.project) else {
            return Err(Failure::Waiting("Postgres went away during the pass".into()));
        };
        match (step, self.id) {
            (Step::Allocate, _) => self.allocate(&database).await?,
            (Step::RecordSettings, Some(id)) => {
                database.admin.record_settings(id, &settings(self.project)).await?;
            }
            (Step::Migrate, Some(id)) => {
                database.admin.migrate_project(id).await?;
                let schema = id.schema();
                self.context.announce(self.project, "SchemaMigrated", &format!("Schema {schema} is up to date.")).await;
            }
            (Step::CreatePartitions, Some(id)) => {
                database.admin.ensure_partitions(id, Timestamp::now()).await?;
            }
            (Step::PublishLogin, Some(id)) => self.publish_login(observed, &database, id).await?,
            (Step::Apply(kind), Some(id)) => {
                let Some(child) = self.workload(id, &database).into_iter().find(|child| child.kind == kind) else {
                    return Ok(());
                };
                let written = self.ensure(&child).await?;
                if written && kind == ChildKind::Deployment {
                    let note = format!("Deployment {} was applied.", child.name);
                    self.context.announce(self.project, "WorkloadApplied", &note).await;
                }
            }
            (_, None) | (Step::AddFinalizer, _) => {}
        }
        Ok(())
    }

    async fn write_status(&self, observed: &Observed, failure: Option<&Failure>) -> Result<(), ApplyError> {
        let before = self.context.status_before(self.project, self.project.status.clone());
        let place = match self.context.database_of(self.project) {
            State::Ready(database) => Some(status::Place::of(&database)),
            _ => None,
        };
        let view = status::View { project: self.project, before: &before, observed, id: self.id, place, failure };
        let status = status::build(&view, Timestamp::now());
        if before == status {
            return Ok(());
        }
        self.context.announce_changes(self.project, &before.conditions, &status.conditions).await;
        self.context.write_status(self.project, &status).await
    }
}

impl From<DeletionPolicy> for admin::DeletionPolicy {
    fn from(policy: DeletionPolicy) -> Self {
        match policy {
            DeletionPolicy::Retain => Self::Retain,
            DeletionPolicy::Delete => Self::Delete,
        }
    }
}

fn settings(project: &ErrorTrackingProject) -> ProjectSettings {
    ProjectSettings {
        deletion_policy: project.spec.deletion_policy.into(),
        display_name: project.spec.display_name.clone(),
        platform: project.spec.platform.clone(),
    }
}

fn catalogued(state: &ProjectState, project: &ErrorTrackingProject, now: Timestamp) -> Catalogued {
    Catalogued {
        retired: state.phase != Phase::Active,
        settings_recorded: state.settings == settings(project),
        migrated: state.migrated(),
        password: state.password_digest.filter(|digest| state.login_ready(*digest)).map(|digest| hex(&digest)),
        partitions_complete: state.partitions_ready(now),
    }
}

/// Reads what the Deployment controller says in `.status`.
fn rollout(deployment: &DynamicObject) -> Rollout {
    let number = |value: &serde_json::Value| i32::try_from(value.as_i64().unwrap_or_default()).unwrap_or_default();
    let (spec, status) = (&deployment.data["spec"], &deployment.data["status"]);
    let desired = number(&spec["replicas"]);
    let seen = status["observedGeneration"].as_i64() == deployment.meta().generation;
    let failing = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Progressing" && condition["status"] == "False");
    Rollout {
        desired,
        ready: number(&status["readyReplicas"]),
        complete: seen
            && number(&status["updatedReplicas"]) == desired
            && number(&status["readyReplicas"]) == desired
            && number(&status["replicas"]) == desired,
        failing: seen && failing,
    }
}
