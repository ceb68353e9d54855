//! What an ingest instance asks about keys and reports about itself.

use sqlx::PgPool;

use super::{Heartbeat, KeySet};
use crate::{
    dsn::{ProjectId, PublicKey},
    store::{StoreError, Timestamptz},
};

/// The keys accepted now, unless they are those of `known_version`; 0 is no version.
pub async fn changed_keys(pool: &PgPool, project: ProjectId, known_version: i64) -> Result<Option<KeySet>, StoreError> {
    let changed: Option<(i64, Vec<String>)> =
        sqlx::query_as("SELECT version, public_keys FROM errortracking.changed_keys($1, $2)")
            .bind(project.as_i64())
            .bind(known_version)
            .fetch_optional(pool)
            .await?;
    // What does not parse as a key can be in no request either.
    Ok(changed
        .map(|(version, keys)| KeySet { version, keys: keys.iter().filter_map(|key| key.parse().ok()).collect() }))
}

/// Whether the key is accepted now.
pub async fn find_key(pool: &PgPool, project: ProjectId, key: &PublicKey) -> Result<bool, StoreError> {
    let (found,): (bool,) = sqlx::query_as("SELECT errortracking.find_key($1, $2)")
        .bind(project.as_i64())
        .bind(key.as_str())
        .fetch_one(pool)
        .await?;
    Ok(found)
}

/// Records that the instance lives, which settings it follows, the use of keys and what it dropped.
/// Quantities are added: report them once.
pub async fn heartbeat(pool: &PgPool, project: ProjectId, heartbeat: &Heartbeat<'_>) -> Result<(), StoreError> {
    let usage = heartbeat.key_usage;
    let outcomes = heartbeat.outcomes;
    sqlx::query("SELECT errortracking.heartbeat($1, $2, $3, $4, $5, $6, $7)")
        .bind(project.as_i64())
        .bind(heartbeat.instance)
        .bind(heartbeat.settings_version)
        .bind(usage.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
        .bind(usage.iter().map(|(_, used_at)| Timestamptz(*used_at)).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|(reason, _)| *reason).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|(_, quantity)| i64::try_from(*quantity).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .execute(pool)
        .await?;
    Ok(())
}
