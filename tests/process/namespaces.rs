//! Keys whose project is in another namespace: what the operator may do for them, and where they are revoked.

use std::time::Duration;

use serde_json::json;

use crate::{
    support::postgres::Database,
    world::{Mode, World, eventually},
};

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn keys_of_served_namespaces_alone_find_a_project_that_lets_others_in() {
    let world = World::of_namespaces(&[], &["web", "api"]).await;
    let mark = world.mark();
    let operator = world.start_and_lead().await;
    let (web, api, other) = (world.served("web"), world.served("api"), world.namespace("other").await);
    let project = |allowed| {
        json!({
            "backend": {"integrated": {"ingest": {"replicas": 0}}}, "allowedNamespaces": allowed,
            "deletionPolicy": "Delete",
        })
    };
    // The API server itself sets this label.
    let labels = json!({"kubernetes.io/metadata.name": api.name});
    web.project("shop", project(json!({"from": "Selector", "selector": {"matchLabels": labels}}))).await;
    let key = json!({"projectRef": {"name": "shop", "namespace": web.name}});
    api.key_with("shop", key.clone()).await;
    api.ready("ClientKey", "shop").await;
    let dsn = api.secret("shop-dsn", "SENTRY_DSN").await.unwrap();
    assert!(dsn.contains(&format!("@shop-ingest.{}.svc/", web.name)), "{dsn}");
    assert_eq!(world.sql("SELECT namespace FROM errortracking.client_keys").await, api.name);
    assert!(web.get("Secret", "shop-dsn").await.is_none(), "it belongs to the namespace of the key");

    web.project("shop", project(json!({"from": "All"}))).await;
    other.key_with("shop", key).await;
    other.project("stranger", project(json!({"from": "All"}))).await;
    api.key_with("stranger", json!({"projectRef": {"name": "stranger", "namespace": other.name}})).await;
    let told = api.reason("ClientKey", "stranger", "Ready", "ProjectNotFound").await;
    println!("{told}");
    assert!(other.condition("ClientKey", "shop", "Ready").await.is_none(), "it is not served");

    // Both go in the wrong order: nothing wedges, and what is left says what to do.
    web.delete("ErrorTrackingProject", "shop").await;
    web.gone("ErrorTrackingProject", "shop").await;
    let withdrawn = api.reason("ClientKey", "shop", "Stalled", "NotAllowed").await;
    assert_eq!(withdrawn.replace(&web.name, "x"), told.replace(&other.name, "x").replace("stranger", "shop"));
    api.delete("ClientKey", "shop").await;
    api.gone("ClientKey", "shop").await;
    let refused: Vec<_> = world.requests_since(&mark).into_iter().filter(|request| request.code == 403).collect();
    assert!(refused.is_empty(), "what the roles do not give is not asked for: {}", refused[0]);
    drop(operator);
}

#[tokio::test]
async fn a_key_is_revoked_in_the_database_of_another_namespaces_project_when_that_answers_again() {
    let world = World::new().await;
    let own = Database::create_owned_by("elsewhere", "").await;
    let (web, api) = (world.namespace("web").await, world.namespace("api").await);
    let allowed = [("ERROR_TRACKING_ALLOWED_DATABASE_HOSTS", "127.0.0.1")];
    let _operator = world.start_as("operator-0", &allowed).await;
    let mut login = own.connection.to_map();
    login.insert("port".into(), world.postgres.address.port().to_string());
    login.remove("uri");
    let labels = json!({"errortracking.dev/watch": "true"});
    web.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg", "labels": labels}, "stringData": login,
    }))
    .await;
    web.project(
        "shop",
        json!({
            "allowedNamespaces": {"from": "All"},
            "backend": {"integrated": {"database": {"secretRef": {"name": "pg"}}, "ingest": {"replicas": 0}}},
        }),
    )
    .await;
    let spec = json!({"projectRef": {"name": "shop", "namespace": web.name}, "extraKeys": {"deprecatedDSN": true}});
    api.key_with("shop", spec).await;
    api.ready("ClientKey", "shop").await;
    let living = async || {
        let pool = own.superuser();
        let query = "SELECT count(*) FROM errortracking.client_keys WHERE revoked_at IS NULL";
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    };
    assert_eq!(living().await, 1);
    let dsn = api.secret("shop-dsn", "SENTRY_DSN_DEPRECATED").await.unwrap();
    assert_eq!(dsn.split('@').next().unwrap().len(), "http://".len() + 32 + 1 + 32, "{dsn}");

    // A key that was there is told nothing of a database that is not its namespace's.
    world.postgres.set(Mode::Refuse);
    api.key_with("late", json!({"projectRef": {"name": "shop", "namespace": web.name}})).await;
    let told = api.reason("ClientKey", "late", "Ready", "DatabaseUnavailable").await;
    println!("{told}");
    assert!(!told.contains("pg") && !told.contains("127.0.0.1"), "{told}");
    for key in ["shop", "late"] {
        api.delete("ClientKey", key).await;
        api.gone("ClientKey", key).await;
    }
    assert_eq!(living().await, 1);
    world.postgres.set(Mode::Forward);
    eventually("the key is revoked there", LIMIT, async || (living().await == 0).then_some(())).await;
}
