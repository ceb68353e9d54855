//! Client keys. Every change of a key raises the version of its project's settings (a trigger).

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};

use super::{Admin, KeyIdentity, KeyRow, projects::project_id};
use crate::{
    dsn::{ProjectId, PublicKey},
    rotation::State,
    settings::RateLimit,
    store::{StoreError, Timestamptz, ingest::rate_limit, migrations},
};

/// Keys that can have been made since the backup that was brought back: an id further above the newest one is made up.
const MOST_LOST_KEYS: i64 = 100_000;

/// What a key is read from. The owner of a database can write anything there, of any length.
macro_rules! key_columns {
    () => {
        "k.key_id, k.project_id, k.ordinal, pg_catalog.left(k.public_key, 64) AS public_key, k.enabled,
            k.rate_limit_events, k.rate_limit_seconds, k.created_at, k.last_used_at, k.revoked_at,
            pg_catalog.left(k.state, 16) AS state, k.published_at, k.retiring_since, k.restored, k.settings_version,
            pg_catalog.left(pg_catalog.array_to_string(k.restarted, ' '), 65536) AS restarted,
            EXISTS (SELECT FROM errortracking.refused_keys AS r WHERE r.key_id = k.key_id) AS refused,
            pg_catalog.left(k.endpoint, 600) AS endpoint"
    };
}
pub(super) use key_columns;
const KEY: &str = key_columns!();

/// Most keys of one object that are read, the living ones and the newest first: it has few, and revokes one at a time.
pub(super) const MOST_KEYS: i64 = 100;

impl Admin {
    /// The key of (`ClientKey`, ordinal): the row that is there and not revoked, else one that a lost object of
    /// the same namespace and name left, else a new one with `public_key` and `secret`.
    pub async fn mint_key(
        &self,
        project: ProjectId,
        identity: &KeyIdentity,
        ordinal: i32,
        public_key: &PublicKey,
        secret: &SecretString,
    ) -> Result<KeyRow, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        let key = match take_over(&mut transaction, project, identity, ordinal).await? {
            Some(key) => key,
            None => insert(&mut transaction, project, identity, ordinal, public_key, Some(secret), None).await?,
        };
        transaction.commit().await?;
        Ok(key)
    }

    /// All keys of the object after it has taken over those that a lost object of the same project, namespace (by
    /// uid) and name left, the revoked ones too. An object that has keys of its own takes over none.
    pub async fn take_keys_over(&self, project: ProjectId, identity: &KeyIdentity) -> Result<Vec<KeyRow>, StoreError> {
        // Nearly every object is new, and nothing was left: that is found out without a lock.
        let left: (bool,) = sqlx::query_as(
            "SELECT EXISTS (
                SELECT FROM errortracking.client_keys
                WHERE project_id = $1 AND namespace_uid = $2 AND name = $3 AND client_key_uid <> $4
             )",
        )
        .bind(project.as_i64())
        .bind(&identity.namespace_uid)
        .bind(&identity.name)
        .bind(&identity.client_key_uid)
        .fetch_one(&mut *self.read().await?)
        .await?;
        if left.0 {
            let mut transaction = self.begin().await?;
            migrations::lock_project(&mut transaction, project).await?;
            // Of the object that was there last: an older one may have left a key behind on purpose.
            sqlx::query(
                "UPDATE errortracking.client_keys SET client_key_uid = $4, namespace = $5
                 WHERE project_id = $1 AND client_key_uid = (
                    SELECT client_key_uid FROM errortracking.client_keys
                    WHERE project_id = $1 AND namespace_uid = $2 AND name = $3
                    ORDER BY client_key_uid = $4 DESC, key_id DESC LIMIT 1
                 )",
            )
            .bind(project.as_i64())
            .bind(&identity.namespace_uid)
            .bind(&identity.name)
            .bind(&identity.client_key_uid)
            .bind(&identity.namespace)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
        }
        self.keys_of(&identity.client_key_uid).await
    }

    /// Puts a key back that a Secret still names and the database lost, with the id it had unless another key has
    /// that by now. A revoked one stays revoked. A key of another project or namespace is a
    /// [`StoreError::SchemaMismatch`].
    pub async fn adopt_key(
        &self,
        project: ProjectId,
        identity: &KeyIdentity,
        ordinal: i32,
        public_key: &PublicKey,
        key_id: Option<i64>,
    ) -> Result<KeyRow, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        let found: Option<(i64, String, String)> = sqlx::query_as(
            "SELECT project_id, left(namespace_uid, 64), left(name, 253)
             FROM errortracking.client_keys WHERE public_key = $1",
        )
        .bind(public_key.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        let key = match found {
            Some((id, namespace_uid, name))
                if id == project.as_i64() && namespace_uid == identity.namespace_uid && name == identity.name =>
            {
                sqlx::query_as(AssertSqlSafe(format!(
                    "UPDATE errortracking.client_keys AS k SET client_key_uid = $2 WHERE public_key = $1 RETURNING {KEY}"
                )))
                .bind(public_key.as_str())
                .bind(&identity.client_key_uid)
                .fetch_one(&mut *transaction)
                .await?
            }
            // Whose it is, is nothing for who asked.
            Some(_) => {
                return Err(StoreError::SchemaMismatch {
                    object: format!("key {}", public_key.prefix()),
                    owner: "another ClientKey".to_owned(),
                });
            }
            None => {
                let key_id = free_key_id(&mut transaction, key_id).await?;
                insert(&mut transaction, project, identity, ordinal, public_key, None, key_id).await?
            }
        };
        transaction.commit().await?;
        Ok(key)
    }

    /// All keys ever minted for the object, oldest first, the revoked ones too.
    pub async fn keys_of(&self, client_key_uid: &str) -> Result<Vec<KeyRow>, StoreError> {
        let mut keys: Vec<KeyRow> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {KEY} FROM errortracking.client_keys AS k WHERE k.client_key_uid = $1
             ORDER BY k.revoked_at IS NOT NULL, k.key_id DESC LIMIT $2"
        )))
        .bind(client_key_uid)
        .bind(MOST_KEYS)
        .fetch_all(&mut *self.read().await?)
        .await?;
        keys.sort_by_key(|key| (key.ordinal, key.key_id));
        Ok(keys)
    }

    /// Every key of the object is in its overlap from now on.
    pub async fn withdraw_keys(&self, client_key_uid: &str) -> Result<(), StoreError> {
        sqlx::query("SELECT errortracking.withdraw_keys($1, $2)")
            .bind(self.epoch)
            .bind(client_key_uid)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Events with the key of this object are refused from now on, for good or until it is restored; whether they were
    /// accepted before. One that has retired can be revoked still.
    pub async fn end_key(&self, client_key_uid: &str, key_id: i64, for_good: bool) -> Result<bool, StoreError> {
        let (ended,) = sqlx::query_as("SELECT errortracking.end_key($1, $2, $3, $4)")
            .bind(self.epoch)
            .bind(client_key_uid)
            .bind(key_id)
            .bind(for_good)
            .fetch_one(&self.pool)
            .await?;
        Ok(ended)
    }

    /// A workload, as "Deployment/shop", was restarted because the Secret names the key now.
    pub async fn record_restart(&self, key_id: i64, workload: &str) -> Result<(), StoreError> {
        sqlx::query("SELECT errortracking.record_restart($1, $2, $3)")
            .bind(self.epoch)
            .bind(key_id)
            .bind(workload)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A key of this object that has retired within `days` is accepted again; whether it was refused before.
    pub async fn restore_key(&self, client_key_uid: &str, key_id: i64, days: i32) -> Result<bool, StoreError> {
        let (restored,) = sqlx::query_as("SELECT errortracking.restore_key($1, $2, $3, $4)")
            .bind(self.epoch)
            .bind(client_key_uid)
            .bind(key_id)
            .bind(days)
            .fetch_one(&self.pool)
            .await?;
        Ok(restored)
    }

    /// The DSN of the key names this external URL from now on, unless one is recorded already.
    pub async fn record_key_endpoint(&self, key_id: i64, url: &str) -> Result<(), StoreError> {
        sqlx::query("SELECT errortracking.record_key_endpoint($1, $2, $3)")
            .bind(self.epoch)
            .bind(key_id)
            .bind(url)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keys of the object that are not enabled are refused and keep their place; no effect on those that have ended.
    pub async fn set_keys_enabled(&self, client_key_uid: &str, enabled: bool) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.client_keys SET enabled = $2
             WHERE client_key_uid = $1 AND enabled <> $2 AND revoked_at IS NULL",
        )
        .bind(client_key_uid)
        .bind(enabled);
        self.change(change).await?;
        Ok(())
    }

    /// How many events are accepted with each key of the object; `None`: any number. No effect on those that have ended.
    pub async fn set_keys_rate_limit(&self, client_key_uid: &str, limit: Option<RateLimit>) -> Result<(), StoreError> {
        let number = |of: fn(RateLimit) -> u32| limit.map(|limit| i32::try_from(of(limit)).unwrap_or(i32::MAX));
        let change = sqlx::query(
            "UPDATE errortracking.client_keys SET rate_limit_events = $2, rate_limit_seconds = $3
             WHERE client_key_uid = $1 AND revoked_at IS NULL
                AND (rate_limit_events, rate_limit_seconds) IS DISTINCT FROM ($2, $3)",
        )
        .bind(client_key_uid)
        .bind(number(|limit| limit.events))
        .bind(number(|limit| limit.window_seconds));
        self.change(change).await?;
        Ok(())
    }

    /// Every key that is not revoked, with the object that it is for, in the order of their ids.
    pub async fn living_keys(&self) -> Result<Vec<(KeyIdentity, KeyRow)>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT k.namespace, k.name, k.namespace_uid, k.client_key_uid, {KEY}
             FROM errortracking.client_keys AS k WHERE k.revoked_at IS NULL ORDER BY k.key_id"
        )))
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(|row| Ok((KeyIdentity::from_row(row)?, KeyRow::from_row(row)?))).collect()
    }

    /// For good. Repeating it changes nothing.
    pub async fn revoke_key(&self, key_id: i64) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE key_id = $1 AND revoked_at IS NULL",
        )
        .bind(key_id);
        self.change(change).await?;
        Ok(())
    }

    /// Revokes every key of the object; how many it were now.
    pub async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE client_key_uid = $1 AND revoked_at IS NULL",
        )
        .bind(client_key_uid);
        self.change(change).await
    }
}

/// The living key of this ordinal, of the object itself or of a lost one with its namespace and name. The
/// caller holds the project's lock.
async fn take_over(
    transaction: &mut PgConnection,
    project: ProjectId,
    identity: &KeyIdentity,
    ordinal: i32,
) -> Result<Option<KeyRow>, StoreError> {
    let key = sqlx::query_as(AssertSqlSafe(format!(
        "UPDATE errortracking.client_keys AS k SET client_key_uid = $4
         WHERE key_id = (
            SELECT key_id FROM errortracking.client_keys
            WHERE project_id = $1 AND ordinal = $5 AND revoked_at IS NULL
                AND (client_key_uid = $4 OR (namespace_uid = $2 AND name = $3))
            ORDER BY client_key_uid = $4 DESC, key_id DESC
            LIMIT 1
         )
         RETURNING {KEY}"
    )))
    .bind(project.as_i64())
    .bind(&identity.namespace_uid)
    .bind(&identity.name)
    .bind(&identity.client_key_uid)
    .bind(ordinal)
    .fetch_optional(transaction)
    .await?;
    Ok(key)
}

/// `key_id` if no key has it and a key that was lost can have had it; ids that are given out later are above it.
/// Whoever may write the Secret may write any number there: the sequence must not be used up by it.
async fn free_key_id(transaction: &mut PgConnection, key_id: Option<i64>) -> Result<Option<i64>, StoreError> {
    let Some(key_id) = key_id.filter(|key_id| *key_id > 0) else { return Ok(None) };
    let (credible,): (bool,) =
        sqlx::query_as("SELECT $1 <= last_value::numeric + $2 FROM errortracking.client_keys_key_id_seq")
            .bind(key_id)
            .bind(MOST_LOST_KEYS)
            .fetch_one(&mut *transaction)
            .await?;
    if !credible {
        return Ok(None);
    }
    sqlx::query(
        "SELECT setval(pg_get_serial_sequence('errortracking.client_keys', 'key_id'), $1)
         FROM errortracking.client_keys_key_id_seq WHERE last_value < $1",
    )
    .bind(key_id)
    .execute(&mut *transaction)
    .await?;
    let (taken,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM errortracking.client_keys WHERE key_id = $1)")
        .bind(key_id)
        .fetch_one(transaction)
        .await?;
    Ok((!taken).then_some(key_id))
}

/// A key that no other one comes before: its Secret is written next.
async fn insert(
    transaction: &mut PgConnection,
    project: ProjectId,
    identity: &KeyIdentity,
    ordinal: i32,
    public_key: &PublicKey,
    secret: Option<&SecretString>,
    key_id: Option<i64>,
) -> Result<KeyRow, StoreError> {
    let key = sqlx::query_as(AssertSqlSafe(format!(
        "INSERT INTO errortracking.client_keys AS k (
            key_id, project_id, namespace, name, namespace_uid, client_key_uid, ordinal, public_key, secret, state
         ) OVERRIDING SYSTEM VALUE
         SELECT
            coalesce($9, nextval(pg_get_serial_sequence('errortracking.client_keys', 'key_id'))),
            project_id, $2, $3, $4, $5, $6, $7, $8, 'published'
         FROM errortracking.projects WHERE project_id = $1 AND state = 'active'
         RETURNING {KEY}"
    )))
    .bind(project.as_i64())
    .bind(&identity.namespace)
    .bind(&identity.name)
    .bind(&identity.namespace_uid)
    .bind(&identity.client_key_uid)
    .bind(ordinal)
    .bind(public_key.as_str())
    .bind(secret.map(ExposeSecret::expose_secret))
    .bind(key_id)
    .fetch_optional(transaction)
    .await?;
    key.ok_or(StoreError::UnknownProject(project))
}

impl FromRow<'_, PgRow> for KeyIdentity {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            namespace: row.try_get("namespace")?,
            name: row.try_get("name")?,
            namespace_uid: row.try_get("namespace_uid")?,
            client_key_uid: row.try_get("client_key_uid")?,
        })
    }
}

impl FromRow<'_, PgRow> for KeyRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let instant =
            |name| row.try_get::<Option<Timestamptz>, _>(name).map(|instant| instant.map(Timestamptz::to_jiff));
        let public_key: String = row.try_get("public_key")?;
        Ok(Self {
            key_id: row.try_get("key_id")?,
            project_id: project_id(row.try_get("project_id")?)
                .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
            ordinal: row.try_get("ordinal")?,
            public_key: public_key.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            enabled: row.try_get("enabled")?,
            rate_limit: rate_limit(row.try_get("rate_limit_events")?, row.try_get("rate_limit_seconds")?),
            created_at: row.try_get::<Timestamptz, _>("created_at")?.to_jiff(),
            last_used_at: instant("last_used_at")?,
            state: state_of_key(row.try_get("state")?, instant("revoked_at")?.is_some()),
            published_at: instant("published_at")?,
            retiring_since: instant("retiring_since")?,
            ended_at: instant("revoked_at")?,
            restored: row.try_get("restored")?,
            settings_version: row.try_get("settings_version")?,
            refused: row.try_get("refused")?,
            endpoint: row.try_get("endpoint")?,
            restarted: row.try_get::<String, _>("restarted")?.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
impl KeyRow {
    /// A key that its Secret names and nobody has used, for tests to change.
    pub(crate) fn sample(key_id: i64, project: u64) -> Self {
        Self {
            key_id,
            project_id: ProjectId::new(project).unwrap(),
            ordinal: 1,
            public_key: PublicKey::from_random([0xab; 16]),
            enabled: true,
            rate_limit: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            last_used_at: None,
            state: State::Published,
            published_at: None,
            retiring_since: None,
            ended_at: None,
            restored: false,
            settings_version: 0,
            restarted: Vec::new(),
            refused: false,
            endpoint: None,
        }
    }
}

/// An operator of the version before ends a key without a word about its state.
#[must_use]
pub fn state_of_key(word: &str, ended: bool) -> State {
    let known = State::ALL.into_iter().find(|state| state.as_str() == word);
    match known {
        Some(state) if state.is_alive() != ended => state,
        _ if ended => State::Revoked,
        _ => State::Published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_ended_without_a_word_is_revoked() {
        for (word, ended, expected) in [
            ("minted", false, State::Minted),
            ("published", false, State::Published),
            ("overlap", false, State::Overlap),
            ("retired", true, State::Retired),
            ("revoked", true, State::Revoked),
            ("published", true, State::Revoked),
            ("retired", false, State::Published),
            ("of a newer version", false, State::Published),
        ] {
            assert_eq!(state_of_key(word, ended), expected, "{word}, {ended}");
        }
    }
}
