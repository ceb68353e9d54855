//! The part of an `ErrorTrackingProject` about who may hold keys of it, as `allowedRoutes` of the Gateway API says it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Namespaces whose ClientKeys may name a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("allowedNamespaces needs a selector with from: Selector, and takes none otherwise"))]
pub struct AllowedNamespaces {
    /// Same, the default: the project's own. All: every namespace that the operator serves. Selector: also those whose labels the selector selects.
    #[serde(default)]
    pub from: NamespacesFrom,

    /// Selects namespaces by their labels, with from: Selector; an empty one selects all. Whoever may label a namespace decides with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_selector")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    #[default]
    Same,
    All,
    Selector,
}
