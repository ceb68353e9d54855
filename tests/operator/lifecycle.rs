//! A project and a key come into being, and an error is seen.

use std::time::{Duration, Instant};

use crate::world::{Namespace, beside_others, kubectl, sql, wait_for};

#[test]
fn a_project_and_a_key_become_pods_a_schema_and_a_secret_and_an_event_is_stored() {
    let _turn = beside_others();
    let namespace = Namespace::new("lifecycle");
    let applied = Instant::now();
    namespace.project("shop", "{displayName: Shop, platform: python}");
    namespace.wait_ready("etp/shop");
    println!("project applied → Ready: {:.1} s", applied.elapsed().as_secs_f64());

    let applied = Instant::now();
    namespace.key("shop", "{projectRef: {name: shop}}");
    wait_for("key applied → Secret", Duration::from_secs(10), || namespace.exists("secret/shop-dsn").then_some(()));
    println!("with kubectl: {:.1} s", applied.elapsed().as_secs_f64());
    namespace.wait_ready("etk/shop");

    for child in ["deploy", "service", "serviceaccount", "networkpolicy", "pdb"] {
        assert!(namespace.exists(&format!("{child}/shop-ingest")), "{child}");
    }
    // Ready is said as soon as one pod receives events.
    wait_for("both pods receive events", Duration::from_secs(30), || {
        (namespace.get("deploy/shop-ingest", ".status.readyReplicas") == "2").then_some(())
    });
    let keys =
        namespace.kubectl(&["get", "secret/shop-dsn", "-o", "go-template={{range $k, $v := .data}}{{$k}} {{end}}"]);
    assert_eq!(keys.trim(), "SENTRY_DSN");
    let id = namespace.get("etp/shop", ".status.projectID");
    assert_eq!(sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'project_{id}'")), "1");

    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "1");
    assert_eq!(sql(&format!("SELECT title FROM project_{id}.issues")), "ValueError: number 0");
}

#[test]
fn conditions_columns_and_events_say_what_happened() {
    let _turn = beside_others();
    let namespace = Namespace::new("describe");
    namespace.ready_project("shop", 1);
    for (object, kind, status) in [
        ("etp/shop", "Ready", "True"),
        ("etp/shop", "Reconciling", "False"),
        ("etp/shop", "Stalled", "False"),
        ("etp/shop", "DatabaseReady", "True"),
        ("etp/shop", "IngestReady", "True"),
        ("etk/shop", "Ready", "True"),
        ("etk/shop", "SecretPublished", "True"),
    ] {
        wait_for(&format!("{object} {kind}"), Duration::from_secs(10), || {
            (namespace.condition(object, kind, "status") == status).then_some(())
        });
    }
    let generation = namespace.get("etp/shop", ".metadata.generation");
    assert_eq!(namespace.get("etp/shop", ".status.observedGeneration"), generation);
    let table = namespace.kubectl(&["get", "etp,etk"]);
    println!("{table}");
    for column in ["READY", "REASON", "PROJECT", "INGEST", "SECRET", "shop-dsn"] {
        assert!(table.contains(column), "{column} in\n{table}");
    }
    assert!(!namespace.kubectl(&["get", "errortracking"]).is_empty());
    let described = namespace.kubectl(&["describe", "etk/shop"]);
    println!("{described}");
    assert!(described.contains("SecretPublished"), "{described}");
    assert!(kubectl(&["explain", "etp.spec.backend"]).contains("exactly one"));

    let dsn = namespace.kubectl(&["get", "secret/shop-dsn", "-o", "go-template={{.data.SENTRY_DSN | base64decode}}"]);
    let key = dsn.split_once("://").unwrap().1.split_once('@').unwrap().0.to_owned();
    for text in [
        &described,
        &namespace.kubectl(&["get", "events", "-o", "yaml"]),
        &namespace.kubectl(&["get", "etp,etk", "-o", "yaml"]),
    ] {
        assert!(!text.contains(&key), "a whole key is shown");
    }
    let logs = kubectl(&["logs", "-n", crate::world::INSTALLATION, "deploy/error-tracking-operator", "--all-pods"]);
    assert!(!logs.contains(&key), "a whole key is logged");
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence_that_says_what_to_do() {
    let _turn = beside_others();
    let namespace = Namespace::new("refusals");
    let project = |name: &str, spec: &str| {
        namespace.try_apply(&format!(
            "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ))
    };
    let long = "a".repeat(41);
    for (name, spec, sentence) in [
        ("shop", "{backend: {integrated: {retentionDays: 0}}}", "retentionDays must be between 1 and 3650"),
        (long.as_str(), "{}", "at most 40 characters"),
        ("shop.web", "{}", "lower-case letters, digits and '-'"),
        ("shop", "{backend: {}}", "must name exactly one"),
        ("shop", "{backend: {integrated: {ingest: {replicas: 101}}}}", "between 0 and 100"),
        ("shop", "{backend: {integrated: {ingest: {trustedProxies: [proxy.example]}}}}", "networks in CIDR notation"),
        ("shop", "{backend: {integrated: {quota: {eventsPerMinute: 0}}}}", "set active: false"),
        ("shop", "{backend: {integrated: {filters: {allowedOrigins: ['https://a.example/']}}}}", "no path"),
        ("shop", "{backend: {integrated: {privacy: {safeFields: [a, a]}}}}", "Duplicate value"),
    ] {
        let refusal = project(name, spec).expect_err(spec);
        assert!(refusal.contains(sentence), "{refusal}");
    }
    namespace.apply("apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {name: bare}\n");
    assert_eq!(namespace.get("etp/bare", ".spec.backend.integrated.retentionDays"), "90");
    assert_eq!(namespace.get("etp/bare", ".spec.backend.integrated.privacy.scrubData"), "true");
    assert_eq!(namespace.get("etp/bare", ".spec.backend.integrated.filters.allowedOrigins[*]"), "*");
    namespace.key("shop", "{projectRef: {name: shop}, secretTemplate: {name: one}}");
    for (patch, sentence) in [
        (r#"{"spec":{"rateLimit":{"events":0,"window":"60s"}}}"#, "set enabled: false"),
        (r#"{"spec":{"rateLimit":{"events":10,"window":"25h"}}}"#, "between 1s and 24h"),
        (r#"{"spec":{"rateLimit":{"events":10,"window":"500ms"}}}"#, "whole seconds"),
        (r#"{"spec":{"secretTemplate":{"name":"one","labels":{"team":"a b"}}}}"#, "should match"),
        (r#"{"spec":{"extraKeys":{"environment":"a/b"}}}"#, "the name of an environment"),
        (r#"{"spec":{"extraKeys":{"environment":"a\\b"}}}"#, "the name of an environment"),
        (r#"{"spec":{"extraKeys":{"environment":"a\nb"}}}"#, "the name of an environment"),
        (r#"{"spec":{"extraKeys":{"environment":" a"}}}"#, "the name of an environment"),
        (r#"{"spec":{"extraKeys":{"environment":"None"}}}"#, "the name of an environment"),
    ] {
        let refusal = namespace.try_kubectl(&["patch", "etk/shop", "--type=merge", "-p", patch]).expect_err(patch);
        assert!(refusal.contains(sentence), "{refusal}");
    }
    wait_for("the key says that its project is not there", Duration::from_secs(10), || {
        (namespace.condition("etk/shop", "Ready", "reason") == "ProjectNotFound").then_some(())
    });
    // While nothing was made, a name can be corrected; once it was, never.
    let corrected = r#"{"spec":{"projectRef":{"name":"bare"},"secretTemplate":{"name":"two"}}}"#;
    namespace.kubectl(&["patch", "etk/shop", "--type=merge", "-p", corrected]);
    namespace.wait_ready("etk/shop");
    for (object, patch, sentence) in [
        ("etk/shop", r#"{"spec":{"projectRef":{"name":"other"}}}"#, "projectRef is immutable"),
        ("etk/shop", r#"{"spec":{"secretTemplate":{"name":"one"}}}"#, "secretTemplate.name is immutable"),
        ("etk/shop", r#"{"spec":{"secretTemplate":null}}"#, "secretTemplate.name is immutable"),
        (
            "etp/bare",
            r#"{"spec":{"backend":{"integrated":{"database":{"secretRef":{"name":"pg"}}}}}}"#,
            "database.secretRef is immutable",
        ),
    ] {
        let refusal = namespace.try_kubectl(&["patch", object, "--type=merge", "-p", patch]).expect_err(patch);
        assert!(refusal.contains(sentence), "{refusal}");
    }
}
