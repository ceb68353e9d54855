//! `RunnerBinding`: its pass, its deletion and its status. Called by the list of kinds alone.
//!
//! A binding reads the Secret of its `ClientKey` and knows no database. What it writes belongs to others, so each write is
//! made on the version that was read, by a manager of its own, and is given up when somebody undoes it.

mod configured;
#[cfg(test)]
mod health_states;
mod look;
mod owner;
mod plan;
mod rivals;
mod rollout;
mod status;
mod target;
mod undo;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt as _, api::DynamicObject};
use secrecy::ExposeSecret as _;
use serde_json::json;

use self::{
    configured::Configured,
    look::Seen,
    plan::{Observed, Step},
};
pub use self::{
    rollout::Reloads,
    undo::{Written, take_out},
};
use super::{
    Context,
    deletion::{Deleted, Undo},
    failure::{Failure, Unmet},
    kind::Kind,
    restarts,
};
use crate::{
    crd::{ClientKey, ConfigReference, ConfigToml, FINALIZER, Reason, RunnerBinding, RunnerBindingStatus},
    kubernetes::names::RUNNER_BINDING_LABEL,
    operator::{cluster::cache::Facts, engine::pass::Pass, objects::EventReason},
    runner::{ObjectKind, config_toml},
};

/// How often a runner is looked at whose configuration no watch shows.
const LOOK_AT_OTHERS: Duration = Duration::from_mins(5);
/// And for how long it is looked at more often, after something was written that somebody may undo.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
const LOOK_SOON: Duration = Duration::from_secs(10);

impl Kind for RunnerBinding {
    type Status = RunnerBindingStatus;
    type Pass<'a> = BindingPass<'a>;

    const NAME: &'static str = "RunnerBinding";
    const CONTROLLER: &'static str = "runnerbinding";
    const CHILD_LABEL: &'static str = RUNNER_BINDING_LABEL;
    const DEPENDS_ON: Option<&'static str> = Some(ClientKey::CONTROLLER);
    const USES_POSTGRES: bool = false;

    fn facts(object: &DynamicObject) -> Facts {
        let spec = &object.data["spec"];
        let (number, version) = rivals::fingerprints(spec);
        let refers_to = spec["clientKeyRef"]["name"].as_str().unwrap_or_default().into();
        Facts { number, refers_to, version, ..Facts::default() }
    }

    /// No object depends on a binding but its key, which looks at no large one.
    fn reduce(object: &mut DynamicObject) {
        object.data = json!({"spec": object.data["spec"]});
    }

    fn known_status(&self) -> Option<&RunnerBindingStatus> {
        self.status.as_ref()
    }

    fn pass<'a>(&'a self, context: &'a Context) -> BindingPass<'a> {
        BindingPass::new(self, context)
    }

    fn deletion(deleted: &Deleted<'_, Self>, context: &Context) -> Vec<Undo> {
        let Some(binding) = deleted.object else { return Vec::new() };
        let status = context.caches.newest_status(binding);
        let written = undo::written(deleted.namespace, binding, status.dsn_digest.as_deref());
        written.into_iter().map(|written| Undo::TakeOutDsn { step: "take-out-dsn", written }).collect()
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    #[cfg(test)]
    fn health_states() -> Vec<super::health_states::HealthState> {
        health_states::all()
    }
}

/// The object that holds the config.toml. The schema lets in exactly one.
fn source(config: &ConfigToml) -> Option<(ObjectKind, &ConfigReference)> {
    let secret = config.secret_ref.as_ref().map(|reference| (ObjectKind::Secret, reference));
    secret.or_else(|| config.config_map_ref.as_ref().map(|reference| (ObjectKind::ConfigMap, reference)))
}

/// One pass over one binding.
pub struct BindingPass<'a> {
    binding: &'a RunnerBinding,
    context: &'a Context,
    namespace: String,
    name: String,
    uid: String,
    before: RunnerBindingStatus,
    /// Added in this pass, so the cached object does not show it yet.
    finalizer_added: bool,
    /// The key whose DSN was written in this pass.
    wrote: Option<String>,
    /// The workload was restarted in this pass.
    restarted: bool,
    /// What the last look found.
    seen: Seen,
}

impl<'a> BindingPass<'a> {
    fn new(binding: &'a RunnerBinding, context: &'a Context) -> Self {
        Self {
            binding,
            context,
            namespace: binding.namespace().unwrap_or_default(),
            name: binding.name_any(),
            uid: binding.uid().unwrap_or_default(),
            before: context.caches.newest_status(binding),
            finalizer_added: false,
            wrote: None,
            restarted: false,
            seen: Seen::default(),
        }
    }

    /// What a deletion may have to take out needs a finalizer.
    fn has_finalizer(&self) -> bool {
        let is_there = || self.binding.finalizers().iter().any(|name| name == FINALIZER);
        self.binding.spec.runner.environment.is_some() || self.finalizer_added || is_there()
    }

    fn is_fresh(&self) -> bool {
        let writes = self.binding.spec.runner.environment.is_none();
        let since = self.seen.has.as_ref().map(|has| has.since).filter(|_| writes);
        since.is_some_and(|since| Timestamp::now().duration_since(since).abs() < FRESH)
    }

    async fn write_dsn(&mut self) -> Result<(), Failure> {
        let (Some(wanted), Some(object)) = (&self.seen.wanted, &self.seen.object) else { return Ok(()) };
        let (client, namespace) = (&self.context.client, &self.namespace);
        let whose = match &self.binding.spec.runner.config_toml {
            None => {
                target::write_runner(client, namespace, object, Some(&wanted.dsn)).await?;
                format!("spec.sentryDsn of Runner {}", object.name_any())
            }
            Some(config) => {
                let Some((kind, reference)) = source(config) else { return Ok(()) };
                let Some(text) = target::text(kind, object, &reference.key) else { return Ok(()) };
                let edited = config_toml::set(text.expose_secret(), Some(wanted.dsn.expose_secret()));
                let edited = edited.map_err(|error| {
                    let message = format!("{kind} {}, key {}: {error}.", reference.name, reference.key);
                    Unmet::Runner { reason: Reason::ConfigInvalid, message }
                })?;
                target::write_config(client, kind, namespace, object, &reference.key, &edited.into()).await?;
                format!("sentry_dsn of config.toml in {kind} {}", reference.name)
            }
        };
        self.wrote.clone_from(&self.seen.key_id);
        let note = format!("{whose} is the DSN of Secret {} now.", wanted.secret);
        self.context.events.announce(self.binding, EventReason::DsnWritten, &note);
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        let Some((restart, since)) = &self.seen.restart else { return Ok(()) };
        let at = (*since).max(Timestamp::now());
        restarts::restart(&self.context.client, &self.namespace, restart, at).await?;
        self.restarted = true;
        let note = format!("{} {} is restarted: its pods have the key before.", restart.kind, restart.name);
        self.context.events.announce(self.binding, EventReason::WorkloadRestarted, &note);
        Ok(())
    }
}

impl Pass for BindingPass<'_> {
    type Observed = Observed;
    type Step = Step;
    type Failure = Failure;

    const CONTROLLER: &'static str = RunnerBinding::CONTROLLER;
    // Finalizer, DSN, restart, nothing.
    const ROUNDS: usize = 4;

    async fn observe(&mut self) -> Result<Observed, Failure> {
        self.seen = Seen::default();
        let (configured, rollout) = self.look().await?;
        Ok(Observed { has_finalizer: self.has_finalizer(), configured, rollout, is_fresh: self.is_fresh() })
    }

    fn plan(observed: &Observed) -> Vec<Step> {
        plan::plan(observed)
    }

    fn obstacle(&self, observed: &Observed) -> Option<Failure> {
        let Configured::Stalled(reason, message) = &observed.configured else { return None };
        Some(Unmet::Runner { reason: *reason, message: message.clone() }.into())
    }

    fn is_of_owner(&self, _: &Failure) -> bool {
        false
    }

    fn is_in_owners_database(&self) -> bool {
        false
    }

    fn waits(observed: &Observed) -> bool {
        matches!(observed.configured, Configured::Awaited(..))
    }

    fn look_again(observed: &Observed) -> Option<Duration> {
        let rollout = observed.rollout.as_ref().and_then(rollout::Rollout::look_again);
        Some(rollout.unwrap_or(if observed.is_fresh { LOOK_SOON } else { LOOK_AT_OTHERS }))
    }

    fn name(step: Step) -> &'static str {
        step.as_str()
    }

    async fn perform(&mut self, _: &Observed, step: Step) -> Result<(), Failure> {
        match step {
            Step::AddFinalizer => {
                self.context.statuses.set_finalizer::<RunnerBinding>(&self.binding.metadata, true).await?;
                self.finalizer_added = true;
            }
            Step::WriteDsn => self.write_dsn().await?,
            Step::Restart => self.restart().await?,
        }
        Ok(())
    }

    async fn write_status(&self, observed: &Observed, failure: Option<&Failure>) -> Result<(), Failure> {
        let view = status::View {
            binding: self.binding,
            before: &self.before,
            observed,
            has: self.seen.has.as_ref(),
            whose: &self.seen.whose,
            restarted: self.restarted,
            failure,
        };
        let after = status::build(&view, Timestamp::now());
        Ok(self.context.report(self.binding, &self.before, &after).await?)
    }
}
