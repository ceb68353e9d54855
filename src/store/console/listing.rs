//! The list of issues: those of a search, in an order, and how many there are.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Issue, IssueCursor, IssueOrder,
    search::{Conditions, Search, Sql, Term},
    snapshot::{ISSUE, Snapshot, Tables, by_hour, issue, unsigned},
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// Issues of a search.
impl Snapshot {
    /// Those after the cursor, at most `limit`.
    pub async fn issues(
        &mut self,
        project: ProjectId,
        search: &Search,
        order: IssueOrder,
        after: Option<IssueCursor>,
        limit: u32,
    ) -> Result<Vec<Issue>, StoreError> {
        let key = match order {
            IssueOrder::LastSeen => "i.last_seen",
            IssueOrder::FirstSeen => "i.first_seen",
            IssueOrder::Events => "i.events",
            IssueOrder::Users => "i.users",
        };
        let tables = self.tables(project).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new(format!("SELECT {ISSUE} FROM "));
        listed(&mut sql, &conditions, search);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, search);
        if let Some(IssueCursor { key: last, issue }) = after {
            sql.push(format_args!(" AND ({key}, i.issue_id) < ("));
            match order {
                IssueOrder::LastSeen | IssueOrder::FirstSeen => sql.push_bind(moment(last)),
                IssueOrder::Events | IssueOrder::Users => sql.push_bind(last),
            };
            sql.push(", ").push_bind(issue).push(")");
        }
        sql.push(format_args!(" ORDER BY {key} DESC, i.issue_id DESC LIMIT ")).push_bind(i64::from(limit));
        let rows = sql.build().fetch_all(&mut *self.transaction).await?;
        rows.iter().map(issue).collect()
    }

    /// How many issues a search has.
    pub async fn count(&mut self, project: ProjectId, search: &Search) -> Result<u64, StoreError> {
        let tables = self.tables(project).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new("SELECT count(*) AS issues FROM ");
        listed(&mut sql, &conditions, search);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, search);
        unsigned(&sql.build().fetch_one(&mut *self.transaction).await?, "issues")
    }

    /// How many issues of a search each of these has, in their order. Their terms about events do not count.
    pub async fn counts(
        &mut self,
        project: ProjectId,
        search: &Search,
        each: &[Search],
    ) -> Result<Vec<u64>, StoreError> {
        let tables = self.tables(project).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new("SELECT ARRAY[");
        for (n, one) in each.iter().enumerate() {
            sql.push(if n == 0 { "" } else { ", " }).push("count(*) FILTER (WHERE ");
            conditions.issues(&mut sql, one);
            sql.push(")");
        }
        sql.push("]::bigint[] AS counts FROM ");
        listed(&mut sql, &conditions, search);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, search);
        let counts: Vec<i64> = sql.build().fetch_one(&mut *self.transaction).await?.try_get("counts")?;
        Ok(counts.into_iter().map(i64::cast_unsigned).collect())
    }

    /// Of each term, whether it has no issue even alone; those about events, no event.
    pub async fn futile(&mut self, project: ProjectId, search: &Search) -> Result<Vec<bool>, StoreError> {
        let tables = self.tables(project).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new("SELECT ARRAY[");
        for (n, term) in search.terms.iter().enumerate() {
            sql.push(if n == 0 { "" } else { ", " });
            if term.is_about_events() {
                sql.push(format_args!("NOT EXISTS (SELECT FROM {}.issue_environments AS p WHERE ", project.schema()));
                conditions.term(&mut sql, term);
                sql.push(")");
            } else {
                sql.push("bool_or(");
                conditions.term(&mut sql, term);
                sql.push(") IS NOT TRUE");
            }
        }
        sql.push(format_args!("]::boolean[] AS futile FROM {} AS i", tables.issues));
        Ok(sql.build().fetch_one(&mut *self.transaction).await?.try_get("futile")?)
    }

    /// Events by issue and hour, from the hour `since` on, of the environments that a search speaks of; hours do not know
    /// releases. With those of issues that were merged into one.
    pub async fn listed_hours(
        &mut self,
        project: ProjectId,
        search: &Search,
        issues: &[i64],
        since: Timestamp,
    ) -> Result<HashMap<i64, Vec<(Timestamp, u64)>>, StoreError> {
        if !search.terms.iter().any(Term::is_about_environments) {
            return self.hours(project, issues, since).await;
        }
        let tables = self.tables(project).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new(
            "SELECT members.shown_id AS issue_id, p.hour, sum(p.events)::bigint AS events
               FROM (SELECT id AS issue_id, id AS shown_id FROM unnest(",
        );
        sql.push_bind(issues.to_vec()).push(") AS id UNION ALL SELECT issue_id, merged_into FROM ");
        sql.push(&tables.triage).push(" AS t WHERE merged_into = ANY (").push_bind(issues.to_vec());
        sql.push(format_args!(
            ")) AS members JOIN {}.issue_environment_hours AS p ON p.issue_id = members.issue_id WHERE p.hour >= ",
            project.schema()
        ));
        sql.push_bind(Timestamptz::from(since)).push(" AND ");
        conditions.environments(&mut sql, search);
        sql.push(" GROUP BY 1, 2");
        by_hour(&sql.build().fetch_all(&mut *self.transaction).await?)
    }

    /// Of these keys, those that no event had as a tag.
    pub async fn unknown_tags(&mut self, project: ProjectId, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        let unknown = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT u FROM unnest($1::text[]) AS u WHERE u NOT IN (SELECT key FROM {}.tag_keys)",
            project.schema()
        )))
        .bind(keys)
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(unknown)
    }

    /// Keys of tags, at most `limit`, by name.
    pub async fn tag_keys(&mut self, project: ProjectId, limit: u32) -> Result<Vec<String>, StoreError> {
        let keys = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT key FROM {}.tag_keys ORDER BY key LIMIT $1",
            project.schema()
        )))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(keys)
    }

    /// Names of environments, at most `limit`, by name.
    pub async fn environments(&mut self, project: ProjectId, limit: u32) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT environment FROM {}.environments ORDER BY environment LIMIT $1",
            project.schema()
        )))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(names)
    }
}

/// Writes what a list is FROM: issues `i`, whose numbers are those of the events that the search speaks of.
pub(super) fn listed(sql: &mut Sql, conditions: &Conditions<'_>, search: &Search) {
    let Tables { issues, triage } = conditions.tables;
    if !search.is_about_events() {
        sql.push(format_args!("{issues} AS i"));
        return;
    }
    sql.push(format_args!(
        "(SELECT {OF_ISSUES}, m.events, m.first_seen, m.last_seen
            FROM {issues} AS s
            JOIN (SELECT coalesce(t.merged_into, p.issue_id) AS issue_id, sum(p.events)::bigint AS events,
                         min(p.first_seen) AS first_seen, max(p.last_seen) AS last_seen
                    FROM {schema}.issue_environments AS p
                    LEFT JOIN {triage} AS t ON t.issue_id = p.issue_id
                   WHERE ",
        schema = conditions.project.schema()
    ));
    conditions.events(sql, search);
    sql.push(" GROUP BY 1) AS m ON m.issue_id = s.issue_id) AS i");
}

/// Columns of an issue that are the same whichever events a search speaks of.
const OF_ISSUES: &str = "s.issue_id, s.title, s.culprit, s.level, s.status, s.status_changed_at, s.exception_type,
    s.exception_value, s.first_release_id, s.assignee, s.resolved_in, s.resolved_in_next, s.ignored_until,
    s.ignored_until_events, s.ignored_until_users, s.merged_issues, s.users, s.latest_received_at, s.latest_event_id";

/// The moment that a cursor names in microseconds since 1970; one that cannot be is the next that can.
fn moment(microseconds: i64) -> Timestamptz {
    Timestamp::from_microsecond(microseconds.max(0)).unwrap_or(Timestamp::MAX).into()
}
