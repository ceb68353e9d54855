//! Commands that do one thing and end; `main` calls them. Most are what the platform team runs beside the operator, as
//! `kubectl exec deploy/error-tracking-operator -- error-tracking-operator retained`. The environment of the
//! operator's pods says where everything is. Statements to Postgres go in the leader's epoch: they are no new leader.

mod adopt;
mod crds;
mod decode;
mod next_number;
mod projects;
mod release;
mod retained;
mod table;

pub use adopt::{Adopt, adopt};
pub use crds::{Crds, crds};
pub use decode::{Decode, DecodeError, decode};
pub use next_number::{NextNumber, next_number};
pub use projects::{Projects, projects};
pub use release::{Release, release};
pub use retained::{Retained, retained};

use std::{collections::BTreeMap, io::Write};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};

use crate::{
    kubernetes::{KubeError, Namespaces},
    operator::objects::ApplyError,
    store::{
        Admin, Connection, StoreError,
        connection::{ConnectionError, PoolSize},
    },
};

/// Which installation a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct Installation {
    /// Namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    #[arg(long, env = "ERROR_TRACKING_LEASE_NAME", default_value = "error-tracking-operator")]
    lease_name: String,
    #[command(flatten)]
    namespaces: Namespaces,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Output {
    #[default]
    Table,
    Json,
}

impl Output {
    /// Prints the answer of a command as it was asked for.
    fn print<A: serde::Serialize>(self, answer: &A, table: fn(&A) -> String) -> Result<(), CommandError> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Json => {
                serde_json::to_writer_pretty(&mut out, answer)?;
                writeln!(out)?;
            }
            Self::Table => write!(out, "{}", table(answer))?,
        }
        Ok(())
    }
}

/// A command did not do what it was called for. `Display` is the sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("failed to find the Kubernetes API: {0}")]
    NoKubernetes(#[source] Box<kube::Error>),
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("Secret {secret} does not say how to reach Postgres: {source}")]
    Database { secret: String, source: ConnectionError },
    #[error("Postgres: {}", .0.message())]
    Store(#[from] StoreError),
    #[error("failed to write the answer: {0}")]
    Output(#[from] std::io::Error),
    #[error("failed to write the answer: {0}")]
    Json(#[from] serde_json::Error),
    #[error("failed to write the definitions: {0}")]
    Yaml(#[from] serde_yaml::ser::Error),
    /// What was asked for would harm somebody, or cannot be.
    #[error("{0}")]
    Refused(String),
}

async fn client() -> Result<Client, CommandError> {
    Client::try_default().await.map_err(|error| CommandError::NoKubernetes(Box::new(error)))
}

/// The operator's own database, as its leader has left it.
async fn database(client: &Client, namespace: &str, name: &str) -> Result<Admin, CommandError> {
    Ok(database_at(client, namespace, name).await?.1)
}

/// As [`database`], and where it is, for people.
async fn database_at(client: &Client, namespace: &str, name: &str) -> Result<(String, Admin), CommandError> {
    let secret = format!("{namespace}/{name}");
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get(name).await.map_err(KubeError::on("read", "Secret", &secret))?;
    let values: BTreeMap<_, _> = found
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, ByteString(value))| (key, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let connection = Connection::from_map(&values).map_err(|source| CommandError::Database { secret, source })?;
    connection.probe().await?;
    let pool = connection.pool(PoolSize { min: 0, max: 2 }, "error-tracking-operator command");
    Ok((connection.server(), Admin::attach(pool).await?))
}
