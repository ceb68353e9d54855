//! Lists every project with what it received, dropped and stores, out of every database that can be reached.

mod answer;

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, ResourceExt, api::ApiResource, core::DeserializeGuard};
use tokio::time::timeout;

use self::answer::{Answer, Database, Dropped, Project, Received, table};
use super::{CommandError, Installation, Output, client, database_at};
use crate::{
    crd::{ErrorTrackingProject, whole_seconds},
    kubernetes::{
        KubeError, Namespaces,
        pages::{Contents, identity, list_each},
    },
    operator::{
        databases::{AllowedHosts, reach},
        kinds::project::reduce,
    },
    store::{
        Admin, StoreError,
        admin::{ProjectUsage, SchemaOwner},
    },
};

/// How far back it is counted what was received.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Databases that are asked at the same time.
const DATABASES: usize = 8;
/// Longest wait for one answer of a database. One that took longer is asked nothing more.
const LIMIT: Duration = Duration::from_secs(20);

/// List the projects: what each one received and dropped in the last 24 hours, and what it stores.
#[derive(Clone, Debug, clap::Args)]
pub struct Projects {
    #[command(flatten)]
    installation: Installation,
    /// Secret of the operator's database.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    database_secret: String,
    #[command(flatten)]
    hosts: AllowedHosts,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Namespace and name of the Secret of a database that projects name; `None`: the operator's own.
type DatabaseName = Option<(String, String)>;

/// Writes the list to standard output.
pub async fn projects(command: Projects) -> Result<(), CommandError> {
    let client = client().await?;
    let mut databases = BTreeMap::<DatabaseName, Vec<Object>>::new();
    for object in objects(&client, &command.installation.namespaces).await? {
        databases.entry(object.database()).or_default().push(object);
    }
    let listing = databases.into_iter().map(|(name, objects)| list(&command, &client, name, objects));
    let listed: Vec<_> = stream::iter(listing).buffer_unordered(DATABASES).collect().await;
    let mut projects: Vec<Project> = listed.into_iter().flatten().collect();
    projects.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let answer = Answer { projects };
    command.output.print(&answer, table)
}

/// One object; one that cannot be read must not hide the others.
struct Object(DeserializeGuard<ErrorTrackingProject>);

impl Object {
    fn database(&self) -> DatabaseName {
        let project = self.0.0.as_ref().ok()?;
        Some((project.namespace()?, project.database_secret()?.to_owned()))
    }

    fn retention_days(&self) -> Option<i32> {
        let project = self.0.0.as_ref().ok()?;
        project.spec.backend.integrated.as_ref().map(|integrated| integrated.retention_days)
    }

    /// As it is shown before its database was asked.
    fn describe(&self, database: Database) -> Project {
        Project {
            namespace: self.0.namespace().unwrap_or_default(),
            name: self.0.name_any(),
            id: None,
            retention_days: self.retention_days(),
            received: None,
            bytes: None,
            oldest_event: None,
            database,
        }
    }
}

async fn objects(client: &Client, namespaces: &Namespaces) -> Result<Vec<Object>, CommandError> {
    let mut objects = Vec::new();
    for (_, api) in namespaces.apis(client, &ApiResource::erase::<ErrorTrackingProject>(&())) {
        let listed = list_each(&api, Contents::Whole, |mut object| {
            // It runs in the operator's pod, whose memory it shares.
            object.metadata = identity(&object.metadata);
            reduce(&mut object);
            let read = serde_json::to_value(object).and_then(serde_json::from_value);
            objects.extend(read.ok().map(Object));
        });
        listed.await.map_err(KubeError::on("list", "ErrorTrackingProjects", ""))?;
    }
    Ok(objects)
}

/// The projects of one database.
async fn list(command: &Projects, client: &Client, name: DatabaseName, objects: Vec<Object>) -> Vec<Project> {
    let secret = name.as_ref().map(|(_, secret)| secret.clone());
    let (server, mut reached) = match timeout(LIMIT, connect(command, client, name)).await {
        Ok(Ok((server, admin))) => (Some(server), Ok(admin)),
        Ok(Err(message)) => (None, Err(message)),
        Err(_) => (None, Err(silent())),
    };
    let mut projects = Vec::new();
    for object in objects {
        let mut project = object.describe(Database { secret: secret.clone(), server: server.clone(), problem: None });
        let problem = match &reached {
            Err(message) => Some(message.clone()),
            Ok(admin) => match timeout(LIMIT, ask(admin, &object, &mut project)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.message().into_owned()),
                Err(_) => Some(silent()),
            },
        };
        if let (Some(message), Ok(_)) = (&problem, &reached) {
            // The next question would wait as long.
            reached = Err(message.clone());
        }
        project.database.problem = problem;
        projects.push(project);
    }
    projects
}

fn silent() -> String {
    format!("no answer within {} s", LIMIT.as_secs())
}

/// Where the database is, for people, and a hand in it; else why it cannot be reached.
async fn connect(command: &Projects, client: &Client, name: DatabaseName) -> Result<(String, Admin), String> {
    match name {
        None => {
            let (namespace, secret) = (&command.installation.namespace, &command.database_secret);
            database_at(client, namespace, secret).await.map_err(|error| error.to_string())
        }
        Some((namespace, secret)) => {
            reach::visit(client, &command.hosts, &namespace, &secret).await.map_err(|error| error.to_string())
        }
    }
}

/// Fills in what the database knows of the project. One that has no schema yet has nothing.
async fn ask(admin: &Admin, object: &Object, project: &mut Project) -> Result<(), StoreError> {
    let uid = object.0.uid().unwrap_or_default();
    let Some(state) = admin.observe_object(&uid).await? else { return Ok(()) };
    project.id = Some(state.project_id.get());
    if state.schema_owner != SchemaOwner::Ours || state.schema_version == 0 {
        return Ok(());
    }
    let ProjectUsage { bytes, oldest_event, outcomes } =
        admin.project_usage(state.project_id, Timestamp::now() - DAY).await?;
    let (accepted, dropped): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|count| count.outcome == "accepted");
    project.bytes = Some(bytes);
    project.oldest_event = oldest_event.map(whole_seconds);
    project.received = Some(Received {
        events: accepted.iter().map(|count| count.quantity).sum(),
        dropped: dropped.into_iter().map(Dropped::from).collect(),
    });
    Ok(())
}
