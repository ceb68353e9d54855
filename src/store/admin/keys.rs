//! Client keys. Every change of a key raises the version of its project's settings (a trigger).

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, Row, postgres::PgArguments, query::Query};

use super::{
    Admin, KeyIdentity, KeyObjects, KeyRow, ObservedKeys,
    instances::{self, MOST_INSTANCES},
    projects::project_id,
};
use crate::{
    dsn::{ProjectId, PublicKey},
    settings::RateLimit,
    store::{StoreError, Timestamptz, migrations},
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
            EXISTS (SELECT FROM errortracking.refused_keys AS r WHERE r.key_id = k.key_id) AS refused"
    };
}
const KEY: &str = key_columns!();

/// Reads what a function of the schema answers that observes keys.
macro_rules! observing {
    ($call:literal) => {
        concat!(
            "SELECT o.observed_at AS now, o.project AS of_project, o.instances, o.settings_versions, o.seen_ages,
                o.ended_ages, o.ended_clean, ",
            key_columns!(),
            " FROM errortracking.",
            $call,
            " AS o CROSS JOIN LATERAL (SELECT (o.key).*) AS k"
        )
    };
}

/// Most keys of one object that are read, the living ones and the newest first: it has few, and revokes one at a time.
const MOST_KEYS: i64 = 100;

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

    /// What a pass over a key needs, in one statement: the project of this object when it can take keys, the newest keys that
    /// were minted for the key's object, and the ingest instances of the project.
    pub async fn observe_keys(&self, objects: KeyObjects<'_>) -> Result<ObservedKeys, StoreError> {
        let observe = sqlx::query(observing!("observe_keys($1, $2, $3, $4, $5, $6)"));
        self.observed_keys(observe, objects).await
    }

    /// The rows of a function of the schema whose last parameters say what is observed.
    async fn observed_keys(
        &self,
        query: Query<'_, Postgres, PgArguments>,
        objects: KeyObjects<'_>,
    ) -> Result<ObservedKeys, StoreError> {
        let rows = query
            .bind(objects.project_uid)
            .bind(objects.client_key_uid)
            .bind(Self::project_schema_version())
            .bind(self.comment_without_project())
            .bind(MOST_KEYS)
            .bind(MOST_INSTANCES)
            .fetch_all(&self.pool)
            .await?;
        let mut head = None;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.try_get::<Option<i64>, _>("key_id")?.is_some() {
                keys.push(KeyRow::from_row(row)?);
            } else {
                head = Some(row);
            }
        }
        let Some(head) = head else { return Err(sqlx::Error::RowNotFound.into()) };
        let id: Option<i64> = head.try_get("of_project")?;
        let now = head.try_get::<Timestamptz, _>("now")?.to_jiff();
        keys.sort_by_key(|key| (key.ordinal, key.key_id));
        let instances = instances::of_arrays(head)?;
        Ok(ObservedKeys { project: id.map(project_id).transpose()?, keys, now, instances })
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

    /// Makes the key that comes after `active`, with its enabling and limit, unless the row of this ordinal is there: with
    /// `public_key` and `secret`. Without effect when `active` has ended, or the project is gone. What is observed then.
    pub async fn succeed_key(
        &self,
        objects: KeyObjects<'_>,
        active: i64,
        ordinal: i32,
        public_key: &PublicKey,
        secret: &SecretString,
    ) -> Result<ObservedKeys, StoreError> {
        let succeed = sqlx::query(observing!("succeed_and_observe($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"))
            .bind(self.epoch)
            .bind(active)
            .bind(ordinal)
            .bind(public_key.as_str())
            .bind(secret.expose_secret());
        self.observed_keys(succeed, objects).await
    }

    /// The Secret names the key since then, by the API server's clock, and the one before is in its overlap; `None`: the
    /// Secret is about to be written. What is observed then.
    pub async fn publish_key(
        &self,
        objects: KeyObjects<'_>,
        key_id: i64,
        at: Option<Timestamp>,
    ) -> Result<ObservedKeys, StoreError> {
        let publish = sqlx::query(observing!("publish_and_observe($1, $2, $3, $4, $5, $6, $7, $8, $9)"))
            .bind(self.epoch)
            .bind(key_id)
            .bind(at.map(Timestamptz::from));
        self.observed_keys(publish, objects).await
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

    /// Keys of the object that are not enabled are refused and keep their place; no effect on those that have ended.
    pub async fn set_keys_enabled(&self, client_key_uid: &str, enabled: bool) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.client_keys SET enabled = $2
             WHERE client_key_uid = $1 AND enabled <> $2 AND revoked_at IS NULL",
        )
        .bind(client_key_uid)
        .bind(enabled)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How many events are accepted with each key of the object; `None`: any number. No effect on those that have ended.
    pub async fn set_keys_rate_limit(&self, client_key_uid: &str, limit: Option<RateLimit>) -> Result<(), StoreError> {
        let number = |of: fn(RateLimit) -> u32| limit.map(|limit| i32::try_from(of(limit)).unwrap_or(i32::MAX));
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.client_keys SET rate_limit_events = $2, rate_limit_seconds = $3
             WHERE client_key_uid = $1 AND revoked_at IS NULL
                AND (rate_limit_events, rate_limit_seconds) IS DISTINCT FROM ($2, $3)",
        )
        .bind(client_key_uid)
        .bind(number(|limit| limit.events))
        .bind(number(|limit| limit.window_seconds))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
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
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE key_id = $1 AND revoked_at IS NULL",
        )
        .bind(key_id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Revokes every key of the object; how many it were now.
    pub async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let revoked = sqlx::query(
            "UPDATE errortracking.client_keys SET revoked_at = now(), state = 'revoked'
             WHERE client_key_uid = $1 AND revoked_at IS NULL",
        )
        .bind(client_key_uid)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(revoked.rows_affected())
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
