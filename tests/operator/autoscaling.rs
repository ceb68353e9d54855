//! The number of ingest pods passes from the project to an autoscaler and back, and never falls in between.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::world::{Namespace, beside_others, pause, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Everything that the Deployment asked for while `doing` ran.
fn replicas_during(namespace: &Namespace, doing: impl FnOnce()) -> Vec<String> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen: Vec<String> = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let now = namespace.get("deploy/shop-ingest", ".spec.replicas");
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
                pause(Duration::from_millis(20));
            }
            seen
        });
        doing();
        ended.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    })
}

#[test]
fn the_number_of_pods_is_handed_to_an_autoscaler_and_taken_back_without_a_fall() {
    let _turn = beside_others();
    let namespace = Namespace::new("autoscaling");
    namespace.ready_project("shop", 3);
    let replicas = || namespace.get("deploy/shop-ingest", ".spec.replicas");
    let pods = || namespace.get("pod", ".items[*].metadata.name");
    let before = pods();

    let seen = replicas_during(&namespace, || {
        namespace.project("shop", "{backend: {integrated: {ingest: {autoscaling: {minReplicas: 3, maxReplicas: 5}}}}}");
        wait_for("the autoscaler is there", SOON, || namespace.exists("hpa/shop-ingest").then_some(()));
        pause(Duration::from_secs(3));
    });
    assert_eq!(seen, ["3"], "the count jumped");
    assert_eq!(pods(), before, "the pods are others");
    println!("{}", namespace.condition("etp/shop", "IngestReady", "message"));
    let managers = namespace.kubectl(&["get", "deploy/shop-ingest", "-o", "yaml", "--show-managed-fields"]);
    assert!(managers.contains("error-tracking-operator-replicas"), "{managers}");

    // As the autoscaler does: by the scale subresource. The operator leaves it alone.
    namespace.kubectl(&["scale", "deploy/shop-ingest", "--replicas=4"]);
    wait_for("the status follows", SOON, || {
        (namespace.get("etp/shop", ".status.ingest.replicas") == "4").then_some(())
    });
    pause(Duration::from_secs(3));
    assert_eq!(replicas(), "4");
    assert_eq!(namespace.condition("etp/shop", "Reconciling", "status"), "False");

    // A change of the template keeps the number, too.
    let seen = replicas_during(&namespace, || {
        namespace.project(
            "shop",
            "{backend: {integrated: {ingest: {autoscaling: {minReplicas: 3, maxReplicas: 5}, podTemplate: {metadata: {labels: {team: web}}}}}}}",
        );
        wait_for("the template follows", SOON, || {
            (namespace.get("deploy/shop-ingest", ".spec.template.metadata.labels.team") == "web").then_some(())
        });
    });
    assert!(seen.iter().all(|count| count == "4"), "{seen:?}");

    // An autoscaler does not start from zero.
    namespace.kubectl(&["scale", "deploy/shop-ingest", "--replicas=0"]);
    wait_for("zero pods become the minimum", SOON, || (replicas() == "3").then_some(()));

    let seen = replicas_during(&namespace, || {
        namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 2}}}}");
        wait_for("the project chooses again", SOON, || (replicas() == "2").then_some(()));
        wait_for("the autoscaler is gone", SOON, || (!namespace.exists("hpa/shop-ingest")).then_some(()));
    });
    assert_eq!(seen, ["3", "2"]);
    namespace.kubectl(&["scale", "deploy/shop-ingest", "--replicas=4"]);
    wait_for("what is scaled by hand is put back again", SOON, || (replicas() == "2").then_some(()));
}

#[test]
fn an_autoscaler_that_is_edited_or_deleted_comes_back() {
    let _turn = beside_others();
    let namespace = Namespace::new("autoscaler-drift");
    namespace.project("shop", "{backend: {integrated: {ingest: {autoscaling: {minReplicas: 1, maxReplicas: 2}}}}}");
    namespace.wait_ready("etp/shop");
    assert_eq!(namespace.get("deploy/shop-ingest", ".spec.replicas"), "1");
    namespace.kubectl(&["patch", "hpa/shop-ingest", "--type=merge", "-p", r#"{"spec":{"maxReplicas":9}}"#]);
    wait_for("edited autoscaler put back", SOON, || {
        (namespace.get("hpa/shop-ingest", ".spec.maxReplicas") == "2").then_some(())
    });
    namespace.kubectl(&["delete", "hpa/shop-ingest"]);
    wait_for("deleted autoscaler put back", SOON, || namespace.exists("hpa/shop-ingest").then_some(()));
}
