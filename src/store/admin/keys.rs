//! Client keys. Every change of a key raises the version of its project's settings (a trigger).

use secrecy::SecretString;

use super::{Admin, KeyIdentity, KeyRow};
use crate::{
    dsn::{ProjectId, PublicKey},
    store::StoreError,
};

impl Admin {
    /// The key of (`ClientKey`, ordinal): the row that is there and not revoked, else one that a lost object of
    /// the same namespace and name left, else a new one with `public_key` and `secret`.
    pub async fn mint_key(
        &self,
        project: ProjectId,
        identity: &KeyIdentity,
        ordinal: i32,
        public_key: &PublicKey,
        secret: &SecretString,
    ) -> Result<KeyRow, StoreError> {
        todo!()
    }

    /// Puts a key back that a Secret still names and the database lost. A revoked one stays revoked.
    pub async fn adopt_key(
        &self,
        project: ProjectId,
        identity: &KeyIdentity,
        ordinal: i32,
        public_key: &PublicKey,
    ) -> Result<KeyRow, StoreError> {
        todo!()
    }

    /// All keys ever minted for the object, oldest first, the revoked ones too.
    pub async fn keys_of(&self, client_key_uid: &str) -> Result<Vec<KeyRow>, StoreError> {
        todo!()
    }

    /// A key that is not enabled is refused and keeps its place; no effect on a revoked one.
    pub async fn set_key_enabled(&self, key_id: i64, enabled: bool) -> Result<(), StoreError> {
        todo!()
    }

    /// For good. Repeating it changes nothing.
    pub async fn revoke_key(&self, key_id: i64) -> Result<(), StoreError> {
        todo!()
    }

    /// Revokes every key of the object; how many it were now.
    pub async fn revoke_keys_of(&self, client_key_uid: &str) -> Result<u64, StoreError> {
        todo!()
    }
}
