//! The numbers that projects get: each once, from a sequence. Only what this database has given out, or can have given
//! out before a backup was brought back, moves it.

use sqlx::PgConnection;

use super::{Admin, projects::project_id};
use crate::{
    dsn::ProjectId,
    store::{StoreError, migrations},
};

/// Projects that can have been made since the backup that was brought back: a number further above the newest one is
/// made up. Whoever may write the status of an object may write any number there, and the sequence ends at
/// [`ProjectId::MAX`].
const MOST_LOST_PROJECTS: i64 = 10_000;

/// Why the next number is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberTaken {
    pub number: ProjectId,
    pub namespace: String,
    pub name: String,
}

impl Admin {
    /// The largest number that a project can have had here. What an object says beyond it was not given out.
    pub async fn largest_credible_number(&self) -> Result<ProjectId, StoreError> {
        let (number,): (i64,) = sqlx::query_as("SELECT least(last_value + $1, $2) FROM errortracking.project_ids")
            .bind(MOST_LOST_PROJECTS)
            .bind(ProjectId::MAX.cast_signed())
            .fetch_one(&self.pool)
            .await?;
        project_id(number)
    }

    /// The number that the next project gets; `None`: all are used up.
    pub async fn next_number(&self) -> Result<Option<ProjectId>, StoreError> {
        let (number,): (i64,) = sqlx::query_as(
            "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM errortracking.project_ids",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(ProjectId::try_from(number).ok())
    }

    /// Gives the next project this number, unless it, or one that soon follows, was given out: a project that had it is
    /// the answer then.
    pub async fn set_next_number(&self, next: ProjectId) -> Result<Option<NumberTaken>, StoreError> {
        let mut transaction = self.begin().await?;
        migrations::lock_numbers(&mut transaction).await?;
        let taken: Option<(i64, String, String)> = sqlx::query_as(
            "SELECT project_id, namespace, name FROM errortracking.projects
             WHERE project_id BETWEEN $1 AND $1 + $2 ORDER BY project_id DESC LIMIT 1",
        )
        .bind(next.as_i64())
        .bind(MOST_LOST_PROJECTS)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some((number, namespace, name)) = taken {
            return Ok(Some(NumberTaken { number: project_id(number)?, namespace, name }));
        }
        sqlx::query("SELECT setval('errortracking.project_ids', $1, false)")
            .bind(next.as_i64())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(None)
    }
}

/// A number that nobody has or had: above `floor`, if that can have been given out, and above every row. The caller
/// holds the lock of the installation.
pub(super) async fn take_number(
    transaction: &mut PgConnection,
    floor: Option<ProjectId>,
) -> Result<ProjectId, StoreError> {
    raise_sequence(transaction, floor).await?;
    let (id,): (i64,) =
        sqlx::query_as("SELECT nextval('errortracking.project_ids')").fetch_one(&mut *transaction).await?;
    project_id(id)
}

/// The next id is above `floor` and above the rows, also when a backup brought an older sequence back. A row far beyond
/// is of a time when a status could claim any number: it is passed when the sequence comes near it.
pub(super) async fn raise_sequence(transaction: &mut PgConnection, floor: Option<ProjectId>) -> Result<(), StoreError> {
    loop {
        let raised = sqlx::query(
            "SELECT setval('errortracking.project_ids', seen)
             FROM errortracking.project_ids, LATERAL (
                SELECT greatest(
                    CASE WHEN $1 <= last_value + $2 THEN $1 END,
                    (SELECT max(project_id) FROM errortracking.projects WHERE project_id <= last_value + $2)
                ) AS seen
             ) AS credible
             WHERE seen > 0 AND (seen > last_value OR (seen = last_value AND NOT is_called))",
        )
        .bind(floor.map_or(0, ProjectId::as_i64))
        .bind(MOST_LOST_PROJECTS)
        .execute(&mut *transaction)
        .await?;
        // Each raise brings more rows near.
        if raised.rows_affected() == 0 {
            return Ok(());
        }
    }
}
