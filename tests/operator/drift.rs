//! What is edited or deleted by hand is put back.

use std::time::Duration;

use crate::world::{Namespace, beside_others, wait_for};

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

#[test]
fn the_same_spec_from_another_field_manager_changes_nothing() {
    let _turn = beside_others();
    let namespace = Namespace::new("no-churn");
    let ingest = "{autoscaling: {minReplicas: 1, maxReplicas: 2}, \
         ingress: {host: errors.example, annotations: {note: hello}}, \
         podTemplate: {resources: {requests: {cpu: 1000m, memory: 1024Ki}}, tolerations: [{operator: Exists}], \
         affinity: {nodeAffinity: {}}, metadata: {labels: {team: web}}}}";
    let spec = format!("{{backend: {{integrated: {{ingest: {ingest}}}}}}}");
    namespace.project("shop", &spec);
    namespace.key("shop", "{projectRef: {name: shop}, endpoint: External}");
    // The pod asks for more than the node may have: nothing here is about pods.
    wait_for("everything is made", SOON, || {
        (namespace.exists("ingress/shop-ingest") && namespace.exists("secret/shop-dsn")).then_some(())
    });
    let objects = "deploy,hpa,ingress,service,serviceaccount,networkpolicy,pdb,secret,etp,etk";
    let versions = || {
        let list = namespace.kubectl(&["get", objects, "-o", "json", "--show-managed-fields"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let written = |item: &serde_json::Value| {
            let entries = item["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            let ours = entries.into_iter().filter(|entry| entry["manager"] == "error-tracking-operator");
            let times: Vec<_> = ours.map(|entry| (entry["subresource"].clone(), entry["time"].clone())).collect();
            format!("{} {} {} {times:?}", item["kind"], item["metadata"]["name"], item["metadata"]["generation"])
        };
        list["items"].as_array().unwrap().iter().map(written).collect::<Vec<_>>()
    };
    let mut before = versions();
    // Until the Deployment controller has said its last word.
    wait_for("nothing changes", Duration::from_mins(1), || {
        crate::world::pause(Duration::from_secs(5));
        let now = versions();
        let same = now == before;
        before = now;
        same.then_some(())
    });
    let manifest = format!(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: shop, namespace: {}}}\nspec: {spec}\n",
        namespace.0
    );
    for _ in 0..5 {
        namespace.apply_as("gitops", &manifest);
        crate::world::pause(Duration::from_secs(1));
    }
    assert_eq!(versions(), before);
}
