//! What became of what was sent to a project, and whether it receives.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};

use super::{Snapshot, snapshot::unsigned};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz, ingest::Outcome},
};

/// Most sums that are read: the words of clients are bounded by the hour only.
const MAX_DELIVERIES: i64 = 20_000;

/// How much of what was sent came to one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// Start of the hour; `None`: before those that are told by the hour.
    pub hour: Option<Timestamp>,
    pub outcome: Outcome,
    /// `error`, `session` and others, and what clients call so.
    pub category: String,
    /// Of accepted ones empty; of a client its own word.
    pub reason: String,
    pub quantity: u64,
}

/// What says whether a project receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// When an event was received last.
    pub last_event: Option<Timestamp>,
    /// Why events do not get in now, if some do not: the reason of most of them.
    pub dropping: Option<String>,
}

/// The columns of [`Reception`]. What was kept out in this hour or the one before counts as now.
pub(super) fn reception_of(project: ProjectId) -> String {
    let schema = project.schema();
    format!(
        "(SELECT max(latest_received_at) FROM {schema}.issue_counters) AS last_received,
         (SELECT reason
            FROM {schema}.outcome_counts
           WHERE hour >= date_trunc('hour', now(), 'UTC') - interval '1 hour' AND outcome IN ('rate_limited', 'lost')
           GROUP BY reason
           ORDER BY sum(quantity) DESC
           LIMIT 1) AS dropping"
    )
}

pub(super) fn reception(row: &PgRow) -> Result<Reception, StoreError> {
    Ok(Reception {
        last_event: row.try_get::<Option<Timestamptz>, _>("last_received")?.map(Timestamp::from),
        dropping: row.try_get("dropping")?,
    })
}

impl Snapshot {
    /// Whether the project receives.
    pub async fn reception(&mut self, project: ProjectId) -> Result<Reception, StoreError> {
        let query = format!("SELECT {}", reception_of(project));
        reception(&sqlx::query(AssertSqlSafe(query)).fetch_one(&mut *self.transaction).await?)
    }

    /// What became of what was sent since then; told by the hour from `hours_since` on.
    pub async fn deliveries(
        &mut self,
        project: ProjectId,
        since: Timestamp,
        hours_since: Timestamp,
    ) -> Result<Vec<Deliveries>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT CASE WHEN hour >= $2 THEN hour END AS hour, outcome, left(category, 64) AS category,
                    left(reason, 64) AS reason, sum(quantity)::bigint AS quantity
               FROM {schema}.outcomes_since($1)
              GROUP BY 1, 2, 3, 4
              ORDER BY sum(quantity) DESC
              LIMIT $3",
            schema = project.schema(),
        )))
        .bind(Timestamptz::from(since))
        .bind(Timestamptz::from(hours_since))
        .bind(MAX_DELIVERIES)
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().filter_map(|row| deliveries(row).transpose()).collect()
    }

    /// The issue that an event was received for last; `None`: there is none that is shown.
    pub async fn newest_issue(&mut self, project: ProjectId) -> Result<Option<i64>, StoreError> {
        let issues = self.tables(project).await?.issues;
        let newest: Option<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT issue_id FROM {issues} AS i ORDER BY latest_received_at DESC, issue_id DESC LIMIT 1"
        )))
        .fetch_optional(&mut *self.transaction)
        .await?;
        Ok(newest.map(|(issue,)| issue))
    }
}

/// `None`: an outcome that only a later version knows.
fn deliveries(row: &PgRow) -> Result<Option<Deliveries>, StoreError> {
    let Some(outcome) = Outcome::parse(row.try_get("outcome")?) else { return Ok(None) };
    Ok(Some(Deliveries {
        hour: row.try_get::<Option<Timestamptz>, _>("hour")?.map(Timestamp::from),
        outcome,
        category: row.try_get("category")?,
        reason: row.try_get("reason")?,
        quantity: unsigned(row, "quantity")?,
    }))
}
