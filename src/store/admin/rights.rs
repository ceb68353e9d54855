//! Which right the operator's login lacks, in words that say how to give it.

use sqlx::PgPool;

use super::{Admin, server::BEGIN};
use crate::store::StoreError;

impl Admin {
    /// The same result, but when the login was refused something, which right it lacks.
    pub(super) async fn naming_missing_rights<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match result {
            Err(error) => Err(name_missing(&self.pool, error).await),
            done => done,
        }
    }
}

/// `error`, or when the login was refused something: which rights it lacks of those that the operator needs.
pub(super) async fn name_missing(pool: &PgPool, error: StoreError) -> StoreError {
    if !matches!(innermost(&error), StoreError::NotPermitted { .. }) {
        return error;
    }
    match missing_rights(pool).await {
        Ok(missing) if !missing.is_empty() => StoreError::NotPermitted { message: missing.join("; ") },
        _ => error,
    }
}

fn innermost(error: &StoreError) -> &StoreError {
    match error {
        StoreError::Migration { source, .. } => innermost(source),
        error => error,
    }
}

async fn missing_rights(pool: &PgPool) -> Result<Vec<String>, StoreError> {
    let mut transaction = pool.begin_with(BEGIN).await?;
    let (login, database, creates_schemas, creates_roles, owner): (String, String, bool, bool, Option<String>) =
        sqlx::query_as(
            "SELECT
                quote_ident(current_user), quote_ident(current_database()),
                has_database_privilege(current_database(), 'CREATE'),
                (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user),
                (
                    SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace
                    WHERE nspname = 'errortracking' AND NOT pg_has_role(nspowner, 'USAGE')
                )",
        )
        .fetch_one(&mut *transaction)
        .await?;
    let mut missing = Vec::new();
    if let Some(owner) = owner {
        missing.push(format!(
            "login {login} may not use schema errortracking, which belongs to {owner}: log in as {owner}, or GRANT \
             {owner} TO {login}"
        ));
    }
    if !creates_schemas {
        missing.push(format!(
            "login {login} lacks CREATE on the database: GRANT CREATE ON DATABASE {database} TO {login}"
        ));
    }
    if !creates_roles {
        missing.push(format!("login {login} lacks CREATEROLE: ALTER ROLE {login} CREATEROLE"));
    }
    Ok(missing)
}
