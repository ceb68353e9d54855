//! Many rows go in short transactions, each read about once: no transaction walks over what those before it deleted, which
//! stays where it was until a vacuum. An interrupted sweep is finished by the next one.

use sqlx::{AssertSqlSafe, Encode, Postgres, Type};

use super::Admin;
use crate::store::StoreError;

/// Blocks of the table, each 8 kB, that one transaction deletes from: it ends soon, so that vacuum and replicas keep up.
const BLOCKS_A_TRANSACTION: i64 = 64;
/// Rows that one transaction deletes in the order of an index.
const ROWS_A_TRANSACTION: i64 = 10_000;

/// Some rows of one table of a project, called `r` in the condition.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    /// With its schema.
    pub table: &'a str,
    /// Whose `$1` is `value`.
    pub condition: &'a str,
    pub value: T,
}

/// Columns of an index that no two rows share, and their types.
pub(super) type Index = &'static [(&'static str, &'static str)];

impl Admin {
    /// Deletes rows by where they lie in the table: for a condition that no index knows. One look finds the first and the
    /// last of them, and nothing is written where there are none. How many were deleted.
    pub(super) async fn sweep_blocks<T>(&self, rows: Rows<'_, T>) -> Result<u64, StoreError>
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres> + Clone + Send,
    {
        let Rows { table, condition, value } = rows;
        let bounds = format!(
            "SELECT (min(r.ctid)::text::point)[0]::bigint, (max(r.ctid)::text::point)[0]::bigint
             FROM {table} AS r WHERE {condition}"
        );
        let (first, last): (Option<i64>, Option<i64>) = sqlx::query_as(AssertSqlSafe(bounds))
            .persistent(false)
            .bind(value.clone())
            .fetch_one(&mut *self.read().await?)
            .await?;
        let (Some(mut block), Some(last)) = (first, last) else { return Ok(0) };
        let mut deleted = 0;
        while block <= last {
            let end = block + BLOCKS_A_TRANSACTION;
            let delete = format!(
                "DELETE FROM {table} AS r WHERE r.ctid >= '({block},0)' AND r.ctid < '({end},0)' AND {condition}"
            );
            let delete = sqlx::query(AssertSqlSafe(delete)).persistent(false).bind(value.clone());
            deleted += self.change(delete).await?;
            block = end;
        }
        Ok(deleted)
    }

    /// Deletes rows in the order of `index`, whose first columns the condition bounds. Each transaction begins behind the
    /// last row of the one before.
    pub(super) async fn sweep_index<T>(&self, rows: Rows<'_, T>, index: Index) -> Result<(), StoreError>
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres> + Clone + Send,
    {
        let Rows { table, condition, value } = rows;
        let columns = |form: &dyn Fn(usize, &str, &str) -> String| {
            let forms = (1..).zip(index).map(|(n, (name, of_type))| form(n, name, of_type));
            forms.collect::<Vec<_>>().join(", ")
        };
        let key = columns(&|_, name, _| format!("r.{name}"));
        let behind = format!("({key}) > ({})", columns(&|n, _, of_type| format!("($2::text[])[{n}]::{of_type}")));
        let (texts, descending) = (columns(&|_, name, _| format!("r.{name}::text")), key.replace(',', " DESC,"));
        let mut last: Option<Vec<String>> = None;
        loop {
            let behind = if last.is_some() { &behind } else { "true" };
            let delete = format!(
                "WITH swept AS MATERIALIZED (
                    SELECT r.ctid AS place, {key} FROM {table} AS r
                    WHERE {condition} AND {behind}
                    ORDER BY {key} LIMIT {ROWS_A_TRANSACTION}
                 ), deleted AS (
                    DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM swept))
                 )
                 SELECT (SELECT count(*) FROM swept), ARRAY[{texts}] FROM swept AS r ORDER BY {descending} DESC LIMIT 1"
            );
            let delete = sqlx::query_as(AssertSqlSafe(delete)).persistent(false).bind(value.clone());
            let delete = if let Some(last) = &last { delete.bind(last) } else { delete };
            let mut transaction = self.begin().await?;
            let swept: Option<(i64, Vec<String>)> = delete.fetch_optional(&mut *transaction).await?;
            transaction.commit().await?;
            let Some((rows, end)) = swept else { return Ok(()) };
            if rows < ROWS_A_TRANSACTION {
                return Ok(());
            }
            last = Some(end);
        }
    }
}
