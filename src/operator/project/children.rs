//! The objects of a project's ingest: what each should be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::Resource;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    crd::{ErrorTrackingProject, Ingest},
    dsn::ProjectId,
    operator::child::{Child, ChildKind, PROJECT_LABEL, secret_data},
};

/// Port of the Service, so that a DSN needs none.
const SERVICE_PORT: u16 = 80;
const INGEST_PORT: u16 = 8080;
const PROBE_PORT: u16 = 8081;
/// User and group of the image.
const NON_ROOT: i64 = 65532;
/// Where the Secret of the login is mounted.
const DATABASE_DIRECTORY: &str = "/etc/error-tracking/database";
/// Seconds to drain: 5 until the endpoints are updated, 15 for requests under way, 10 for the last commits and counts,
const TERMINATION_GRACE_SECONDS: i64 = 60;

/// What the installation decides about ingest pods.
#[derive(Clone, Debug)]
pub struct IngestImage {
    pub image: String,
    pub pull_policy: String,
}

/// Name of everything that receives a project's events.
#[must_use]
pub fn ingest_name(project: &str) -> String {
    format!("{project}-ingest")
}

/// Name of the Secret that holds the login of the ingest pods.
#[must_use]
pub fn database_secret_name(project: &str) -> String {
    format!("{project}-database")
}

/// Where pods of the cluster send events, without a trailing slash.
#[must_use]
pub fn internal_url(namespace: &str, project: &str) -> String {
    format!("http://{}.{namespace}.svc", ingest_name(project))
}

/// Where the pods find Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseAddress {
    pub host: String,
    pub port: u16,
    pub dbname: String,
}

/// Everything that receives the project's events but the Secret of its login, in the order of making.
#[must_use]
pub fn workload(project: &ErrorTrackingProject, id: ProjectId, image: &IngestImage, database_port: u16) -> Vec<Child> {
    let ingest =
        project.spec.backend.integrated.as_ref().map(|integrated| integrated.ingest.clone()).unwrap_or_default();
    let project = Owned::of(project);
    let name = ingest_name(&project.name);
    let selector = project.selector();
    [
        (ChildKind::ServiceAccount, json!({"automountServiceAccountToken": false})),
        (ChildKind::NetworkPolicy, json!({"spec": network_policy(&selector, database_port)})),
        (ChildKind::Service, json!({"spec": service(&selector)})),
        (ChildKind::Deployment, json!({"spec": deployment(&project, &ingest, id, image)})),
        (ChildKind::PodDisruptionBudget, json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}})),
    ]
    .into_iter()
    .map(|(kind, body)| project.child(kind, &name, body))
    .collect()
}

/// The Secret with the login of the ingest pods, mounted as files.
#[must_use]
pub fn database_secret(
    project: &ErrorTrackingProject,
    address: &DatabaseAddress,
    username: &str,
    password: &SecretString,
) -> Child {
    let project = Owned::of(project);
    let data = secret_data(&BTreeMap::from([
        ("host", SecretString::from(address.host.clone())),
        ("port", SecretString::from(address.port.to_string())),
        ("dbname", SecretString::from(address.dbname.clone())),
        ("username", SecretString::from(username)),
        ("password", password.clone()),
    ]));
    project.child(ChildKind::Secret, &database_secret_name(&project.name), json!({"type": "Opaque", "data": data}))
}

/// The project as the owner of its children.
struct Owned {
    namespace: String,
    name: String,
    reference: OwnerReference,
}

impl Owned {
    fn of(project: &ErrorTrackingProject) -> Self {
        Self {
            namespace: project.metadata.namespace.clone().unwrap_or_default(),
            name: project.metadata.name.clone().unwrap_or_default(),
            reference: project.controller_owner_ref(&()).unwrap_or_default(),
        }
    }

    fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".into(), "error-tracking-ingest".into()),
            (PROJECT_LABEL.into(), self.name.clone()),
        ])
    }

    fn child(&self, kind: ChildKind, name: &str, body: Value) -> Child {
        Child::new(kind, &self.namespace, name, &self.selector(), &self.reference, body)
    }
}

/// In: events, and the probe port for a scraper. Out: name resolution and the database.
fn network_policy(selector: &BTreeMap<String, String>, database_port: u16) -> Value {
    json!({
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": INGEST_PORT, "protocol": "TCP"}, {"port": PROBE_PORT, "protocol": "TCP"}]}],
        "egress": [
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            {"ports": [{"port": database_port, "protocol": "TCP"}]},
        ],
    })
}

fn service(selector: &BTreeMap<String, String>) -> Value {
    json!({
        "selector": selector,
        "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "ingest", "protocol": "TCP"}],
    })
}

fn deployment(project: &Owned, ingest: &Ingest, id: ProjectId, image: &IngestImage) -> Value {
    let selector = project.selector();
    let probe =
        |path: &str| json!({"httpGet": {"path": path, "port": "probes"}, "periodSeconds": 2, "failureThreshold": 5});
    json!({
        "replicas": ingest.replicas(),
        "progressDeadlineSeconds": 120,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {"labels": selector},
            "spec": {
                "serviceAccountName": ingest_name(&project.name),
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": NON_ROOT,
                    "runAsGroup": NON_ROOT,
                    "fsGroup": NON_ROOT,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "ingest",
                    "image": image.image,
                    "imagePullPolicy": image.pull_policy,
                    "args": ["ingest", "--project-id", id.to_string(), "--database", DATABASE_DIRECTORY],
                    "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                    "ports": [
                        {"name": "ingest", "containerPort": INGEST_PORT, "protocol": "TCP"},
                        {"name": "probes", "containerPort": PROBE_PORT, "protocol": "TCP"},
                    ],
                    "readinessProbe": probe("/readyz"),
                    "livenessProbe": {"httpGet": {"path": "/livez", "port": "probes"}, "periodSeconds": 10, "failureThreshold": 6},
                    "resources": resources(ingest),
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "database", "mountPath": DATABASE_DIRECTORY, "readOnly": true}],
                }],
                "volumes": [{
                    "name": "database",
                    "secret": {"secretName": database_secret_name(&project.name), "defaultMode": 0o440},
                }],
            },
        },
    })
}

/// What the project asks for, else enough for a few hundred events a second.
fn resources(ingest: &Ingest) -> Value {
    let asked = ingest.pod_template.as_ref().and_then(|template| template.resources.as_ref());
    match asked {
        Some(asked) => json!(ResourceRequirements::from(asked)),
        None => json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}),
    }
}
