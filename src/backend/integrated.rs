//! Keys in the operator's own store: rows of `errortracking.client_keys`, which ingest follows. A key is idempotent by
//! (`ClientKey`, ordinal), and a revoked row never answers for its ordinal again.

use jiff::Timestamp;
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};

use super::{BackendError, DsnSource, Key, KeyId, KeyIdentity, Keys, PublishedKey};
use crate::{
    dsn::{Dsn, ProjectId, PublicKey, hex},
    rotation::RESTORABLE_DAYS,
    settings::RateLimit,
    store::{
        Admin, StoreError,
        admin::{KeyObjects, KeyRow, ObservedKeys, RefusedUse},
    },
};

/// The database that a project's events are in.
#[derive(Clone, Debug)]
pub struct Integrated {
    pub(super) admin: Admin,
}

impl Integrated {
    #[must_use]
    pub fn new(admin: Admin) -> Self {
        Self { admin }
    }

    pub(super) async fn observe(&self, objects: KeyObjects<'_>) -> Result<Keys, BackendError> {
        Ok(observed(self.admin.observe_keys(objects).await?))
    }

    pub(super) async fn take_over(&self, keys_before: &mut Keys, owner: &KeyIdentity) -> Result<(), BackendError> {
        let project = project(keys_before)?;
        *keys_before = keys(project, self.admin.take_keys_over(project, owner).await?, keys_before.now);
        Ok(())
    }

    pub(super) async fn put_back(
        &self,
        keys_before: &mut Keys,
        project_uid: &str,
        owner: &KeyIdentity,
        published: &PublishedKey,
    ) -> Result<(), BackendError> {
        let project = project(keys_before)?;
        let Ok(dsn) = published.dsn.expose_secret().parse::<Dsn>() else { return Ok(()) };
        let is_known = |public_key: &PublicKey| keys_before.all.iter().any(|key| key.public_key == *public_key);
        if dsn.project_id != project || is_known(&dsn.public_key) {
            return Ok(());
        }
        let mut ordinal = keys_before.ordinal;
        let former = published.retiring.as_ref().filter(|former| !is_known(former));
        let key_id = published.id.as_ref().and_then(|id| number(id).ok());
        let mut named = None;
        for (public_key, key_id) in former.into_iter().map(|former| (former, None)).chain([(&dsn.public_key, key_id)]) {
            ordinal += 1;
            match self.admin.adopt_key(project, owner, ordinal, public_key, key_id).await {
                Ok(row) => named = (row.public_key == dsn.public_key && row.state.is_alive()).then_some(row.key_id),
                // Somebody else's key in our Secret: the owner gets one of its own.
                Err(StoreError::SchemaMismatch { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let objects = KeyObjects { project_uid, client_key_uid: &owner.client_key_uid };
        if let Some(named) = named {
            self.admin.publish_key(objects, named, Some(keys_before.now)).await?;
            // The Secret is newer than the database: a key that it does not speak of had ended when it was written.
            let spoken_of = |key: &&Key| published.retiring.as_ref() == Some(&key.public_key);
            for key in keys_before.living().filter(|key| !spoken_of(key)) {
                self.admin.end_key(&owner.client_key_uid, number(&key.id)?, false).await?;
            }
        }
        *keys_before = self.observe(objects).await?;
        Ok(())
    }

    pub(super) async fn mint(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<Key, BackendError> {
        let (public_key, secret) = new_key();
        let row = self.admin.mint_key(project(keys)?, owner, keys.ordinal + 1, &public_key, &secret).await?;
        keys.add(row.clone());
        Ok(row.into())
    }

    pub(super) async fn succeed(
        &self,
        keys: &Keys,
        objects: KeyObjects<'_>,
        active: &KeyId,
    ) -> Result<Keys, BackendError> {
        let (public_key, secret) = new_key();
        let (active, ordinal) = (number(active)?, keys.ordinal + 1);
        Ok(observed(self.admin.succeed_key(objects, active, ordinal, &public_key, &secret).await?))
    }

    pub(super) async fn published(
        &self,
        objects: KeyObjects<'_>,
        key: &KeyId,
        at: Option<Timestamp>,
    ) -> Result<Keys, BackendError> {
        Ok(observed(self.admin.publish_key(objects, number(key)?, at).await?))
    }

    pub(super) async fn withdraw(&self, client_key_uid: &str) -> Result<(), BackendError> {
        Ok(self.admin.withdraw_keys(client_key_uid).await?)
    }

    pub(super) async fn end(&self, client_key_uid: &str, key: &KeyId, for_good: bool) -> Result<bool, BackendError> {
        Ok(self.admin.end_key(client_key_uid, number(key)?, for_good).await?)
    }

    pub(super) async fn restore(&self, client_key_uid: &str, key: &KeyId) -> Result<bool, BackendError> {
        Ok(self.admin.restore_key(client_key_uid, number(key)?, RESTORABLE_DAYS).await?)
    }

    pub(super) async fn record_endpoint(&self, key: &KeyId, url: &str) -> Result<(), BackendError> {
        Ok(self.admin.record_key_endpoint(number(key)?, url).await?)
    }

    pub(super) async fn restarted(&self, key: &KeyId, workload: &str) -> Result<(), BackendError> {
        Ok(self.admin.record_restart(number(key)?, workload).await?)
    }

    pub(super) async fn refused_uses(&self, client_key_uid: &str) -> Result<Vec<RefusedUse>, BackendError> {
        Ok(self.admin.refused_uses(client_key_uid).await?)
    }

    pub(super) async fn instance_is_gone(&self, keys: &Keys, instance: &str) -> Result<(), BackendError> {
        Ok(self.admin.mark_instance_gone(project(keys)?, instance).await?)
    }

    pub(super) async fn set_enabled(&self, client_key_uid: &str, enabled: bool) -> Result<(), BackendError> {
        Ok(self.admin.set_keys_enabled(client_key_uid, enabled).await?)
    }

    pub(super) async fn set_rate_limit(
        &self,
        client_key_uid: &str,
        limit: Option<RateLimit>,
    ) -> Result<(), BackendError> {
        Ok(self.admin.set_keys_rate_limit(client_key_uid, limit).await?)
    }

    pub(super) async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, BackendError> {
        Ok(self.admin.revoke_keys_of(client_key_uid).await?)
    }
}

fn project(keys: &Keys) -> Result<ProjectId, BackendError> {
    keys.project.ok_or(BackendError::ProjectNotReady)
}

pub(super) fn number(key: &KeyId) -> Result<i64, BackendError> {
    key.as_str().parse().map_err(|_| BackendError::UnknownKey(key.clone()))
}

/// The public part, and the secret one that only old clients send.
fn new_key() -> (PublicKey, SecretString) {
    let secret = SecretString::from(hex(&rand::rng().random::<[u8; 16]>()));
    (PublicKey::from_random(rand::rng().random()), secret)
}

fn observed(seen: ObservedKeys) -> Keys {
    let Some(project) = seen.project else { return Keys::default() };
    Keys { instances: seen.instances.unwrap_or_default(), ..keys(project, seen.keys, seen.now) }
}

/// The project may have another number than it had: keys of that one are refused, and count for nothing.
fn keys(project: ProjectId, rows: Vec<KeyRow>, now: Timestamp) -> Keys {
    let mut keys = Keys { project: Some(project), now, ..Keys::default() };
    rows.into_iter().filter(|row| row.project_id == project).for_each(|row| keys.add(row));
    keys
}

impl Keys {
    fn add(&mut self, row: KeyRow) {
        self.ordinal = self.ordinal.max(row.ordinal);
        self.all.push(row.into());
    }
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        Self {
            id: KeyId::new(row.key_id.to_string()),
            public_key: row.public_key,
            dsn: DsnSource::Endpoint(row.project_id),
            enabled: row.enabled,
            rate_limit: row.rate_limit,
            created_at: row.created_at,
            state: row.state,
            published_at: row.published_at,
            retiring_since: row.retiring_since,
            ended_at: row.ended_at,
            restored: row.restored,
            last_used_at: row.last_used_at,
            settings_version: row.settings_version,
            restarted: row.restarted,
            refused: row.refused,
            endpoint: row.endpoint,
            debt: None,
            limit_refused: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::State;

    fn row(project: u64, ordinal: i32, state: State) -> KeyRow {
        KeyRow { ordinal, state, ..KeyRow::sample(ordinal.into(), project) }
    }

    #[test]
    fn the_newest_published_key_of_the_project_is_active_and_ordinals_never_repeat() {
        use State::{Minted, Overlap, Published, Retired, Revoked};
        let project = ProjectId::new(2).unwrap();
        for (case, rows, active, ordinal) in [
            ("new", vec![], None, 0),
            ("one", vec![row(2, 1, Published)], Some("1"), 1),
            ("a successor that is not published", vec![row(2, 1, Published), row(2, 2, Minted)], Some("1"), 2),
            ("an overlap", vec![row(2, 1, Overlap), row(2, 2, Published)], Some("2"), 2),
            ("a first one that no Secret names", vec![row(2, 1, Minted)], Some("1"), 1),
            ("the newest is revoked", vec![row(2, 1, Published), row(2, 2, Revoked)], Some("1"), 2),
            ("all have ended", vec![row(2, 1, Retired), row(2, 2, Revoked)], None, 2),
            ("of the number that the project had", vec![row(1, 1, Published)], None, 0),
        ] {
            let keys = keys(project, rows, Timestamp::UNIX_EPOCH);
            assert_eq!(keys.active().map(|key| key.id.as_str()), active, "{case}");
            assert_eq!(keys.ordinal, ordinal, "{case}");
        }
    }

    #[test]
    fn a_key_id_of_another_backend_is_no_key_here() {
        assert_eq!(number(&KeyId::new("7")).unwrap(), 7);
        let unknown = number(&KeyId::new("glet_7")).unwrap_err();
        assert!(!unknown.retryable());
        assert_eq!(unknown.to_string(), "there is no key glet_7");
    }
}
