//! `ClientKey`: its pass, its deletion and its status. Called by the list of kinds alone.

mod binding;
mod dead_keys;
mod deletion;
mod elsewhere;
mod endpoint;
#[cfg(test)]
mod health_states;
mod held;
mod identity;
mod life;
mod metrics;
mod permission;
mod plan;
mod pod_lists;
mod rotating;
mod secret;
mod secret_key;
mod status;
mod steps;
mod tellings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{Resource, ResourceExt, api::DynamicObject};
use secrecy::SecretString;
use serde_json::{Value, json};

use self::{
    life::Life,
    plan::{Living, Observed, Project, Step},
    rotating::Rotating,
};
pub use self::{metrics::KeyMetrics, pod_lists::PodLists, secret::KEY_ID_ANNOTATION, tellings::Tellings};
use super::{
    Context,
    deletion::{Deleted, Undo},
    failure::{Failure, Unmet, Waiting},
    kind::Kind,
    limits,
    project::internal_url,
    restarts::Restart,
};
use crate::{
    backend::{Backend, DsnSource, Key, Keys},
    crd::{
        ActiveKey, ClientKey, ClientKeyStatus, ConditionType, Endpoint, ErrorTrackingProject, FINALIZER, Reason,
        ServerKind, whole_seconds,
    },
    dsn::Dsn,
    kubernetes::names::CLIENT_KEY_LABEL,
    operator::{
        cluster::cache::{Facts, digest},
        engine::pass::Pass,
        objects::{
            ApplyError, EventReason,
            child::{ChildKind, Drift, Ownership, holder, ownership},
        },
    },
    rotation::Move,
    settings::RateLimit,
};

impl Kind for ClientKey {
    type Status = ClientKeyStatus;
    type Pass<'a> = KeyPass<'a>;

    const NAME: &'static str = "ClientKey";
    const CONTROLLER: &'static str = "clientkey";
    const CHILD_LABEL: &'static str = CLIENT_KEY_LABEL;
    const DEPENDS_ON: Option<&'static str> = Some(ErrorTrackingProject::CONTROLLER);

    fn facts(object: &DynamicObject) -> Facts {
        let project = &object.data["spec"]["projectRef"];
        let name = project["name"].as_str().unwrap_or_default();
        let refers_to = match project["namespace"].as_str() {
            Some(namespace) if !name.is_empty() => format!("{namespace}/{name}").into(),
            _ => name.into(),
        };
        // Since when a key goes on beside the next one.
        let since = object.data["status"]["retiring"]["since"].as_str().and_then(|since| since.parse().ok());
        // What those who bind the key to a runner go by.
        let status = &object.data["status"];
        let outward = [&status["active"]["keyID"], &status["retiring"]["keyID"], &status["secretName"]];
        let outward = digest(outward.map(Value::to_string).concat().as_bytes());
        Facts { refers_to, number: since.map_or(0, Timestamp::as_second), outward, ..Facts::default() }
    }

    /// No object depends on a key.
    fn reduce(object: &mut DynamicObject) {
        object.data = json!({"spec": {"projectRef": object.data["spec"]["projectRef"]}});
    }

    fn known_status(&self) -> Option<&ClientKeyStatus> {
        self.status.as_ref()
    }

    fn pass<'a>(&'a self, context: &'a Context) -> KeyPass<'a> {
        KeyPass::new(self, context)
    }

    fn deletion(deleted: &Deleted<'_, Self>, context: &Context) -> Vec<Undo> {
        deletion::undo(deleted, context)
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    #[cfg(test)]
    fn health_states() -> Vec<super::health_states::HealthState> {
        health_states::all()
    }
}

/// One pass over one key.
pub struct KeyPass<'a> {
    key: &'a ClientKey,
    context: &'a Context,
    namespace: String,
    name: String,
    uid: String,
    /// Added in this pass, so the cached object does not show it yet.
    finalizer_added: bool,
    keys: Keys,
    /// The keys as the last step left them, by its own answer: they are what the next look would show. Those of a decision
    /// keep their places in `keys` until then.
    keys_after_step: Option<Keys>,
    /// The Secret as the API server answered it in this pass, ahead of the cache.
    written: Option<Arc<DynamicObject>>,
    /// When the Secret was written that names its key, by the API server's clock, if that was in this pass.
    written_at: Option<Timestamp>,
    /// The Secret was read for the key that it names.
    secret_read: bool,
    /// What was decided last.
    life: Option<Life>,
    /// The second Secret, ahead of the cache.
    binding: binding::Seen,
    /// Of the active key, if its Secret should hold the deprecated DSN.
    secret_key: Option<SecretString>,
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
            keys: Keys::default(),
            keys_after_step: None,
            written: None,
            written_at: None,
            secret_read: false,
            life: None,
            binding: binding::Seen::default(),
            secret_key: None,
        }
    }

    /// `None` when the key asks for the project's external URL, and it has none, and while another server has not told it.
    fn dsn(&self, key: &Key) -> Option<SecretString> {
        match &key.dsn {
            DsnSource::Whole(dsn) => Some(dsn.clone()),
            DsnSource::Endpoint(project_id) => {
                let (public_key, project_id) = (key.public_key.clone(), *project_id);
                // Whoever has the DSN of a key goes on with it when the project's URL is another one.
                let recorded = key.endpoint.clone().filter(|_| self.key.spec.endpoint == Endpoint::External);
                Some(Dsn { endpoint: recorded.or_else(|| self.endpoint())?, public_key, project_id }.expose().into())
            }
            DsnSource::Awaited => None,
        }
    }

    fn endpoint(&self) -> Option<String> {
        match self.key.spec.endpoint {
            Endpoint::Internal => Some(internal_url(self.key.project_namespace(), &self.key.spec.project_ref.name)),
            Endpoint::External => self.project()?.0.as_ref().ok()?.external_url(),
        }
    }

    /// Whether the DSN names an external URL that leads nowhere yet.
    fn no_address(&self) -> bool {
        let project = self.project();
        let status = project.as_deref().and_then(|project| project.0.as_ref().ok()?.status.as_ref());
        let waits = |condition: &Condition| {
            condition.type_ == ConditionType::Reconciling.as_str() && condition.reason == Reason::NoAddress.as_str()
        };
        self.key.spec.endpoint == Endpoint::External && status.is_some_and(|status| status.conditions.iter().any(waits))
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.key.spec.rate_limit.as_ref()?.settings()
    }

    /// What is said of a rotation. Who holds the key before may have changed a moment ago.
    fn rotating(&self) -> Option<Rotating> {
        let (life, secret) = (self.life.as_ref()?, self.key.secret_name());
        let found = rotating::describe(self.keys.all(), life, &secret);
        let held = self.context.tellings.settle(&self.uid, &found, life.held.as_ref(), Instant::now());
        if held == life.held {
            return Some(found);
        }
        Some(rotating::describe(self.keys.all(), &Life { held, ..life.clone() }, &secret))
    }

    /// The most keys that the namespace may have, when this one is past it.
    fn past_limit(&self) -> Option<u32> {
        let limit = self.context.limits.keys_per_namespace?;
        // A look at every key of the cluster, which only a new one needs.
        let has_key = self.keys.living().next().is_some()
            || self.key.status.as_ref().is_some_and(|status| status.active.is_some());
        let keys = self.context.caches.of::<ClientKey>().cache;
        let exceeded = || keys.summaries(|all| limits::exceeded(&self.key.metadata, all, limit));
        (!has_key && exceeded()).then_some(limit)
    }
}

/// As people call the project from the key's namespace.
fn project_name(key: &ClientKey) -> String {
    let name = &key.spec.project_ref.name;
    if key.is_elsewhere() { format!("{}/{name}", key.project_namespace()) } else { name.clone() }
}

/// Without the key or the URL nothing says what a Secret should hold; one of ours is believed. `accepted`: the project
/// takes keys.
fn believed(live: &DynamicObject, owner: &OwnerReference, accepted: bool) -> Drift {
    match ownership(live, owner) {
        Ownership::Ours => Drift::None,
        // Reported once it matters: without its project the key has another trouble.
        Ownership::Foreign if accepted => Drift::Foreign,
        Ownership::Foreign | Ownership::Predecessor => Drift::Absent,
    }
}

impl Pass for KeyPass<'_> {
    type Observed = Observed;
    type Step = Step;
    type Failure = Failure;

    const CONTROLLER: &'static str = ClientKey::CONTROLLER;
    // Of a new one: finalizer, key, the server that keeps it, Secret, nothing. Of one that is revoked: successor, that server,
    // Secret, its annotation, nothing.
    const ROUNDS: usize = 6;

    async fn observe(&mut self) -> Result<Observed, Failure> {
        let (project, backend) = self.look_up().await?;
        self.read_large_secret().await?;
        self.read_large_binding().await?;
        let live = self
            .written
            .clone()
            .or_else(|| self.context.caches.child(ChildKind::Secret, &self.namespace, &self.key.secret_name()));
        let owner = self.key.controller_owner_ref(&()).unwrap_or_default();
        let whose = live.as_ref().map(|live| (ownership(live, &owner), live.metadata.deletion_timestamp.is_some()));
        let mut names_target = false;
        let server = backend.as_ref().and_then(Backend::server);
        let (accepted, no_endpoint) = (backend.is_some(), server.is_none() && self.endpoint().is_none());
        self.life = None;
        if let Some(backend) = backend {
            let readable = live.as_deref().filter(|_| !matches!(whose, Some((Ownership::Foreign, _))));
            let named = self.named_key(&backend, readable).await?;
            let in_the_way = matches!(whose, Some((Ownership::Foreign, _) | (Ownership::Predecessor, true)));
            let weighed = self.weigh(&backend, named, !in_the_way && !no_endpoint).await?;
            names_target = named.is_some() && named == weighed.decision.target;
            self.life = Some(weighed);
            self.read_secret_key(&backend).await?;
        }
        // Without their backend nothing is known of the keys.
        if matches!(project, Project::Withdrawn) && self.keys.are_accepted() {
            self.life = Some(self.weigh_withdrawal());
        }
        let target = self.target().filter(|_| accepted);
        let target_awaits = target.is_some_and(|key| matches!(key.dsn, DsnSource::Awaited));
        let dsn = target.and_then(|key| self.dsn(key).map(|dsn| (key, dsn)));
        let binding = self.observe_binding(dsn.as_ref(), accepted);
        let secret = match (dsn, live) {
            (Some((key, dsn)), live) => {
                let desired = secret::desired(self.key, key, self.former(), dsn, self.secret_key.as_ref());
                match self.context.children.drift(&desired, live) {
                    Drift::None if self.lacks_secret_key() => Drift::Changed,
                    drift => drift,
                }
            }
            (None, Some(live)) => believed(&live, &owner, accepted),
            (None, None) => Drift::Absent,
        };
        let living = self.keys.living().map(|key| Living { enabled: key.enabled, rate_limit: key.rate_limit });
        Ok(Observed {
            has_finalizer: self.finalizer_added || self.key.finalizers().iter().any(|name| name == FINALIZER),
            enabled: self.key.spec.enabled,
            rate_limit: self.rate_limit(),
            living: living.collect(),
            decision: self.life.as_ref().map(|life| life.decision.clone()).unwrap_or_default(),
            secret,
            names_target,
            binding_names_target: !self.key.spec.service_binding || target.is_some_and(|key| self.binding_names(key)),
            recorded: self.recorded(),
            restart: self.life.as_ref().is_some_and(|life| life.restarts.iter().any(Restart::is_due)),
            binding,
            no_address: self.no_address(),
            no_external_url: accepted && no_endpoint,
            elsewhere: server.is_some(),
            owed: self.keys.are_owed(),
            awaits_dsn: target_awaits,
            endpoint_unrecorded: server.is_none() && self.lacks_endpoint(),
            past_limit: self.past_limit(),
            project,
        })
    }

    fn plan(observed: &Observed) -> Vec<Step> {
        plan::plan(observed)
    }

    fn obstacle(&self, observed: &Observed) -> Option<Failure> {
        if let Some(limit) = plan::turned_away(observed) {
            self.context.caches.turn_away::<ClientKey>(&self.namespace, &self.name);
            let namespace = self.namespace.clone();
            return Some(Unmet::Limit { namespace, objects: "client keys", limit, retained: 0 }.into());
        }
        if matches!(observed.project, Project::Withdrawn) {
            let project = project_name(self.key);
            return Some(Unmet::NotAllowed { project, namespace: self.namespace.clone() }.into());
        }
        if let Some(unmet) = self.unmet_at_server(observed) {
            return Some(unmet.into());
        }
        if observed.no_external_url {
            return Some(Unmet::ExternalUrl { project: project_name(self.key) }.into());
        }
        let (kind, name) = (ChildKind::Secret, self.key.secret_name());
        let in_the_way = match observed.secret {
            Drift::Foreign => ApplyError::Conflict {
                holder: self.context.caches.child(kind, &self.namespace, &name).as_deref().and_then(holder),
                owner: ClientKey::NAME.into(),
                kind,
                name,
            },
            Drift::Leaving => ApplyError::Leaving { kind, name },
            Drift::None | Drift::Absent | Drift::Changed => return self.binding_in_the_way(observed),
        };
        Some(in_the_way.into())
    }

    fn is_of_owner(&self, failure: &Failure) -> bool {
        let has_database = || self.project_says(|project| project.database_secret().is_some());
        failure.is_of_server() || failure.is_caused_by_database() && has_database()
    }

    fn is_in_owners_database(&self) -> bool {
        self.project_says(|project| project.database_secret().is_some() || project.server().is_some())
    }

    fn waits(observed: &Observed) -> bool {
        !matches!(observed.project, Project::Known)
    }

    fn look_again(observed: &Observed) -> Option<Duration> {
        observed.decision.look_again.map(|after| Duration::try_from(after).unwrap_or_default())
    }

    fn name(step: Step) -> &'static str {
        step.as_str()
    }

    async fn perform(&mut self, _: &Observed, step: Step) -> Result<(), Failure> {
        if step == Step::AddFinalizer {
            self.context.statuses.set_finalizer::<ClientKey>(&self.key.metadata, true).await?;
            self.finalizer_added = true;
            return Ok(());
        }
        let Some(backend) = self.backend() else {
            return Err(Waiting::PostgresWentAway.into());
        };
        let seen = self.keys_after_step.take();
        match step {
            Step::AddFinalizer => {}
            Step::Change(change) => {
                let changed = self.change(&backend, change).await;
                if backend.server() == Some(ServerKind::Gitlab) && matches!(change, Move::Mint | Move::Succeed(_)) {
                    // An answer that is lost may leave a key that nobody claims: the project names it.
                    self.wake_project();
                }
                changed?;
                self.end_if_project_goes(&backend).await?;
            }
            Step::SetEnabled(enabled) => {
                backend.set_enabled(&self.uid, enabled).await?;
                let note =
                    if enabled { "Events with the key are accepted." } else { "Events with the key are refused." };
                self.context.events.announce(
                    self.key,
                    if enabled { EventReason::KeyEnabled } else { EventReason::KeyDisabled },
                    note,
                );
            }
            Step::SetRateLimit(limit) => backend.set_rate_limit(&self.uid, limit).await?,
            Step::Settle => {
                if let Err(error) = backend.settle(&self.uid).await {
                    self.revoke_anyway(&backend).await?;
                    return Err(error.into());
                }
                self.end_if_project_goes(&backend).await?;
            }
            Step::RecordEndpoint => self.record_endpoint(&backend).await?,
            Step::Restart => self.restart(&backend).await?,
            Step::BeginPublishing => {
                self.record_published(&backend, None).await?;
            }
            Step::PublishBinding => {
                if let Err(failure) = self.publish_binding().await {
                    // The first one does not name it any more.
                    self.revoke(&backend).await?;
                    return Err(failure);
                }
                self.keys_after_step = seen;
            }
            Step::DeleteBinding => {
                self.delete_binding().await?;
                self.keys_after_step = seen;
            }
            Step::PublishSecret => {
                self.make_secret_key(&backend).await?;
                if let Err(failure) = self.publish().await {
                    self.revoke_anyway(&backend).await?;
                    return Err(failure);
                }
            }
            Step::RecordPublished => {
                let at = self.published_at().await?;
                self.record_published(&backend, Some(at)).await?;
            }
        }
        Ok(())
    }

    async fn write_status(&self, observed: &Observed, failure: Option<&Failure>) -> Result<(), Failure> {
        let before = self.context.caches.newest_status(self.key);
        let active = self.keys.active().map(|key| ActiveKey {
            key_id: key.id.to_string(),
            public_key_prefix: key.public_key.prefix().into(),
            created_at: Time(whole_seconds(key.created_at)),
        });
        let rotating = self.rotating();
        let rotating = rotating.as_ref();
        let view = status::View { key: self.key, before: &before, observed, active, rotating, failure };
        Ok(self.context.report(self.key, &before, &status::build(&view, Timestamp::now())).await?)
    }
}
