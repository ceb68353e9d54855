//! Which pods hold the key that a Secret named before, from what the API server says of them. Pure.
//!
//! A pod that took the Secret when it started goes on with what it read, whether that came by environment or by file,
//! and its silence proves nothing. So each pod that takes the Secret holds the former key, unless it must have read the
//! Secret later. What cannot be told counts as held: a key that lives too long costs nothing, one that ends too early
//! costs events.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStatus, EnvFromSource, EnvVar, EphemeralContainer, Pod, PodSpec, PodStatus,
        Volume, VolumeMount,
    },
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ObjectMeta},
};

use crate::crd::HolderWorkload;

/// A pod that is created so soon after the Secret was written may start with what its node still has in its cache, and
/// API servers beside each other differ in their clocks.
const CREATED_SOON: SignedDuration = SignedDuration::from_secs(60);
/// A container that starts so long after the Secret was written finds it, and so does one that reads the file anew: the
/// kubelet's cache is older by a minute or two at most.
pub const CACHE_AGE: SignedDuration = SignedDuration::from_mins(5);
/// A node whose clock differs by more is not believed.
const MOST_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// A container cannot have started after its start was reported, but for rounding and a little skew.
const REPORT_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// Longest kind and name of a [`HolderWorkload`], in characters. The API server bounds neither in an owner reference.
const MOST_OF_KIND: usize = 63;
const MOST_OF_NAME: usize = 253;

/// Since when a Secret names the key that applications should have, and how far the overlap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The API server's time of the latest write that made the Secret name it.
    pub at: Timestamp,
    /// Whether `overlap.minimum` is over.
    pub minimum_is_over: bool,
}

/// A pod as far as it matters who holds a key, and who may have sent with a dead one. Some hundred bytes: of a namespace
/// with thousands of pods all are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    pub name: Box<str>,
    pub uid: Box<str>,
    /// By the API server's clock.
    pub created: Timestamp,
    /// `status.podIPs`; with `host_network` those of the node.
    pub addresses: Box<[IpAddr]>,
    pub host_network: bool,
    /// Its containers have ended and none starts again, so it cannot send any more.
    pub ended: bool,
    /// When its containers were told to end, by the API server's clock.
    pub told_to_end: Option<Timestamp>,
    workload: Workload,
    takers: Box<[Taker]>,
}

/// What a pod belongs to, for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Workload {
    kind: Box<str>,
    name: Box<str>,
}

/// A container that takes Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taker {
    /// Hashes of their names, sorted: a pod may name thousands, and they need not be kept to be recognised.
    secrets: Box<[u64]>,
    /// It started anew, and read them again, no earlier than this by the API server's clock. `None`: nothing proves that
    /// it did.
    restarted: Option<Timestamp>,
}

impl PodFacts {
    /// Reads a pod as the API server sent it, with its `managedFields`: without them no restart is believed.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let (default_spec, default_status) = (PodSpec::default(), PodStatus::default());
        let spec = pod.spec.as_ref().unwrap_or(&default_spec);
        let status = pod.status.as_ref().unwrap_or(&default_status);
        let addresses = status.pod_ips.iter().flatten().filter_map(|address| address.ip.parse().ok());
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
            addresses: addresses.collect(),
            host_network: spec.host_network == Some(true),
            ended: has_ended(status),
            told_to_end: told_to_end(metadata),
            workload: Workload::of(pod),
            takers: takers(pod, spec, status),
        }
    }

    /// Whether any container takes the Secret. To pull an image with it is not to take it.
    #[must_use]
    pub fn refers_to(&self, secret: &str) -> bool {
        self.takers_of(secret).next().is_some()
    }

    /// Whether it may send with the key that the Secret named before.
    #[must_use]
    pub fn holds_former_key(&self, secret: &str, published: &Published) -> bool {
        if self.ended {
            return false;
        }
        let read_again =
            |taker: &Taker| taker.restarted.is_some_and(|restarted| restarted.duration_since(published.at) > CACHE_AGE);
        !self.began_after(published) && !self.takers_of(secret).all(read_again)
    }

    /// Whether it was created so late that what it read when it began is what was published.
    #[must_use]
    pub fn began_after(&self, published: &Published) -> bool {
        // Times of the API server have whole seconds: of two in the same one, neither is known to be later.
        let age = self.created.duration_since(published.at);
        age > CREATED_SOON || (age.is_positive() && published.minimum_is_over)
    }

    /// Kind and name of what the pod belongs to, as far as its own object says: the Deployment instead of its
    /// `ReplicaSet`, a Job also where a `CronJob` made it, and a pod of nobody's as Pod.
    #[must_use]
    pub fn workload(&self) -> (String, String) {
        (self.workload.kind.to_string(), self.workload.name.to_string())
    }

    fn takers_of(&self, secret: &str) -> impl Iterator<Item = &Taker> {
        let secret = hash(secret);
        self.takers.iter().filter(move |taker| taker.secrets.binary_search(&secret).is_ok())
    }
}

/// The workloads of `pods`, those with most pods first, then by kind and name; at most `most`.
pub fn by_workload<'a>(pods: impl Iterator<Item = &'a PodFacts>, most: usize) -> Vec<HolderWorkload> {
    let mut counts = BTreeMap::<&Workload, i32>::new();
    for pod in pods {
        *counts.entry(&pod.workload).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    // Stable: what has as many pods stays in the order of kinds and names.
    counts.sort_by_key(|(_, pods)| Reverse(*pods));
    let held_by = |(workload, pods): (&Workload, i32)| HolderWorkload {
        kind: workload.kind.to_string(),
        name: workload.name.to_string(),
        pods,
    };
    counts.into_iter().take(most).map(held_by).collect()
}

impl Workload {
    fn of(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let mut owners = metadata.owner_references.iter().flatten();
        let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else {
            return Self::named("Pod", metadata.name.as_deref().unwrap_or_default());
        };
        // The Deployment names its ReplicaSets after itself and this label.
        let hash = metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
        let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        match deployment {
            Some(deployment) if owner.kind == "ReplicaSet" => Self::named("Deployment", deployment),
            _ => Self::named(&owner.kind, &owner.name),
        }
    }

    fn named(kind: &str, name: &str) -> Self {
        let begin = |text: &str, most| text.chars().take(most).collect::<String>().into_boxed_str();
        Self { kind: begin(kind, MOST_OF_KIND), name: begin(name, MOST_OF_NAME) }
    }
}

/// The kubelet starts nothing in a pod whose phase is final, whatever its `restartPolicy`. That phase is also written
/// for pods of a lost node, without anybody having seen their containers end: those still say that they run.
fn has_ended(status: &PodStatus) -> bool {
    let is_final = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let containers =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let runs = |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    is_final && !containers.into_iter().flatten().flatten().any(runs)
}

/// The API server sets the time at which the pod's time is over.
fn told_to_end(metadata: &ObjectMeta) -> Option<Timestamp> {
    let ends = metadata.deletion_timestamp.as_ref()?.0;
    let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or_default());
    Some(ends.checked_sub(grace).unwrap_or(Timestamp::MIN))
}

fn takers(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Box<[Taker]> {
    let clock = NodeClock::of(pod, status);
    let restarted = |statuses: &Option<Vec<ContainerStatus>>, name: &str| {
        let container = statuses.iter().flatten().find(|container| container.name == name)?;
        clock.as_ref()?.restart_of(container)
    };
    let volumes = secrets_of_volumes(spec.volumes.as_deref().unwrap_or_default());
    let taker = |entries: &Entries<'_>, restarted| {
        let secrets = entries.secrets(&volumes);
        (!secrets.is_empty()).then_some(Taker { secrets, restarted })
    };
    let ordinary = spec
        .containers
        .iter()
        .filter_map(|container| taker(&container.into(), restarted(&status.container_statuses, &container.name)));
    let init = spec.init_containers.iter().flatten().filter_map(|container| {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        // What one that runs once has copied, into an emptyDir perhaps, survives every restart.
        let again = if is_sidecar { restarted(&status.init_container_statuses, &container.name) } else { None };
        taker(&container.into(), again)
    });
    // An ephemeral container never starts again.
    let ephemeral = spec.ephemeral_containers.iter().flatten().filter_map(|container| taker(&container.into(), None));
    ordinary.chain(init).chain(ephemeral).collect()
}

/// Names of the Secrets that are in each volume.
fn secrets_of_volumes(volumes: &[Volume]) -> BTreeMap<&str, Vec<&str>> {
    volumes.iter().map(|volume| (volume.name.as_str(), secrets_of_volume(volume))).collect()
}

fn secrets_of_volume(volume: &Volume) -> Vec<&str> {
    let whole = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let parts = sources.filter_map(|source| source.secret.as_ref().map(|secret| secret.name.as_str()));
    whole.into_iter().chain(parts).collect()
}

/// The ways by which a container takes Secrets. A mount of a path within a volume is as any other: one that the kubelet
/// refreshes helps nobody who reads it once.
struct Entries<'a> {
    env: &'a [EnvVar],
    env_from: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
}

impl<'a> From<&'a Container> for Entries<'a> {
    fn from(container: &'a Container) -> Self {
        Self {
            env: container.env.as_deref().unwrap_or_default(),
            env_from: container.env_from.as_deref().unwrap_or_default(),
            mounts: container.volume_mounts.as_deref().unwrap_or_default(),
        }
    }
}

impl<'a> From<&'a EphemeralContainer> for Entries<'a> {
    fn from(container: &'a EphemeralContainer) -> Self {
        Self {
            env: container.env.as_deref().unwrap_or_default(),
            env_from: container.env_from.as_deref().unwrap_or_default(),
            mounts: container.volume_mounts.as_deref().unwrap_or_default(),
        }
    }
}

impl Entries<'_> {
    fn secrets(&self, volumes: &BTreeMap<&str, Vec<&str>>) -> Box<[u64]> {
        let variable = |variable: &EnvVar| Some(hash(&variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name));
        let whole = |source: &EnvFromSource| Some(hash(&source.secret_ref.as_ref()?.name));
        let mounted = self.mounts.iter().filter_map(|mount| volumes.get(mount.name.as_str())).flatten();
        let mut secrets: Vec<u64> = (self.env.iter().filter_map(variable))
            .chain(self.env_from.iter().filter_map(whole))
            .chain(mounted.map(|secret| hash(secret)))
            .collect();
        secrets.sort_unstable();
        secrets.dedup();
        secrets.into_boxed_slice()
    }
}

/// The same in the whole process. Who finds two names with one hash keeps an own key alive for longer.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Whether these fields are the kubelet's and it wrote the time of the pod's scheduling too, by its own clock, as it does
/// for a pod that was created with a node's name.
fn says_scheduled_itself(fields: &FieldsV1) -> bool {
    let status = &fields.0["f:status"];
    let scheduled = &status["f:conditions"][r#"k:{"type":"PodScheduled"}"#];
    status.get("f:startTime").is_some() && scheduled.get("f:lastTransitionTime").is_some()
}

/// What the API server's times say about the clock of a pod's node, which all `startedAt` are of.
struct NodeClock {
    /// The clock was ahead of the API server's by no more than this when the pod came to the node.
    ahead: SignedDuration,
    /// When the newest status was reported, by the API server's clock.
    reported: Timestamp,
}

impl NodeClock {
    /// `None`: it cannot be told, or the clock is wrong.
    fn of(pod: &Pod, status: &PodStatus) -> Option<Self> {
        let mut conditions = status.conditions.iter().flatten();
        let scheduled =
            conditions.find(|condition| condition.type_ == "PodScheduled")?.last_transition_time.as_ref()?.0;
        // The kubelet's first time of a pod, as its scheduling is the API server's last one before.
        let ahead = status.start_time.as_ref()?.0.duration_since(scheduled);
        let entries = pod.metadata.managed_fields.iter().flatten();
        let reports: Vec<_> = entries.filter(|entry| entry.subresource.as_deref() == Some("status")).collect();
        if reports.iter().filter_map(|entry| entry.fields_v1.as_ref()).any(says_scheduled_itself) {
            return None;
        }
        let reported = reports.iter().filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()?;
        (ahead.abs() <= MOST_SKEW).then_some(Self { ahead: ahead.max(SignedDuration::ZERO), reported })
    }

    /// When a container that started anew did so last, at the earliest.
    fn restart_of(&self, container: &ContainerStatus) -> Option<Timestamp> {
        let start = |state: &ContainerState| {
            let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
            let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
            running.or(ended).map(|time| time.0)
        };
        // One that waits for its next start has the last one there.
        let last = container.state.as_ref().and_then(start);
        let last = last.or_else(|| container.last_state.as_ref().and_then(start))?;
        let is_plausible = last.duration_since(self.reported) <= REPORT_SKEW;
        (container.restart_count > 0 && is_plausible).then(|| last.checked_sub(self.ahead).unwrap_or(Timestamp::MIN))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "shop-dsn";
    const PUBLISHED: i64 = 1_800_000_000;
    const MINUTE: i64 = 60;
    const DAY: i64 = 24 * 3600;

    /// Seconds after the Secret was written.
    fn at(second: i64) -> String {
        Timestamp::from_second(PUBLISHED + second).unwrap().to_string()
    }

    fn published(minimum_is_over: bool) -> Published {
        Published { at: Timestamp::from_second(PUBLISHED).unwrap(), minimum_is_over }
    }

    /// What happened to a pod, in seconds after the Secret was written.
    #[derive(Clone, Copy, Debug)]
    struct Life {
        created: i64,
        /// Of its containers, if they did.
        restarted: Option<i64>,
        /// The node's clock is ahead by this, when the pod came and when its containers restarted.
        ahead: [i64; 2],
        /// Of the newest status, by the API server's clock.
        reported: i64,
    }

    const OLD: Life = Life { created: -DAY, restarted: None, ahead: [0, 0], reported: 10 * DAY };

    fn restarted(second: i64) -> Life {
        Life { restarted: Some(second), reported: second + 2, ..OLD }
    }

    fn created(second: i64) -> Life {
        Life { created: second, ..OLD }
    }

    /// A pod of one container `app` that takes nothing, in this life.
    fn pod(life: Life) -> Value {
        let started = life.restarted.map_or(life.created + 3 + life.ahead[0], |second| second + life.ahead[1]);
        let container = |name: &str| {
            let restarts = i32::from(life.restarted.is_some());
            json!({"name": name, "image": "shop", "imageID": "", "ready": true, "restartCount": restarts,
                "state": {"running": {"startedAt": at(started)}}})
        };
        json!({
            "metadata": {
                "name": "shop-6d5f-x7k2p", "uid": "u-1", "creationTimestamp": at(life.created),
                "labels": {"pod-template-hash": "6d5f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-6d5f", "uid": "u-0", "controller": true}],
                "managedFields": [
                    {"manager": "kube-controller-manager", "operation": "Update", "time": at(life.created)},
                    {"manager": "kubelet", "operation": "Update", "subresource": "status", "time": at(life.reported),
                        "fieldsV1": {"f:status": {"f:startTime": {}, "f:conditions": {
                            "k:{\"type\":\"PodScheduled\"}": {"f:observedGeneration": {}}}}}},
                ],
            },
            "spec": {"containers": [{"name": "app", "image": "shop"}]},
            "status": {
                "phase": "Running",
                "startTime": at(life.created + 2 + life.ahead[0]),
                "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::3"}],
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(life.created + 1)}],
                "containerStatuses": [container("app")],
                "initContainerStatuses": [container("first")],
                "ephemeralContainerStatuses": [container("debug")],
            },
        })
    }

    fn facts(pod: &Value) -> PodFacts {
        PodFacts::of(&serde_json::from_value(pod.clone()).unwrap())
    }

    fn holds(pod: &Value, minimum_is_over: bool) -> bool {
        facts(pod).holds_former_key(SECRET, &published(minimum_is_over))
    }

    fn takes_env(name: &str) -> Value {
        json!({"name": name, "image": "shop",
            "env": [{"name": "SENTRY_DSN", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "SENTRY_DSN"}}}]})
    }

    fn mounts(pod: &mut Value, container: &str, mount: &Value, volume: &Value) {
        pod["spec"]["volumes"] = json!([{"name": "other", "emptyDir": {}}, volume]);
        pod["spec"][container][0]["volumeMounts"] = json!([{"name": "other", "mountPath": "/other"}, mount]);
    }

    fn secret_volume() -> Value {
        json!({"name": "dsn", "secret": {"secretName": SECRET}})
    }

    fn mount() -> Value {
        json!({"name": "dsn", "mountPath": "/dsn"})
    }

    /// A way to take the Secret, and who holds the former key by it: as whoever reads it at each start, as whoever read
    /// it once for as long as the pod lives, or nobody.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Reads {
        AtEachStart,
        Once,
        NoMore,
        Never,
    }

    type Change = fn(&mut Value);
    type Way = (&'static str, Reads, Change);

    const WAYS: &[Way] = &[
        ("env", Reads::AtEachStart, |pod| pod["spec"]["containers"][0] = takes_env("app")),
        ("envFrom", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": SECRET, "optional": true}}]);
        }),
        ("volume", Reads::AtEachStart, |pod| mounts(pod, "containers", &mount(), &secret_volume())),
        ("subPath", Reads::AtEachStart, |pod| {
            let mount = json!({"name": "dsn", "mountPath": "/etc/dsn", "subPath": "SENTRY_DSN"});
            mounts(pod, "containers", &mount, &secret_volume());
        }),
        ("projected", Reads::AtEachStart, |pod| {
            let sources = json!([{"configMap": {"name": "shop"}}, {"secret": {"name": SECRET}}]);
            mounts(pod, "containers", &mount(), &json!({"name": "dsn", "projected": {"sources": sources}}));
        }),
        ("init container", Reads::Once, |pod| pod["spec"]["initContainers"] = json!([takes_env("first")])),
        ("init container into an emptyDir", Reads::Once, |pod| {
            pod["spec"]["initContainers"] = json!([{"name": "first", "image": "shop"}]);
            mounts(pod, "initContainers", &mount(), &secret_volume());
        }),
        ("init container beside an ordinary one", Reads::Once, |pod| {
            pod["spec"]["initContainers"] = json!([takes_env("first")]);
            pod["spec"]["containers"] = json!([takes_env("app")]);
        }),
        ("sidecar init", Reads::AtEachStart, |pod| {
            pod["spec"]["initContainers"] = json!([takes_env("first")]);
            pod["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
        }),
        ("ephemeral", Reads::Once, |pod| pod["spec"]["ephemeralContainers"] = json!([takes_env("debug")])),
        ("two containers of which one never restarted", Reads::Once, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app"), takes_env("worker")]);
        }),
        ("Job running", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["spec"]["restartPolicy"] = json!("OnFailure");
            pod["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
        }),
        ("Job done", Reads::NoMore, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["spec"]["restartPolicy"] = json!("Never");
            end(pod, "Succeeded");
        }),
        ("evicted", Reads::NoMore, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            end(pod, "Failed");
        }),
        ("refused by its node", Reads::NoMore, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["status"] = json!({"phase": "Failed", "reason": "OutOfcpu"});
        }),
        ("of a lost node", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["status"]["phase"] = json!("Failed");
        }),
        ("Terminating", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["metadata"]["deletionTimestamp"] = json!(at(0));
        }),
        ("Unknown", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["status"]["phase"] = json!("Unknown");
        }),
        ("hostNetwork", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["spec"]["hostNetwork"] = json!(true);
        }),
        ("restarts, and waits for the next start", Reads::AtEachStart, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            let state = pod["status"]["containerStatuses"][0]["state"]["running"].take();
            pod["status"]["containerStatuses"][0]["lastState"] =
                json!({"terminated": {"exitCode": 1, "startedAt": state["startedAt"]}});
            pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        }),
        ("imagePullSecrets", Reads::Never, |pod| pod["spec"]["imagePullSecrets"] = json!([{"name": SECRET}])),
        ("volume that nobody mounts", Reads::Never, |pod| pod["spec"]["volumes"] = json!([secret_volume()])),
        ("another Secret", Reads::Never, |pod| {
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"] = json!("shop-dsn-2");
        }),
        ("ConfigMap of the name", Reads::Never, |pod| {
            pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": SECRET}}]);
        }),
    ];

    fn end(pod: &mut Value, phase: &str) {
        pod["status"]["phase"] = json!(phase);
        for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            pod["status"][list][0]["state"] = json!({"terminated": {"exitCode": 1, "startedAt": at(-DAY)}});
        }
    }

    #[test]
    fn a_pod_holds_the_former_key_unless_it_must_have_read_the_secret_later() {
        use Reads::{AtEachStart, Once};
        // What happened, whether the minimum is over, and who holds then.
        let lives: &[(&str, Life, bool, &[Reads])] = &[
            ("created before", OLD, true, &[AtEachStart, Once]),
            ("created in the same second", created(0), true, &[AtEachStart, Once]),
            ("created a second later", created(1), false, &[AtEachStart, Once]),
            ("created a second later, minimum over", created(1), true, &[]),
            ("created after 60 s", created(MINUTE), false, &[AtEachStart, Once]),
            ("created after 61 s", created(MINUTE + 1), false, &[]),
            ("restarted before", restarted(-1), true, &[AtEachStart, Once]),
            ("restarted after 5 min", restarted(5 * MINUTE), true, &[AtEachStart, Once]),
            ("restarted after 5 min and 2 s", restarted(5 * MINUTE + 2), false, &[Once]),
            ("created soon, restarted after 6 min", Life { created: 1, ..restarted(6 * MINUTE) }, false, &[Once]),
            (
                "restarted before, clock a day ahead",
                Life { ahead: [DAY, DAY], ..restarted(-1) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted before, clock a day ahead, and a day later",
                Life { ahead: [DAY, DAY], reported: 10 * DAY, ..restarted(-1) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted before, clock a day ahead since the pod came",
                Life { ahead: [0, DAY], ..restarted(-1) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted after 6 min, clock a day ahead",
                Life { ahead: [DAY, DAY], ..restarted(6 * MINUTE) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted after 6 min, clock a day behind",
                Life { ahead: [-DAY, -DAY], ..restarted(6 * MINUTE) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted after 2 min, clock 4 min ahead",
                Life { ahead: [240, 240], reported: 10 * DAY, ..restarted(2 * MINUTE) },
                true,
                &[AtEachStart, Once],
            ),
            (
                "restarted after 2 days, clock was wrong when the pod came",
                Life { ahead: [DAY, 0], ..restarted(2 * DAY) },
                true,
                &[AtEachStart, Once],
            ),
        ];
        for (way, reads, take) in WAYS {
            for (what, life, minimum_is_over, holders) in lives {
                let mut pod = pod(*life);
                take(&mut pod);
                assert_eq!(holds(&pod, *minimum_is_over), holders.contains(reads), "{way}: {what}");
                assert_eq!(facts(&pod).refers_to(SECRET), *reads != Reads::Never, "{way}: {what}");
            }
        }
    }

    #[test]
    fn a_restart_needs_proof() {
        let proven = || {
            let mut pod = pod(restarted(10 * MINUTE));
            pod["spec"]["containers"] = json!([takes_env("app")]);
            pod
        };
        assert!(!holds(&proven(), true));
        let doubts: &[(&str, Change)] = &[
            ("no count", |pod| pod["status"]["containerStatuses"][0]["restartCount"] = json!(0)),
            ("no status", |pod| pod["status"] = json!({})),
            ("no managedFields", |pod| pod["metadata"]["managedFields"] = json!([])),
            ("no time of scheduling", |pod| pod["status"]["conditions"] = json!([])),
            ("no startTime", |pod| pod["status"]["startTime"] = Value::Null),
            ("scheduled by its node's clock", |pod| {
                pod["metadata"]["managedFields"][1]["fieldsV1"]["f:status"]["f:conditions"] =
                    json!({"k:{\"type\":\"PodScheduled\"}": {"f:lastTransitionTime": {}, "f:status": {}}});
            }),
        ];
        for (what, take_away) in doubts {
            let mut pod = proven();
            take_away(&mut pod);
            assert!(holds(&pod, true), "{what}");
        }
    }

    #[test]
    fn a_pod_without_a_time_was_created_before() {
        let mut pod = pod(created(DAY));
        pod["spec"]["containers"] = json!([takes_env("app")]);
        assert!(!holds(&pod, true));
        pod["metadata"]["creationTimestamp"] = Value::Null;
        assert!(holds(&pod, true));
    }

    #[test]
    fn a_sender_is_matched_by_its_own_addresses() {
        let mut pod = pod(created(7));
        let found = facts(&pod);
        assert_eq!(found.addresses[..], ["10.1.2.3", "fd00::3"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!((&*found.name, &*found.uid, found.host_network), ("shop-6d5f-x7k2p", "u-1", false));
        assert_eq!((found.created.to_string(), found.ended), (at(7), false));
        pod["spec"]["hostNetwork"] = json!(true);
        end(&mut pod, "Succeeded");
        assert!(facts(&pod).host_network && facts(&pod).ended);
    }

    #[test]
    fn a_pod_belongs_to_what_people_know() {
        let owned = |kind: &str, name: &str, hash: Option<&str>, controller: bool| {
            let mut pod = pod(OLD);
            pod["metadata"]["ownerReferences"][0]["kind"] = json!(kind);
            pod["metadata"]["ownerReferences"][0]["name"] = json!(name);
            pod["metadata"]["ownerReferences"][0]["controller"] = json!(controller);
            pod["metadata"]["labels"] = hash.map_or(json!({}), |hash| json!({"pod-template-hash": hash}));
            facts(&pod).workload()
        };
        let long = "x".repeat(100_000);
        for (kind, name, hash, controller, workload) in [
            ("ReplicaSet", "shop-6d5f", Some("6d5f"), true, ("Deployment", "shop")),
            ("ReplicaSet", "shop-6d5f", Some("7777"), true, ("ReplicaSet", "shop-6d5f")),
            ("ReplicaSet", "shop-6d5f", None, true, ("ReplicaSet", "shop-6d5f")),
            ("StatefulSet", "shop-6d5f", Some("6d5f"), true, ("StatefulSet", "shop-6d5f")),
            ("DaemonSet", "agent", None, true, ("DaemonSet", "agent")),
            ("Job", "nightly-29381", None, true, ("Job", "nightly-29381")),
            ("ConfigMap", "shop", None, false, ("Pod", "shop-6d5f-x7k2p")),
            (&long, &long, None, true, (&long[..MOST_OF_KIND], &long[..MOST_OF_NAME])),
        ] {
            assert_eq!(owned(kind, name, hash, controller), (workload.0.to_owned(), workload.1.to_owned()), "{kind}");
        }
        let bare = json!({"metadata": {"name": "debug"}, "spec": {"containers": []}});
        assert_eq!(facts(&bare).workload(), ("Pod".to_owned(), "debug".to_owned()));
    }

    #[test]
    fn workloads_with_most_pods_come_first() {
        let pods: Vec<_> = [("Job", "b"), ("StatefulSet", "a"), ("Job", "a"), ("StatefulSet", "a"), ("DaemonSet", "z")]
            .into_iter()
            .map(|(kind, name)| PodFacts { workload: Workload::named(kind, name), ..facts(&pod(OLD)) })
            .collect();
        let names = |most| {
            let held_by = by_workload(pods.iter(), most);
            held_by.into_iter().map(|held| format!("{} {} {}", held.pods, held.kind, held.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(20), ["2 StatefulSet a", "1 DaemonSet z", "1 Job a", "1 Job b"]);
        assert_eq!(names(2), ["2 StatefulSet a", "1 DaemonSet z"]);
    }
}
