//! The external URL of a project in the DSN of a key. Another URL is a rotation: a key goes on with the one that it was
//! published with, and the next one has the other.

use jiff::{SignedDuration, Timestamp};

use super::KeyPass;
use crate::{backend::Backend, crd::Endpoint, operator::kinds::failure::Failure};

impl KeyPass<'_> {
    /// Whether the Secret names a key with a URL that is not recorded.
    pub(super) fn lacks_endpoint(&self) -> bool {
        self.key.spec.endpoint == Endpoint::External && self.target().is_some_and(|key| key.endpoint.is_none())
    }

    pub(super) async fn record_endpoint(&self, backend: &Backend) -> Result<(), Failure> {
        let (Some(key), Some(url)) = (self.target(), self.endpoint()) else { return Ok(()) };
        Ok(backend.record_endpoint(&key.id, &url).await?)
    }

    /// The request for another key that a changed URL is: always at the same time, which is past by now.
    pub(super) fn asked_by_endpoint(&self) -> Option<Timestamp> {
        let active = self.keys.active()?;
        // Before the project is read: it has no URL in it that a key inside the cluster asks for.
        let recorded = active.endpoint.as_ref().filter(|_| self.key.spec.endpoint == Endpoint::External)?;
        let url = self.endpoint()?;
        if *recorded == url {
            return None;
        }
        active.created_at.checked_add(SignedDuration::from_secs(1)).ok()
    }
}
