//! Where the keys of a project live, behind one door. Owners and wishes come in, keys and what a DSN is made of go out.
//! The operator calls it, and alone.
//!
//! [`Backend`] names what `spec.backend` of the project chose. A backend is told what a key should be and keeps what it
//! needs to find the key again after a crash: every call can be repeated, and repeating it changes nothing. Who calls
//! sees neither tables nor URLs; ids of keys are the backend's own ([`KeyId`]), and a DSN may be the backend's as well
//! ([`DsnSource`]).

mod error;
mod integrated;
mod key;

pub use self::{
    error::BackendError,
    integrated::Integrated,
    key::{DsnSource, Key, KeyId, Keys, PublishedKey},
};
use crate::settings::RateLimit;
pub use crate::store::admin::KeyIdentity;

/// Keeps the keys of a project. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The operator's own store, in Postgres.
    Integrated(Integrated),
}

impl Backend {
    /// The keys of a `ClientKey` and whether its project takes keys; both objects by their uids.
    pub async fn observe(&self, project_uid: &str, client_key_uid: &str) -> Result<Keys, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.observe(project_uid, client_key_uid).await,
        }
    }

    /// Gives `owner` the keys that a lost object of its namespace and name left; none when it has keys of its own.
    pub async fn take_over(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.take_over(keys, owner).await,
        }
    }

    /// Puts the key back that a Secret still names and the backend lost, as after a restore of an older backup. A key
    /// that is not the owner's is left alone.
    pub async fn put_back(
        &self,
        keys: &mut Keys,
        owner: &KeyIdentity,
        published: &PublishedKey,
    ) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.put_back(keys, owner, published).await,
        }
    }

    /// Makes the key that comes after `keys`. A crash before it is known here is mended by observing: the key is
    /// found, and the one after it is not made.
    pub async fn mint(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<Key, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.mint(keys, owner).await,
        }
    }

    /// Whether events with the key are accepted.
    pub async fn set_enabled(&self, key: &KeyId, enabled: bool) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.set_enabled(key, enabled).await,
        }
    }

    /// How many events are accepted with the key; `None`: any number.
    pub async fn set_rate_limit(&self, key: &KeyId, limit: Option<RateLimit>) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.set_rate_limit(key, limit).await,
        }
    }

    /// Revokes every key of the `ClientKey`, which may be gone; how many it were now.
    pub async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.revoke_keys_of(client_key_uid).await,
        }
    }
}
