//! What the chart gives an operator: its rights and its command line, from what helm renders.

use std::{collections::BTreeSet, process::Command};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{WORLD_LABEL, resource};

pub struct Chart {
    release: String,
    manifests: Vec<Value>,
    pub service_account: String,
    pub database_secret: String,
    pub lease: String,
    /// Arguments of the operator's container.
    pub arguments: Vec<String>,
    /// Its variables with a value in the manifest.
    pub variables: Vec<(String, String)>,
}

impl Chart {
    /// As `helm install RELEASE --namespace RELEASE` with a database of one's own.
    pub fn render(release: &str, values: &[&str]) -> Self {
        let database_secret = "postgres".to_owned();
        let mut helm = Command::new("helm");
        helm.args(["template", release, concat!(env!("CARGO_MANIFEST_DIR"), "/charts/error-tracking-operator")])
            .args(["--namespace", release, "--kube-version", "1.37.0", "--set", "image.repository=example/operator"])
            .args(["--set", &format!("database.existingSecret={database_secret}")]);
        for value in values {
            helm.args(["--set", value]);
        }
        let output = helm.output().expect("helm is on PATH: eval \"$(hack/cluster.sh env --name NAME)\"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let documents = text.split("\n---").map(|document| document.trim_start_matches("---"));
        let manifests: Vec<Value> = documents
            .filter(|document| document.contains("kind:"))
            .map(|document| serde_yaml::from_str(document).unwrap())
            .collect();

        let of_operator = |kind: &str| {
            let found = manifests.iter().find(|manifest| {
                manifest["kind"] == kind && manifest["metadata"]["name"] == format!("{release}-operator")
            });
            found.unwrap_or_else(|| panic!("the chart has no {kind} of the operator"))
        };
        let container = &of_operator("Deployment")["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().into_iter().flatten().filter_map(|variable| {
            Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str()?.to_owned()))
        });
        let (arguments, variables) = (texts(&container["args"]), variables.collect());
        let service_account = of_operator("ServiceAccount")["metadata"]["name"].as_str().unwrap().to_owned();
        Self {
            release: release.to_owned(),
            service_account,
            database_secret,
            lease: format!("{release}-operator"),
            arguments,
            variables,
            manifests,
        }
    }

    /// Applies the custom resource definitions and the operator's rights, and nothing else.
    pub async fn install_rights(&self, client: &Client) {
        for manifest in &self.manifests {
            let name = manifest["metadata"]["name"].as_str().unwrap();
            let cluster_wide = match manifest["kind"].as_str().unwrap() {
                "CustomResourceDefinition" => true,
                "ClusterRole" | "ClusterRoleBinding" if self.is_of_operator(name) => true,
                "ServiceAccount" | "Role" | "RoleBinding" if self.is_of_operator(name) => false,
                _ => continue,
            };
            self.apply(client, manifest, cluster_wide).await;
        }
        self.await_definitions(client).await;
    }

    /// The rules of a kind of role ("`ClusterRole`", "Role") of the operator, as the chart has them.
    pub fn rules(&self, kind: &str) -> Vec<Value> {
        let roles = self.manifests.iter().filter(|manifest| manifest["kind"] == kind);
        let ours = roles.filter(|manifest| self.is_of_operator(manifest["metadata"]["name"].as_str().unwrap()));
        ours.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect()
    }

    /// Each right of a kind of role as (group, resource, verb).
    pub fn rights(&self, kind: &str) -> BTreeSet<(String, String, String)> {
        let mut rights = BTreeSet::new();
        for rule in self.rules(kind) {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        rights.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
        rights
    }

    /// The operator's role of a kind without a verb on a resource.
    pub fn role_without(&self, kind: &str, resource: &str, verb: &str) -> Value {
        let mut role = self.manifest(kind);
        let mut rules = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            let (named, others): (Vec<_>, Vec<_>) =
                texts(&rule["resources"]).into_iter().partition(|of| of == resource);
            for (resources, less) in [(named, true), (others, false)] {
                let verbs: Vec<_> = texts(&rule["verbs"]).into_iter().filter(|of| !less || of != verb).collect();
                if !resources.is_empty() && !verbs.is_empty() {
                    let mut kept = rule.clone();
                    (kept["resources"], kept["verbs"]) = (json!(resources), json!(verbs));
                    rules.push(kept);
                }
            }
        }
        role["rules"] = rules.into();
        role
    }

    /// Every manifest of the operator of a kind.
    pub fn manifests_of(&self, kind: &str) -> Vec<Value> {
        let found = self.manifests.iter().filter(|manifest| {
            manifest["kind"] == kind && self.is_of_operator(manifest["metadata"]["name"].as_str().unwrap())
        });
        found.cloned().collect()
    }

    /// A manifest of the operator by its kind.
    pub fn manifest(&self, kind: &str) -> Value {
        let found = self.manifests.iter().find(|manifest| {
            manifest["kind"] == kind && self.is_of_operator(manifest["metadata"]["name"].as_str().unwrap())
        });
        found.unwrap().clone()
    }

    /// The definition of a custom resource, by its plural.
    pub fn definition(&self, plural: &str) -> Value {
        let found = self.manifests.iter().find(|manifest| {
            manifest["kind"] == "CustomResourceDefinition" && manifest["spec"]["names"]["plural"] == plural
        });
        found.unwrap().clone()
    }

    pub async fn apply(&self, client: &Client, manifest: &Value, cluster_wide: bool) {
        let mut manifest = manifest.clone();
        let kind = manifest["kind"].as_str().unwrap().to_owned();
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        // Definitions stay: they are the same for every World.
        if kind != "CustomResourceDefinition" {
            manifest["metadata"]["labels"][WORLD_LABEL] = self.release.clone().into();
        }
        let api: Api<DynamicObject> = if cluster_wide {
            Api::all_with(client.clone(), &resource(&kind))
        } else {
            let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or(&self.release);
            Api::namespaced_with(client.clone(), namespace, &resource(&kind))
        };
        api.patch(&name, &PatchParams::apply("helm").force(), &Patch::Apply(&manifest)).await.unwrap();
    }

    fn is_of_operator(&self, name: &str) -> bool {
        let own = format!("{}-operator", self.release);
        // Of the namespaces that are served, where it does not serve all.
        name == own || name == format!("{own}-projects")
    }

    async fn await_definitions(&self, client: &Client) {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource("CustomResourceDefinition"));
        for manifest in self.manifests.iter().filter(|manifest| manifest["kind"] == "CustomResourceDefinition") {
            let name = manifest["metadata"]["name"].as_str().unwrap();
            loop {
                let found = api.get(name).await.unwrap();
                let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                if conditions
                    .iter()
                    .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
                {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
