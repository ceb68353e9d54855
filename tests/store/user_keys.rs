//! What the users of a project are counted by: random for a new one, told to its ingest login alone, the same for ever.

use error_tracking_operator::{
    dsn::ProjectId,
    store::{
        Admin, StoreError,
        admin::{DeletionPolicy, password_digest},
        ingest::{UserKey, changed_settings},
    },
};
use sqlx::PgPool;

use crate::{Store, project_identity, row, send, support::versions::BACK_TO_6};

async fn followed(ingest: &PgPool, project: ProjectId) -> Option<UserKey> {
    changed_settings(ingest, project, 0).await.unwrap().1.unwrap().user_key
}

async fn recorded(store: &Store, project: ProjectId) -> Option<UserKey> {
    let column: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT user_key FROM errortracking.projects WHERE project_id = $1")
            .bind(project.as_i64())
            .fetch_one(&store.pool)
            .await
            .unwrap();
    column.map(|column| UserKey::new(column.try_into().unwrap()))
}

#[tokio::test]
async fn each_new_project_has_its_own_and_only_its_login_is_told() {
    let store = Store::create().await;
    let (shop, shop_login) = store.ingesting("shop").await;
    let (blog, blog_login) = store.ingesting("blog").await;
    // As after a restore of an older backup.
    let wiki = ProjectId::new(9).unwrap();
    store.admin.restore_project(wiki, &project_identity("wiki", "u1"), DeletionPolicy::Retain).await.unwrap();
    let keys = [recorded(&store, shop).await, recorded(&store, blog).await, recorded(&store, wiki).await];
    assert!(keys.iter().all(Option::is_some));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2] != keys[0]);
    assert_eq!(followed(&shop_login, shop).await, keys[0]);
    assert_eq!(followed(&blog_login, blog).await, keys[1]);

    let role = store.admin.ensure_console_role(&"console".into()).await.unwrap();
    let console = store.database.pool_as(&role, "console");
    for (login, project) in [(&shop_login, blog), (&blog_login, shop), (&console, shop)] {
        let asked = sqlx::query("SELECT errortracking.user_key($1)").bind(project.as_i64()).execute(login).await;
        assert!(matches!(StoreError::from(asked.unwrap_err()), StoreError::NotPermitted { .. }), "{project}");
        let read = sqlx::query("SELECT user_key FROM errortracking.projects").execute(login).await;
        assert!(matches!(StoreError::from(read.unwrap_err()), StoreError::NotPermitted { .. }), "{project}");
    }
}

#[tokio::test]
async fn it_stays_with_what_is_stored_whoever_takes_the_project_over() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1)]).await;
    let key = recorded(&store, shop).await;
    assert!(key.is_some());

    let again = project_identity("shop", "u2");
    assert_eq!(store.admin.allocate_project(&again, None, DeletionPolicy::Retain).await.unwrap(), shop);
    assert_eq!(recorded(&store, shop).await, key, "a lost object applied again");

    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap();
    let target = project_identity("store", "u3");
    store.admin.adopt_project(shop, &target, true, None).await.unwrap();
    let role = store.admin.ensure_ingest_role(shop, &"again".into()).await.unwrap();
    assert_eq!(followed(&store.database.pool_as(&role, "again"), shop).await, key, "adopted");
}

#[tokio::test]
async fn projects_of_the_version_before_go_on_without_and_their_logins_ask_at_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    store.execute(shop, BACK_TO_6).await;
    let admin = Admin::connect(store.pool.clone(), 2).await.unwrap();
    assert_eq!((recorded(&store, shop).await, followed(&ingest, shop).await), (None, None));
    let state = admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(&"secret".into())), "{state:?}");
    // A taken-over row is no new one.
    admin.allocate_project(&project_identity("shop", "u2"), None, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(followed(&ingest, shop).await, None);

    // An operator of the version before may still lead: its pods would not ask.
    let insert = "INSERT INTO errortracking.projects
            (project_id, namespace, name, namespace_uid, object_uid, deletion_policy)
        VALUES (7, 'web', 'old', 'namespace-1', 'old-u1', 'Retain')";
    store.execute(shop, insert).await;
    assert_eq!(recorded(&store, ProjectId::new(7).unwrap()).await, None);

    let new = admin.allocate_project(&project_identity("new", "u1"), None, DeletionPolicy::Retain).await.unwrap();
    assert!(recorded(&store, new).await.is_some());
}
