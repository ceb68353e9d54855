//! Which key rows an object has: its own, those that a lost object of its name left, or what only the Secret remembers.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};

use super::{KeyPass, plan::Project, secret::KEY_ID_ANNOTATION};
use crate::{
    crd::{ClientKey, Reason},
    dsn::{Dsn, ProjectId, PublicKey, hex},
    operator::{
        databases::{Database, DatabaseState, tombstones::Successor},
        kinds::{failure::Failure, kind::Kind},
        objects::{
            apply,
            child::{ChildKind, secret_value},
        },
    },
    store::{StoreError, admin::KeyIdentity},
};
use kube::{Resource, ResourceExt};

impl KeyPass<'_> {
    pub(super) async fn look_up(&mut self) -> Result<Project, Failure> {
        let found = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name);
        let Some(project) = found.as_ref().and_then(|project| project.0.as_ref().ok()) else {
            return Ok(Project::NotFound);
        };
        if project.metadata.deletion_timestamp.is_some() {
            return Ok(Project::Leaving);
        }
        let unavailable = |reason, message: String| Project::DatabaseUnavailable { reason, message };
        let database = match self.context.databases.of_project(project) {
            DatabaseState::Ready(database) => database,
            DatabaseState::Unavailable { reason, message } => return Ok(unavailable(reason, message)),
            // Nothing is taken back that was said before the operator was started.
            DatabaseState::Connecting if project.database_secret().is_some() => {
                return Err(Failure::Waiting("The operator is connecting to Postgres.".into()));
            }
            DatabaseState::Connecting => {
                return Ok(unavailable(Reason::DatabaseUnavailable, "The operator is connecting to Postgres.".into()));
            }
        };
        let project_uid = project.metadata.uid.clone().unwrap_or_default();
        match self.read(&database, &project_uid).await {
            Ok(found) => Ok(found),
            Err(error) if error.retryable() => Err(Failure::Waiting(error.message().into_owned())),
            Err(error) => Ok(unavailable(error.reason(), error.message().into_owned())),
        }
    }

    async fn read(&mut self, database: &Database, project_uid: &str) -> Result<Project, StoreError> {
        let (ready, rows) = database.admin.observe_keys(project_uid, &self.uid).await?;
        let Some(id) = ready else { return Ok(Project::Starting) };
        // The project may have another number than it had: what that one knew is refused.
        self.rows = rows.into_iter().filter(|row| row.project_id == id).collect();
        Ok(Project::Known(id))
    }

    /// Idempotent by the object's uid and the ordinal: a crash after it finds the same key again.
    pub(super) async fn mint(&mut self, database: &Database, project: ProjectId) -> Result<(), Failure> {
        let of = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name);
        let of = of.as_ref().and_then(|project| project.0.as_ref().ok());
        let new = Successor {
            kind: ClientKey::NAME,
            namespace: &self.namespace,
            name: &self.name,
            database: of.and_then(|project| project.database_secret()),
        };
        self.context.tombstones.settle_for(&self.context.databases, new).await?;
        let identity = KeyIdentity {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            namespace_uid: apply::namespace_uid(&self.context.client, &self.namespace).await?,
            client_key_uid: self.uid.clone(),
        };
        self.rows = database.admin.take_keys_over(project, &identity).await?;
        self.rows.retain(|row| row.project_id == project);
        if self.active().is_none() {
            self.put_back(database, project, &identity).await?;
        }
        if let Some(row) = self.active() {
            let note = format!("Key {}… was taken over.", row.public_key.prefix());
            self.context.events.announce(self.key, "KeyAdopted", &note);
            return Ok(());
        }
        let public_key = PublicKey::from_random(rand::rng().random());
        let secret = SecretString::from(hex(&rand::rng().random::<[u8; 16]>()));
        let ordinal = self.next_ordinal();
        let row = database.admin.mint_key(project, &identity, ordinal, &public_key, &secret).await?;
        self.context.events.announce(self.key, "KeyMinted", &format!("Key {}… was made.", row.public_key.prefix()));
        self.rows.push(row);
        Ok(())
    }

    fn next_ordinal(&self) -> i32 {
        self.rows.iter().map(|row| row.ordinal).max().unwrap_or_default() + 1
    }

    /// After a restore of an older backup: applications have the key from the Secret, and the row is gone.
    async fn put_back(
        &mut self,
        database: &Database,
        project: ProjectId,
        identity: &KeyIdentity,
    ) -> Result<(), Failure> {
        let Some((public_key, key_id)) = self.published_key(project).await? else { return Ok(()) };
        match database.admin.adopt_key(project, identity, self.next_ordinal(), &public_key, key_id).await {
            Ok(row) => self.rows.push(row),
            // Somebody else's key in our Secret: it gets one of its own.
            Err(StoreError::SchemaMismatch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The key that the live Secret names, and its id, if the Secret is the object's or that of a lost one of its name.
    async fn published_key(&self, project: ProjectId) -> Result<Option<(PublicKey, Option<i64>)>, Failure> {
        let name = self.key.secret_name();
        // Nearly every key is new and has none: the cache says so without a question to the API server.
        if self.context.caches.child(ChildKind::Secret, &self.namespace, &name).is_none() {
            return Ok(None);
        }
        let owner = self.key.controller_owner_ref(&()).unwrap_or_default();
        let live =
            apply::read_inherited(&self.context.client, ChildKind::Secret, &self.namespace, &name, &owner).await?;
        let Some(live) = live else { return Ok(None) };
        let dsn = secret_value(&live, "SENTRY_DSN").and_then(|dsn| dsn.expose_secret().parse::<Dsn>().ok());
        let key_id = live.annotations().get(KEY_ID_ANNOTATION).and_then(|key_id| key_id.parse().ok());
        Ok(dsn.filter(|dsn| dsn.project_id == project).map(|dsn| (dsn.public_key, key_id)))
    }
}
