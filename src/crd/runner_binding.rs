//! `RunnerBinding`: GitLab Runner reports its own failures with a key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    rotation::{HolderWorkload, Period},
    schema,
};

/// What GitLab's own chart gives a runner to end its jobs, in seconds.
const JOBS_GRACE: u32 = 3600;

/// Has GitLab Runner report its own failures with a ClientKey, across rotations of it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "errortracking.dev",
    version = "v1alpha1",
    kind = "RunnerBinding",
    plural = "runnerbindings",
    shortname = "etr",
    category = "errortracking",
    namespaced,
    status = "RunnerBindingStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Has GitLab Runner report its own failures with a ClientKey, across rotations of it.",
    selectable = ".spec.clientKeyRef.name",
    selectable = ".spec.restart",
    selectable = ".status.observedKeyID",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must start with a letter and hold only lower-case letters, digits and '-'"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters: choose a shorter name"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.observedKeyID) || (self.spec.clientKeyRef == oldSelf.spec.clientKeyRef && self.spec.runner == oldSelf.spec.runner)").message("clientKeyRef and runner are immutable once the runner has a key: delete this RunnerBinding, which takes the DSN out again, and create another"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Key", type_ = "string", json_path = ".spec.clientKeyRef.name"),
    printcolumn(name = "Rolled out", type_ = "string", json_path = ".status.conditions[?(@.type=='RolledOut')].reason"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.total"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.pods.current"),
    printcolumn(name = "Key ID", type_ = "string", json_path = ".status.observedKeyID", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RunnerBindingSpec {
    /// The key that the runner reports with.
    pub client_key_ref: ClientKeyReference,

    /// The runner, and how it gets its DSN.
    pub runner: RunnerTarget,

    /// What is done about pods that go on with the key before. Never, the default, restarts nothing and says which pods are left; Rolling restarts the workload once a rotation, if its pods may end their jobs first. With runner.runnerRef, Never also leaves a Runner alone that has pods, since another DSN makes the GitLab Runner Operator replace them.
    #[serde(default)]
    pub restart: RestartPolicy,

    /// The least terminationGracePeriodSeconds of pods that may be restarted, as "3600s"; 1h when absent, which is what GitLab's chart gives jobs to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}[hms]){1,3}$') && duration(self) <= duration('87600h')").message("minimumGracePeriod must be a duration of whole seconds up to 87600h, as 1h"))]
    pub minimum_grace_period: Option<Period>,

    /// The form of the DSN. Auto, the default, looks at the tag of the runner's image: Deprecated up to 14.6, else Modern. Deprecated has a secret key in it and needs extraKeys.deprecatedDSN of the ClientKey.
    #[serde(default)]
    pub dsn_form: DsnForm,

    /// What happens to the DSN in config.toml or in the Runner when this object is deleted. Remove, the default, takes it out if it is the one that was written; Leave leaves it. Nothing is restarted.
    #[serde(default)]
    pub deletion_policy: BindingDeletionPolicy,
}

/// A ClientKey of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ClientKeyReference {
    /// Name of the ClientKey.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("clientKeyRef.name must be the name of a ClientKey"))]
    pub name: String,
}

/// The runner, and how it gets its DSN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.environment), has(self.configToml), has(self.runnerRef)].filter(chosen, chosen).size() == 1").message("runner needs exactly one of environment, configToml and runnerRef"))]
pub struct RunnerTarget {
    /// By the variable SENTRY_DSN, which runners read since 19.2. It is looked whether the container has it from the Secret of the ClientKey; nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<RunnerEnvironment>,

    /// By the global key sentry_dsn of a config.toml in a Secret or a ConfigMap. Only that key is edited, and only where nobody else owns the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_toml: Option<ConfigToml>,

    /// By spec.sentryDsn of a Runner of the GitLab Runner Operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_ref: Option<RunnerReference>,
}

/// The container that should have SENTRY_DSN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunnerEnvironment {
    /// The workload whose pods are the runner.
    pub workload_ref: WorkloadReference,
    /// Name of the container; when absent the first whose image is named gitlab-runner, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("container must be the name of a container: lower-case letters, digits and '-'"))]
    pub container: Option<String>,
}

/// Where the config.toml is, and who reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)").message("configToml needs exactly one of secretRef and configMapRef"))]
pub struct ConfigToml {
    /// A Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ConfigReference>,
    /// A ConfigMap of this namespace. Whoever may view the namespace can read the DSN in it: a Secret is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigReference>,
    /// The workload whose pods are the runner.
    pub workload_ref: WorkloadReference,
    /// Name of the container; when absent the first whose image is named gitlab-runner, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("container must be the name of a container: lower-case letters, digits and '-'"))]
    pub container: Option<String>,
}

/// A key of a Secret or of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ConfigReference {
    /// Name of the Secret or the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("the name of a Secret or a ConfigMap holds only lower-case letters, digits, '-' and '.'"))]
    pub name: String,
    /// Key of its data.
    #[serde(default = "config_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("a key of a Secret or a ConfigMap holds only letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

fn config_key() -> String {
    "config.toml".to_owned()
}

/// A workload of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct WorkloadReference {
    /// Kind of the workload, of apps/v1.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("workloadRef.name must be the name of a workload: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
}

/// Kind of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// A Runner of the GitLab Runner Operator, apps.gitlab.com/v1beta2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RunnerReference {
    /// Name of the Runner.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("runnerRef.name must be the name of a Runner: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
}

/// What is done about pods that go on with the key before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    #[default]
    Never,
    Rolling,
}

/// The form of the DSN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DsnForm {
    #[default]
    Auto,
    Modern,
    Deprecated,
}

/// What happens to the DSN when the RunnerBinding is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BindingDeletionPolicy {
    #[default]
    Remove,
    Leave,
}

impl RunnerBinding {
    /// Kind of a [`HolderWorkload`] that stands for the pods of a binding's runner.
    pub const HOLDER: &'static str = "RunnerBinding";

    /// The workload that the spec names, and the container if it names one; none with `runnerRef`.
    #[must_use]
    pub fn workload(&self) -> Option<(&WorkloadReference, Option<&str>)> {
        let RunnerTarget { environment, config_toml, .. } = &self.spec.runner;
        let of_environment = environment.as_ref().map(|of| (&of.workload_ref, of.container.as_deref()));
        of_environment.or_else(|| config_toml.as_ref().map(|of| (&of.workload_ref, of.container.as_deref())))
    }

    /// The pods of the runner that have another key than `active`, or will be configured with one; `active: None`: any key
    /// counts. Those of the environment refer to the Secret, and are found by that.
    ///
    /// `status` is the newest that is known of the binding.
    #[must_use]
    pub fn holders(&self, status: &RunnerBindingStatus, active: Option<&str>) -> Option<HolderWorkload> {
        let observed = status.observed_key_id.as_deref().filter(|_| self.spec.runner.environment.is_none())?;
        let pods = match status.pods {
            Some(pods) if active == Some(observed) => pods.total.saturating_sub(pods.current).max(0),
            // Its configuration names the key, for pods that are there or will be.
            Some(pods) => pods.total.max(1),
            // Nobody knows.
            None => 1,
        };
        let name = self.metadata.name.clone().unwrap_or_default();
        (pods > 0).then(|| HolderWorkload { kind: Self::HOLDER.into(), name, pods })
    }

    /// The least grace period of pods that may be restarted, in seconds.
    #[must_use]
    pub fn minimum_grace_seconds(&self) -> u32 {
        self.spec.minimum_grace_period.as_ref().map_or(JOBS_GRACE, Period::seconds)
    }
}

/// What the operator made of a binding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunnerBindingStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the runner is configured with the key that the Secret of the ClientKey holds. Reconciling: something is under way. Stalled: a person must act. Paused: the annotation errortracking.dev/paused is "true". Configured: as Ready, of the configuration alone. RolledOut: every pod of the runner has that key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The key, by its number in the store, that the runner was configured with last.
    #[serde(rename = "observedKeyID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed_key_id: Option<String>,
    /// Since when the configuration names that key, by the API server's clock: pods that began later have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_at: Option<Time>,
    /// The pods of the runner. Absent while they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<BoundPods>,
    /// The key for which the workload was restarted last.
    #[serde(rename = "restartedKeyID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub restarted_key_id: Option<String>,
    /// First 16 characters of the SHA-256 of the DSN that was written, in hexadecimal: what is taken out when this object goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub dsn_digest: Option<String>,
}

/// The pods of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundPods {
    /// How many there are, with those that are terminating.
    pub total: i32,
    /// How many of them have the key that the runner is configured with.
    pub current: i32,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_runner_holds_a_key_until_its_binding_says_that_every_pod_has_the_next() {
        let config = json!({"configToml": {"secretRef": {"name": "config"}, "workloadRef": {"name": "runner"}}});
        let runner = json!({"runnerRef": {"name": "runner"}});
        let environment = json!({"environment": {"workloadRef": {"name": "runner"}}});
        let pods = |total: i32, current: i32| json!({"total": total, "current": current});
        for (case, target, status, held) in [
            ("never configured", &config, json!({}), 0),
            ("configured with the key before", &config, json!({"observedKeyID": "6", "pods": pods(3, 3)}), 3),
            ("with the key before, no pods", &runner, json!({"observedKeyID": "6", "pods": pods(0, 0)}), 1),
            ("with the next key, pods unknown", &config, json!({"observedKeyID": "7"}), 1),
            ("some pods have it", &runner, json!({"observedKeyID": "7", "pods": pods(3, 1)}), 2),
            ("all pods have it", &config, json!({"observedKeyID": "7", "pods": pods(3, 3)}), 0),
            ("a status that somebody forged", &config, json!({"observedKeyID": "7", "pods": pods(1, 9)}), 0),
            ("by the environment", &environment, json!({"observedKeyID": "6", "pods": pods(3, 0)}), 0),
        ] {
            let binding: RunnerBinding = serde_json::from_value(json!({
                "metadata": {"name": "fleet"}, "spec": {"clientKeyRef": {"name": "runners"}, "runner": target},
            }))
            .unwrap();
            let status: RunnerBindingStatus =
                serde_json::from_value::<Value>(status).and_then(serde_json::from_value).unwrap();
            let found = binding.holders(&status, Some("7")).map_or(0, |held| held.pods);
            assert_eq!(found, held, "{case}");
        }
    }
}
