//! Who is signed in to the console, kept in the installation's own database: pods hold nothing, so that any of them
//! answers any request.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{PgPool, Row as _, postgres::PgRow};

use crate::store::{StoreError, Timestamptz};

/// SHA-256 of the secret that a browser's cookie holds.
pub type SessionDigest = [u8; 32];

/// Who signed in, as a Kubernetes API server names them: what it can be asked about later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:web:ci` or what an identity provider calls a person; 1 to 1,024 characters.
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub user: User,
    pub expires_at: Timestamp,
}

/// Begins a session. Ends those that are over, and all but the newest hundred of the same user.
pub async fn begin_session(pool: &PgPool, digest: SessionDigest, session: &Session) -> Result<(), StoreError> {
    let Session { user, expires_at } = session;
    let extra = serde_json::to_string(&user.extra).map_err(|error| unreadable(&error))?;
    // The login's transactions only read unless they say otherwise.
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    sqlx::query("SELECT errortracking.begin_session($1, $2, $3, $4, $5::jsonb, $6)")
        .bind(&digest[..])
        .bind(&user.name)
        .bind(&user.uid)
        .bind(&user.groups)
        .bind(extra)
        .bind(Timestamptz::from(*expires_at))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// As [`begin_session`], but once for each `arrival`, the SHA-256 of what a browser brought back from an identity
/// provider: whether it was the first.
pub async fn begin_session_once(
    pool: &PgPool,
    arrival: SessionDigest,
    digest: SessionDigest,
    session: &Session,
) -> Result<bool, StoreError> {
    let Session { user, expires_at } = session;
    let extra = serde_json::to_string(&user.extra).map_err(|error| unreadable(&error))?;
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let (first,): (bool,) =
        sqlx::query_as("SELECT errortracking.begin_session_once($1, $2, $3, $4, $5, $6::jsonb, $7)")
            .bind(&arrival[..])
            .bind(&digest[..])
            .bind(&user.name)
            .bind(&user.uid)
            .bind(&user.groups)
            .bind(extra)
            .bind(Timestamptz::from(*expires_at))
            .fetch_one(&mut *transaction)
            .await
            .map_err(not_migrated)?;
    transaction.commit().await?;
    Ok(first)
}

/// Of a function that is not there.
const UNDEFINED_FUNCTION: &str = "42883";

/// A function that is not there yet comes with the next migration.
pub(super) fn not_migrated(error: sqlx::Error) -> StoreError {
    match error.into() {
        StoreError::Other { sqlstate: Some(code), .. } if code == UNDEFINED_FUNCTION => {
            StoreError::Unavailable { message: "the operator has not migrated this database yet".to_owned() }
        }
        other => other,
    }
}

/// The session of that digest; `None`: there is none, or it is over.
pub async fn find_session(pool: &PgPool, digest: SessionDigest) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(
        "SELECT user_name, user_uid, groups, extra::text AS extra, expires_at FROM errortracking.find_session($1)",
    )
    .bind(&digest[..])
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Of the columns `user_name`, `user_uid`, `groups`, and `extra` as text.
pub(super) fn user(row: &PgRow) -> Result<User, StoreError> {
    let extra: String = row.try_get("extra")?;
    Ok(User {
        name: row.try_get("user_name")?,
        uid: row.try_get("user_uid")?,
        groups: row.try_get("groups")?,
        extra: serde_json::from_str(&extra).map_err(|error| unreadable(&error))?,
    })
}

pub(super) fn read(row: &PgRow) -> Result<Session, StoreError> {
    Ok(Session { user: user(row)?, expires_at: row.try_get::<Timestamptz, _>("expires_at")?.to_jiff() })
}

/// Ends a session, in every pod at once. One that is over already is no error.
pub async fn end_session(pool: &PgPool, digest: SessionDigest) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    sqlx::query("SELECT errortracking.end_session($1)").bind(&digest[..]).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Begins every transaction that writes.
pub(super) const READ_WRITE: &str = "\
    BEGIN READ WRITE;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL statement_timeout = '5s';
    SET LOCAL lock_timeout = '5s'";

pub(super) fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Other { message: format!("a session cannot be written or read as JSON: {error}"), sqlstate: None }
}
