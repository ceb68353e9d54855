//! The rollout of a Deployment as its status shows it, and which projects may roll when a new version of the operator
//! changes the image of all ingest pods, or their template.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use kube::{Resource, ResourceExt, api::DynamicObject};
use parking_lot::Mutex;
use serde_json::Value;
use tracing::warn;

use super::{names::IngestImage, template};
use crate::{
    crd::Scale,
    kubernetes::names::PROJECT_LABEL,
    operator::{
        cluster::cache::{Facts, digest},
        kinds::Caches,
        objects::child::ChildKind,
    },
};

/// Time from a grant until the cache shows the Deployment with the new image. A pass that failed in between
/// must not hold the place for ever.
const GRANT: Duration = Duration::from_secs(30);
/// How long one look at all Deployments serves: every project may ask at once.
const LOOK: Duration = Duration::from_secs(1);

/// In so many namespaces the newer version must fail before the rollout is halted.
const STUCK_NAMESPACES: usize = 2;

/// Namespace and name of a project.
pub type ProjectKey = (String, String);

/// The state of the pods, by the status of their Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub desired: i32,
    pub ready: i32,
    /// Pods of the newest template, and pods of any.
    pub updated: i32,
    pub existing: i32,
    /// The Deployment controller has seen the newest spec.
    pub seen: bool,
    /// No progress within the deadline.
    pub failing: bool,
    /// Why pods cannot be made, in the words of the API server.
    pub refused: Option<String>,
}

impl Rollout {
    /// Reads what the Deployment controller says in `.status`.
    #[must_use]
    pub fn of(deployment: &DynamicObject) -> Self {
        let number = |value: &Value| i32::try_from(value.as_i64().unwrap_or_default()).unwrap_or_default();
        let (spec, status) = (&deployment.data["spec"], &deployment.data["status"]);
        let condition = |kind: &str, holds: &str| {
            let all = status["conditions"].as_array().into_iter().flatten();
            all.into_iter().find(|condition| condition["type"] == kind && condition["status"] == holds)
        };
        let seen = status["observedGeneration"].as_i64() == deployment.meta().generation;
        let refused = condition("ReplicaFailure", "True").and_then(|condition| condition["message"].as_str());
        Self {
            desired: number(&spec["replicas"]),
            ready: number(&status["readyReplicas"]),
            updated: number(&status["updatedReplicas"]),
            existing: number(&status["replicas"]),
            seen,
            failing: seen && condition("Progressing", "False").is_some(),
            refused: refused.filter(|_| seen).map(str::to_owned),
        }
    }

    /// All pods are of the newest template, and as many as asked for are ready.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.seen && self.updated == self.desired && self.existing == self.desired && self.ready == self.desired
    }

    /// Whether nothing is left to wait for. An autoscaler may change the count at any time: its minimum is enough, and
    /// a count that the Deployment controller has not seen yet keeps the answer `before`.
    #[must_use]
    pub fn settled(&self, scale: Scale, before: bool) -> bool {
        match scale {
            Scale::Fixed(_) => self.complete(),
            Scale::Automatic(_) if !self.seen => before,
            Scale::Automatic(bounds) => self.updated == self.existing && self.ready >= bounds.min_replicas,
        }
    }

    /// Pods of an older template are still there because the newer ones do not become ready.
    fn stuck(&self) -> bool {
        self.failing && self.existing > self.updated
    }
}

/// What a version of the operator decides of ingest pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub image: IngestImage,
    /// Digest of the operator's part of the template; empty: made before that was written down.
    template: String,
}

impl Version {
    /// What this program decides.
    #[must_use]
    pub fn new(image: IngestImage) -> Self {
        Self { image, template: template::DIGEST.clone() }
    }

    /// That of the pods that a Deployment asks for.
    #[must_use]
    pub fn of(deployment: &DynamicObject) -> Option<Self> {
        let containers = deployment.data["spec"]["template"]["spec"]["containers"].as_array()?;
        let container = containers.iter().find(|container| container["name"] == "ingest")?;
        let text = |field: &str| container[field].as_str().map(str::to_owned);
        let image = IngestImage { image: text("image")?, pull_policy: text("imagePullPolicy")? };
        let template = deployment.annotations().get(template::ANNOTATION).cloned().unwrap_or_default();
        Some(Self { image, template })
    }

    /// Whether pods of the other one are no newer.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.image.image, &self.template) == (&other.image.image, &other.template)
    }

    /// A number that tells it from others.
    fn number(&self) -> u64 {
        digest(format!("{} {}", self.image.image, self.template).as_bytes())
    }
}

/// What rollouts ask of a Deployment.
#[must_use]
pub fn facts(deployment: &DynamicObject) -> Facts {
    let rollout = Rollout::of(deployment);
    let version = Version::of(deployment).map_or(0, |version| version.number());
    let (ready, stalled) = (rollout.complete(), rollout.stuck());
    Facts {
        number: rollout.desired.into(),
        refers_to: deployment.labels().get(PROJECT_LABEL).map(String::as_str).unwrap_or_default().into(),
        outward: digest(format!("{version} {ready} {stalled} {}", rollout.desired > 0).as_bytes()),
        ready,
        stalled,
        version,
        ..Facts::default()
    }
}

/// Why a project keeps the version that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Versions, as an image's tag names them.
    pub kept: String,
    pub newer: String,
    /// Where the newer version does not come up: a project of the same namespace by its name, one of another without,
    /// because tenants are not told of each other. `None`: others have their turn first.
    pub halted_by: Option<String>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kept, newer, halted_by } = self;
        match halted_by {
            Some(project) => write!(
                formatter,
                "They keep version {kept}: the rollout of version {newer} is halted by {project}, where it does not come up."
            ),
            None => {
                write!(formatter, "They keep version {kept} until it is this project's turn to get version {newer}.")
            }
        }
    }
}

/// What counts of a Deployment that has the newer version.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    complete: bool,
    stuck: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
    /// Not before this project's rollout works.
    Halted(ProjectKey),
}

/// Whose turn it is: `begun` are the other projects that have the newer version, `granted` those that get it in a
/// moment, `proven` those that it has run in: what fails there later fails for another reason.
fn decide(
    begun: &BTreeMap<ProjectKey, Progress>,
    granted: &BTreeSet<ProjectKey>,
    proven: &BTreeSet<ProjectKey>,
    limit: u32,
) -> Turn {
    let unproven = || begun.iter().filter(|(project, progress)| !progress.complete && !proven.contains(*project));
    // Pods that a project cannot schedule are its own affair: a namespace counts once, whatever its tenant breaks.
    let stuck: BTreeMap<&str, &ProjectKey> =
        unproven().filter(|(_, progress)| progress.stuck).map(|(project, _)| (project.0.as_str(), project)).collect();
    let enough = STUCK_NAMESPACES.min(limit as usize);
    if let Some(project) = stuck.values().next().filter(|_| stuck.len() >= enough) {
        return Turn::Halted((*project).clone());
    }
    let rolling = unproven().filter(|(_, progress)| !progress.stuck).map(|(project, _)| project);
    let rolling: BTreeSet<&ProjectKey> = rolling.chain(granted).collect();
    if rolling.len() + stuck.len() < limit as usize { Turn::Now } else { Turn::Later }
}

/// Whose turn it was since the process began to lead. All that must outlive it is in the Deployments.
#[derive(Debug, Default)]
pub struct Rollouts(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    /// The projects that have the newer version, and when that was looked at.
    begun: BTreeMap<ProjectKey, Progress>,
    looked: Option<Instant>,
    granted: BTreeMap<ProjectKey, Instant>,
    proven: BTreeSet<ProjectKey>,
    /// The projects that wait for their turn.
    held: BTreeSet<ProjectKey>,
    /// The halting project that was logged last.
    halting: Option<ProjectKey>,
}

impl Rollouts {
    /// The reason why the project must keep its `live` version, `None` when it may have the `newer` one. Then it counts
    /// as under way until its Deployment says otherwise.
    pub fn ask(
        &self,
        project: &ProjectKey,
        live: &Version,
        newer: &Version,
        limit: u32,
        caches: &Caches,
    ) -> Option<Held> {
        let fresh = self.0.lock().looked.is_some_and(|looked| looked.elapsed() <= LOOK);
        if !fresh {
            // Without the lock: the other passes need not wait for a look at every Deployment.
            let begun = begun(newer, caches);
            self.0.lock().take(begun);
        }
        let mut turns = self.0.lock();
        let mut granted: BTreeSet<_> = turns.granted.keys().cloned().collect();
        granted.remove(project);
        let halted_by = match decide(&turns.begun, &granted, &turns.proven, limit) {
            Turn::Now => {
                turns.granted.insert(project.clone(), Instant::now());
                turns.held.remove(project);
                return None;
            }
            Turn::Later => None,
            Turn::Halted(halting) => {
                let (namespace, name) = &halting;
                let shown =
                    if *namespace == project.0 { name.clone() } else { "a project of another namespace".to_owned() };
                if turns.halting.as_ref() != Some(&halting) {
                    warn!(
                        namespace,
                        project = name,
                        image = newer.image.image,
                        "The rollout is halted: the new version does not come up here."
                    );
                    turns.halting = Some(halting);
                }
                Some(shown)
            }
        };
        turns.held.insert(project.clone());
        Some(Held { kept: version(&live.image.image), newer: version(&newer.image.image), halted_by })
    }

    /// The next projects that may ask again, because a rollout has gone on. They are held again when they do.
    #[must_use]
    pub fn next(&self, limit: u32) -> Vec<ProjectKey> {
        let mut turns = self.0.lock();
        turns.looked = None;
        let next: Vec<_> = turns.held.iter().take(limit as usize).cloned().collect();
        for project in &next {
            turns.held.remove(project);
        }
        next
    }
}

/// The projects that have the newer version, by the facts of their Deployments.
fn begun(newer: &Version, caches: &Caches) -> BTreeMap<ProjectKey, Progress> {
    let newer = newer.number();
    caches.children(ChildKind::Deployment).summaries(|all| {
        // Where nothing runs, nothing is proven. Of what no project owns no version is known.
        all.filter(|(_, deployment)| deployment.facts.version == newer && deployment.facts.number > 0)
            .map(|(name, deployment)| {
                let facts = &deployment.facts;
                let key = (name.namespace.to_string(), facts.refers_to.to_string());
                (key, Progress { complete: facts.ready, stuck: facts.stalled })
            })
            .collect()
    })
}

impl Turns {
    fn take(&mut self, begun: BTreeMap<ProjectKey, Progress>) {
        self.begun = begun;
        self.looked = Some(Instant::now());
        let Self { begun, granted, proven, .. } = self;
        granted.retain(|key, since| !begun.contains_key(key) && since.elapsed() < GRANT);
        proven.retain(|key| begun.contains_key(key));
        proven.extend(begun.iter().filter(|(_, progress)| progress.complete).map(|(key, _)| key.clone()));
    }
}

/// The tag or the digest of an image; the registry and its port say nothing to a reader.
fn version(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once('@').or_else(|| name.split_once(':')).map_or(name, |(_, version)| version).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::Autoscaling;

    const COMPLETE: Progress = Progress { complete: true, stuck: false };
    const ROLLING: Progress = Progress { complete: false, stuck: false };
    const STUCK: Progress = Progress { complete: false, stuck: true };

    fn key(name: &str) -> ProjectKey {
        let (namespace, name) = name.split_once('/').unwrap_or(("web", name));
        (namespace.into(), name.into())
    }

    #[test]
    fn so_many_roll_at_once_and_failures_in_two_namespaces_halt_the_rest() {
        let halted = || Turn::Halted(("other".into(), "a".into()));
        for (case, begun, granted, proven, turn) in [
            ("the first", vec![], vec![], vec![], Turn::Now),
            ("one under way", vec![("a", ROLLING)], vec![], vec![], Turn::Now),
            ("two under way", vec![("a", ROLLING), ("b", ROLLING)], vec![], vec![], Turn::Later),
            ("one under way, one granted", vec![("a", ROLLING)], vec!["b"], vec![], Turn::Later),
            ("granted and begun is one", vec![("a", ROLLING)], vec!["a"], vec![], Turn::Now),
            ("others are done", vec![("a", COMPLETE), ("b", COMPLETE), ("c", ROLLING)], vec![], vec![], Turn::Now),
            ("one fails and keeps its place", vec![("a", STUCK)], vec![], vec![], Turn::Now),
            ("one fails, one is under way", vec![("a", STUCK), ("b", ROLLING)], vec![], vec![], Turn::Later),
            (
                "a namespace fails as often as it likes",
                vec![("a", STUCK), ("b", STUCK), ("c", STUCK)],
                vec![],
                vec![],
                Turn::Now,
            ),
            (
                "two namespaces fail",
                vec![("a", STUCK), ("other/a", STUCK), ("b", COMPLETE)],
                vec![],
                vec!["b"],
                halted(),
            ),
            ("it ran before it failed", vec![("a", STUCK), ("b", STUCK)], vec![], vec!["a", "b"], Turn::Now),
        ] {
            let begun = begun.into_iter().map(|(name, progress)| (key(name), progress)).collect();
            let keys = |names: Vec<&str>| names.into_iter().map(key).collect();
            assert_eq!(decide(&begun, &keys(granted), &keys(proven), 2), turn, "{case}");
        }
        let alone = BTreeMap::from([(key("a"), STUCK)]);
        assert_eq!(decide(&alone, &BTreeSet::new(), &BTreeSet::new(), 1), Turn::Halted(key("a")), "one at a time");
    }

    #[test]
    fn the_version_is_told_without_the_registry() {
        for (image, told) in [
            ("registry.example:5000/team/operator:1.2.3", "1.2.3"),
            ("operator@sha256:00ff", "sha256:00ff"),
            ("registry.example:5000/operator", "operator"),
        ] {
            assert_eq!(version(image), told, "{image}");
        }
    }

    fn deployment(replicas: i32, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "shop-ingest", "generation": 2},
            "spec": {"replicas": replicas},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_is_read_from_the_status_of_the_deployment() {
        let done = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
        assert!(Rollout::of(&deployment(2, &done)).complete());
        let stale = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2});
        assert!(!Rollout::of(&deployment(2, &stale)).complete());
        let stuck = json!({
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
            "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                {"type": "ReplicaFailure", "status": "True", "message": "no PriorityClass"},
            ],
        });
        let stuck = Rollout::of(&deployment(2, &stuck));
        assert!(stuck.failing && stuck.stuck() && !stuck.complete());
        assert_eq!(stuck.refused.as_deref(), Some("no PriorityClass"));
        assert_eq!(
            Rollout::of(&deployment(0, &json!({"observedGeneration": 2}))),
            Rollout { seen: true, ..Rollout::default() }
        );
    }

    #[test]
    fn a_count_that_the_autoscaler_changes_is_no_news() {
        let bounds = Autoscaling { min_replicas: 2, max_replicas: 8, target_cpu_utilization_percentage: 80 };
        let scale = Scale::Automatic(bounds);
        let rollout = |desired, ready, updated, existing, seen| Rollout {
            desired,
            ready,
            updated,
            existing,
            seen,
            ..Rollout::default()
        };
        for (case, rollout, before, settled) in [
            ("as it was", rollout(2, 2, 2, 2, true), true, true),
            ("scaled a moment ago", rollout(4, 2, 2, 2, false), true, true),
            ("two more are started", rollout(4, 2, 4, 4, true), true, true),
            ("fewer than the minimum", rollout(4, 1, 4, 4, true), true, false),
            ("a new template", rollout(4, 4, 1, 5, true), true, false),
            ("a new template a moment ago", rollout(4, 4, 4, 4, false), false, false),
        ] {
            assert_eq!(rollout.settled(scale, before), settled, "{case}");
        }
    }
}
