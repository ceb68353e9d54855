//! Where the keys of a project live, behind one door. Owners and wishes come in, keys and what a DSN is made of go out.
//! The operator calls it, and alone.
//!
//! [`Backend`] names what `spec.backend` of the project chose. A backend is told what a key should be and keeps what it
//! needs to find the key again after a crash: every call can be repeated, and repeating it changes nothing. Who calls
//! sees neither tables nor URLs; ids of keys are the backend's own ([`KeyId`]), and a DSN may be the backend's as well
//! ([`DsnSource`]).

mod elsewhere;
mod error;
mod integrated;
mod key;
mod secret_key;
pub mod servers;

use jiff::Timestamp;

pub use self::{
    elsewhere::{Debt, Elsewhere, Server, Upkeep},
    error::{BackendError, NotConnected},
    integrated::Integrated,
    key::{DsnSource, Key, KeyId, Keys, PublishedKey},
};
pub use crate::store::admin::{Ended, IngestInstance, KeyIdentity, KeyObjects, RefusedAddress, RefusedUse};
use crate::{crd::ServerKind, settings::RateLimit};

/// Keeps the keys of a project. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The operator's own store, in Postgres.
    Integrated(Integrated),
    /// Another server, and a ledger in Postgres.
    Elsewhere(Elsewhere),
}

impl Backend {
    /// The keys of a `ClientKey` and whether its project takes keys.
    pub async fn observe(&self, objects: KeyObjects<'_>) -> Result<Keys, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.observe(objects).await,
            Self::Elsewhere(elsewhere) => elsewhere.observe(objects.client_key_uid).await,
        }
    }

    /// Gives `owner` the keys that a lost object of its namespace and name left; none when it has keys of its own.
    pub async fn take_over(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.take_over(keys, owner).await,
            Self::Elsewhere(elsewhere) => elsewhere.take_over(keys, owner).await,
        }
    }

    /// Puts the key back that a Secret still names and the backend lost, as after a restore of an older backup, and the one
    /// that was in its overlap then. A key that is not the owner's is left alone.
    pub async fn put_back(
        &self,
        keys: &mut Keys,
        project_uid: &str,
        owner: &KeyIdentity,
        published: &PublishedKey,
    ) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.put_back(keys, project_uid, owner, published).await,
            Self::Elsewhere(elsewhere) => elsewhere.put_back(keys, owner, published).await,
        }
    }

    /// Makes the key that comes after `keys`. A crash before it is known here is mended by observing: the key is
    /// found, and the one after it is not made.
    pub async fn mint(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<Key, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.mint(keys, owner).await,
            Self::Elsewhere(elsewhere) => elsewhere.mint(keys, owner).await,
        }
    }

    /// Makes the key that takes the place of `active`, as [`Self::mint`] does, with its enabling and limit. The keys as they
    /// are then.
    pub async fn succeed(&self, keys: &Keys, objects: KeyObjects<'_>, active: &KeyId) -> Result<Keys, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.succeed(keys, objects, active).await,
            Self::Elsewhere(elsewhere) => elsewhere.succeed(keys, objects.client_key_uid, active).await,
        }
    }

    /// The Secret names the key since then, by the API server's clock, and the one before is in its overlap; `None`: the
    /// Secret is about to be written. The keys as they are then.
    pub async fn published(
        &self,
        objects: KeyObjects<'_>,
        key: &KeyId,
        at: Option<Timestamp>,
    ) -> Result<Keys, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.published(objects, key, at).await,
            Self::Elsewhere(elsewhere) => elsewhere.published(objects.client_key_uid, key, at).await,
        }
    }

    /// Every key of the `ClientKey` is in its overlap from now on, without another one.
    pub async fn withdraw(&self, client_key_uid: &str) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.withdraw(client_key_uid).await,
            Self::Elsewhere(elsewhere) => elsewhere.withdraw(client_key_uid).await,
        }
    }

    /// Events with a key of the `ClientKey` are refused from now on, for good or until it is restored; whether they were
    /// accepted before.
    pub async fn end(&self, client_key_uid: &str, key: &KeyId, for_good: bool) -> Result<bool, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.end(client_key_uid, key, for_good).await,
            Self::Elsewhere(elsewhere) => elsewhere.end(client_key_uid, key, for_good).await,
        }
    }

    /// A retired key of the `ClientKey` is accepted again; whether it was refused before.
    pub async fn restore(&self, client_key_uid: &str, key: &KeyId) -> Result<bool, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.restore(client_key_uid, key).await,
            Self::Elsewhere(elsewhere) => elsewhere.restore(client_key_uid, key).await,
        }
    }

    /// The DSN of the key names this external URL, for as long as the key lives.
    pub async fn record_endpoint(&self, key: &KeyId, url: &str) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.record_endpoint(key, url).await,
            Self::Elsewhere(_) => Ok(()),
        }
    }

    /// A workload, as "Deployment/shop", was restarted because the Secret names the key now.
    pub async fn restarted(&self, key: &KeyId, workload: &str) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.restarted(key, workload).await,
            Self::Elsewhere(elsewhere) => elsewhere.restarted(key, workload).await,
        }
    }

    /// What was sent in the last hour with keys of the `ClientKey` that were refused then.
    pub async fn refused_uses(&self, client_key_uid: &str) -> Result<Vec<RefusedUse>, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.refused_uses(client_key_uid).await,
            Self::Elsewhere(_) => Ok(Vec::new()),
        }
    }

    /// Records that one of [`Keys::instances`] is gone without a last word.
    pub async fn instance_is_gone(&self, keys: &Keys, instance: &str) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.instance_is_gone(keys, instance).await,
            Self::Elsewhere(_) => Ok(()),
        }
    }

    /// Whether events with the living keys of the `ClientKey` are accepted.
    pub async fn set_enabled(&self, client_key_uid: &str, enabled: bool) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.set_enabled(client_key_uid, enabled).await,
            Self::Elsewhere(elsewhere) => elsewhere.set_enabled(client_key_uid, enabled).await,
        }
    }

    /// How many events are accepted with each living key of the `ClientKey`; `None`: any number.
    pub async fn set_rate_limit(&self, client_key_uid: &str, limit: Option<RateLimit>) -> Result<(), BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.set_rate_limit(client_key_uid, limit).await,
            Self::Elsewhere(elsewhere) => elsewhere.set_rate_limit(client_key_uid, limit).await,
        }
    }

    /// Tells the server that keeps the keys of the `ClientKey` what it has not been told.
    pub async fn settle(&self, client_key_uid: &str) -> Result<(), BackendError> {
        match self {
            Self::Integrated(_) => Ok(()),
            Self::Elsewhere(elsewhere) => elsewhere.settle(client_key_uid).await,
        }
    }

    /// The other server that keeps the keys.
    #[must_use]
    pub fn server(&self) -> Option<ServerKind> {
        match self {
            Self::Integrated(_) => None,
            Self::Elsewhere(elsewhere) => Some(elsewhere.kind()),
        }
    }

    /// Revokes every key of the `ClientKey`, which may be gone; how many it were now.
    pub async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, BackendError> {
        match self {
            Self::Integrated(integrated) => integrated.revoke_keys_of(client_key_uid).await,
            Self::Elsewhere(elsewhere) => elsewhere.end_all(client_key_uid).await,
        }
    }
}
