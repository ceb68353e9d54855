//! Objects of a namespace, as their users handle them.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::eventually;

/// Field manager of the tests.
const MANAGER: &str = "kubectl";
/// Longest wait for something that takes a second.
const LIMIT: Duration = Duration::from_mins(1);

/// Group, version and plural of a kind.
#[must_use]
pub fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "ErrorTrackingProject" | "ClientKey" | "RunnerBinding" => {
            ("errortracking.dev", "v1alpha1", format!("{}s", kind.to_lowercase()))
        }
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions".to_owned()),
        "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => {
            ("rbac.authorization.k8s.io", "v1", format!("{}s", kind.to_lowercase()))
        }
        "Lease" => ("coordination.k8s.io", "v1", "leases".to_owned()),
        "Deployment" | "StatefulSet" | "DaemonSet" => ("apps", "v1", format!("{}s", kind.to_lowercase())),
        // Of the GitLab Runner Operator.
        "Runner" => ("apps.gitlab.com", "v1beta2", "runners".to_owned()),
        "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets".to_owned()),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers".to_owned()),
        "HTTPRoute" => ("gateway.networking.k8s.io", "v1", "httproutes".to_owned()),
        "Ingress" => ("networking.k8s.io", "v1", "ingresses".to_owned()),
        "NetworkPolicy" => ("networking.k8s.io", "v1", "networkpolicies".to_owned()),
        "Event" => ("events.k8s.io", "v1", "events".to_owned()),
        "Secret" | "ConfigMap" | "Service" | "ServiceAccount" | "Namespace" | "Pod" => {
            ("", "v1", format!("{}s", kind.to_lowercase()))
        }
        other => panic!("the plural of {other} is not known here"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}

/// A condition of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// A namespace, seen by its users.
#[derive(Clone)]
pub struct Namespace {
    pub name: String,
    client: Client,
}

impl Namespace {
    pub(super) fn of(client: &Client, name: &str) -> Self {
        Self { name: name.to_owned(), client: client.clone() }
    }

    #[must_use]
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &resource(kind))
    }

    /// Server-side apply as another field manager than the operator's.
    pub async fn try_apply(&self, manifest: &Value) -> Result<DynamicObject, kube::Error> {
        let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
        self.api(kind).patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(manifest)).await
    }

    pub async fn apply(&self, manifest: &Value) -> DynamicObject {
        self.try_apply(manifest).await.unwrap_or_else(|error| panic!("{manifest}: {error}"))
    }

    pub async fn project(&self, name: &str, spec: Value) -> DynamicObject {
        self.apply(&manifest("ErrorTrackingProject", name, spec)).await
    }

    /// A project that has no pods.
    pub async fn project_without_pods(&self, name: &str) -> DynamicObject {
        self.project(name, json!({"backend": {"integrated": {"ingest": {"replicas": 0}}}})).await
    }

    pub async fn key(&self, name: &str, project: &str) -> DynamicObject {
        self.key_with(name, json!({"projectRef": {"name": project}})).await
    }

    pub async fn key_with(&self, name: &str, spec: Value) -> DynamicObject {
        self.apply(&manifest("ClientKey", name, spec)).await
    }

    /// A project without pods and a key of the same name, both Ready.
    pub async fn ready_project(&self, name: &str) {
        self.project_without_pods(name).await;
        self.key(name, name).await;
        self.ready("ErrorTrackingProject", name).await;
        self.ready("ClientKey", name).await;
    }

    /// A merge patch.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) -> DynamicObject {
        self.try_patch(kind, name, patch).await.unwrap()
    }

    pub async fn try_patch(&self, kind: &str, name: &str, patch: Value) -> Result<DynamicObject, kube::Error> {
        self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    pub async fn patch_status(&self, kind: &str, name: &str, patch: Value) {
        self.api(kind).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks for the deletion; what is gone already is fine.
    pub async fn delete(&self, kind: &str, name: &str) {
        let _ = self.api(kind).delete(name, &DeleteParams::default()).await;
    }

    pub async fn get(&self, kind: &str, name: &str) -> Option<DynamicObject> {
        self.api(kind).get_opt(name).await.unwrap()
    }

    pub async fn list(&self, kind: &str) -> Vec<DynamicObject> {
        self.api(kind).list(&ListParams::default()).await.unwrap().items
    }

    /// A field by its JSON pointer, as "/status/projectID"; null when it is not there.
    pub async fn field(&self, kind: &str, name: &str, pointer: &str) -> Value {
        let object = self.get(kind, name).await;
        object.and_then(|object| serde_json::to_value(object).unwrap().pointer(pointer).cloned()).unwrap_or_default()
    }

    pub async fn condition(&self, kind: &str, name: &str, condition: &str) -> Option<Condition> {
        condition_of(&self.get(kind, name).await?, condition)
    }

    /// A value of a Secret; `None` when it is not there.
    pub async fn secret(&self, name: &str, key: &str) -> Option<String> {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let value = self.field("Secret", name, &format!("/data/{key}")).await;
        Some(String::from_utf8(BASE64_STANDARD.decode(value.as_str()?).unwrap()).unwrap())
    }

    /// Waits until the object is Ready as it is now, not as it was before its last change.
    pub async fn ready(&self, kind: &str, name: &str) {
        eventually(&format!("{kind} {name} Ready"), LIMIT, async || {
            is_ready(&self.get(kind, name).await?).then_some(())
        })
        .await;
    }

    /// Waits for a condition with this reason; its message.
    pub async fn reason(&self, kind: &str, name: &str, condition: &str, reason: &str) -> String {
        eventually(&format!("{kind} {name} {condition} {reason}"), LIMIT, async || {
            let found = self.condition(kind, name, condition).await?;
            (found.reason == reason).then_some(found.message)
        })
        .await
    }

    pub async fn gone(&self, kind: &str, name: &str) {
        eventually(&format!("{kind} {name} gone"), LIMIT, async || self.get(kind, name).await.is_none().then_some(()))
            .await;
    }
}

#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "callers write the spec where they call")]
pub fn manifest(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": resource(kind).api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

#[must_use]
pub fn condition_of(object: &DynamicObject, condition: &str) -> Option<Condition> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == condition)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(Condition { status: text("status"), reason: text("reason"), message: text("message") })
}

/// Whether the status says Ready of the newest spec.
#[must_use]
pub fn is_ready(object: &DynamicObject) -> bool {
    let seen = object.data["status"]["observedGeneration"].as_i64();
    seen == object.metadata.generation && condition_of(object, "Ready").is_some_and(|ready| ready.status == "True")
}
