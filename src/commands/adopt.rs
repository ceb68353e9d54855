//! Gives a project that is kept without an object to an object of another namespace, or of one that was made anew.
//! The platform team decides: a schema holds what an earlier tenant sent.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{CommandError, Installation, client, database};
use crate::{
    crd::ErrorTrackingProject,
    dsn::ProjectId,
    kubernetes::{KubeError, names::FIELD_MANAGER},
    store::{
        Admin,
        admin::{DeletionPolicy, Phase, ProjectIdentity, ProjectRow},
    },
};

/// Tells the operator to look at the project now.
const ADOPTED_ANNOTATION: &str = "errortracking.dev/adopted-at";

/// Give a kept project to an object: of another namespace, or of one that was made anew.
#[derive(Clone, Debug, clap::Args)]
pub struct Adopt {
    /// Number of the project, as `retained` lists it.
    id: ProjectId,
    /// Namespace and name of the `ErrorTrackingProject` that is to have it, whether that exists already or not.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = target)]
    to: (String, String),
    #[command(flatten)]
    installation: Installation,
    /// Secret of the operator's database.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    database_secret: String,
}

fn target(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

/// Does it, and says so on standard output; repeating it changes nothing.
pub async fn adopt(command: Adopt) -> Result<(), CommandError> {
    let client = client().await?;
    let admin = database(&client, &command.installation.namespace, &command.database_secret).await?;
    let (id, (namespace, name)) = (command.id, &command.to);
    let refused = |why: String| Err(CommandError::Refused(why));
    let Some(kept) = admin.observe_project(id).await?.filter(|project| project.phase != Phase::Deleted) else {
        return refused(format!("There is no project {id} in this database that could be given to anybody."));
    };
    if let Some(location) = &kept.location {
        return refused(format!(
            "Project {id} is kept in a database of its own ({}), which the operator does not change the owner in.",
            location.server
        ));
    }
    let Some(namespace_uid) = namespace_uid(&client, namespace).await? else {
        return refused(format!("There is no namespace {namespace}: create it first."));
    };
    let found = find(&client, namespace, name).await?;
    let target = ProjectIdentity {
        namespace: namespace.clone(),
        name: name.clone(),
        namespace_uid,
        object_uid: found.as_ref().and_then(ResourceExt::uid).unwrap_or_default(),
    };
    if is_of(&kept, &target, found.is_some()) {
        println!("Project {id} is that of {namespace}/{name} already.");
        return Ok(());
    }
    if let Some(owner) = living_owner(&client, &kept, &target).await? {
        return refused(format!("Project {id} is that of {owner}, which exists: delete that object first."));
    }
    if found.as_ref().is_some_and(|project| project.database_secret().is_some()) {
        return refused(format!(
            "{namespace}/{name} keeps its events in a database of its own, and project {id} is in the operator's."
        ));
    }
    let replaced = replaced(&admin, id, &target).await?;
    admin.adopt_project(id, &target, found.is_some(), replaced).await?;
    if let Some(replaced) = replaced {
        // It never had an event.
        admin.retire_project(replaced, DeletionPolicy::Delete).await?;
    }
    if found.is_some() {
        nudge(&client, namespace, name).await?;
        println!("Project {id} is that of {namespace}/{name} now.");
    } else {
        println!("Project {id} waits for an ErrorTrackingProject {namespace}/{name}.");
    }
    Ok(())
}

/// Whether nothing is left to do.
fn is_of(kept: &ProjectRow, target: &ProjectIdentity, living: bool) -> bool {
    let named = kept.identity.namespace_uid == target.namespace_uid && kept.identity.name == target.name;
    let object = !living || (kept.identity.object_uid == target.object_uid && kept.phase == Phase::Active);
    named && object
}

/// The number that the target has so far, if it has stored nothing under it.
async fn replaced(admin: &Admin, id: ProjectId, target: &ProjectIdentity) -> Result<Option<ProjectId>, CommandError> {
    let Some(other) = admin.find_project(target).await?.filter(|other| *other != id) else { return Ok(None) };
    if admin.has_events(other).await? {
        return Err(CommandError::Refused(format!(
            "{}/{} is project {other} and has events: delete that object with deletionPolicy Delete first, or choose \
             another name.",
            target.namespace, target.name
        )));
    }
    Ok(Some(other))
}

async fn namespace_uid(client: &Client, name: &str) -> Result<Option<String>, CommandError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_opt(name).await.map_err(KubeError::on("read", "namespace", name))?;
    Ok(found.and_then(|namespace| namespace.uid()))
}

/// The object that the project is for, if it lives and is not the target.
async fn living_owner(
    client: &Client,
    kept: &ProjectRow,
    target: &ProjectIdentity,
) -> Result<Option<String>, CommandError> {
    let identity = &kept.identity;
    let Some(found) = find(client, &identity.namespace, &identity.name).await? else { return Ok(None) };
    let uid = found.uid().unwrap_or_default();
    // Of a namespace that was made anew, it has nothing to do with the project.
    let same_namespace = namespace_uid(client, &identity.namespace).await? == Some(identity.namespace_uid.clone());
    let lives = uid == identity.object_uid || (same_namespace && uid != target.object_uid);
    Ok(lives.then(|| format!("{}/{}", identity.namespace, identity.name)))
}

/// By a list of one: the operator may not get single objects.
async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<ErrorTrackingProject>, CommandError> {
    let api: Api<ErrorTrackingProject> = Api::namespaced(client.clone(), namespace);
    let one = ListParams::default().fields(&format!("metadata.name={name}"));
    let failed = KubeError::on("read", "ErrorTrackingProject", &format!("{namespace}/{name}"));
    Ok(api.list(&one).await.map_err(failed)?.items.into_iter().next())
}

async fn nudge(client: &Client, namespace: &str, name: &str) -> Result<(), CommandError> {
    let api: Api<ErrorTrackingProject> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {"annotations": {ADOPTED_ANNOTATION: format!("{:.0}", Timestamp::now())}}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch_metadata(name, &parameters, &Patch::Merge(&patch)).await.map_err(KubeError::on(
        "annotate",
        "ErrorTrackingProject",
        &format!("{namespace}/{name}"),
    ))?;
    Ok(())
}
