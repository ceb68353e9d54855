//! What comes in such numbers that the limits of a project are met. `migrations/project/0007_flood_limits.sql` has them.

use jiff::Timestamp;
use sqlx::{Row, postgres::PgRow};

use super::{Admin, ProjectIdentity};
use crate::store::{StoreError, Timestamptz};

/// Most projects that are read at once.
const MOST_PROJECTS: i64 = 1_000;

/// What is limited, the worst first. As the column `kind` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FloodKind {
    Issues,
    Releases,
    Environments,
    Tags,
    /// Of one issue.
    Users,
}

impl FloodKind {
    pub const ALL: [Self; 5] = [Self::Issues, Self::Releases, Self::Environments, Self::Tags, Self::Users];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Releases => "releases",
            Self::Environments => "environments",
            Self::Tags => "tags",
            Self::Users => "users",
        }
    }
}

/// A limit that was met within the last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    pub kind: FloodKind,
    /// New ones that are let in in an hour.
    pub an_hour: u64,
    /// The first time, of those that followed each other within an hour.
    pub since: Timestamp,
    /// Events and sessions that met it, in the hour of the last one. Counted every ten seconds: there may be more.
    pub met: u64,
}

impl Admin {
    /// The projects of which a limit was met within the last two minutes, those last met first.
    pub async fn flooded_projects(&self) -> Result<Vec<ProjectIdentity>, StoreError> {
        let projects: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT left(p.namespace, 63), left(p.name, 63), left(p.namespace_uid, 64), left(p.object_uid, 64)
             FROM errortracking.projects AS p
             JOIN (
                SELECT f.project_id, max(f.last_at) AS last_at FROM errortracking.floods AS f
                WHERE f.last_at > clock_timestamp() - interval '2 minutes' GROUP BY f.project_id
             ) AS f USING (project_id)
             ORDER BY f.last_at DESC LIMIT $1",
        )
        .bind(MOST_PROJECTS)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let identity = |(namespace, name, namespace_uid, object_uid)| ProjectIdentity {
            namespace,
            name,
            namespace_uid,
            object_uid,
        };
        Ok(projects.into_iter().map(identity).collect())
    }
}

/// Of the row that everything about a project is in. A kind that only a later version knows is left out.
pub(super) fn of_row(row: &PgRow) -> Result<Vec<Flood>, sqlx::Error> {
    let numbers = |name: &str| row.try_get::<Option<Vec<i64>>, _>(name).map(Option::unwrap_or_default);
    let kinds: Vec<String> = row.try_get::<Option<_>, _>("flood_kinds")?.unwrap_or_default();
    let sinces: Vec<Timestamptz> = row.try_get::<Option<_>, _>("flood_sinces")?.unwrap_or_default();
    let (limits, met) = (numbers("flood_limits")?, numbers("floods_met")?);
    let floods = kinds.iter().zip(limits).zip(sinces).zip(met).filter_map(|(((kind, an_hour), since), met)| {
        Some(Flood {
            kind: FloodKind::ALL.into_iter().find(|known| known.as_str() == kind)?,
            an_hour: an_hour.try_into().unwrap_or_default(),
            since: since.to_jiff(),
            met: met.try_into().unwrap_or_default(),
        })
    });
    let mut floods: Vec<_> = floods.collect();
    floods.sort_by_key(|flood| flood.kind);
    Ok(floods)
}
