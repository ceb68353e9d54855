//! A project in a real Postgres and the real ingest server in front of it, on loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    ingest::{self, Config, Server},
    settings::{RateLimit, Settings},
    store::{
        Admin, Connection,
        admin::{DeletionPolicy, KeyIdentity, ProjectIdentity, ProjectSettings},
        connection::PoolSize,
    },
};
use jiff::Timestamp;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    client::{self, Answer, Request},
    postgres::Database,
};

pub const EVENT: &str = r#"{"message":"hello","level":"error"}"#;

/// What the server finds when it starts.
#[derive(Clone, Default)]
pub struct Start {
    pub settings: Settings,
    /// Of the one key.
    pub rate_limit: Option<RateLimit>,
}

/// An ingest server that is ready.
pub struct Serving {
    pub address: SocketAddr,
    pub probe_address: SocketAddr,
    pub shutdown: CancellationToken,
    pub server: JoinHandle<Result<(), ingest::Error>>,
}

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
        Self::start_with(Start::default()).await
    }

    pub async fn start_with(start: Start) -> Self {
        let database = Database::create().await;
        Self::build(&database.connection, database.superuser(), &database.connection, start).await
    }

    /// With these settings, as the custom resource says them.
    pub async fn start_set(settings: serde_json::Value) -> Self {
        let settings = serde_json::from_value(settings).unwrap();
        Self::start_with(Start { settings, ..Start::default() }).await
    }

    /// `reached` is where the ingest server finds the database of `owner`; `pool` looks at it from outside.
    pub async fn start_in(owner: &Connection, pool: PgPool, reached: &Connection) -> Self {
        Self::build(owner, pool, reached, Start::default()).await
    }

    async fn build(owner: &Connection, pool: PgPool, reached: &Connection, start: Start) -> Self {
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
        record(&admin, project, start.settings).await;
        let key = PublicKey::from_random([1; 16]);
        let key_id = mint(&admin, project, 1, &key).await;
        if start.rate_limit.is_some() {
            admin.set_keys_rate_limit("client-key-1", start.rate_limit).await.unwrap();
        }

        let secret = std::env::temp_dir().join(format!("ingest-secret-{}", Uuid::new_v4()));
        std::fs::create_dir(&secret).unwrap();
        write_secret(&secret, &reached.with_login(&username, password));
        let Serving { address, probe_address, shutdown, server } = serve(project, &secret, "shop-ingest-0").await;
        Self {
            owner: owner.clone(),
            admin,
            pool,
            project,
            key,
            key_id,
            address,
            probe_address,
            secret,
            shutdown,
            server,
        }
    }

    /// Another process of the pod that ended.
    pub async fn serve_again(&self) -> Serving {
        serve(self.project, &self.secret, "shop-ingest-0").await
    }

    /// A second server of the project.
    pub async fn serve_another(&self) -> Serving {
        serve(self.project, &self.secret, "shop-ingest-1").await
    }

    /// As the operator does when the custom resource has changed; the server follows within its poll.
    pub async fn record(&self, settings: serde_json::Value) {
        record(&self.admin, self.project, serde_json::from_value(settings).unwrap()).await;
    }

    /// Commits a key; its id.
    pub async fn mint(&self, ordinal: i32, key: &PublicKey) -> i64 {
        mint(&self.admin, self.project, ordinal, key).await
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

    /// The JSON that is stored of each event, in the order of their ids.
    pub async fn payloads(&self) -> Vec<String> {
        let statement = format!("SELECT payload FROM {}.events ORDER BY event_id", self.project.schema());
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&self.pool).await.unwrap();
        let text = |row: Vec<u8>| String::from_utf8(zstd::decode_all(row.as_slice()).unwrap()).unwrap();
        rows.into_iter().map(text).collect()
    }

    /// The texts that `statement` selects.
    pub async fn texts(&self, statement: &str) -> Vec<String> {
        let statement = statement.replace("{schema}", &self.project.schema());
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&self.pool).await.unwrap()
    }

    /// What the store says became of what was sent: a line for each `category outcome reason`, with its quantity and
    /// whose it was. All of it is there once the server has ended.
    pub async fn outcomes(&self) -> Vec<String> {
        self.texts(
            "SELECT rtrim(category || ' ' || outcome || ' ' || reason) || ' x' || quantity
                 || CASE WHEN key_id = 0 THEN ' of nobody' ELSE '' END
             FROM {schema}.outcomes_since('epoch') ORDER BY 1",
        )
        .await
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

async fn record(admin: &Admin, project: ProjectId, ingest: Settings) {
    let settings =
        ProjectSettings { deletion_policy: DeletionPolicy::Retain, display_name: None, platform: None, ingest };
    admin.record_settings(project, &settings).await.unwrap();
}

async fn mint(admin: &Admin, project: ProjectId, ordinal: i32, key: &PublicKey) -> i64 {
    let identity = KeyIdentity {
        namespace: "web".into(),
        name: format!("key-{ordinal}"),
        namespace_uid: "namespace-1".into(),
        client_key_uid: format!("client-key-{ordinal}"),
    };
    admin.mint_key(project, &identity, ordinal, key, &SecretString::from("unused")).await.unwrap().key_id
}

/// Returns when it is ready, which is when it knows keys and settings.
pub async fn serve(project_id: ProjectId, secret: &Path, instance: &str) -> Serving {
    let config = Config {
        project_id,
        database: secret.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        probe_address: "127.0.0.1:0".parse().unwrap(),
        instance: instance.into(),
        drain_delay: Duration::from_millis(300),
        drain_timeout: Duration::from_secs(10),
    };
    let server = Server::bind(config).await.unwrap();
    let (address, probe_address) = (server.address(), server.probe_address());
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.run(shutdown.clone()));
    let ready = async || client::send(probe_address, &Request::new("GET", "/readyz")).await.status == 200;
    until("the server is ready", ready).await;
    Serving { address, probe_address, shutdown, server }
}

/// As it is mounted into the pod.
pub fn write_secret(directory: &Path, connection: &Connection) {
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
