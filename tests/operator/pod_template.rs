//! What the pods are made from, whether they run at all, and what cannot be.

use std::time::Duration;

use crate::world::{Namespace, beside_others, pause, sql, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_pod_template_reaches_the_pods_and_what_is_wrong_in_it_is_named() {
    let _turn = beside_others();
    let namespace = Namespace::new("pod-template");
    let project = |template: &str| {
        namespace.project(
            "shop",
            &format!("{{backend: {{integrated: {{ingest: {{replicas: 1, podTemplate: {template}}}}}}}}}"),
        );
    };
    project(
        "{metadata: {labels: {team: web, app.kubernetes.io/name: other}, annotations: {note: hello}}, \
         nodeSelector: {kubernetes.io/os: linux}, \
         tolerations: [{key: dedicated, operator: Equal, value: errors, effect: NoSchedule}], \
         affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {errortracking.dev/project: shop}}}}]}}, \
         topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {errortracking.dev/project: shop}}}]}",
    );
    namespace.wait_ready("etp/shop");
    let template = |path: &str| namespace.get("deploy/shop-ingest", &format!(".spec.template{path}"));
    assert_eq!(template(".metadata.labels.team"), "web");
    assert_eq!(template(".metadata.labels.app\\.kubernetes\\.io/name"), "error-tracking-ingest");
    assert_eq!(template(".metadata.annotations.note"), "hello");
    assert_eq!(template(".spec.tolerations[0].key"), "dedicated");
    assert_eq!(template(".spec.topologySpreadConstraints[0].maxSkew"), "1");

    // As it was applied it stays: nothing that the API server fills in is drift.
    let version = || namespace.get("deploy/shop-ingest", ".metadata.generation");
    let before = version();
    pause(Duration::from_secs(5));
    assert_eq!(version(), before);

    project("{tolerations: [{key: dedicated, operator: Sometimes}]}");
    wait_for("the project stalls", SOON, || {
        (namespace.condition("etp/shop", "Stalled", "reason") == "Rejected").then_some(())
    });
    let message = namespace.condition("etp/shop", "Stalled", "message");
    assert!(message.contains("spec.backend.integrated.ingest.podTemplate.tolerations[0].operator"), "{message}");
    assert_eq!(namespace.get("deploy/shop-ingest", ".status.readyReplicas"), "1", "the pod that runs is left alone");

    project("{}");
    namespace.wait_ready("etp/shop");
    wait_for("what is taken out goes", SOON, || template(".spec.tolerations").is_empty().then_some(()));
    assert_eq!(template(".metadata.labels.team"), "");
}

/// The right to list pods has no other use, and tests/process/rights.rs names this test for it.
#[test]
fn pods_that_cannot_be_scheduled_are_quoted() {
    let _turn = beside_others();
    let namespace = Namespace::new("unschedulable");
    let resources = "{requests: {cpu: 4k, memory: 64Mi}}";
    let ingest = format!("{{replicas: 1, podTemplate: {{resources: {resources}}}}}");
    namespace.project("shop", &format!("{{backend: {{integrated: {{ingest: {ingest}}}}}}}"));
    namespace.kubectl(&["annotate", "etp/shop", "errortracking.dev/paused=True"]);
    wait_for("an annotation that does not pause is said", SOON, || {
        namespace.condition("etp/shop", "Paused", "message").contains("only \"true\" pauses").then_some(())
    });
    wait_for("the pods count as failing", Duration::from_mins(4), || {
        (namespace.condition("etp/shop", "Ready", "reason") == "PodsFailing").then_some(())
    });
    let message = namespace.condition("etp/shop", "IngestReady", "message");
    println!("{message}");
    assert!(message.contains("Insufficient cpu"), "{message}");
    assert!(message.contains("kubectl describe pod -n t-unschedulable -l errortracking.dev/project=shop"), "{message}");
}

#[test]
fn an_inactive_project_has_no_pods_and_keeps_everything_else() {
    let _turn = beside_others();
    let namespace = Namespace::new("inactive");
    let id = namespace.ready_project("shop", 1);
    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    let secret = namespace.get("secret/shop-dsn", ".metadata.resourceVersion");

    namespace.kubectl(&["patch", "etp/shop", "--type=merge", "-p", r#"{"spec":{"active":false}}"#]);
    wait_for("no pods", SOON, || (namespace.get("deploy/shop-ingest", ".spec.replicas") == "0").then_some(()));
    wait_for("the project says so", SOON, || {
        (namespace.condition("etp/shop", "Ready", "reason") == "Inactive").then_some(())
    });
    assert_eq!(namespace.condition("etp/shop", "Ready", "status"), "True");
    assert_eq!(namespace.condition("etk/shop", "Ready", "status"), "True");
    assert_eq!(namespace.get("secret/shop-dsn", ".metadata.resourceVersion"), secret);
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "1");

    namespace.kubectl(&["patch", "etp/shop", "--type=merge", "-p", r#"{"spec":{"active":true}}"#]);
    wait_for("events are received again", Duration::from_mins(1), || {
        (namespace.send(&["once"]) == "200").then_some(())
    });
}

#[test]
fn what_excludes_each_other_is_refused_with_a_sentence_that_says_what_to_do() {
    let _turn = beside_others();
    let namespace = Namespace::new("exclusions");
    for (ingest, sentence) in [
        ("{replicas: 1, autoscaling: {maxReplicas: 2}}", "take one out"),
        ("{autoscaling: {maxReplicas: 1}}", "minReplicas (2 when absent) must not be more than maxReplicas"),
        ("{autoscaling: {maxReplicas: 2}, podTemplate: {resources: {requests: {memory: 1Gi}}}}", "requests.cpu"),
        ("{ingress: {host: a.example}, gateway: {parentRefs: [{name: g}]}}", "take one out"),
        ("{ingress: {host: 'A b'}}", "ingress.host must be a host name"),
        ("{externalURL: 'https://user@a.example'}", "externalURL must be"),
        ("{externalURL: 'https://a.example/?q'}", "externalURL must be"),
        ("{externalURL: 'ftp://a.example'}", "externalURL must be"),
        ("{externalURL: 'http://a.example:99999'}", "a port of 1 to 65535"),
        ("{externalURL: 'http://a.example:65536/x'}", "a port of 1 to 65535"),
        ("{externalURL: 'http://a.example:0'}", "a port of 1 to 65535"),
        ("{gateway: {parentRefs: []}}", "at least 1 item"),
    ] {
        let refusal = namespace
            .try_apply(&format!(
                "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: shop}}\nspec: {{backend: {{integrated: {{ingest: {ingest}}}}}}}\n"
            ))
            .expect_err(ingest);
        assert!(refusal.contains(sentence), "{ingest}: {refusal}");
    }
}
