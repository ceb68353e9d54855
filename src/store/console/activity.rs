//! What became of an issue over time, by whom.

use jiff::Timestamp;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    IssueStatus, Snapshot, StatusRule,
    snapshot::{unreadable, unsigned},
};
use crate::{
    dsn::ProjectId,
    store::{StoreError, Timestamptz},
};

/// Something that happened to an issue, or to one that was merged into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The issue itself, or one that was merged into it.
    pub issue: i64,
    pub at: Timestamp,
    /// `None`: the system, because of an event.
    pub actor: Option<String>,
    pub what: Happened,
    /// What it was done with, and can be undone by for 24 hours. `None`: not by somebody.
    pub batch: Option<Uuid>,
    /// The batch changed other issues too.
    pub with_others: bool,
    pub undone: Option<UndoneBy>,
}

/// What somebody did at once, for as long as it can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Of its activity: `resolved`, `assigned`, …
    pub kind: String,
    /// How many it changed.
    pub issues: u64,
    /// Whether nothing of it is left to undo.
    pub is_undone: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoneBy {
    pub actor: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    FirstSeen {
        release: Option<String>,
    },
    /// An event reopened it that was resolved.
    Regression {
        release: Option<String>,
    },
    /// An event reopened it that was ignored, by its rule.
    Unignored,
    /// Somebody gave it a status.
    Status(IssueStatus, StatusRule),
    Assigned {
        from: Option<String>,
        to: Option<String>,
    },
    Comment(String),
    Deleted,
    Merged {
        into: i64,
    },
    /// A kind that this version does not know.
    Other(String),
}

/// The columns `before` and `after`, of whatever kind the activity is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    assignee: Option<String>,
    release: Option<String>,
    resolved_in: Option<String>,
    resolved_in_next: bool,
    ignored_until: Option<Timestamp>,
    ignored_until_events: Option<u64>,
    ignored_until_users: Option<u64>,
    merged_into: Option<i64>,
}

impl Snapshot {
    /// What was done with that batch; `None`: nothing, or it cannot be undone any more.
    pub async fn done(&mut self, project: ProjectId, batch: Uuid) -> Result<Option<Done>, StoreError> {
        let schema = project.schema();
        if !self.is_migrated(project).await? {
            return Ok(None);
        }
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT min(kind) AS kind, count(DISTINCT issue_id) AS issues, bool_and(undone_by IS NOT NULL) AS is_undone
               FROM {schema}.issue_activity
              WHERE batch = $1 AND at > now() - interval '24 hours'"
        )))
        .bind(batch)
        .fetch_one(&mut *self.transaction)
        .await?;
        let Some(kind) = row.try_get("kind")? else { return Ok(None) };
        Ok(Some(Done { kind, issues: unsigned(&row, "issues")?, is_undone: row.try_get("is_undone")? }))
    }

    /// What happened to an issue and to those merged into it, the newest first, at most `limit`; when it was first seen comes
    /// last, if there is room.
    pub async fn activity(&mut self, project: ProjectId, issue: i64, limit: u32) -> Result<Vec<Activity>, StoreError> {
        let tables = self.tables(project).await?;
        // Before there were batches nothing had one.
        let with_others = if self.is_migrated(project).await? {
            format!(
                "EXISTS (SELECT FROM {}.issue_activity AS b
                          WHERE b.batch = (whole ->> 'batch')::uuid AND b.issue_id <> r.issue_id)",
                project.schema()
            )
        } else {
            "false".to_owned()
        };
        let rows = sqlx::query(AssertSqlSafe(format!(
            "WITH members AS (
                SELECT $1 AS issue_id UNION ALL SELECT issue_id FROM {triage} AS t WHERE merged_into = $1
             ), activity AS (
                SELECT activity_id, issue_id, at, kind, actor, to_jsonb(a) AS whole
                  FROM {schema}.issue_activity AS a
                  JOIN members USING (issue_id)
                 ORDER BY activity_id DESC
                 LIMIT $2
             )
             SELECT issue_id, at, kind, actor, (whole ->> 'batch')::uuid AS batch, {with_others} AS with_others,
                    whole ->> 'before' AS before,
                    whole ->> 'after' AS after, whole ->> 'comment' AS comment, whole ->> 'undone_by' AS undone_by,
                    (whole ->> 'undone_at')::timestamptz AS undone_at
               FROM (SELECT activity_id, issue_id, at, kind, actor, whole
                       FROM activity
                      UNION ALL
                     SELECT 0, issue_id, i.first_seen, 'first_seen', NULL,
                            jsonb_build_object('after', jsonb_build_object('release', release))
                       FROM {issues} AS i
                       LEFT JOIN {schema}.releases ON release_id = first_release_id
                      WHERE issue_id = $1) AS r
              ORDER BY activity_id DESC
              LIMIT $2",
            schema = project.schema(),
            triage = tables.triage,
            issues = tables.issues,
        )))
        .bind(issue)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(activity).collect()
    }
}

fn activity(row: &PgRow) -> Result<Activity, StoreError> {
    let (before, after) = (state(row, "before")?, state(row, "after")?);
    let kind: String = row.try_get("kind")?;
    let what = match kind.as_str() {
        "first_seen" => Happened::FirstSeen { release: after.release },
        "regression" => Happened::Regression { release: after.release },
        "unignored" => Happened::Unignored,
        "assigned" => Happened::Assigned { from: before.assignee, to: after.assignee },
        "comment" => Happened::Comment(row.try_get::<Option<String>, _>("comment")?.unwrap_or_default()),
        "deleted" => Happened::Deleted,
        "merged" => Happened::Merged { into: after.merged_into.unwrap_or_default() },
        _ => match kind.parse() {
            Ok(status) => Happened::Status(status, after.rule()),
            Err(_) => Happened::Other(kind),
        },
    };
    let undone_by: Option<String> = row.try_get("undone_by")?;
    let undone_at: Option<Timestamptz> = row.try_get("undone_at")?;
    Ok(Activity {
        issue: row.try_get("issue_id")?,
        at: row.try_get::<Timestamptz, _>("at")?.into(),
        actor: row.try_get("actor")?,
        what,
        batch: row.try_get("batch")?,
        with_others: row.try_get("with_others")?,
        undone: undone_by.zip(undone_at).map(|(actor, at)| UndoneBy { actor, at: at.into() }),
    })
}

fn state(row: &PgRow, column: &'static str) -> Result<State, StoreError> {
    let json: Option<String> = row.try_get(column)?;
    let Some(json) = json else { return Ok(State::default()) };
    serde_json::from_str(&json).map_err(|error| unreadable(column, &error))
}

impl State {
    fn rule(self) -> StatusRule {
        StatusRule::of(
            self.resolved_in,
            self.resolved_in_next,
            self.ignored_until,
            self.ignored_until_events,
            self.ignored_until_users,
        )
    }
}
