//! The objects of others that a binding reads, and the two that it may write: a config.toml, and the DSN of a Runner.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::{
    kubernetes::{
        names::RUNNER_MANAGER,
        pages::{Contents, list_each},
    },
    operator::objects::ApplyError,
    runner::ObjectKind,
};

const RUNNER_GROUP: &str = "apps.gitlab.com";
const RUNNER_VERSION: &str = "v1beta2";
/// Most Deployments of one Runner that are looked at.
const MOST_DEPLOYMENTS: usize = 16;

/// The API of a Runner of the GitLab Runner Operator.
fn runner_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(RUNNER_GROUP, RUNNER_VERSION, "Runner"), "runners")
}

/// The API of an object that holds a config.toml.
fn config_resource(kind: ObjectKind) -> ApiResource {
    match kind {
        ObjectKind::Secret => ApiResource::erase::<Secret>(&()),
        ObjectKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
    }
}

/// The live object, if there is one.
pub async fn read(
    client: &Client,
    resource: &ApiResource,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, ApplyError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    match api.get(name).await {
        Ok(found) => Ok(Some(found)),
        // Also of a kind that the cluster does not know, which is answered without a reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(ApplyError::kubernetes("get", kind, name)(error)),
    }
}

/// The live object that holds a config.toml.
pub async fn read_config(
    client: &Client,
    kind: ObjectKind,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, ApplyError> {
    read(client, &config_resource(kind), kind.as_str(), namespace, name).await
}

/// The live Runner; `None` also where the cluster does not know Runners.
pub async fn read_runner(client: &Client, namespace: &str, name: &str) -> Result<Option<DynamicObject>, ApplyError> {
    read(client, &runner_resource(), "Runner", namespace, name).await
}

/// The live Deployment, as one that a Runner owns.
pub async fn read_deployment(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, ApplyError> {
    read(client, &ApiResource::erase::<Deployment>(&()), "Deployment", namespace, name).await
}

/// Whether a Secret or a `ConfigMap` cannot be changed.
#[must_use]
pub fn is_immutable(object: &DynamicObject) -> bool {
    object.data["immutable"] == true
}

/// Whether the cluster knows Runners.
pub async fn has_runners(client: &Client) -> Result<bool, ApplyError> {
    match client.list_api_group_resources(&format!("{RUNNER_GROUP}/{RUNNER_VERSION}")).await {
        Ok(known) => Ok(known.resources.iter().any(|resource| resource.name == "runners")),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(ApplyError::kubernetes("find", "Runner", "")(error)),
    }
}

/// Names of the Deployments that a Runner owns.
pub async fn deployments_of(client: &Client, namespace: &str, runner_uid: &str) -> Result<Vec<String>, ApplyError> {
    let resource = ApiResource::erase::<Deployment>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let mut names = Vec::new();
    let owned = |object: &DynamicObject| object.owner_references().iter().any(|owner| owner.uid == runner_uid);
    let listed = list_each(&api, Contents::Metadata, |object| {
        if names.len() < MOST_DEPLOYMENTS && owned(&object) {
            names.push(object.name_any());
        }
    });
    listed.await.map_err(ApplyError::kubernetes("list", "Deployment", ""))?;
    Ok(names)
}

/// Whether a Deployment of a Runner has pods.
pub async fn has_pods(client: &Client, namespace: &str, runner_uid: &str) -> Result<bool, ApplyError> {
    for name in deployments_of(client, namespace, runner_uid).await? {
        let found = read_deployment(client, namespace, &name).await?;
        if found.is_some_and(|found| found.data["status"]["replicas"].as_i64().is_some_and(|pods| pods > 0)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The text under a key of an object that holds a config.toml; `None`: it has no such key. What is no UTF-8 is no TOML.
#[must_use]
pub fn text(kind: ObjectKind, object: &DynamicObject, key: &str) -> Option<SecretString> {
    let value = object.data["data"][key].as_str()?;
    match kind {
        ObjectKind::Secret => {
            let bytes = BASE64_STANDARD.decode(value).ok()?;
            Some(String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_owned()).into())
        }
        ObjectKind::ConfigMap => Some(value.into()),
    }
}

/// Writes a config.toml into its object, unless that has changed since it was read.
pub async fn write_config(
    client: &Client,
    kind: ObjectKind,
    namespace: &str,
    read: &DynamicObject,
    key: &str,
    text: &SecretString,
) -> Result<(), ApplyError> {
    let name = read.name_any();
    let text = match kind {
        ObjectKind::Secret => BASE64_STANDARD.encode(text.expose_secret()),
        ObjectKind::ConfigMap => text.expose_secret().to_owned(),
    };
    let patch = json!({
        "metadata": {"uid": read.metadata.uid, "resourceVersion": read.metadata.resource_version},
        "data": {key: text},
    });
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &config_resource(kind));
    let parameters = PatchParams { field_manager: Some(RUNNER_MANAGER.into()), ..PatchParams::default() };
    let written = api.patch(&name, &parameters, &Patch::Merge(&patch)).await;
    written.map(|_| ()).map_err(ApplyError::kubernetes("edit", kind.as_str(), &name))
}

/// Sets the DSN of a Runner, or takes it out, by server-side apply without force: what another manager owns stays.
pub async fn write_runner(
    client: &Client,
    namespace: &str,
    read: &DynamicObject,
    dsn: Option<&SecretString>,
) -> Result<(), ApplyError> {
    let (name, resource) = (read.name_any(), runner_resource());
    let mut patch = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        // Of another uid it is another Runner.
        "metadata": {"name": name, "uid": read.metadata.uid},
    });
    if let Some(dsn) = dsn {
        patch["spec"] = json!({"sentryDsn": dsn.expose_secret()});
    }
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let written = api.patch(&name, &PatchParams::apply(RUNNER_MANAGER), &Patch::Apply(&patch)).await;
    written.map(|_| ()).map_err(ApplyError::kubernetes("apply", "Runner", &name))
}
