//! The backend that a project's spec names, as the operator reaches it now.

use super::{Database, DatabaseState, Databases, Unavailable};
use crate::{
    backend::{Backend, Elsewhere, Integrated},
    crd::ErrorTrackingProject,
    store::admin::Place,
};

/// What is known of a project's backend now.
#[derive(Clone, Debug)]
pub enum BackendState {
    Ready(Box<Backend>),
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
    /// The keys of a project that goes: at the server that answered last, whatever has become of the token since.
    #[must_use]
    pub fn leaving(&self, project: &ErrorTrackingProject) -> Option<Elsewhere> {
        let BackendState::Ready(backend) = self.backend_of(project) else { return None };
        let Backend::Elsewhere(elsewhere) = *backend else { return None };
        Some(match self.servers.last(project) {
            Some(server) => elsewhere.at(server),
            None => elsewhere,
        })
    }

    /// Where the project's keys are.
    #[must_use]
    pub fn backend_of(&self, project: &ErrorTrackingProject) -> BackendState {
        let state = self.of_project(project);
        if let (Some(reference), DatabaseState::Ready(own)) = (project.server(), &state) {
            let project_uid = project.metadata.uid.clone().unwrap_or_default();
            let place = Place { place: reference.place(), project_uid };
            let (server, _) = self.servers.state(project, reference);
            let elsewhere = Elsewhere::new(own.admin.clone(), place, reference.kind(), server);
            return BackendState::Ready(Box::new(Backend::Elsewhere(elsewhere)));
        }
        match state {
            DatabaseState::Connecting => BackendState::Unavailable(Unavailable::Connecting),
            DatabaseState::Ready(database) => BackendState::Ready(Box::new(database.backend())),
            DatabaseState::Migrating(error) => BackendState::Unavailable(Unavailable::Migrating(error)),
            DatabaseState::Unavailable(error) => BackendState::Unavailable(Unavailable::NotConnected(error)),
        }
    }
}
