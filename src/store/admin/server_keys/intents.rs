//! Keys of a server that gives them no names: one is asked for at a time, and whose it is can be told only from the answer.

use sqlx::PgConnection;

use super::Admin;
use crate::{dsn::PublicKey, store::StoreError};

/// How an intent to make a key began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    Begun,
    /// Another key is being made at the place.
    Busy,
}

/// After so long another key of the place need not wait for the answer any more.
const ANSWERED_WITHIN_SECONDS: i32 = 60;
/// Nor for the look at the list of all keys that comes after an answer: a server that limits calls has it wait.
const FOUND_WITHIN_SECONDS: i32 = 600;

/// A key was asked for, and it is not known whether it was made, or which one it is.
#[derive(Clone, Debug)]
pub struct LostAnswer {
    pub client_key_uid: String,
    /// The ids that the place had before.
    pub known: Vec<String>,
    /// The public key in the answer, if it came.
    pub answered: Option<PublicKey>,
}

impl Admin {
    /// The key that was asked for at the place, by this object, or by one that has waited for too long. `None`: no answer is
    /// lost.
    pub async fn lost_answer(&self, place: &str, uid: &str) -> Result<Option<LostAnswer>, StoreError> {
        let lost: Option<(String, Vec<String>, Option<String>)> = sqlx::query_as(
            "SELECT client_key_uid, known, answered FROM errortracking.server_key_intents
             WHERE place = $1 AND (client_key_uid = $2 OR begun_at < clock_timestamp()
                - make_interval(secs => CASE WHEN answered IS NULL THEN $3 ELSE $4 END))",
        )
        .bind(place)
        .bind(uid)
        .bind(f64::from(ANSWERED_WITHIN_SECONDS))
        .bind(f64::from(FOUND_WITHIN_SECONDS))
        .fetch_optional(&mut *self.read().await?)
        .await?;
        Ok(lost.map(|(client_key_uid, known, answered)| LostAnswer {
            client_key_uid,
            known,
            answered: answered.and_then(|key| key.parse().ok()),
        }))
    }

    /// The server has answered the object with this key, which is to be found in the list of all.
    pub async fn record_key_answered(&self, place: &str, uid: &str, key: &PublicKey) -> Result<(), StoreError> {
        let change = sqlx::query(
            "UPDATE errortracking.server_key_intents SET answered = $3 WHERE place = $1 AND client_key_uid = $2",
        )
        .bind(place)
        .bind(uid)
        .bind(key.as_str());
        self.change(change).await?;
        Ok(())
    }

    /// The answer is given up: of the ids that the place has now, `orphans` may have been meant, and nobody claims them.
    pub async fn give_answer_up(&self, place: &str, orphans: &[String]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO errortracking.server_key_orphans (place, server_id) SELECT $1, unnest($2::text[])
             ON CONFLICT DO NOTHING",
        )
        .bind(place)
        .bind(orphans)
        .execute(&mut *transaction)
        .await?;
        end(&mut transaction, place).await?;
        Ok(transaction.commit().await?)
    }

    /// Before a key is asked for at the place, which has these ids now.
    pub async fn begin_server_key(&self, place: &str, uid: &str, known: &[String]) -> Result<Begun, StoreError> {
        let change = sqlx::query(
            "INSERT INTO errortracking.server_key_intents (place, client_key_uid, known)
             VALUES ($1, $2, $3) ON CONFLICT (place) DO NOTHING",
        )
        .bind(place)
        .bind(uid)
        .bind(known);
        Ok(if self.change(change).await? > 0 { Begun::Begun } else { Begun::Busy })
    }

    /// The server said no: nothing was made.
    pub async fn end_intent(&self, place: &str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        end(&mut transaction, place).await?;
        Ok(transaction.commit().await?)
    }

    /// Ids at the place that nobody claims, of those that are there still.
    pub async fn server_key_orphans(&self, place: &str, there: &[String]) -> Result<Vec<String>, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM errortracking.server_key_orphans WHERE place = $1 AND NOT server_id = ANY ($2)")
            .bind(place)
            .bind(there)
            .execute(&mut *transaction)
            .await?;
        let orphans = orphans_at(&mut transaction, place).await?;
        transaction.commit().await?;
        Ok(orphans)
    }

    /// Ids that were there when they were looked at last, and that nobody claims.
    pub async fn known_server_key_orphans(&self, place: &str) -> Result<Vec<String>, StoreError> {
        orphans_at(&mut *self.read().await?, place).await
    }

    /// Every id at the place that a key of ours has or had.
    pub async fn claimed_server_ids(&self, place: &str) -> Result<Vec<String>, StoreError> {
        let claimed: Vec<(String,)> = sqlx::query_as(
            "SELECT server_id FROM errortracking.server_keys WHERE place = $1 AND server_id IS NOT NULL",
        )
        .bind(place)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(claimed.into_iter().map(|(id,)| id).collect())
    }
}

pub(super) async fn end(connection: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM errortracking.server_key_intents WHERE place = $1")
        .bind(place)
        .execute(connection)
        .await?;
    Ok(())
}

async fn orphans_at(connection: &mut PgConnection, place: &str) -> Result<Vec<String>, StoreError> {
    let orphans: Vec<(String,)> = sqlx::query_as(
        "SELECT server_id FROM errortracking.server_key_orphans WHERE place = $1 ORDER BY seen_at, server_id",
    )
    .bind(place)
    .fetch_all(connection)
    .await?;
    Ok(orphans.into_iter().map(|(id,)| id).collect())
}
