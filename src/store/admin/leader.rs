//! Which installation leads a database. Two that point at the same one would fight with ever higher epochs; so the
//! second is refused while the first lives.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use super::{Admin, server::INCARNATION};
use crate::store::StoreError;

/// The installation of the operator that leads: what tells it from every other one, in this cluster or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// For people.
    pub namespace: String,
    pub namespace_uid: String,
    /// Name of the Lease that its processes share.
    pub lease: String,
}

/// Records `leader` as the one of the database. Another one that was seen within 90 s is a
/// [`StoreError::LedByAnother`]: three times what a living leader may be silent.
pub(super) async fn record_leader(transaction: &mut PgConnection, leader: &Leader) -> Result<(), StoreError> {
    let recorded = sqlx::query(
        "INSERT INTO errortracking.owner AS o (namespace, namespace_uid, lease, seen_at)
         VALUES ($1, $2, $3, clock_timestamp())
         ON CONFLICT (singleton) DO UPDATE
         SET namespace = excluded.namespace, namespace_uid = excluded.namespace_uid, lease = excluded.lease,
            seen_at = excluded.seen_at
         WHERE (o.namespace_uid, o.lease) = (excluded.namespace_uid, excluded.lease)
            OR o.seen_at < clock_timestamp() - interval '90 seconds'",
    )
    .bind(&leader.namespace)
    .bind(&leader.namespace_uid)
    .bind(&leader.lease)
    .execute(&mut *transaction)
    .await?;
    if recorded.rows_affected() > 0 {
        return Ok(());
    }
    let (namespace, lease): (String, String) =
        sqlx::query_as("SELECT namespace, lease FROM errortracking.owner").fetch_one(transaction).await?;
    Err(StoreError::LedByAnother { namespace, lease })
}

/// A server that is silent for so long is away: a connection that a firewall has forgotten does not end by itself.
const ANSWER: Duration = Duration::from_secs(10);

/// Incarnation and epoch; namespace, its uid and Lease of the leader.
type Seen = (String, i64, Option<String>, Option<String>, Option<String>);

impl Admin {
    /// Whether the server answers and we still lead it; `false` when it was started anew, or the database made anew,
    /// since we connected: what is in it may be older. Every 20 s this also says that we live.
    pub async fn check_lead(&self) -> Result<bool, StoreError> {
        timeout(ANSWER, self.read_lead()).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { message: format!("no answer within {} s", ANSWER.as_secs()) })
        })
    }

    async fn read_lead(&self) -> Result<bool, StoreError> {
        let leader = self.leader.as_ref();
        let mut transaction = self.read().await?;
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
        .bind(leader.map(|leader| &leader.namespace_uid))
        .bind(leader.map(|leader| &leader.lease))
        .bind(self.epoch)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        // Before the epoch: over that one, two installations would outbid each other.
        match (leader, namespace, namespace_uid, lease) {
            (Some(leader), Some(namespace), Some(uid), Some(lease))
                if (&uid, &lease) != (&leader.namespace_uid, &leader.lease) =>
            {
                return Err(StoreError::LedByAnother { namespace, lease });
            }
            // A backup from before a leader was recorded.
            (Some(leader), None, ..) => {
                let mut transaction = self.begin().await?;
                record_leader(&mut transaction, leader).await?;
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
