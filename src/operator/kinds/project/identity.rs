//! The identity of a project: its number, and the database that has it.

use jiff::Timestamp;
use kube::runtime::events::EventType;
use tracing::warn;

use super::{
    ProjectPass, login,
    plan::{CatalogRow, Catalogued},
    rollout::Rollout,
    scale,
};
use crate::{
    crd::ErrorTrackingProject,
    dsn::{ProjectId, hex},
    operator::{
        databases::{Database, DatabaseState, Unavailable, tombstones::Successor},
        kinds::{
            failure::{Failure, Waiting},
            kind::Kind,
        },
        objects::{EventReason, apply, child::ChildKind},
    },
    store::{
        Admin, StoreError,
        admin::{Location, Phase, ProjectIdentity, ProjectRow, password_digest},
    },
};

impl ProjectPass<'_> {
    /// Looks the project up in the database.
    pub(super) async fn look_up(&mut self, database: &Database) -> Result<CatalogRow, Failure> {
        match database.admin.observe_object(&self.uid).await {
            Ok(Some(state)) => {
                self.id = Some(state.project_id);
                self.role.clone_from(&state.ingest_role);
                // Who asks for no way in any more gets none.
                if self.project.external_url().is_some() {
                    self.endpoints.clone_from(&state.endpoints);
                }
                let known = self.catalogued(&state, Timestamp::now());
                let placed = self.is_placed(database, &state).await;
                Ok(CatalogRow::Known(Catalogued {
                    retired: known.retired || !placed,
                    password: known.password.filter(|digest| agrees(database, &state, digest)),
                    ..known
                }))
            }
            Ok(None) => Ok(self.elsewhere(database).unwrap_or(CatalogRow::Unknown)),
            Err(error) if error.retryable() => Err(error.into()),
            Err(error) => Ok(CatalogRow::Unavailable(Unavailable::refused(error))),
        }
    }

    fn catalogued(&self, state: &ProjectRow, now: Timestamp) -> Catalogued {
        let rollout = self.own(ChildKind::Deployment).as_deref().map(Rollout::of).unwrap_or_default();
        let pods = scale::pods_to_serve(self.project.scale(), &rollout, state.ingest_pods);
        Catalogued {
            retired: state.phase != Phase::Active,
            settings_recorded: state.settings.as_ref() == Some(&self.asked.settings),
            migrated: state.migrated(),
            password: state.password_digest.filter(|digest| state.login_ready(*digest)).map(|digest| hex(&digest)),
            // One that the operator shares is not its own to change.
            login_due: state.connection_limit.is_some()
                && login::is_due(state.project_id, state.login_since, self.context.login_lifetime, now),
            pods_granted: state.serves_pods(pods),
            partitions_complete: state.partitions_ready(now),
            keys_used_at: state.keys_used_at,
            floods: state.floods.clone(),
        }
    }

    /// A project that has a number in another database is not given one here: every DSN would change. A database is
    /// known by its installation, which an older backup of it shows too; statuses of before know the address alone.
    fn elsewhere(&self, database: &Database) -> Option<CatalogRow> {
        let status = self.project.status.as_ref()?;
        let (id, known) = (status.project_id?, status.database.as_ref()?);
        let same = match &known.installation {
            Some(installation) => installation == database.admin.installation().as_str(),
            None => known.server == database.server,
        };
        (!same).then(|| CatalogRow::Elsewhere { id, server: known.server.clone() })
    }

    /// Whether the operator's own database, which gives the numbers, says that the project is where it is.
    async fn is_placed(&self, database: &Database, state: &ProjectRow) -> bool {
        let Some(location) = self.location(database) else { return state.location.is_none() };
        let DatabaseState::Ready(own) = self.context.databases.own() else { return true };
        match own.admin.observe_object(&self.uid).await {
            Ok(Some(entry)) => {
                entry.project_id == state.project_id && entry.phase == Phase::Active && entry.location == Some(location)
            }
            Ok(None) => false,
            // Nothing is known: what is there is left as it is.
            Err(_) => true,
        }
    }

    fn location(&self, database: &Database) -> Option<Location> {
        let secret = self.project.database_secret()?.to_owned();
        Some(Location { secret, server: database.server.clone() })
    }

    /// The number that the object had in this database, as its status says.
    fn number_before(&self, credible: ProjectId) -> Option<ProjectId> {
        let number = ProjectId::try_from(self.project.status.as_ref()?.project_id?).ok()?;
        Some(number).filter(|number| *number <= credible)
    }

    /// The largest number that any status may name and be believed, in the database that gives them. Whoever wrote
    /// more is told.
    async fn largest_credible_number(&self, giver: &Admin) -> Result<ProjectId, StoreError> {
        let credible = giver.largest_credible_number().await?;
        for (object, number) in self.context.caches.incredible_project_ids(credible) {
            let note = format!(
                "status.projectID is {number}, and no number above {credible} can have been given out: it is ignored. \
                 Nobody but the operator writes the status; see who else may patch errortrackingprojects/status here."
            );
            let (namespace, name) = (&object.namespace, &object.name);
            warn!(?namespace, ?name, number, %credible, "A status claims a number that was never given out.");
            self.context.events.publish(
                &object,
                EventType::Warning,
                "Reconcile",
                EventReason::NumberIgnored.as_str(),
                &note,
            );
        }
        Ok(credible)
    }

    /// Takes a number for the project, or the one it had before: that of its row, of a lost object of its namespace and
    /// name, or of its status, when an older backup has lost the row.
    pub(super) async fn allocate(&mut self, database: &Database) -> Result<(), Failure> {
        let new = Successor {
            kind: ErrorTrackingProject::NAME,
            namespace: &self.namespace,
            name: &self.name,
            database: self.project.database_secret(),
            database_namespace: &self.namespace,
        };
        self.context.tombstones.settle_for(&self.context.databases, new).await?;
        let identity = ProjectIdentity {
            namespace_uid: apply::namespace_uid(&self.context.client, &self.namespace).await?,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            object_uid: self.uid.clone(),
        };
        let own = match self.location(database) {
            Some(_) => match self.context.databases.own() {
                DatabaseState::Ready(own) => Some(own),
                _ => return Err(Waiting::NoNumber.into()),
            },
            None => None,
        };
        let credible = self.largest_credible_number(&own.as_deref().unwrap_or(database).admin).await?;
        let before = self.number_before(credible);
        let (policy, floor) =
            (self.project.spec.deletion_policy.into(), self.context.caches.largest_project_id(credible));
        // The number of the status is an offer: without a row it is taken, unless somebody has it.
        let take = async |admin: &Admin| match before {
            Some(id) if self.id.is_none() => match admin.restore_project(id, &identity, policy).await {
                Ok(()) => Ok(id),
                Err(StoreError::SchemaMismatch { .. }) => admin.allocate_project(&identity, floor, policy).await,
                Err(error) => Err(error),
            },
            _ => admin.allocate_project(&identity, floor, policy).await,
        };
        let id = if let (Some(location), Some(own)) = (self.location(database), own) {
            // The events decide: they are under the number that their database has. But the people of the namespace can
            // write anything there: it must be one that the object can have had.
            let id = match database.admin.find_project(&identity).await? {
                Some(id) if before == Some(id) || own.admin.may_have_number(id, &identity).await? => {
                    own.admin.restore_project(id, &identity, policy).await?;
                    id
                }
                found => {
                    let id = take(&own.admin).await?;
                    if let Some(found) = found.filter(|found| *found != id) {
                        database.admin.release_number(found).await?;
                    }
                    id
                }
            };
            own.admin.record_location(id, Some(&location)).await?;
            database.admin.restore_project(id, &identity, policy).await?;
            id
        } else {
            let id = take(&database.admin).await?;
            if self.id.is_some() {
                // It may have been kept elsewhere.
                database.admin.record_location(id, None).await?;
            }
            id
        };
        self.id = Some(id);
        self.context.events.announce(
            self.project,
            EventReason::ProjectAllocated,
            &format!("The project has number {id}."),
        );
        Ok(())
    }
}

/// Whether the row's login is the one to publish. A shared login is the operator's present one.
fn agrees(database: &Database, state: &ProjectRow, digest: &str) -> bool {
    if let Some((role, password)) = database.shared_login() {
        return state.ingest_role.as_deref() == Some(role) && hex(&password_digest(password)) == digest;
    }
    let made = database.admin.installation().ingest_roles(state.project_id);
    state.ingest_role.as_ref().is_some_and(|role| made.contains(role))
}
