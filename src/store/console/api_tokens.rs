//! API tokens of the console, kept in the installation's own database: a hash of each, who made it, and what it may be
//! used for.

use jiff::Timestamp;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::sessions::{READ_WRITE, User, not_migrated, unreadable, user};
use crate::store::{StoreError, Timestamptz};

/// SHA-256 of a token.
pub type TokenDigest = [u8; 32];

/// A token that is about to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub digest: TokenDigest,
    /// 1 to 100 characters.
    pub name: String,
    pub scopes: Vec<String>,
    pub user: User,
    pub expires_at: Timestamp,
}

/// A token as its maker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    pub id: Uuid,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

/// Whether it was made: nobody has more than fifty.
pub async fn make_api_token(pool: &PgPool, token: &NewToken) -> Result<bool, StoreError> {
    let NewToken { digest, name, scopes, user, expires_at } = token;
    let extra = serde_json::to_string(&user.extra).map_err(|error| unreadable(&error))?;
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let (made,): (bool,) = sqlx::query_as("SELECT errortracking.make_api_token($1, $2, $3, $4, $5, $6, $7::jsonb, $8)")
        .bind(&digest[..])
        .bind(name)
        .bind(scopes)
        .bind(&user.name)
        .bind(&user.uid)
        .bind(&user.groups)
        .bind(extra)
        .bind(Timestamptz::from(*expires_at))
        .fetch_one(&mut *transaction)
        .await
        .map_err(not_migrated)?;
    transaction.commit().await?;
    Ok(made)
}

/// Who made the token of that digest, and its scopes; `None`: there is none, or it has expired. Notes that it was used.
pub async fn use_api_token(pool: &PgPool, digest: TokenDigest) -> Result<Option<(User, Vec<String>)>, StoreError> {
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let row = sqlx::query(
        "SELECT scopes, user_name, user_uid, groups, extra::text AS extra FROM errortracking.use_api_token($1)",
    )
    .bind(&digest[..])
    .fetch_optional(&mut *transaction)
    .await
    .map_err(not_migrated)?;
    transaction.commit().await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((user(&row)?, row.try_get("scopes")?)))
}

/// The tokens of that user, the newest first.
pub async fn api_tokens_of(pool: &PgPool, user: &str) -> Result<Vec<ApiToken>, StoreError> {
    let statement =
        "SELECT token_id, name, scopes, created_at, expires_at, last_used_at FROM errortracking.api_tokens_of($1)";
    let rows = sqlx::query(statement).bind(user).fetch_all(pool).await.map_err(not_migrated)?;
    let tokens = rows.iter().map(|row| {
        let time = |column: &str| row.try_get::<Timestamptz, _>(column).map(Timestamptz::to_jiff);
        Ok(ApiToken {
            id: row.try_get("token_id")?,
            name: row.try_get("name")?,
            scopes: row.try_get("scopes")?,
            created_at: time("created_at")?,
            expires_at: time("expires_at")?,
            last_used_at: row.try_get::<Option<Timestamptz>, _>("last_used_at")?.map(Timestamptz::to_jiff),
        })
    });
    tokens.collect()
}

/// Ends a token of that user. One that is gone, or somebody else's, is no error.
pub async fn revoke_api_token(pool: &PgPool, user: &str, token: Uuid) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let revoking = sqlx::query("SELECT errortracking.revoke_api_token($1, $2)").bind(user).bind(token);
    revoking.execute(&mut *transaction).await.map_err(not_migrated)?;
    Ok(transaction.commit().await?)
}

/// Ends every session of that user.
pub async fn end_sessions_of(pool: &PgPool, user: &str) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with(READ_WRITE).await?;
    let ending = sqlx::query("SELECT errortracking.end_sessions_of($1)").bind(user);
    ending.execute(&mut *transaction).await.map_err(not_migrated)?;
    Ok(transaction.commit().await?)
}
