//! What an ingest instance asks about keys and reports about itself.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{ChangedSettings, RefusedKey, Report, UserKey};
use crate::{
    dsn::{ProjectId, PublicKey},
    settings::RateLimit,
    store::StoreError,
};

/// The database's time in milliseconds since 1970, and a row of `errortracking.changed_settings` if it has one, whose last
/// three are of the same keys; and the user key then.
type Row = (
    i64,
    Option<i64>,
    Option<String>,
    Option<Vec<String>>,
    Option<Vec<Option<i32>>>,
    Option<Vec<Option<i32>>>,
    Option<Vec<u8>>,
);

/// The time of the database, and settings and accepted keys, unless they are those of `known_version`; 0 is no version.
pub async fn changed_settings(
    pool: &PgPool,
    project: ProjectId,
    known_version: i64,
) -> Result<(Timestamp, Option<ChangedSettings>), StoreError> {
    let (now, version, settings, keys, events, seconds, user_key): Row = sqlx::query_as(
        "SELECT (extract(epoch FROM clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint,
            s.version, s.ingest::text, s.public_keys, s.limit_events, s.limit_seconds,
            CASE WHEN s.version IS NOT NULL THEN errortracking.user_key($1) END
         FROM (VALUES (1)) AS one LEFT JOIN errortracking.changed_settings($1, $2) AS s ON true",
    )
    .bind(project.as_i64())
    .bind(known_version)
    .fetch_one(pool)
    .await?;
    let now = Timestamp::from_millisecond(now).unwrap_or_default();
    let (Some(version), Some(settings)) = (version, settings) else { return Ok((now, None)) };
    let (keys, events, seconds) = (keys.unwrap_or_default(), events.unwrap_or_default(), seconds.unwrap_or_default());
    let settings = serde_json::from_str(&settings).map_err(|error| StoreError::Other {
        message: format!("the settings of project {project} cannot be read: {error}"),
        sqlstate: None,
    })?;
    let user_key = user_key.map(|column| UserKey::from_column(project, column)).transpose()?;
    let limits = events.into_iter().zip(seconds).map(|(events, seconds)| rate_limit(events, seconds));
    // What does not parse as a key can be in no request either.
    let keys = keys.iter().zip(limits).filter_map(|(key, limit)| Some((key.parse().ok()?, limit))).collect();
    Ok((now, Some(ChangedSettings { version, settings, user_key, keys })))
}

/// A limit as a row has it.
pub(in crate::store) fn rate_limit(events: Option<i32>, seconds: Option<i32>) -> Option<RateLimit> {
    let number = |column: Option<i32>| column.and_then(|number| u32::try_from(number).ok());
    Some(RateLimit { events: number(events)?, window_seconds: number(seconds)? })
}

/// Whether the key is accepted now; `None`: the project has no such key.
pub async fn look_up_key(pool: &PgPool, project: ProjectId, key: &PublicKey) -> Result<Option<bool>, StoreError> {
    let (accepted,): (Option<bool>,) = sqlx::query_as("SELECT errortracking.look_up_key($1, $2)")
        .bind(project.as_i64())
        .bind(key.as_str())
        .fetch_one(pool)
        .await?;
    Ok(accepted)
}

/// Whether the key is accepted now, as instances of the version before ask.
pub async fn find_key(pool: &PgPool, project: ProjectId, key: &PublicKey) -> Result<bool, StoreError> {
    let (found,): (bool,) = sqlx::query_as("SELECT errortracking.find_key($1, $2)")
        .bind(project.as_i64())
        .bind(key.as_str())
        .fetch_one(pool)
        .await?;
    Ok(found)
}

/// Records that the instance lives or ends, which settings it follows, and the use of keys.
pub async fn report(pool: &PgPool, project: ProjectId, report: &Report<'_>) -> Result<(), StoreError> {
    let usage = report.key_usage;
    sqlx::query("SELECT errortracking.report($1, $2, $3, $4, $5, $6, $7::jsonb)")
        .bind(project.as_i64())
        .bind(report.instance)
        .bind(report.settings_version)
        .bind(report.ending)
        .bind(usage.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
        .bind(usage.iter().map(|(_, age)| age.as_secs_f64()).collect::<Vec<_>>())
        .bind(report.refused.iter().map(refused_key).collect::<Value>().to_string())
        .execute(pool)
        .await?;
    Ok(())
}

/// As `errortracking.record_refused` reads it.
fn refused_key(of: &RefusedKey) -> Value {
    let address = |(address, age): &(IpAddr, Duration)| json!({"address": address, "age": age.as_secs_f64()});
    json!({
        "key": of.key.as_str(),
        "age": of.age.as_secs_f64(),
        "events": of.events,
        "sentry_client": of.sentry_client,
        "server_name": of.server_name,
        "addresses": of.addresses.iter().map(address).collect::<Vec<_>>(),
    })
}
