//! The login of a project's ingest pods. Postgres and the Secret must agree, and no pod is refused while it changes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Resource;
use secrecy::{ExposeSecret, SecretString};

use super::{
    ProjectPass, children,
    names::database_secret_name,
    plan::{CatalogRow, Observed},
    scale,
};
use crate::{
    dsn::{ProjectId, hex},
    operator::{
        databases::{self, Database},
        kinds::failure::{Failure, Unmet},
        objects::{
            EventReason, apply,
            child::{ChildKind, secret_value, written_by_others},
        },
    },
    store::admin::{PodGrant, password_digest},
};

/// Shorter ones were not made by us.
const PASSWORD_LENGTH: usize = 32;

/// Whether the time of the project's login is over. Logins that were made together are replaced over the last tenth of
/// their time, by the numbers of their projects.
pub(super) fn is_due(id: ProjectId, since: Option<Timestamp>, lifetime: Duration, now: Timestamp) -> bool {
    let Some(since) = since.filter(|_| !lifetime.is_zero()) else { return false };
    let early = lifetime / 970 * u32::try_from(id.get() * 31 % 97).unwrap_or(0);
    SignedDuration::try_from(lifetime.saturating_sub(early)).is_ok_and(|time| now.duration_since(since) >= time)
}

impl ProjectPass<'_> {
    /// Lets the login have the sessions of the pods that the spec asks for.
    pub(super) async fn grant_pods(
        &self,
        observed: &Observed,
        database: &Database,
        id: ProjectId,
    ) -> Result<(), Failure> {
        let state = database.admin.observe_project(id).await?;
        let granted = state.and_then(|state| state.ingest_pods);
        let pods = scale::pods_to_serve(self.project.scale(), &observed.rollout, granted);
        // A database of their own is theirs to fill.
        let limit = match self.project.database_secret() {
            None => self.context.limits.ingest_pods_per_namespace,
            Some(_) => None,
        };
        match (database.admin.grant_pods(id, pods, limit).await?, limit) {
            (PodGrant::Refused { others }, Some(limit)) => {
                Err(Unmet::Pods { namespace: self.namespace.clone(), pods, others, limit }.into())
            }
            _ => Ok(()),
        }
    }

    /// Publishes the login. A login that we wrote into the Secret stays, because pods use it and a restore may have
    /// removed it from Postgres. Otherwise a new one is made, and Postgres takes the former one for some minutes more.
    pub(super) async fn publish_login(
        &mut self,
        observed: &Observed,
        database: &Database,
        id: ProjectId,
    ) -> Result<(), Failure> {
        let (role, password) = if let Some((role, password)) = database.shared_login() {
            database.admin.share_login(id, role, password).await?;
            (role.to_owned(), password.clone())
        } else if let Some((role, password)) = self.published_login(database, id).await?
            && !matches!(&observed.database, CatalogRow::Known(known) if known.login_due)
        {
            let in_use = observed.database.password() == Some(&hex(&password_digest(&password)));
            if !in_use || self.role.as_ref() != Some(&role) {
                database.admin.restore_ingest_role(id, &role, &password).await?;
            }
            (role, password)
        } else {
            let password = databases::random_password();
            (database.admin.ensure_ingest_role(id, &password).await?, password)
        };
        let secret = children::database_secret(self.project, &database.address, &role, &password);
        self.role = Some(role);
        if self.ensure(&secret).await? {
            let note = format!("Secret {} holds the login of the ingest pods.", secret.name);
            self.context.events.announce(self.project, EventReason::LoginPublished, &note);
        }
        Ok(())
    }

    /// The login in the live Secret, ahead of the cache, if it is one of the project's and nobody else wrote it.
    async fn published_login(
        &self,
        database: &Database,
        id: ProjectId,
    ) -> Result<Option<(String, SecretString)>, Failure> {
        let name = database_secret_name(&self.name);
        let owner = self.project.controller_owner_ref(&()).unwrap_or_default();
        let live =
            apply::read_inherited(&self.context.client, ChildKind::Secret, &self.namespace, &name, &owner).await?;
        let Some(live) =
            live.filter(|live| !written_by_others(live, "password") && !written_by_others(live, "username"))
        else {
            return Ok(None);
        };
        let (role, password) = (secret_value(&live, "username"), secret_value(&live, "password"));
        let (Some(role), Some(password)) = (role, password) else { return Ok(None) };
        let role = role.expose_secret().to_owned();
        let ours = database.admin.installation().ingest_roles(id).contains(&role)
            && password.expose_secret().len() >= PASSWORD_LENGTH;
        Ok(ours.then_some((role, password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_one_day_are_replaced_over_the_last_tenth_of_their_time() {
        let (since, lifetime) = (Timestamp::UNIX_EPOCH, Duration::from_hours(1000));
        let due = |number, hours: i64, lifetime| {
            let now = since + SignedDuration::from_hours(hours);
            is_due(ProjectId::new(number).unwrap(), Some(since), lifetime, now)
        };
        let due_by = |hours| (1..=100).filter(|number| due(*number, hours, lifetime)).count();
        assert_eq!((due_by(899), due_by(1000)), (0, 100));
        assert!((40..60).contains(&due_by(950)), "{}", due_by(950));
        assert!(!due(1, 1_000_000, Duration::ZERO), "0s: never");
        assert!(!is_due(ProjectId::new(1).unwrap(), None, lifetime, Timestamp::MAX), "nothing is known of it");
    }
}
