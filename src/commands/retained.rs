//! Lists what is in Postgres without an object in the cluster, and what deleted objects are still owed.

mod drop;
mod keys;

use std::{collections::BTreeSet, fmt::Debug, io::Write};

use jiff::Timestamp;
use kube::{Client, Resource, ResourceExt, api::ApiResource, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use self::keys::OrphanedKey;
use super::{CommandError, Installation, Output, client, database, table::size};
use crate::{
    crd::{ErrorTrackingProject, whole_seconds},
    dsn::ProjectId,
    kubernetes::{
        KubeError, Namespaces,
        pages::{Contents, list_each},
        table::align,
    },
    operator::databases::{
        AllowedHosts,
        tombstones::{self, Tombstone},
    },
    store::{
        Admin,
        admin::{CatalogProject, LeftLogin, Phase},
    },
};

/// List projects and keys that are kept without an object, and deletions that are not finished.
#[derive(Clone, Debug, clap::Args)]
pub struct Retained {
    #[command(flatten)]
    installation: Installation,
    /// Secret of the operator's database.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    database_secret: String,
    #[command(flatten)]
    hosts: AllowedHosts,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Forget the deletion of the object with this uid, whose database will never come back, instead of listing.
    #[arg(long, value_name = "UID")]
    forget: Option<String>,
    /// Revoke the key with this number, which no object has any more, instead of listing.
    #[arg(long, value_name = "KEY", conflicts_with = "forget")]
    revoke: Option<i64>,
    /// Drop everything that is stored of the retained project with this number, instead of listing. Asks first.
    #[arg(long, value_name = "ID", conflicts_with_all = ["forget", "revoke"])]
    drop: Option<ProjectId>,
    /// Drop without a question.
    #[arg(long, requires = "drop")]
    yes: bool,
}

/// Everything that the command says.
#[derive(Debug, Serialize)]
struct Answer {
    projects: Vec<RetainedProject>,
    keys: Vec<OrphanedKey>,
    logins: Vec<LeftBehind>,
    owed: Vec<Owed>,
}

/// A login that nobody can use any more, and that Postgres keeps because it owns something in another database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftBehind {
    role: String,
    project_id: u64,
    databases: Vec<String>,
}

impl From<LeftLogin> for LeftBehind {
    fn from(login: LeftLogin) -> Self {
        Self { role: login.role, project_id: login.project_id.get(), databases: login.databases }
    }
}

/// A project without an object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RetainedProject {
    id: u64,
    namespace: String,
    name: String,
    state: RetainedState,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Of the schema with its indexes; absent when that is on another server.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
    /// The server of the project's own database.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum RetainedState {
    /// Its object was deleted, and its events were to be kept.
    Retained,
    /// Its object is gone without having been deleted by the operator.
    Lost,
    /// Its events were to be deleted, and are still there.
    Owed,
}

impl RetainedState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retained => "retained",
            Self::Lost => "lost",
            Self::Owed => "owed",
        }
    }
}

/// Something that a deleted object still has in Postgres.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Owed {
    object: String,
    uid: String,
    waits_for: String,
}

/// Writes the list to standard output.
pub async fn retained(command: Retained) -> Result<(), CommandError> {
    let client = client().await?;
    let Installation { namespace, lease_name, namespaces } = &command.installation;
    if let Some(uid) = &command.forget {
        let forgotten = tombstones::forget(client, namespace, lease_name, uid).await?;
        let forgotten = forgotten.ok_or_else(|| CommandError::Refused(format!("nothing is owed to uid {uid}")))?;
        writeln!(std::io::stdout().lock(), "{forgotten} is owed nothing any more.")?;
        return Ok(());
    }
    let admin = database(&client, namespace, &command.database_secret).await?;
    if let Some(key_id) = command.revoke {
        let revoked = keys::revoke(&admin, &client, namespaces, key_id).await?;
        writeln!(std::io::stdout().lock(), "{revoked}")?;
        return Ok(());
    }
    let living = uids::<ErrorTrackingProject>(&client, namespaces).await?;
    if let Some(project) = command.drop {
        let dropped = drop::drop(&admin, &living, project, command.yes).await?;
        writeln!(std::io::stdout().lock(), "{dropped}")?;
        return Ok(());
    }
    let catalog = admin.catalog_projects().await?;
    let keys = keys::orphaned(&admin, &client, namespaces, &command.hosts, &catalog).await?;
    let mut projects = Vec::new();
    for project in catalog {
        let Some(state) = state(&project, &living) else { continue };
        projects.push(describe(&admin, project, state).await?);
    }
    let owed = tombstones::list(client, namespace, lease_name).await?;
    let logins = admin.left_logins().await?.into_iter().map(LeftBehind::from).collect();
    let answer = Answer { projects, keys, logins, owed: owed.iter().map(owed_by).collect() };
    command.output.print(&answer, table)
}

/// Uids of the objects of a kind in the cluster.
async fn uids<K>(client: &Client, namespaces: &Namespaces) -> Result<BTreeSet<String>, CommandError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let mut living = BTreeSet::new();
    for (_, api) in namespaces.apis(client, &ApiResource::erase::<K>(&())) {
        let listed = list_each(&api, Contents::Metadata, |object| living.extend(object.uid())).await;
        listed.map_err(KubeError::on("list", format!("{}s", K::kind(&())), ""))?;
    }
    Ok(living)
}

/// `None`: it has its object.
fn state(project: &CatalogProject, living: &BTreeSet<String>) -> Option<RetainedState> {
    match project.phase {
        Phase::Active if living.contains(&project.object_uid) => None,
        Phase::Active => Some(RetainedState::Lost),
        Phase::Retained => Some(RetainedState::Retained),
        Phase::Deleted => Some(RetainedState::Owed),
    }
}

async fn describe(
    admin: &Admin,
    project: CatalogProject,
    state: RetainedState,
) -> Result<RetainedProject, CommandError> {
    let bytes = match &project.location {
        None => Some(admin.project_bytes(project.project_id).await?),
        Some(_) => None,
    };
    Ok(RetainedProject {
        id: project.project_id.get(),
        namespace: project.namespace,
        name: project.name,
        state,
        since: project.since.map(whole_seconds),
        bytes,
        server: project.location.map(|location| location.server),
    })
}

fn owed_by(tombstone: &Tombstone) -> Owed {
    let waits_for = match tombstone {
        Tombstone::ClientKey { database: Some(secret), .. } => {
            let namespace = tombstone.project_namespace();
            format!("the database of Secret {namespace}/{secret}: its keys are to be revoked there")
        }
        Tombstone::ClientKey { .. } => "the operator's database: its keys are to be revoked".to_owned(),
        Tombstone::Project { .. } => "its database: its logins are to be removed there".to_owned(),
    };
    Owed { object: tombstone.to_string(), uid: tombstone.uid().to_owned(), waits_for }
}

fn table(answer: &Answer) -> String {
    let mut rows = vec![["ID", "PROJECT", "STATE", "SINCE", "SIZE", "SERVER"].map(str::to_owned)];
    rows.extend(answer.projects.iter().map(|project| {
        [
            project.id.to_string(),
            format!("{}/{}", project.namespace, project.name),
            project.state.as_str().to_owned(),
            project.since.map_or_else(|| "-".to_owned(), |since| since.to_string()),
            project.bytes.map_or_else(|| "-".to_owned(), size),
            project.server.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    let mut text =
        if answer.projects.is_empty() { "No project is kept without an object.\n".to_owned() } else { align(&rows) };
    text.push_str(&keys::table(&answer.keys));
    if !answer.logins.is_empty() {
        let mut rows = vec![["LOGIN", "PROJECT", "OWNS SOMETHING IN"].map(str::to_owned)];
        rows.extend(
            answer
                .logins
                .iter()
                .map(|login| [login.role.clone(), login.project_id.to_string(), login.databases.join(", ")]),
        );
        text.push('\n');
        text.push_str(&align(&rows));
    }
    if !answer.owed.is_empty() {
        let mut rows = vec![["OWED TO", "UID", "WAITS FOR"].map(str::to_owned)];
        rows.extend(answer.owed.iter().map(|owed| [owed.object.clone(), owed.uid.clone(), owed.waits_for.clone()]));
        text.push('\n');
        text.push_str(&align(&rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_is_kept_and_what_is_owed() {
        let answer = Answer {
            projects: vec![RetainedProject {
                id: 7,
                namespace: "web".into(),
                name: "shop".into(),
                state: RetainedState::Retained,
                since: Some(Timestamp::from_second(0).unwrap()),
                bytes: Some(2048),
                server: None,
            }],
            keys: vec![],
            logins: vec![LeftBehind {
                role: "et_1a2b3c4d_7_ingest".into(),
                project_id: 7,
                databases: vec!["postgres".into(), "template1".into()],
            }],
            owed: vec![owed_by(&Tombstone::client_key("u", "web", "shop", Some("pg".into())))],
        };
        assert_eq!(
            table(&answer),
            "ID   PROJECT    STATE      SINCE                  SIZE      SERVER\n\
             7    web/shop   retained   1970-01-01T00:00:00Z   2.0 KiB   -\n\
             \n\
             LOGIN                  PROJECT   OWNS SOMETHING IN\n\
             et_1a2b3c4d_7_ingest   7         postgres, template1\n\
             \n\
             OWED TO              UID   WAITS FOR\n\
             ClientKey web/shop   u     the database of Secret web/pg: its keys are to be revoked there\n"
        );
        assert_eq!(
            table(&Answer { projects: vec![], keys: vec![], logins: vec![], owed: vec![] }),
            "No project is kept without an object.\n"
        );
    }
}
