//! Names that somebody else has taken are left alone.

use std::time::Duration;

use crate::world::{Namespace, beside_others, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_secret_of_somebody_else_is_not_touched() {
    let _turn = beside_others();
    let namespace = Namespace::new("conflict-secret");
    namespace.kubectl(&["create", "secret", "generic", "shop-dsn", "--from-literal=SENTRY_DSN=theirs"]);
    let before = namespace.get("secret/shop-dsn", ".metadata.resourceVersion");
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/shop");
    namespace.key("shop", "{projectRef: {name: shop}}");
    wait_for("the key stalls", SOON, || {
        (namespace.condition("etk/shop", "Stalled", "reason") == "SecretConflict").then_some(())
    });
    assert_eq!(namespace.condition("etk/shop", "Ready", "status"), "False");
    println!("{}", namespace.condition("etk/shop", "Stalled", "message"));
    assert_eq!(namespace.get("secret/shop-dsn", ".metadata.resourceVersion"), before, "it was written");

    namespace.kubectl(&["delete", "secret/shop-dsn"]);
    namespace.wait_ready("etk/shop");
    namespace.kubectl(&["delete", "etk/shop"]);
}

#[test]
fn a_child_of_somebody_else_is_not_touched() {
    let _turn = beside_others();
    let namespace = Namespace::new("conflict-child");
    namespace.kubectl(&["create", "service", "clusterip", "shop-ingest", "--tcp=9:9"]);
    let before = namespace.get("service/shop-ingest", ".metadata.resourceVersion");
    namespace.project("shop", "{}");
    wait_for("the project stalls", SOON, || {
        (namespace.condition("etp/shop", "Stalled", "reason") == "NameConflict").then_some(())
    });
    println!("{}", namespace.condition("etp/shop", "Stalled", "message"));
    assert_eq!(namespace.get("service/shop-ingest", ".metadata.resourceVersion"), before, "it was written");

    namespace.kubectl(&["delete", "etp/shop"]);
    assert!(namespace.exists("service/shop-ingest"), "it was deleted with the project");
}
