//! Keys in a Sentry: they have a public key that we choose, and a label.

use super::Debt;
use crate::{
    backend::{
        BackendError,
        servers::{Sentry, SentryKey, ServerError},
    },
    dsn::PublicKey,
    settings::RateLimit,
    store::{
        Admin,
        admin::{Answer, ServerKeyRow},
    },
};

/// What keys that an operator makes are called begins with it.
const LABEL: &str = "et-";

pub async fn pay(ledger: &Admin, server: &Sentry, row: &ServerKeyRow, debt: Debt) -> Result<(), BackendError> {
    match debt {
        Debt::Make => make(ledger, server, row).await,
        Debt::Update => {
            let Some(id) = &row.server_id else { return make(ledger, server, row).await };
            update(ledger, server, row, id, row.enabled && row.ended_at.is_none(), row.rate_limit).await
        }
        Debt::Refuse => {
            let found = match &row.server_id {
                Some(id) => Some(id.clone()),
                // The answer to the question for it was lost.
                None => find(ledger, server, row).await?.map(|key| key.id),
            };
            match found {
                Some(id) => update(ledger, server, row, &id, false, row.server_limit).await,
                None => gone(ledger, server, row).await,
            }
        }
        Debt::Delete => {
            let id = row.server_id.as_deref().unwrap_or_default();
            match server.delete(id).await {
                Ok(()) if server.key(id).await?.is_some() => {
                    Err(ServerError::NotUnderstood { what: "the deletion of a key" }.into())
                }
                Ok(()) => gone(ledger, server, row).await,
                Err(ServerError::Forbidden { .. }) => Ok(ledger.record_delete_refused(row.key_id).await?),
                Err(error) => Err(error.into()),
            }
        }
        Debt::AskUse => {
            let id = row.server_id.as_deref().unwrap_or_default();
            let used = server.last_use(id).await?;
            Ok(ledger.record_server_key_use(row.key_id, used).await?)
        }
    }
}

async fn make(ledger: &Admin, server: &Sentry, row: &ServerKeyRow) -> Result<(), BackendError> {
    let found = if row.asked_at.is_some() { find(ledger, server, row).await? } else { None };
    let key = if let Some(found) = found {
        found
    } else {
        ledger.record_asked(row.key_id).await?;
        let label = label(ledger, row);
        let made = match server.make(row.public_key.as_str(), &label, row.rate_limit).await {
            Ok(made) => made,
            Err(error) => {
                // To look for a key that was not made would cost a call for every ten keys of the project.
                if error.is_refusal() {
                    ledger.record_not_asked(row.key_id).await?;
                }
                return Err(error.into());
            }
        };
        if made.public == row.public_key {
            made
        } else {
            // A server that chooses keys itself has it; an answer about another key does not make it one of ours.
            let there = server.key(&made.id).await?.filter(|key| key.label == label && key.public == made.public);
            there.ok_or(ServerError::NotUnderstood { what: "the key that was asked for" })?
        }
    };
    let wanted = row.rate_limit;
    Ok(ledger.record_answer(row.key_id, &answer(key, wanted)).await?)
}

async fn update(
    ledger: &Admin,
    server: &Sentry,
    row: &ServerKeyRow,
    id: &str,
    active: bool,
    limit: Option<RateLimit>,
) -> Result<(), BackendError> {
    match server.update(id, active, limit).await {
        Ok(key) if key.active == active => Ok(ledger.record_answer(row.key_id, &answer(key, limit)).await?),
        Ok(_) => Err(ServerError::NotUnderstood { what: "the state of a key that was changed" }.into()),
        // Somebody deleted it: one that lives is made again, with the same public key.
        Err(ServerError::NotFound { .. }) => gone(ledger, server, row).await,
        Err(error) => Err(error.into()),
    }
}

/// Sentry says of a key that is gone what it says of a project that the token cannot see.
async fn gone(ledger: &Admin, server: &Sentry, row: &ServerKeyRow) -> Result<(), BackendError> {
    server.check().await?;
    Ok(ledger.record_gone(row.key_id, false).await?)
}

/// By its public key, or by its label where the server chose another one.
async fn find(ledger: &Admin, server: &Sentry, row: &ServerKeyRow) -> Result<Option<SentryKey>, BackendError> {
    if let Some(key) = server.key(row.public_key.as_str()).await? {
        return Ok(Some(key));
    }
    let label = label(ledger, row);
    Ok(server.keys().await?.into_iter().find(|key| key.label == label))
}

/// What the key is called there: the same in every attempt.
fn label(ledger: &Admin, row: &ServerKeyRow) -> String {
    let uid: String = row.client_key_uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{LABEL}{}-{uid}-{}", ledger.installation(), row.ordinal)
}

/// A key that an operator made: one of somebody else may be named by a Secret, and is none of ours for that.
pub async fn find_public(server: &Sentry, public_key: &PublicKey) -> Result<Option<Answer>, BackendError> {
    let found = server.key(public_key.as_str()).await?.filter(|key| key.label.starts_with(LABEL));
    Ok(found.map(|key| {
        let limit = key.limit;
        answer(key, limit)
    }))
}

/// `wanted`: the limit that the key should have.
pub fn answer(key: SentryKey, wanted: Option<RateLimit>) -> Answer {
    Answer {
        server_id: key.id,
        public_key: key.public,
        dsn: key.dsn,
        secret: key.secret,
        accepted: key.active,
        limit: key.limit,
        limit_refused: key.limit != wanted,
    }
}

/// What a look at all keys of the project tells of one.
#[must_use]
pub fn differs(row: &ServerKeyRow, key: &SentryKey) -> bool {
    row.accepted != key.active || row.server_limit != key.limit
}
