//! Which keys a project has, and who still sends with one that is refused.

use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};

use super::{ClientKey, RefusedUse, Snapshot, snapshot::unsigned};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz, admin::state_of_key},
};

/// Most keys of a project that a page shows.
pub const MAX_KEYS: i64 = 500;

impl Snapshot {
    /// Keys of the project, those that have not ended first, then the newest; at most [`MAX_KEYS`]. What a server lacks that
    /// the operator has not migrated yet is looked up by name in the whole row.
    pub async fn client_keys(&mut self, project: ProjectId) -> Result<Vec<ClientKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT k.key_id, left(k.namespace, 63) AS namespace, left(k.name, 253) AS name, k.public_key_prefix,
                    k.enabled, k.created_at, k.revoked_at, k.last_used_at,
                    left(r.whole ->> 'state', 16) AS state,
                    (r.whole ->> 'retiring_since')::timestamptz AS retiring_since,
                    (r.whole ->> 'refused_at')::timestamptz AS refused_at,
                    (r.whole ->> 'refused_events')::bigint AS refused_events,
                    left(r.whole ->> 'refused_client', 64) AS refused_client
               FROM errortracking.console_client_keys AS k
              CROSS JOIN LATERAL (SELECT to_jsonb(k) AS whole) AS r
              WHERE k.project_id = $1
              ORDER BY k.revoked_at IS NOT NULL, k.key_id DESC
              LIMIT $2",
        )
        .bind(project.as_i64())
        .bind(MAX_KEYS)
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(client_key).collect()
    }
}

fn client_key(row: &PgRow) -> Result<ClientKey, StoreError> {
    let instant = |name| row.try_get::<Option<Timestamptz>, _>(name).map(|instant| instant.map(Timestamptz::to_jiff));
    let ended_at: Option<Timestamp> = instant("revoked_at")?;
    let state: Option<String> = row.try_get("state")?;
    let refused = match instant("refused_at")? {
        Some(last_at) => Some(RefusedUse {
            last_at,
            events: unsigned(row, "refused_events")?,
            sentry_client: row.try_get("refused_client")?,
        }),
        None => None,
    };
    Ok(ClientKey {
        id: row.try_get("key_id")?,
        namespace: row.try_get("namespace")?,
        name: row.try_get("name")?,
        public_key_prefix: row.try_get("public_key_prefix")?,
        state: state_of_key(state.as_deref().unwrap_or_default(), ended_at.is_some()),
        enabled: row.try_get("enabled")?,
        created_at: row.try_get::<Timestamptz, _>("created_at")?.to_jiff(),
        retiring_since: instant("retiring_since")?,
        ended_at,
        last_used_at: instant("last_used_at")?,
        refused,
    })
}
