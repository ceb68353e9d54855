//! The releases of a project: what is new in each, and how many of its sessions crashed.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};

use super::{Snapshot, snapshot::unsigned};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The later one is seen first, the larger it is.
    pub id: i32,
    pub name: String,
    pub first_seen: Timestamp,
    /// Errors whose first event was of it.
    pub new_errors: u64,
    /// Of the hours asked for; none was reported where the total is zero.
    pub sessions: u64,
    pub crashed: u64,
}

impl Snapshot {
    /// Names of those seen last, at most `limit`, the newest one first, and when each was first seen.
    pub async fn newest_releases(
        &mut self,
        project: ProjectId,
        limit: u32,
    ) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let rows: Vec<(String, Timestamptz)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT release, first_seen FROM {}.releases ORDER BY release_id DESC LIMIT $1",
            project.schema()
        )))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(rows.into_iter().map(|(release, at)| (release, at.into())).collect())
    }

    /// The one of that name, with sessions from the hour `since` on.
    pub async fn release(
        &mut self,
        project: ProjectId,
        name: &str,
        since: Timestamp,
    ) -> Result<Option<Release>, StoreError> {
        let id: Option<(i32,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT release_id FROM {}.releases WHERE release = $1",
            project.schema()
        )))
        .bind(name)
        .fetch_optional(&mut *self.transaction)
        .await?;
        let Some((id,)) = id else { return Ok(None) };
        // The first before the next number.
        Ok(self.releases(project, id.checked_add(1), since, 1).await?.pop())
    }

    /// Those seen last, or those that come after that one, at most `limit`; sessions are counted from the hour `since`
    /// on. Issues and sessions are gone through once, whatever the number of releases.
    pub async fn releases(
        &mut self,
        project: ProjectId,
        after: Option<i32>,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Release>, StoreError> {
        let tables = self.tables(project).await?;
        let rows = sqlx::query(AssertSqlSafe(format!(
            "WITH page AS MATERIALIZED (
                SELECT release_id, release, first_seen
                  FROM {schema}.releases
                 WHERE release_id < $1
                 ORDER BY release_id DESC
                 LIMIT $2
             )
             SELECT release_id, release, first_seen, coalesce(new_errors, 0) AS new_errors,
                    coalesce(sessions, 0) AS sessions, coalesce(crashed, 0) AS crashed
               FROM page
               LEFT JOIN (SELECT first_release_id AS release_id, count(*) AS new_errors
                            FROM {issues} AS i
                           WHERE first_release_id IN (SELECT release_id FROM page)
                           GROUP BY 1) AS n USING (release_id)
               LEFT JOIN (SELECT release_id, sum(total)::bigint AS sessions, sum(crashed)::bigint AS crashed
                            FROM {schema}.sessions
                           WHERE hour >= $3 AND release_id IN (SELECT release_id FROM page)
                           GROUP BY 1) AS s USING (release_id)
              ORDER BY release_id DESC",
            schema = project.schema(),
            issues = tables.issues,
        )))
        .bind(after.unwrap_or(i32::MAX))
        .bind(i64::from(limit))
        .bind(Timestamptz::from(since))
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(release).collect()
    }
}

fn release(row: &PgRow) -> Result<Release, StoreError> {
    Ok(Release {
        id: row.try_get("release_id")?,
        name: row.try_get("release")?,
        first_seen: row.try_get::<Timestamptz, _>("first_seen")?.into(),
        new_errors: unsigned(row, "new_errors")?,
        sessions: unsigned(row, "sessions")?,
        crashed: unsigned(row, "crashed")?,
    })
}
