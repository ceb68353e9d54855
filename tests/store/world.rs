//! A database with the schema, and what goes into it.

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    protocol::event::{EventId, Level},
    store::{
        Admin,
        admin::{DeletionPolicy, KeyIdentity, KeyObjects, ProjectIdentity},
        ingest::{Applied, Batch, EventKind, Row, ingest_batch},
    },
};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::postgres::Database;

/// A database with the operator's schema, led by epoch 1.
pub struct Store {
    pub database: Database,
    pub pool: PgPool,
    pub admin: Admin,
}

impl Store {
    pub async fn create() -> Self {
        let database = Database::create().await;
        let pool = database.pool();
        let admin = Admin::connect(pool.clone(), 1).await.unwrap();
        Self { database, pool, admin }
    }

    /// A project with schema and partitions.
    pub async fn project(&self, name: &str) -> ProjectId {
        let project =
            self.admin.allocate_project(&project_identity(name, "u1"), None, DeletionPolicy::Retain).await.unwrap();
        self.admin.migrate_project(project).await.unwrap();
        self.admin.ensure_partitions(project, Timestamp::now()).await.unwrap();
        project
    }

    /// A project, and a pool with its ingest login.
    pub async fn ingesting(&self, name: &str) -> (ProjectId, PgPool) {
        let project = self.project(name).await;
        let role = self.admin.ensure_ingest_role(project, &"secret".into()).await.unwrap();
        (project, self.database.pool_as(&role, "secret"))
    }

    /// One number from the database; `{schema}` stands for the project's.
    pub async fn number(&self, project: ProjectId, query: &str) -> i64 {
        let query = query.replace("{schema}", &project.schema());
        let (number,): (i64,) = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&self.pool).await.unwrap();
        number
    }

    pub async fn text(&self, project: ProjectId, query: &str) -> String {
        let query = query.replace("{schema}", &project.schema());
        let (text,): (String,) = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&self.pool).await.unwrap();
        text
    }

    pub async fn execute(&self, project: ProjectId, statement: &str) {
        let statement = statement.replace("{schema}", &project.schema());
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await.unwrap();
    }
}

pub fn project_identity(name: &str, object_uid: &str) -> ProjectIdentity {
    ProjectIdentity {
        namespace: "web".to_owned(),
        name: name.to_owned(),
        namespace_uid: "namespace-1".to_owned(),
        object_uid: format!("{name}-{object_uid}"),
    }
}

pub fn key_identity(name: &str, uid: &str) -> KeyIdentity {
    KeyIdentity {
        namespace: "web".to_owned(),
        name: name.to_owned(),
        namespace_uid: "namespace-1".to_owned(),
        client_key_uid: uid.to_owned(),
    }
}

/// The project "shop" and the key with this uid.
pub fn of_shop(client_key_uid: &str) -> KeyObjects<'_> {
    KeyObjects { project_uid: "shop-u1", client_key_uid }
}

pub fn public_key() -> PublicKey {
    PublicKey::from_random(rand::random())
}

/// A new event of the issue that `hash` stands for.
pub fn row(hash: u8) -> Row {
    Row {
        event_id: EventId(rand::random()),
        received_at: Timestamp::now(),
        timestamp: Timestamp::now(),
        level: Level::Error,
        kind: EventKind::Error,
        title: format!("ValueError: {hash}"),
        culprit: "shop.checkout in pay".to_owned(),
        exception_type: Some("ValueError".to_owned()),
        exception_value: Some(hash.to_string()),
        platform: "python".to_owned(),
        release: Some("shop@1.0".to_owned()),
        environment: Some("production".to_owned()),
        user_hash: None,
        tags: Vec::new(),
        grouping_version: 1,
        grouping_hash: [hash; 32],
        older_grouping: None,
        payload: b"payload".to_vec(),
    }
}

pub async fn send(pool: &PgPool, project: ProjectId, rows: &[Row]) -> Applied {
    ingest_batch(pool, project, &Batch { stream: Uuid::new_v4(), sequence: 1, rows, ..Batch::default() }).await.unwrap()
}

pub fn applied(stored: u64, duplicates: u64) -> Applied {
    Applied { applied: true, stored, duplicates, usage: Vec::new() }
}

/// What an instance of the version before tells: it has the counts of what it dropped in its heartbeat.
pub async fn heartbeat_of_the_version_before(pool: &PgPool, project: ProjectId, dropped: &[(&str, i64)]) {
    sqlx::query("SELECT errortracking.heartbeat($1, 'pod-1', 0, '{}', '{}', $2, $3)")
        .bind(project.as_i64())
        .bind(dropped.iter().map(|(reason, _)| *reason).collect::<Vec<_>>())
        .bind(dropped.iter().map(|(_, quantity)| *quantity).collect::<Vec<_>>())
        .execute(pool)
        .await
        .unwrap();
}
