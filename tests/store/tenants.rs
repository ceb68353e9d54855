//! What can be done with an ingest login by who reads its Secret, and that it hurts nobody else.

use error_tracking_operator::store::{
    Admin, Connection, StoreError,
    admin::{DeletionPolicy, LeftLogin, PodGrant, connection_limit},
    connection::PoolSize,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{Store, applied, project_identity, row, send, support::postgres::Database};

/// Opens sessions until no more are given.
async fn hold(connection: &Connection, most: usize) -> Vec<PgConnection> {
    let mut held = Vec::new();
    while held.len() < most {
        match PgConnection::connect_with(&connection.options()).await {
            Ok(session) => held.push(session),
            Err(_) => break,
        }
    }
    held
}

#[tokio::test]
async fn a_login_holds_no_more_sessions_than_its_pods_need() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let role = store.admin.installation().ingest_role(shop);
    let login = store.database.connection.with_login(&role, "secret".into());
    for (pods, sessions) in [(2, 12), (1, 6), (0, 0)] {
        assert_eq!(store.admin.grant_pods(shop, pods, None).await.unwrap(), PodGrant::Granted);
        let held = hold(&login, 90).await;
        assert_eq!(held.len(), sessions, "{pods} pods");
        let state = store.admin.observe_project(shop).await.unwrap().unwrap();
        assert!(state.serves_pods(pods) && !state.serves_pods(pods + 1), "{state:?}");
        drop(held);
        // A session ends a moment after its client.
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
        while store.number(shop, &left).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    // A password that changes brings a login with the limit that the project has.
    store.admin.grant_pods(shop, 2, None).await.unwrap();
    let second = store.admin.ensure_ingest_role(shop, &"changed".into()).await.unwrap();
    for (role, password) in [(&role, "secret"), (&second, "changed")] {
        let held = hold(&store.database.connection.with_login(role, password.into()), 90).await;
        assert_eq!(held.len(), 12, "{role}");
    }
    drop(ingest);
}

#[tokio::test]
async fn who_changes_the_login_again_and_again_has_two_at_a_time() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    store.admin.grant_pods(shop, 2, None).await.unwrap();
    let mut held = Vec::new();
    for round in 0..4 {
        let password = format!("changed-{round}");
        let role = store.admin.ensure_ingest_role(shop, &password.as_str().into()).await.unwrap();
        held.extend(hold(&store.database.connection.with_login(&role, password.as_str().into()), 90).await);
    }
    let mut alive = 0;
    for session in &mut held {
        alive += usize::from(sqlx::query("SELECT 1").execute(session).await.is_ok());
    }
    assert_eq!(alive, 24, "the login and the one before it");
    let usable = "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname ~ '_1_ingest'
        AND rolname IN (SELECT role FROM errortracking.former_logins UNION SELECT ingest_role FROM errortracking.projects)";
    assert_eq!(store.number(shop, usable).await, 2);
}

#[tokio::test]
async fn the_pods_of_a_namespace_are_limited_by_what_the_catalog_has_given() {
    let store = Store::create().await;
    let (shop, blog) = (store.project("shop").await, store.project("blog").await);
    let grant = async |project, pods| store.admin.grant_pods(project, pods, Some(10)).await.unwrap();
    assert_eq!(grant(shop, 100).await, PodGrant::Refused { others: 0 });
    assert_eq!(grant(shop, 6).await, PodGrant::Granted);
    assert_eq!(grant(blog, 5).await, PodGrant::Refused { others: 6 });
    assert_eq!(grant(blog, 4).await, PodGrant::Granted);
    assert_eq!(grant(shop, 7).await, PodGrant::Refused { others: 4 });
    assert_eq!(grant(shop, 2).await, PodGrant::Granted);
    assert_eq!(grant(blog, 8).await, PodGrant::Granted);
    // Two that ask at once are not given the same room.
    let (first, second) = tokio::join!(grant(shop, 10), grant(blog, 10));
    assert!([first, second].iter().any(|given| matches!(given, PodGrant::Refused { .. })), "{first:?} {second:?}");

    let mut stranger = project_identity("shop", "u2");
    stranger.namespace_uid = "namespace-2".to_owned();
    let other = store.admin.allocate_project(&stranger, None, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(grant(other, 10).await, PodGrant::Granted, "another namespace");
    store.admin.retire_project(other, DeletionPolicy::Retain).await.unwrap();

    // Who has a login of the version before has what it asks for the first time.
    let (old, _) = store.ingesting("old").await;
    assert_eq!(grant(old, 50).await, PodGrant::Granted);
    assert_eq!(grant(old, 51).await, PodGrant::Refused { others: 10 });
}

#[tokio::test]
async fn a_limit_that_somebody_changed_is_noticed_and_one_that_holds_is_not_written() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let role = store.admin.installation().ingest_role(shop);
    let observed = async || store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(!observed().await.serves_pods(2), "nothing was said yet");
    store.admin.grant_pods(shop, 2, None).await.unwrap();
    assert!(observed().await.serves_pods(2));
    store.execute(shop, &format!("ALTER ROLE {role} CONNECTION LIMIT 50")).await;
    assert!(!observed().await.serves_pods(2));
    store.admin.grant_pods(shop, 2, None).await.unwrap();
    assert_eq!(observed().await.connection_limit, i32::try_from(connection_limit(2)).ok());

    assert!(observed().await.login_current);
    for setting in ["statement_timeout", "lock_timeout"] {
        store.execute(shop, &format!("ALTER ROLE {role} RESET {setting}")).await;
        assert!(!observed().await.login_current, "as a version before made it: without {setting}");
        store.admin.restore_ingest_role(shop, &role, &"secret".into()).await.unwrap();
        assert!(observed().await.login_current);
    }
}

#[tokio::test]
async fn a_session_begins_with_limits_of_its_own() {
    let store = Store::create().await;
    let (_, ingest) = store.ingesting("shop").await;
    for (setting, value) in [
        ("search_path", "pg_catalog, pg_temp"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("idle_session_timeout", "10min"),
        ("client_connection_check_interval", "10s"),
        ("default_transaction_isolation", "read committed"),
        // The operator's login here is no superuser.
        ("temp_file_limit", "-1"),
    ] {
        let (found,): (String,) =
            sqlx::query_as("SELECT current_setting($1)").bind(setting).fetch_one(&ingest).await.unwrap();
        assert_eq!(found, value, "{setting}");
    }
}

#[tokio::test]
async fn what_needs_a_superuser_is_set_where_the_operator_may() {
    let database = Database::create_owned_by("granted_files", "CREATEROLE").await;
    let grant = "GRANT SET ON PARAMETER temp_file_limit TO granted_files";
    sqlx::raw_sql(grant).execute(&database.superuser()).await.unwrap();
    let admin = Admin::connect(database.pool(), 1).await.unwrap();
    let shop = admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Delete).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    let role = admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let (limit,): (String,) = sqlx::query_as("SELECT current_setting('temp_file_limit')")
        .fetch_one(&database.pool_as(&role, "secret"))
        .await
        .unwrap();
    assert_eq!(limit, "64MB");
}

#[tokio::test]
async fn a_login_that_owns_large_objects_elsewhere_is_locked_out_and_stops_nothing() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let (blog, _) = store.ingesting("blog").await;
    let (gone, _) = store.ingesting("gone").await;
    let role = |project| store.admin.installation().ingest_role(project);
    let elsewhere = Connection { dbname: "postgres".to_owned(), ..store.database.connection.clone() };
    let mut sessions = Vec::new();
    for project in [shop, gone] {
        let login = elsewhere.with_login(&role(project), "secret".into());
        let mut session = PgConnection::connect_with(&login.options()).await.unwrap();
        sqlx::query("SELECT lo_from_bytea(0, 'litter')").execute(&mut session).await.unwrap();
        sessions.push(session);
    }
    // Both logins are replaced, and due; a third one owns nothing elsewhere.
    let mut kept = Vec::new();
    for project in [shop, blog] {
        kept.push(store.admin.ensure_ingest_role(project, &"changed".into()).await.unwrap());
    }
    store.execute(shop, "UPDATE errortracking.former_logins SET valid_until = now() - interval '1 s'").await;
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 1, "that of blog");
    store.admin.retire_project(gone, DeletionPolicy::Delete).await.unwrap();
    for project in [shop, gone] {
        let refused = store.database.connection.with_login(&role(project), "secret".into()).probe().await;
        assert!(matches!(refused, Err(StoreError::NotPermitted { .. })), "{refused:?}");
    }
    for session in &mut sessions {
        assert!(sqlx::query("SELECT 1").execute(session).await.is_err(), "the session goes on");
    }
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'";
    assert_eq!(store.number(gone, schemas).await, 0, "Delete drops the schema before the login");
    for (project, role) in [shop, blog].into_iter().zip(&kept) {
        send(&store.database.pool_as(role, "changed"), project, &[row(1)]).await;
    }

    let left = |project| LeftLogin { role: role(project), project_id: project, databases: vec!["postgres".into()] };
    assert_eq!(store.admin.left_logins().await.unwrap(), [left(shop), left(gone)]);
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 0, "nothing is tried in vain");

    // As its line in the list says.
    let superuser = elsewhere.with_login("postgres", store.database.connection.password.clone());
    let superuser = superuser.pool(PoolSize { min: 0, max: 1 }, "tests");
    for project in [shop, gone] {
        let cleared = format!("DROP OWNED BY {}", role(project));
        sqlx::raw_sql(AssertSqlSafe(cleared)).execute(&superuser).await.unwrap();
    }
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 2);
    assert_eq!(store.admin.left_logins().await.unwrap(), []);
}

#[tokio::test]
async fn no_login_enters_a_database_that_is_closed() {
    let database = Database::create_owned_by("closes", "CREATEROLE").await;
    let admin = Admin::connect(database.pool(), 1).await.unwrap();
    let shop = admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Delete).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    admin.ensure_partitions(shop, jiff::Timestamp::now()).await.unwrap();
    let role = admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let console = admin.ensure_console_role(&"console".into()).await.unwrap();
    let ingest = database.pool_as(&role, "secret");
    sqlx::raw_sql("CREATE TEMPORARY TABLE litter ()").execute(&ingest).await.unwrap();

    assert_eq!(admin.close_databases().await.unwrap(), std::slice::from_ref(&database.connection.dbname));
    assert_eq!(admin.close_databases().await.unwrap(), Vec::<String>::new(), "nothing is left to take away");
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    let refused = sqlx::raw_sql("CREATE TEMPORARY TABLE more ()").execute(&ingest).await.unwrap_err();
    assert!(matches!(StoreError::from(refused), StoreError::NotPermitted { .. }));
    database.connection.with_login(&console, "console".into()).probe().await.unwrap();

    let other = Store::create().await;
    let (_, _) = other.ingesting("shop").await;
    let stranger = other.admin.installation().ingest_role(shop);
    let refused = database.connection.with_login(&stranger, "secret".into()).probe().await.unwrap_err();
    assert!(refused.message().contains("CONNECT"), "{refused}");
}
