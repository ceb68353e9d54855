//! A spec changes, and what is made from it follows.

use std::time::Duration;

use crate::world::{Namespace, beside_others, sql, wait_for};

#[test]
fn replicas_and_resources_follow_the_spec() {
    let _turn = beside_others();
    let namespace = Namespace::new("change");
    namespace.ready_project("shop", 1);
    namespace.project(
        "shop",
        "{backend: {integrated: {ingest: {replicas: 2, podTemplate: {resources: {requests: {cpu: 10m, memory: 1000Ki}, limits: {memory: 128Mi}}}}}}}",
    );
    wait_for("the Deployment follows", Duration::from_secs(10), || {
        (namespace.get("deploy/shop-ingest", ".spec.replicas") == "2").then_some(())
    });
    let limit = || namespace.get("deploy/shop-ingest", ".spec.template.spec.containers[0].resources.limits.memory");
    assert_eq!(limit(), "128Mi");
    namespace.kubectl(&["rollout", "status", "deploy/shop-ingest", "--timeout=60s"]);
    namespace.project(
        "shop",
        "{backend: {integrated: {ingest: {replicas: 2, podTemplate: {resources: {requests: {cpu: 10m, memory: 3000000000}}}}}}}",
    );
    wait_for("a limit that is taken out goes", Duration::from_secs(10), || limit().is_empty().then_some(()));
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 2}}}}");
    namespace.kubectl(&["rollout", "status", "deploy/shop-ingest", "--timeout=60s"]);
    wait_for("the status follows", Duration::from_secs(10), || {
        (namespace.get("etp/shop", ".status.ingest.readyReplicas") == "2").then_some(())
    });
}

#[test]
fn the_environment_comes_into_the_secret_and_goes_again() {
    let _turn = beside_others();
    let namespace = Namespace::new("environment");
    namespace.ready_project("shop", 1);
    let environment = || namespace.get("secret/shop-dsn", ".data.SENTRY_ENVIRONMENT");
    let patch = |spec: &str| namespace.kubectl(&["patch", "etk/shop", "--type=merge", "-p", spec]);
    let dsn = namespace.get("secret/shop-dsn", ".data.SENTRY_DSN");
    assert_eq!(environment(), "");
    patch(r#"{"spec":{"extraKeys":{"environment":"blue green"}}}"#);
    wait_for("the Secret has the environment", Duration::from_secs(10), || {
        (environment() == "Ymx1ZSBncmVlbg==").then_some(())
    });
    patch(r#"{"spec":{"extraKeys":null}}"#);
    wait_for("the Secret has the DSN alone", Duration::from_secs(10), || environment().is_empty().then_some(()));
    assert_eq!(namespace.get("secret/shop-dsn", ".data.SENTRY_DSN"), dsn);
}

#[test]
fn a_disabled_key_is_refused_and_accepted_again_while_its_secret_stays() {
    let _turn = beside_others();
    let namespace = Namespace::new("enabled");
    let id = namespace.ready_project("shop", 1);
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    let version = namespace.get("secret/shop-dsn", ".metadata.resourceVersion");

    namespace.kubectl(&["patch", "etk/shop", "--type=merge", "-p", r#"{"spec":{"enabled":false}}"#]);
    wait_for("a disabled key is refused", Duration::from_secs(10), || {
        (namespace.send(&["once"]) == "403").then_some(())
    });
    let stored = sql(&format!("SELECT count(*) FROM project_{id}.events"));
    assert_eq!(namespace.send(&["once"]), "403");
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), stored, "a refused event is not stored");
    assert_eq!(namespace.condition("etk/shop", "Ready", "reason"), "KeyDisabled");

    namespace.kubectl(&["patch", "etk/shop", "--type=merge", "-p", r#"{"spec":{"enabled":true}}"#]);
    wait_for("an enabled key is accepted", Duration::from_secs(10), || {
        (namespace.send(&["once"]) == "200").then_some(())
    });
    assert_eq!(namespace.get("secret/shop-dsn", ".metadata.resourceVersion"), version, "the Secret was not written");
}

#[test]
fn labels_of_the_template_reach_the_secret_and_leave_it_again() {
    let _turn = beside_others();
    let namespace = Namespace::new("template");
    namespace.ready_project("shop", 0);
    namespace
        .key("shop", "{projectRef: {name: shop}, secretTemplate: {labels: {team: web}, annotations: {note: hello}}}");
    wait_for("the label is there", Duration::from_secs(10), || {
        (namespace.get("secret/shop-dsn", ".metadata.labels.team") == "web").then_some(())
    });
    assert_eq!(namespace.get("secret/shop-dsn", ".metadata.annotations.note"), "hello");

    namespace.key("shop", "{projectRef: {name: shop}, secretTemplate: {}}");
    wait_for("the label is gone", Duration::from_secs(10), || {
        namespace.get("secret/shop-dsn", ".metadata.labels.team").is_empty().then_some(())
    });
    assert_eq!(namespace.get("secret/shop-dsn", ".metadata.annotations.note"), "");
}
