//! Tickets that begin a session once: a program that has a token makes one, and a browser uses it up.

use sqlx::{PgPool, postgres::PgRow};

use super::sessions::{READ_WRITE, Session, SessionDigest, not_migrated, read, unreadable};
use crate::store::{StoreError, Timestamptz};

/// Makes a ticket for a session; it lasts for a minute. Ends those that are over, and all but the newest ten of the same
/// user.
pub async fn make_ticket(pool: &PgPool, digest: SessionDigest, session: &Session) -> Result<(), StoreError> {
    let Session { user, expires_at } = session;
    let extra = serde_json::to_string(&user.extra).map_err(|error| unreadable(&error))?;
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    sqlx::query("SELECT errortracking.make_ticket($1, $2, $3, $4, $5::jsonb, $6)")
        .bind(&digest[..])
        .bind(&user.name)
        .bind(&user.uid)
        .bind(&user.groups)
        .bind(extra)
        .bind(Timestamptz::from(*expires_at))
        .execute(&mut *transaction)
        .await
        .map_err(not_migrated)?;
    Ok(transaction.commit().await?)
}

/// The name of who made the ticket of that digest; `None`: there is none, it was used, or it is over.
pub async fn ticket_user(pool: &PgPool, digest: SessionDigest) -> Result<Option<String>, StoreError> {
    let (name,): (Option<String>,) = sqlx::query_as("SELECT errortracking.ticket_user($1)")
        .bind(&digest[..])
        .fetch_one(pool)
        .await
        .map_err(not_migrated)?;
    Ok(name)
}

/// Uses a ticket up: the session that it is for. `None` as of [`ticket_user`].
pub async fn use_ticket(pool: &PgPool, digest: SessionDigest) -> Result<Option<Session>, StoreError> {
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let row: Option<PgRow> = sqlx::query(
        "SELECT user_name, user_uid, groups, extra::text AS extra, expires_at FROM errortracking.use_ticket($1)",
    )
    .bind(&digest[..])
    .fetch_optional(&mut *transaction)
    .await
    .map_err(not_migrated)?;
    let session = row.as_ref().map(read).transpose()?;
    transaction.commit().await?;
    Ok(session)
}
