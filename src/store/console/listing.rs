//! The list of issues: those of a search, in an order, and how many there are.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Issue, IssueCursor, IssueOrder,
    search::{Conditions, Search, Sql, Term},
    snapshot::{Snapshot, Tables, by_hour, issue},
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// What a list has, and what is counted beside it.
#[derive(Clone, Copy, Debug)]
pub struct List<'s> {
    /// Holds for all of it.
    pub scope: &'s Search,
    /// Which issues of the scope are listed.
    pub query: &'s Search,
    /// Counted too, each among the issues of the scope. Their terms about events do not count.
    pub each: &'s [Search],
    pub order: IssueOrder,
    pub after: Option<IssueCursor>,
    /// Most issues.
    pub limit: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Those after the cursor.
    pub issues: Vec<Issue>,
    /// Issues of the query, whatever the cursor is.
    pub total: u64,
    pub counts: Vec<u64>,
}

/// Issues of a search.
impl Snapshot {
    /// All issues of the scope are looked at once, whatever is counted of them. Only of a query about events, whose
    /// issues have other numbers, what is counted beside it is looked at by itself.
    pub async fn list(&mut self, project: ProjectId, list: List<'_>) -> Result<Listing, StoreError> {
        if list.query.is_about_events() && !list.each.is_empty() {
            let counts = self.counts(project, list.scope, list.each).await?;
            return Ok(Listing { counts, ..Box::pin(self.list(project, List { each: &[], ..list })).await? });
        }
        let List { scope, query, each, order, after, limit } = list;
        let all = scope.clone().and(query.terms.iter().filter(|term| term.is_about_events()).cloned());
        let tables = self.tables_of(project, &all).await?;
        let conditions = Conditions { project, tables: &tables };
        // It is called like its column.
        let key = order.as_str();
        let mut sql = Sql::new(format!("WITH scoped AS MATERIALIZED (SELECT i.issue_id, i.{key} AS key"));
        // A sum over many rows is not made again.
        let numbers = if all.is_about_events() {
            sql.push(", i.events, i.first_seen, i.last_seen");
            "page.events, page.first_seen, page.last_seen"
        } else {
            "s.events, s.first_seen, s.last_seen"
        };
        for (n, one) in each.iter().chain([query]).enumerate() {
            sql.push(", ");
            conditions.issues(&mut sql, one);
            sql.push(format_args!(" AS is_in_{n}"));
        }
        sql.push(" FROM ");
        listed(&mut sql, &conditions, &all);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, &all);
        let is_listed = format!("is_in_{}", each.len());
        let counts: Vec<_> = (0..=each.len()).map(|n| format!("count(*) FILTER (WHERE is_in_{n})")).collect();
        sql.push(format_args!("), page AS (SELECT * FROM scoped WHERE {is_listed}"));
        if let Some(IssueCursor { key, issue }) = after {
            sql.push(" AND (key, issue_id) < (");
            match order {
                IssueOrder::LastSeen | IssueOrder::FirstSeen => sql.push_bind(moment(key)),
                IssueOrder::Events | IssueOrder::Users => sql.push_bind(key),
            };
            sql.push(", ").push_bind(issue).push(")");
        }
        sql.push(" ORDER BY key DESC, issue_id DESC LIMIT ").push_bind(i64::from(limit));
        sql.push(format_args!(
            ") SELECT counted.counts, {OF_ISSUES}, {numbers}
                 FROM (SELECT ARRAY[{counts}]::bigint[] AS counts FROM scoped) AS counted
                 LEFT JOIN (page JOIN {issues} AS s ON s.issue_id = page.issue_id) ON true
                ORDER BY page.key DESC, page.issue_id DESC",
            counts = counts.join(", "),
            issues = tables.issues,
        ));
        let rows = sql.build().fetch_all(&mut *self.transaction).await?;
        let mut counts = rows.first().map(|row| row.try_get::<Vec<i64>, _>("counts")).transpose()?.unwrap_or_default();
        let total = counts.pop().unwrap_or_default().cast_unsigned();
        let mut issues = Vec::with_capacity(rows.len());
        for row in &rows {
            // One without an issue has the numbers of a page that is empty.
            if row.try_get::<Option<i64>, _>("issue_id")?.is_some() {
                issues.push(issue(row)?);
            }
        }
        Ok(Listing { issues, total, counts: counts.into_iter().map(i64::cast_unsigned).collect() })
    }

    /// How many issues of a scope each of these has, in their order. Their terms about events do not count.
    pub async fn counts(
        &mut self,
        project: ProjectId,
        scope: &Search,
        each: &[Search],
    ) -> Result<Vec<u64>, StoreError> {
        let tables = self.tables_of(project, scope).await?;
        let conditions = Conditions { project, tables: &tables };
        let mut sql = Sql::new("SELECT ARRAY[");
        for (n, one) in each.iter().enumerate() {
            sql.push(if n == 0 { "" } else { ", " }).push("count(*) FILTER (WHERE ");
            conditions.issues(&mut sql, one);
            sql.push(")");
        }
        sql.push("]::bigint[] AS counts FROM ");
        listed(&mut sql, &conditions, scope);
        sql.push(" WHERE ");
        conditions.issues(&mut sql, scope);
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
                conditions.events(&mut sql, &Search { terms: vec![term.clone()] });
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
    let Tables { issues, triage, has_merged } = conditions.tables;
    if !search.is_about_events() {
        sql.push(format_args!("{issues} AS i"));
        return;
    }
    // There are many such rows, and mostly nothing is merged.
    let (shown, merged) = if *has_merged {
        ("coalesce(t.merged_into, p.issue_id)", format!("LEFT JOIN {triage} AS t ON t.issue_id = p.issue_id"))
    } else {
        ("p.issue_id", String::new())
    };
    sql.push(format_args!(
        "(SELECT {OF_ISSUES}, m.events, m.first_seen, m.last_seen
            FROM {issues} AS s
            JOIN (SELECT {shown} AS issue_id, sum(p.events)::bigint AS events,
                         min(p.first_seen) AS first_seen, max(p.last_seen) AS last_seen
                    FROM {schema}.issue_environments AS p
                    {merged}
                   WHERE ",
        schema = conditions.project.schema()
    ));
    conditions.events(sql, search);
    sql.push(" GROUP BY 1) AS m ON m.issue_id = s.issue_id) AS i");
}

/// Columns of an issue `s` that are the same whichever events a search speaks of.
const OF_ISSUES: &str = "s.issue_id, s.title, s.culprit, s.level, s.status, s.status_changed_at, s.exception_type,
    s.exception_value, s.first_release_id, s.created_at, s.assignee, s.resolved_in, s.resolved_in_next, s.ignored_until,
    s.ignored_until_events, s.ignored_until_users, s.merged_issues, s.users, s.latest_received_at, s.latest_event_id";

/// The moment that a cursor names in microseconds since 1970; one that cannot be is the next that can.
fn moment(microseconds: i64) -> Timestamptz {
    Timestamp::from_microsecond(microseconds.max(0)).unwrap_or(Timestamp::MAX).into()
}
