//! Keys that another server keeps, a Sentry or a GitLab. The ledger has a row for each before the server is asked for
//! anything; what the two owe each other is a [`Debt`], and a pass pays one at a time. Without a debt the server is not asked.

mod debt;
mod gitlab;
mod sentry;
mod upkeep;

use std::sync::Arc;

use jiff::Timestamp;
use rand::RngExt;
use secrecy::SecretString;

pub use self::{debt::Debt, upkeep::Upkeep};
use super::{
    BackendError, DsnSource, Key, KeyId, KeyIdentity, Keys, NotConnected, PublishedKey,
    integrated::number,
    servers::{Gitlab, Sentry},
};
use crate::{
    crd::ServerKind,
    dsn::PublicKey,
    rotation::{RESTORABLE_DAYS, State},
    settings::RateLimit,
    store::{
        Admin,
        admin::{Answer, Place, ServerKeyRow},
    },
};

/// A project of another server, and the ledger of its keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    ledger: Admin,
    place: Place,
    kind: ServerKind,
    server: Result<Server, NotConnected>,
}

/// A project of a server that answers.
#[derive(Clone, Debug)]
pub enum Server {
    Sentry(Arc<Sentry>),
    Gitlab(Arc<Gitlab>),
}

impl Elsewhere {
    #[must_use]
    pub fn new(ledger: Admin, place: Place, kind: ServerKind, server: Result<Server, NotConnected>) -> Self {
        Self { ledger, place, kind, server }
    }

    /// The same project at this server.
    #[must_use]
    pub fn at(self, server: Server) -> Self {
        Self { server: Ok(server), ..self }
    }

    fn server(&self) -> Result<&Server, BackendError> {
        self.server.as_ref().map_err(|error| error.clone().into())
    }

    pub(super) fn kind(&self) -> ServerKind {
        self.kind
    }

    pub(super) async fn observe(&self, client_key_uid: &str) -> Result<Keys, BackendError> {
        let (rows, now) = self.ledger.server_keys(&self.place.place, client_key_uid).await?;
        Ok(self.keys(rows, now))
    }

    fn keys(&self, rows: Vec<ServerKeyRow>, now: Timestamp) -> Keys {
        let ordinal = rows.iter().map(|row| row.ordinal).max().unwrap_or_default();
        let all = rows.into_iter().map(|row| self.key(row, now)).collect();
        Keys { all, ordinal, now, elsewhere: true, ..Keys::default() }
    }

    fn key(&self, row: ServerKeyRow, now: Timestamp) -> Key {
        let debt = debt::owed(&row, self.kind, now);
        Key {
            id: KeyId::new(row.key_id.to_string()),
            public_key: row.public_key,
            dsn: row.dsn.map_or(DsnSource::Awaited, DsnSource::Whole),
            enabled: row.enabled,
            rate_limit: row.rate_limit,
            created_at: row.created_at,
            state: row.state,
            published_at: row.published_at,
            retiring_since: row.retiring_since,
            ended_at: row.ended_at,
            restored: row.restored,
            last_used_at: row.last_used_at,
            settings_version: 0,
            restarted: row.restarted,
            refused: false,
            endpoint: None,
            debt,
            limit_refused: row.limit_refused_at.is_some(),
        }
    }

    async fn row(&self, client_key_uid: &str, key: &KeyId) -> Result<ServerKeyRow, BackendError> {
        let (rows, _) = self.ledger.server_keys(&self.place.place, client_key_uid).await?;
        let number = number(key)?;
        rows.into_iter().find(|row| row.key_id == number).ok_or_else(|| BackendError::UnknownKey(key.clone()))
    }

    pub(super) async fn take_over(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<(), BackendError> {
        let rows = self.ledger.take_server_keys_over(&self.place, owner).await?;
        *keys = self.keys(rows, keys.now);
        Ok(())
    }

    /// A key is adopted only if the server has it in this project, and the ledger gives it to nobody else.
    pub(super) async fn put_back(
        &self,
        keys: &mut Keys,
        owner: &KeyIdentity,
        published: &PublishedKey,
    ) -> Result<(), BackendError> {
        let Some(named) = published.public_key() else { return Ok(()) };
        let is_known = |key: &PublicKey| keys.all.iter().any(|known| known.public_key == *key);
        if is_known(&named) {
            return Ok(());
        }
        let mut ordinal = keys.ordinal;
        let mut adopted_named = None;
        let former = published.retiring.clone().filter(|former| !is_known(former));
        for public_key in former.iter().chain([&named]) {
            let Some(answer) = self.look_for(public_key).await? else { continue };
            ordinal += 1;
            let adopted = self.ledger.adopt_server_key(&self.place, owner, ordinal, &answer).await?;
            adopted_named = adopted.filter(|row| row.public_key == named && row.state.is_alive());
        }
        if let Some(adopted) = adopted_named {
            self.ledger.publish_server_key(adopted.key_id, Some(keys.now)).await?;
        }
        *keys = self.observe(&owner.client_key_uid).await?;
        Ok(())
    }

    async fn look_for(&self, public_key: &PublicKey) -> Result<Option<Answer>, BackendError> {
        Ok(match self.server()? {
            Server::Sentry(server) => sentry::find_public(server, public_key).await?,
            Server::Gitlab(server) => gitlab::find_public(server, public_key).await?,
        })
    }

    pub(super) async fn mint(&self, keys: &mut Keys, owner: &KeyIdentity) -> Result<Key, BackendError> {
        let ordinal = keys.ordinal + 1;
        let (public_key, answer) = self.begin(&owner.client_key_uid).await?;
        let row = self.ledger.mint_server_key(&self.place, owner, ordinal, &public_key, answer.as_ref()).await?;
        let key = self.key(row, keys.now);
        keys.ordinal = ordinal;
        keys.all.push(key.clone());
        Ok(key)
    }

    pub(super) async fn succeed(&self, keys: &Keys, uid: &str, active: &KeyId) -> Result<Keys, BackendError> {
        let ordinal = keys.ordinal + 1;
        let (public_key, answer) = self.begin(uid).await?;
        self.ledger.succeed_server_key(&self.place, number(active)?, ordinal, &public_key, answer.as_ref()).await?;
        self.observe(uid).await
    }

    /// In a Sentry the key gets the name that we choose, and is asked for once the ledger has it. GitLab chooses, and is
    /// asked first.
    async fn begin(&self, uid: &str) -> Result<(PublicKey, Option<Answer>), BackendError> {
        match self.server()? {
            Server::Gitlab(server) => {
                let answer = gitlab::make(&self.ledger, server, &self.place.place, uid).await?;
                Ok((answer.public_key.clone(), Some(answer)))
            }
            Server::Sentry(_) => Ok((PublicKey::from_random(rand::rng().random()), None)),
        }
    }

    pub(super) async fn published(&self, uid: &str, key: &KeyId, at: Option<Timestamp>) -> Result<Keys, BackendError> {
        self.ledger.publish_server_key(number(key)?, at).await?;
        self.observe(uid).await
    }

    pub(super) async fn withdraw(&self, client_key_uid: &str) -> Result<(), BackendError> {
        Ok(self.ledger.withdraw_server_keys(client_key_uid).await?)
    }

    /// The server refuses it before the ledger says so. What GitLab deletes cannot come back.
    pub(super) async fn end(&self, uid: &str, key: &KeyId, for_good: bool) -> Result<bool, BackendError> {
        let row = self.row(uid, key).await?;
        if row.ended_at.is_none() && (row.accepted || row.server_id.is_none() && row.asked_at.is_some()) {
            let ended = ServerKeyRow { ended_at: Some(Timestamp::now()), ..row };
            self.pay(&ended, Debt::Refuse).await?;
        }
        let for_good = for_good || self.kind == ServerKind::Gitlab;
        Ok(self.ledger.end_server_key(uid, number(key)?, for_good).await?)
    }

    pub(super) async fn restore(&self, uid: &str, key: &KeyId) -> Result<bool, BackendError> {
        let row = self.row(uid, key).await?;
        if self.kind == ServerKind::Gitlab || row.state != State::Retired || row.deleted_at.is_some() {
            return Ok(false);
        }
        let back = ServerKeyRow { ended_at: None, ..row };
        self.pay(&back, Debt::Update).await?;
        Ok(self.ledger.restore_server_key(uid, number(key)?, RESTORABLE_DAYS).await?)
    }

    pub(super) async fn restarted(&self, key: &KeyId, workload: &str) -> Result<(), BackendError> {
        Ok(self.ledger.record_server_key_restart(number(key)?, workload).await?)
    }

    pub(super) async fn set_enabled(&self, uid: &str, enabled: bool) -> Result<(), BackendError> {
        Ok(self.ledger.ask_server_keys(uid, Some(enabled), None).await?)
    }

    pub(super) async fn set_rate_limit(&self, uid: &str, limit: Option<RateLimit>) -> Result<(), BackendError> {
        Ok(self.ledger.ask_server_keys(uid, None, Some(limit)).await?)
    }

    /// In the ledger: the project's pass takes them back at the server.
    pub(super) async fn end_all(&self, client_key_uid: &str) -> Result<u64, BackendError> {
        Ok(self.ledger.end_server_keys_of(client_key_uid).await?)
    }

    /// What its secret part is, as the server told it.
    pub(super) async fn secret_key(&self, uid: &str, key: &KeyId) -> Result<Option<SecretString>, BackendError> {
        Ok(self.row(uid, key).await?.secret)
    }

    /// Does what the server is owed for the keys of the object: for those that are accepted first.
    pub(super) async fn settle(&self, client_key_uid: &str) -> Result<(), BackendError> {
        let (mut rows, now) = self.ledger.server_keys(&self.place.place, client_key_uid).await?;
        rows.sort_by_key(|row| row.ended_at.is_some());
        self.pay_for(&rows, now).await
    }

    /// What the server is owed for these keys. One with which it does not do so keeps it from none of the others.
    async fn pay_for(&self, rows: &[ServerKeyRow], now: Timestamp) -> Result<(), BackendError> {
        let mut refused = None;
        for row in rows {
            let Some(debt) = debt::owed(row, self.kind, now) else { continue };
            match self.pay(row, debt).await {
                Ok(()) => {}
                Err(error) if error.is_of_one_key() => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn pay(&self, row: &ServerKeyRow, debt: Debt) -> Result<(), BackendError> {
        match self.server()? {
            Server::Sentry(server) => sentry::pay(&self.ledger, server, row, debt).await,
            Server::Gitlab(server) => gitlab::pay(&self.ledger, server, row, debt).await,
        }
    }
}
