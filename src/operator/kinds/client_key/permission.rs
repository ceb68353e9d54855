//! Whether a project of another namespace lets the key's namespace in, and what happens to a key that it does not let in
//! any more. Who is kept out must not learn whether there is such a project: both look the same from outside.

use std::sync::Arc;

use kube::{
    Resource,
    core::{Selector, SelectorExt},
};

use super::{
    KeyPass,
    plan::{Observed, Project, Step},
};
use crate::{
    crd::{AllowedNamespaces, ErrorTrackingProject, NamespacesFrom},
    operator::{
        cluster::Guarded,
        kinds::failure::Failure,
        objects::{
            child::{ChildKind, Ownership, ownership},
            namespaces::Labels,
        },
    },
};

impl KeyPass<'_> {
    /// The project that the spec names, whether or not it lets the key's namespace in.
    pub(super) fn project(&self) -> Option<Arc<Guarded<ErrorTrackingProject>>> {
        self.context.caches.project(self.key.project_namespace(), &self.key.spec.project_ref.name)
    }

    /// Whether the project is there, can be read, and says so.
    pub(super) fn project_says(&self, so: impl FnOnce(&ErrorTrackingProject) -> bool) -> bool {
        self.project().is_some_and(|project| project.0.as_ref().is_ok_and(so))
    }

    /// Asked in each pass, so that a label that is taken off a namespace is noticed within ten minutes.
    pub(super) async fn is_let_in(&self, project: &ErrorTrackingProject) -> Result<bool, Failure> {
        if !self.key.is_elsewhere() {
            return Ok(true);
        }
        let allowed = &project.spec.allowed_namespaces;
        let labels = match allowed.from {
            NamespacesFrom::Selector => self.context.namespaces.of(&self.namespace).await?,
            NamespacesFrom::Same | NamespacesFrom::All => None,
        };
        Ok(lets_in(allowed, labels.as_deref()))
    }

    /// What a key finds whose project is not there for it.
    pub(super) fn kept_out(&self) -> Project {
        if !self.key.is_elsewhere() {
            return Project::NotFound;
        }
        let named = self.key.status.as_ref().is_some_and(|status| status.active.is_some());
        // Whoever had a key was let in once. A status can be lost, as when the object is applied anew from a backup.
        let owner = self.key.controller_owner_ref(&()).unwrap_or_default();
        let published = || {
            let secret = self.context.caches.child(ChildKind::Secret, &self.namespace, &self.key.secret_name());
            secret.is_some_and(|secret| ownership(&secret, &owner) == Ownership::Ours)
        };
        if named || published() { Project::Withdrawn } else { Project::NotFound }
    }
}

/// Whether another namespace with these labels is let in. `None`: there is no such namespace, or nobody asks for its labels.
fn lets_in(allowed: &AllowedNamespaces, labels: Option<&Labels>) -> bool {
    match (allowed.from, labels) {
        (NamespacesFrom::All, _) => true,
        (NamespacesFrom::Same, _) | (NamespacesFrom::Selector, None) => false,
        (NamespacesFrom::Selector, Some(labels)) => {
            let selector = allowed.selector.clone().map(Selector::try_from);
            // The schema lets in none that cannot be read.
            matches!(selector, Some(Ok(selector)) if selector.matches(labels))
        }
    }
}

/// What a key needs that was let in and is not any more. The object is `Stalled` with the reason `NotAllowed`. Its keys are
/// refused after `rotation.overlap.minimum`, so that its users can move to another project; the Secret stays as it is, and
/// what takes from the keys is still followed, as `enabled: false`. Whoever is let in again before keeps the key.
pub fn withdrawn(observed: &Observed) -> Vec<Step> {
    let mut steps: Vec<_> = observed.decision.before.iter().copied().map(Step::Change).collect();
    if observed.living.iter().any(|key| key.enabled) && !observed.enabled {
        steps.push(Step::SetEnabled(false));
    }
    steps.extend(observed.decision.after.iter().copied().map(Step::Change));
    steps
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_namespace_is_let_in_by_its_labels_or_with_all_others() {
        let selector = |selector: Value| json!({"from": "Selector", "selector": selector});
        let expression = |key: &str, operator: &str, values: Value| {
            let mut expression = json!({"key": key, "operator": operator});
            if !values.is_null() {
                expression["values"] = values;
            }
            selector(json!({"matchExpressions": [expression]}))
        };
        for (allowed, expected) in [
            (json!({}), false),
            (json!({"from": "Same"}), false),
            (json!({"from": "All"}), true),
            (selector(json!({})), true),
            (selector(json!({"matchLabels": {"team": "web"}})), true),
            (selector(json!({"matchLabels": {"team": "api"}})), false),
            (selector(json!({"matchLabels": {"team": "web", "stage": "production"}})), false),
            (expression("team", "In", json!(["api", "web"])), true),
            (expression("team", "In", json!(["api"])), false),
            (expression("team", "NotIn", json!(["web"])), false),
            (expression("stage", "NotIn", json!(["production"])), true),
            (expression("team", "Exists", Value::Null), true),
            (expression("stage", "Exists", Value::Null), false),
            (expression("stage", "DoesNotExist", Value::Null), true),
            (expression("team", "Near", json!(["web"])), false),
            (json!({"from": "Selector"}), false),
        ] {
            let read: AllowedNamespaces = serde_json::from_value(allowed.clone()).unwrap();
            let labels = Labels::from([("team".into(), "web".into())]);
            assert_eq!(lets_in(&read, Some(&labels)), expected, "{allowed}");
            let known_without = allowed["from"] == "All";
            assert_eq!(lets_in(&read, None), known_without, "{allowed} and a namespace that is gone");
        }
    }
}
