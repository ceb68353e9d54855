//! What is older than the retention goes: whole partitions, single events, then issues without any. And issues that
//! somebody deleted a day ago, with everything about them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{
    Admin,
    partitions::DDL_LOCK_TIMEOUT,
    sweep::{Index, Rows},
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz, migrations},
};

/// Issues forgotten in one transaction, which holds ingest back while it runs; and issues whose rows go together.
const ISSUES_A_BATCH: i64 = 500;
/// Tag keys forgotten in one transaction, which does so too.
const TAG_KEYS_A_BATCH: i64 = 500;
/// Marks of writers that have been silent so long are of pods long gone, with what they had spooled.
const MARKS_DAYS: i32 = 90;
/// Instances that said that they end, with nothing left to tell, are of interest to people only.
const ENDED_INSTANCES_DAYS: i32 = 1;
/// Any other one has kept a use of a key to itself, perhaps: it is known for longer than the longest overlap of two keys.
const INSTANCES_DAYS: i32 = 31;
/// How long an update of a session is known again when it comes a second time. `apply_sessions` names it too.
const SESSIONS_SEEN_HOURS: i64 = 48;
/// Windows that rate limits count in are shorter; a row that has not moved is of a writer that is gone.
const WINDOWS_HOURS: i64 = 48;
/// How long a deleted issue can be had back. `undo_action` names it too.
const DELETED_HOURS: i64 = 24;
/// What somebody did to issues is known for longer than it can be undone.
const ACTIONS_HOURS: i64 = 48;
/// How long retention holds the gate back at most while it waits for batches under way.
const GATE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for transactions that still use a partition that goes.
const DETACH_TIMEOUT: Duration = Duration::from_secs(30);

/// Tables about issues, with an index of each that begins with the issue.
const ABOUT_ISSUES: [(&str, Index); 8] = [
    ("issue_users", &[("issue_id", "bigint"), ("user_hash", "bigint")]),
    ("issue_tags", &[("issue_id", "bigint"), ("key_id", "integer"), ("value_hash", "bigint")]),
    ("issue_hours", &[("issue_id", "bigint"), ("hour", "timestamptz")]),
    ("issue_environments", &[("issue_id", "bigint"), ("env_id", "integer"), ("release_id", "integer")]),
    ("issue_environment_hours", &[("issue_id", "bigint"), ("hour", "timestamptz"), ("env_id", "integer")]),
    ("issue_activity", &[("issue_id", "bigint"), ("activity_id", "bigint")]),
    ("deleted_hashes", &[("issue_id", "bigint"), ("version", "smallint"), ("hash", "bytea")]),
    ("issue_triage", &[("issue_id", "bigint")]),
];
/// Of a leaf of events, each row once.
const EVENTS: Index = &[("issue_id", "bigint"), ("received_at", "timestamptz"), ("event_id", "uuid")];
/// Counts of hours, with the index of each, which begins with the hour.
const BY_HOUR: [(&str, Index); 4] = [
    ("outcomes", &[("hour", "timestamptz"), ("reason", "text")]),
    (
        "outcome_counts",
        &[
            ("hour", "timestamptz"),
            ("outcome", "text"),
            ("key_id", "bigint"),
            ("category", "text"),
            ("reason", "text"),
            ("part", "smallint"),
        ],
    ),
    ("sessions", &[("hour", "timestamptz"), ("release_id", "integer"), ("env_id", "integer")]),
    (
        "session_users",
        &[("hour", "timestamptz"), ("release_id", "integer"), ("env_id", "integer"), ("user_hash", "bigint")],
    ),
];

/// What [`Admin::drop_expired`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub partitions: u64,
    pub events: u64,
    pub issues: u64,
}

impl Admin {
    /// Removes events received more than `retention_days` before `now`, also those in quarantine, issues that
    /// have none left or were deleted a day ago, and what was counted that long ago.
    /// Runs in many small transactions; what an interruption leaves is removed by the next call.
    pub async fn drop_expired(
        &self,
        project: ProjectId,
        retention_days: u32,
        now: Timestamp,
    ) -> Result<Expired, StoreError> {
        let before = now - SignedDuration::from_hours(24 * i64::from(retention_days));
        // First what nobody's long transaction can hold up.
        self.delete_old_counts(project, before, now).await?;
        self.delete_gone_instances(project, now).await?;
        let partitions = self.drop_partitions(project, before).await?;
        let events = self.delete_events(project, before).await?;
        let deleted = self.forget_deleted(project, now - SignedDuration::from_hours(DELETED_HOURS)).await?;
        let issues = deleted + self.forget_expired(project, before).await?;
        self.forget_tag_keys(project).await?;
        Ok(Expired { partitions, events, issues })
    }

    /// DETACH CONCURRENTLY lets ingest go on, but runs in no transaction: the fence is just before it.
    async fn drop_partitions(&self, project: ProjectId, before: Timestamp) -> Result<u64, StoreError> {
        let schema = project.schema();
        let mut transaction = self.begin().await?;
        // A leaf that is not attached, or listed, any more is what an interrupted call left.
        let leaves: Vec<(String, Option<bool>)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT c.relname::text, i.inhdetachpending
             FROM pg_class AS c
             LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
             LEFT JOIN {schema}.partitions AS p ON p.relname = c.relname
             WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND c.relname ~ '^events_[0-9]{{8}}$'
                AND (p.n IS NULL OR p.to_at <= $2)
             ORDER BY c.relname"
        )))
        .bind(&schema)
        .bind(Timestamptz::from(before))
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {schema}.partitions WHERE to_at <= $1")))
            .bind(Timestamptz::from(before))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;

        let mut dropped = 0;
        for (leaf, detach_pending) in leaves {
            if let Some(pending) = detach_pending {
                self.begin().await?.commit().await?;
                let how = if pending { "FINALIZE" } else { "CONCURRENTLY" };
                let detach = format!("ALTER TABLE {schema}.events DETACH PARTITION {schema}.{leaf} {how}");
                self.detach(&detach).await?;
            }
            let mut transaction = self.begin_waiting(DDL_LOCK_TIMEOUT).await?;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {schema}.{leaf}")))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Waits for every transaction that used the table, but not for ever: one that stays open must not keep what
    /// expires in other projects. What was begun is finished at the next pass.
    async fn detach(&self, statement: &str) -> Result<(), StoreError> {
        // No transaction is allowed here; the limit goes with the connection.
        let mut connection = self.pool.acquire().await?.detach();
        let limit =
            format!("SET search_path = pg_catalog, pg_temp; SET statement_timeout = '{}s'", DETACH_TIMEOUT.as_secs());
        sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut connection).await?;
        let detached = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        connection.close().await?;
        detached?;
        Ok(())
    }

    /// In the partition that the limit of the retention falls into.
    async fn delete_events(&self, project: ProjectId, before: Timestamp) -> Result<u64, StoreError> {
        let schema = project.schema();
        let leaf: Option<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT relname::text FROM {schema}.partitions WHERE from_at < $1 AND to_at > $1"
        )))
        .bind(Timestamptz::from(before))
        .fetch_optional(&mut *self.read().await?)
        .await?;
        let Some((leaf,)) = leaf else { return Ok(0) };
        let (table, value) = (format!("{schema}.{leaf}"), Timestamptz::from(before));
        self.sweep_blocks(Rows { table: &table, condition: "r.received_at < $1", value }).await
    }

    /// Issues that were deleted before then, whose hashes lead nowhere any more: first their events, then themselves.
    async fn forget_deleted(&self, project: ProjectId, before: Timestamp) -> Result<u64, StoreError> {
        let schema = project.schema();
        let leaves: Vec<(String,)> =
            sqlx::query_as(AssertSqlSafe(format!("SELECT relname::text FROM {schema}.partitions")))
                .fetch_all(&mut *self.read().await?)
                .await?;
        let mut last = 0;
        loop {
            let issues: Vec<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT issue_id FROM {schema}.issue_triage WHERE issue_id > $1 AND deleted_at < $2
                 ORDER BY issue_id LIMIT $3"
            )))
            .bind(last)
            .bind(Timestamptz::from(before))
            .bind(ISSUES_A_BATCH)
            .fetch_all(&mut *self.read().await?)
            .await?;
            let issues: Vec<i64> = issues.into_iter().map(|(issue,)| issue).collect();
            let Some(newest) = issues.last() else { break };
            last = *newest;
            for (leaf,) in &leaves {
                let (table, value) = (format!("{schema}.{leaf}"), issues.clone());
                self.sweep_index(Rows { table: &table, condition: "r.issue_id = ANY ($1)", value }, EVENTS).await?;
            }
        }
        let deleted = format!(
            "EXISTS (SELECT FROM {schema}.issue_triage AS t WHERE t.issue_id = c.issue_id AND t.deleted_at < $1)"
        );
        let forgotten = self.forget_issues(&schema, &deleted, before).await?;
        self.delete_forgotten(&schema).await?;
        Ok(forgotten)
    }

    /// Issues without an event since then. What was merged stays together for as long as one of them has any.
    async fn forget_expired(&self, project: ProjectId, before: Timestamp) -> Result<u64, StoreError> {
        let schema = project.schema();
        let expired = format!(
            "c.latest_received_at < $1 AND NOT EXISTS (
                SELECT FROM {schema}.issue_triage AS t
                JOIN {schema}.issue_triage AS m ON m.merged_into = t.merged_into
                JOIN {schema}.issue_counters AS f ON f.issue_id IN (m.issue_id, t.merged_into)
                WHERE t.issue_id = c.issue_id AND f.latest_received_at >= $1
             ) AND NOT EXISTS (
                SELECT FROM {schema}.issue_triage AS m
                JOIN {schema}.issue_counters AS f ON f.issue_id = m.issue_id
                WHERE m.merged_into = c.issue_id AND f.latest_received_at >= $1
             )"
        );
        let forgotten = self.forget_issues(&schema, &expired, before).await?;
        self.delete_forgotten(&schema).await?;
        // Charts and filters do not reach behind the retention either.
        for (table, condition) in [
            ("issue_hours", "r.hour < $1"),
            ("issue_environment_hours", "r.hour < $1"),
            ("issue_environments", "r.last_seen < $1"),
            ("environments_since", "r.since < $1"),
        ] {
            let (table, value) = (format!("{schema}.{table}"), Timestamptz::from(before));
            self.sweep_blocks(Rows { table: &table, condition, value }).await?;
        }
        Ok(forgotten)
    }

    /// First what makes an issue be found again, with ingest and people held back: a batch that has looked its hash up
    /// must not add to it afterwards, and nothing is merged with it meanwhile. `condition` is about counters `c` and the
    /// time `$1`. The many rows about the issues are left to [`Self::delete_forgotten`], beside ingest.
    async fn forget_issues(&self, schema: &str, condition: &str, before: Timestamp) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        let mut last = 0;
        loop {
            let mut transaction = self.begin_waiting(GATE_LOCK_TIMEOUT).await?;
            let candidates: Vec<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT c.issue_id FROM {schema}.issue_counters AS c WHERE c.issue_id > $2 AND {condition}
                 ORDER BY c.issue_id LIMIT $3"
            )))
            .bind(Timestamptz::from(before))
            .bind(last)
            .bind(ISSUES_A_BATCH)
            .fetch_all(&mut *transaction)
            .await?;
            let candidates: Vec<i64> = candidates.into_iter().map(|(issue,)| issue).collect();
            let Some(newest) = candidates.last() else { return Ok(forgotten) };
            last = *newest;
            sqlx::raw_sql(AssertSqlSafe(format!(
                "LOCK TABLE {schema}.issue_actions IN SHARE ROW EXCLUSIVE MODE;
                 LOCK TABLE {schema}.ingest_gate IN EXCLUSIVE MODE"
            )))
            .execute(&mut *transaction)
            .await?;
            let expired = sqlx::query(AssertSqlSafe(format!(
                "WITH expired AS (
                    DELETE FROM {schema}.issue_counters AS c WHERE c.issue_id = ANY ($2) AND {condition}
                    RETURNING c.issue_id
                 ), hashes AS (
                    DELETE FROM {schema}.issue_hashes WHERE issue_id IN (SELECT issue_id FROM expired)
                 ), issues AS (
                    DELETE FROM {schema}.issues WHERE issue_id IN (SELECT issue_id FROM expired)
                 )
                 INSERT INTO {schema}.expired_issues SELECT issue_id FROM expired"
            )))
            .bind(Timestamptz::from(before))
            .bind(&candidates)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            forgotten += expired.rows_affected();
        }
    }

    /// What is left about issues that were forgotten, some of them at a time.
    async fn delete_forgotten(&self, schema: &str) -> Result<(), StoreError> {
        let mut last = 0;
        loop {
            let issues: Vec<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT issue_id FROM {schema}.expired_issues WHERE issue_id > $1 ORDER BY issue_id LIMIT $2"
            )))
            .bind(last)
            .bind(ISSUES_A_BATCH)
            .fetch_all(&mut *self.read().await?)
            .await?;
            let issues: Vec<i64> = issues.into_iter().map(|(issue,)| issue).collect();
            let Some(newest) = issues.last() else { return Ok(()) };
            last = *newest;
            for (table, index) in ABOUT_ISSUES {
                let (table, value) = (format!("{schema}.{table}"), issues.clone());
                self.sweep_index(Rows { table: &table, condition: "r.issue_id = ANY ($1)", value }, index).await?;
            }
            let done = format!("DELETE FROM {schema}.expired_issues WHERE issue_id = ANY ($1)");
            self.change(sqlx::query(AssertSqlSafe(done)).bind(issues)).await?;
        }
    }

    /// Keys that no issue has any more make room for others. With ingest held back: a batch that has looked a key up must
    /// not use it afterwards.
    async fn forget_tag_keys(&self, project: ProjectId) -> Result<(), StoreError> {
        let schema = project.schema();
        let unused = format!("NOT EXISTS (SELECT FROM {schema}.issue_tags AS i WHERE i.key_id = k.key_id)");
        loop {
            let mut transaction = self.begin_waiting(GATE_LOCK_TIMEOUT).await?;
            let candidates: Vec<(i32,)> = sqlx::query_as(AssertSqlSafe(format!(
                "SELECT k.key_id FROM {schema}.tag_keys AS k WHERE {unused} LIMIT $1"
            )))
            .bind(TAG_KEYS_A_BATCH)
            .fetch_all(&mut *transaction)
            .await?;
            if candidates.is_empty() {
                return Ok(());
            }
            let candidates: Vec<i32> = candidates.into_iter().map(|(key,)| key).collect();
            sqlx::raw_sql(AssertSqlSafe(format!("LOCK TABLE {schema}.ingest_gate IN EXCLUSIVE MODE")))
                .execute(&mut *transaction)
                .await?;
            sqlx::query(AssertSqlSafe(format!(
                "WITH forgotten AS (
                    DELETE FROM {schema}.tag_keys AS k WHERE k.key_id = ANY ($1) AND {unused} RETURNING k.key_id
                 )
                 UPDATE {schema}.flood_limits SET total = greatest(total - (SELECT count(*) FROM forgotten), 0)
                 WHERE kind = 'tags'"
            )))
            .bind(&candidates)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
        }
    }

    /// What ingest put aside and what it stored and counted besides events.
    async fn delete_old_counts(&self, project: ProjectId, before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let schema = project.schema();
        for (table, index) in BY_HOUR {
            let (table, value) = (format!("{schema}.{table}"), Timestamptz::from(before));
            self.sweep_index(Rows { table: &table, condition: "r.hour < $1", value }, index).await?;
        }
        let hours_ago = |hours| now - SignedDuration::from_hours(hours);
        for (table, condition, before) in [
            ("quarantine", "r.received_at < $1", before),
            ("user_feedback", "r.received_at < $1", before),
            ("session_seen", "r.seen_at < $1", hours_ago(SESSIONS_SEEN_HOURS)),
            ("key_usage_windows", "r.window_start < $1", hours_ago(WINDOWS_HOURS)),
            ("issue_actions", "r.at < $1", hours_ago(ACTIONS_HOURS)),
        ] {
            let (table, value) = (format!("{schema}.{table}"), Timestamptz::from(before));
            self.sweep_blocks(Rows { table: &table, condition, value }).await?;
        }
        Ok(())
    }

    /// What pods that are gone left of themselves.
    async fn delete_gone_instances(&self, project: ProjectId, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_project(&mut transaction, project).await?;
        sqlx::query(AssertSqlSafe(format!(
            "DELETE FROM {}.ingest_marks WHERE applied_at < $1 - make_interval(days => $2)",
            project.schema()
        )))
        .bind(Timestamptz::from(now))
        .bind(MARKS_DAYS)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM errortracking.ingest_instances
             WHERE project_id = $1 AND greatest(seen_at, ended_at)
                < clock_timestamp() - make_interval(days => CASE WHEN ended_clean THEN $2 ELSE $3 END)",
        )
        .bind(project.as_i64())
        .bind(ENDED_INSTANCES_DAYS)
        .bind(INSTANCES_DAYS)
        .execute(&mut *transaction)
        .await?;
        // Reports do it every ten seconds, while there are any.
        sqlx::query("DELETE FROM errortracking.refused_keys WHERE last_at < clock_timestamp() - interval '1 hour'")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
