//! Keys as every backend shows them.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use super::Debt;
use crate::{
    dsn::{DsnParts, ProjectId, PublicKey},
    rotation::{self, State},
    settings::RateLimit,
    store::admin::IngestInstance,
};

/// What its backend calls a key, as `status.active.keyID` shows it: the number of a row in
/// Postgres, also of a key that another server keeps: Sentry's ids are public keys.
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

/// A key of a `ClientKey`, also one that has ended.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was observed")]
pub struct Key {
    pub id: KeyId,
    pub public_key: PublicKey,
    pub dsn: DsnSource,
    pub enabled: bool,
    /// `None`: any number of events.
    pub rate_limit: Option<RateLimit>,
    pub created_at: Timestamp,
    pub state: State,
    /// When the newest write was that made the Secret name the key, by the API server's clock; `None` while it is written.
    pub published_at: Option<Timestamp>,
    /// Of a key in its overlap: since when.
    pub retiring_since: Option<Timestamp>,
    /// When it was refused first.
    pub ended_at: Option<Timestamp>,
    /// It had ended and is accepted again.
    pub restored: bool,
    /// When something was sent with it last.
    pub last_used_at: Option<Timestamp>,
    /// An ingest instance that follows settings of this version, or of a later one, accepts the key.
    pub settings_version: i64,
    /// Workloads that were restarted because the Secret names the key now, as "Deployment/shop".
    pub restarted: Vec<String>,
    /// Something was sent with it in the last hour when it was refused.
    pub refused: bool,
    /// The external URL that its DSN names, once that is recorded.
    pub endpoint: Option<String>,
    /// What the server that keeps it is still to be told.
    pub debt: Option<Debt>,
    /// That server took a limit and kept another one.
    pub limit_refused: bool,
}

impl Key {
    /// The key as the rules of its life see it.
    #[must_use]
    pub fn life(&self, silent_for: Option<SignedDuration>) -> rotation::Key {
        rotation::Key {
            state: self.state,
            created_at: self.created_at,
            retiring_since: self.retiring_since,
            ended_at: self.ended_at,
            restored: self.restored,
            silent_for,
        }
    }
}

/// What the DSN of a key is made of.
#[derive(Clone, Debug)]
pub enum DsnSource {
    /// The endpoint that the `ClientKey` asks for, the public key, and this number.
    Endpoint(ProjectId),
    /// The backend's own DSN, taken as it is: the backend knows where it receives events.
    Whole(SecretString),
    /// The backend has not told it yet.
    Awaited,
}

/// The keys of one `ClientKey`, as observed.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `None`: the project takes no keys yet.
    pub(super) project: Option<ProjectId>,
    /// Another server keeps them: they have no number of ours.
    pub(super) elsewhere: bool,
    /// In the order in which they were made; of many that have ended, the newest.
    pub(super) all: Vec<Key>,
    /// Of the newest key that was ever minted for the object; 0: none was.
    pub(super) ordinal: i32,
    /// By the backend's clock, which made the times of the keys.
    pub(super) now: Timestamp,
    /// Those who receive the events of the keys' project, where a key goes on beside another one.
    pub(super) instances: Vec<IngestInstance>,
}

impl Keys {
    /// Whether the project is so far that keys can be minted.
    #[must_use]
    pub fn are_accepted(&self) -> bool {
        self.project.is_some() || self.elsewhere
    }

    /// Whether another server keeps them, which nobody can watch.
    #[must_use]
    pub fn are_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether the server that keeps them is still to be told something.
    #[must_use]
    pub fn are_owed(&self) -> bool {
        self.all.iter().any(|key| key.debt.is_some())
    }

    /// The key that the Secret names, or should name: [`rotation::active`].
    #[must_use]
    pub fn active(&self) -> Option<&Key> {
        rotation::active(&self.all, |key| key.state).map(|active| &self.all[active])
    }

    /// In the order in which they were made.
    #[must_use]
    pub fn all(&self) -> &[Key] {
        &self.all
    }

    /// Those whose events are accepted, as far as their life goes.
    pub fn living(&self) -> impl Iterator<Item = &Key> {
        self.all.iter().filter(|key| key.state.is_alive())
    }

    /// What those who receive the events of the keys' project have told of themselves. Empty unless a key goes on beside
    /// another one.
    #[must_use]
    pub fn instances(&self) -> &[IngestInstance] {
        &self.instances
    }

    /// By the clock that made the times of the keys.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// What the Secret of a `ClientKey` says about its key.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    pub dsn: SecretString,
    /// By the Secret's annotation: whoever may write the Secret may have made it up.
    pub id: Option<KeyId>,
    /// The key before, by an annotation as well, while it was in its overlap.
    pub retiring: Option<PublicKey>,
}

impl PublishedKey {
    /// `None`: what is there is no DSN of ours.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        DsnParts::of(self.dsn.expose_secret()).ok()?.public_key().parse().ok()
    }
}
