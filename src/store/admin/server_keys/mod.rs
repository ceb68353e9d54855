//! The ledger of keys that another server keeps: a row for each, written before that server is asked for anything, and what
//! it answered. In the operator's own database alone.

mod debts;
mod intents;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};

pub use self::intents::{Begun, LostAnswer};
use super::{Admin, KeyIdentity};
use crate::{
    dsn::PublicKey,
    rotation::State,
    settings::RateLimit,
    store::{StoreError, Timestamptz, ingest::rate_limit},
};

/// Most keys of one object that are read, the living ones and the newest first.
const MOST_KEYS: i64 = 100;

const KEY: &str = "k.key_id, k.client_key_uid, k.namespace, k.name, k.ordinal, k.public_key, k.state, k.enabled,
    k.rate_limit_events, k.rate_limit_seconds, k.created_at, k.published_at, k.retiring_since, k.ended_at, k.restored,
    k.restarted, k.asked_at, k.server_id, k.dsn, k.secret, k.accepted, k.server_limit_events, k.server_limit_seconds,
    k.limit_refused_at, k.delete_refused_at, k.deleted_at, k.last_used_at, k.use_asked_at";

/// The project whose keys they are: where it is, and the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Server and project there, as `sentry https://sentry.io acme/shop`.
    pub place: String,
    pub project_uid: String,
}

/// A key that another server keeps, as the ledger has it.
#[derive(Clone, Debug)]
pub struct ServerKeyRow {
    pub key_id: i64,
    pub client_key_uid: String,
    pub namespace: String,
    pub name: String,
    pub ordinal: i32,
    pub public_key: PublicKey,
    pub state: State,
    pub enabled: bool,
    pub rate_limit: Option<RateLimit>,
    pub created_at: Timestamp,
    pub published_at: Option<Timestamp>,
    pub retiring_since: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub restored: bool,
    pub restarted: Vec<String>,
    /// When the server was asked first to make it.
    pub asked_at: Option<Timestamp>,
    /// What the server calls it; `None`: it has not answered yet.
    pub server_id: Option<String>,
    pub dsn: Option<SecretString>,
    pub secret: Option<SecretString>,
    /// Whether the server accepts events with it, and how many, when it answered last.
    pub accepted: bool,
    pub server_limit: Option<RateLimit>,
    pub limit_refused_at: Option<Timestamp>,
    pub delete_refused_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub use_asked_at: Option<Timestamp>,
}

/// What a server answered about a key.
#[derive(Clone, Debug)]
pub struct Answer {
    pub server_id: String,
    pub public_key: PublicKey,
    pub dsn: SecretString,
    pub secret: Option<SecretString>,
    pub accepted: bool,
    pub limit: Option<RateLimit>,
    /// It took another limit than it was given.
    pub limit_refused: bool,
}

impl Admin {
    /// The newest keys of the object at this place, oldest first, the dead ones too; and the database's clock.
    pub async fn server_keys(&self, place: &str, uid: &str) -> Result<(Vec<ServerKeyRow>, Timestamp), StoreError> {
        let mut transaction = self.read().await?;
        let (now,): (Timestamptz,) = sqlx::query_as("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
        let keys = keys_of(&mut transaction, place, uid).await?;
        Ok((keys, now.to_jiff()))
    }

    /// Gives the object the keys that a lost one of its namespace and name left at the place, unless it has keys of its own.
    pub async fn take_server_keys_over(
        &self,
        place: &Place,
        owner: &KeyIdentity,
    ) -> Result<Vec<ServerKeyRow>, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.server_keys SET client_key_uid = $4, namespace = $5, project_uid = $6
             WHERE place = $1 AND client_key_uid = (
                SELECT client_key_uid FROM errortracking.server_keys
                WHERE place = $1 AND namespace_uid = $2 AND name = $3
                ORDER BY client_key_uid = $4 DESC, key_id DESC LIMIT 1
             )",
        )
        .bind(&place.place)
        .bind(&owner.namespace_uid)
        .bind(&owner.name)
        .bind(&owner.client_key_uid)
        .bind(&owner.namespace)
        .bind(&place.project_uid)
        .execute(&mut *transaction)
        .await?;
        let keys = keys_of(&mut transaction, &place.place, &owner.client_key_uid).await?;
        transaction.commit().await?;
        Ok(keys)
    }

    /// The key of (`ClientKey`, ordinal): the row that is there and has not ended, else a new one. With an `answer`, the server
    /// has it already; the intent to make one there ends with it.
    pub async fn mint_server_key(
        &self,
        place: &Place,
        owner: &KeyIdentity,
        ordinal: i32,
        public_key: &PublicKey,
        answer: Option<&Answer>,
    ) -> Result<ServerKeyRow, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO errortracking.server_keys (
                place, project_uid, namespace, name, namespace_uid, client_key_uid, ordinal, public_key, state
             ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'published')
             ON CONFLICT (client_key_uid, ordinal) WHERE ended_at IS NULL DO NOTHING",
        )
        .bind(&place.place)
        .bind(&place.project_uid)
        .bind(&owner.namespace)
        .bind(&owner.name)
        .bind(&owner.namespace_uid)
        .bind(&owner.client_key_uid)
        .bind(ordinal)
        .bind(public_key.as_str())
        .execute(&mut *transaction)
        .await?;
        let made: ServerKeyRow = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {KEY} FROM errortracking.server_keys AS k
             WHERE k.client_key_uid = $1 AND k.ordinal = $2 AND k.ended_at IS NULL"
        )))
        .bind(&owner.client_key_uid)
        .bind(ordinal)
        .fetch_one(&mut *transaction)
        .await?;
        if let Some(answer) = answer {
            record(&mut transaction, made.key_id, answer).await?;
            intents::end(&mut transaction, &place.place).await?;
        }
        transaction.commit().await?;
        Ok(made)
    }

    /// The key that takes the place of `active`, with what is asked for that one: the row of this ordinal that is there, else a
    /// new one. With an `answer`, the server has it already. `None`: `active` has ended.
    pub async fn succeed_server_key(
        &self,
        place: &Place,
        active: i64,
        ordinal: i32,
        public_key: &PublicKey,
        answer: Option<&Answer>,
    ) -> Result<Option<ServerKeyRow>, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO errortracking.server_keys (
                place, project_uid, namespace, name, namespace_uid, client_key_uid, ordinal, public_key, state, enabled,
                rate_limit_events, rate_limit_seconds
             )
             SELECT place, project_uid, namespace, name, namespace_uid, client_key_uid, $2, $3, 'minted', enabled,
                rate_limit_events, rate_limit_seconds
             FROM errortracking.server_keys WHERE key_id = $1 AND ended_at IS NULL
             ON CONFLICT (client_key_uid, ordinal) WHERE ended_at IS NULL DO NOTHING",
        )
        .bind(active)
        .bind(ordinal)
        .bind(public_key.as_str())
        .execute(&mut *transaction)
        .await?;
        let made: Option<ServerKeyRow> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {KEY} FROM errortracking.server_keys AS k JOIN errortracking.server_keys AS a USING (client_key_uid)
             WHERE a.key_id = $1 AND k.ordinal = $2 AND k.ended_at IS NULL"
        )))
        .bind(active)
        .bind(ordinal)
        .fetch_optional(&mut *transaction)
        .await?;
        if let (Some(made), Some(answer)) = (&made, answer) {
            record(&mut transaction, made.key_id, answer).await?;
            intents::end(&mut transaction, &place.place).await?;
        }
        transaction.commit().await?;
        Ok(made)
    }

    /// A key that its Secret still names and the ledger lost. `None`: it is somebody else's.
    pub async fn adopt_server_key(
        &self,
        place: &Place,
        owner: &KeyIdentity,
        ordinal: i32,
        answer: &Answer,
    ) -> Result<Option<ServerKeyRow>, StoreError> {
        let mut transaction = self.begin().await?;
        let adopted: Option<ServerKeyRow> = sqlx::query_as(AssertSqlSafe(format!(
            "INSERT INTO errortracking.server_keys AS k (
                place, project_uid, namespace, name, namespace_uid, client_key_uid, ordinal, public_key, state, asked_at
             ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'published', now())
             ON CONFLICT (place, public_key) DO UPDATE SET client_key_uid = excluded.client_key_uid
             WHERE k.namespace_uid = excluded.namespace_uid AND k.name = excluded.name
             RETURNING {KEY}"
        )))
        .bind(&place.place)
        .bind(&place.project_uid)
        .bind(&owner.namespace)
        .bind(&owner.name)
        .bind(&owner.namespace_uid)
        .bind(&owner.client_key_uid)
        .bind(ordinal)
        .bind(answer.public_key.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(adopted) = &adopted {
            record(&mut transaction, adopted.key_id, answer).await?;
        }
        transaction.commit().await?;
        Ok(adopted)
    }

    /// The Secret names the key since then, by the API server's clock, and the one before is in its overlap; `None`: the
    /// Secret is about to be written.
    pub async fn publish_server_key(&self, key_id: i64, at: Option<Timestamp>) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        if at.is_some() {
            sqlx::query(
                "UPDATE errortracking.server_keys AS k SET state = 'overlap', retiring_since = clock_timestamp()
                 FROM errortracking.server_keys AS n
                 WHERE n.key_id = $1 AND n.ended_at IS NULL AND k.client_key_uid = n.client_key_uid AND k.key_id <> $1
                    AND k.place = n.place AND k.state IN ('minted', 'published')",
            )
            .bind(key_id)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "UPDATE errortracking.server_keys SET published_at = $2,
                state = CASE WHEN $2 IS NULL THEN state ELSE 'published' END,
                retiring_since = CASE WHEN $2 IS NULL THEN retiring_since END
             WHERE key_id = $1 AND ended_at IS NULL",
        )
        .bind(key_id)
        .bind(at.map(Timestamptz::from))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Every key of the object is in its overlap from now on.
    pub async fn withdraw_server_keys(&self, uid: &str) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys SET state = 'overlap', retiring_since = clock_timestamp()
             WHERE client_key_uid = $1 AND state IN ('minted', 'published')",
        )
        .bind(uid);
        self.change(change).await?;
        Ok(())
    }

    /// The key of this object has ended, for good or until it is restored; whether it had not before.
    pub async fn end_server_key(&self, uid: &str, key_id: i64, for_good: bool) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let lives: Option<(bool,)> = sqlx::query_as(
            "SELECT ended_at IS NULL FROM errortracking.server_keys
             WHERE key_id = $2 AND client_key_uid = $1 FOR NO KEY UPDATE",
        )
        .bind(uid)
        .bind(key_id)
        .fetch_optional(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE errortracking.server_keys
             SET state = CASE WHEN $3 THEN 'revoked' ELSE 'retired' END, ended_at = coalesce(ended_at, clock_timestamp())
             WHERE key_id = $2 AND client_key_uid = $1 AND (ended_at IS NULL OR ($3 AND state = 'retired'))",
        )
        .bind(uid)
        .bind(key_id)
        .bind(for_good)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(lives.is_some_and(|(lives,)| lives))
    }

    /// A retired key of the object goes on in an overlap, if it ended within `days`; whether it had ended.
    pub async fn restore_server_key(&self, uid: &str, key_id: i64, days: i32) -> Result<bool, StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys
             SET state = 'overlap', ended_at = NULL, retiring_since = clock_timestamp(), restored = true
             WHERE key_id = $2 AND client_key_uid = $1 AND state = 'retired' AND deleted_at IS NULL
                AND ended_at > clock_timestamp() - make_interval(days => $3)",
        )
        .bind(uid)
        .bind(key_id)
        .bind(days);
        Ok(self.change(change).await? > 0)
    }

    /// A workload, as "Deployment/shop", was restarted because the Secret names the key now.
    pub async fn record_server_key_restart(&self, key_id: i64, workload: &str) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys SET restarted = restarted || $2
             WHERE key_id = $1 AND NOT $2 = ANY (restarted) AND cardinality(restarted) < 1000",
        )
        .bind(key_id)
        .bind(workload);
        self.change(change).await?;
        Ok(())
    }

    /// What the spec asks of the living keys of the object: whether they are accepted, and their limit.
    pub async fn ask_server_keys(
        &self,
        uid: &str,
        enabled: Option<bool>,
        limit: Option<Option<RateLimit>>,
    ) -> Result<(), StoreError> {
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let numbers = limit.flatten().map(|limit| (number(limit.events), number(limit.window_seconds)));
        let change = sqlx::query(
            "UPDATE errortracking.server_keys SET enabled = coalesce($2, enabled),
                rate_limit_events = CASE WHEN $3 THEN $4 ELSE rate_limit_events END,
                rate_limit_seconds = CASE WHEN $3 THEN $5 ELSE rate_limit_seconds END,
                limit_refused_at = CASE WHEN $3 THEN NULL ELSE limit_refused_at END
             WHERE client_key_uid = $1 AND ended_at IS NULL",
        )
        .bind(uid)
        .bind(enabled)
        .bind(limit.is_some())
        .bind(numbers.map(|(events, _)| events))
        .bind(numbers.map(|(_, seconds)| seconds));
        self.change(change).await?;
        Ok(())
    }

    /// The keys of the object have ended for good, or those of a project's object; how many it were now.
    pub async fn end_server_keys_of(&self, object_uid: &str) -> Result<u64, StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys SET state = 'revoked', ended_at = clock_timestamp()
             WHERE (client_key_uid = $1 OR project_uid = $1) AND ended_at IS NULL",
        )
        .bind(object_uid);
        self.change(change).await
    }
}

async fn keys_of(connection: &mut PgConnection, place: &str, uid: &str) -> Result<Vec<ServerKeyRow>, StoreError> {
    let mut keys: Vec<ServerKeyRow> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {KEY} FROM errortracking.server_keys AS k WHERE k.place = $1 AND k.client_key_uid = $2
         ORDER BY k.ended_at IS NOT NULL, k.key_id DESC LIMIT $3"
    )))
    .bind(place)
    .bind(uid)
    .bind(MOST_KEYS)
    .fetch_all(connection)
    .await?;
    keys.sort_by_key(|key| (key.ordinal, key.key_id));
    Ok(keys)
}

async fn record(connection: &mut PgConnection, key_id: i64, answer: &Answer) -> Result<(), StoreError> {
    let number = |of: fn(RateLimit) -> u32| answer.limit.map(|limit| i32::try_from(of(limit)).unwrap_or(i32::MAX));
    sqlx::query(
        "UPDATE errortracking.server_keys
         SET asked_at = coalesce(asked_at, clock_timestamp()), server_id = $2, public_key = $3, dsn = $4, accepted = $5,
            server_limit_events = $6, server_limit_seconds = $7, deleted_at = NULL,
            limit_refused_at = CASE WHEN $8 THEN clock_timestamp() END, secret = coalesce($9, secret)
         WHERE key_id = $1",
    )
    .bind(key_id)
    .bind(&answer.server_id)
    .bind(answer.public_key.as_str())
    .bind(answer.dsn.expose_secret())
    .bind(answer.accepted)
    .bind(number(|limit| limit.events))
    .bind(number(|limit| limit.window_seconds))
    .bind(answer.limit_refused)
    .bind(answer.secret.as_ref().map(ExposeSecret::expose_secret))
    .execute(connection)
    .await?;
    Ok(())
}

impl FromRow<'_, PgRow> for ServerKeyRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let instant =
            |name| row.try_get::<Option<Timestamptz>, _>(name).map(|instant| instant.map(Timestamptz::to_jiff));
        let public_key: String = row.try_get("public_key")?;
        let state: String = row.try_get("state")?;
        let known = State::ALL.into_iter().find(|known| known.as_str() == state);
        Ok(Self {
            key_id: row.try_get("key_id")?,
            client_key_uid: row.try_get("client_key_uid")?,
            namespace: row.try_get("namespace")?,
            name: row.try_get("name")?,
            ordinal: row.try_get("ordinal")?,
            public_key: public_key.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            state: known.ok_or_else(|| sqlx::Error::Decode(format!("no state of a key: {state}").into()))?,
            enabled: row.try_get("enabled")?,
            rate_limit: rate_limit(row.try_get("rate_limit_events")?, row.try_get("rate_limit_seconds")?),
            created_at: row.try_get::<Timestamptz, _>("created_at")?.to_jiff(),
            published_at: instant("published_at")?,
            retiring_since: instant("retiring_since")?,
            ended_at: instant("ended_at")?,
            restored: row.try_get("restored")?,
            restarted: row.try_get("restarted")?,
            asked_at: instant("asked_at")?,
            server_id: row.try_get("server_id")?,
            dsn: row.try_get::<Option<String>, _>("dsn")?.map(SecretString::from),
            secret: row.try_get::<Option<String>, _>("secret")?.map(SecretString::from),
            accepted: row.try_get("accepted")?,
            server_limit: rate_limit(row.try_get("server_limit_events")?, row.try_get("server_limit_seconds")?),
            limit_refused_at: instant("limit_refused_at")?,
            delete_refused_at: instant("delete_refused_at")?,
            deleted_at: instant("deleted_at")?,
            last_used_at: instant("last_used_at")?,
            use_asked_at: instant("use_asked_at")?,
        })
    }
}

#[cfg(test)]
impl ServerKeyRow {
    /// A key that its Secret names and that the server has, for tests to change.
    pub(crate) fn sample(key_id: i64) -> Self {
        let long_ago = Timestamp::UNIX_EPOCH;
        Self {
            key_id,
            client_key_uid: "u1".into(),
            namespace: "web".into(),
            name: "shop".into(),
            ordinal: 1,
            public_key: PublicKey::from_random([0xab; 16]),
            state: State::Published,
            enabled: true,
            rate_limit: None,
            created_at: long_ago,
            published_at: None,
            retiring_since: None,
            ended_at: None,
            restored: false,
            restarted: Vec::new(),
            asked_at: Some(long_ago),
            server_id: Some("7".into()),
            dsn: Some("https://fake@sentry.example/7".into()),
            secret: None,
            accepted: true,
            server_limit: None,
            limit_refused_at: None,
            delete_refused_at: None,
            deleted_at: None,
            last_used_at: None,
            use_asked_at: None,
        }
    }
}
