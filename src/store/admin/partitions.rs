//! Partitions of `events`: always two whole ones ahead, so that a partition is never missing and never made
//! in haste.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Admin, Partition};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz, migrations},
};

/// How many partitions that have not begun must exist.
pub(super) const AHEAD: usize = 2;

/// Statements on partitions give up after this, because ingest queues behind them.
pub(super) const DDL_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Days of the next partition by the bytes of the last day: a thousand small projects keep few relations,
/// a large one can drop days.
const SPANS: [(i64, i32); 2] = [(100 << 20, 30), (1 << 30, 7)];

impl Admin {
    /// Makes what is missing; what it made.
    pub async fn ensure_partitions(&self, project: ProjectId, now: Timestamp) -> Result<Vec<Partition>, StoreError> {
        let mut transaction = self.begin_waiting(DDL_LOCK_TIMEOUT).await?;
        migrations::lock_project(&mut transaction, project).await?;
        let mut last = last(&mut transaction, project).await?;
        let ahead: (i64,) = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT count(*) FROM {}.partitions WHERE from_at > $1",
            project.schema()
        )))
        .bind(Timestamptz::from(now))
        .fetch_one(&mut *transaction)
        .await?;
        let mut ahead = usize::try_from(ahead.0).unwrap_or(0);
        let span = DAY * span_days(bytes_of_last_day(&mut transaction, project, now).await?);
        let mut made = Vec::new();
        while ahead < AHEAD {
            let today = start_of_day(now);
            let (number, partition) = match last {
                // The day before too: clocks of pods differ, and what was accepted may arrive late.
                None => (1, Partition { from: today - DAY, to: today + span }),
                // One partition covers the time that nobody looked after.
                Some((number, to)) => (number + 1, Partition { from: to, to: to.max(today) + span }),
            };
            create(&mut transaction, project, number, partition).await?;
            made.push(partition);
            last = Some((number, partition.to));
            ahead += usize::from(partition.from > now);
        }
        transaction.commit().await?;
        Ok(made)
    }
}

/// Number and end of the newest partition.
async fn last(transaction: &mut PgConnection, project: ProjectId) -> Result<Option<(i32, Timestamp)>, StoreError> {
    let last: Option<(i32, Timestamptz)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT n, to_at FROM {}.partitions ORDER BY n DESC LIMIT 1",
        project.schema()
    )))
    .fetch_optional(transaction)
    .await?;
    Ok(last.map(|(number, to)| (number, to.to_jiff())))
}

/// Bytes a day of the partition in use, or of the one before while that is not a day old.
async fn bytes_of_last_day(
    transaction: &mut PgConnection,
    project: ProjectId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let schema = project.schema();
    let (bytes,): (i64,) = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT coalesce(max(
            pg_total_relation_size(format('%I.%I', '{schema}', relname)::regclass)
            / greatest(extract(epoch FROM least(to_at, $1) - from_at) / 86400, 1)
         ), 0)::bigint
         FROM {schema}.partitions WHERE from_at <= $1 AND to_at > $1 - interval '1 day'"
    )))
    .bind(Timestamptz::from(now))
    .fetch_one(transaction)
    .await?;
    Ok(bytes)
}

fn span_days(bytes_a_day: i64) -> i32 {
    SPANS.iter().find(|(below, _)| bytes_a_day < *below).map_or(1, |(_, days)| *days)
}

fn start_of_day(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(DAY.as_secs())).unwrap_or(now)
}

/// CREATE, then ATTACH: unlike PARTITION OF, that lets ingest go on.
async fn create(
    transaction: &mut PgConnection,
    project: ProjectId,
    number: i32,
    partition: Partition,
) -> Result<(), StoreError> {
    let schema = project.schema();
    let name = format!("events_{}", partition.from.strftime("%Y%m%d"));
    let Partition { from, to } = partition;
    // In the row up to a whole page: events of 2 to 8 kB would each cost a TOAST row.
    let create = format!(
        "CREATE TABLE {schema}.{name} (LIKE {schema}.events INCLUDING STORAGE) WITH (toast_tuple_target = 8160);
         CREATE UNIQUE INDEX {name}_event_id ON {schema}.{name} (event_id);
         REVOKE ALL ON {schema}.{name} FROM PUBLIC;
         ALTER TABLE {schema}.events ATTACH PARTITION {schema}.{name} FOR VALUES FROM ('{from}') TO ('{to}');
         INSERT INTO {schema}.partitions (n, from_at, to_at, relname) VALUES ({number}, '{from}', '{to}', '{name}')"
    );
    sqlx::raw_sql(AssertSqlSafe(create)).execute(transaction).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_projects_get_short_partitions() {
        for (bytes, days) in [(0, 30), ((100 << 20) - 1, 30), (100 << 20, 7), ((1 << 30) - 1, 7), (1 << 30, 1)] {
            assert_eq!(span_days(bytes), days, "{bytes}");
        }
    }

    #[test]
    fn partitions_begin_at_midnight_utc() {
        let now: Timestamp = "2026-11-23T17:04:05Z".parse().unwrap();
        assert_eq!(start_of_day(now).to_string(), "2026-11-23T00:00:00Z");
    }
}
