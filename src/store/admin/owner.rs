//! Which installation uses a database. Two that point at the same one would fight with ever higher epochs; so the
//! second is refused while the first lives.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use super::{Admin, server::INCARNATION};
use crate::store::StoreError;

/// An installation of the operator: what tells it from every other one, in this cluster or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// For people.
    pub namespace: String,
    pub namespace_uid: String,
    /// Name of the Lease that its processes share.
    pub lease: String,
}

/// Puts `owner` down as the one that uses the database. Another one that was seen within 90 s is a
/// [`StoreError::LedByAnother`]: three times what a living leader may be silent.
pub(super) async fn occupy(transaction: &mut PgConnection, owner: &Owner) -> Result<(), StoreError> {
    let occupied = sqlx::query(
        "INSERT INTO errortracking.owner AS o (namespace, namespace_uid, lease, seen_at)
         VALUES ($1, $2, $3, clock_timestamp())
         ON CONFLICT (singleton) DO UPDATE
         SET namespace = excluded.namespace, namespace_uid = excluded.namespace_uid, lease = excluded.lease,
            seen_at = excluded.seen_at
         WHERE (o.namespace_uid, o.lease) = (excluded.namespace_uid, excluded.lease)
            OR o.seen_at < clock_timestamp() - interval '90 seconds'",
    )
    .bind(&owner.namespace)
    .bind(&owner.namespace_uid)
    .bind(&owner.lease)
    .execute(&mut *transaction)
    .await?;
    if occupied.rows_affected() > 0 {
        return Ok(());
    }
    let (namespace, lease): (String, String) =
        sqlx::query_as("SELECT namespace, lease FROM errortracking.owner").fetch_one(transaction).await?;
    Err(StoreError::LedByAnother { namespace, lease })
}

/// A server that is silent for so long is away: a connection that a firewall has forgotten does not end by itself.
const ANSWER: Duration = Duration::from_secs(10);

/// Incarnation and epoch; namespace, its uid and Lease of the owner.
type Seen = (String, i64, Option<String>, Option<String>, Option<String>);

impl Admin {
    /// Whether the server answers and we still lead it; `false` when it was started anew, or the database made anew,
    /// since we connected: what is in it may be older. Every 20 s this also says that we live.
    pub async fn look(&self) -> Result<bool, StoreError> {
        timeout(ANSWER, self.ask()).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { message: format!("no answer within {} s", ANSWER.as_secs()) })
        })
    }

    async fn ask(&self) -> Result<bool, StoreError> {
        let owner = self.owner.as_ref();
        let (incarnation, stored, namespace, namespace_uid, lease): Seen = sqlx::query_as(AssertSqlSafe(format!(
            "WITH seen AS (
                    UPDATE errortracking.owner AS o SET seen_at = clock_timestamp()
                    FROM errortracking.installation AS i
                    WHERE i.epoch <= $3 AND (o.namespace_uid, o.lease) = ($1, $2)
                        AND o.seen_at < clock_timestamp() - interval '20 seconds'
                 )
                 SELECT {INCARNATION}, i.epoch, o.namespace, o.namespace_uid, o.lease
                 FROM errortracking.installation AS i LEFT JOIN errortracking.owner AS o ON true"
        )))
        .bind(owner.map(|owner| &owner.namespace_uid))
        .bind(owner.map(|owner| &owner.lease))
        .bind(self.epoch)
        .fetch_one(&self.pool)
        .await?;
        // Before the epoch: over that one, two installations would outbid each other.
        match (owner, namespace, namespace_uid, lease) {
            (Some(owner), Some(namespace), Some(uid), Some(lease))
                if (&uid, &lease) != (&owner.namespace_uid, &owner.lease) =>
            {
                return Err(StoreError::LedByAnother { namespace, lease });
            }
            // A backup from before there were owners.
            (Some(owner), None, ..) => {
                let mut transaction = self.begin().await?;
                occupy(&mut transaction, owner).await?;
                transaction.commit().await?;
            }
            _ => {}
        }
        if stored > self.epoch {
            return Err(StoreError::Fenced { stored, ours: self.epoch });
        }
        Ok(incarnation == self.server.incarnation)
    }
}
