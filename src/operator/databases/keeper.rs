//! Keeps a connection to one Postgres that carries the leader's epoch: the operator's own, whose Secret is in its
//! namespace and which also gets the console's login, or one that projects name.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, ResourceExt};
use rand::RngExt;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use super::{
    database::{Database, DatabaseAddress, DatabaseState},
    error::ConnectError,
    hosts::AllowedHosts,
    login::{
        LoginValues, create, publish_console_login, publish_project_login, random_password, read, retain_project_logins,
    },
    projects::SecretName,
    reach::connection_of_project,
};
use crate::{
    kubernetes::KubeError,
    operator::engine::metrics::Metrics,
    store::{
        Admin, Connection, StoreError,
        admin::{LONGEST_TRANSACTION, Leader},
        connection::PoolSize,
        tls::Tls,
    },
};

/// Pause between looks at the operator's own server, and between attempts to reach any.
const LOOK: Duration = Duration::from_secs(3);
/// Pause between looks at the server of a project: there can be many.
const LOOK_AT_PROJECTS: Duration = Duration::from_secs(10);
/// How often the operator's own Secrets are read, and logins removed whose time is over.
const UPKEEP: Duration = Duration::from_secs(30);
/// How often the Secret of a project is read that is not watched, because it lacks the label.
const READ_AGAIN: Duration = Duration::from_mins(5);
/// How long the connection of the former Secret is used while the new one fails: people write the Secret first, then
/// change the password. A Secret may be missing for the same time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest work of a server on what the operator needs there for itself, as the migrations of its catalog.
const ANSWER: Duration = Duration::from_mins(1);
/// Longest wait for connections to close. Those in use are closed when they are given back.
const CLOSING: Duration = Duration::from_millis(100);
/// Connections to the server of a project.
const PROJECT_POOL: PoolSize = PoolSize { min: 0, max: 5 };

/// Which Secrets the installation uses, all in the operator's namespace.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub namespace: String,
    /// Distinguishes this installation from others of its namespace.
    pub lease: String,
    pub database: String,
    /// Host of the evaluation Postgres: its Secret is made when absent.
    pub evaluation_host: Option<String>,
    pub console: String,
    /// Most connections to the operator's own database.
    pub connections: u32,
}

/// Whose database it is.
#[derive(Clone, Debug)]
pub enum DatabaseOwner {
    /// The operator's own.
    Installation,
    /// The one that projects of a namespace name with a Secret of their own.
    Projects { namespace: String, secret: String, hosts: AllowedHosts, headroom: Headroom },
}

/// How far all databases of projects together may raise the epoch while this process leads. Tenants can write any
/// number there, and the Lease counts to 2³¹. Enough for the epochs of years, as after the Lease was deleted.
#[derive(Clone, Debug)]
pub struct Headroom(Arc<AtomicI64>);

impl Default for Headroom {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_000_000)))
    }
}

impl Headroom {
    /// Whether there is room for `ahead` more, which is used up then.
    fn take(&self, ahead: i64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(ahead).filter(|left| *left >= 0)
            })
            .is_ok()
    }
}

/// Keeps a connection to one database.
#[derive(Clone)]
pub struct Keeper {
    pub client: Client,
    pub secrets: Secrets,
    pub owner: DatabaseOwner,
    pub metrics: Metrics,
    /// Notified when the Secret has changed.
    pub changed: Arc<Notify>,
}

/// The database that the former Secret reached, and when that Secret changed.
struct Former {
    database: Arc<Database>,
    since: Instant,
}

/// Keeps `state` current until `stop`. For a database that has seen a newer epoch, `raise` asks for a higher one.
pub async fn keep(
    keeper: Keeper,
    mut epoch: watch::Receiver<i64>,
    raise: mpsc::Sender<i64>,
    state: watch::Sender<DatabaseState>,
    stop: CancellationToken,
) {
    let (namespace, secret) = keeper.secret_name();
    let span = info_span!("database", namespace, secret);
    let looks = async {
        let mut announced = None;
        let mut former: Option<Former> = None;
        let mut reached: Option<Arc<Database>> = None;
        // Attempts in a row to bring the schema to this version.
        let mut migrations = 0;
        loop {
            let current = *epoch.borrow_and_update();
            let failed = match keeper.connect(current).await {
                Ok(database) => {
                    info!(server = database.server, epoch = current, "Connected to Postgres.");
                    (announced, former) = (None, None);
                    keeper.observe_ready(1);
                    let database = Arc::new(database);
                    reached = Some(database.clone());
                    state.send_replace(DatabaseState::Ready(database.clone()));
                    let failed = keeper.watch_over(&database).await;
                    if matches!(failed, ConnectError::SecretChanged(_)) {
                        info!("The database Secret has changed; connecting anew.");
                        former = Some(Former { database, since: Instant::now() });
                        continue;
                    }
                    if matches!(failed, ConnectError::StartedAnew(_)) {
                        info!(server = database.server, "Postgres was started anew; connecting anew.");
                        continue;
                    }
                    failed
                }
                Err(failed) => failed,
            };
            let failed = match keeper.epoch_to_exceed(failed) {
                Ok(stored) => {
                    raise_epoch(&raise, &mut epoch, stored).await;
                    continue;
                }
                Err(failed) => failed,
            };
            let message = failed.to_string();
            if announced.as_ref() != Some(&message) {
                warn!(error = message, "Postgres of Secret {namespace}/{secret} cannot be used; trying again.");
                announced = Some(message);
            }
            migrations = if matches!(failed, ConnectError::Migrating { .. }) { migrations + 1 } else { 0 };
            let pause = pause_after(&failed, migrations);
            let bridged = match &former {
                Some(former) => former.since.elapsed() < PATIENCE && former.database.admin.check_lead().await.is_ok(),
                None => false,
            };
            if !bridged {
                former = None;
                keeper.observe_ready(0);
                let failed = Arc::new(failed);
                state.send_replace(match *failed {
                    ConnectError::Migrating { .. } => DatabaseState::Migrating(failed),
                    _ => DatabaseState::Unavailable(failed),
                });
                // Nobody need wait for its connections: the next attempt makes others.
                if let Some(database) = reached.take() {
                    let _ = timeout(CLOSING, database.admin.close()).await;
                }
            }
            let _ = timeout(pause, keeper.changed.notified()).await;
        }
    };
    tokio::select! {
        () = looks.instrument(span) => {}
        () = stop.cancelled() => {}
    }
}

/// Pause before the next attempt. It is longer for what only a user can mend, and for what makes ingest wait each time.
fn pause_after(failed: &ConnectError, migrations: u32) -> Duration {
    match failed {
        ConnectError::Migrating { .. } => {
            let longest = LOOK.saturating_mul(1 << migrations.saturating_sub(1).min(5)).min(ANSWER);
            longest.mul_f64(rand::rng().random_range(0.5..1.0))
        }
        ConnectError::NoSecret { of_project: true, .. }
        | ConnectError::BadSecret { of_project: true, .. }
        | ConnectError::HostNotAllowed { .. }
        | ConnectError::EpochAhead { .. } => UPKEEP,
        _ => LOOK,
    }
}

/// Asks for an epoch above the one that a database has seen. A process that has lost its lease cannot raise it, and
/// ends.
async fn raise_epoch(raise: &mpsc::Sender<i64>, epoch: &mut watch::Receiver<i64>, seen: i64) {
    let _ = raise.send(seen).await;
    let _ = timeout(LOOK, epoch.wait_for(|epoch| *epoch > seen)).await;
}

impl Keeper {
    /// Sets the gauge, which is about the operator's own database alone.
    fn observe_ready(&self, ready: i64) {
        if matches!(self.owner, DatabaseOwner::Installation) {
            self.metrics.database_ready.set(ready);
        }
    }

    /// The epoch that ours must exceed, when the database is ahead and may ask for that.
    fn epoch_to_exceed(&self, failed: ConnectError) -> Result<i64, ConnectError> {
        match (failed, &self.owner) {
            (
                ConnectError::Store { server, secret, source: StoreError::Fenced { stored, ours } },
                DatabaseOwner::Projects { headroom, .. },
            ) => {
                if headroom.take(stored.saturating_sub(ours)) {
                    Ok(stored)
                } else {
                    Err(ConnectError::EpochAhead { server, secret, stored, ours })
                }
            }
            // After the Lease was deleted.
            (ConnectError::Store { source: StoreError::Fenced { stored, .. }, .. }, DatabaseOwner::Installation) => {
                Ok(stored)
            }
            (failed, _) => Err(failed),
        }
    }

    /// Namespace and name of the Secret of the login.
    fn secret_name(&self) -> (&str, &str) {
        match &self.owner {
            DatabaseOwner::Installation => (&self.secrets.namespace, &self.secrets.database),
            DatabaseOwner::Projects { namespace, secret, .. } => (namespace, secret),
        }
    }

    /// The API of the operator's own namespace.
    fn own_secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.secrets.namespace)
    }

    /// Takes the console's logins of databases away that no project names any more. It is tried again and again.
    pub async fn retain_console_logins(&self, named: &BTreeSet<SecretName>) {
        let api = self.own_secrets();
        let retaining = retain_project_logins(&api, &self.secrets.console, named);
        match timeout(LOOK, retaining).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(%error, "Could not take away the console's logins of databases that are not named.");
            }
            Err(_) => warn!("Could not take away the console's logins of databases that are not named in time."),
        }
    }

    /// The API of the login's namespace, and the name of the login's Secret.
    fn secret(&self) -> (Api<Secret>, &str) {
        let (namespace, name) = self.secret_name();
        (Api::namespaced(self.client.clone(), namespace), name)
    }

    async fn connect(&self, epoch: i64) -> Result<Database, ConnectError> {
        let (api, name) = self.secret();
        let of_project = matches!(self.owner, DatabaseOwner::Projects { .. });
        let mut secret = read(&api, name).await?;
        if let (None, Some(host), false) = (&secret, &self.secrets.evaluation_host, of_project) {
            let address =
                DatabaseAddress { host: host.clone(), port: 5432, dbname: "errortracking".into(), tls: Tls::default() };
            let values = address.login("postgres", &random_password());
            create(&api, name, &values).await?;
            secret = Some(values);
        }
        let values = secret.ok_or_else(|| ConnectError::NoSecret { name: name.into(), of_project })?;
        let connection = match &self.owner {
            DatabaseOwner::Installation => Connection::from_map(&values).map_err(|source| ConnectError::BadSecret {
                name: name.into(),
                source,
                of_project,
            })?,
            DatabaseOwner::Projects { namespace, hosts, .. } => connection_of_project(&values, hosts, namespace, name)?,
        };
        let address = DatabaseAddress {
            host: connection.host.clone(),
            port: connection.port,
            dbname: connection.dbname.clone(),
            tls: connection.tls.clone(),
        };
        let secret_name = if of_project { name.to_owned() } else { format!("{}/{name}", self.secrets.namespace) };
        let failed = |source: StoreError| {
            let server = connection.server();
            if source.waits_for_a_transaction() {
                return ConnectError::Migrating { server, source };
            }
            ConnectError::Store { server, secret: secret_name.clone(), source }
        };
        connection.probe().await.map_err(failed)?;
        let size = if of_project { PROJECT_POOL } else { PoolSize { min: 0, max: self.secrets.connections } };
        let owner = self.installation_owner().await?;
        let leading = Admin::lead(connection.pool(size, "error-tracking-operator"), epoch, owner);
        let admin = answered(leading).await.map_err(failed)?;
        if !admin.server().fsync {
            return Err(ConnectError::DurabilityOff);
        }
        let (server, secret) = (connection.server(), LoginValues(values));
        let shares_login = of_project && !admin.server().creates_roles;
        let database = Database { admin, address, server, connection, secret_name, secret, shares_login };
        if self.secrets.evaluation_host.as_ref() == Some(&database.address.host) && !of_project {
            // Nobody else uses that server.
            let closed = database.admin.close_databases().await.map_err(|source| database.failed(source))?;
            if !closed.is_empty() {
                info!(databases = closed.join(", "), "Only logins that were granted it may connect to these now.");
            }
        }
        self.publish_console_login(&database).await?;
        Ok(database)
    }

    async fn installation_owner(&self) -> Result<Leader, ConnectError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let name = &self.secrets.namespace;
        let namespace = namespaces.get(name).await.map_err(KubeError::on("get", "Namespace", name))?;
        let namespace_uid = namespace.uid().unwrap_or_default();
        Ok(Leader { namespace: name.clone(), namespace_uid, lease: self.secrets.lease.clone() })
    }

    /// Returns when the server does not answer any more, or the Secret has changed.
    async fn watch_over(&self, database: &Database) -> ConnectError {
        let (api, name) = self.secret();
        let of_project = matches!(self.owner, DatabaseOwner::Projects { .. });
        let (look, read_again) = if of_project { (LOOK_AT_PROJECTS, READ_AGAIN) } else { (LOOK, UPKEEP) };
        let (mut upkeep, mut secret_read, mut published) = (Instant::now(), Instant::now(), Instant::now());
        let mut missing_since: Option<Instant> = None;
        loop {
            let changed = timeout(look, self.changed.notified()).await.is_ok();
            match database.admin.check_lead().await {
                Ok(true) => {}
                Ok(false) => return ConnectError::StartedAnew(database.server.clone()),
                Err(failed) => match database.connection.probe().await {
                    Err(why) => return database.failed(why),
                    // It answers, but every connection is in use.
                    Ok(()) if failed.retryable() => continue,
                    Ok(()) => return database.failed(failed),
                },
            }
            if changed || missing_since.is_some() || secret_read.elapsed() >= read_again {
                secret_read = Instant::now();
                // The database is available while the API server is away.
                match read(&api, name).await {
                    Ok(Some(now)) if LoginValues(now.clone()) != database.secret => {
                        return ConnectError::SecretChanged(name.into());
                    }
                    // The connection serves a while longer, as for a project that is deleted with its namespace.
                    Ok(None) if of_project => {
                        if missing_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                            return ConnectError::NoSecret { name: name.into(), of_project };
                        }
                    }
                    Ok(_) => missing_since = None,
                    Err(_) => {}
                }
            }
            if upkeep.elapsed() < UPKEEP {
                continue;
            }
            upkeep = Instant::now();
            match answered(database.admin.end_transactions_older_than(LONGEST_TRANSACTION)).await {
                Ok(0) => {}
                Ok(ended) => info!(server = database.server, ended, "Ended transactions that ingest logins left open."),
                Err(error) => warn!(server = database.server, %error, "Could not look for open transactions."),
            }
            match answered(database.admin.drop_former_logins()).await {
                Ok(0) => {}
                Ok(dropped) => info!(server = database.server, dropped, "Removed logins that were replaced."),
                Err(error) => warn!(server = database.server, %error, "Could not remove logins that were replaced."),
            }
            if published.elapsed() >= read_again {
                published = Instant::now();
                if let Err(failed) = self.publish_console_login(database).await {
                    return failed;
                }
            }
        }
    }

    /// Brings the console's login of this database into the console's Secret, which is made with that of the operator's
    /// own, and the login to agree with it. Fails when the operator's own Postgres does: the console's Secret is no reason
    /// to leave everybody without a database, nor what a tenant's database refuses.
    async fn publish_console_login(&self, database: &Database) -> Result<(), ConnectError> {
        let (api, console) = (self.own_secrets(), &self.secrets.console);
        let publishing = async {
            match &self.owner {
                DatabaseOwner::Installation => publish_console_login(&api, console, database).await,
                DatabaseOwner::Projects { namespace, secret, .. } => {
                    let of = (namespace.clone(), secret.clone());
                    publish_project_login(&api, console, &of, database).await
                }
            }
        };
        // If Postgres is the silent one, the next look at it says so.
        let Ok(published) = timeout(ANSWER, publishing).await else {
            error!("Could not publish the console's login in time.");
            return Ok(());
        };
        match published {
            Err(failed @ ConnectError::Store { .. }) if matches!(self.owner, DatabaseOwner::Installation) => {
                Err(failed)
            }
            Err(failed) => {
                error!(error = %failed, "Could not publish the console's login.");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Ends the wait for a server that accepts connections and stays silent.
async fn answered<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(ANSWER, asking).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> StoreError {
    StoreError::Unavailable { message: format!("no answer within {} s", ANSWER.as_secs()) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::client::Body;
    use prometheus::Registry;
    use tower::service_fn;

    use super::*;
    use crate::telemetry::logs::tests::Captured;

    #[tokio::test]
    async fn a_database_that_cannot_be_used_is_named_by_its_secret() {
        let absent = r#"{"status": "Failure", "reason": "NotFound", "code": 404}"#;
        let answer = move |_: http::Request<Body>| async move {
            Ok::<_, Infallible>(
                http::Response::builder().status(404).body(Body::from(absent.as_bytes().to_vec())).unwrap(),
            )
        };
        let keeper = Keeper {
            client: Client::new(service_fn(answer), "default"),
            secrets: Secrets {
                namespace: "error-tracking".into(),
                lease: "operator".into(),
                database: "postgresql".into(),
                evaluation_host: None,
                console: "console".into(),
                connections: 1,
            },
            owner: DatabaseOwner::Projects {
                namespace: "web".into(),
                secret: "pg".into(),
                hosts: AllowedHosts { allowed_database_hosts: Vec::new() },
                headroom: Headroom::default(),
            },
            metrics: Metrics::register(&Registry::new()).unwrap(),
            changed: Arc::default(),
        };
        let (captured, _guard) = Captured::begin();
        let (state, mut states) = watch::channel(DatabaseState::Connecting);
        let (raise, _raises) = mpsc::channel(1);
        let (_epoch, epochs) = watch::channel(1);
        tokio::select! {
            () = keep(keeper, epochs, raise, state, CancellationToken::new()) => {}
            _ = states.wait_for(|state| matches!(state, DatabaseState::Unavailable { .. })) => {}
        }
        let line = captured.lines().into_iter().find(|line| line["level"] == "WARN").unwrap();
        assert_eq!(line["message"], "Postgres of Secret web/pg cannot be used; trying again.");
        assert_eq!((&line["span"]["namespace"], &line["span"]["secret"]), (&"web".into(), &"pg".into()));
        assert!(line["error"].as_str().unwrap().starts_with("Secret pg does not exist in this namespace"), "{line}");
    }

    #[test]
    fn databases_of_projects_raise_the_epoch_by_a_million_together_and_no_more() {
        let headroom = Headroom::default();
        assert!(!headroom.take(i64::from(i32::MAX)) && !headroom.take(i64::MAX));
        assert!(headroom.take(400_000) && headroom.clone().take(600_000));
        assert!(!headroom.take(1));
    }
}
