//! Keys as every backend shows them.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::{
    dsn::{ProjectId, PublicKey},
    settings::RateLimit,
};

/// What its backend calls a key, as `status.active.keyID` shows it: a row's number in Postgres, a number in GitLab, 32
/// hex digits in Sentry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A key that is not revoked.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    pub public_key: PublicKey,
    pub dsn: DsnSource,
    pub enabled: bool,
    /// `None`: any number of events.
    pub rate_limit: Option<RateLimit>,
    pub created_at: Timestamp,
}

/// What the DSN of a key is made of.
#[derive(Clone, Debug)]
pub enum DsnSource {
    /// The endpoint that the `ClientKey` asks for, the public key, and this number.
    Endpoint(ProjectId),
    /// The backend's own DSN, taken as it is: the backend knows where it receives events.
    Whole(SecretString),
}

/// The keys of one `ClientKey`, as observed.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `None`: the project takes no keys yet.
    pub(super) project: Option<ProjectId>,
    /// Oldest first, without the revoked ones.
    pub(super) living: Vec<Key>,
    /// Of the newest key that was ever minted for the object; 0: none was.
    pub(super) ordinal: i32,
}

impl Keys {
    /// Whether the project is so far that keys can be minted.
    #[must_use]
    pub fn are_accepted(&self) -> bool {
        self.project.is_some()
    }

    /// The key that the Secret should hold.
    #[must_use]
    pub fn active(&self) -> Option<&Key> {
        self.living.last()
    }
}

/// What the Secret of a `ClientKey` says about its key.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    pub dsn: SecretString,
    /// By the Secret's annotation: whoever may write the Secret may have made it up.
    pub id: Option<KeyId>,
}
