//! Postgres or the operator goes away, and everything goes on afterwards.

use std::time::Duration;

use crate::world::{INSTALLATION, Namespace, OPERATOR, alone, kubectl, sigkill, sql, wait_for};

/// Brings Postgres back however the test ends: the others need it.
struct Away;

impl Away {
    fn new() -> Self {
        scale_postgres(0);
        Self
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        scale_postgres(1);
    }
}

fn scale_postgres(replicas: u8) {
    kubectl(&["scale", "-n", INSTALLATION, "statefulset/error-tracking-postgresql", &format!("--replicas={replicas}")]);
    let pod = format!("pod/{INSTALLATION}-postgresql-0");
    if replicas == 0 {
        kubectl(&["wait", "-n", INSTALLATION, "--for=delete", &pod, "--timeout=60s"]);
    } else {
        kubectl(&["rollout", "status", "-n", INSTALLATION, "statefulset/error-tracking-postgresql", "--timeout=120s"]);
    }
}

#[test]
fn postgres_goes_away_and_comes_back() {
    let _turn = alone();
    let namespace = Namespace::new("postgres-outage");
    let id = namespace.ready_project("shop", 1);
    namespace.key("going", "{projectRef: {name: shop}}");
    namespace.wait_ready("etk/going");
    namespace.project("leaving", "{deletionPolicy: Delete, backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/leaving");
    let leaving = namespace.get("etp/leaving", ".status.projectID");
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    let deployment = namespace.get("deploy/shop-ingest", ".metadata.generation");

    let away = Away::new();
    wait_for("DatabaseReady=False", Duration::from_secs(40), || {
        (namespace.condition("etp/shop", "DatabaseReady", "status") == "False").then_some(())
    });
    println!("{}", namespace.condition("etp/shop", "DatabaseReady", "message"));
    assert_eq!(namespace.condition("etp/shop", "DatabaseReady", "reason"), "DatabaseUnavailable");
    assert_eq!(namespace.condition("etp/shop", "Stalled", "status"), "False", "nothing for a user to do");
    assert_eq!(namespace.condition("etk/shop", "Ready", "status"), "True", "the Secret is published");
    assert_eq!(namespace.send(&["once"]), "503");
    // Nothing waits for the database to be deleted.
    namespace.kubectl(&["delete", "etk/going", "etp/leaving", "--timeout=60s"]);

    drop(away);
    wait_for("events are stored again", Duration::from_mins(1), || (namespace.send(&["once"]) == "200").then_some(()));
    namespace.wait_ready("etp/shop");
    assert_eq!(namespace.get("deploy/shop-ingest", ".metadata.generation"), deployment, "nothing was rolled");
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "2");
    wait_for("what the deleted objects left is settled", Duration::from_mins(1), || {
        let schemas = sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'project_{leaving}'"));
        let revoked = sql("SELECT count(*) FROM errortracking.client_keys WHERE name = 'going' AND revoked_at IS NULL");
        (schemas == "0" && revoked == "0").then_some(())
    });
}

#[test]
fn another_database_gets_no_projects_and_takes_no_keys_away() {
    let _turn = alone();
    let namespace = Namespace::new("other-database");
    let id = namespace.ready_project("shop", 0);
    let dsn = namespace.get("secret/shop-dsn", ".data.SENTRY_DSN");
    sql("DROP DATABASE IF EXISTS elsewhere");
    sql("CREATE DATABASE elsewhere");
    let point_to = |database: &str| {
        let patch = format!(r#"{{"stringData":{{"dbname":"{database}"}}}}"#);
        kubectl(&["patch", "-n", INSTALLATION, "secret/error-tracking-postgresql", "--type=merge", "-p", &patch]);
    };
    point_to("elsewhere");
    wait_for("the project stalls", Duration::from_mins(2), || {
        (namespace.condition("etp/shop", "Stalled", "reason") == "DatabaseChanged").then_some(())
    });
    println!("{}", namespace.condition("etp/shop", "Stalled", "message"));
    let seen = (namespace.get("etp/shop", ".status.projectID"), namespace.get("secret/shop-dsn", ".data.SENTRY_DSN"));
    point_to("errortracking");
    assert_eq!(seen, (id, dsn));
    wait_for("the project is Ready again", Duration::from_mins(2), || {
        (namespace.condition("etp/shop", "Ready", "status") == "True").then_some(())
    });
    sql("DROP DATABASE elsewhere WITH (FORCE)");
}

#[test]
fn the_operator_is_killed_in_the_middle_of_its_work() {
    let _turn = alone();
    let namespace = Namespace::new("operator-killed");
    for round in 0..5 {
        for project in 0..3 {
            namespace.project(&format!("p{round}-{project}"), "{backend: {integrated: {ingest: {replicas: 0}}}}");
            namespace.key(&format!("k{round}-{project}"), &format!("{{projectRef: {{name: p{round}-{project}}}}}"));
        }
        let lease = kubectl(&[
            "get",
            "-n",
            INSTALLATION,
            "lease/error-tracking-operator",
            "-o",
            "jsonpath={.spec.holderIdentity}",
        ]);
        sigkill(INSTALLATION, &lease, "operator");
        wait_for("somebody leads again", Duration::from_mins(1), || {
            let path = "jsonpath={.spec.leaseTransitions} {.spec.holderIdentity}";
            let now = kubectl(&["get", "-n", INSTALLATION, "lease/error-tracking-operator", "-o", path]);
            (!now.ends_with(' ') && namespace.condition(&format!("etk/k{round}-2"), "Ready", "status") == "True")
                .then_some(())
        });
    }
    for round in 0..5 {
        for project in 0..3 {
            namespace.wait_ready(&format!("etp/p{round}-{project}"));
            namespace.wait_ready(&format!("etk/k{round}-{project}"));
        }
    }
    let keys = sql(&format!(
        "SELECT count(*), count(DISTINCT name) FROM errortracking.client_keys WHERE namespace = '{}' AND revoked_at IS NULL",
        namespace.0
    ));
    assert_eq!(keys, "15|15", "each ClientKey has one key");
    let projects = sql(&format!(
        "SELECT count(*) FROM errortracking.projects WHERE namespace = '{}' AND state = 'active'",
        namespace.0
    ));
    assert_eq!(projects, "15", "each project has one row");
    kubectl(&["rollout", "status", "-n", INSTALLATION, &format!("deploy/{OPERATOR}"), "--timeout=120s"]);
}

#[test]
fn a_new_leader_writes_nothing_that_is_right_already() {
    let _turn = alone();
    let namespace = Namespace::new("new-leader");
    namespace.ready_project("shop", 1);
    let objects = "etp,etk,secret,deploy,service,serviceaccount,networkpolicy,pdb";
    let versions = || {
        let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        namespace.kubectl(&["get", objects, "-o", path])
    };
    let holder = || {
        kubectl(&["get", "-n", INSTALLATION, "lease/error-tracking-operator", "-o", "jsonpath={.spec.holderIdentity}"])
    };
    let before = versions();
    let events = namespace.kubectl(&["get", "events", "-o", "name"]);
    let led = holder();
    kubectl(&["delete", "-n", INSTALLATION, "pod", &led, "--wait=false"]);
    wait_for("another leads", Duration::from_secs(30), || {
        Some(holder()).filter(|name| !name.is_empty() && *name != led)
    });
    // A change of another object shows that the new leader works.
    namespace.key("other", "{projectRef: {name: shop}}");
    namespace.wait_ready("etk/other");
    namespace.kubectl(&["delete", "etk/other", "--timeout=60s"]);
    wait_for("the other Secret is gone", Duration::from_secs(30), || {
        (!namespace.exists("secret/other-dsn")).then_some(())
    });
    assert_eq!(versions(), before);
    let after = namespace.kubectl(&["get", "events", "-o", "name"]);
    let new: Vec<_> = after.lines().filter(|event| !events.contains(event) && !event.contains("/other.")).collect();
    assert_eq!(new, Vec::<&str>::new());
}

#[test]
fn a_leader_that_is_asked_to_end_hands_over() {
    let _turn = alone();
    let holder = || {
        kubectl(&["get", "-n", INSTALLATION, "lease/error-tracking-operator", "-o", "jsonpath={.spec.holderIdentity}"])
    };
    let before = wait_for("somebody leads", Duration::from_secs(30), || Some(holder()).filter(|name| !name.is_empty()));
    kubectl(&["delete", "-n", INSTALLATION, "pod", &before, "--wait=false"]);
    wait_for("another leads", Duration::from_secs(12), || {
        Some(holder()).filter(|name| !name.is_empty() && *name != before)
    });
}
