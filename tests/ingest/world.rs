//! A project in a real Postgres and the real ingest server in front of it, on loopback.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    ingest::{self, Config, Server},
    store::{
        Admin, Connection,
        admin::{DeletionPolicy, KeyIdentity, ProjectIdentity},
        connection::PoolSize,
    },
};
use jiff::Timestamp;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    client::{self, Answer, Request},
    support::postgres::Database,
};

pub const EVENT: &str = r#"{"message":"hello","level":"error"}"#;

pub struct World {
    pub owner: Connection,
    pub admin: Admin,
    pub pool: PgPool,
    pub project: ProjectId,
    pub key: PublicKey,
    pub key_id: i64,
    pub address: SocketAddr,
    pub probe_address: SocketAddr,
    pub secret: PathBuf,
    pub shutdown: CancellationToken,
    pub server: JoinHandle<Result<(), ingest::Error>>,
}

impl World {
    /// In a database of the tests' server, with one key, ready to receive.
    pub async fn start() -> Self {
        let database = Database::create().await;
        Self::start_in(&database.connection, database.superuser(), &database.connection).await
    }

    /// `reached` is where the ingest server finds the database of `owner`; `pool` looks at it from outside.
    pub async fn start_in(owner: &Connection, pool: PgPool, reached: &Connection) -> Self {
        let owner_pool = owner.pool(PoolSize { min: 0, max: 2 }, "tests");
        let admin = Admin::connect(owner_pool, 1).await.unwrap();
        let object = ProjectIdentity {
            namespace: "web".into(),
            name: "shop".into(),
            namespace_uid: "namespace-1".into(),
            object_uid: "object-1".into(),
        };
        let project = admin.allocate_project(&object, None, DeletionPolicy::Retain).await.unwrap();
        admin.migrate_project(project).await.unwrap();
        let password = SecretString::from("first");
        let username = admin.ensure_ingest_role(project, &password).await.unwrap();
        admin.ensure_partitions(project, Timestamp::now()).await.unwrap();

        let secret = std::env::temp_dir().join(format!("ingest-secret-{}", Uuid::new_v4()));
        std::fs::create_dir(&secret).unwrap();
        write_secret(&secret, &reached.with_login(&username, password));
        let config = Config {
            project_id: project,
            database: secret.clone(),
            listen: "127.0.0.1:0".parse().unwrap(),
            probe_address: "127.0.0.1:0".parse().unwrap(),
            instance: "shop-ingest-0".into(),
            drain_delay: Duration::from_millis(300),
            drain_timeout: Duration::from_secs(10),
        };
        let server = Server::bind(config).await.unwrap();
        let (address, probe_address) = (server.address(), server.probe_address());
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server.run(shutdown.clone()));
        let key = PublicKey::from_random([1; 16]);
        let mut world = Self {
            owner: owner.clone(),
            admin,
            pool,
            project,
            key: key.clone(),
            key_id: 0,
            address,
            probe_address,
            secret,
            shutdown,
            server,
        };
        world.key_id = world.mint(1, &key).await;
        until("the server is ready", async || world.probe("/readyz").await.status == 200).await;
        world
    }

    /// Commits a key; its id.
    pub async fn mint(&self, ordinal: i32, key: &PublicKey) -> i64 {
        let identity = KeyIdentity {
            namespace: "web".into(),
            name: format!("key-{ordinal}"),
            namespace_uid: "namespace-1".into(),
            client_key_uid: format!("client-key-{ordinal}"),
        };
        let secret = SecretString::from("unused");
        self.admin.mint_key(self.project, &identity, ordinal, key, &secret).await.unwrap().key_id
    }

    pub fn path(&self, endpoint: &str) -> String {
        format!("/api/{}/{endpoint}/", self.project)
    }

    /// A request with `key` in the header that most SDKs send.
    pub fn post_with(&self, key: &PublicKey, endpoint: &str, body: impl Into<Vec<u8>>) -> Request {
        let auth = format!("Sentry sentry_key={},sentry_version=7,sentry_client=test/1.0", key.as_str());
        Request::post(self.path(endpoint), body).header("X-Sentry-Auth", auth)
    }

    pub fn post(&self, endpoint: &str, body: impl Into<Vec<u8>>) -> Request {
        self.post_with(&self.key, endpoint, body)
    }

    pub async fn send(&self, request: &Request) -> Answer {
        client::send(self.address, request).await
    }

    pub async fn probe(&self, path: &str) -> Answer {
        client::send(self.probe_address, &Request::new("GET", path)).await
    }

    /// Events in the store, and what the counters of the issues say: always the same number.
    pub async fn stored(&self) -> i64 {
        let events = self.count("SELECT count(*) FROM {schema}.events").await;
        let counted = self.count("SELECT coalesce(sum(events), 0)::bigint FROM {schema}.issue_counters").await;
        assert_eq!(events, counted, "events and counters");
        events
    }

    /// The one number that `statement` selects.
    pub async fn count(&self, statement: &str) -> i64 {
        let statement = statement.replace("{schema}", &self.project.schema());
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&self.pool).await.unwrap()
    }

    pub async fn execute(&self, statement: &str) {
        let statement = statement.replace("{schema}", &self.project.schema());
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await.unwrap();
    }

    /// The value of one line of `/metrics`.
    pub async fn metric(&self, line: &str) -> u64 {
        let metrics = self.probe("/metrics").await.body;
        let found = metrics.lines().find_map(|found| found.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in {metrics}")).trim().parse().unwrap()
    }

    /// Gives the ingest login another password and writes it into the mounted Secret.
    pub async fn change_password(&self, password: &str) {
        let password = SecretString::from(password);
        let username = self.admin.ensure_ingest_role(self.project, &password).await.unwrap();
        write_secret(&self.secret, &self.owner.with_login(&username, password));
    }

    /// Drains the server and waits for its end.
    pub async fn end(&mut self) {
        self.shutdown.cancel();
        (&mut self.server).await.unwrap().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.secret);
    }
}

fn write_secret(directory: &std::path::Path, connection: &Connection) {
    for (file, text) in connection.to_map() {
        std::fs::write(directory.join(file), text).unwrap();
    }
}

/// Waits for what has to come true soon; the only place that decides how long soon is.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
