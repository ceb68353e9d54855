//! The objects of a project's ingest: what each should be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt, api::DynamicObject};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    exposure,
    names::{IngestImage, IngestPods, SERVICE_PORT, UserId, database_secret_name, ingest_name},
    scale::autoscaler,
    template,
};
use crate::{
    crd::{ErrorTrackingProject, Ingest, PodTemplate, Scale, SecretReference},
    dsn::ProjectId,
    kubernetes::names::PROJECT_LABEL,
    operator::{
        databases::DatabaseAddress,
        objects::child::{Child, ChildKind, secret_data},
    },
};

const INGEST_PORT: u16 = 8080;
const PROBE_PORT: u16 = 8081;
/// Where the Secret of the login is mounted.
const DATABASE_DIRECTORY: &str = "/etc/error-tracking/database";
/// More than an ingest pod needs to end by itself: 5 s until the endpoints are updated, 15 s for requests under way,
/// then the last commits, counts and connections, each within 10 s.
const TERMINATION_GRACE_SECONDS: i64 = 60;

/// On the Service while an `HTTPRoute` leads to it: no watch shows that one, and this says that there is one to look
/// for.
const ROUTED_ANNOTATION: &str = "errortracking.dev/routed-by";

/// Everything that receives the project's events but the Secret of its login, in the order of making. `ingest` is what
/// the installation allows of the spec's.
#[must_use]
pub fn workload(
    project: &ErrorTrackingProject,
    ingest: &Ingest,
    id: ProjectId,
    image: &IngestImage,
    pods: &IngestPods,
    database_port: u16,
) -> Vec<Child> {
    let scale = project.scale();
    let project = Owned::of(project);
    let name = ingest_name(&project.name);
    let selector = project.selector();
    let mut routed = BTreeMap::new();
    if ingest.gateway.is_some() {
        routed.insert(ROUTED_ANNOTATION.into(), ChildKind::HttpRoute.to_string());
    }
    let template = ingest.pod_template.clone().unwrap_or_default();
    let pod = json!({
        "metadata": pod_metadata(&template, selector.clone()),
        "spec": pod(&project, &template, id, image, pods),
    });
    let budget = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}});
    let mut children = vec![
        project.child(ChildKind::ServiceAccount, &name, json!({"automountServiceAccountToken": false})),
        project.child(ChildKind::NetworkPolicy, &name, json!({"spec": network_policy(&selector, database_port)})),
        project.child(ChildKind::Service, &name, json!({"spec": service(&selector)})).annotated(&routed),
        project
            .child(ChildKind::Deployment, &name, json!({"spec": deployment(&selector, scale, &pod)}))
            .annotated(&BTreeMap::from([(template::ANNOTATION.into(), template::DIGEST.clone())])),
        project.child(ChildKind::PodDisruptionBudget, &name, budget),
    ];
    if let Scale::Automatic(bounds) = scale {
        let spec = autoscaler(&name, bounds);
        children.push(project.child(ChildKind::HorizontalPodAutoscaler, &name, json!({"spec": spec})));
    }
    if let Some(route) = &ingest.ingress {
        let spec = exposure::ingress(&name, ingest, route, id);
        let ingress = project.child(ChildKind::Ingress, &name, json!({"spec": spec}));
        children.push(ingress.annotated(&route.annotations));
    }
    if let Some(route) = &ingest.gateway {
        let spec = exposure::http_route(&name, ingest, route, id);
        children.push(project.child(ChildKind::HttpRoute, &name, json!({"spec": spec})));
    }
    children
}

/// The spec of pods of the project that asks for nothing of its own.
#[must_use]
pub fn pod_of(project: &ErrorTrackingProject, id: ProjectId, image: &IngestImage) -> Value {
    pod(&Owned::of(project), &PodTemplate::default(), id, image, &IngestPods::default())
}

/// Children that a project has only while its spec asks for them.
pub const OPTIONAL: [ChildKind; 3] = [ChildKind::HorizontalPodAutoscaler, ChildKind::Ingress, ChildKind::HttpRoute];

/// Whether the Service says that an `HTTPRoute` leads to it.
#[must_use]
pub fn routed(service: &DynamicObject) -> bool {
    service.annotations().contains_key(ROUTED_ANNOTATION)
}

/// A Deployment that is not there yet starts with as many pods as its autoscaler's minimum, not with one. The
/// number is not part of what is compared later.
pub fn start_with(deployment: &mut Child, scale: Scale) {
    if let Scale::Automatic(bounds) = scale {
        deployment.manifest["spec"]["replicas"] = json!(bounds.min_replicas);
    }
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
    // The pods verify what the operator verifies.
    let login = address.login(username, password);
    let data = login.iter().map(|(key, value)| (key.as_str(), SecretString::from(value.as_str()))).collect();
    let data = secret_data(&data);
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

/// Without a number of replicas while an autoscaler chooses it.
fn deployment(selector: &BTreeMap<String, String>, scale: Scale, template: &Value) -> Value {
    let mut spec = json!({
        "progressDeadlineSeconds": 120,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector},
        "template": template,
    });
    if let Scale::Fixed(replicas) = scale {
        spec["replicas"] = json!(replicas);
    }
    spec
}

/// Of the same labels, ours win: by them the Service finds the pods.
fn pod_metadata(template: &PodTemplate, selector: BTreeMap<String, String>) -> Value {
    let given = template.metadata.clone().unwrap_or_default();
    let mut labels = given.labels;
    labels.extend(selector);
    let mut metadata = json!({"labels": labels});
    if !given.annotations.is_empty() {
        metadata["annotations"] = json!(given.annotations);
    }
    metadata
}

fn pod(project: &Owned, template: &PodTemplate, id: ProjectId, image: &IngestImage, pods: &IngestPods) -> Value {
    let probe =
        |path: &str| json!({"httpGet": {"path": path, "port": "probes"}, "periodSeconds": 2, "failureThreshold": 5});
    let mut pod = json!({
        "serviceAccountName": ingest_name(&project.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
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
            "resources": resources(template),
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
    });
    if let UserId::Number(id) = pods.user {
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            pod["securityContext"][field] = json!(id);
        }
    }
    for (field, asked) in scheduling(template, pods) {
        pod[field] = asked;
    }
    pod
}

/// Fields of a pod that are the project's, with the installation's registry.
pub const SCHEDULING: [&str; 6] =
    ["nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName", "imagePullSecrets"];

/// What the project says of where and how its pods run, and the installation of their registry; the API server checks it.
fn scheduling(template: &PodTemplate, pods: &IngestPods) -> impl Iterator<Item = (&'static str, Value)> {
    let mut pull_secrets = template.image_pull_secrets.clone();
    for name in &pods.pull_secrets {
        if pull_secrets.iter().all(|secret| secret.name != *name) {
            pull_secrets.push(SecretReference { name: name.clone() });
        }
    }
    let asked = [
        json!(template.node_selector),
        json!(template.tolerations),
        json!(template.affinity),
        json!(template.topology_spread_constraints),
        json!(template.priority_class_name),
        json!(pull_secrets),
    ];
    SCHEDULING.into_iter().zip(asked).filter(|(_, asked)| match asked {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null => false,
        _ => true,
    })
}

/// What the project asks for, else enough for a few hundred events a second.
fn resources(template: &PodTemplate) -> Value {
    match &template.resources {
        Some(asked) => json!(ResourceRequirements::from(asked)),
        None => json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tls::{SslMode, Tls};

    fn project(ingest: &Value) -> ErrorTrackingProject {
        serde_json::from_value(json!({
            "apiVersion": "errortracking.dev/v1alpha1",
            "kind": "ErrorTrackingProject",
            "metadata": {"name": "shop", "namespace": "web", "uid": "u1"},
            "spec": {"backend": {"integrated": {"ingest": ingest}}},
        }))
        .unwrap()
    }

    fn made(project: &ErrorTrackingProject) -> Vec<Child> {
        made_with(project, &IngestPods::default())
    }

    fn made_with(project: &ErrorTrackingProject, pods: &IngestPods) -> Vec<Child> {
        let image = IngestImage { image: "operator:1".into(), pull_policy: "IfNotPresent".into() };
        workload(project, &project.ingest(), ProjectId::new(42).unwrap(), &image, pods, 5432)
    }

    fn find(children: &[Child], kind: ChildKind) -> Option<&Child> {
        children.iter().find(|child| child.kind == kind)
    }

    const ALWAYS: [ChildKind; 5] = [
        ChildKind::ServiceAccount,
        ChildKind::NetworkPolicy,
        ChildKind::Service,
        ChildKind::Deployment,
        ChildKind::PodDisruptionBudget,
    ];

    #[test]
    fn the_spec_says_which_children_there_are() {
        let gateway = json!({"gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["e.example"]}});
        for (ingest, more) in [
            (json!({}), vec![]),
            (json!({"replicas": 3}), vec![]),
            (json!({"autoscaling": {"maxReplicas": 3}}), vec![ChildKind::HorizontalPodAutoscaler]),
            (json!({"ingress": {"host": "e.example"}}), vec![ChildKind::Ingress]),
            (gateway, vec![ChildKind::HttpRoute]),
        ] {
            let kinds: Vec<_> = made(&project(&ingest)).iter().map(|child| child.kind).collect();
            assert_eq!(kinds, [&ALWAYS[..], &more].concat(), "{ingest}");
        }
    }

    #[test]
    fn the_number_of_pods_is_the_projects_the_autoscalers_or_none() {
        let replicas = |project: &ErrorTrackingProject| {
            find(&made(project), ChildKind::Deployment).unwrap().manifest["spec"].get("replicas").cloned()
        };
        assert_eq!(replicas(&project(&json!({}))), Some(json!(2)));
        assert_eq!(replicas(&project(&json!({"replicas": 0}))), Some(json!(0)));
        let mut autoscaled = project(&json!({"autoscaling": {"maxReplicas": 3}}));
        assert_eq!(replicas(&autoscaled), None);
        autoscaled.spec.active = false;
        assert_eq!(replicas(&autoscaled), Some(json!(0)));
        assert!(find(&made(&autoscaled), ChildKind::HorizontalPodAutoscaler).is_none(), "it would start pods");
    }

    #[test]
    fn a_new_autoscaled_deployment_starts_with_the_minimum_and_has_not_drifted_then() {
        let autoscaled = project(&json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 6}}));
        let desired = find(&made(&autoscaled), ChildKind::Deployment).unwrap().clone();
        let mut first = desired.clone();
        start_with(&mut first, autoscaled.scale());
        assert_eq!(first.manifest["spec"]["replicas"], 3);
        let live: DynamicObject = serde_json::from_value(first.manifest).unwrap();
        assert_eq!(desired.compare(Some(&live)), crate::operator::objects::child::Drift::None);
    }

    #[test]
    fn the_pod_template_is_taken_over_and_our_labels_win() {
        let template = json!({
            "metadata": {"labels": {"team": "web", PROJECT_LABEL: "other"}, "annotations": {"note": "hello"}},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "pull"}],
        });
        let children = made(&project(&json!({"podTemplate": template})));
        let pod = &find(&children, ChildKind::Deployment).unwrap().manifest["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["team"], "web");
        assert_eq!(pod["metadata"]["labels"][PROJECT_LABEL], "shop");
        assert_eq!(pod["metadata"]["annotations"], json!({"note": "hello"}));
        for field in [
            "nodeSelector",
            "tolerations",
            "affinity",
            "topologySpreadConstraints",
            "priorityClassName",
            "imagePullSecrets",
        ] {
            assert_eq!(pod["spec"][field], template[field], "{field}");
        }

        let bare = made(&project(&json!({"podTemplate": {"tolerations": []}})));
        let bare = &find(&bare, ChildKind::Deployment).unwrap().manifest["spec"]["template"];
        assert!(bare["spec"].get("tolerations").is_none() && bare["spec"].get("affinity").is_none(), "{bare}");
    }

    #[test]
    fn the_installation_says_whose_registry_and_which_user_the_pods_have() {
        let pod = |template: &Value, pods: &IngestPods| {
            let children = made_with(&project(&json!({"podTemplate": template})), pods);
            find(&children, ChildKind::Deployment).unwrap().manifest["spec"]["template"]["spec"].clone()
        };
        let plain = pod(&json!({}), &IngestPods::default());
        assert!(plain.get("imagePullSecrets").is_none(), "{plain}");
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(plain["securityContext"][field], 65532, "{field}");
        }

        let pods = IngestPods { pull_secrets: vec!["registry".into(), "pull".into()], user: UserId::Platform };
        let both = pod(&json!({"imagePullSecrets": [{"name": "pull"}]}), &pods);
        assert_eq!(both["imagePullSecrets"], json!([{"name": "pull"}, {"name": "registry"}]), "each once");
        let context = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(both["securityContext"], context);
    }

    #[test]
    fn the_pods_are_told_what_the_operator_verifies() {
        let keys = |tls: Tls| {
            let address = DatabaseAddress { host: "db.example".into(), port: 5432, dbname: "e".into(), tls };
            let secret = database_secret(&project(&json!({})), &address, "role", &"password".into());
            let data = secret.manifest["data"].as_object().cloned().unwrap_or_default();
            data.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(Tls::default()), ["dbname", "host", "password", "port", "username"]);
        let verified = Tls { given: Some(SslMode::VerifyFull), authority: Some("certificate".into()) };
        assert_eq!(keys(verified), ["ca.crt", "dbname", "host", "password", "port", "sslmode", "username"]);
    }

    #[test]
    fn the_service_says_that_a_route_leads_to_it() {
        let service = |ingest: &Value| -> DynamicObject {
            let children = made(&project(ingest));
            serde_json::from_value(find(&children, ChildKind::Service).unwrap().manifest.clone()).unwrap()
        };
        assert!(routed(&service(&json!({"gateway": {"parentRefs": [{"name": "g"}]}}))));
        assert!(!routed(&service(&json!({}))));
    }
}
