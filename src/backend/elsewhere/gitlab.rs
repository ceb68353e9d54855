//! Keys in GitLab: they have no name, no limit and no off. Whose a key is can be told only from the answer that made it: one is
//! asked for at a time, and what an answer that was lost made is claimed by nobody.

use super::Debt;
use crate::{
    backend::{
        BackendError,
        servers::{Gitlab, GitlabKey, ServerError},
    },
    dsn::PublicKey,
    store::{
        Admin,
        admin::{Answer, Begun, LostAnswer, ServerKeyRow},
    },
};

/// Asks for a key at the place. The intent in the ledger ends when the answer is recorded.
pub async fn make(ledger: &Admin, server: &Gitlab, place: &str, client_key_uid: &str) -> Result<Answer, BackendError> {
    let keys = server.keys().await?;
    let there: Vec<_> = keys.iter().map(|key| key.id.to_string()).collect();
    if let Some(lost) = ledger.lost_answer(place, client_key_uid).await? {
        let orphans = orphans(&there, &lost, &ledger.claimed_server_ids(place).await?);
        // The answer came, and only the list has not been looked at since.
        let answered = lost.answered.filter(|_| lost.client_key_uid == client_key_uid);
        let is_answered = |key: &GitlabKey| answered.as_ref() == Some(&key.public);
        if let Some(key) = keys.into_iter().find(|key| is_answered(key) && orphans.contains(&key.id.to_string())) {
            return Ok(answer(key));
        }
        ledger.give_answer_up(place, &orphans).await?;
    }
    if ledger.begin_server_key(place, client_key_uid, &there).await? == Begun::Busy {
        return Err(BackendError::Busy);
    }
    match server.make().await {
        Ok(key) if there.contains(&key.id.to_string()) => {
            Err(ServerError::NotUnderstood { what: "a new key, which has the id of an old one" }.into())
        }
        Ok(key) => {
            ledger.record_key_answered(place, client_key_uid, &key.public).await?;
            let is_there = |there: &GitlabKey| there.id == key.id && there.public == key.public;
            if !server.keys().await?.iter().any(is_there) {
                return Err(ServerError::NotUnderstood { what: "a key that it has made" }.into());
            }
            Ok(answer(key))
        }
        Err(error) => {
            if error.is_refusal() {
                ledger.end_intent(place).await?;
            }
            Err(error.into())
        }
    }
}

/// What an answer made that was lost a while ago, whoever waited for it, is claimed by nobody.
pub async fn give_up_lost_answer(ledger: &Admin, place: &str, there: &[String]) -> Result<(), BackendError> {
    let Some(lost) = ledger.lost_answer(place, "").await? else { return Ok(()) };
    let claimed = ledger.claimed_server_ids(place).await?;
    Ok(ledger.give_answer_up(place, &orphans(there, &lost, &claimed)).await?)
}

fn orphans(there: &[String], lost: &LostAnswer, claimed: &[String]) -> Vec<String> {
    there.iter().filter(|id| !lost.known.contains(id) && !claimed.contains(id)).cloned().collect()
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
