//! What a page says about all issues of a search: their events by hour, and what to narrow the search by.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    listing::listed,
    search::{Conditions, Search, Sql, Term},
    snapshot::{Snapshot, unreadable, unsigned},
};
use crate::{
    dsn::ProjectId,
    protocol::event::Level,
    store::{StoreError, Timestamptz},
};

/// Values that the issues of a search have, with how many of them have each; the most frequent ones first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    pub environments: Vec<(String, u64)>,
    pub releases: Vec<(String, u64)>,
    pub levels: Vec<(Level, u64)>,
}

/// What counts by environment and release do not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Events that were stored before are not counted. `None`: all are.
    pub since: Option<Timestamp>,
    /// Some issue has more environments or releases than are counted apart.
    pub crowded: bool,
}

impl Snapshot {
    /// Events of all issues of a search by hour, from the hour `since` on, as [`Self::listed_hours`] counts them.
    pub async fn trend(
        &mut self,
        project: ProjectId,
        search: &Search,
        since: Timestamp,
    ) -> Result<Vec<(Timestamp, u64)>, StoreError> {
        let tables = self.tables_of(project, search).await?;
        let conditions = Conditions { project, tables: &tables };
        let hours = if search.terms.iter().any(Term::is_about_environments) {
            "issue_environment_hours"
        } else {
            "issue_hours"
        };
        // Only issues seen since then can have hours since then.
        let mut sql = Sql::new("WITH chosen AS MATERIALIZED (SELECT i.issue_id FROM ");
        listed(&mut sql, &conditions, search);
        sql.push(" WHERE i.last_seen >= ").push_bind(Timestamptz::from(since)).push(" AND ");
        conditions.issues(&mut sql, search);
        sql.push(format_args!(
            "), members AS (
                SELECT issue_id FROM chosen
                 UNION ALL
                SELECT t.issue_id FROM {triage} AS t JOIN chosen ON t.merged_into = chosen.issue_id
             )
             SELECT p.hour, sum(p.events)::bigint AS events
               FROM members JOIN {schema}.{hours} AS p ON p.issue_id = members.issue_id
              WHERE p.hour >= ",
            triage = tables.triage,
            schema = project.schema(),
        ));
        sql.push_bind(Timestamptz::from(since)).push(" AND ");
        conditions.environments(&mut sql, search);
        sql.push(" GROUP BY 1");
        let rows = sql.build().fetch_all(&mut *self.transaction).await?;
        rows.iter().map(|row| Ok((row.try_get::<Timestamptz, _>("hour")?.into(), unsigned(row, "events")?))).collect()
    }

    /// At most `limit` environments and releases.
    pub async fn choices(&mut self, project: ProjectId, search: &Search, limit: u32) -> Result<Choices, StoreError> {
        let tables = self.tables_of(project, search).await?;
        let conditions = Conditions { project, tables: &tables };
        let schema = project.schema();
        let mut sql = Sql::new("WITH chosen AS MATERIALIZED (SELECT i.issue_id, i.level FROM ");
        listed(&mut sql, &conditions, search);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, search);
        sql.push(format_args!(
            "), pairs AS MATERIALIZED (
                SELECT c.issue_id, p.env_id, p.release_id
                  FROM {schema}.issue_environments AS p
                  LEFT JOIN {triage} AS t ON t.issue_id = p.issue_id
                  JOIN chosen AS c ON c.issue_id = coalesce(t.merged_into, p.issue_id)
                 WHERE ",
            triage = tables.triage
        ));
        conditions.pairs(&mut sql, search);
        sql.push(format_args!(
            ") (SELECT 'environment' AS key, d.environment AS value, count(DISTINCT issue_id) AS issues
                  FROM pairs JOIN {schema}.environments AS d USING (env_id)
                 GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT "
        ));
        sql.push_bind(i64::from(limit));
        sql.push(format_args!(
            ") UNION ALL
               (SELECT 'release', d.release, count(DISTINCT issue_id)
                  FROM pairs JOIN {schema}.releases AS d USING (release_id)
                 GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT "
        ));
        sql.push_bind(i64::from(limit));
        sql.push(") UNION ALL (SELECT 'level', level::text, count(*) FROM chosen GROUP BY 2 ORDER BY 3 DESC, 2)");
        let mut choices = Choices::default();
        for row in sql.build().fetch_all(&mut *self.transaction).await? {
            let (key, value, issues): (&str, String, u64) =
                (row.try_get("key")?, row.try_get("value")?, unsigned(&row, "issues")?);
            match key {
                "environment" => choices.environments.push((value, issues)),
                "release" => choices.releases.push((value, issues)),
                _ => {
                    let number = value.parse::<i64>().map_err(|error| unreadable("level", &error))?;
                    choices.levels.push((Level::from_number(number), issues));
                }
            }
        }
        Ok(choices)
    }

    pub async fn gaps(&mut self, project: ProjectId) -> Result<Gaps, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT (SELECT since FROM {schema}.environments_since) AS since,
                    EXISTS (SELECT FROM {schema}.issue_environments WHERE env_id = -1)
                        OR EXISTS (SELECT FROM {schema}.issue_environments WHERE release_id = -1) AS crowded",
            schema = project.schema()
        )))
        .fetch_one(&mut *self.transaction)
        .await?;
        let since = row.try_get::<Option<Timestamptz>, _>("since")?.map(Timestamp::from);
        Ok(Gaps { since, crowded: row.try_get("crowded")? })
    }
}
