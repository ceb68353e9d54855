//! What the ingest instances of a project have told of themselves.

use std::time::Duration;

use sqlx::{Row, postgres::PgRow};

use super::Admin;
use crate::{dsn::ProjectId, store::StoreError};

/// Most instances of one project that are read, those that have not ended first: more than a project can have pods.
pub(super) const MOST_INSTANCES: i64 = 1_000;

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
    /// Records that the pod is gone, if the instance has not ended: nobody knows what it had still to tell. A later
    /// report takes it back.
    pub async fn mark_instance_gone(&self, project: ProjectId, instance: &str) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.ingest_instances SET ended_at = clock_timestamp()
             WHERE project_id = $1 AND instance = $2 AND ended_at IS NULL",
        )
        .bind(project.as_i64())
        .bind(instance);
        self.change(change).await?;
        Ok(())
    }
}

/// Instances as arrays, one for each column; `None`: nobody asked for them.
pub(super) fn of_arrays(row: &PgRow) -> Result<Option<Vec<IngestInstance>>, sqlx::Error> {
    let Some(names) = row.try_get::<Option<Vec<String>>, _>("instances")? else { return Ok(None) };
    if names.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let versions: Vec<i64> = row.try_get("settings_versions")?;
    let seen_ages: Vec<f64> = row.try_get("seen_ages")?;
    let ended_ages: Vec<Option<f64>> = row.try_get("ended_ages")?;
    let ended_clean: Vec<bool> = row.try_get("ended_clean")?;
    let instances = names.into_iter().zip(versions).zip(seen_ages).zip(ended_ages.into_iter().zip(ended_clean));
    let instances = instances.map(|(((instance, settings_version), seen), (ended, clean))| IngestInstance {
        instance,
        settings_version,
        seen_age: age(seen),
        ended: ended.map(|seconds| Ended { age: age(seconds), clean }),
    });
    Ok(Some(instances.collect()))
}

/// What lies ahead, after the server's clock was set back, is now.
pub(super) fn age(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
