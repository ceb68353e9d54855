//! Logins that lack a right: the message names it, and says how to give it.

use error_tracking_operator::store::{
    Admin, StoreError,
    admin::{DeletionPolicy, password_digest},
    connection::PoolSize,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sqlx::AssertSqlSafe;

use crate::{Store, project_identity, row, send, support::postgres::Database};

/// What a login that was refused `statement` before is told.
struct Case {
    name: &'static str,
    attributes: &'static str,
    statement: &'static str,
    message: &'static str,
}

#[tokio::test]
async fn each_missing_right_is_named_with_what_gives_it() {
    for case in [
        Case {
            name: "connect",
            attributes: "CREATEROLE",
            statement: "ALTER DATABASE {database} OWNER TO postgres; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
            message: "permission denied for database \"{database}\": User does not have CONNECT privilege.",
        },
        Case {
            name: "login",
            attributes: "CREATEROLE",
            statement: "ALTER ROLE {login} NOLOGIN",
            message: "role \"{login}\" is not permitted to log in",
        },
        Case {
            name: "create",
            attributes: "CREATEROLE",
            statement: "ALTER DATABASE {database} OWNER TO postgres",
            message: "login {login} lacks CREATE on the database: GRANT CREATE ON DATABASE {database} TO {login}",
        },
        Case {
            name: "usage",
            attributes: "CREATEROLE",
            statement: "CREATE SCHEMA errortracking; CREATE TABLE errortracking.schema_version (version integer)",
            message: "login {login} may not use schema errortracking, which belongs to postgres: log in as postgres, or \
                      GRANT postgres TO {login}",
        },
        Case {
            name: "roles",
            attributes: "",
            statement: "SELECT 1",
            message: "login {login} lacks CREATEROLE: ALTER ROLE {login} CREATEROLE",
        },
    ] {
        let login = format!("lacks_{}", case.name);
        let database = Database::create_owned_by(&login, case.attributes).await;
        let fill = |text: &str| text.replace("{login}", &login).replace("{database}", &database.connection.dbname);
        sqlx::raw_sql(AssertSqlSafe(fill(case.statement))).execute(&database.superuser()).await.unwrap();
        let tried = async {
            // As the operator does, because a pool does not say why it has no connection.
            database.connection.probe().await?;
            let admin = Admin::connect(database.pool(), 1).await?;
            admin.ensure_console_role(&"console".into()).await
        };
        let error = tried.await.unwrap_err();
        assert!(matches!(error, StoreError::NotPermitted { .. }), "{}: {error:?}", case.name);
        assert_eq!(error.message(), fill(case.message), "{}", case.name);
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_later_is_named_too() {
    let database = Database::create_owned_by("loses_rights", "CREATEROLE").await;
    let admin = Admin::connect(database.pool(), 1).await.unwrap();
    let identity = project_identity("shop", "u1");
    let shop = admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    let superuser = database.superuser();
    let name = &database.connection.dbname;
    sqlx::raw_sql(AssertSqlSafe(format!("ALTER DATABASE {name} OWNER TO postgres"))).execute(&superuser).await.unwrap();
    let refused = admin.migrate_project(shop).await.unwrap_err();
    assert!(refused.message().contains("GRANT CREATE ON DATABASE"), "{refused}");
    sqlx::raw_sql(AssertSqlSafe(format!("GRANT CREATE ON DATABASE {name} TO loses_rights")))
        .execute(&superuser)
        .await
        .unwrap();
    admin.migrate_project(shop).await.unwrap();
    sqlx::raw_sql("ALTER ROLE loses_rights NOCREATEROLE").execute(&superuser).await.unwrap();
    let refused = admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap_err();
    assert!(refused.message().contains("ALTER ROLE loses_rights CREATEROLE"), "{refused}");
}

#[tokio::test]
async fn a_login_that_may_not_create_roles_is_shared_and_survives() {
    let database = Database::create_owned_by("app", "").await;
    let admin = Admin::connect(database.pool(), 1).await.unwrap();
    assert!(!admin.server().creates_roles);
    let identity = project_identity("shop", "u1");
    let shop = admin.allocate_project(&identity, None, DeletionPolicy::Delete).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    admin.ensure_partitions(shop, Timestamp::now()).await.unwrap();
    let password = &database.connection.password;
    admin.share_login(shop, "app", password).await.unwrap();
    let state = admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(password)), "{state:?}");
    let pool = database.pool_as("app", password.expose_secret());
    send(&pool, shop, &[row(1)]).await;
    error_tracking_operator::store::ingest::changed_settings(&pool, shop, 0).await.unwrap();

    admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
    let login: (bool,) =
        sqlx::query_as("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app'").fetch_one(&pool).await.unwrap();
    assert!(login.0, "the role is the user's");
    assert!(admin.observe_object("shop-u1").await.unwrap().is_none());
    assert_eq!(admin.drop_former_logins().await.unwrap(), 0);
}

#[tokio::test]
async fn two_installations_on_one_server_do_not_meet() {
    let (one, two) = (Store::create().await, Store::create().await);
    let mut logins = Vec::new();
    for store in [&one, &two] {
        let (shop, ingest) = store.ingesting("shop").await;
        assert_eq!(shop.get(), 1);
        send(&ingest, shop, &[row(1)]).await;
        logins.push(store.admin.installation().ingest_role(shop));
    }
    assert_ne!(logins[0], logins[1]);
    let shop = error_tracking_operator::dsn::ProjectId::new(1).unwrap();
    let wrong = one.database.connection.with_login(&logins[1], "secret".into());
    let wrong = wrong.pool(PoolSize { min: 0, max: 1 }, "tests");
    let refused = error_tracking_operator::store::ingest::changed_settings(&wrong, shop, 0).await;
    assert!(matches!(refused, Err(StoreError::NotPermitted { .. })), "{refused:?}");
    // What one removes is not the other's.
    one.admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
    send(&two.database.pool_as(&logins[1], "secret"), shop, &[row(2)]).await;
}
