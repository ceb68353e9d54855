//! What the ledger and a server have still to do for each other, and what the server answered.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::{Admin, Answer, KEY, ServerKeyRow, record};
use crate::store::{StoreError, Timestamptz};

/// Keys of one place that are read at once.
const MOST: i64 = 10_000;

impl Admin {
    /// The server is about to be asked for the key: from now on it may be there.
    pub async fn record_asked(&self, key_id: i64) -> Result<(), StoreError> {
        let change = sqlx::query("UPDATE errortracking.server_keys SET asked_at = clock_timestamp() WHERE key_id = $1")
            .bind(key_id);
        self.change(change).await?;
        Ok(())
    }

    /// The server was not asked after all, or made nothing: there is no such key to look for.
    pub async fn record_not_asked(&self, key_id: i64) -> Result<(), StoreError> {
        let change =
            sqlx::query("UPDATE errortracking.server_keys SET asked_at = NULL WHERE key_id = $1 AND server_id IS NULL")
                .bind(key_id);
        self.change(change).await?;
        Ok(())
    }

    pub async fn record_answer(&self, key_id: i64, answer: &Answer) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        record(&mut transaction, key_id, answer).await?;
        Ok(transaction.commit().await?)
    }

    /// The server has no such key any more. One that had not ended has, if the server cannot make it again.
    pub async fn record_gone(&self, key_id: i64, has_ended: bool) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys
             SET accepted = false, deleted_at = coalesce(deleted_at, clock_timestamp()),
                state = CASE WHEN $2 THEN 'revoked' ELSE state END,
                ended_at = CASE WHEN $2 THEN coalesce(ended_at, clock_timestamp()) ELSE ended_at END
             WHERE key_id = $1",
        )
        .bind(key_id)
        .bind(has_ended);
        self.change(change).await?;
        Ok(())
    }

    /// The token may not delete the key there.
    pub async fn record_delete_refused(&self, key_id: i64) -> Result<(), StoreError> {
        let change =
            sqlx::query("UPDATE errortracking.server_keys SET delete_refused_at = clock_timestamp() WHERE key_id = $1")
                .bind(key_id);
        self.change(change).await?;
        Ok(())
    }

    /// When something was sent with the key last, as the server was asked now; `None`: it does not know.
    pub async fn record_server_key_use(&self, key_id: i64, used: Option<Timestamp>) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_keys
             SET use_asked_at = clock_timestamp(), last_used_at = greatest(last_used_at, $2) WHERE key_id = $1",
        )
        .bind(key_id)
        .bind(used.map(Timestamptz::from));
        self.change(change).await?;
        Ok(())
    }

    /// Keys at the place that have ended and that the server has still: those that it accepts first.
    pub async fn ended_server_keys(&self, place: &str) -> Result<Vec<ServerKeyRow>, StoreError> {
        let keys = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {KEY} FROM errortracking.server_keys AS k
             WHERE k.place = $1 AND k.ended_at IS NOT NULL AND k.deleted_at IS NULL AND k.asked_at IS NOT NULL
             ORDER BY k.accepted DESC, k.key_id LIMIT $2"
        )))
        .bind(place)
        .bind(MOST)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(keys)
    }

    /// Keys at the place that have not ended and that the server has told of.
    pub async fn living_server_keys(&self, place: &str) -> Result<Vec<ServerKeyRow>, StoreError> {
        let keys = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {KEY} FROM errortracking.server_keys AS k
             WHERE k.place = $1 AND k.ended_at IS NULL AND k.server_id IS NOT NULL ORDER BY k.key_id LIMIT $2"
        )))
        .bind(place)
        .bind(MOST)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(keys)
    }
}
