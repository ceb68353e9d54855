//! The secret that a project's users are counted by.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{dsn::ProjectId, store::StoreError};

/// Makes the hashes that stand for the users of one project. Who has it can test a guess of who a user is: it is in no log
/// and no status, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct UserKey([u8; Self::BYTES]);

impl UserKey {
    /// Its length, which `errortracking.projects` checks too.
    pub const BYTES: usize = 32;

    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 (RFC 2104) of `message`.
    #[must_use]
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.chain_update(message).finalize().into_bytes().into()
    }

    /// As a row has it; the owner of a database can write anything there.
    pub(super) fn from_column(project: ProjectId, column: Vec<u8>) -> Result<Self, StoreError> {
        column.try_into().map(Self).map_err(|_| StoreError::Other {
            message: format!("the user key of project {project} cannot be read"),
            sqlstate: None,
        })
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_an_error_shows_it() {
        let project = ProjectId::new(7).unwrap();
        let key = UserKey::from_column(project, vec![0xab; 32]).unwrap();
        assert!(format!("{key:?}") == "UserKey(…)" && key == UserKey::new([0xab; 32]));
        for column in [vec![], vec![0xab; 31], vec![0xab; 33]] {
            let error = UserKey::from_column(project, column).unwrap_err();
            assert_eq!(error.to_string(), "the user key of project 7 cannot be read");
        }
    }
}
