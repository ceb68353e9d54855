//! What is edited or deleted by hand is put back.

use std::time::Duration;

use crate::harness::{Namespace, beside_others, wait_for};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_secret_that_is_edited_extended_or_deleted_comes_back_with_the_same_key() {
    let _turn = beside_others();
    let namespace = Namespace::new("drift-secret");
    namespace.ready_project("shop", 0);
    let dsn = || namespace.get("secret/shop-dsn", ".data.SENTRY_DSN");
    let before = dsn();
    assert!(!before.is_empty());

    namespace.kubectl(&["patch", "secret/shop-dsn", "--type=merge", "-p", r#"{"stringData":{"SENTRY_DSN":"wrong"}}"#]);
    wait_for("edited Secret put back", SOON, || (dsn() == before).then_some(()));

    namespace.kubectl(&["patch", "secret/shop-dsn", "--type=merge", "-p", r#"{"stringData":{"EXTRA":"x"}}"#]);
    wait_for("foreign key of the Secret removed", SOON, || {
        namespace.get("secret/shop-dsn", ".data.EXTRA").is_empty().then_some(())
    });

    namespace.kubectl(&["delete", "secret/shop-dsn"]);
    wait_for("deleted Secret put back", SOON, || (dsn() == before).then_some(()));
}

#[test]
fn children_of_a_project_that_are_edited_or_deleted_come_back() {
    let _turn = beside_others();
    let namespace = Namespace::new("drift-children");
    namespace.ready_project("shop", 1);
    namespace.kubectl(&["scale", "deploy/shop-ingest", "--replicas=3"]);
    wait_for("scaled Deployment put back", SOON, || {
        (namespace.get("deploy/shop-ingest", ".spec.replicas") == "1").then_some(())
    });
    namespace.kubectl(&[
        "patch",
        "service/shop-ingest",
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/ports/0/targetPort","value":9}]"#,
    ]);
    wait_for("edited Service put back", SOON, || {
        (namespace.get("service/shop-ingest", ".spec.ports[0].targetPort") == "ingest").then_some(())
    });
    for child in ["service", "pdb", "networkpolicy", "serviceaccount", "deploy"] {
        let object = format!("{child}/shop-ingest");
        let uid = namespace.get(&object, ".metadata.uid");
        namespace.kubectl(&["delete", &object]);
        wait_for(&format!("deleted {child} put back"), SOON, || {
            let now = namespace.get(&object, ".metadata.uid");
            (!now.is_empty() && now != uid).then_some(())
        });
    }
    // A new password is set and published; pods that start with it receive events.
    namespace.kubectl(&["delete", "secret/shop-database"]);
    wait_for("deleted login Secret put back", SOON, || namespace.exists("secret/shop-database").then_some(()));
    namespace.kubectl(&["delete", "pod", "-l", "errortracking.dev/project=shop"]);
    namespace.start_sender("shop-dsn");
    wait_for("events are received", Duration::from_mins(1), || (namespace.send(&["once"]) == "200").then_some(()));
}
