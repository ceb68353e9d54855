//! Who holds the keys before the one that the Secret names: a list of kinds of holders, each with what proves it.
//!
//! - Pods of the namespace that take the Secret, by what the API server says of them.
//! - Runners that a `RunnerBinding` configures, by what its status says: their config.toml or their Runner names the key, and
//!   no pod refers to the Secret.

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;

use super::KeyPass;
use crate::{
    backend::Key,
    crd::{HolderWorkload, RunnerBinding, RunnerBindingStatus},
    kubernetes::holders::{PodFacts, Published, by_workload},
    operator::{
        engine::queue::ObjectName,
        kinds::restarts::{Restart, Verdict},
    },
    rotation::{self, Rules, State},
};

/// Workloads that are named in a status.
const MOST_WORKLOADS: usize = 20;
/// Bindings of one key that are looked at. With more of them, nobody knows who holds the key.
const MOST_BINDINGS: usize = 200;

/// Who holds the keys before the one that the Secret names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub pods: usize,
    /// Those with most pods first.
    pub by: Vec<HolderWorkload>,
}

impl Held {
    /// Counts those of another kind of holders in.
    fn and(mut self, others: Vec<HolderWorkload>) -> Self {
        self.pods += others.iter().map(|held| usize::try_from(held.pods).unwrap_or_default()).sum::<usize>();
        self.by.extend(others);
        self.by.sort_by_key(|held| Reverse(held.pods));
        self.by.truncate(MOST_WORKLOADS);
        self
    }
}

impl KeyPass<'_> {
    /// Who holds the keys before the one that the Secret names, by a list that is as old as the overlap can bear.
    pub(super) async fn holders(&self, rules: &Rules) -> (rotation::Holders, Option<Held>) {
        let age = Duration::try_from(rules.overlap.look_every()).unwrap_or_default();
        self.holders_of(rules, age).await
    }

    /// As they are now, for the last look before a key ends.
    pub(super) async fn has_no_holders(&self, rules: &Rules) -> bool {
        self.holders_of(rules, Duration::ZERO).await.0 == rotation::Holders::None
    }

    async fn holders_of(&self, rules: &Rules, age: Duration) -> (rotation::Holders, Option<Held>) {
        let unknown = (rotation::Holders::Unknown, None);
        if !self.holders_seen() {
            return unknown;
        }
        let Some(pods) = self.context.pod_lists.of(&self.namespace, age).await else { return unknown };
        let Some(bindings) = self.bindings() else { return unknown };
        let active = self.keys.active().map(|key| key.id.as_str()).unwrap_or_default();
        let bound = bindings.iter().filter_map(|(binding, status)| binding.holders(status, Some(active)));
        let held = self.held_by_pods(rules, &pods).and(bound.collect());
        (if held.pods == 0 { rotation::Holders::None } else { rotation::Holders::Some }, Some(held))
    }

    fn held_by_pods(&self, rules: &Rules, pods: &[PodFacts]) -> Held {
        let published = self.published(rules);
        let first = (self.key.secret_name(), published);
        let second = self.key.spec.service_binding.then(|| {
            let is_named = self.keys.active().is_some_and(|key| self.binding_names(key));
            // Until it names the active key, whoever reads it gets the key before.
            let at = if is_named { published.at } else { Timestamp::MAX };
            (self.key.binding_name(), Published { at, ..published })
        });
        let secrets: Vec<_> = std::iter::once(first).chain(second).collect();
        let holds = |pod: &&PodFacts| secrets.iter().any(|(secret, since)| pod.holds_former_key(secret, since));
        Held { pods: pods.iter().filter(holds).count(), by: by_workload(pods.iter().filter(holds), MOST_WORKLOADS) }
    }

    /// Since when the Secret names the active key, and whether the minimum is over for each key before it.
    fn published(&self, rules: &Rules) -> Published {
        let now = self.now();
        let is_over = |key: &Key| key.retiring_since.is_some_and(|since| rules.overlap.not_before(since) <= now);
        let mut former = self.keys.living().filter(|key| key.state == State::Overlap);
        Published {
            // Not recorded yet: every pod that is there may have an older key.
            at: self.keys.active().and_then(|key| key.published_at).unwrap_or(Timestamp::MAX),
            minimum_is_over: former.all(is_over),
        }
    }

    /// The bindings of this key, each with its newest status; `None`: one cannot be read, or there are too many.
    fn bindings(&self) -> Option<Vec<(RunnerBinding, RunnerBindingStatus)>> {
        let bindings = self.context.caches.of::<RunnerBinding>();
        let names = bindings.cache.referring(&self.namespace, &self.name);
        let read = |name: ObjectName| {
            let binding = bindings.get(&name)?;
            let binding = binding.0.as_ref().ok()?.clone();
            let status = self.context.caches.newest_status(&binding);
            Some((binding, status))
        };
        (names.len() <= MOST_BINDINGS).then(|| names.into_iter().map(read).collect())?
    }

    /// A runner's jobs are cut by a restart that its binding would not make.
    pub(super) fn leave_bound(&self, restarts: &mut [Restart]) {
        for (binding, _) in self.bindings().into_iter().flatten() {
            let Some((workload, _)) = binding.workload() else { continue };
            let name = binding.metadata.name.clone().unwrap_or_default();
            let bound = restarts.iter_mut().filter(|of| of.kind == workload.kind.as_str() && of.name == workload.name);
            for restart in bound.filter(|restart| restart.is_due()) {
                restart.verdict = Verdict::Untouched(format!("RunnerBinding {name} says when"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_of_every_kind_count_together() {
        let workload = |kind: &str, pods| HolderWorkload { kind: kind.into(), name: "a".into(), pods };
        let held = Held { pods: 2, by: vec![workload("Deployment", 2)] };
        let both = held.and(vec![workload("RunnerBinding", 3)]);
        assert_eq!(both, Held { pods: 5, by: vec![workload("RunnerBinding", 3), workload("Deployment", 2)] });
    }
}
