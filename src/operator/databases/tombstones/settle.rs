//! Settles tombstones: does in Postgres what the deletion of the object would have done.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    Successor, Tombstone,
    pages::{BATCH, Record, Tombstones},
};
use crate::{
    backend::BackendError,
    operator::{
        databases::{Database, DatabaseState, Databases},
        objects::ApplyError,
    },
    store::{StoreError, admin},
};

/// Longest work on one tombstone. Dropping a large schema takes seconds.
const SETTLING: Duration = Duration::from_mins(1);
/// Pause between attempts for an object whose namespace is gone.
const HOPELESS: Duration = Duration::from_mins(10);

/// What keeps a tombstone from being settled.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The database that owes it cannot be asked now.
    #[error("waits for {0}")]
    Waiting(String),
}

impl Unsettled {
    /// Another process leads; nothing is to be written any more.
    fn is_fenced(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::Fenced { .. }),
            Self::Backend(error) => error.is_fenced(),
            Self::Apply(_) | Self::Waiting(_) => false,
        }
    }
}

/// Does in Postgres what the deletion of the object asked for. Repeating it changes nothing.
async fn settle(databases: &Databases, tombstone: &Tombstone) -> Result<(), Unsettled> {
    let own = answering(databases.own(), || "the operator's database".into());
    match tombstone {
        Tombstone::Project { uid, namespace, deletion_policy, .. } => {
            let own = own?;
            // Of a project that another server keeps there is nothing else here.
            own.admin.end_server_keys_of(uid).await?;
            let Some((id, location)) = own.admin.locate_object(uid).await? else { return Ok(()) };
            let mut policy = (*deletion_policy).into();
            if let Some(location) = &location {
                let waits = || format!("{}, login of Secret {namespace}/{}", location.server, location.secret);
                let there = answering(databases.projects.state(namespace, &location.secret), waits)?;
                match there.admin.observe_object(uid).await? {
                    // A schema that is dropped because it is empty is not retained here either.
                    Some(state) => policy = there.admin.retire_project_of(state.project_id, uid, policy).await?,
                    // The Secret names another database by now, which would find nothing and take it for done.
                    None if there.server != location.server => return Err(Unsettled::Waiting(waits())),
                    None => {}
                }
            }
            own.admin.retire_project_of(id, uid, policy).await?;
            if location.is_some() && policy == admin::DeletionPolicy::Delete {
                own.admin.record_location(id, None).await?;
            }
        }
        Tombstone::ClientKey { uid, database: Some(secret), .. } => {
            let namespace = tombstone.project_namespace();
            let waits = || format!("the database of Secret {namespace}/{secret}");
            let there = answering(databases.projects.state(namespace, secret), waits)?;
            there.backend().revoke_keys_of(uid).await?;
        }
        Tombstone::ClientKey { uid, project, .. } => {
            let (own, namespace) = (own?, tombstone.project_namespace());
            own.backend().revoke_keys_of(uid).await?;
            own.admin.end_server_keys_of(uid).await?;
            let Some(project) = project else { return Ok(()) };
            let mut waiting = None;
            for secret in own.admin.secrets_of_projects(namespace, project).await? {
                let waits = || format!("the database of Secret {namespace}/{secret}");
                match answering(databases.projects.state(namespace, &secret), waits) {
                    Ok(there) => _ = there.backend().revoke_keys_of(uid).await?,
                    Err(waits) => waiting = Some(waits),
                }
            }
            if let Some(waits) = waiting {
                return Err(waits);
            }
        }
    }
    Ok(())
}

/// Settles the tombstone as far as the new object needs it, and returns whether all of it is settled. Debts in a
/// database that the new object does not use remain, and delay nobody.
async fn settle_before(databases: &Databases, tombstone: &Tombstone, new: &Successor<'_>) -> Result<bool, Unsettled> {
    match tombstone {
        Tombstone::ClientKey { database, project: None, .. }
            if database.as_deref() != new.database
                || database.is_some() && tombstone.project_namespace() != new.database_namespace =>
        {
            return Ok(false);
        }
        Tombstone::Project { uid, namespace, deletion_policy, .. } => {
            let own = answering(databases.own(), || "the operator's database".into())?;
            if let Some((id, location)) = own.admin.locate_object(uid).await?
                && let Some(location) = location
                && (new.database != Some(&*location.secret)
                    || answering(databases.projects.state(namespace, &location.secret), String::new)
                        .is_ok_and(|there| there.server != location.server))
            {
                // The number is given back, or kept, as was asked for.
                own.admin.retire_project_of(id, uid, (*deletion_policy).into()).await?;
                return Ok(false);
            }
        }
        Tombstone::ClientKey { .. } => {}
    }
    match settle(databases, tombstone).await {
        // It was revoked where the new one will be, which answers.
        Err(Unsettled::Waiting(_)) if matches!(tombstone, Tombstone::ClientKey { project: Some(_), .. }) => Ok(false),
        settled => settled.map(|()| true),
    }
}

fn answering(state: DatabaseState, what: impl FnOnce() -> String) -> Result<Arc<Database>, Unsettled> {
    match state {
        DatabaseState::Ready(database) => Ok(database),
        _ => Err(Unsettled::Waiting(what())),
    }
}

/// Whether the present database of the operator owes it. Another one would find nothing and take it for done.
fn is_owed_here(entry: &Record, databases: &Databases) -> bool {
    let DatabaseState::Ready(own) = databases.own() else { return false };
    entry.installation.as_deref().is_none_or(|installation| installation == own.admin.installation().as_str())
}

impl Tombstones {
    /// Does in Postgres what a deletion asks for within `limit`, or records a tombstone. Returns whether it is done. Fails
    /// when this process does not lead any more: then the object must not go.
    pub async fn settle_or_record(
        &self,
        databases: &Databases,
        tombstone: &Tombstone,
        limit: Duration,
    ) -> Result<bool, Unsettled> {
        match timeout(limit, settle(databases, tombstone)).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(fenced)) if fenced.is_fenced() => return Err(fenced),
            Ok(Err(error)) => warn!(%error, "Could not finish a deletion in Postgres; it is done later."),
            Err(_) => warn!(?limit, "Postgres did not answer about a deletion in time; it is done later."),
        }
        self.record_tombstone(tombstone, databases.last_installation()).await?;
        info!("What the object has in Postgres is settled later.");
        Ok(false)
    }

    /// Settles every tombstone that can be settled now.
    pub async fn settle_all(&self, databases: &Databases) -> Result<(), ApplyError> {
        self.read_anew();
        let owed = self.owed().await?;
        let mut silent = BTreeSet::new();
        let mut namespaces = HashMap::new();
        for batch in owed.chunks(BATCH) {
            let mut settled = Vec::new();
            for owed in batch.iter().filter(|(_, entry)| is_owed_here(entry, databases)) {
                let tombstone = &owed.1.tombstone;
                let place = (tombstone.project_namespace(), tombstone.database());
                if silent.contains(&place) || self.is_postponed(tombstone.uid()) {
                    continue;
                }
                match timeout(SETTLING, settle(databases, tombstone)).await {
                    Ok(Ok(())) => {
                        settled.push(owed);
                        info!(%tombstone, "Settled what a deleted object had left in Postgres.");
                    }
                    Err(_) => {
                        warn!(%tombstone, "Postgres did not answer about a tombstone; trying again.");
                        silent.insert(place);
                    }
                    Ok(Err(error)) if self.is_gone(&owed.1, &mut namespaces).await => {
                        if tombstone.database().is_some() && matches!(error, Unsettled::Waiting(_)) {
                            settled.push(owed);
                            info!(%tombstone, "The namespace is gone, and with it the way to the database: its key is forgotten.");
                        } else if self.postpone(tombstone.uid()) {
                            warn!(%tombstone, %error, "Could not settle a tombstone, and its namespace is gone; trying again now and then.");
                        }
                    }
                    Ok(Err(error)) => warn!(%tombstone, %error, "Could not settle a tombstone; trying again."),
                }
            }
            self.remove(&settled).await?;
        }
        Ok(())
    }

    /// Settles the tombstones of objects of this name, before the new one takes over what should be gone.
    pub async fn settle_for(&self, databases: &Databases, new: Successor<'_>) -> Result<(), Unsettled> {
        let owed = self.owed().await?;
        let mut settled = Vec::new();
        for owed in owed.iter().filter(|(_, entry)| entry.tombstone.is_of(&new)) {
            if is_owed_here(&owed.1, databases) && settle_before(databases, &owed.1.tombstone, &new).await? {
                settled.push(owed);
            }
        }
        Ok(self.remove(&settled).await?)
    }

    fn is_postponed(&self, uid: &str) -> bool {
        let retries = self.retries.lock();
        retries.get(uid).is_some_and(|until| *until > Instant::now())
    }

    /// Postpones the tombstone of this uid. Returns whether it is the first time.
    fn postpone(&self, uid: &str) -> bool {
        let mut retries = self.retries.lock();
        retries.insert(uid.to_owned(), Instant::now() + HOPELESS).is_none()
    }
}
