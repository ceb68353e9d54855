//! The statements that store what was sent: one function call a batch, one row a quarantined event.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgArguments, query::QueryAs};
use uuid::Uuid;

use super::{Applied, Batch, Quarantined, Row, reports};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// How often a batch that lost against another transaction is sent in all. Locks are taken in one
/// order, so that losing twice in a row is already rare.
const ATTEMPTS: u32 = 5;

/// Stores a batch exactly once: safe to call again with the same batch when the answer was lost.
///
/// One round trip and one transaction; what lost against another transaction is sent again.
pub async fn ingest_batch(pool: &PgPool, project: ProjectId, batch: &Batch<'_>) -> Result<Applied, StoreError> {
    let statement = format!(
        "SELECT applied, stored, duplicates, usage::text FROM {}.ingest_regrouped(\
         $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
         $23::text::jsonb, $24::text::jsonb, $25::text::jsonb, $26::text::jsonb, $27, $28)",
        project.schema()
    );
    let sessions = reports::sessions_json(batch.sessions)?;
    let feedback = reports::feedback_json(batch.feedback)?;
    let outcomes = reports::outcomes_json(batch.outcomes)?;
    let limits = reports::limits_json(batch.limits, batch.own_streams)?;
    let older_groupings = older_groupings(&sorted(batch));
    let mut attempt = 1;
    loop {
        let query = bind(sqlx::query_as(AssertSqlSafe(statement.clone())), batch)
            .bind(&sessions)
            .bind(&feedback)
            .bind(&outcomes)
            .bind(&limits)
            .bind(older_groupings.as_ref().map(|(versions, _)| versions))
            .bind(older_groupings.as_ref().map(|(_, hashes)| hashes));
        match query.fetch_one(pool).await.map_err(StoreError::from) {
            Ok((applied, stored, duplicates, usage)) => {
                let (stored, duplicates) = (i64::cast_unsigned(stored), i64::cast_unsigned(duplicates));
                return Ok(Applied { applied, stored, duplicates, usage: reports::usage_of(usage.as_deref())? });
            }
            Err(error) if error.busy() && attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(10) * attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

type Query<'q> = QueryAs<'q, sqlx::Postgres, (bool, i64, i64, Option<String>), PgArguments>;

/// Rows go sorted by event id, so that sorting there is cheap.
fn sorted<'q>(batch: &Batch<'q>) -> Vec<&'q Row> {
    let mut rows: Vec<&'q Row> = batch.rows.iter().collect();
    rows.sort_by_key(|row| row.event_id);
    rows
}

/// A version and a hash for each row that has them.
type OlderGroupings<'q> = (Vec<Option<i16>>, Vec<Option<&'q [u8]>>);

/// Versions and hashes by which older programs know the events of the rows; `None` where none is asked for.
fn older_groupings<'q>(rows: &[&'q Row]) -> Option<OlderGroupings<'q>> {
    let version = |row: &&Row| row.older_grouping.map(|(version, _)| version);
    let hash = |row: &&'q Row| row.older_grouping.as_ref().map(|(_, hash)| &hash[..]);
    let is_asked = rows.iter().any(|row| row.older_grouping.is_some());
    is_asked.then(|| rows.iter().map(|row| (version(row), hash(row))).unzip())
}

/// The arguments of `ingest_regrouped` about events, in its order.
fn bind<'q>(query: Query<'q>, batch: &Batch<'q>) -> Query<'q> {
    let rows = sorted(batch);
    let tags = || rows.iter().zip(1_i32..).flat_map(|(row, n)| row.tags.iter().map(move |tag| (n, tag)));
    let tag_rows: Vec<i32> = tags().map(|(n, _)| n).collect();
    let tag_keys: Vec<&str> = tags().map(|(_, (key, _))| key.as_str()).collect();
    let tag_values: Vec<&str> = tags().map(|(_, (_, value))| value.as_str()).collect();
    let tag_hashes: Vec<i64> = tags().map(|(_, (_, value))| tag_value_hash(value)).collect();

    query
        .bind(batch.stream)
        .bind(batch.sequence)
        .bind(rows.iter().map(|row| Uuid::from_bytes(row.event_id.0)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| Timestamptz::from(row.received_at)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| Timestamptz::from(row.timestamp)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.level as i16).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.title.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.culprit.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.exception_type.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.exception_value.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.platform.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.release.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.environment.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.user_hash).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.grouping_version).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| &row.grouping_hash[..]).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.payload.as_slice()).collect::<Vec<_>>())
        .bind(tag_rows)
        .bind(tag_keys)
        .bind(tag_values)
        .bind(tag_hashes)
}

/// What `issue_tags` knows a value by: the first eight bytes of its SHA-256, big-endian. Never zero,
/// which stands for all values over the limit.
#[must_use]
pub fn tag_value_hash(value: &str) -> i64 {
    let digest = Sha256::digest(value.as_bytes());
    match digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | i64::from(*byte)) {
        0 => 1,
        hash => hash,
    }
}

/// Keeps a row aside that `ingest_batch` rejects, once: safe to call again. The reason may be the server's own words.
pub async fn quarantine(pool: &PgPool, project: ProjectId, row: &Quarantined<'_>) -> Result<(), StoreError> {
    let statement = format!("SELECT {}.quarantine_event($1, $2, $3, $4)", project.schema());
    sqlx::query(AssertSqlSafe(statement))
        .bind(Uuid::from_bytes(row.event_id.0))
        .bind(Timestamptz::from(row.received_at))
        .bind(row.reason)
        .bind(row.payload)
        .execute(pool)
        .await?;
    Ok(())
}
