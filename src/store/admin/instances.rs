//! What the ingest instances of a project have told of themselves.

use std::time::Duration;

use sqlx::{FromRow, Row, postgres::PgRow};

use super::Admin;
use crate::{dsn::ProjectId, store::StoreError};

/// Most instances of one project that are read, those that have not ended first: more than a project can have pods.
const MOST_INSTANCES: i64 = 1_000;

/// An ingest process, by the name of its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestInstance {
    pub instance: String,
    /// Of the settings and keys that it followed when it reported last.
    pub settings_version: i64,
    /// Since its last report, by the database's clock.
    pub seen_age: Duration,
    /// `None`: it lives, or is silent.
    pub ended: Option<Ended>,
}

/// The end of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Since then, by the database's clock.
    pub age: Duration,
    /// It said so itself, with everything committed that it had accepted, and every use of a key told.
    pub clean: bool,
}

impl Admin {
    /// Those that have reported and are not forgotten: one that ended clean is after a day, any other after a month.
    pub async fn ingest_instances(&self, project: ProjectId) -> Result<Vec<IngestInstance>, StoreError> {
        let instances = sqlx::query_as(
            "SELECT left(instance, 253) AS instance, settings_version, ended_clean,
                extract(epoch FROM clock_timestamp() - seen_at)::double precision AS seen_age,
                extract(epoch FROM clock_timestamp() - ended_at)::double precision AS ended_age
             FROM errortracking.ingest_instances WHERE project_id = $1
             ORDER BY ended_at IS NOT NULL, ended_clean, greatest(seen_at, ended_at) DESC, instance LIMIT $2",
        )
        .bind(project.as_i64())
        .bind(MOST_INSTANCES)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(instances)
    }

    /// Records that the pod is gone, if the instance has not ended: nobody knows what it had still to tell. A later
    /// report takes it back.
    pub async fn mark_instance_gone(&self, project: ProjectId, instance: &str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE errortracking.ingest_instances SET ended_at = clock_timestamp()
             WHERE project_id = $1 AND instance = $2 AND ended_at IS NULL",
        )
        .bind(project.as_i64())
        .bind(instance)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

impl FromRow<'_, PgRow> for IngestInstance {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let ended_age: Option<f64> = row.try_get("ended_age")?;
        let clean = row.try_get("ended_clean")?;
        Ok(Self {
            instance: row.try_get("instance")?,
            settings_version: row.try_get("settings_version")?,
            seen_age: age(row.try_get("seen_age")?),
            ended: ended_age.map(|seconds| Ended { age: age(seconds), clean }),
        })
    }
}

/// What lies ahead, after the server's clock was set back, is now.
pub(super) fn age(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
