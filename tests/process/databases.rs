//! Projects that keep their events in a Postgres of their own.

use std::time::Duration;

use error_tracking_operator::store::{
    Connection,
    connection::PoolSize,
    console::{ProjectAddress, Snapshot, Wanted},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    support::{postgres::Database, versions::BACK_TO_6},
    world::{Namespace, World, condition_of, eventually},
};

const LIMIT: Duration = Duration::from_mins(1);

async fn secret(namespace: &Namespace, name: &str, values: Value) {
    namespace
        .apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "labels": {"errortracking.dev/watch": "true"}},
            "stringData": values,
        }))
        .await;
}

async fn stalls(namespace: &Namespace, reason: &str) -> String {
    let message = namespace.reason("ErrorTrackingProject", "shop", "Stalled", reason).await;
    let ready = namespace.condition("ErrorTrackingProject", "shop", "DatabaseReady").await.unwrap();
    assert_eq!((&*ready.status, &*ready.reason, &ready.message), ("False", reason, &message));
    println!("{message}");
    message
}

/// The login by which the console finds project shop in the database of Secret pg, and the project that it finds.
async fn console_shows(world: &World, namespace: &Namespace) -> Option<(String, String)> {
    let secret = format!("{}-console-database", world.name);
    let uri = world.home().secret(&secret, &format!("{}.pg.uri", namespace.name)).await?;
    let values = [("uri".to_owned(), uri)].into();
    let connection = Connection::from_map(&values).unwrap();
    let pool = connection.pool(PoolSize { min: 0, max: 1 }, "test");
    let address = ProjectAddress { namespace: namespace.name.clone(), name: "shop".to_owned() };
    let project = Snapshot::begin(&pool).await.ok()?.project(&Wanted::Address(address)).await.unwrap()?;
    pool.close().await;
    Some((connection.username, project.name))
}

/// Rows of the first column as the superuser of that database.
async fn text(database: &Database, query: &'static str) -> Vec<String> {
    let pool = database.superuser();
    let rows = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
    pool.close().await;
    rows
}

#[tokio::test]
async fn a_project_lives_in_its_own_postgres_with_a_login_that_may_not_create_roles() {
    let world = World::new().await;
    let own = Database::create_owned_by("app", "").await;
    let own = &own;
    let namespace = world.namespace("web").await;
    let operator = world.start_and_lead().await;
    namespace
        .project(
            "shop",
            json!({
                "deletionPolicy": "Delete",
                "backend": {"integrated": {"database": {"secretRef": {"name": "pg"}}, "ingest": {"replicas": 0}}},
            }),
        )
        .await;
    namespace.key("shop", "shop").await;
    // What a user must mend is said one after the other, and seen as soon as it is mended.
    let message = stalls(&namespace, "DatabaseSecretInvalid").await;
    assert!(
        message.starts_with("Secret pg does not exist in this namespace: create it with uri, or host"),
        "{message}"
    );
    let whole = own.connection.to_map();
    secret(&namespace, "pg", json!({"host": whole["host"], "port": whole["port"], "username": "app"})).await;
    let named = eventually("the missing key is named", LIMIT, async || {
        let stalled = namespace.condition("ErrorTrackingProject", "shop", "Stalled").await?;
        stalled.message.contains("cannot be used").then_some(stalled.message)
    })
    .await;
    assert_eq!(named, "Secret pg cannot be used: key dbname is missing");
    secret(&namespace, "pg", json!({"uri": whole["uri"]})).await;
    let message = stalls(&namespace, "DatabaseHostNotAllowed").await;
    assert!(message.contains("127.0.0.1") && message.contains("allowedDatabaseHosts"), "{message}");

    operator.kill();
    let allowed = [("ERROR_TRACKING_ALLOWED_DATABASE_HOSTS", "127.0.0.1")];
    let _operator = world.start_as("operator-0", &allowed).await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    namespace.ready("ClientKey", "shop").await;
    let message = namespace.reason("ErrorTrackingProject", "shop", "DatabaseReady", "SharedCredentials").await;
    println!("{message}");
    let server = namespace.field("ErrorTrackingProject", "shop", "/status/database/server").await;
    assert_eq!(server, own.connection.server());
    assert_eq!(namespace.secret("shop-database", "username").await.as_deref(), Some("app"));
    let console_shows = console_shows(&world, &namespace).await;
    assert_eq!(console_shows, Some(("app".to_owned(), "shop".to_owned())));
    assert_eq!(
        text(own, "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'project\\_%'").await,
        ["project_1"]
    );
    assert_eq!(text(own, "SELECT count(*)::text FROM errortracking.client_keys").await, ["1"]);
    let here = "SELECT server, database_secret, schema_version FROM errortracking.projects";
    assert_eq!(world.sql(here).await, format!("{}|pg|0", own.connection.server()));
    assert_eq!(world.sql("SELECT count(*) FROM errortracking.client_keys").await, "0");

    // The platform rotates the password: the Secret is written first, Postgres follows.
    let rotated = own.connection.with_login("app", "fedcba9876543210".into());
    secret(&namespace, "pg", json!({"uri": rotated.to_map()["uri"]})).await;
    let pool = own.superuser();
    let ready_since = async || {
        let conditions = namespace.field("ErrorTrackingProject", "shop", "/status/conditions").await;
        let of_database = |condition: &&Value| condition["type"] == "DatabaseReady";
        conditions.as_array().unwrap().iter().find(of_database).unwrap()["lastTransitionTime"].clone()
    };
    let before = ready_since().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    sqlx::raw_sql("ALTER ROLE app PASSWORD 'fedcba9876543210'").execute(&pool).await.unwrap();
    eventually("the pods' Secret follows", LIMIT, async || {
        (namespace.secret("shop-database", "password").await? == rotated.password.expose_secret()).then_some(())
    })
    .await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    assert_eq!(ready_since().await, before, "the database was not lost meanwhile");
    eventually("the console's Secret follows", LIMIT, async || self::console_shows(&world, &namespace).await).await;

    namespace.delete("ClientKey", "shop").await;
    namespace.gone("ClientKey", "shop").await;
    assert_eq!(text(own, "SELECT count(*)::text FROM errortracking.client_keys WHERE revoked_at IS NULL").await, ["0"]);
    namespace.delete("ErrorTrackingProject", "shop").await;
    namespace.gone("ErrorTrackingProject", "shop").await;
    eventually("the schema is gone there", LIMIT, async || {
        let left = text(own, "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'project\\_%'").await;
        left.is_empty().then_some(())
    })
    .await;
    assert_eq!(text(own, "SELECT rolname::text FROM pg_roles WHERE rolname = 'app' AND rolcanlogin").await, ["app"]);
    assert_eq!(world.sql("SELECT state FROM errortracking.projects").await, "deleted");
    pool.close().await;
}

/// A database of a tenant answers every look, and lets every change take for ever.
#[tokio::test]
async fn a_slow_database_of_a_tenant_holds_up_nobody_else() {
    let world = World::with_values(&["guards.allowedDatabaseHosts={127.0.0.1}"]).await;
    let slow = Database::create_owned_by("slow", "").await;
    let (tenant, bystander) = (world.namespace("slow").await, world.namespace("web").await);
    let operator = world.start_and_lead().await;
    secret(&tenant, "pg", json!({"uri": slow.connection.to_map()["uri"]})).await;
    let spec =
        json!({"backend": {"integrated": {"database": {"secretRef": {"name": "pg"}}, "ingest": {"replicas": 0}}}});
    tenant.project("first", spec.clone()).await;
    tenant.ready("ErrorTrackingProject", "first").await;
    let pool = slow.superuser();
    let sleeping = "
        CREATE FUNCTION public.sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
        CREATE TRIGGER sleep BEFORE INSERT OR UPDATE ON errortracking.projects
            FOR EACH ROW EXECUTE FUNCTION public.sleep();
        CREATE TRIGGER sleep BEFORE INSERT OR UPDATE ON errortracking.client_keys
            FOR EACH ROW EXECUTE FUNCTION public.sleep()";
    sqlx::raw_sql(sleeping).execute(&pool).await.unwrap();
    for number in 0..20 {
        tenant.project(&format!("slow-{number}"), spec.clone()).await;
        tenant.key(&format!("slow-{number}"), "first").await;
    }
    // Until they hold as many workers as they can.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = std::time::Instant::now();
    bystander.ready_project("shop").await;
    bystander.delete("ClientKey", "shop").await;
    bystander.gone("ClientKey", "shop").await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(10), "others waited {waited:?}");
    let told = eventually("the tenant is told", Duration::from_mins(3), async || {
        let all = tenant.list("ErrorTrackingProject").await;
        let mut told = all.iter().filter_map(|project| Some(condition_of(project, "Ready")?.message));
        told.find(|message| message.contains("did not answer in time"))
    })
    .await;
    println!("{told}");
    assert_eq!(operator.probe("/livez").await.unwrap().0, 200);
    pool.close().await;
}

#[tokio::test]
async fn the_secret_of_the_console_follows_the_database() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let (home, secret) = (world.home(), format!("{}-console-database", world.name));
    let value = async |key: &str| home.secret(&secret, key).await;
    let password = eventually("the console has a login", LIMIT, async || value("password").await).await;
    let port = |connection: &Connection| connection.port.to_string();
    assert_eq!(value("port").await, Some(port(&world.connection())));

    // The database has moved: it is found elsewhere from now on, with everything in it.
    let moved = Connection { host: "localhost".into(), ..world.database.connection.clone() };
    world.publish_database(&moved).await;
    eventually("the console's Secret follows", LIMIT, async || {
        (value("port").await? == port(&moved) && value("host").await? == "localhost").then_some(())
    })
    .await;
    assert_eq!(value("password").await.as_deref(), Some(&*password), "the login came along");
    let username = value("username").await.unwrap();
    moved.with_login(&username, password.as_str().into()).probe().await.unwrap();

    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let message = namespace.reason("ErrorTrackingProject", "shop", "DatabaseReady", "Available").await;
    assert!(message.ends_with("is up to date. The link to Postgres is not encrypted."), "{message}");
}

#[tokio::test]
async fn projects_stay_ready_while_the_operators_schema_waits_for_a_backup() {
    let world = World::new().await;
    let namespace = world.namespace("web").await;
    let operator = world.start_and_lead().await;
    namespace.ready_project("shop").await;
    let ready = async || namespace.condition("ErrorTrackingProject", "shop", "Ready").await.unwrap();
    let before = ready().await;
    operator.kill();

    // The schema is that of the version before, and a backup holds what pg_dump holds.
    let backup = world.database.superuser();
    sqlx::raw_sql(BACK_TO_6).execute(&backup).await.unwrap();
    let mut dumping = backup.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE errortracking.projects IN ACCESS SHARE MODE").execute(&mut *dumping).await.unwrap();
    let _operator = world.start().await;
    namespace.project("blog", json!({"backend": {"integrated": {"ingest": {"replicas": 0}}}})).await;
    let message = namespace.reason("ErrorTrackingProject", "blog", "DatabaseReady", "Progressing").await;
    assert!(message.contains("a transaction that is open there"), "{message}");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let meanwhile = ready().await;
    assert_eq!((meanwhile.status, meanwhile.reason), (before.status, before.reason), "{}", meanwhile.message);

    dumping.rollback().await.unwrap();
    namespace.ready("ErrorTrackingProject", "blog").await;
    assert_eq!(ready().await.status, "True");
}
