//! Keys in the operator's own store: rows of `errortracking.client_keys`, which ingest follows. A key is idempotent by
//! (`ClientKey`, ordinal), and a revoked row never answers for its ordinal again.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};

use super::{BackendError, DsnSource, Key, KeyId, KeyIdentity, Keys, PublishedKey};
use crate::{
    dsn::{Dsn, ProjectId, PublicKey, hex},
    settings::RateLimit,
    store::{Admin, StoreError, admin::KeyRow},
};

/// The database that a project's events are in.
#[derive(Clone, Debug)]
pub struct Integrated {
    admin: Admin,
}

impl Integrated {
    #[must_use]
    pub fn new(admin: Admin) -> Self {
        Self { admin }
    }

    pub(super) async fn observe(&self, project_uid: &str, client_key_uid: &str) -> Result<Keys, BackendError> {
        let (project, rows) = self.admin.observe_keys(project_uid, client_key_uid).await?;
        Ok(project.map(|project| keys(project, rows)).unwrap_or_default())
    }

    pub(super) async fn take_over(&self, keys_before: &mut Keys, owner: &KeyIdentity) -> Result<(), BackendError> {
        let project = project(keys_before)?;
        *keys_before = keys(project, self.admin.take_keys_over(project, owner).await?);
        Ok(())
    }

    pub(super) async fn put_back(
        &self,
        keys: &mut Keys,
        owner: &KeyIdentity,
        published: &PublishedKey,
    ) -> Result<(), BackendError> {
        let project = project(keys)?;
        let Ok(dsn) = published.dsn.expose_secret().parse::<Dsn>() else { return Ok(()) };
        if dsn.project_id != project || keys.active().is_some_and(|active| active.public_key == dsn.public_key) {
            return Ok(());
        }
        let key_id = published.id.as_ref().and_then(|id| number(id).ok());
        match self.admin.adopt_key(project, owner, keys.ordinal + 1, &dsn.public_key, key_id).await {
            Ok(row) if row.revoked => {}
            Ok(row) => {
                keys.add(row);
                let before = keys.living.len() - 1;
                // The Secret is newer than the database: what came before its key was revoked after the backup.
                for key in keys.living.drain(..before) {
                    self.admin.revoke_key_of(&owner.client_key_uid, number(&key.id)?).await?;
                }
            }
            // Somebody else's key in our Secret: the owner gets one of its own.
            Err(StoreError::SchemaMismatch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) async fn mint(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<Key, BackendError> {
        let public_key = PublicKey::from_random(rand::rng().random());
        let secret = SecretString::from(hex(&rand::rng().random::<[u8; 16]>()));
        let row = self.admin.mint_key(project(keys)?, owner, keys.ordinal + 1, &public_key, &secret).await?;
        keys.add(row.clone());
        Ok(row.into())
    }

    pub(super) async fn set_enabled(&self, key: &KeyId, enabled: bool) -> Result<(), BackendError> {
        Ok(self.admin.set_key_enabled(number(key)?, enabled).await?)
    }

    pub(super) async fn set_rate_limit(&self, key: &KeyId, limit: Option<RateLimit>) -> Result<(), BackendError> {
        Ok(self.admin.set_key_rate_limit(number(key)?, limit).await?)
    }

    pub(super) async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, BackendError> {
        Ok(self.admin.revoke_keys_of(client_key_uid).await?)
    }
}

fn project(keys: &Keys) -> Result<ProjectId, BackendError> {
    keys.project.ok_or(BackendError::ProjectNotReady)
}

fn number(key: &KeyId) -> Result<i64, BackendError> {
    key.as_str().parse().map_err(|_| BackendError::UnknownKey(key.clone()))
}

/// The project may have another number than it had: keys of that one are refused, and count for nothing.
fn keys(project: ProjectId, rows: Vec<KeyRow>) -> Keys {
    let mut keys = Keys { project: Some(project), ..Keys::default() };
    rows.into_iter().filter(|row| row.project_id == project).for_each(|row| keys.add(row));
    keys
}

impl Keys {
    fn add(&mut self, row: KeyRow) {
        self.ordinal = self.ordinal.max(row.ordinal);
        if !row.revoked {
            self.living.push(row.into());
        }
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
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn row(project: u64, ordinal: i32, revoked: bool) -> KeyRow {
        KeyRow {
            key_id: ordinal.into(),
            project_id: ProjectId::new(project).unwrap(),
            ordinal,
            public_key: PublicKey::from_random([0xab; 16]),
            enabled: true,
            rate_limit: None,
            created_at: Timestamp::UNIX_EPOCH,
            last_used_at: None,
            revoked,
        }
    }

    #[test]
    fn the_newest_living_key_of_the_project_is_active_and_ordinals_never_repeat() {
        let project = ProjectId::new(2).unwrap();
        for (case, rows, active, ordinal) in [
            ("new", vec![], None, 0),
            ("one", vec![row(2, 1, false)], Some("1"), 1),
            ("two", vec![row(2, 1, false), row(2, 2, false)], Some("2"), 2),
            ("the newest is revoked", vec![row(2, 1, false), row(2, 2, true)], Some("1"), 2),
            ("all are revoked", vec![row(2, 1, true), row(2, 2, true)], None, 2),
            ("of the number that the project had", vec![row(1, 1, false)], None, 0),
        ] {
            let keys = keys(project, rows);
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
