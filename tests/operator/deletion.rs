//! Objects go, in any order, and nothing wedges.

use std::time::Duration;

use crate::world::{INSTALLATION, Namespace, OPERATOR, beside_others, kubectl, sql, try_kubectl, wait_for};

fn schemas(id: &str) -> String {
    sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'project_{id}'"))
}

fn roles(id: &str) -> String {
    sql(&format!("SELECT count(*) FROM pg_roles WHERE rolname ~ '^et_[0-9a-f]+_{id}_ingest$'"))
}

#[test]
fn retain_keeps_the_schema_and_takes_its_login_away() {
    let _turn = beside_others();
    let namespace = Namespace::new("retain");
    let id = namespace.ready_project("shop", 1);
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    assert_eq!((schemas(&id).as_str(), roles(&id).as_str()), ("1", "1"));

    namespace.kubectl(&["delete", "etp/shop", "--timeout=60s"]);
    assert_eq!((schemas(&id).as_str(), roles(&id).as_str()), ("1", "0"));
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "1");
    wait_for("children are gone", Duration::from_mins(1), || {
        (!namespace.exists("deploy/shop-ingest") && !namespace.exists("secret/shop-database")).then_some(())
    });
    wait_for("the key says so", Duration::from_secs(10), || {
        (namespace.condition("etk/shop", "Ready", "status") == "False").then_some(())
    });

    // The same project again takes its events over.
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/shop");
    assert_eq!(namespace.get("etp/shop", ".status.projectID"), id);
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "1");
}

#[test]
fn delete_drops_the_schema_and_the_number_is_never_used_again() {
    let _turn = beside_others();
    let namespace = Namespace::new("delete");
    namespace.project("shop", "{deletionPolicy: Delete, backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/shop");
    let id = namespace.get("etp/shop", ".status.projectID");
    assert_eq!(schemas(&id), "1");
    namespace.kubectl(&["delete", "etp/shop", "--timeout=60s"]);
    assert_eq!((schemas(&id).as_str(), roles(&id).as_str()), ("0", "0"));

    namespace.project("shop", "{deletionPolicy: Delete, backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/shop");
    assert_ne!(namespace.get("etp/shop", ".status.projectID"), id);
}

#[test]
fn a_project_that_is_deleted_and_applied_at_once_comes_back() {
    let _turn = beside_others();
    let namespace = Namespace::new("reapply");
    let id = namespace.ready_project("shop", 1);
    let dsn = namespace.get("secret/shop-dsn", ".data.SENTRY_DSN");
    // One without events would leave nothing behind.
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    namespace.kubectl(&["delete", "etp/shop", "etk/shop", "--timeout=60s"]);
    assert_eq!(namespace.ready_project("shop", 1), id, "the same namespace and name take the events over");
    assert_ne!(namespace.get("secret/shop-dsn", ".data.SENTRY_DSN"), dsn, "the deleted key stays revoked");
    let warnings =
        namespace.kubectl(&["get", "events", "--field-selector", "type=Warning,reason=NameConflict", "-o", "name"]);
    assert_eq!(warnings, "");
}

#[test]
fn a_policy_that_changed_after_creation_counts() {
    let _turn = beside_others();
    let namespace = Namespace::new("policy");
    let id = namespace.ready_project("shop", 0);
    namespace.kubectl(&["patch", "etp/shop", "--type=merge", "-p", r#"{"spec":{"deletionPolicy":"Delete"}}"#]);
    namespace.kubectl(&["delete", "etp/shop", "--timeout=60s"]);
    assert_eq!(schemas(&id), "0");
}

#[test]
fn a_deleted_key_is_revoked_and_an_orphaned_one_lives_on() {
    let _turn = beside_others();
    let namespace = Namespace::new("key-deletion");
    namespace.ready_project("shop", 1);
    namespace.key("kept", "{projectRef: {name: shop}, deletionPolicy: Orphan}");
    namespace.wait_ready("etk/kept");
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");

    namespace.kubectl(&["delete", "etk/shop", "etk/kept", "--timeout=60s"]);
    wait_for("the revoked key is refused", Duration::from_secs(10), || {
        (namespace.send(&["once"]) == "403").then_some(())
    });
    wait_for("its Secret is gone", Duration::from_secs(30), || (!namespace.exists("secret/shop-dsn")).then_some(()));
    assert!(namespace.exists("secret/kept-dsn"));
    assert_eq!(namespace.get("secret/kept-dsn", ".metadata.ownerReferences"), "");
    namespace.kubectl(&["delete", "pod/sender", "--wait=true"]);
    namespace.start_sender("kept-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
}

#[test]
fn an_orphaned_key_is_taken_over_when_it_is_applied_again_and_can_be_revoked_without_an_object() {
    let _turn = beside_others();
    let namespace = Namespace::new("key-orphan");
    namespace.ready_project("shop", 1);
    let spec = "{projectRef: {name: shop}, deletionPolicy: Orphan}";
    namespace.key("kept", spec);
    namespace.wait_ready("etk/kept");
    let key = || namespace.get("etk/kept", ".status.active.keyID");
    let secret = || namespace.get("secret/kept-dsn", ".data.SENTRY_DSN");
    let before = (key(), secret());
    namespace.kubectl(&["delete", "etk/kept", "--timeout=60s"]);
    let retained = |arguments: &[&str]| {
        let command =
            [&["exec", "-n", INSTALLATION, "deploy/error-tracking-operator", "--", OPERATOR, "retained"], arguments];
        try_kubectl(&command.concat())
    };
    let listed = |id: &str| {
        let line =
            |line: &str| line.split_whitespace().next() == Some(id) && line.contains(&format!("{}/kept", namespace.0));
        retained(&[]).unwrap().lines().any(line)
    };
    assert!(listed(&before.0), "{}", retained(&[]).unwrap());

    namespace.key("kept", spec);
    namespace.wait_ready("etk/kept");
    assert_eq!((key(), secret()), before, "the same object takes key and Secret over");
    assert_ne!(namespace.get("secret/kept-dsn", ".metadata.ownerReferences"), "");
    assert!(!listed(&before.0));
    let refused = retained(&["--revoke", &before.0]).unwrap_err();
    assert!(refused.contains("which exists"), "{refused}");

    namespace.kubectl(&["delete", "etk/kept", "--timeout=60s"]);
    println!("{}", retained(&["--revoke", &before.0]).unwrap());
    assert!(!listed(&before.0));
    namespace.start_sender("kept-dsn");
    wait_for("the orphaned key is refused", Duration::from_secs(10), || {
        (namespace.send(&["once"]) == "403").then_some(())
    });
    // What is left of it stands in nobody's way.
    namespace.key("kept", spec);
    namespace.wait_ready("etk/kept");
    assert_ne!(key(), before.0);
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let _turn = beside_others();
    let namespace = Namespace::new("namespace-deletion");
    let id = namespace.ready_project("shop", 1);
    sql(&format!(
        "INSERT INTO project_{id}.quarantine (event_id, received_at, reason, payload) VALUES (gen_random_uuid(), now(), 'kept', 'x')"
    ));
    kubectl(&["delete", "namespace", &namespace.0, "--timeout=120s"]);
    assert!(try_kubectl(&["get", "namespace", &namespace.0]).is_err());
    assert_eq!(roles(&id), "0", "the login is gone");
    assert_eq!(schemas(&id), "1", "Retain is the default");
}
