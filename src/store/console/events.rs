//! The events of an issue in the order in which they were received, with those of issues that were merged into it: a
//! list, and what stands beside one. Each statement goes down the index of an issue's events, and stops when it has
//! enough.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{EventKey, Snapshot, StoredEvent};
use crate::{
    dsn::ProjectId,
    protocol::event::{EventId, Level},
    store::{StoreError, Timestamptz},
};

/// Longest payload, compressed, that is read for a row of a list.
const MAX_LISTED_BYTES: i32 = 32 * 1024;

/// The columns of [`EventKey`], and those of [`ListedEvent`].
const KEY: &str = "event_id, received_at";
const LISTED: &str = "event_id, received_at, ts, level, release_id, env_id, dict_id, payload";

/// An event in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEvent {
    pub key: EventKey,
    /// When it happened, as ingest believed it.
    pub timestamp: Timestamp,
    pub level: Level,
    pub release: Option<String>,
    pub environment: Option<String>,
    /// `None`: its payload is too long to be read for a row.
    pub stored: Option<StoredEvent>,
}

/// In which direction of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    Older,
    Newer,
}

impl Towards {
    fn order(self) -> &'static str {
        match self {
            Self::Older => "DESC",
            Self::Newer => "ASC",
        }
    }

    /// What comes after `$3` and `$4`. The first part is what the index knows.
    fn beyond(self) -> &'static str {
        match self {
            Self::Older => "AND received_at <= $3 AND (received_at < $3 OR event_id < $4)",
            Self::Newer => "AND received_at >= $3 AND (received_at > $3 OR event_id > $4)",
        }
    }
}

impl Snapshot {
    /// The newest events of the issue, or those that come after that one, at most `limit`.
    pub async fn events(
        &mut self,
        project: ProjectId,
        issue: i64,
        after: Option<EventKey>,
        limit: u32,
    ) -> Result<Vec<ListedEvent>, StoreError> {
        let schema = project.schema();
        let query = format!(
            "SELECT e.event_id, e.received_at, e.ts, e.level, e.dict_id, r.release, v.environment,
                    CASE WHEN octet_length(e.payload) <= {MAX_LISTED_BYTES} THEN e.payload END AS payload
               FROM ({events}) AS e
               LEFT JOIN {schema}.releases AS r ON r.release_id = e.release_id
               LEFT JOIN {schema}.environments AS v ON v.env_id = e.env_id
              ORDER BY e.received_at DESC, e.event_id DESC",
            events = self.events_from(project, LISTED, after.is_some(), Towards::Older).await?,
        );
        let rows = self.fetch_events(query, issue, after, limit).await?;
        rows.iter().map(listed_event).collect()
    }

    /// The next event of the issue from that one on; from none, the last in that direction is where it begins: towards
    /// older ones the newest.
    pub async fn event_beside(
        &mut self,
        project: ProjectId,
        issue: i64,
        from: Option<EventKey>,
        towards: Towards,
    ) -> Result<Option<EventKey>, StoreError> {
        let query = self.events_from(project, KEY, from.is_some(), towards).await?;
        let rows = self.fetch_events(query, issue, from, 1).await?;
        rows.first().map(event_key).transpose()
    }

    /// The issue that the event was stored with, which may be merged into another, or deleted. That of the newest, should
    /// an id have come twice.
    pub async fn issue_of_event(&mut self, project: ProjectId, id: EventId) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT issue_id
               FROM {schema}.events
              WHERE event_id = $1
              ORDER BY received_at DESC
              LIMIT 1",
            schema = project.schema(),
        )))
        .bind(Uuid::from_bytes(id.0))
        .fetch_optional(&mut *self.transaction)
        .await?;
        Ok(row.map(|(issue,)| issue))
    }

    /// Events of the issue `$1` and of those merged into it, at most `$2`.
    async fn events_from(
        &mut self,
        project: ProjectId,
        columns: &str,
        from: bool,
        towards: Towards,
    ) -> Result<String, StoreError> {
        let triage = self.tables(project).await?.triage;
        Ok(format!(
            "SELECT e.*
               FROM (SELECT $1::bigint AS issue_id
                      UNION ALL
                     SELECT issue_id FROM {triage} AS t WHERE merged_into = $1) AS members
              CROSS JOIN LATERAL (
                     SELECT {columns}
                       FROM {schema}.events
                      WHERE issue_id = members.issue_id {beyond}
                      ORDER BY received_at {order}, event_id {order}
                      LIMIT $2) AS e
              ORDER BY received_at {order}, event_id {order}
              LIMIT $2",
            schema = project.schema(),
            beyond = if from { towards.beyond() } else { "" },
            order = towards.order(),
        ))
    }

    async fn fetch_events(
        &mut self,
        query: String,
        issue: i64,
        from: Option<EventKey>,
        limit: u32,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(query)).bind(issue).bind(i64::from(limit));
        if let Some(EventKey { received_at, event_id }) = from {
            query = query.bind(Timestamptz::from(received_at)).bind(Uuid::from_bytes(event_id.0));
        }
        Ok(query.fetch_all(&mut *self.transaction).await?)
    }
}

fn event_key(row: &PgRow) -> Result<EventKey, StoreError> {
    Ok(EventKey {
        received_at: row.try_get::<Timestamptz, _>("received_at")?.into(),
        event_id: EventId(row.try_get::<Uuid, _>("event_id")?.into_bytes()),
    })
}

fn listed_event(row: &PgRow) -> Result<ListedEvent, StoreError> {
    let key = event_key(row)?;
    let timestamp = row.try_get::<Timestamptz, _>("ts")?.into();
    let (payload, dictionary) = (row.try_get::<Option<Vec<u8>>, _>("payload")?, row.try_get("dict_id")?);
    let EventKey { received_at, event_id } = key;
    Ok(ListedEvent {
        key,
        timestamp,
        level: Level::from_number(row.try_get::<i16, _>("level")?.into()),
        release: row.try_get("release")?,
        environment: row.try_get("environment")?,
        stored: payload.map(|payload| StoredEvent { event_id, received_at, timestamp, dictionary, payload }),
    })
}
