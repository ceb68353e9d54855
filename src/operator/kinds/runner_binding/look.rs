//! What a pass over a binding looks at, in order: other bindings, the key and its Secret, the workload and its pods, and what
//! configures the runner.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::DynamicObject};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    BindingPass,
    configured::{self, Before, ConfigObject, Configured, Container, Restarts, RunnerObject, SeenConfig, Wanted},
    owner,
    rivals::collide,
    rollout::{self, Judged, Reach, Rollout, State},
    source,
    status::{Has, had_drifted, was_rolled_out},
    target,
};
use crate::{
    crd::{
        ClientKey, ClientKeyStatus, ConfigToml, Reason, RestartPolicy, RunnerBinding, RunnerEnvironment,
        RunnerReference, WorkloadReference,
    },
    kubernetes::{
        Refusal,
        holders::{PodFacts, Published},
        names::{CLIENT_KEY_LABEL, DEPRECATED_DSN_ENTRY, DSN_ENTRY},
    },
    operator::{
        cluster::cache::Summary,
        engine::queue::ObjectName,
        kinds::{
            client_key::KEY_ID_ANNOTATION,
            failure::Failure,
            kind::Kind as _,
            restarts::{self, Restart, Verdict},
        },
        objects::{
            ApplyError, apply,
            child::{ChildKind, secret_value},
        },
    },
    runner::{ConfigSource, DsnForm, ObjectKind, Reload, RunnerPod, Version},
};

/// How old a list of pods may be: while some have the key before, and at rest.
const ROLLING: Duration = Duration::from_secs(2);
const AT_REST: Duration = Duration::from_mins(1);
/// Files that are looked at for a `sentry_dsn` that wins over the variable.
const MOST_CONFIGS: usize = 4;

/// What the last look found, for the steps and the status.
#[derive(Default)]
pub struct Seen {
    /// The key that the Secret holds.
    pub key_id: Option<String>,
    pub wanted: Option<Wanted>,
    /// What would be written.
    pub object: Option<DynamicObject>,
    pub has: Option<Has>,
    /// "Deployment gitlab-runner"
    pub whose: String,
    /// A restart that is due, and since when the runner is configured with the key.
    pub restart: Option<(Restart, Timestamp)>,
}

/// Why a look ends.
pub enum Halt {
    /// It is known what keeps the runner from having its key.
    Known(Configured),
    Failed(Failure),
}

impl From<Configured> for Halt {
    fn from(known: Configured) -> Self {
        Self::Known(known)
    }
}

impl<E: Into<Failure>> From<E> for Halt {
    fn from(failed: E) -> Self {
        Self::Failed(failed.into())
    }
}

/// The key of a binding, and its Secret.
struct Key {
    status: ClientKeyStatus,
    secret: DynamicObject,
    /// As the Secret says.
    id: String,
}

/// A workload and the container in it that is the runner.
struct Workload {
    kind: &'static str,
    object: DynamicObject,
    pod: RunnerPod,
    shown: String,
}

impl BindingPass<'_> {
    /// Whether the runner has its key, and which of its pods do.
    pub(super) async fn look(&mut self) -> Result<(Configured, Option<Rollout>), Failure> {
        match self.look_through().await {
            Ok(found) => Ok(found),
            Err(Halt::Known(configured)) => Ok((configured, None)),
            Err(Halt::Failed(failure)) => Err(failure),
        }
    }

    async fn look_through(&mut self) -> Result<(Configured, Option<Rollout>), Halt> {
        if !self.context.runner_bindings {
            let message = "RunnerBindings do nothing here: the platform team sets runnerBinding.enabled of the chart.";
            return Err(Configured::Stalled(Reason::NotEnabled, message.to_owned()).into());
        }
        if let Some(older) = self.older_rival() {
            let message = format!(
                "RunnerBinding {older} configures this runner and is older: delete it, or this one. Nothing is written."
            );
            return Err(Configured::Stalled(Reason::AlreadyBound, message).into());
        }
        let key = self.key().await?;
        self.seen.key_id = Some(key.id.clone());
        let runner = &self.binding.spec.runner;
        if let Some(environment) = &runner.environment {
            self.look_at_environment(&key, environment).await
        } else if let Some(config) = &runner.config_toml {
            self.look_at_config(&key, config).await
        } else if let Some(reference) = &runner.runner_ref {
            self.look_at_runner(&key, reference).await
        } else {
            Err(Configured::Stalled(Reason::Invalid, "spec.runner names no runner.".to_owned()).into())
        }
    }

    /// An older binding of the namespace that would configure the same runner.
    fn older_rival(&self) -> Option<String> {
        let bindings = self.context.caches.of::<RunnerBinding>();
        let mine = bindings.cache.facts(&self.namespace, &self.name)?;
        let age = |created: i64, uid: &str| (created, uid.to_owned());
        let created = self.binding.metadata.creation_timestamp.as_ref().map_or(0, |created| created.0.as_second());
        let my_age = age(created, &self.uid);
        let rivals: Vec<ObjectName> = bindings.cache.summaries(|all| {
            let rival = |name: &ObjectName, other: &Summary| {
                *name.namespace == *self.namespace
                    && *name.name != *self.name
                    && !other.deleting
                    && age(other.created, &other.uid) < my_age
                    && (other.facts.number == mine.number || (mine.version != 0 && other.facts.version == mine.version))
            };
            all.filter(|(name, other)| rival(name, other)).map(|(name, _)| name.clone()).collect()
        });
        let collides = |name: &ObjectName| {
            let other = bindings.get(name)?;
            let other = other.0.as_ref().ok()?;
            collide(self.binding, other).then(|| name.name.to_string())
        };
        rivals.iter().find_map(collides)
    }

    async fn key(&self) -> Result<Key, Halt> {
        let name = &self.binding.spec.client_key_ref.name;
        let keys = self.context.caches.of::<ClientKey>();
        let found = if keys.cache.is_large(&self.namespace, name) {
            let api: Api<ClientKey> = Api::namespaced(self.context.client.clone(), &self.namespace);
            api.get_opt(name).await.map_err(ApplyError::kubernetes("get", ClientKey::NAME, name))?
        } else {
            let found = keys.get(&ObjectName::new(&self.namespace, name));
            found.and_then(|found| found.0.as_ref().ok().cloned())
        };
        let key = found.filter(|key| key.metadata.deletion_timestamp.is_none()).ok_or_else(|| {
            let message =
                format!("There is no ClientKey {name} in this namespace: create it, or correct clientKeyRef.");
            Configured::Awaited(Reason::ClientKeyNotFound, message)
        })?;
        let not_ready = || {
            let message =
                format!("ClientKey {name} has no Secret with a DSN yet: `kubectl describe etk {name}` says why.");
            Configured::Awaited(Reason::ClientKeyNotReady, message)
        };
        let client = &self.context.client;
        let secret = apply::read(client, ChildKind::Secret, &self.namespace, &key.secret_name()).await?;
        let is_its = |secret: &DynamicObject| secret.labels().get(CLIENT_KEY_LABEL) == Some(name);
        let secret = secret.filter(is_its).ok_or_else(not_ready)?;
        let id = secret.annotations().get(KEY_ID_ANNOTATION).cloned().ok_or_else(not_ready)?;
        let status = self.context.caches.newest_status(&key);
        Ok(Key { status, secret, id })
    }

    /// The DSN in the form that the runner needs.
    fn wanted(&self, key: &Key, version: Option<Version>) -> Result<Wanted, Halt> {
        let form = configured::form(self.binding.spec.dsn_form, version);
        let entry = if form == DsnForm::Deprecated { DEPRECATED_DSN_ENTRY } else { DSN_ENTRY };
        let secret = key.secret.name_any();
        let Some(dsn) = secret_value(&key.secret, entry) else {
            let name = &self.binding.spec.client_key_ref.name;
            return Err(match form {
                DsnForm::Deprecated => configured::no_deprecated(name, &secret, version),
                DsnForm::Modern => Configured::Awaited(
                    Reason::ClientKeyNotReady,
                    format!("Secret {secret} holds no {DSN_ENTRY}; the operator puts it back within seconds."),
                ),
            }
            .into());
        };
        let wanted = Wanted { secret, entry, dsn };
        configured::check(&wanted, form, version)?;
        Ok(wanted)
    }

    async fn workload(&mut self, reference: &WorkloadReference, container: Option<&str>) -> Result<Workload, Halt> {
        let (kind, name) = (reference.kind.as_str(), &reference.name);
        self.seen.whose = format!("{kind} {name}");
        let shown = self.seen.whose.clone();
        let missing = || {
            let message = format!("There is no {shown} in this namespace: create it, or correct workloadRef.");
            Configured::Awaited(Reason::WorkloadNotFound, message)
        };
        let Some(resource) = restarts::resource(kind) else { return Err(missing().into()) };
        let object = target::read(&self.context.client, &resource, kind, &self.namespace, name).await?;
        let object = object.ok_or_else(missing)?;
        let pod = RunnerPod::read(&object.data["spec"]["template"], container).map_err(|error| {
            let message = format!("{shown} is no runner: {error}. Correct container.");
            Configured::Stalled(Reason::ContainerNotFound, message)
        })?;
        Ok(Workload { kind, object, pod, shown })
    }

    async fn look_at_environment(
        &mut self,
        key: &Key,
        environment: &RunnerEnvironment,
    ) -> Result<(Configured, Option<Rollout>), Halt> {
        let workload = self.workload(&environment.workload_ref, environment.container.as_deref()).await?;
        let wanted = self.wanted(key, workload.pod.version())?;
        let mut configs = Vec::new();
        for (kind, name, entry) in workload.pod.config_sources().into_iter().take(MOST_CONFIGS) {
            configs.extend(self.seen_config(kind, &name, &entry).await?);
        }
        let container = Container { workload: &workload.shown, pod: &workload.pod };
        let configured = configured::environment(&container, &wanted, &configs);
        let since = self.since(key, key_named_at(key));
        let reach = Reach::Secret(wanted.secret.clone());
        let rollout = match configured {
            Configured::Yes(_) => Some(self.rollout_of_workload(key, &workload, &reach, since).await),
            _ => None,
        };
        self.seen.has = Some(Has { key_id: key.id.clone(), since, dsn_digest: None });
        Ok((configured, rollout))
    }

    /// A config.toml that a runner may read beside its variable. What is not there, or may not be read, says nothing.
    async fn seen_config(&self, kind: ObjectKind, name: &str, key: &str) -> Result<Option<SeenConfig>, Halt> {
        let found = target::read_config(&self.context.client, kind, &self.namespace, name).await;
        let object = match found {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(None),
            Err(ApplyError::Kubernetes(refused)) if refused.refusal() == Refusal::MissingRight => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let field = format!("f:{key}");
        let is_helms = owner::of_config(&object.metadata, ["f:data", &field]).is_some_and(|owner| owner.is_helm);
        let text = target::text(kind, &object, key);
        Ok(text.map(|text| SeenConfig::read(format!("{kind} {name}"), is_helms, text.expose_secret())))
    }

    async fn look_at_config(&mut self, key: &Key, config: &ConfigToml) -> Result<(Configured, Option<Rollout>), Halt> {
        let workload = self.workload(&config.workload_ref, config.container.as_deref()).await?;
        let wanted = self.wanted(key, workload.pod.version())?;
        let Some((kind, reference)) = source(config) else {
            return Err(Configured::Stalled(Reason::Invalid, "configToml names no object.".to_owned()).into());
        };
        let (name, entry) = (&reference.name, &reference.key);
        let object = target::read_config(&self.context.client, kind, &self.namespace, name).await?;
        let object = object.ok_or_else(|| {
            let message = format!("There is no {kind} {name} in this namespace: create it, or correct configToml.");
            Configured::Awaited(Reason::ConfigNotFound, message)
        })?;
        let text: SecretString = target::text(kind, &object, entry).ok_or_else(|| {
            let message = format!("{kind} {name} has no key {entry}: add it, or correct configToml.");
            Configured::Awaited(Reason::ConfigNotFound, message)
        })?;
        let immutable = target::is_immutable(&object);
        let reload = workload.pod.reload(&ConfigSource { kind, name, key: entry }, immutable);
        let field = format!("f:{entry}");
        let field = ["f:data", field.as_str()];
        let seen = ConfigObject {
            kind,
            name,
            key: entry,
            text: text.expose_secret(),
            owner: owner::of_config(&object.metadata, field),
            immutable,
            reload,
        };
        let container = Container { workload: &workload.shown, pod: &workload.pod };
        let configured = configured::config_toml(&container, &wanted, &seen, self.had(key));
        let (ours, at) = owner::written(&object.metadata, field);
        let since = self.since(key, at);
        let reach =
            if reload == Reload::Hot { Reach::Reload(self.has_reloaded(key, &configured)) } else { Reach::Start };
        let rollout = match configured {
            Configured::Yes(_) => Some(self.rollout_of_workload(key, &workload, &reach, since).await),
            _ => None,
        };
        self.found(key, wanted, object, ours, since);
        Ok((configured, rollout))
    }

    async fn look_at_runner(
        &mut self,
        key: &Key,
        reference: &RunnerReference,
    ) -> Result<(Configured, Option<Rollout>), Halt> {
        let (client, name) = (&self.context.client, &reference.name);
        self.seen.whose = format!("Runner {name}");
        let runner = target::read_runner(client, &self.namespace, name).await?;
        let Some(runner) = runner else {
            return Err(if target::has_runners(client).await? {
                let message = format!("There is no Runner {name} in this namespace: create it, or correct runnerRef.");
                Configured::Awaited(Reason::RunnerNotFound, message)
            } else {
                let message = "This cluster does not know Runners (apps.gitlab.com/v1beta2): install the GitLab Runner \
                               Operator, or use runner.environment or runner.configToml.";
                Configured::Stalled(Reason::RunnerOperatorMissing, message.to_owned())
            }
            .into());
        };
        let uid = runner.uid().unwrap_or_default();
        let deployments = target::deployments_of(client, &self.namespace, &uid).await?;
        let pod = match deployments.first() {
            Some(first) => self.template_of(first).await?,
            None => None,
        };
        let of_image = runner.data["spec"]["runnerImage"].as_str().and_then(Version::of_image);
        let version = of_image.or_else(|| pod.as_ref().and_then(RunnerPod::version));
        let wanted = self.wanted(key, version)?;
        let workloads: Vec<_> = deployments.into_iter().map(|name| ("Deployment", name)).collect();
        let pods = self.pods_of(&workloads).await;
        let field = ["f:spec", "f:sentryDsn"];
        let restarts = self.restarts(pod.as_ref());
        let object = RunnerObject {
            name,
            sentry_dsn: runner.data["spec"]["sentryDsn"].as_str(),
            owner: owner::of_field(&runner.metadata, field),
            // Of pods that nobody can see, some may have jobs.
            pods: pods.as_ref().map_or(1, |pods| pods.iter().filter(|pod| !pod.ended).count()),
            restarts,
        };
        let configured = configured::runner(&wanted, &object, self.had(key));
        let (ours, at) = owner::written(&runner.metadata, field);
        let since = self.since(key, at);
        let is_configured = matches!(configured, Configured::Yes(_));
        let rollout = is_configured.then(|| rolled_out(key, pods.as_deref(), &Reach::Start, since, None, restarts));
        self.found(key, wanted, runner, ours, since);
        Ok((configured, rollout))
    }

    async fn template_of(&self, deployment: &str) -> Result<Option<RunnerPod>, Halt> {
        let found = target::read_deployment(&self.context.client, &self.namespace, deployment).await?;
        Ok(found.and_then(|found| RunnerPod::read(&found.data["spec"]["template"], None).ok()))
    }

    fn found(&mut self, key: &Key, wanted: Wanted, object: DynamicObject, ours: bool, since: Timestamp) {
        let dsn_digest = ours.then(|| configured::digest(wanted.dsn.expose_secret()));
        self.seen.has = Some(Has { key_id: key.id.clone(), since, dsn_digest });
        self.seen.wanted = Some(wanted);
        self.seen.object = Some(object);
    }

    /// What was done about this key before, by this process or as the status says of this spec.
    fn had(&self, key: &Key) -> Before {
        let generation = self.binding.metadata.generation;
        let said =
            self.before.observed_generation == generation && self.before.observed_key_id.as_ref() == Some(&key.id);
        Before { had_it: said || self.wrote.as_ref() == Some(&key.id), drifted: had_drifted(&self.before, generation) }
    }

    /// Since when the runner is configured with the key: as the status remembers it, else as it was found.
    fn since(&self, key: &Key, found: Timestamp) -> Timestamp {
        let is_same = self.before.observed_key_id.as_ref() == Some(&key.id);
        self.before.configured_at.as_ref().filter(|_| is_same).map_or(found, |at| at.0)
    }

    fn has_reloaded(&self, key: &Key, configured: &Configured) -> bool {
        let is_there = matches!(configured, Configured::Yes(_));
        let over = is_there && self.context.reloads.are_over(&self.uid, &key.id, Instant::now());
        over || was_rolled_out(&self.before, &key.id)
    }

    fn restarts(&self, pod: Option<&RunnerPod>) -> Restarts {
        let least = self.binding.minimum_grace_seconds();
        let seconds = pod.map(RunnerPod::termination_grace_period_seconds);
        match (self.binding.spec.restart, seconds) {
            (RestartPolicy::Never, _) => Restarts::Never,
            (RestartPolicy::Rolling, Some(seconds)) if seconds < i64::from(least) => {
                Restarts::GraceTooShort { seconds, least }
            }
            (RestartPolicy::Rolling, _) => Restarts::Allowed,
        }
    }

    /// The pods of workloads; `None`: they cannot be listed.
    async fn pods_of(&self, workloads: &[(&str, String)]) -> Option<Vec<PodFacts>> {
        let is_settled = self.before.pods.is_some_and(|pods| pods.current >= pods.total)
            && self.before.observed_key_id == self.seen.key_id;
        let age = if is_settled { AT_REST } else { ROLLING };
        let pods = self.context.pod_lists.of(&self.namespace, age).await?;
        let of_workload = |pod: &&PodFacts| {
            let (kind, name) = pod.workload();
            workloads.iter().any(|(of, named)| kind == *of && name == *named)
        };
        Some(pods.iter().filter(of_workload).cloned().collect())
    }

    /// Which pods of a workload have the key; a restart that is due is kept for its step.
    async fn rollout_of_workload(
        &mut self,
        key: &Key,
        workload: &Workload,
        reach: &Reach,
        since: Timestamp,
    ) -> Rollout {
        let name = workload.object.name_any();
        let pods = self.pods_of(&[(workload.kind, name.clone())]).await;
        let was_restarted = self.before.restarted_key_id.as_ref() == Some(&key.id) || self.restarted;
        let verdict = restarts::judge(&workload.object, since, was_restarted);
        let restarts = self.restarts(Some(&workload.pod));
        let rollout = rolled_out(key, pods.as_deref(), reach, since, Some(verdict), restarts);
        if let State::Due(uid) = &rollout.state {
            let verdict = Verdict::Due(uid.clone());
            self.seen.restart = Some((Restart { kind: workload.kind.to_owned(), name, verdict }, since));
        }
        rollout
    }
}

/// Which of these pods have the key since the runner is configured with it. `verdict`: of the workload; `None`: the GitLab
/// Runner Operator restarts it.
fn rolled_out(
    key: &Key,
    pods: Option<&[PodFacts]>,
    reach: &Reach,
    since: Timestamp,
    verdict: Option<Verdict>,
    restarts: Restarts,
) -> Rollout {
    let now = Timestamp::now();
    let retiring = key.status.retiring.as_ref();
    let ends = retiring.and_then(|retiring| retiring.not_before.as_ref());
    let published = Published { at: since, minimum_is_over: ends.is_none_or(|ends| ends.0 <= now) };
    let pods = pods.map(|pods| rollout::count(pods, reach, &published));
    let (age, former) = (now.duration_since(since), retiring.is_some());
    rollout::judge(Judged { pods, reach, restarts, verdict, age, former })
}

/// Since when the Secret names its key. Without a key before it, nobody can have had another one from it.
fn key_named_at(key: &Key) -> Timestamp {
    let active = key.status.active.as_ref().filter(|active| active.key_id == key.id);
    match (active, &key.status.retiring) {
        (Some(_), Some(retiring)) => retiring.since.0,
        (Some(active), None) => active.created_at.0,
        (None, _) => apply::written_at(&key.secret).unwrap_or_else(Timestamp::now),
    }
}
