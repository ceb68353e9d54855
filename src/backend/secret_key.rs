//! The secret key of a key, which the deprecated form of a DSN has.

use rand::RngExt;
use secrecy::SecretString;

use super::{Backend, BackendError, Integrated, KeyId, integrated::number};
use crate::dsn::hex;

impl Backend {
    /// The secret key that belongs to the key; `None`: it has none yet.
    pub async fn secret_key(&self, client_key_uid: &str, key: &KeyId) -> Result<Option<SecretString>, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.secret_key(key).await,
            Self::Elsewhere(elsewhere) => elsewhere.secret_key(client_key_uid, key).await,
        }
    }

    /// The same, made if there is none. `None`: another server makes it, and has not told it.
    pub async fn make_secret_key(&self, key: &KeyId) -> Result<Option<SecretString>, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.make_secret_key(key).await.map(Some),
            Self::Elsewhere(_) => Ok(None),
        }
    }
}

impl Integrated {
    async fn secret_key(&self, key: &KeyId) -> Result<Option<SecretString>, BackendError> {
        Ok(self.admin.key_secret(number(key)?).await?)
    }

    async fn make_secret_key(&self, key: &KeyId) -> Result<SecretString, BackendError> {
        let new = SecretString::from(hex(&rand::rng().random::<[u8; 16]>()));
        let kept = self.admin.make_key_secret(number(key)?, &new).await?;
        kept.ok_or_else(|| BackendError::UnknownKey(key.clone()))
    }
}
