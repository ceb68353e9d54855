//! A key goes: it is revoked and its Secret deleted, or both live on without the object.

use crate::{
    crd::{ClientKey, ErrorTrackingProject, KeyDeletionPolicy},
    operator::{
        databases::tombstones::Tombstone,
        engine::queue::ObjectName,
        kinds::{
            Context,
            deletion::{Deleted, Undo},
        },
        objects::child::ChildKind,
    },
};

/// What the deletion of a key undoes. One that cannot be read is revoked; its Secret is left to garbage collection.
pub fn undo(deleted: &Deleted<'_, ClientKey>, context: &Context) -> Vec<Undo> {
    let (kind, secret) = (ChildKind::Secret, deleted.object.map(ClientKey::secret_name));
    let binding = deleted.object.filter(|key| key.spec.service_binding).map(ClientKey::binding_name);
    let policy = deleted.object.map_or(KeyDeletionPolicy::Revoke, |key| key.spec.deletion_policy);
    if policy == KeyDeletionPolicy::Orphan {
        let secrets = [("orphan", secret), ("orphan-binding", binding)].into_iter();
        return secrets.filter_map(|(step, name)| Some(Undo::OrphanChild { step, kind, name: name? })).collect();
    }
    let mut undo = vec![Undo::Settle { step: "revoke", tombstone: tombstone(deleted, context) }];
    let project = deleted.object.map(|key| ObjectName::new(key.project_namespace(), &key.spec.project_ref.name));
    if let Some(project) = project.filter(|project| context.caches.is_elsewhere(project)) {
        undo.push(Undo::TakeBack { step: "take-back", project });
    }
    let secrets = [("delete-secret", secret), ("delete-binding", binding)].into_iter();
    undo.extend(secrets.filter_map(|(step, name)| Some(Undo::DeleteChild { step, kind, name: name? })));
    undo
}

fn tombstone(deleted: &Deleted<'_, ClientKey>, context: &Context) -> Tombstone {
    let Deleted { namespace, name, uid, object } = deleted;
    let project = if let Some(key) = object {
        Some(ObjectName::new(key.project_namespace(), &key.spec.project_ref.name))
    } else {
        let facts = context.caches.of::<ClientKey>().cache.facts(namespace, name);
        facts.and_then(|facts| facts.target(namespace))
    };
    let project = project.unwrap_or_else(|| ObjectName::new(namespace, ""));
    // Whether the key's namespace is let in does not matter: what is the object's is revoked.
    let tombstone = match KeyLocation::find(&project, context) {
        KeyLocation::OperatorDatabase => Tombstone::client_key(uid, namespace, name, None),
        KeyLocation::ProjectDatabase { secret } => Tombstone::client_key(uid, namespace, name, Some(secret)),
        KeyLocation::Unknown => Tombstone::client_key_of(uid, namespace, name, &project.name),
    };
    tombstone.of_project_in(&project.namespace)
}

/// Which database a key is in.
enum KeyLocation {
    OperatorDatabase,
    ProjectDatabase {
        secret: String,
    },
    /// The project is gone.
    Unknown,
}

impl KeyLocation {
    /// A project that cannot be read says that much.
    fn find(project: &ObjectName, context: &Context) -> Self {
        let readable = context.caches.project(&project.namespace, &project.name);
        let secret = match readable.as_ref().map(|project| &project.0) {
            None => return Self::Unknown,
            Some(Ok(project)) => project.database_secret().unwrap_or_default().to_owned(),
            Some(Err(_)) => {
                let projects = context.caches.of::<ErrorTrackingProject>().cache;
                match projects.facts(&project.namespace, &project.name) {
                    None => return Self::Unknown,
                    Some(facts) if facts.elsewhere => String::new(),
                    Some(facts) => facts.refers_to.into(),
                }
            }
        };
        if secret.is_empty() { Self::OperatorDatabase } else { Self::ProjectDatabase { secret } }
    }
}
