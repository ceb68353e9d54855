//! Connections to Postgres: the operator's own database and those that projects name; and tombstones, the debts of
//! deleted objects there. A Secret comes in; a database that answers, or the cause why it does not, goes out. The
//! kinds and the jobs call it, and the commands for the list of tombstones and of projects.

mod backend;
mod database;
mod error;
mod hosts;
mod keeper;
mod login;
mod projects;
pub mod reach;
mod servers;
pub mod tombstones;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::{
    backend::BackendState,
    database::{Database, DatabaseAddress, DatabaseState},
    error::{ConnectError, Unavailable},
    hosts::AllowedHosts,
    keeper::{DatabaseOwner, Keeper, Secrets, keep},
    login::random_password,
    projects::{Dependents, Keeping, ProjectDatabases, SecretName},
    servers::{FRESH, Seen, Servers},
};
use crate::{
    crd::{DeletionPolicy, ErrorTrackingProject},
    store::admin,
};

/// Every database that the operator uses. Clones share them.
#[derive(Clone)]
pub struct Databases {
    own: watch::Receiver<DatabaseState>,
    /// Installation of the own database that was reached last, which owes what a deletion leaves.
    installation: Arc<Mutex<Option<String>>>,
    pub projects: ProjectDatabases,
    /// Servers that keep the keys of projects.
    pub servers: Servers,
}

impl Databases {
    #[must_use]
    pub fn new(own: watch::Receiver<DatabaseState>, servers: Servers) -> Self {
        Self { own, installation: Arc::default(), projects: ProjectDatabases::default(), servers }
    }

    /// The operator's own.
    #[must_use]
    pub fn own(&self) -> DatabaseState {
        let state = self.own.borrow().clone();
        if let DatabaseState::Ready(database) = &state {
            let mut installation = self.installation.lock();
            let reached = database.admin.installation().as_str();
            if installation.as_deref() != Some(reached) {
                *installation = Some(reached.to_owned());
            }
        }
        state
    }

    /// Tells of each change of the operator's own.
    #[must_use]
    pub fn own_changes(&self) -> watch::Receiver<DatabaseState> {
        self.own.clone()
    }

    /// The one that the project's events are in.
    #[must_use]
    pub fn of_project(&self, project: &ErrorTrackingProject) -> DatabaseState {
        match project.database_secret() {
            Some(secret) => self.projects.state(project.metadata.namespace.as_deref().unwrap_or_default(), secret),
            None => self.own(),
        }
    }

    /// Installation of the own database that was reached last.
    #[must_use]
    pub fn last_installation(&self) -> Option<String> {
        self.installation.lock().clone()
    }
}

impl From<DeletionPolicy> for admin::DeletionPolicy {
    fn from(policy: DeletionPolicy) -> Self {
        match policy {
            DeletionPolicy::Retain => Self::Retain,
            DeletionPolicy::Delete => Self::Delete,
        }
    }
}
