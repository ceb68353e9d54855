//! Which keys an object has: its own, those that a lost object of its name left, or what only the Secret remembers.

use std::sync::Arc;

use kube::{Resource, ResourceExt, api::DynamicObject};
use secrecy::ExposeSecret as _;

use super::{
    KeyPass,
    plan::Project,
    secret::{KEY_ID_ANNOTATION, RETIRING_KEY_ANNOTATION},
};
use crate::{
    backend::{Backend, Key, KeyId, KeyIdentity, KeyObjects, Keys, PublishedKey},
    crd::{ClientKey, ErrorTrackingProject},
    kubernetes::names::DSN_ENTRY,
    operator::{
        databases::{BackendState, Unavailable, tombstones::Successor},
        kinds::{
            failure::{Failure, Waiting},
            kind::Kind,
        },
        objects::{
            EventReason, apply,
            child::{ChildKind, digest, secret_value, written_by_others},
        },
    },
};

impl KeyPass<'_> {
    /// The project, and its backend while it takes keys.
    pub(super) async fn look_up(&mut self) -> Result<(Project, Option<Backend>), Failure> {
        let without = |project| Ok((project, None));
        let found = self.project();
        let Some(project) = found.as_ref().and_then(|project| project.0.as_ref().ok()) else {
            return without(self.kept_out());
        };
        if !self.is_let_in(project).await? {
            let kept_out = self.kept_out();
            if matches!(kept_out, Project::Withdrawn) {
                self.observe_withdrawn(project).await;
            }
            return without(kept_out);
        }
        if project.metadata.deletion_timestamp.is_some() {
            return without(Project::Leaving);
        }
        let backend = match self.context.databases.backend_of(project) {
            BackendState::Ready(backend) => *backend,
            // The status keeps what it held before the operator was started.
            BackendState::Unavailable(Unavailable::Connecting) if project.database_secret().is_some() => {
                return Err(Waiting::Connecting.into());
            }
            BackendState::Unavailable(Unavailable::Migrating(error)) if self.key.status.is_some() => {
                return Err(Waiting::Migrating(error).into());
            }
            BackendState::Unavailable(unavailable) => return without(Project::DatabaseUnavailable(unavailable)),
        };
        let project_uid = project.metadata.uid.as_deref().unwrap_or_default();
        let objects = KeyObjects { project_uid, client_key_uid: &self.uid };
        let observed = match self.keys_after_step.take() {
            Some(keys) => Ok(keys),
            None => backend.observe(objects).await,
        };
        match observed {
            Ok(keys) if keys.are_accepted() => {
                self.keys = keys;
                Ok((Project::Known, Some(backend)))
            }
            Ok(_) => without(Project::Starting),
            Err(error) if error.retryable() => Err(error.into()),
            Err(error) => without(Project::DatabaseUnavailable(Unavailable::refused(error))),
        }
    }

    /// The keys of an object that its project does not let in any more. While their backend is away nothing is known of
    /// them, which must not show.
    async fn observe_withdrawn(&mut self, project: &ErrorTrackingProject) {
        let BackendState::Ready(backend) = self.context.databases.backend_of(project) else { return };
        let project_uid = project.metadata.uid.as_deref().unwrap_or_default();
        let objects = KeyObjects { project_uid, client_key_uid: &self.uid };
        if let Ok(keys) = backend.observe(objects).await {
            self.keys = keys;
        }
    }

    pub(super) fn project_uid(&self) -> String {
        let project = self.project();
        let project = project.as_deref().and_then(|project| project.0.as_ref().ok());
        project.and_then(|project| project.metadata.uid.clone()).unwrap_or_default()
    }

    /// The backend of the key's project, while there is one that answers.
    pub(super) fn backend(&self) -> Option<Backend> {
        let project = self.project()?;
        match self.context.databases.backend_of(project.0.as_ref().ok()?) {
            BackendState::Ready(backend) => Some(*backend),
            BackendState::Unavailable(_) => None,
        }
    }

    /// A crash after it finds the same key again.
    pub(super) async fn mint(&mut self, backend: &Backend) -> Result<(), Failure> {
        let project = self.project();
        let project = project.as_ref().and_then(|project| project.0.as_ref().ok());
        let new = Successor {
            kind: ClientKey::NAME,
            namespace: &self.namespace,
            name: &self.name,
            database: project.and_then(|project| project.database_secret()),
            database_namespace: self.key.project_namespace(),
        };
        self.context.tombstones.settle_for(&self.context.databases, new).await?;
        let owner = self.owner().await?;
        backend.take_over(&mut self.keys, &owner).await?;
        // Where another server keeps keys, a Secret that somebody else wrote could name a key of theirs.
        let believed = |by_us: bool| by_us || backend.server().is_none();
        if let Some((published, _)) = self.published_key().await?.filter(|(_, by_us)| believed(*by_us)) {
            let project_uid = self.project_uid();
            // After a restore of an older backup: applications have the key, and the backend has lost it, or knows only
            // the one of a former object of this name.
            backend.put_back(&mut self.keys, &project_uid, &owner, &published).await?;
        }
        if let Some(key) = self.keys.active() {
            let note = format!("Key {}… was taken over.", key.public_key.prefix());
            self.context.events.announce(self.key, EventReason::KeyAdopted, &note);
            return Ok(());
        }
        let key = backend.mint(&mut self.keys, &owner).await?;
        self.context.events.announce(
            self.key,
            EventReason::KeyMinted,
            &format!("Key {}… was made.", key.public_key.prefix()),
        );
        Ok(())
    }

    async fn owner(&self) -> Result<KeyIdentity, Failure> {
        Ok(KeyIdentity {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            namespace_uid: apply::namespace_uid(&self.context.client, &self.namespace).await?,
            client_key_uid: self.uid.clone(),
        })
    }

    /// Which of the object's keys the Secret names. One that the backend does not know is put back if the operator wrote it
    /// there: the database is older than the Secret.
    pub(super) async fn named_key(
        &mut self,
        backend: &Backend,
        live: Option<&DynamicObject>,
    ) -> Result<Option<usize>, Failure> {
        let Some(live) = live else { return Ok(None) };
        let value = live.data["data"][DSN_ENTRY].as_str();
        let names =
            |key: &Key| self.dsn(key).is_some_and(|dsn| value == Some(&*digest(dsn.expose_secret().as_bytes())));
        let found = self.keys.all().iter().rposition(names);
        // Without a key that lives, the next step looks for those that were lost.
        if found.is_some() || value.is_none() || self.secret_read || self.keys.living().next().is_none() {
            return Ok(found);
        }
        self.secret_read = true;
        let Some((published, by_us)) = self.published_key().await? else { return Ok(None) };
        let Some(public_key) = published.public_key() else { return Ok(None) };
        let find = |keys: &Keys| keys.all().iter().rposition(|key| key.public_key == public_key);
        if find(&self.keys).is_none() && by_us {
            let (owner, project_uid) = (self.owner().await?, self.project_uid());
            backend.put_back(&mut self.keys, &project_uid, &owner, &published).await?;
            if find(&self.keys).is_some() {
                let note = format!("Key {}… was put back: the database had lost it.", public_key.prefix());
                self.context.events.announce(self.key, EventReason::KeyAdopted, &note);
            }
        }
        Ok(find(&self.keys))
    }

    /// Reads the Secret if the cache does not keep it.
    pub(super) async fn read_large_secret(&mut self) -> Result<(), Failure> {
        if self.written.is_none() {
            self.written = self.read_large(&self.key.secret_name()).await?;
        }
        Ok(())
    }

    /// `None` also for a Secret that the cache keeps.
    pub(super) async fn read_large(&self, secret: &str) -> Result<Option<Arc<DynamicObject>>, Failure> {
        let (context, kind) = (self.context, ChildKind::Secret);
        if !context.caches.is_large_child(kind, &self.namespace, secret) {
            return Ok(None);
        }
        Ok(context.children.read(kind, &self.namespace, secret).await?.map(Arc::new))
    }

    /// The key that the live Secret names, if the Secret is the object's or that of a lost one of its name; and whether the
    /// operator wrote it there.
    async fn published_key(&self) -> Result<Option<(PublishedKey, bool)>, Failure> {
        let name = self.key.secret_name();
        // Nearly every key is new and has none: the cache says so without a question to the API server.
        let (caches, kind) = (&self.context.caches, ChildKind::Secret);
        if caches.child(kind, &self.namespace, &name).is_none() && !caches.is_large_child(kind, &self.namespace, &name)
        {
            return Ok(None);
        }
        let owner = self.key.controller_owner_ref(&()).unwrap_or_default();
        let live =
            apply::read_inherited(&self.context.client, ChildKind::Secret, &self.namespace, &name, &owner).await?;
        let Some(live) = live else { return Ok(None) };
        let Some(dsn) = secret_value(&live, DSN_ENTRY) else { return Ok(None) };
        let annotation = |name: &str| live.annotations().get(name);
        let id = annotation(KEY_ID_ANNOTATION).map(KeyId::new);
        let retiring = annotation(RETIRING_KEY_ANNOTATION).and_then(|key| key.parse().ok());
        Ok(Some((PublishedKey { dsn, id, retiring }, !written_by_others(&live, DSN_ENTRY))))
    }
}
