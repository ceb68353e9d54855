//! Whether the namespace may have the project.

use super::ProjectPass;
use crate::{
    crd::ErrorTrackingProject,
    operator::{
        databases::DatabaseState,
        kinds::{failure::Failure, limits},
        objects::apply,
    },
};

impl ProjectPass<'_> {
    /// Looks for retained projects of the namespace, which count as those that are there: a new one waits for the answer.
    pub(super) async fn count_retained(&mut self) -> Result<(), Failure> {
        if self.context.limits.projects_per_namespace.is_none() || self.id.is_some() {
            return Ok(());
        }
        let DatabaseState::Ready(own) = self.context.databases.own() else { return Ok(()) };
        let namespace_uid = apply::namespace_uid(&self.context.client, &self.namespace).await?;
        self.retained = own.admin.retained_in(&namespace_uid, &self.name).await?;
        Ok(())
    }

    /// The most projects that the namespace may have, when this one is past it.
    pub(super) fn past_limit(&self) -> Option<u32> {
        let limit = self.context.limits.projects_per_namespace?;
        let room = limit.saturating_sub(self.retained);
        // A look at every project of the cluster, which only a new one needs.
        let has_number = self.project.status.as_ref().is_some_and(|status| status.project_id.is_some());
        let projects = self.context.caches.of::<ErrorTrackingProject>().cache;
        let exceeded = || projects.summaries(|all| limits::exceeded(&self.project.metadata, all, room));
        (self.id.is_none() && !has_number && exceeded()).then_some(limit)
    }
}
