//! Which keys an object has: its own, those that a lost object of its name left, or what only the Secret remembers.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

use super::{KeyPass, plan::Project, secret::KEY_ID_ANNOTATION};
use crate::{
    backend::{Backend, KeyId, KeyIdentity, PublishedKey},
    crd::ClientKey,
    operator::{
        databases::{BackendState, Unavailable, tombstones::Successor},
        kinds::{
            failure::{Failure, Waiting},
            kind::Kind,
        },
        objects::{
            EventReason, apply,
            child::{ChildKind, secret_value},
        },
    },
};

impl KeyPass<'_> {
    pub(super) async fn look_up(&mut self) -> Result<Project, Failure> {
        let found = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name);
        let Some(project) = found.as_ref().and_then(|project| project.0.as_ref().ok()) else {
            return Ok(Project::NotFound);
        };
        if project.metadata.deletion_timestamp.is_some() {
            return Ok(Project::Leaving);
        }
        let backend = match self.context.databases.backend_of(project) {
            BackendState::Ready(backend) => backend,
            // The status keeps what it held before the operator was started.
            BackendState::Unavailable(Unavailable::Connecting) if project.database_secret().is_some() => {
                return Err(Waiting::Connecting.into());
            }
            BackendState::Unavailable(Unavailable::Migrating(error)) if self.key.status.is_some() => {
                return Err(Waiting::Migrating(error).into());
            }
            BackendState::Unavailable(unavailable) => return Ok(Project::DatabaseUnavailable(unavailable)),
        };
        let project_uid = project.metadata.uid.clone().unwrap_or_default();
        match backend.observe(&project_uid, &self.uid).await {
            Ok(keys) if keys.are_accepted() => {
                self.keys = keys;
                Ok(Project::Known)
            }
            Ok(_) => Ok(Project::Starting),
            Err(error) if error.retryable() => Err(error.into()),
            Err(error) => Ok(Project::DatabaseUnavailable(Unavailable::refused(error))),
        }
    }

    /// The backend of the key's project, while there is one that answers.
    pub(super) fn backend(&self) -> Option<Backend> {
        let project = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name)?;
        match self.context.databases.backend_of(project.0.as_ref().ok()?) {
            BackendState::Ready(backend) => Some(backend),
            BackendState::Unavailable(_) => None,
        }
    }

    /// A crash after it finds the same key again.
    pub(super) async fn mint(&mut self, backend: &Backend) -> Result<(), Failure> {
        let project = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name);
        let project = project.as_ref().and_then(|project| project.0.as_ref().ok());
        let new = Successor {
            kind: ClientKey::NAME,
            namespace: &self.namespace,
            name: &self.name,
            database: project.and_then(|project| project.database_secret()),
        };
        self.context.tombstones.settle_for(&self.context.databases, new).await?;
        let owner = KeyIdentity {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            namespace_uid: apply::namespace_uid(&self.context.client, &self.namespace).await?,
            client_key_uid: self.uid.clone(),
        };
        backend.take_over(&mut self.keys, &owner).await?;
        if let Some(published) = self.published_key().await? {
            // After a restore of an older backup: applications have the key, and the backend has lost it, or knows only
            // the one of a former object of this name.
            backend.put_back(&mut self.keys, &owner, &published).await?;
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

    /// Reads the Secret if the cache does not keep it.
    pub(super) async fn read_large_secret(&mut self) -> Result<(), Failure> {
        let (kind, name) = (ChildKind::Secret, self.key.secret_name());
        if self.written.is_none() && self.context.caches.is_large_child(kind, &self.namespace, &name) {
            self.written = self.context.children.read(kind, &self.namespace, &name).await?.map(Arc::new);
        }
        Ok(())
    }

    /// The key that the live Secret names, if the Secret is the object's or that of a lost one of its name.
    async fn published_key(&self) -> Result<Option<PublishedKey>, Failure> {
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
        let Some(dsn) = secret_value(&live, "SENTRY_DSN") else { return Ok(None) };
        let id = live.annotations().get(KEY_ID_ANNOTATION).map(KeyId::new);
        Ok(Some(PublishedKey { dsn, id }))
    }
}
