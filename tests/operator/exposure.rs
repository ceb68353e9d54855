//! The way in from outside of the cluster, and the keys that name it.

use std::time::Duration;

use crate::world::{Namespace, beside_others, kubectl, try_kubectl, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// Enough of the Gateway API for a route to be kept: the tests have no gateway.
const GATEWAY_API: &str = include_str!("gateway-api.yaml");

fn dsn(namespace: &Namespace, secret: &str) -> String {
    namespace
        .try_kubectl(&["get", &format!("secret/{secret}"), "-o", "go-template={{.data.SENTRY_DSN | base64decode}}"])
        .unwrap_or_default()
}

#[test]
fn an_ingress_leads_to_the_project_and_stays_while_a_key_names_its_host() {
    let _turn = beside_others();
    let namespace = Namespace::new("ingress");
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/shop");
    let id = namespace.get("etp/shop", ".status.projectID");

    namespace.key("web", "{projectRef: {name: shop}, endpoint: External}");
    wait_for("a key without a URL stalls", SOON, || {
        (namespace.condition("etk/web", "Stalled", "reason") == "NoExternalURL").then_some(())
    });
    assert_eq!(namespace.condition("etk/web", "Ready", "status"), "False");
    assert!(!namespace.exists("secret/web-dsn"));

    namespace.project(
        "shop",
        "{backend: {integrated: {ingest: {replicas: 0, ingress: {className: nginx, host: errors.example, tlsSecretName: tls, annotations: {note: hello}}}}}}",
    );
    namespace.wait_ready("etk/web");
    assert_eq!(namespace.get("etp/shop", ".status.ingest.externalURL"), "https://errors.example");
    assert_eq!(namespace.get("ingress/shop-ingest", ".spec.rules[0].http.paths[0].path"), format!("/api/{id}"));
    assert_eq!(namespace.get("ingress/shop-ingest", ".metadata.annotations.note"), "hello");
    assert!(dsn(&namespace, "web-dsn").ends_with(&format!("@errors.example/{id}")));

    namespace.kubectl(&[
        "patch",
        "ingress/shop-ingest",
        "--type=merge",
        "-p",
        r#"{"spec":{"ingressClassName":"other"}}"#,
    ]);
    wait_for("edited Ingress put back", SOON, || {
        (namespace.get("ingress/shop-ingest", ".spec.ingressClassName") == "nginx").then_some(())
    });
    namespace.kubectl(&["delete", "ingress/shop-ingest"]);
    wait_for("deleted Ingress put back", SOON, || namespace.exists("ingress/shop-ingest").then_some(()));

    namespace.project(
        "shop",
        r#"{backend: {integrated: {ingest: {replicas: 0, externalURL: "https://proxy.example/errors/"}}}}"#,
    );
    wait_for("the Secret follows, with another key", SOON, || {
        dsn(&namespace, "web-dsn").ends_with(&format!("@proxy.example/errors/{id}")).then_some(())
    });
    let former = wait_for("the key before goes on", SOON, || {
        let former = namespace.get("etk/web", ".status.retiring.keyID");
        (!former.is_empty()).then_some(former)
    });
    assert!(namespace.exists("ingress/shop-ingest"), "senders with the key before still come by it");
    namespace.kubectl(&["annotate", "etk/web", &format!("errortracking.dev/revoke={former}")]);
    wait_for("an Ingress that nobody asks for goes", SOON, || (!namespace.exists("ingress/shop-ingest")).then_some(()));
}

#[test]
fn a_route_waits_for_the_gateway_api_and_takes_nothing_else_down() {
    let _turn = beside_others();
    let namespace = Namespace::new("gateway");
    let _ = try_kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"]);
    namespace.project(
        "shop",
        r#"{backend: {integrated: {ingest: {replicas: 0, gateway: {parentRefs: [{name: public, namespace: infra}], hostnames: ["*.example", errors.example]}}}}}"#,
    );
    wait_for("the project stalls", SOON, || {
        (namespace.condition("etp/shop", "Stalled", "reason") == "GatewayAPIMissing").then_some(())
    });
    println!("{}", namespace.condition("etp/shop", "Stalled", "message"));
    assert_eq!(namespace.condition("etp/shop", "Ready", "status"), "True", "the Service in the cluster works");
    assert!(namespace.exists("deploy/shop-ingest"), "what does not need the Gateway API is made");
    namespace.project("other", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.wait_ready("etp/other");

    namespace.apply(GATEWAY_API);
    kubectl(&["wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io", "--timeout=30s"]);
    wait_for("the project stalls no more", SOON, || {
        (namespace.condition("etp/shop", "Stalled", "status") == "False").then_some(())
    });
    assert_eq!(namespace.condition("etp/shop", "Reconciling", "reason"), "NoAddress", "the tests have no gateway");
    let route = "httproutes.gateway.networking.k8s.io/shop-ingest";
    assert_eq!(namespace.get(route, ".spec.hostnames[1]"), "errors.example");
    assert_eq!(namespace.get("etp/shop", ".status.ingest.externalURL"), "https://errors.example");

    namespace.kubectl(&[
        "patch",
        "etp/shop",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/backend/integrated/ingest/gateway"}]"#,
    ]);
    wait_for("a route that nobody asks for goes", SOON, || (!namespace.exists(route)).then_some(()));
    let _ = try_kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io"]);
}
