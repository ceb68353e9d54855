//! How much a project has stored. Only reads, and gives up on a server that takes long: it is asked again.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use super::Admin;
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// Longest statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a project has received and stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectUsage {
    /// Of the schema on disk, with indexes.
    pub bytes: i64,
    /// When it was received.
    pub oldest_event: Option<Timestamp>,
    /// The most first. What was limited is stored, and is among what was accepted.
    pub outcomes: Vec<OutcomeCount>,
}

/// How much of what was sent had this outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeCount {
    /// As `store::ingest::Outcome` writes it, or a later version.
    pub outcome: String,
    pub reason: String,
    pub quantity: i64,
}

impl Admin {
    /// What was received since then, in whole hours, and what is stored.
    pub async fn project_usage(&self, project: ProjectId, since: Timestamp) -> Result<ProjectUsage, StoreError> {
        let counts: Vec<(String, String, i64)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT outcome, reason, sum(quantity)::bigint FROM {}.outcomes_since($1)
             WHERE (outcome <> 'accepted' OR category IN ('error', 'security')) AND outcome <> 'limited'
             GROUP BY outcome, reason ORDER BY 3 DESC, outcome, reason",
            project.schema()
        )))
        .bind(since.to_sqlx())
        .fetch_all(&mut *self.begin_reading().await?)
        .await?;
        let count = |(outcome, reason, quantity)| OutcomeCount { outcome, reason, quantity };
        Ok(ProjectUsage {
            bytes: self.project_bytes(project).await?,
            oldest_event: self.oldest_event(project).await?,
            outcomes: counts.into_iter().map(count).collect(),
        })
    }

    /// Bytes of the project's schema on disk, with indexes.
    pub async fn project_bytes(&self, project: ProjectId) -> Result<i64, StoreError> {
        let (bytes,): (i64,) = sqlx::query_as(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
             FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind = 'r'",
        )
        .bind(project.schema())
        .fetch_one(&mut *self.begin_reading().await?)
        .await?;
        Ok(bytes)
    }

    /// When the oldest event that is stored was received. No index is in the order of time: the oldest partition that
    /// holds anything is read, as retention reads it.
    pub async fn oldest_event(&self, project: ProjectId) -> Result<Option<Timestamp>, StoreError> {
        let schema = project.schema();
        let oldest: Option<(Timestamptz,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT o.received_at
             FROM (SELECT from_at, to_at FROM {schema}.partitions ORDER BY from_at) AS p
             CROSS JOIN LATERAL (
                SELECT min(e.received_at) AS received_at FROM {schema}.events AS e
                WHERE e.received_at >= p.from_at AND e.received_at < p.to_at
             ) AS o
             WHERE o.received_at IS NOT NULL
             LIMIT 1"
        )))
        .fetch_optional(&mut *self.begin_reading().await?)
        .await?;
        Ok(oldest.map(|(oldest,)| oldest.to_jiff()))
    }

    /// A transaction that needs no leader and changes nothing.
    async fn begin_reading(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.read().await?;
        let limits =
            format!("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '{}s'", STATEMENT_TIMEOUT.as_secs());
        sqlx::raw_sql(AssertSqlSafe(limits)).execute(&mut *transaction).await?;
        Ok(transaction)
    }
}
