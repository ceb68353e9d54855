//! What people do to issues, and undo: one call of a function of the project's schema each, which checks and records it.
//! The console's login has no other way to write.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::snapshot::unreadable;
use crate::{dsn::ProjectId, store::StoreError};

/// Most issues of one [`Change::act`].
pub const MAX_ISSUES: u32 = 10_000;
/// Longest name of somebody who acts or is assigned to, in characters.
pub const MAX_NAME: usize = 256;
/// Longest comment, in characters.
pub const MAX_COMMENT: usize = 4096;

/// Begins every [`Change`]. Ingest waits for the rows that it locks, so that nobody may keep them.
const BEGIN: &str = "\
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL statement_timeout = '8s';
    SET LOCAL lock_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// What can be done to issues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Resolve(Resolution),
    Ignore(Ignoring),
    /// Makes it unresolved.
    Reopen,
    /// To a name of at most [`MAX_NAME`] characters; `None`: to nobody.
    Assign(Option<String>),
    /// At most [`MAX_COMMENT`] characters.
    Comment(String),
    /// Hides it at once; retention removes it a day later. The same error that happens again is a new issue.
    Delete,
    /// Its numbers count for another issue until that is undone. What was merged into it goes along.
    Merge {
        into: i64,
    },
}

/// Which events reopen a resolved issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Any that is received later.
    Now,
    /// Those of releases later than that of the issue's last event.
    InCurrentRelease,
    /// Those of releases that are first seen after this.
    InNextRelease,
    /// Those of releases later than this one, which need not have been seen yet; at most 250 characters.
    InRelease(String),
}

/// When an ignored issue is reopened by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignoring {
    Forever,
    /// At the first event from then on.
    Until(Timestamp),
    /// When so many more events have come, 1 to 10⁹.
    MoreEvents(u32),
    /// When so many more users were seen, 1 to 10⁹.
    MoreUsers(u32),
}

impl Action {
    /// As history calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Ignore(_) => "ignore",
            Self::Reopen => "reopen",
            Self::Assign(_) => "assign",
            Self::Comment(_) => "comment",
            Self::Delete => "delete",
            Self::Merge { .. } => "merge",
        }
    }

    /// As `act_on_issues` takes it.
    fn details(&self) -> Value {
        match self {
            Self::Resolve(Resolution::InCurrentRelease) => json!({"in": "current"}),
            Self::Resolve(Resolution::InNextRelease) => json!({"in": "next"}),
            Self::Resolve(Resolution::InRelease(release)) => json!({"release": release}),
            Self::Ignore(Ignoring::Until(until)) => json!({"until": until.to_string()}),
            Self::Ignore(Ignoring::MoreEvents(events)) => json!({"events": events}),
            Self::Ignore(Ignoring::MoreUsers(users)) => json!({"users": users}),
            Self::Assign(assignee) => json!({"assignee": assignee}),
            Self::Comment(text) => json!({"text": text}),
            Self::Merge { into } => json!({"into": into}),
            Self::Resolve(Resolution::Now) | Self::Ignore(Ignoring::Forever) | Self::Reopen | Self::Delete => json!({}),
        }
    }
}

/// What came of an [`Action`] for one issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Changed,
    /// It was so already.
    Unchanged,
    /// There is no such issue, or it was deleted.
    Gone,
    /// It was merged into another: [`super::Snapshot::merged_into`] says which.
    Merged,
    /// Its last event has no release that it could be resolved in.
    WithoutRelease,
    /// The issue to merge into is not there, or was deleted.
    TargetGone,
    /// It would be merged into itself.
    Cycle,
}

impl Outcome {
    fn from_column(word: &str) -> Result<Self, StoreError> {
        Ok(match word {
            "changed" => Self::Changed,
            "unchanged" => Self::Unchanged,
            "gone" => Self::Gone,
            "merged" => Self::Merged,
            "without_release" => Self::WithoutRelease,
            "target_gone" => Self::TargetGone,
            "cycle" => Self::Cycle,
            other => return Err(unreadable("outcome", &other)),
        })
    }
}

/// What came of [`Change::undo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// For each issue that the batch had changed.
    Done(Vec<(i64, Undone)>),
    /// It was done more than 24 hours ago.
    TooLate,
    /// There is no such batch in the project, or it is long gone.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    Restored,
    /// Somebody had undone it before.
    Before,
    /// It is not as the batch made it any more, and was left so.
    ChangedSince {
        /// `None`: an event.
        by: Option<String>,
        /// The kind of the last activity, if there is any of it: `regression`, `resolved`, …
        kind: Option<String>,
    },
}

/// A transaction that acts on issues. Dropped, it rolls back.
pub struct Change(Transaction<'static, Postgres>);

impl Change {
    /// Errors: [`StoreError::Unavailable`], also of a server that takes no writes.
    pub async fn begin(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self(pool.begin_with(BEGIN).await?))
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }

    /// Does one thing to issues, and says for each what came of it, by id. One round trip.
    ///
    /// `batch` is new for each call: the same again, with the same action and actor, changes nothing, so that it is safe to
    /// repeat what has no known outcome. `actor` is who the sign-in says.
    ///
    /// Errors: [`StoreError::Rejected`] for more issues than [`MAX_ISSUES`], a name or text that is empty or too long, and a
    /// batch that was another action; [`StoreError::Busy`] when somebody held the issues for too long, or the operator has
    /// not migrated the project yet.
    pub async fn act(
        &mut self,
        project: ProjectId,
        issues: &[i64],
        action: &Action,
        actor: &str,
        batch: Uuid,
    ) -> Result<Vec<(i64, Outcome)>, StoreError> {
        let act = format!(
            "SELECT issue_id, outcome FROM {}.act_on_issues($1, $2, $3, $4::text::jsonb, $5) ORDER BY issue_id",
            project.schema()
        );
        let rows: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(act))
            .bind(batch)
            .bind(actor)
            .bind(action.name())
            .bind(action.details().to_string())
            .bind(issues)
            .fetch_all(&mut *self.0)
            .await
            .map_err(migrated_soon)?;
        rows.into_iter().map(|(issue, outcome)| Ok((issue, Outcome::from_column(&outcome)?))).collect()
    }

    /// Whether a batch deleted issues, and that can still be undone.
    ///
    /// Errors: [`StoreError::Busy`] where the operator has not migrated the project yet.
    pub async fn is_deletion(&mut self, project: ProjectId, batch: Uuid) -> Result<bool, StoreError> {
        let looking = format!(
            "SELECT EXISTS (SELECT FROM {}.issue_activity WHERE batch = $1 AND kind = 'deleted')",
            project.schema()
        );
        let found = sqlx::query_as(AssertSqlSafe(looking)).bind(batch).fetch_one(&mut *self.0).await;
        let (is_deletion,): (bool,) = found.map_err(migrated_soon)?;
        Ok(is_deletion)
    }

    /// Takes back what a batch did, where it is still as the batch made it; by id of the issue. One round trip.
    ///
    /// Errors: as of [`Self::act`].
    pub async fn undo(&mut self, project: ProjectId, batch: Uuid, actor: &str) -> Result<Undo, StoreError> {
        let undo = format!(
            "SELECT issue_id, outcome, changed_by, changed_kind FROM {}.undo_action($1, $2) ORDER BY issue_id",
            project.schema()
        );
        let rows = sqlx::query(AssertSqlSafe(undo))
            .bind(batch)
            .bind(actor)
            .fetch_all(&mut *self.0)
            .await
            .map_err(migrated_soon)?;
        let mut undone = Vec::with_capacity(rows.len());
        for row in &rows {
            let outcome: String = row.try_get("outcome")?;
            let what = match outcome.as_str() {
                "too_late" => return Ok(Undo::TooLate),
                "unknown" => return Ok(Undo::Unknown),
                "undone" => Undone::Restored,
                "undone_before" => Undone::Before,
                "changed_since" => {
                    Undone::ChangedSince { by: row.try_get("changed_by")?, kind: row.try_get("changed_kind")? }
                }
                other => return Err(unreadable("outcome", &other)),
            };
            undone.push((row.try_get("issue_id")?, what));
        }
        Ok(Undo::Done(undone))
    }
}

/// A schema without our functions or columns is one that the operator has not come to yet.
fn migrated_soon(error: sqlx::Error) -> StoreError {
    match StoreError::from(error) {
        // Function, column and table that are not there.
        StoreError::Other { sqlstate: Some(sqlstate), .. } if matches!(&*sqlstate, "42883" | "42703" | "42P01") => {
            StoreError::Busy { message: "the operator has not migrated this project yet".to_owned() }
        }
        error => error,
    }
}
