//! What a project does at its server besides the passes of its keys: it looks whether the keys are there as they should be,
//! and takes back what objects that are gone have left.

use std::collections::BTreeMap;

use super::{Elsewhere, Server, debt, gitlab, sentry};
use crate::{backend::BackendError, crd::ServerKind, store::admin::ServerKeyRow};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Namespace and name of each `ClientKey` whose key is not there as it should be.
    pub touched: Vec<(String, String)>,
    /// Ids at the server that appeared while an answer was lost, and that nobody claims.
    pub orphans: Vec<String>,
    /// Keys that have ended and that the token may not delete.
    pub undeletable: usize,
}

impl Elsewhere {
    /// Whether keys that have ended are still to be taken back there.
    pub async fn owes(&self) -> Result<bool, BackendError> {
        let (ended, now) = (self.ledger.ended_server_keys(&self.place.place).await?, jiff::Timestamp::now());
        Ok(ended.iter().any(|row| debt::owed(row, self.kind, now).is_some()))
    }

    /// Takes back what has ended, whoever's it was.
    pub async fn take_back(&self) -> Result<(), BackendError> {
        let ended = self.ledger.ended_server_keys(&self.place.place).await?;
        self.pay_for(&ended, jiff::Timestamp::now()).await
    }

    /// As [`Self::take_back`], of the keys of a project's object that goes.
    pub async fn take_all_back(&self) -> Result<(), BackendError> {
        self.ledger.end_server_keys_of(&self.place.project_uid).await?;
        self.take_back().await
    }

    /// Whether the ledger has ids that nobody claims, and that are not said to be there.
    pub async fn has_more_orphans(&self, said: &Upkeep) -> Result<bool, BackendError> {
        if self.kind == ServerKind::Sentry {
            return Ok(false);
        }
        let orphans = self.ledger.known_server_key_orphans(&self.place.place).await?;
        Ok(orphans.iter().any(|id| !said.orphans.contains(id)))
    }

    /// Compares the keys that the server has with those that the ledger has.
    pub async fn compare(&self) -> Result<Upkeep, BackendError> {
        let living = self.ledger.living_server_keys(&self.place.place).await?;
        let mut found = Upkeep::default();
        match self.server()? {
            Server::Sentry(server) => {
                let keys = server.keys().await?;
                let by_id: BTreeMap<_, _> = keys.iter().map(|key| (key.id.as_str(), key)).collect();
                for row in living {
                    let id = row.server_id.as_deref().unwrap_or_default();
                    match by_id.get(id) {
                        None => self.lost(&row, &mut found).await?,
                        Some(key) if sentry::differs(&row, key) => {
                            let wanted = row.limit_refused_at.map_or(row.rate_limit, |_| key.limit);
                            self.ledger.record_answer(row.key_id, &sentry::answer((*key).clone(), wanted)).await?;
                            found.touch(&row);
                        }
                        Some(_) => {}
                    }
                }
            }
            Server::Gitlab(server) => {
                let keys = server.keys().await?;
                let ids: Vec<_> = keys.iter().filter(|key| key.active).map(|key| key.id.to_string()).collect();
                for row in living {
                    if !ids.iter().any(|id| Some(id) == row.server_id.as_ref()) {
                        self.lost(&row, &mut found).await?;
                    }
                }
                let there: Vec<_> = keys.iter().map(|key| key.id.to_string()).collect();
                gitlab::give_up_lost_answer(&self.ledger, &self.place.place, &there).await?;
                found.orphans = self.ledger.server_key_orphans(&self.place.place, &there).await?;
            }
        }
        let ended = self.ledger.ended_server_keys(&self.place.place).await?;
        found.undeletable = ended.iter().filter(|row| row.delete_refused_at.is_some()).count();
        Ok(found)
    }

    /// Somebody deleted it there. A Sentry makes the same key again; with GitLab it has ended.
    async fn lost(&self, row: &ServerKeyRow, found: &mut Upkeep) -> Result<(), BackendError> {
        self.ledger.record_gone(row.key_id, self.kind == ServerKind::Gitlab).await?;
        found.touch(row);
        Ok(())
    }
}

impl Upkeep {
    fn touch(&mut self, row: &ServerKeyRow) {
        self.touched.push((row.namespace.clone(), row.name.clone()));
    }
}
