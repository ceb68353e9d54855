//! From a manifest to a DSN and back to nothing.

use crate::world::World;

#[tokio::test]
async fn a_project_and_a_key_become_ready_and_go_again() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let id = namespace.field("ErrorTrackingProject", "shop", "/status/projectID").await;
    assert!(namespace.secret("shop-dsn", "SENTRY_DSN").await.unwrap().ends_with(&format!("/{id}")));
    assert_eq!(world.sql("SELECT state FROM errortracking.projects").await, "active");
    assert_eq!(operator.metric("errortracking_operator_leader_election_master_status", "").await, Some(1.0));
    assert!(!world.writes_since(&world.mark()).iter().any(|write| write.code >= 400));

    world.store_something(&id.to_string()).await;
    namespace.delete("ErrorTrackingProject", "shop").await;
    namespace.delete("ClientKey", "shop").await;
    namespace.gone("ErrorTrackingProject", "shop").await;
    namespace.gone("ClientKey", "shop").await;
    assert_eq!(world.sql("SELECT state FROM errortracking.projects").await, "retained");
}
