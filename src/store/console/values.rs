//! Values that a search can name, by how they begin, in capitals or not, and how many issues have each.

use sqlx::Row as _;

use super::{
    search::{Sql, beginning},
    snapshot::{Snapshot, unsigned},
};
use crate::{dsn::ProjectId, store::StoreError};

/// Most that are counted of one value: a number is there while somebody types.
pub const MOST_COUNTED: u64 = 1000;
/// Environments, and values of a tag, that are counted before the most frequent ones are known.
const CANDIDATES: i64 = 50;
/// Values of a tag that are looked at.
const LOOKED_AT: i64 = 1000;

/// A value, and how many issues have it, up to [`MOST_COUNTED`].
pub type Valued = (String, u64);

impl Snapshot {
    /// The most frequent ones, at most `limit`. The schema counts by environment.
    pub async fn environments_beginning(
        &mut self,
        project: ProjectId,
        start: &str,
        limit: u32,
    ) -> Result<Vec<Valued>, StoreError> {
        let schema = project.schema();
        let mut sql = Sql::new(format!(
            "WITH candidates AS MATERIALIZED (
                SELECT env_id AS number, environment AS value FROM {schema}.environments WHERE environment ILIKE "
        ));
        sql.push_bind(beginning(start)).push(" ORDER BY environment LIMIT ").push_bind(CANDIDATES).push(")");
        let rows = format!("{schema}.issue_environments AS p WHERE p.env_id = c.number AND p.release_id = -2");
        self.most_frequent(project, sql, &rows, limit).await
    }

    /// The newest ones, at most `limit`, by how many issues have them. The schema counts by environment.
    pub async fn releases_beginning(
        &mut self,
        project: ProjectId,
        start: &str,
        limit: u32,
    ) -> Result<Vec<Valued>, StoreError> {
        let schema = project.schema();
        let mut sql = Sql::new(format!(
            "WITH candidates AS MATERIALIZED (
                SELECT release_id AS number, release AS value FROM {schema}.releases WHERE release ILIKE "
        ));
        sql.push_bind(beginning(start)).push(" ORDER BY release_id DESC LIMIT ").push_bind(i64::from(limit)).push(")");
        let rows = format!("{schema}.issue_environments AS p WHERE p.release_id = c.number");
        self.most_frequent(project, sql, &rows, limit).await
    }

    /// Values of a tag, the most frequent ones of some, at most `limit`: of a tag with very many values not all are looked at.
    pub async fn tag_values_beginning(
        &mut self,
        project: ProjectId,
        key: &str,
        start: &str,
        limit: u32,
    ) -> Result<Vec<Valued>, StoreError> {
        let schema = project.schema();
        // From one value to the next by the index, whatever the number of rows of each. 0 is that of many values.
        let mut sql =
            Sql::new(format!("WITH RECURSIVE key AS MATERIALIZED (SELECT key_id FROM {schema}.tag_keys WHERE key = "));
        sql.push_bind(key.to_owned());
        sql.push(format_args!(
            "), hashes AS (
                (SELECT value_hash FROM {schema}.issue_tags
                  WHERE key_id = (SELECT key_id FROM key) ORDER BY value_hash LIMIT 1)
                UNION ALL
                SELECT (SELECT g.value_hash FROM {schema}.issue_tags AS g
                         WHERE g.key_id = (SELECT key_id FROM key) AND g.value_hash > h.value_hash
                         ORDER BY g.value_hash LIMIT 1)
                  FROM hashes AS h WHERE h.value_hash IS NOT NULL
             ), looked_at AS MATERIALIZED (SELECT value_hash FROM hashes LIMIT "
        ));
        sql.push_bind(LOOKED_AT);
        sql.push(format_args!(
            "), candidates AS MATERIALIZED (
                SELECT h.value_hash AS number, g.value
                  FROM looked_at AS h
                 CROSS JOIN LATERAL (
                    SELECT value FROM {schema}.issue_tags
                     WHERE key_id = (SELECT key_id FROM key) AND value_hash = h.value_hash LIMIT 1
                 ) AS g
                 WHERE h.value_hash <> 0 AND g.value ILIKE "
        ));
        sql.push_bind(beginning(start)).push(" LIMIT ").push_bind(CANDIDATES).push(")");
        let rows =
            format!("{schema}.issue_tags AS p WHERE p.key_id = (SELECT key_id FROM key) AND p.value_hash = c.number");
        self.most_frequent(project, sql, &rows, limit).await
    }

    /// Who has errors, by name, at most `limit`.
    pub async fn assignees_beginning(
        &mut self,
        project: ProjectId,
        start: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let tables = self.tables(project).await?;
        let mut sql =
            Sql::new(format!("SELECT DISTINCT i.assignee FROM {} AS i WHERE i.assignee ILIKE ", tables.issues));
        sql.push_bind(beginning(start)).push(" ORDER BY 1 LIMIT ").push_bind(i64::from(limit));
        Ok(sql.build_query_scalar().fetch_all(&mut *self.transaction).await?)
    }

    /// `sql` ends with the `candidates`, each a `number` and its `value`; `rows` are those `p` of the candidate `c`.
    async fn most_frequent(
        &mut self,
        project: ProjectId,
        mut sql: Sql,
        rows: &str,
        limit: u32,
    ) -> Result<Vec<Valued>, StoreError> {
        let tables = self.tables(project).await?;
        sql.push(format_args!(
            " SELECT c.value, counted.issues
                FROM candidates AS c
               CROSS JOIN LATERAL (
                    SELECT count(DISTINCT coalesce(t.merged_into, few.issue_id)) AS issues
                      FROM (SELECT p.issue_id FROM {rows} LIMIT "
        ));
        sql.push_bind(MOST_COUNTED.cast_signed());
        sql.push(format_args!(
            ") AS few LEFT JOIN {triage} AS t ON t.issue_id = few.issue_id
               ) AS counted
               WHERE counted.issues > 0
               ORDER BY counted.issues DESC, c.value LIMIT ",
            triage = tables.triage
        ));
        sql.push_bind(i64::from(limit));
        let rows = sql.build().fetch_all(&mut *self.transaction).await?;
        rows.iter().map(|row| Ok((row.try_get("value")?, unsigned(row, "issues")?))).collect()
    }
}
