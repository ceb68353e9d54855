//! The part of an `ErrorTrackingProject` about the pods that receive its events: how many, from where they can be
//! reached, and what they are made from.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::api::resource::Quantity};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{project::SecretReference, schema};

/// The pods that receive a project's events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("set ingest.replicas or ingest.autoscaling, not both: take one out"))]
#[x_kube(validation = Rule::new("!(has(self.ingress) && has(self.gateway))").message("ingest.ingress and ingest.gateway exclude each other: take one out"))]
#[x_kube(validation = Rule::new("!has(self.autoscaling) || !has(self.podTemplate) || !has(self.podTemplate.resources) || (has(self.podTemplate.resources.requests) && 'cpu' in self.podTemplate.resources.requests) || (has(self.podTemplate.resources.limits) && 'cpu' in self.podTemplate.resources.limits)").message("ingest.autoscaling measures against the CPU request: set podTemplate.resources.requests.cpu, or leave resources out"))]
pub struct Ingest {
    /// Number of pods, 0 to 100; the operator runs 2 when absent. With 0 nothing receives events, and the project counts as Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 100").message("replicas must be between 0 and 100"))]
    pub replicas: Option<i32>,

    /// Lets a HorizontalPodAutoscaler choose the number of pods, instead of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// Where senders outside the cluster reach the pods, as "https://errors.example.com"; a path may follow. Taken from ingress or gateway when absent.
    #[serde(rename = "externalURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::IS_URL).message("externalURL must be http:// or https://, a host, and if need be a port of 1 to 65535 and a path, as https://errors.example.com: no user, query or fragment"))]
    pub external_url: Option<String>,

    /// Makes an Ingress to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressRoute>,

    /// Makes an HTTPRoute of the Gateway API to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayRoute>,

    /// Networks of the proxies in front of the pods, as "10.0.0.0/8" or "fd00::/8", or single addresses: what they say in X-Forwarded-For counts, and the rightmost address that is not theirs is the client's. Without any, it is the address that the pods see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 43)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(network, isCIDR(network) || isIP(network))").message("ingest.trustedProxies must be IP addresses or networks in CIDR notation, as 10.0.0.0/8 or fd00::/8"))]
    pub trusted_proxies: Vec<String>,

    /// What the ingest pods are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

impl Ingest {
    /// Pods of a project that does not say how many: one may go while another receives.
    pub const DEFAULT_REPLICAS: i32 = 2;

    /// Who chooses the number of pods.
    #[must_use]
    pub fn scale(&self) -> Scale {
        match &self.autoscaling {
            Some(autoscaling) => Scale::Automatic(*autoscaling),
            None => Scale::Fixed(self.replicas.unwrap_or(Self::DEFAULT_REPLICAS)),
        }
    }

    /// What was given, else what ingress or gateway lead to. A gateway is taken to serve TLS, as nothing here says.
    #[must_use]
    pub fn external_url(&self) -> Option<String> {
        if let Some(given) = &self.external_url {
            return Some(given.trim_end_matches('/').to_owned());
        }
        if let Some(ingress) = &self.ingress {
            let scheme = if ingress.tls_secret_name.is_some() { "https" } else { "http" };
            return Some(format!("{scheme}://{}", ingress.host));
        }
        let host = self.gateway.as_ref()?.hostnames.iter().find(|host| !host.starts_with('*'))?;
        Some(format!("https://{host}"))
    }
}

/// Who chooses the number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Fixed(i32),
    /// A HorizontalPodAutoscaler.
    Automatic(Autoscaling),
}

/// Between how many pods, and at which load more are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("autoscaling.minReplicas (2 when absent) must not be more than maxReplicas"))]
pub struct Autoscaling {
    /// Fewest pods, 1 to 100; 2 when absent.
    #[serde(default = "default_min_replicas")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("autoscaling.minReplicas must be between 1 and 100"))]
    pub min_replicas: i32,
    /// Most pods, 1 to 100.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("autoscaling.maxReplicas must be between 1 and 100"))]
    pub max_replicas: i32,
    /// More pods are started when they use more than this part of their CPU request on average; 80 when absent.
    #[serde(rename = "targetCPUUtilizationPercentage", default = "default_target_cpu_utilization")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1000").message("autoscaling.targetCPUUtilizationPercentage must be between 1 and 1000 percent of the CPU request"))]
    pub target_cpu_utilization_percentage: i32,
}

fn default_min_replicas() -> i32 {
    Ingest::DEFAULT_REPLICAS
}

fn default_target_cpu_utilization() -> i32 {
    80
}

/// An Ingress to the pods. It takes the paths of this project only: projects can share a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressRoute {
    /// The IngressClass; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Name that senders use.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("ingress.host must be a host name in lower case, as errors.example.com"))]
    pub host: String,
    /// Secret of the same namespace with the certificate; without it senders use http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("ingress.tlsSecretName must be a valid Secret name: lower-case letters, digits, '-' and '.'"))]
    pub tls_secret_name: Option<String>,
    /// Annotations of the Ingress, for its controller. Their keys need a prefix that the installation allows, or none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute to the pods. It takes the paths of this project only: projects can share a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRoute {
    /// The Gateways that the route attaches to.
    #[schemars(schema_with = "schema::parent_references")]
    pub parent_refs: Vec<ParentReference>,
    /// Names that senders use; those of the Gateway's listeners when absent. The first without '*' is the external URL, with https, unless externalURL says another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hostnames")]
    pub hostnames: Vec<String>,
}

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    pub name: String,
    /// This namespace when absent. The Gateway must allow routes from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// The part of a pod template that a project may set. What is only handed on is kept as it was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods; the operator's own win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodMetadata>,
    /// Requests and limits of the ingest container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the nodes that the pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods may run beside, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Value>,
    /// Which nodes and neighbours the pods want, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Value>,
    /// How the pods spread, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::topology_spread_constraints")]
    pub topology_spread_constraints: Vec<Value>,
    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets of the same namespace for the registry of the ingest image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::secret_references")]
    pub image_pull_secrets: Vec<SecretReference>,
}

/// Labels and annotations of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodMetadata {
    /// Labels, whose keys need a prefix that the installation allows, or none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, by the same rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Requests and limits of a container; quantities as an integer or a string.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// What a node must have free, as cpu: 100m.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Amount>,
    /// What the container may not exceed, as memory: 256Mi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Amount>,
}

impl From<&ResourceRequirements> for core::ResourceRequirements {
    fn from(resources: &ResourceRequirements) -> Self {
        let quantities = |map: &BTreeMap<String, Amount>| {
            (!map.is_empty())
                .then(|| map.iter().map(|(name, quantity)| (name.clone(), self::quantity(quantity))).collect())
        };
        Self { requests: quantities(&resources.requests), limits: quantities(&resources.limits), ..Self::default() }
    }
}

/// A quantity as people write it. An integer of Kubernetes' own type would end at 2 GiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    Integer(i64),
    Text(String),
}

fn quantity(value: &Amount) -> Quantity {
    Quantity(match value {
        Amount::Integer(number) => number.to_string(),
        Amount::Text(text) => text.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_external_url_is_given_or_follows_from_the_way_in() {
        for (spec, url) in [
            (json!({}), None),
            (json!({"externalURL": "https://e.example/errors/"}), Some("https://e.example/errors")),
            (json!({"ingress": {"host": "e.example"}}), Some("http://e.example")),
            (json!({"ingress": {"host": "e.example", "tlsSecretName": "tls"}}), Some("https://e.example")),
            (json!({"ingress": {"host": "a.example"}, "externalURL": "https://b.example"}), Some("https://b.example")),
            (
                json!({"gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["*.example", "e.example"]}}),
                Some("https://e.example"),
            ),
            (json!({"gateway": {"parentRefs": [{"name": "g"}]}}), None),
        ] {
            let ingest: Ingest = serde_json::from_value(spec.clone()).unwrap();
            assert_eq!(ingest.external_url().as_deref(), url, "{spec}");
        }
    }

    #[test]
    fn an_object_of_an_older_version_reads_with_the_defaults_of_new_fields() {
        let ingest: Ingest = serde_json::from_value(json!({"replicas": 1})).unwrap();
        assert_eq!(ingest.scale(), Scale::Fixed(1));
        let ingest: Ingest = serde_json::from_value(json!({"autoscaling": {"maxReplicas": 4}})).unwrap();
        let expected = Autoscaling { min_replicas: 2, max_replicas: 4, target_cpu_utilization_percentage: 80 };
        assert_eq!(ingest.scale(), Scale::Automatic(expected));
    }
}
