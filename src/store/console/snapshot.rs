//! The queries of a page, all in one read-only transaction.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, Transaction, postgres::PgRow};
use uuid::Uuid;

use super::{
    EventKey, Issue, Project, ProjectNumbers, ProjectSummary, StatusRule, StoredEvent,
    deliveries::{reception, reception_of},
    search::{Search, regressed},
};
use crate::{
    dsn::ProjectId,
    protocol::event::{EventId, Level},
    store::{StoreError, Timestamptz},
};

/// Begins every [`Snapshot`], in one round trip. The limits belong to the transaction, not to the session,
/// so they hold behind a transaction pooler too. A page has one processor: the others are for ingest.
const BEGIN: &str = "\
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL statement_timeout = '5s';
    SET LOCAL jit = off;
    SET LOCAL max_parallel_workers_per_gather = 0;
    SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// One page's consistent view of the database: a read-only transaction. Dropped, it rolls back.
pub struct Snapshot {
    pub(super) transaction: Transaction<'static, Postgres>,
    /// The project whose schema was looked at last, and what the operator has made in it.
    made: Option<(ProjectId, Made)>,
}

impl Snapshot {
    pub async fn begin(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self { transaction: pool.begin_with(BEGIN).await?, made: None })
    }

    /// Gives the connection back at once instead of some time after the drop.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

/// Which project a page is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// As in a DSN.
    Number(ProjectId),
    Address(ProjectAddress),
}

/// Where the object of a project is, and its pages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectAddress {
    pub namespace: String,
    pub name: String,
}

/// A server that belongs to a tenant may say anything for as long as it likes.
const MAX_PROJECTS: usize = 10_000;

/// Projects. `server` is looked up by name in the whole row: a server that the operator has not migrated yet has no such
/// column.
impl Snapshot {
    /// Every project whose object exists, by namespace and name, at most [`MAX_PROJECTS`]; events are counted from the
    /// hour `since` on.
    pub async fn projects(&mut self, since: Timestamp) -> Result<Vec<ProjectSummary>, StoreError> {
        let rows: Vec<_> = sqlx::query(
            "SELECT project_id, namespace, name, display_name, platform,
                    to_jsonb(p) ->> 'server' AS server,
                    EXISTS (SELECT
                              FROM pg_catalog.pg_namespace
                             WHERE schema_version > 0 AND nspname = 'project_' || project_id
                               AND pg_catalog.has_schema_privilege(oid, 'USAGE')) AS readable
               FROM errortracking.console_projects AS p
              WHERE state = 'active'
              ORDER BY namespace, name, project_id",
        )
        .fetch(&mut *self.transaction)
        .take(MAX_PROJECTS)
        .try_collect()
        .await?;
        let mut summaries = Vec::with_capacity(rows.len());
        for row in &rows {
            let project = project(row)?;
            let numbers = if row.try_get("readable")? { Some(self.numbers(project.id, since).await?) } else { None };
            summaries.push(ProjectSummary { project, numbers });
        }
        Ok(summaries)
    }

    /// Where every project is whose object exists, also one that is kept on another server; at most [`MAX_PROJECTS`].
    pub async fn addresses(&mut self) -> Result<Vec<ProjectAddress>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT namespace, name
               FROM errortracking.console_projects AS p
              WHERE state = 'active'
              ORDER BY namespace, name, project_id",
        )
        .fetch(&mut *self.transaction)
        .take(MAX_PROJECTS)
        .try_collect()
        .await?;
        Ok(rows.into_iter().map(|(namespace, name)| ProjectAddress { namespace, name }).collect())
    }

    /// Only issues seen since then can have hours since then: without that detour all hours ever kept
    /// would be read, for there is no index by hour alone.
    async fn numbers(&mut self, project: ProjectId, since: Timestamp) -> Result<ProjectNumbers, StoreError> {
        let tables = self.tables(project).await?;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT unresolved, new, regressed, platforms, hours, events, {reception}
               FROM (SELECT count(*) FILTER (WHERE status = 'unresolved') AS unresolved,
                            count(*) FILTER (WHERE status = 'unresolved' AND first_seen >= $1) AS new,
                            count(*) FILTER (WHERE {regressed}) AS regressed,
                            coalesce(array_agg(DISTINCT platform ORDER BY platform), '{{}}') AS platforms
                       FROM {issues} AS i) AS issues,
                    (SELECT coalesce(array_agg(extract(epoch FROM hour)::bigint), '{{}}') AS hours,
                            coalesce(array_agg(events), '{{}}') AS events
                       FROM (SELECT hours.hour, sum(hours.events)::bigint AS events
                               FROM {schema}.issue_counters AS counters
                               JOIN {schema}.issue_hours AS hours USING (issue_id)
                              WHERE counters.last_seen >= $1 AND hours.hour >= $1
                                AND issue_id NOT IN (SELECT issue_id FROM {triage} AS t WHERE deleted_at IS NOT NULL)
                              GROUP BY 1) AS counted) AS by_hour",
            regressed = regressed(project),
            reception = reception_of(project),
            schema = project.schema(),
            issues = tables.issues,
            triage = tables.triage,
        )))
        .bind(Timestamptz::from(since))
        .fetch_one(&mut *self.transaction)
        .await?;
        let (hours, events): (Vec<i64>, Vec<i64>) = (row.try_get("hours")?, row.try_get("events")?);
        let counted = hours
            .into_iter()
            .zip(events)
            .filter_map(|(hour, events)| Some((Timestamp::from_second(hour).ok()?, u64::try_from(events).ok()?)));
        Ok(ProjectNumbers {
            unresolved: unsigned(&row, "unresolved")?,
            new: unsigned(&row, "new")?,
            regressed: unsigned(&row, "regressed")?,
            hours: counted.collect(),
            reception: reception(&row)?,
            platforms: row.try_get("platforms")?,
        })
    }

    /// `None`: there is no such project, it is kept on another server, or it has no schema yet.
    pub async fn project(&mut self, wanted: &Wanted) -> Result<Option<Project>, StoreError> {
        let (id, namespace, name) = match wanted {
            Wanted::Number(id) => (Some(id.as_i64()), None, None),
            Wanted::Address(ProjectAddress { namespace, name }) => (None, Some(namespace), Some(name)),
        };
        let row = sqlx::query(
            "SELECT project_id, namespace, name, display_name, platform,
                    to_jsonb(p) ->> 'server' AS server
               FROM errortracking.console_projects AS p
              WHERE (project_id = $1 OR (namespace = $2 AND name = $3)) AND state = 'active' AND schema_version > 0
                AND to_jsonb(p) ->> 'server' IS NULL
              ORDER BY project_id DESC
              LIMIT 1",
        )
        .bind(id)
        .bind(namespace)
        .bind(name)
        .fetch_optional(&mut *self.transaction)
        .await?;
        row.as_ref().map(project).transpose()
    }
}

/// What only a schema of this version has.
#[derive(Clone, Copy, Debug)]
struct Made {
    /// [`Tables`]
    triage: bool,
    environments: bool,
    /// Looked at when a list first asks.
    has_merged: Option<bool>,
}

/// What a query about issues names in its FROM, with an alias.
pub(super) struct Tables {
    /// Issues that are shown: not those that were deleted, or merged into another.
    pub issues: String,
    /// What was decided about issues, also about those that are not shown.
    pub triage: String,
    /// Whether some issue was merged into another; if that was not looked at, one may be.
    pub has_merged: bool,
}

/// Issues and events of one project.
impl Snapshot {
    /// Whether the schema has what people decide about issues.
    pub async fn is_migrated(&mut self, project: ProjectId) -> Result<bool, StoreError> {
        Ok(self.made(project).await?.triage)
    }

    /// Whether the schema counts the events of issues by environment and release.
    pub async fn has_environments(&mut self, project: ProjectId) -> Result<bool, StoreError> {
        Ok(self.made(project).await?.environments)
    }

    /// Within a view of one moment that does not change.
    async fn made(&mut self, project: ProjectId) -> Result<Made, StoreError> {
        if let Some((looked_at, made)) = self.made
            && looked_at == project
        {
            return Ok(made);
        }
        let schema = project.schema();
        let (triage, environments): (bool, bool) =
            sqlx::query_as("SELECT to_regclass($1) IS NOT NULL, to_regclass($2) IS NOT NULL")
                .bind(format!("{schema}.shown_issues"))
                .bind(format!("{schema}.issue_environments"))
                .fetch_one(&mut *self.transaction)
                .await?;
        let made = Made { triage, environments, has_merged: None };
        self.made = Some((project, made));
        Ok(made)
    }

    /// [`Self::tables`] for a list of issues.
    pub(super) async fn tables_of(&mut self, project: ProjectId, search: &Search) -> Result<Tables, StoreError> {
        let mut tables = self.tables(project).await?;
        if search.is_about_events() {
            tables.has_merged = self.has_merged(project, &tables.triage).await?;
        }
        Ok(tables)
    }

    async fn has_merged(&mut self, project: ProjectId, triage: &str) -> Result<bool, StoreError> {
        if let Some((looked_at, Made { has_merged: Some(has_merged), .. })) = self.made
            && looked_at == project
        {
            return Ok(has_merged);
        }
        let query = format!("SELECT EXISTS (SELECT FROM {triage} AS t WHERE merged_into IS NOT NULL)");
        let has_merged = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut *self.transaction).await?;
        if let Some((_, made)) = &mut self.made {
            made.has_merged = Some(has_merged);
        }
        Ok(has_merged)
    }

    /// In a schema that the operator has not migrated yet nothing was decided about issues.
    pub(super) async fn tables(&mut self, project: ProjectId) -> Result<Tables, StoreError> {
        let schema = project.schema();
        if self.is_migrated(project).await? {
            let (issues, triage) = (format!("{schema}.shown_issues"), format!("{schema}.issue_triage"));
            return Ok(Tables { issues, triage, has_merged: true });
        }
        Ok(Tables {
            issues: format!(
                "(SELECT *, NULL::text AS assignee, NULL::text AS resolved_in, false AS resolved_in_next,
                         NULL::timestamptz AS ignored_until, NULL::bigint AS ignored_until_events,
                         NULL::bigint AS ignored_until_users, 0::bigint AS merged_issues
                    FROM {schema}.issues
                    JOIN {schema}.issue_counters USING (issue_id))"
            ),
            triage: "(SELECT 0::bigint AS issue_id, 0::bigint AS merged_into, now() AS deleted_at WHERE false)"
                .to_owned(),
            has_merged: true,
        })
    }

    /// `None`: there is none, it was deleted, or it was merged into another, which [`Self::merged_into`] says.
    pub async fn issue(&mut self, project: ProjectId, id: i64) -> Result<Option<Issue>, StoreError> {
        let tables = self.tables(project).await?;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {ISSUE}
               FROM {issues} AS i
              WHERE issue_id = $1",
            issues = tables.issues
        )))
        .bind(id)
        .fetch_optional(&mut *self.transaction)
        .await?;
        row.as_ref().map(issue).transpose()
    }

    /// The issue that another one's number leads to, because that was merged into it; it may be deleted.
    pub async fn merged_into(&mut self, project: ProjectId, id: i64) -> Result<Option<i64>, StoreError> {
        let tables = self.tables(project).await?;
        let into: Option<(i64,)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT merged_into FROM {triage} AS t WHERE issue_id = $1 AND merged_into IS NOT NULL",
            triage = tables.triage
        )))
        .bind(id)
        .fetch_optional(&mut *self.transaction)
        .await?;
        Ok(into.map(|(into,)| into))
    }

    /// Events by issue and hour, from the hour `since` on; with those of issues that were merged into one.
    pub async fn hours(
        &mut self,
        project: ProjectId,
        issues: &[i64],
        since: Timestamp,
    ) -> Result<HashMap<i64, Vec<(Timestamp, u64)>>, StoreError> {
        let tables = self.tables(project).await?;
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT members.shown_id AS issue_id, hour, sum(events)::bigint AS events
               FROM (SELECT id AS issue_id, id AS shown_id FROM unnest($1) AS id
                      UNION ALL
                     SELECT issue_id, merged_into FROM {triage} AS t WHERE merged_into = ANY ($1)) AS members
               JOIN {schema}.issue_hours USING (issue_id)
              WHERE hour >= $2
              GROUP BY 1, 2",
            schema = project.schema(),
            triage = tables.triage,
        )))
        .bind(issues)
        .bind(Timestamptz::from(since))
        .fetch_all(&mut *self.transaction)
        .await?;
        by_hour(&rows)
    }

    /// The event received last; `None` when it is past its retention.
    pub async fn latest_event(&mut self, project: ProjectId, issue: &Issue) -> Result<Option<StoredEvent>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT event_id, received_at, ts, dict_id, payload
               FROM {schema}.events
              WHERE received_at = $1 AND event_id = $2",
            schema = project.schema()
        )))
        .bind(Timestamptz::from(issue.latest.received_at))
        .bind(Uuid::from_bytes(issue.latest.event_id.0))
        .fetch_optional(&mut *self.transaction)
        .await?;
        row.as_ref().map(stored_event).transpose()
    }

    /// The event of that id if it is one of the issue's, or of those merged into it. The newest, should an id have come
    /// twice.
    pub async fn event_of(
        &mut self,
        project: ProjectId,
        issue: &Issue,
        id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.tables(project).await?;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT event_id, received_at, ts, dict_id, payload
               FROM {schema}.events
              WHERE event_id = $1
                AND (issue_id = $2 OR issue_id IN (SELECT issue_id FROM {triage} AS t WHERE merged_into = $2))
              ORDER BY received_at DESC
              LIMIT 1",
            schema = project.schema(),
            triage = tables.triage,
        )))
        .bind(Uuid::from_bytes(id.0))
        .bind(issue.id)
        .fetch_optional(&mut *self.transaction)
        .await?;
        row.as_ref().map(stored_event).transpose()
    }

    /// The newest, should an id have come twice. `None`: there is none, or its issue was deleted.
    pub async fn event(&mut self, project: ProjectId, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.tables(project).await?;
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT event_id, received_at, ts, dict_id, payload
               FROM {schema}.events
              WHERE event_id = $1
                AND issue_id NOT IN (SELECT issue_id FROM {triage} AS t WHERE deleted_at IS NOT NULL)
              ORDER BY received_at DESC
              LIMIT 1",
            schema = project.schema(),
            triage = tables.triage,
        )))
        .bind(Uuid::from_bytes(id.0))
        .fetch_optional(&mut *self.transaction)
        .await?;
        row.as_ref().map(stored_event).transpose()
    }
}

fn project(row: &PgRow) -> Result<Project, StoreError> {
    let id: i64 = row.try_get("project_id")?;
    Ok(Project {
        id: ProjectId::try_from(id).map_err(|error| unreadable("project_id", &error))?,
        namespace: row.try_get("namespace")?,
        name: row.try_get("name")?,
        display_name: row.try_get("display_name")?,
        platform: row.try_get("platform")?,
        server: row.try_get("server")?,
    })
}

/// The columns of [`issue`].
const ISSUE: &str =
    "issue_id, title, culprit, level, status, status_changed_at, assignee, resolved_in, resolved_in_next,
    ignored_until, ignored_until_events, ignored_until_users, merged_issues, events, users, first_seen, last_seen,
    latest_received_at, latest_event_id";

pub(super) fn issue(row: &PgRow) -> Result<Issue, StoreError> {
    let status: String = row.try_get("status")?;
    let instant = |name| row.try_get::<Option<Timestamptz>, _>(name).map(|instant| instant.map(Timestamptz::to_jiff));
    let number = |name| row.try_get::<Option<i64>, _>(name).map(|number| number.map(i64::cast_unsigned));
    Ok(Issue {
        id: row.try_get("issue_id")?,
        title: row.try_get("title")?,
        culprit: row.try_get("culprit")?,
        level: Level::from_number(row.try_get::<i16, _>("level")?.into()),
        status: status.parse().map_err(|error| unreadable("status", &error))?,
        rule: StatusRule::of(
            row.try_get("resolved_in")?,
            row.try_get("resolved_in_next")?,
            instant("ignored_until")?,
            number("ignored_until_events")?,
            number("ignored_until_users")?,
        ),
        status_changed_at: instant("status_changed_at")?,
        assignee: row.try_get("assignee")?,
        merged: unsigned(row, "merged_issues")?,
        events: unsigned(row, "events")?,
        users: unsigned(row, "users")?,
        first_seen: row.try_get::<Timestamptz, _>("first_seen")?.into(),
        last_seen: row.try_get::<Timestamptz, _>("last_seen")?.into(),
        latest: EventKey {
            received_at: row.try_get::<Timestamptz, _>("latest_received_at")?.into(),
            event_id: EventId(row.try_get::<Uuid, _>("latest_event_id")?.into_bytes()),
        },
    })
}

fn stored_event(row: &PgRow) -> Result<StoredEvent, StoreError> {
    let id: Uuid = row.try_get("event_id")?;
    Ok(StoredEvent {
        event_id: EventId(id.into_bytes()),
        received_at: row.try_get::<Timestamptz, _>("received_at")?.into(),
        timestamp: row.try_get::<Timestamptz, _>("ts")?.into(),
        dictionary: row.try_get("dict_id")?,
        payload: row.try_get("payload")?,
    })
}

/// Of rows of `issue_id`, `hour` and `events`.
pub(super) fn by_hour(rows: &[PgRow]) -> Result<HashMap<i64, Vec<(Timestamp, u64)>>, StoreError> {
    let mut hours: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let hour = row.try_get::<Timestamptz, _>("hour")?.into();
        hours.entry(row.try_get("issue_id")?).or_default().push((hour, unsigned(row, "events")?));
    }
    Ok(hours)
}

/// A count; Postgres has no unsigned integers.
pub(super) fn unsigned(row: &PgRow, column: &'static str) -> Result<u64, StoreError> {
    let count: i64 = row.try_get(column)?;
    count.try_into().map_err(|error| unreadable(column, &error))
}

pub(super) fn unreadable(column: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Other {
        message: format!("column {column} holds what this version cannot read: {error}"),
        sqlstate: None,
    }
}
