//! The operator's own Postgres: finds its Secret, keeps a connection that carries the leader's epoch, and
//! publishes the console's read-only login.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    apply::{FIELD_MANAGER, kube_message},
    child::{MANAGED_BY, MANAGED_BY_LABEL},
    metrics::Metrics,
    project::DatabaseAddress,
};
use crate::{
    crd::Reason,
    dsn::hex,
    store::{Admin, Connection, StoreError, admin::password_digest, connection::PoolSize},
};

/// Pause between looks at the server, and between attempts to reach it.
const LOOK: Duration = Duration::from_secs(3);
/// Looks between two readings of the console's Secret: 30 s.
const SECRET_EVERY: u32 = 10;
/// Connections of the operator: one for each pass of both kinds, one for looks and one for retention.
fn pool_size(concurrency: u16) -> PoolSize {
    PoolSize { min: 0, max: 2 * u32::from(concurrency) + 2 }
}

/// Which Secrets the installation uses, all in the operator's namespace.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub namespace: String,
    pub database: String,
    /// Host of the evaluation Postgres: its Secret is made when absent.
    pub evaluation_host: Option<String>,
    pub console: String,
    /// Passes under way at once, for each kind.
    pub concurrency: u16,
}

/// What is known of the database now.
#[derive(Clone, Debug)]
pub enum State {
    Connecting,
    Ready(Arc<Database>),
    Unavailable { reason: Reason, message: String },
}

/// A server that answers, with the operator's schema on it.
#[derive(Debug)]
pub struct Database {
    pub admin: Admin,
    pub address: DatabaseAddress,
    /// "host:port/dbname", for people.
    pub server: String,
    connection: Connection,
    secret_name: String,
    /// What the Secret held, to notice a change.
    secret: LoginValues,
}

/// Values of a login Secret by key. They are not shown.
#[derive(PartialEq, Eq)]
struct LoginValues(BTreeMap<String, String>);

impl std::fmt::Debug for LoginValues {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LoginValues(…)")
    }
}

impl Database {
    fn failed(&self, source: StoreError) -> ConnectError {
        ConnectError::Store { server: self.server.clone(), secret: self.secret_name.clone(), source }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("failed to {verb} Secret {name}: {}", kube_message(source))]
    Secret { verb: &'static str, name: String, source: Box<kube::Error> },
    #[error(
        "Secret {0} does not exist in the operator's namespace: create it with uri, or host, port, dbname, username and password"
    )]
    NoSecret(String),
    #[error("Secret {name} cannot be used: {message}")]
    BadSecret { name: String, message: String },
    #[error("Postgres at {server}, login of Secret {secret}: {}", source.message())]
    Store { server: String, secret: String, source: StoreError },
    #[error("Secret {0} has changed")]
    SecretChanged(String),
    #[error("the server runs with fsync=off and would lose acknowledged events in a crash: turn fsync on")]
    DurabilityOff,
}

impl ConnectError {
    fn reason(&self) -> Reason {
        match self {
            Self::Secret { .. } | Self::NoSecret(_) | Self::SecretChanged(_) => Reason::DatabaseUnavailable,
            Self::BadSecret { .. } => Reason::DatabaseRejected,
            Self::DurabilityOff => Reason::DurabilityOff,
            Self::Store { source, .. } => reason(source),
        }
    }
}

/// The word for a condition that `error` causes.
#[must_use]
pub fn reason(error: &StoreError) -> Reason {
    match error {
        StoreError::Unavailable { .. } => Reason::DatabaseUnavailable,
        StoreError::SchemaMismatch { .. } => Reason::SchemaConflict,
        StoreError::Migration { .. } => Reason::MigrationFailed,
        _ => Reason::DatabaseRejected,
    }
}

/// Keeps `state` true until `stop`. A database that has seen a newer epoch asks for a higher one by `raise`.
pub async fn keep(
    client: Client,
    secrets: Secrets,
    mut epoch: watch::Receiver<i64>,
    raise: mpsc::Sender<i64>,
    state: watch::Sender<State>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let looks = async {
        let mut announced = None;
        loop {
            let current = *epoch.borrow_and_update();
            match connect(&client, &secrets, current).await {
                Ok(database) => {
                    info!(server = database.server, epoch = current, "Connected to Postgres.");
                    announced = None;
                    metrics.database_ready.set(1);
                    let database = Arc::new(database);
                    state.send_replace(State::Ready(database.clone()));
                    let failed = watch_over(&client, &secrets, &database).await;
                    if matches!(failed, ConnectError::SecretChanged(_)) {
                        info!("The database Secret has changed; connecting anew.");
                        continue;
                    }
                    if let ConnectError::Store { source: StoreError::Fenced { stored, .. }, .. } = failed {
                        rise(&raise, &mut epoch, stored).await;
                        continue;
                    }
                    metrics.database_ready.set(0);
                    warn!(error = %failed, "Lost Postgres.");
                    state.send_replace(State::Unavailable { reason: failed.reason(), message: failed.to_string() });
                }
                Err(ConnectError::Store { source: StoreError::Fenced { stored, .. }, .. }) => {
                    rise(&raise, &mut epoch, stored).await;
                    continue;
                }
                Err(failed) => {
                    let message = failed.to_string();
                    if announced.as_ref() != Some(&message) {
                        warn!(error = message, "Could not connect to Postgres; trying again.");
                        announced = Some(message.clone());
                    }
                    state.send_replace(State::Unavailable { reason: failed.reason(), message });
                }
            }
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = looks => {}
        () = stop.cancelled() => {}
    }
}

/// Asks for an epoch above the one that a database has seen. Only who still holds the lease can raise it; who does
/// not is ended by trying.
async fn rise(raise: &mpsc::Sender<i64>, epoch: &mut watch::Receiver<i64>, seen: i64) {
    let _ = raise.send(seen).await;
    let _ = timeout(LOOK, epoch.wait_for(|epoch| *epoch > seen)).await;
}

async fn connect(client: &Client, secrets: &Secrets, epoch: i64) -> Result<Database, ConnectError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &secrets.namespace);
    let mut secret = read(&api, &secrets.database).await?;
    if let (None, Some(host)) = (&secret, &secrets.evaluation_host) {
        let values = login(host, 5432, "errortracking", "postgres", &random_password());
        create(&api, &secrets.database, &values).await?;
        secret = Some(values);
    }
    let values = secret.ok_or_else(|| ConnectError::NoSecret(secrets.database.clone()))?;
    let connection = Connection::from_map(&values)
        .map_err(|error| ConnectError::BadSecret { name: secrets.database.clone(), message: error.to_string() })?;
    let address =
        DatabaseAddress { host: connection.host.clone(), port: connection.port, dbname: connection.dbname.clone() };
    let secret_name = format!("{}/{}", secrets.namespace, secrets.database);
    let failed = |source| ConnectError::Store { server: connection.server(), secret: secret_name.clone(), source };
    connection.probe().await.map_err(failed)?;
    let admin = Admin::connect(connection.pool(pool_size(secrets.concurrency), "error-tracking-operator"), epoch)
        .await
        .map_err(failed)?;
    if !admin.server().fsync {
        return Err(ConnectError::DurabilityOff);
    }
    let server = connection.server();
    let database = Database { admin, server, address, connection, secret_name, secret: LoginValues(values) };
    match publish_console_login(&api, &secrets.console, &database).await {
        Err(failed @ ConnectError::Store { .. }) => return Err(failed),
        // The console's Secret is no reason to leave everybody without a database.
        Err(failed) => error!(error = %failed, "Could not publish the console's login."),
        Ok(()) => {}
    }
    Ok(database)
}

/// Returns when the server does not answer any more.
async fn watch_over(client: &Client, secrets: &Secrets, database: &Database) -> ConnectError {
    let api: Api<Secret> = Api::namespaced(client.clone(), &secrets.namespace);
    for look in 1_u32.. {
        sleep(LOOK).await;
        if let Err(failed) = database.admin.look().await {
            match database.connection.probe().await {
                Err(why) => return database.failed(why),
                // It answers, but every connection is in use.
                Ok(()) if failed.retryable() => continue,
                Ok(()) => return database.failed(failed),
            }
        }
        if look % SECRET_EVERY != 0 {
            continue;
        }
        if let Ok(Some(now)) = read(&api, &secrets.database).await
            && LoginValues(now) != database.secret
        {
            return ConnectError::SecretChanged(secrets.database.clone());
        }
        // The API server away does not make the database unavailable.
        match publish_console_login(&api, &secrets.console, database).await {
            Err(failed @ ConnectError::Store { .. }) => return failed,
            Err(failed) => error!(error = %failed, "Could not publish the console's login."),
            Ok(()) => {}
        }
    }
    ConnectError::NoSecret(secrets.database.clone())
}

/// Makes the Secret of the console's login if it is absent, and the login agree with it.
async fn publish_console_login(api: &Api<Secret>, name: &str, database: &Database) -> Result<(), ConnectError> {
    let published = read(api, name).await?;
    if let Some(password) = published.and_then(|mut values| values.remove("password")).map(SecretString::from) {
        let set = database.admin.console_password_digest().await.map_err(|source| database.failed(source))?;
        if set != Some(password_digest(&password)) {
            database.admin.ensure_console_role(&password).await.map_err(|source| database.failed(source))?;
        }
        return Ok(());
    }
    let password = random_password();
    let username = database.admin.ensure_console_role(&password).await.map_err(|source| database.failed(source))?;
    let DatabaseAddress { host, port, dbname } = &database.address;
    create(api, name, &login(host, *port, dbname, &username, &password)).await
}

fn login(host: &str, port: u16, dbname: &str, username: &str, password: &SecretString) -> BTreeMap<String, String> {
    [
        ("host", host),
        ("port", &port.to_string()),
        ("dbname", dbname),
        ("username", username),
        ("password", password.expose_secret()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

async fn read(api: &Api<Secret>, name: &str) -> Result<Option<BTreeMap<String, String>>, ConnectError> {
    let secret = api.get_opt(name).await.map_err(|source| ConnectError::Secret {
        verb: "get",
        name: name.into(),
        source: Box::new(source),
    })?;
    Ok(secret.map(|secret| {
        let values = secret.data.unwrap_or_default().into_iter();
        values.map(|(key, ByteString(value))| (key, String::from_utf8_lossy(&value).into_owned())).collect()
    }))
}

async fn create(api: &Api<Secret>, name: &str, values: &BTreeMap<String, String>) -> Result<(), ConnectError> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.into(), MANAGED_BY.into())])),
            ..ObjectMeta::default()
        },
        string_data: Some(values.clone()),
        ..Secret::default()
    };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    api.create(&parameters, &secret)
        .await
        .map(|_| info!(secret = name, "Created a login Secret."))
        .map_err(|source| ConnectError::Secret { verb: "create", name: name.into(), source: Box::new(source) })
}

/// 192 random bits in hex: no character of it needs quoting anywhere.
#[must_use]
pub fn random_password() -> SecretString {
    hex(&rand::rng().random::<[u8; 24]>()).into()
}
