//! Writes to the Kubernetes API: server-side apply by one field manager, never to what is not ours.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Namespace,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    ApplyError,
    child::{Child, ChildKind, Drift, Ownership, holder, is_orphan_of, owned_by, ownership, prune},
    edit::{self, Edit},
};
use crate::{crd::FINALIZER, kubernetes::names::FIELD_MANAGER};

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// A child that is as it should be.
#[derive(Debug)]
pub struct Ensured {
    /// As the API server has it, which the cache may not show yet.
    pub live: DynamicObject,
    /// Whether anything had to be written.
    pub written: bool,
    /// What somebody else had changed.
    pub edit: Option<Edit>,
    /// When the object was written by us last, by the API server's clock.
    pub at: Option<Timestamp>,
}

impl Ensured {
    fn written(live: DynamicObject) -> Self {
        Self { at: written_at(&live), live, written: true, edit: None }
    }
}

/// Makes `child` what it should be. What exists under its name without being owned by the child's owner is left alone.
pub async fn ensure(client: &Client, child: &Child) -> Result<Ensured, ApplyError> {
    let kind = child.kind.as_str();
    let api = children(client, child.kind, &child.namespace);
    let found = api.get_opt(&child.name).await.map_err(ApplyError::kubernetes("get", kind, &child.name))?;
    if let Some(found) = found {
        return match child.ownership(&found) {
            Ownership::Foreign => Err(conflict(child, holder(&found))),
            Ownership::Predecessor if found.metadata.deletion_timestamp.is_some() => {
                Err(ApplyError::Leaving { kind: child.kind, name: child.name.clone() })
            }
            Ownership::Predecessor => {
                // With the version that was read: it may be going by now.
                let owned = json!({"metadata": {
                    "resourceVersion": found.resource_version(), "ownerReferences": [child.owner],
                }});
                let found = merge(&api, child, &owned).await?;
                update(&api, child, found).await.map(|ensured| Ensured::written(ensured.live))
            }
            Ownership::Ours => update(&api, child, found).await,
        };
    }
    // Created, not applied: an apply would merge into one that somebody made in between.
    let object: DynamicObject = serde_json::from_value(child.manifest.clone())
        .map_err(|source| ApplyError::kubernetes("write", kind, &child.name)(kube::Error::SerdeError(source)))?;
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match api.create(&parameters, &object).await {
        Err(error) if is_status(&error, 409) => Err(conflict(child, None)),
        result => result.map(Ensured::written).map_err(ApplyError::kubernetes("create", kind, &child.name)),
    }
}

fn conflict(child: &Child, holder: Option<String>) -> ApplyError {
    ApplyError::Conflict { kind: child.kind, name: child.name.clone(), holder, owner: child.owner.kind.clone() }
}

async fn update(api: &Api<DynamicObject>, child: &Child, found: DynamicObject) -> Result<Ensured, ApplyError> {
    let drifted = |live: &DynamicObject| {
        let mut cached = live.clone();
        prune(child.kind, &mut cached);
        child.compare(Some(&cached)) != Drift::None
    };
    if !drifted(&found) {
        return Ok(Ensured { at: written_at(&found), live: found, written: false, edit: None });
    }
    let edit = edit::find(child, &found);
    take_over_created_fields(api, child, &found).await?;
    let updated = patch(api, child, found.uid().as_deref()).await?;
    if !drifted(&updated) {
        return Ok(Ensured { at: written_at(&updated), live: updated, written: true, edit });
    }
    // An apply leaves alone what others put beside ours: keys of a Secret, which envFrom would give to the
    // application, and entries of lists, as ports of a Service. A merge takes lists as they are.
    let mut whole = child.manifest.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("metadata".into(), json!({"resourceVersion": updated.resource_version()}));
    }
    let keys = updated.data["data"].as_object().filter(|_| child.kind == ChildKind::Secret);
    for key in keys.into_iter().flat_map(|data| data.keys()) {
        if child.manifest["data"].get(key).is_none() {
            whole["data"][key] = Value::Null;
        }
    }
    let live = merge(api, child, &whole).await?;
    Ok(Ensured { at: written_at(&live), live, written: true, edit })
}

/// An apply takes away what its manager applied before and does not any more. What we created, or merged, is recorded
/// as updated, not as applied: the record is changed first.
async fn take_over_created_fields(
    api: &Api<DynamicObject>,
    child: &Child,
    found: &DynamicObject,
) -> Result<(), ApplyError> {
    let mut entries = found.metadata.managed_fields.clone().unwrap_or_default();
    let ours = |entry: &ManagedFieldsEntry, operation: &str| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some(operation)
            && entry.subresource.is_none()
    };
    let applied = entries.iter().any(|entry| ours(entry, "Apply"));
    let Some(updated) = entries.iter().position(|entry| ours(entry, "Update")) else { return Ok(()) };
    if applied {
        // What a merge put right is applied as well.
        entries.remove(updated);
    } else {
        entries[updated].operation = Some("Apply".into());
    }
    let patch = json!({"metadata": {"resourceVersion": found.resource_version(), "managedFields": entries}});
    merge(api, child, &patch).await.map(|_| ())
}

async fn merge(api: &Api<DynamicObject>, child: &Child, patch: &Value) -> Result<DynamicObject, ApplyError> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch(&child.name, &parameters, &Patch::Merge(patch)).await.map_err(ApplyError::kubernetes(
        "patch",
        child.kind.as_str(),
        &child.name,
    ))
}

/// The live object, with its secrets.
pub async fn read(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, ApplyError> {
    let found = children(client, kind, namespace).get_opt(name).await;
    found.map_err(ApplyError::kubernetes("get", kind.as_str(), name))
}

/// When we wrote the object last, by the API server's clock, in whole seconds. What changed nothing is no write.
#[must_use]
pub fn written_at(live: &DynamicObject) -> Option<Timestamp> {
    let entries = live.metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.is_none());
    ours.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// The live object, with its secrets, if it is owned by `owner_uid`.
pub async fn read_owned(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> Result<Option<DynamicObject>, ApplyError> {
    let found = read(client, kind, namespace, name).await?;
    Ok(found.filter(|found| owned_by(found, owner_uid)))
}

/// The live object, with its secrets, if it is `owner`'s or that of a lost object of the same kind and name.
pub async fn read_inherited(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    owner: &OwnerReference,
) -> Result<Option<DynamicObject>, ApplyError> {
    let found = read(client, kind, namespace, name).await?;
    Ok(found.filter(|found| ownership(found, owner) != Ownership::Foreign))
}

/// With a uid, the apply fails when the object was replaced by another of the same name.
async fn patch(api: &Api<DynamicObject>, child: &Child, uid: Option<&str>) -> Result<DynamicObject, ApplyError> {
    let mut manifest = child.manifest.clone();
    if let Some(uid) = uid {
        manifest["metadata"]["uid"] = json!(uid);
    }
    api.patch(&child.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&manifest))
        .await
        .map_err(ApplyError::kubernetes("apply", child.kind.as_str(), &child.name))
}

/// Deletes the child if it is there and owned by `owner_uid`.
pub async fn delete(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> Result<(), ApplyError> {
    let Some(found) = read_owned(client, kind, namespace, name, owner_uid).await? else { return Ok(()) };
    remove(client, kind, namespace, name, Preconditions { uid: found.uid(), resource_version: None }).await
}

/// Deletes the child if it is there and `owner`'s, or left behind without any owner by an object of the same kind and name.
pub async fn delete_left(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    owner: &OwnerReference,
) -> Result<(), ApplyError> {
    let found = read(client, kind, namespace, name).await?;
    let Some(found) = found.filter(|found| owned_by(found, &owner.uid) || is_orphan_of(found, owner)) else {
        return Ok(());
    };
    // As it was read: somebody may be making it their own by now.
    let as_read = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
    remove(client, kind, namespace, name, as_read).await
}

async fn remove(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    preconditions: Preconditions,
) -> Result<(), ApplyError> {
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match children(client, kind, namespace).delete(name, &parameters).await {
        Err(error) if !is_status(&error, 404) => Err(ApplyError::kubernetes("delete", kind.as_str(), name)(error)),
        _ => Ok(()),
    }
}

/// Takes our ownership off the child, so that it outlives its owner.
pub async fn orphan(
    client: &Client,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> Result<(), ApplyError> {
    let Some(found) = read_owned(client, kind, namespace, name, owner_uid).await? else { return Ok(()) };
    let api = children(client, kind, namespace);
    let owners: Vec<_> =
        found.metadata.owner_references.iter().flatten().filter(|owner| owner.uid != owner_uid).cloned().collect();
    let patch = json!({"metadata": {"resourceVersion": found.resource_version(), "ownerReferences": owners}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ()).map_err(ApplyError::kubernetes(
        "patch",
        kind.as_str(),
        name,
    ))
}

/// Adds our finalizer, or takes it off, unless the object changed since it was read. Works on what cannot be read
/// as its kind, too.
/// The version that came of it; `None` when the object is gone.
pub async fn set_finalizer(
    client: &Client,
    resource: &ApiResource,
    object: &ObjectMeta,
    present: bool,
) -> Result<Option<String>, ApplyError> {
    let name = object.name.clone().unwrap_or_default();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let mut finalizers: Vec<&str> =
        object.finalizers.iter().flatten().map(String::as_str).filter(|finalizer| *finalizer != FINALIZER).collect();
    if present {
        finalizers.push(FINALIZER);
    }
    let patch = json!({"metadata": {"resourceVersion": object.resource_version, "finalizers": finalizers}});
    match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(written) => Ok(written.metadata.resource_version),
        Err(error) if !present && is_status(&error, 404) => Ok(None),
        Err(error) => Err(ApplyError::kubernetes("set the finalizer of", "object", &name)(error)),
    }
}

/// Distinguishes a namespace from one of the same name that was there before.
pub async fn namespace_uid(client: &Client, namespace: &str) -> Result<String, ApplyError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get(namespace).await.map_err(ApplyError::kubernetes("get", "Namespace", namespace))?;
    Ok(found.uid().unwrap_or_default())
}

/// Writes the status; returns the object as the API server keeps it.
pub async fn write_status<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    S: Serialize,
{
    let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status});
    api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(ApplyError::kubernetes("write the status of", "object", name))
}

fn children(client: &Client, kind: ChildKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}
