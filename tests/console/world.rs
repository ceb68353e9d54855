//! A database with one project, and the console on the login that the operator publishes for it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use error_tracking_operator::{
    console::{self, OidcOptions},
    dsn::{ProjectId, PublicKey},
    grouping,
    protocol::event::{self, EventId, Receipt},
    store::{
        Admin,
        admin::{DeletionPolicy, KeyIdentity, KeyObjects, Location, ProjectIdentity},
        ingest::{Batch, EventKind, OutcomeRow, RefusedKey, Report, Row, SessionRow, ingest_batch, report},
    },
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    client::{Answer, get},
    support::{postgres::Database, proxy::Proxy},
};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

pub struct World {
    pub project: ProjectId,
    /// Where the pages are.
    pub console: SocketAddr,
    /// What lies between the console and the database.
    pub network: Proxy,
    admin: Admin,
    database: Database,
    ingest: PgPool,
    probes: SocketAddr,
    secret: Secret,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl World {
    /// A console without sign-in.
    pub async fn start() -> Self {
        Self::start_with(console::SignInMode::None, OidcOptions::default(), None).await
    }

    /// A console that asks that API server.
    pub async fn with_sign_in(client: kube::Client) -> Self {
        Self::with_provider(client, OidcOptions::default()).await
    }

    /// A console that asks that API server, and that identity provider.
    pub async fn with_provider(client: kube::Client, oidc: OidcOptions) -> Self {
        Self::start_with(console::SignInMode::Kubernetes, oidc, Some(client)).await
    }

    async fn start_with(sign_in: console::SignInMode, oidc: OidcOptions, client: Option<kube::Client>) -> Self {
        let database = Database::create().await;
        let admin = Admin::connect(database.pool(), 1).await.unwrap();
        let project = admin.allocate_project(&shop(), None, DeletionPolicy::Retain).await.unwrap();
        admin.migrate_project(project).await.unwrap();
        admin.ensure_partitions(project, Timestamp::now()).await.unwrap();
        let ingest = admin.ensure_ingest_role(project, &"ingest".into()).await.unwrap();
        let ingest = database.pool_as(&ingest, "ingest");

        let network = Proxy::start(&format!("127.0.0.1:{}", database.connection.port));
        let secret = Secret::new(&database, network.address.port());
        secret.login(&admin, "first").await;
        let stop = CancellationToken::new();
        let (console, probes) = serve(&secret, sign_in, oidc, client, &stop).await;
        let guard = stop.clone().drop_guard();
        Self { project, console, network, admin, database, ingest, probes, secret, stop, _stop: guard }
    }

    /// Another pod of the console, with settings of its own: where its pages are.
    pub async fn another_console(&self, client: kube::Client, oidc: OidcOptions) -> SocketAddr {
        serve(&self.secret, console::SignInMode::Kubernetes, oidc, Some(client), &self.stop).await.0
    }

    /// The address of a page below the project's own.
    #[expect(clippy::unused_self, reason = "it is the world's project")]
    pub fn path(&self, rest: &str) -> String {
        format!("/web/shop/{rest}")
    }

    /// The id of the project's issue of that number.
    pub fn issue_id(&self, number: i64) -> i64 {
        self.project.as_i64() << 32 | number
    }

    /// Stores events in one batch, as ingest does; their ids.
    pub async fn send(&self, events: &[Value]) -> Vec<EventId> {
        store(&self.ingest, self.project, events).await
    }

    /// Counts what became of what was sent.
    pub async fn tell(&self, outcomes: &[OutcomeRow]) {
        self.apply(&Batch { stream: Uuid::new_v4(), sequence: 1, outcomes, ..Batch::default() }).await;
    }

    /// Counts sessions.
    pub async fn health(&self, sessions: &[SessionRow]) {
        self.apply(&Batch { stream: Uuid::new_v4(), sequence: 1, sessions, ..Batch::default() }).await;
    }

    async fn apply(&self, batch: &Batch<'_>) {
        assert!(ingest_batch(&self.ingest, self.project, batch).await.unwrap().applied);
    }

    /// Keys in every state; one that is active was used, and something is sent with one that was revoked.
    pub async fn make_keys(&self) {
        let key = |name: &str, namespace: &str| KeyIdentity {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            namespace_uid: namespace.to_owned(),
            client_key_uid: name.to_owned(),
        };
        let public_key = |number: u8| PublicKey::from_random([number; 16]);
        let mint = async |identity: &KeyIdentity, number| {
            self.admin.mint_key(self.project, identity, 1, &public_key(number), &"secret".into()).await.unwrap().key_id
        };
        let app = KeyObjects { project_uid: "shop", client_key_uid: "app" };
        let first = mint(&key("app", "web"), 0x11).await;
        let second = self.admin.succeed_key(app, first, 2, &public_key(0x22), &"secret".into()).await.unwrap();
        let second = second.keys[1].key_id;
        self.admin.publish_key(app, second, Some(Timestamp::now())).await.unwrap();
        self.admin.succeed_key(app, second, 3, &public_key(0x33), &"secret".into()).await.unwrap();
        mint(&key("off", "web"), 0x44).await;
        self.admin.set_keys_enabled("off", false).await.unwrap();
        let retired = mint(&key("quiet", "team"), 0x55).await;
        self.admin.end_key("quiet", retired, false).await.unwrap();
        let leaked = mint(&key("leaked", "web"), 0x66).await;
        self.admin.end_key("leaked", leaked, true).await.unwrap();
        let refused = RefusedKey {
            key: public_key(0x66),
            age: Duration::ZERO,
            events: 1234,
            sentry_client: Some("sentry.python/2.75.0 <b>".into()),
            server_name: Some("host-of-somebody".into()),
            addresses: vec![([10, 0, 0, 1].into(), Duration::ZERO)],
        };
        let told = Report {
            instance: "shop-ingest-0",
            settings_version: 0,
            ending: false,
            key_usage: &[(public_key(0x22), Duration::ZERO)],
            refused: &[refused],
        };
        report(&self.ingest, self.project, &told).await.unwrap();
    }

    /// The view of keys as the version before made it: a server that its operator has not migrated yet.
    pub async fn before_key_states(&self) {
        let role = self.admin.installation().console_role();
        let statement = format!(
            "DROP VIEW errortracking.console_client_keys;
             CREATE VIEW errortracking.console_client_keys AS
             SELECT key_id, project_id, namespace, name, ordinal, left(public_key, 8) AS public_key_prefix,
                 enabled, created_at, revoked_at, last_used_at
             FROM errortracking.client_keys;
             GRANT SELECT ON errortracking.console_client_keys TO {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.database.pool()).await.unwrap();
    }

    /// The project as the version before made it, which knew nothing of deciding.
    pub async fn take_back_acting(&self) {
        let (schema, role) = (self.project.schema(), self.admin.installation().console_role());
        let statement = format!(
            "DROP VIEW {schema}.shown_issues;
             DROP TABLE {schema}.issue_triage CASCADE;
             DROP FUNCTION {schema}.act_on_issues, {schema}.undo_action;
             ALTER TABLE {schema}.issue_activity DROP COLUMN batch, DROP COLUMN before, DROP COLUMN after,
                 DROP COLUMN comment, DROP COLUMN undone_by, DROP COLUMN undone_at;
             REVOKE ALL ON SCHEMA {schema} FROM {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.database.pool()).await.unwrap();
        self.admin.ensure_console_role(&"first".into()).await.unwrap();
    }

    /// As the version before made the functions of sessions: a server that its operator has not migrated yet.
    pub async fn before_arrivals(&self) {
        let statement = "DROP FUNCTION errortracking.begin_session_once";
        sqlx::raw_sql(statement).execute(&self.database.pool()).await.unwrap();
    }

    /// The project's schema as it was before events were counted by environment.
    pub async fn before_environments(&self) {
        let schema = self.project.schema();
        let statement = format!(
            "DROP TABLE {schema}.issue_environments, {schema}.issue_environment_hours, {schema}.environments_since"
        );
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.database.superuser()).await.unwrap();
    }

    /// As if the time of every API token were over.
    pub async fn expire_tokens(&self) {
        let statement = "UPDATE errortracking.console_api_tokens SET expires_at = now()";
        sqlx::raw_sql(statement).execute(&self.database.superuser()).await.unwrap();
    }

    /// Without the console, as the version before did.
    pub async fn set_status(&self, number: i64, status: &str) {
        let statement = format!("UPDATE {}.issues SET status = $1 WHERE issue_id = $2", self.project.schema());
        let changed = sqlx::query(AssertSqlSafe(statement))
            .bind(status)
            .bind(self.issue_id(number))
            .execute(&self.database.superuser())
            .await
            .unwrap();
        assert_eq!(changed.rows_affected(), 1);
    }

    pub async fn set_assignee(&self, number: i64, name: &str) {
        let statement =
            format!("INSERT INTO {}.issue_triage (issue_id, assignee) VALUES ($1, $2)", self.project.schema());
        sqlx::query(AssertSqlSafe(statement))
            .bind(self.issue_id(number))
            .bind(name)
            .execute(&self.database.superuser())
            .await
            .unwrap();
    }

    /// Takes the issue of that title out, as retention does.
    pub async fn remove(&self, title: &str) {
        let schema = self.project.schema();
        for statement in [
            format!(
                "DELETE FROM {schema}.issue_hashes WHERE issue_id IN (SELECT issue_id FROM {schema}.issues WHERE title = $1)"
            ),
            format!("DELETE FROM {schema}.issues WHERE title = $1"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).bind(title).execute(&self.database.superuser()).await.unwrap();
        }
    }

    /// Runs a statement on the console's own login, without its read-only default.
    pub async fn as_console(&self, statement: &str) -> Result<(), sqlx::Error> {
        let pool = self.database.pool_as(&self.admin.installation().console_role(), "first");
        let statement = format!("BEGIN READ WRITE; {statement}; COMMIT");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.map(drop)
    }

    /// A project whose schema is not made yet.
    pub async fn another_project(&self) {
        let identity = ProjectIdentity { name: "later".to_owned(), object_uid: "later".to_owned(), ..shop() };
        self.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    }

    /// A project `space/rockets` with these events, in the same database.
    pub async fn another_tenant(&self, events: &[Value]) -> ProjectId {
        let id = self.admin.allocate_project(&project("space", "rockets"), None, DeletionPolicy::Retain).await.unwrap();
        self.admin.migrate_project(id).await.unwrap();
        self.admin.ensure_partitions(id, Timestamp::now()).await.unwrap();
        let ingest = self.admin.ensure_ingest_role(id, &"others".into()).await.unwrap();
        store(&self.database.pool_as(&ingest, "others"), id, events).await;
        id
    }

    /// Titles and statuses of the errors of a project, the first one first.
    pub async fn errors_of(&self, project: ProjectId) -> Vec<(String, String)> {
        let query = format!("SELECT title, status FROM {}.shown_issues ORDER BY issue_id", project.schema());
        sqlx::query_as(AssertSqlSafe(query)).fetch_all(&self.database.superuser()).await.unwrap()
    }

    /// A database that projects of the namespace `team` name, with the project `web/shop` or another; not yet in the
    /// console's Secret, but in the catalog.
    pub async fn another_database(&self, project: &ProjectIdentity) -> OtherDatabase {
        let database = Database::create().await;
        let admin = Admin::connect(database.pool(), 1).await.unwrap();
        let network = Proxy::start(&format!("127.0.0.1:{}", database.connection.port));
        let id = self.admin.allocate_project(project, None, DeletionPolicy::Retain).await.unwrap();
        let server = format!("{}/{}", network.address, database.connection.dbname);
        let location = Location { secret: "pg".to_owned(), server };
        self.admin.record_location(id, Some(&location)).await.unwrap();
        admin.restore_project(id, project, DeletionPolicy::Retain).await.unwrap();
        admin.migrate_project(id).await.unwrap();
        admin.ensure_partitions(id, Timestamp::now()).await.unwrap();
        let ingest = admin.ensure_ingest_role(id, &"ingest".into()).await.unwrap();
        let ingest = database.pool_as(&ingest, "ingest");
        OtherDatabase { project: id, network, server: location.server, admin, database, ingest }
    }

    /// What the operator does with the login of another database: a key of the Secret that the console has mounted.
    pub async fn publish_login(&self, key: &str, other: &OtherDatabase, password: &str) {
        let role = other.admin.ensure_console_role(&SecretString::from(password)).await.unwrap();
        let mut connection = other.database.connection.with_login(&role, password.into());
        connection.port = other.network.address.port();
        self.secret.write(key, &connection.to_map()["uri"]);
    }

    pub fn withdraw_login(&self, key: &str) {
        std::fs::remove_file(self.secret.folder.join(key)).unwrap();
    }

    /// Asks for a page until it is as it should be: the console looks at its Secret and databases every 5 s.
    pub async fn await_page(&self, path: &str, expected: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..200 {
            let answer = get(self.console, path).await;
            if expected(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let answer = get(self.console, path).await;
        panic!("{path} did not become as expected within 20 s: {} {}", answer.status, answer.body);
    }

    /// What the operator does when the Secret was lost: a new password, then the Secret.
    pub async fn rotate_password(&self) {
        self.secret.login(&self.admin, "second").await;
        // Sessions outlive a change of their password: end them, so that the new one is needed.
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1")
            .bind(self.admin.installation().console_role())
            .execute(&self.database.superuser())
            .await
            .unwrap();
    }

    /// Waits until `/readyz` says so.
    pub async fn await_ready(&self, ready: bool) {
        let expected = if ready { 200 } else { 503 };
        for _ in 0..300 {
            // The probe port may open a little later than the pages.
            if tokio::net::TcpStream::connect(self.probes).await.is_ok()
                && get(self.probes, "/readyz").await.status == expected
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("/readyz did not become {expected} within 30 s");
    }
}

/// A database beside the installation's own, with one project.
pub struct OtherDatabase {
    pub project: ProjectId,
    pub network: Proxy,
    /// As the catalog names it.
    pub server: String,
    admin: Admin,
    database: Database,
    ingest: PgPool,
}

impl OtherDatabase {
    pub async fn send(&self, events: &[Value]) {
        store(&self.ingest, self.project, events).await;
    }
}

pub fn project(namespace: &str, name: &str) -> ProjectIdentity {
    ProjectIdentity {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        namespace_uid: namespace.to_owned(),
        object_uid: name.to_owned(),
    }
}

async fn store(ingest: &PgPool, project: ProjectId, events: &[Value]) -> Vec<EventId> {
    let rows: Vec<_> = events.iter().map(row).collect();
    let batch = Batch { stream: Uuid::new_v4(), sequence: 1, rows: &rows, ..Batch::default() };
    let applied = ingest_batch(ingest, project, &batch).await.unwrap();
    assert_eq!(applied.stored, rows.len() as u64);
    rows.iter().map(|row| row.event_id).collect()
}

fn shop() -> ProjectIdentity {
    project("web", "shop")
}

fn row(sent: &Value) -> Row {
    let json = sent.to_string().into_bytes();
    let received_at = Timestamp::now();
    let event = event::parse(&json, &Receipt::at(received_at, EventId(rand::random()))).unwrap();
    let grouping = grouping::g1(&event);
    let exception = event.main_exception();
    Row {
        event_id: event.event_id,
        received_at,
        timestamp: event.timestamp,
        level: event.level,
        kind: EventKind::of(&event),
        title: event.title(),
        culprit: event.culprit(),
        exception_type: exception.and_then(|exception| exception.r#type.clone()),
        exception_value: exception.and_then(|exception| exception.value.clone()),
        platform: event.platform.clone(),
        release: event.release.clone(),
        environment: event.environment.clone(),
        user_hash: event.user.identity().map(|_| 5),
        tags: event.tags.clone(),
        grouping_version: grouping.version,
        grouping_hash: grouping.hash,
        older_grouping: None,
        payload: zstd::encode_all(&*json, 3).unwrap(),
    }
}

/// Starts a console on that Secret: where its pages and its probes are.
async fn serve(
    secret: &Secret,
    sign_in: console::SignInMode,
    oidc: OidcOptions,
    client: Option<kube::Client>,
    stop: &CancellationToken,
) -> (SocketAddr, SocketAddr) {
    let listener = console::bind("127.0.0.1:0".parse().unwrap(), sign_in).await.unwrap();
    let (listen, probe_address) = (listener.local_addr().unwrap(), free_address());
    let (database, hosts) = (secret.folder.clone(), vec!["errors.example".to_owned()]);
    let config = console::Config { database, listen, probe_address, sign_in, oidc, hosts };
    tokio::spawn(console::serve(listener, config, client, stop.clone()));
    (listen, probe_address)
}

/// A port that nobody has at this moment.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The mounted Secret.
struct Secret {
    folder: PathBuf,
}

impl Secret {
    fn new(database: &Database, port: u16) -> Self {
        let name = format!("console-secret-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let secret = Self { folder: std::env::temp_dir().join(name) };
        std::fs::create_dir(&secret.folder).unwrap();
        secret.write("host", "127.0.0.1");
        secret.write("port", &port.to_string());
        secret.write("dbname", &database.connection.dbname);
        secret
    }

    async fn login(&self, admin: &Admin, password: &str) {
        let role = admin.ensure_console_role(&SecretString::from(password)).await.unwrap();
        self.write("username", &role);
        self.write("password", password);
    }

    fn write(&self, key: &str, value: &str) {
        std::fs::write(self.folder.join(key), value).unwrap();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
