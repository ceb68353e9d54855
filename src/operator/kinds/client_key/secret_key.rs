//! The secret key of the deprecated DSN: read in each pass over a key that asks for it, and made where there is none.

use super::KeyPass;
use crate::{backend::Backend, operator::kinds::failure::Failure};

impl KeyPass<'_> {
    /// Only keys that ask for it pay for the question.
    pub(super) async fn read_secret_key(&mut self, backend: &Backend) -> Result<(), Failure> {
        self.secret_key = match self.target() {
            Some(key) if self.key.asks_for_deprecated_dsn() => backend.secret_key(&self.uid, &key.id).await?,
            _ => None,
        };
        Ok(())
    }

    /// Whether the Secret cannot be as it is asked for yet.
    pub(super) fn lacks_secret_key(&self) -> bool {
        self.key.asks_for_deprecated_dsn() && self.target().is_some() && self.secret_key.is_none()
    }

    /// Keys that were taken over from a Secret, or minted in this pass, have none that is known here.
    pub(super) async fn make_secret_key(&mut self, backend: &Backend) -> Result<(), Failure> {
        if let Some(key) = self.target().filter(|_| self.lacks_secret_key()) {
            self.secret_key = backend.make_secret_key(&key.id).await?;
        }
        Ok(())
    }
}
