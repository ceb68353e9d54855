//! Keys in GitLab: they have no name, no limit and no off. Whose a key is can be told only from the answer that made it: one is
//! asked for at a time, and what an answer that was lost made is claimed by nobody.

use std::collections::BTreeSet;

use super::Debt;
use crate::{
    backend::{
        BackendError,
        servers::{Gitlab, GitlabKey, ServerError},
    },
    dsn::PublicKey,
    store::{
        Admin,
        admin::{Answer, Begun, ServerKeyRow},
    },
};

/// Asks for a key at the place. The intent in the ledger ends when the answer is recorded.
pub async fn make(
    ledger: &Admin,
    server: &Gitlab,
    place: &str,
    client_key_uid: &str,
    ordinal: i32,
) -> Result<Answer, BackendError> {
    let there: Vec<_> = server.keys().await?.into_iter().map(|key| key.id.to_string()).collect();
    if let Some(known) = ledger.lost_answer(place, client_key_uid).await? {
        let claimed = ledger.claimed_server_ids(place).await?;
        let spoken_for: BTreeSet<_> = known.iter().chain(&claimed).collect();
        let orphans: Vec<_> = there.iter().filter(|id| !spoken_for.contains(id)).cloned().collect();
        ledger.give_answer_up(place, &orphans).await?;
    }
    if ledger.begin_server_key(place, client_key_uid, ordinal, &there).await? == Begun::Busy {
        return Err(BackendError::Busy);
    }
    match server.make().await {
        Ok(key) if there.contains(&key.id.to_string()) => {
            Err(ServerError::NotUnderstood { what: "a new key, which has the id of an old one" }.into())
        }
        Ok(key) => {
            let is_there = |there: &GitlabKey| there.id == key.id && there.public == key.public;
            if !server.keys().await?.iter().any(is_there) {
                return Err(ServerError::NotUnderstood { what: "a key that it has made" }.into());
            }
            Ok(answer(key))
        }
        Err(error) => {
            if is_refusal(&error) {
                ledger.end_intent(place).await?;
            }
            Err(error.into())
        }
    }
}

/// What has ended is deleted. A key that is not there any more has ended: GitLab makes none a second time.
pub async fn pay(ledger: &Admin, server: &Gitlab, row: &ServerKeyRow, debt: Debt) -> Result<(), BackendError> {
    if debt == Debt::Make {
        return Ok(ledger.record_gone(row.key_id, true).await?);
    }
    if let Some(id) = row.server_id.as_deref().and_then(|id| id.parse().ok()).filter(|_| row.deleted_at.is_none()) {
        server.delete(id).await?;
        // What stands before a server can answer for it, and a feature that is off says of each key that there is none.
        if server.keys().await?.iter().any(|key| key.id == id) {
            return Err(ServerError::NotUnderstood { what: "the deletion of a key" }.into());
        }
    }
    Ok(ledger.record_gone(row.key_id, false).await?)
}

pub async fn find_public(server: &Gitlab, public_key: &PublicKey) -> Result<Option<Answer>, BackendError> {
    let found = server.keys().await?.into_iter().find(|key| key.active && key.public == *public_key);
    Ok(found.map(answer))
}

fn answer(key: GitlabKey) -> Answer {
    Answer {
        server_id: key.id.to_string(),
        public_key: key.public,
        dsn: key.dsn,
        secret: None,
        accepted: key.active,
        limit: None,
        limit_refused: false,
    }
}

/// The server answered, and made nothing.
fn is_refusal(error: &ServerError) -> bool {
    matches!(
        error,
        ServerError::Unauthorized
            | ServerError::Forbidden { .. }
            | ServerError::NotFound { .. }
            | ServerError::FeatureOff
            | ServerError::Limited { .. }
            | ServerError::Rejected { .. }
    )
}
