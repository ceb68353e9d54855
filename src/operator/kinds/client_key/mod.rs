//! `ClientKey`: observe, plan, apply, and say how it went in the status.

#[cfg(test)]
pub(super) mod health_states;
mod identity;
mod plan;
mod secret;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt,
    api::{DynamicObject, ObjectMeta},
};

use self::plan::{Active, Observed, Project, Step};
use super::{Context, caches::Cached, failure::Failure, limits, project::internal_url, warnings::warnings};
use crate::{
    crd::{ActiveKey, ClientKey, Endpoint, FINALIZER, KeyDeletionPolicy, Reason},
    dsn::{Dsn, ProjectId, PublicKey},
    operator::{
        cluster::{Guarded, cache::Cache},
        databases::{DatabaseState, tombstones::Tombstone},
        engine::{
            controller::{Action, PassFailed},
            pass::{self, Pass},
        },
        objects::{
            ApplyError, apply,
            child::{ChildKind, Drift, Ownership, holder, ownership},
        },
    },
    protocol::settings::RateLimit,
    store::admin::KeyRow,
};

/// One pass.
pub async fn reconcile(key: Arc<Guarded<ClientKey>>, context: Arc<Context>) -> Result<Action, PassFailed> {
    let key = match &key.0 {
        Ok(key) => key,
        Err(invalid) => {
            if invalid.metadata.deletion_timestamp.is_some() {
                let project = project_of_invalid(&invalid.metadata, &context);
                return finish(&invalid.metadata, KeyDeletionPolicy::Revoke, None, &project, &context).await;
            }
            let reported = context.statuses.report_invalid::<ClientKey>(&invalid.metadata, &invalid.error).await;
            return pass::finished(reported.map_err(Failure::from));
        }
    };
    if key.metadata.deletion_timestamp.is_some() {
        let secret = Some(key.secret_name());
        let project = &key.spec.project_ref.name;
        return finish(&key.metadata, key.spec.deletion_policy, secret, project, &context).await;
    }
    super::run(key, KeyPass::new(key, &context), &context).await
}

/// One pass over one key.
struct KeyPass<'a> {
    key: &'a ClientKey,
    context: &'a Context,
    namespace: String,
    name: String,
    uid: String,
    /// Added in this pass, so the cached object does not show it yet.
    finalizer_added: bool,
    rows: Vec<KeyRow>,
    /// The Secret as the API server answered it in this pass, ahead of the cache.
    written: Option<Arc<DynamicObject>>,
}

impl<'a> KeyPass<'a> {
    fn new(key: &'a ClientKey, context: &'a Context) -> Self {
        Self {
            key,
            context,
            namespace: key.namespace().unwrap_or_default(),
            name: key.name_any(),
            uid: key.uid().unwrap_or_default(),
            finalizer_added: false,
            rows: Vec::new(),
            written: None,
        }
    }

    fn active(&self) -> Option<&KeyRow> {
        self.rows.iter().rev().find(|row| !row.revoked)
    }

    /// The database of the key's project, while there is one.
    fn database(&self) -> DatabaseState {
        let project = self.context.caches.project(&self.namespace, &self.key.spec.project_ref.name);
        match project.as_ref().map(|project| &project.0) {
            Some(Ok(project)) => self.context.databases.of_project(project),
            _ => self.context.databases.own(),
        }
    }

    /// `None` when the key asks for the project's external URL, and it has none.
    fn dsn(&self, project_id: ProjectId, public_key: &PublicKey) -> Option<Dsn> {
        Some(Dsn { endpoint: self.endpoint()?, public_key: public_key.clone(), project_id })
    }

    fn endpoint(&self) -> Option<String> {
        let name = &self.key.spec.project_ref.name;
        match self.key.spec.endpoint {
            Endpoint::Internal => Some(internal_url(&self.namespace, name)),
            Endpoint::External => self.context.caches.project(&self.namespace, name)?.0.as_ref().ok()?.external_url(),
        }
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        let limit = self.key.spec.rate_limit.as_ref()?;
        Some(RateLimit { events: u32::try_from(limit.events).ok()?, window_seconds: limit.window.seconds() })
    }

    /// The most keys that the namespace may have, when this one is past it.
    fn past_limit(&self) -> Option<u32> {
        let limit = self.context.guards.max_keys_per_namespace?;
        // A look at every key of the cluster, which only a new one needs.
        let has_key = self.active().is_some() || self.key.status.as_ref().is_some_and(|status| status.active.is_some());
        let exceeded =
            || self.context.caches.keys.cache.summaries(|all| limits::exceeded(&self.key.metadata, all, limit));
        (!has_key && exceeded()).then_some(limit)
    }
}

impl Pass for KeyPass<'_> {
    type Observed = Observed;
    type Step = Step;
    type Failure = Failure;

    const CONTROLLER: &'static str = "clientkey";
    // Finalizer, key and Secret, nothing.
    const ROUNDS: usize = 3;

    async fn observe(&mut self) -> Result<Observed, Failure> {
        let project = self.look_up().await?;
        let live = self
            .written
            .clone()
            .or_else(|| self.context.caches.child(ChildKind::Secret, &self.namespace, &self.key.secret_name()));
        let dsn = match (&project, self.active()) {
            (Project::Known(id), Some(row)) => self.dsn(*id, &row.public_key).map(|dsn| (row, dsn)),
            _ => None,
        };
        let secret = match (dsn, live) {
            (Some((row, dsn)), live) => self.context.children.drift(&secret::desired(self.key, row, &dsn), live),
            // Without the key row or the URL nothing says what the Secret should hold; one of ours is believed.
            (None, Some(live)) => match ownership(&live, &self.key.controller_owner_ref(&()).unwrap_or_default()) {
                Ownership::Ours => Drift::None,
                // Said once it matters: without its project the key has another trouble.
                Ownership::Foreign if matches!(project, Project::Known(_)) => Drift::Foreign,
                Ownership::Foreign | Ownership::Predecessor => Drift::Absent,
            },
            (None, None) => Drift::Absent,
        };
        Ok(Observed {
            has_finalizer: self.finalizer_added || self.key.finalizers().iter().any(|name| name == FINALIZER),
            enabled: self.key.spec.enabled,
            rate_limit: self.rate_limit(),
            active: self.active().map(|row| Active {
                key_id: row.key_id,
                enabled: row.enabled,
                rate_limit: row.rate_limit,
            }),
            secret,
            no_external_url: matches!(project, Project::Known(_)) && self.endpoint().is_none(),
            past_limit: self.past_limit(),
            project,
        })
    }

    fn plan(observed: &Observed) -> Vec<Step> {
        plan::plan(observed)
    }

    fn obstacle(&self, observed: &Observed) -> Option<Failure> {
        if let Some(limit) = plan::turned_away(observed) {
            return Some(Failure::Unmet {
                reason: Reason::LimitExceeded,
                message: format!(
                    "Namespace {} has reached its limit of client keys ({limit}): delete an older one, or ask the platform \
                     team for a higher limit.",
                    self.namespace
                ),
            });
        }
        if observed.no_external_url {
            return Some(Failure::Unmet {
                reason: Reason::NoExternalUrl,
                message: format!(
                    "spec.endpoint is External, and ErrorTrackingProject {} has no external URL: set externalURL, ingress or \
                     gateway in its spec.backend.integrated.ingest, or use endpoint: Internal here.",
                    self.key.spec.project_ref.name
                ),
            });
        }
        let (kind, name) = (ChildKind::Secret, self.key.secret_name());
        match observed.secret {
            Drift::Foreign => Some(Failure::Conflict {
                holder: self.context.caches.child(kind, &self.namespace, &name).as_deref().and_then(holder),
                kind,
                name,
            }),
            Drift::Leaving => Some(ApplyError::Leaving { kind, name }.into()),
            Drift::None | Drift::Absent | Drift::Changed => None,
        }
    }

    fn waits(observed: &Observed) -> bool {
        !matches!(observed.project, Project::Known(_))
    }

    fn name(step: Step) -> &'static str {
        step.as_str()
    }

    async fn perform(&mut self, observed: &Observed, step: Step) -> Result<(), Failure> {
        if step == Step::AddFinalizer {
            self.context.statuses.set_finalizer::<ClientKey>(&self.key.metadata, true).await?;
            self.finalizer_added = true;
            return Ok(());
        }
        let (DatabaseState::Ready(database), Project::Known(project)) = (self.database(), observed.project.clone())
        else {
            return Err(Failure::Waiting("Postgres went away during the pass".into()));
        };
        match step {
            Step::AddFinalizer => {}
            Step::Mint => self.mint(&database, project).await?,
            Step::SetEnabled(enabled) => {
                if let Some(row) = self.active() {
                    database.admin.set_key_enabled(row.key_id, enabled).await?;
                }
                let note =
                    if enabled { "Events with the key are accepted." } else { "Events with the key are refused." };
                self.context.events.announce(self.key, if enabled { "KeyEnabled" } else { "KeyDisabled" }, note);
            }
            Step::SetRateLimit(limit) => {
                if let Some(row) = self.active() {
                    database.admin.set_key_rate_limit(row.key_id, limit).await?;
                }
            }
            Step::PublishSecret => {
                let Some(row) = self.active() else { return Ok(()) };
                let Some(dsn) = self.dsn(project, &row.public_key) else { return Ok(()) };
                let desired = secret::desired(self.key, row, &dsn);
                let ensured = self.context.children.ensure(&desired).await?;
                self.written = Some(Arc::new(ensured.live));
                if ensured.written {
                    let note = format!("Secret {} holds SENTRY_DSN.", desired.name);
                    self.context.events.announce(self.key, "SecretPublished", &note);
                }
            }
        }
        Ok(())
    }

    async fn write_status(&self, observed: &Observed, failure: Option<&Failure>) -> Result<(), Failure> {
        let before = self.key.newest_status(&self.context.caches);
        let active = self.active().map(|row| ActiveKey {
            key_id: row.key_id.to_string(),
            public_key_prefix: row.public_key.prefix().into(),
            created_at: Time(Timestamp::from_second(row.created_at.as_second()).unwrap_or(row.created_at)),
        });
        let view = status::View { key: self.key, before: &before, observed, active, failure };
        let status = status::build(&view, Timestamp::now());
        if before == status {
            return Ok(());
        }
        for warning in warnings(&before.conditions, &status.conditions) {
            self.context.events.warn(self.key, &warning.reason, &warning.message);
        }
        Ok(self.context.statuses.write(&self.context.caches.keys.cache, self.key, &status).await?)
    }
}

/// The project that a key names which cannot be read; empty: it names none.
fn project_of_invalid(key: &ObjectMeta, context: &Context) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    refers_to(&context.caches.keys.cache, &text(&key.namespace), &text(&key.name)).unwrap_or_default()
}

/// Secret of the project's own database, if it has one; `None` when the project is gone. A project that cannot be read
/// says that much.
#[expect(clippy::option_option, reason = "no project, and a project without a database of its own")]
fn project_database(namespace: &str, project: &str, context: &Context) -> Option<Option<String>> {
    if let Ok(project) = &context.caches.project(namespace, project)?.0 {
        return Some(project.database_secret().map(str::to_owned));
    }
    let secret = refers_to(&context.caches.projects.cache, namespace, project)?;
    Some(Some(secret).filter(|secret| !secret.is_empty()))
}

/// What an object refers to that cannot be read.
fn refers_to(cache: &Cache, namespace: &str, name: &str) -> Option<String> {
    cache.summaries(|all| {
        all.filter(|(of, _)| (&*of.namespace, &*of.name) == (namespace, name))
            .map(|(_, summary)| summary.refers_to.to_string())
            .next()
    })
}

/// Revokes the key, or lets it live on with its Secret, and lets the object go. What Postgres cannot do now becomes
/// a tombstone: an object never waits for a database. The Secret of a key that cannot be read is left to garbage
/// collection.
async fn finish(
    key: &ObjectMeta,
    policy: KeyDeletionPolicy,
    secret: Option<String>,
    project: &str,
    context: &Context,
) -> Result<Action, PassFailed> {
    if !key.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    pass::finished(finish_steps(key, policy, secret, project, context).await)
}

async fn finish_steps(
    key: &ObjectMeta,
    policy: KeyDeletionPolicy,
    secret: Option<String>,
    project: &str,
    context: &Context,
) -> Result<(), Failure> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (namespace, name, uid) = (text(&key.namespace), text(&key.name), text(&key.uid));
    let secret = secret.unwrap_or_default();
    match policy {
        KeyDeletionPolicy::Orphan => {
            let orphaned = apply::orphan(&context.client, ChildKind::Secret, &namespace, &secret, &uid);
            pass::step(&context.metrics, "clientkey", "orphan", orphaned).await?;
        }
        KeyDeletionPolicy::Revoke => {
            let tombstone = match project_database(&namespace, project, context) {
                Some(database) => Tombstone::client_key(&uid, &namespace, &name, database),
                None => Tombstone::client_key_of(&uid, &namespace, &name, project),
            };
            pass::step(
                &context.metrics,
                "clientkey",
                "revoke",
                Box::pin(context.tombstones.settle_or_record(&context.databases, &tombstone)),
            )
            .await?;
            if !secret.is_empty() {
                let deleted = apply::delete(&context.client, ChildKind::Secret, &namespace, &secret, &uid);
                pass::step(&context.metrics, "clientkey", "delete-secret", deleted).await?;
            }
        }
    }
    let freed = context.statuses.set_finalizer::<ClientKey>(key, false);
    pass::step(&context.metrics, "clientkey", "remove-finalizer", freed).await?;
    context.children.forget(&namespace, &secret);
    Ok(())
}
