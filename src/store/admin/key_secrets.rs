//! Secret keys of client keys: no server looks at them any more, and old clients refuse a DSN without one.

use secrecy::{ExposeSecret, SecretString};

use super::Admin;
use crate::store::StoreError;

/// What a secret key may be to stand in a URL. The owner of a database can write anything there.
const FIT: &str = "^[A-Za-z0-9_]{1,64}$";

impl Admin {
    /// The secret key of a key that is not revoked; `None`: it was taken over from a Secret that has none, or has one
    /// that is fit for no DSN.
    pub async fn key_secret(&self, key_id: i64) -> Result<Option<SecretString>, StoreError> {
        let found: Option<(String,)> = sqlx::query_as(
            "SELECT secret FROM errortracking.client_keys
             WHERE key_id = $1 AND revoked_at IS NULL AND left(secret, 65) ~ $2",
        )
        .bind(key_id)
        .bind(FIT)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        Ok(found.map(|(secret,)| secret.into()))
    }

    /// Gives the key a secret key if it has none; the one that it has then. `None`: it is revoked.
    pub async fn make_key_secret(
        &self,
        key_id: i64,
        secret: &SecretString,
    ) -> Result<Option<SecretString>, StoreError> {
        let mut transaction = self.begin().await?;
        let kept: Option<(String,)> = sqlx::query_as(
            "UPDATE errortracking.client_keys
             SET secret = CASE WHEN left(secret, 65) ~ $3 THEN secret ELSE $2 END
             WHERE key_id = $1 AND revoked_at IS NULL RETURNING secret",
        )
        .bind(key_id)
        .bind(secret.expose_secret())
        .bind(FIT)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(kept.map(|(secret,)| secret.into()))
    }
}
