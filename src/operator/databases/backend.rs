//! The backend that a project's spec names, as the operator reaches it now.

use super::{Database, DatabaseState, Databases, Unavailable};
use crate::{
    backend::{Backend, Integrated},
    crd::ErrorTrackingProject,
};

/// What is known of a project's backend now.
#[derive(Clone, Debug)]
pub enum BackendState {
    Ready(Backend),
    Unavailable(Unavailable),
}

impl Database {
    /// The keys of the projects whose events are in this database.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Backend::Integrated(Integrated::new(self.admin.clone()))
    }
}

impl Databases {
    /// Where the project's keys are.
    #[must_use]
    pub fn backend_of(&self, project: &ErrorTrackingProject) -> BackendState {
        match self.of_project(project) {
            DatabaseState::Connecting => BackendState::Unavailable(Unavailable::Connecting),
            DatabaseState::Ready(database) => BackendState::Ready(database.backend()),
            DatabaseState::Migrating(error) => BackendState::Unavailable(Unavailable::Migrating(error)),
            DatabaseState::Unavailable(error) => BackendState::Unavailable(Unavailable::NotConnected(error)),
        }
    }
}
