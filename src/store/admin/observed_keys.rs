//! What a pass over a key sees, and the two changes of a rotation that answer with what is seen after them: each is one
//! statement, which is its own transaction. The functions set the search path that a transaction would begin with.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{FromRow, Postgres, Row, postgres::PgArguments, query::Query};

use super::{
    Admin, KeyObjects, KeyRow, ObservedKeys,
    instances::{self, MOST_INSTANCES},
    keys::{MOST_KEYS, key_columns},
    projects::project_id,
};
use crate::{
    dsn::PublicKey,
    store::{StoreError, Timestamptz},
};

/// Reads what a function answers that observes keys. Its first six parameters say whose, and how many at most: the owner of a
/// database can write another function there.
macro_rules! observing {
    ($function:literal, $more:literal) => {
        concat!(
            "SELECT o.observed_at AS now, o.project AS of_project,
                CASE WHEN o.instances IS NOT NULL THEN ARRAY(
                    SELECT pg_catalog.left(i.name, 253) FROM pg_catalog.unnest(o.instances[:$6]) AS i (name)
                ) END AS instances,
                o.settings_versions[:$6], o.seen_ages[:$6], o.ended_ages[:$6], o.ended_clean[:$6], ",
            key_columns!(),
            " FROM errortracking.",
            $function,
            "($1, $2, $3, $4, $5, $6",
            $more,
            ") AS o CROSS JOIN LATERAL (SELECT (o.key).*) AS k LIMIT $5 + 1"
        )
    };
}

impl Admin {
    /// The project of this object when it can take keys, the newest keys that were minted for the key's object, and the ingest
    /// instances of the project.
    pub async fn observe_keys(&self, objects: KeyObjects<'_>) -> Result<ObservedKeys, StoreError> {
        self.read_observed(self.observing(observing!("observe_keys", ""), objects)).await
    }

    /// Makes the key that comes after `active`, with its enabling and limit, unless the row of this ordinal is there. Without
    /// effect when `active` has ended, or the project is gone. What is observed then.
    pub async fn succeed_key(
        &self,
        objects: KeyObjects<'_>,
        active: i64,
        ordinal: i32,
        public_key: &PublicKey,
        secret: &SecretString,
    ) -> Result<ObservedKeys, StoreError> {
        let succeed = self
            .observing(observing!("succeed_and_observe", ", $7, $8, $9, $10, $11"), objects)
            .bind(self.epoch)
            .bind(active)
            .bind(ordinal)
            .bind(public_key.as_str())
            .bind(secret.expose_secret());
        self.read_observed(succeed).await
    }

    /// The Secret names the key since then, by the API server's clock, and the one before is in its overlap; `None`: the
    /// Secret is about to be written. What is observed then.
    pub async fn publish_key(
        &self,
        objects: KeyObjects<'_>,
        key_id: i64,
        at: Option<Timestamp>,
    ) -> Result<ObservedKeys, StoreError> {
        let publish = self
            .observing(observing!("publish_and_observe", ", $7, $8, $9"), objects)
            .bind(self.epoch)
            .bind(key_id)
            .bind(at.map(Timestamptz::from));
        self.read_observed(publish).await
    }

    fn observing(&self, query: &'static str, objects: KeyObjects<'_>) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(query)
            .bind(objects.project_uid)
            .bind(objects.client_key_uid)
            .bind(Self::project_schema_version())
            .bind(self.comment_without_project())
            .bind(MOST_KEYS)
            .bind(MOST_INSTANCES)
    }

    async fn read_observed(&self, query: Query<'static, Postgres, PgArguments>) -> Result<ObservedKeys, StoreError> {
        let rows = query.fetch_all(&self.pool).await?;
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
}
