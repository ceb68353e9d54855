//! What a key publishes beside the DSN: more entries of its Secret, and a second Secret for Service Binding.

use std::time::Duration;

use crate::world::{Namespace, beside_others, kubectl, sql, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// An entry of a Secret; empty when there is none.
fn entry(namespace: &Namespace, secret: &str, entry: &str) -> String {
    let template = format!("go-template={{{{index .data {entry:?} | base64decode}}}}");
    namespace.try_kubectl(&["get", &format!("secret/{secret}"), "-o", &template]).unwrap_or_default()
}

fn entries(namespace: &Namespace, secret: &str) -> String {
    let template = "go-template={{range $k, $v := .data}}{{$k}} {{end}}";
    namespace.try_kubectl(&["get", &format!("secret/{secret}"), "-o", template]).unwrap_or_default()
}

#[test]
fn each_extra_key_is_published_and_what_is_sent_to_it_is_stored() {
    let _turn = beside_others();
    let namespace = Namespace::new("extra-keys");
    let id = namespace.ready_project("shop", 1);
    assert_eq!(entries(&namespace, "shop-dsn"), "SENTRY_DSN");
    let dsn = entry(&namespace, "shop-dsn", "SENTRY_DSN");
    namespace.key(
        "shop",
        "{projectRef: {name: shop}, extraKeys: {environment: production, release: shop@1.4, deprecatedDSN: true, \
         securityEndpoint: true}}",
    );
    wait_for("all entries are there", SOON, || {
        let all = "SENTRY_DSN SENTRY_DSN_DEPRECATED SENTRY_ENVIRONMENT SENTRY_RELEASE SENTRY_SECURITY_ENDPOINT";
        (entries(&namespace, "shop-dsn") == all).then_some(())
    });
    assert_eq!(entry(&namespace, "shop-dsn", "SENTRY_DSN"), dsn);
    assert_eq!(entry(&namespace, "shop-dsn", "SENTRY_RELEASE"), "shop@1.4");
    let key = dsn.trim_start_matches("http://").split('@').next().unwrap();
    let server = format!("shop-ingest.{}.svc", namespace.0);
    assert_eq!(
        entry(&namespace, "shop-dsn", "SENTRY_SECURITY_ENDPOINT"),
        format!("http://{server}/api/{id}/security/?sentry_key={key}")
    );
    let deprecated = entry(&namespace, "shop-dsn", "SENTRY_DSN_DEPRECATED");
    let secret_key = sql(&format!("SELECT secret FROM errortracking.client_keys WHERE project_id = {id}"));
    assert_eq!(deprecated, format!("http://{key}:{secret_key}@{server}/{id}"));

    namespace.start_sender("shop-dsn");
    for how in ["once", "deprecated", "report"] {
        assert_eq!(namespace.send(&[how]), "200", "{how}");
    }
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "3");

    // As after a restore of a backup that did not know the key: it was put back from the Secret, without a secret key.
    sql(&format!("UPDATE errortracking.client_keys SET secret = NULL WHERE project_id = {id}"));
    namespace.key("shop", "{projectRef: {name: shop}, extraKeys: {deprecatedDSN: true}}");
    wait_for("another secret key is published", SOON, || {
        let now = entry(&namespace, "shop-dsn", "SENTRY_DSN_DEPRECATED");
        let stored = sql(&format!("SELECT secret FROM errortracking.client_keys WHERE project_id = {id}"));
        (now != deprecated && !stored.is_empty() && now.contains(&stored)).then_some(())
    });
    assert_eq!(entries(&namespace, "shop-dsn"), "SENTRY_DSN SENTRY_DSN_DEPRECATED");
    assert_eq!(entry(&namespace, "shop-dsn", "SENTRY_DSN"), dsn);
    assert_eq!(namespace.send(&["deprecated"]), "200", "no server looks at the secret key");

    for release in ["a/b", "latest", "' 1'", r#""a\nb""#, &"x".repeat(201)] {
        let refused = namespace.try_apply(&format!(
            "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {{name: bad}}\nspec: {{projectRef: {{name: shop}}, extraKeys: {{release: {release}}}}}\n"
        ));
        assert!(refused.unwrap_err().contains("extraKeys.release"), "{release}");
    }
}

#[test]
fn a_second_secret_for_service_binding_is_kept_as_the_first_is() {
    let _turn = beside_others();
    let namespace = Namespace::new("binding");
    let id = namespace.ready_project("shop", 0);
    let asked = "{projectRef: {name: shop}, serviceBinding: true}";
    let spec = |policy: &str| format!("{{projectRef: {{name: shop}}, serviceBinding: true, deletionPolicy: {policy}}}");
    assert!(!namespace.exists("secret/shop-binding"));
    namespace.key("shop", asked);
    wait_for("the status names the second Secret", SOON, || {
        (namespace.get("etk/shop", ".status.binding.name") == "shop-binding").then_some(())
    });
    let dsn = entry(&namespace, "shop-dsn", "SENTRY_DSN");
    let check = || {
        assert_eq!(entries(&namespace, "shop-dsn"), "SENTRY_DSN", "envFrom stays clean");
        assert_eq!(namespace.get("secret/shop-binding", ".type"), "servicebinding.io/sentry");
        assert_eq!(entries(&namespace, "shop-binding"), "host port provider type uri username");
        for (name, value) in [
            ("uri", &*dsn),
            ("type", "sentry"),
            ("provider", "error-tracking-operator"),
            ("host", &format!("shop-ingest.{}.svc", namespace.0)),
            ("port", "80"),
            ("username", dsn.trim_start_matches("http://").split('@').next().unwrap()),
        ] {
            assert_eq!(entry(&namespace, "shop-binding", name), value, "{name}");
        }
    };
    check();
    let label = ".metadata.labels.servicebinding\\.io/provisioned-service";
    let definition = ["get", "crd/clientkeys.errortracking.dev", "-o", &format!("jsonpath={{{label}}}")];
    assert_eq!(kubectl(&definition), "true");
    let roles = kubectl(&["get", "clusterrole", "-l", "servicebinding.io/controller=true", "-o", "name"]);
    assert!(roles.contains("service-binding"), "{roles}");

    namespace.kubectl(&["patch", "secret/shop-binding", "--type=merge", "-p", r#"{"stringData":{"uri":"wrong"}}"#]);
    wait_for("edited Secret put back", SOON, || (entry(&namespace, "shop-binding", "uri") == dsn).then_some(()));
    namespace.kubectl(&["delete", "secret/shop-binding"]);
    wait_for("deleted Secret put back", SOON, || namespace.exists("secret/shop-binding").then_some(()));
    check();

    namespace.key("shop", "{projectRef: {name: shop}}");
    wait_for("nobody asks for it any more", SOON, || {
        let named = namespace.get("etk/shop", ".status.binding.name");
        (named.is_empty() && !namespace.exists("secret/shop-binding")).then_some(())
    });
    assert_eq!(entry(&namespace, "shop-dsn", "SENTRY_DSN"), dsn);

    // Somebody else's is left alone, and takes nothing from the first Secret.
    namespace.kubectl(&["create", "secret", "generic", "shop-binding", "--from-literal=uri=theirs"]);
    namespace.key("shop", asked);
    wait_for("the key stalls", SOON, || {
        (namespace.condition("etk/shop", "Stalled", "reason") == "SecretConflict").then_some(())
    });
    println!("{}", namespace.condition("etk/shop", "Stalled", "message"));
    assert_eq!(namespace.condition("etk/shop", "Ready", "status"), "True");
    assert_eq!(entry(&namespace, "shop-binding", "uri"), "theirs");
    namespace.kubectl(&["delete", "secret/shop-binding"]);
    wait_for("the name is free", SOON, || (entry(&namespace, "shop-binding", "uri") == dsn).then_some(()));

    let clash = namespace.try_apply(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {name: other}\nspec: {projectRef: {name: shop}, serviceBinding: true, secretTemplate: {name: other-binding}}\n",
    );
    assert!(clash.unwrap_err().contains("serviceBinding"));

    // Left behind on purpose, both are taken over by the same object applied again.
    namespace.key("shop", &spec("Orphan"));
    namespace.kubectl(&["delete", "etk/shop", "--timeout=60s"]);
    for secret in ["secret/shop-dsn", "secret/shop-binding"] {
        assert!(namespace.exists(secret), "{secret}");
        assert_eq!(namespace.get(secret, ".metadata.ownerReferences"), "", "{secret}");
    }
    namespace.key("shop", &spec("Revoke"));
    namespace.wait_ready("etk/shop");
    wait_for("both are owned again", SOON, || {
        let owner = |secret: &str| namespace.get(&format!("secret/{secret}"), ".metadata.ownerReferences[0].uid");
        let uid = namespace.get("etk/shop", ".metadata.uid");
        (owner("shop-dsn") == uid && owner("shop-binding") == uid).then_some(())
    });
    check();
    namespace.kubectl(&["delete", "etk/shop", "--timeout=60s"]);
    assert!(!namespace.exists("secret/shop-dsn") && !namespace.exists("secret/shop-binding"));
    let living =
        format!("SELECT count(*) FROM errortracking.client_keys WHERE project_id = {id} AND revoked_at IS NULL");
    assert_eq!(sql(&living), "0");
}
