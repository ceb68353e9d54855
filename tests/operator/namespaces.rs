//! Keys whose project is in another namespace, which lets theirs in or not.

use std::time::Duration;

use crate::world::{Namespace, beside_others, kubectl, pause, sql, wait_for};

const SOON: Duration = Duration::from_secs(20);
/// Labels of namespaces are read when a pass comes, which waiting objects have ever more seldom.
const READ: Duration = Duration::from_mins(2);

fn project(namespace: &Namespace, allowed: &str) {
    namespace.project(
        "shop",
        &format!("{{backend: {{integrated: {{ingest: {{replicas: 1}}}}}}, allowedNamespaces: {allowed}}}"),
    );
}

fn key_of(namespace: &Namespace, project: &str) -> String {
    format!("{{projectRef: {{name: {project}, namespace: {}}}}}", namespace.0)
}

fn dsn(namespace: &Namespace) -> String {
    let template = "go-template={{.data.SENTRY_DSN | base64decode}}";
    namespace.try_kubectl(&["get", "secret/shop-dsn", "-o", template]).unwrap_or_default()
}

/// Everything that somebody in the namespace can read of a key, without times, uids and its own name.
fn all_that_is_told(namespace: &Namespace, key: &str) -> String {
    let status = "jsonpath={range .status.conditions[*]}{.type} {.status} {.reason} {.message}{\"\\n\"}{end}\
                  {.status.active}{.status.secretName}{.metadata.finalizers}";
    let events = "jsonpath={range .items[*]}{.type} {.reason} {.message}{\"\\n\"}{end}";
    let about = format!("--field-selector=involvedObject.name={key}");
    let status = namespace.kubectl(&["get", &format!("etk/{key}"), "-o", status]);
    let events = namespace.kubectl(&["get", "events", &about, "-o", events]);
    format!("{status}\n{events}").replace(&format!("/{key} "), "/NAME ")
}

#[test]
fn a_project_lets_keys_of_other_namespaces_in_and_takes_that_back() {
    let _turn = beside_others();
    let (shared, tenant) = (Namespace::new("let-in"), Namespace::new("let-in-tenant"));
    project(&shared, "{from: Selector, selector: {matchLabels: {shop: allowed}}}");
    shared.wait_ready("etp/shop");
    let id = shared.get("etp/shop", ".status.projectID");

    // A project that is there and one that is not look the same to those who are kept out.
    tenant.key("shop", &key_of(&shared, "shop"));
    tenant.key("nothing", &key_of(&shared, "nothing"));
    for key in ["shop", "nothing"] {
        wait_for("the key is kept out", SOON, || {
            let warned = tenant.condition(&format!("etk/{key}"), "SecretPublished", "status") == "False";
            (warned && all_that_is_told(&tenant, key).contains("Warning ProjectNotFound")).then_some(())
        });
    }
    let told = all_that_is_told(&tenant, "shop");
    println!("{told}");
    assert_eq!(told, all_that_is_told(&tenant, "nothing"));
    assert!(told.contains("spec.allowedNamespaces") && !tenant.exists("secret/shop-dsn"));
    // What happens to the project is not theirs to see either.
    let version = || tenant.get("etk/shop", ".metadata.resourceVersion");
    let before = version();
    shared.kubectl(&["patch", "etp/shop", "--type=merge", "-p", r#"{"spec":{"displayName":"Shop"}}"#]);
    pause(Duration::from_secs(3));
    assert_eq!(version(), before);

    kubectl(&["label", "namespace", &tenant.0, "shop=allowed"]);
    wait_for("the label is read", READ, || (tenant.condition("etk/shop", "Ready", "status") == "True").then_some(()));
    let published = dsn(&tenant);
    assert!(published.ends_with(&format!("@shop-ingest.{}.svc/{id}", shared.0)), "{published}");
    let row = format!("SELECT namespace, name FROM errortracking.client_keys WHERE project_id = {id}");
    assert_eq!(sql(&row), format!("{}|shop", tenant.0));
    assert!(!shared.exists("secret/shop-dsn"));
    tenant.start_sender("shop-dsn");
    wait_for("an event of another namespace arrives", SOON, || (tenant.send(&["once"]) == "200").then_some(()));
    assert_eq!(sql(&format!("SELECT count(*) FROM project_{id}.events")), "1");
    let moved = tenant.try_apply(&format!(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {{name: shop}}\nspec: {}\n",
        key_of(&tenant, "shop")
    ));
    assert!(moved.unwrap_err().contains("projectRef is immutable"));

    // The permission goes: the object says so, and nothing is refused meanwhile.
    project(&shared, "{from: Same}");
    wait_for("the key stalls", SOON, || {
        (tenant.condition("etk/shop", "Stalled", "reason") == "NotAllowed").then_some(())
    });
    let withdrawn = tenant.condition("etk/shop", "Stalled", "message");
    println!("{withdrawn}");
    assert_eq!(withdrawn, tenant.condition("etk/nothing", "Ready", "message").replace("/nothing ", "/shop "));
    assert_eq!(dsn(&tenant), published);
    assert_eq!(tenant.send(&["once"]), "200");

    project(&shared, "{from: All}");
    tenant.wait_ready("etk/shop");
    assert_eq!(dsn(&tenant), published, "who is let in again keeps the key");

    // What takes from the key is followed without the permission.
    project(&shared, "{from: Same}");
    wait_for("the key stalls again", SOON, || {
        (tenant.condition("etk/shop", "Stalled", "reason") == "NotAllowed").then_some(())
    });
    tenant.kubectl(&["patch", "etk/shop", "--type=merge", "-p", r#"{"spec":{"enabled":false}}"#]);
    wait_for("a disabled key is refused", SOON, || (tenant.send(&["once"]) == "403").then_some(()));
    tenant.kubectl(&["delete", "etk/shop", "--timeout=60s"]);
    assert!(!tenant.exists("secret/shop-dsn"));
    let living =
        format!("SELECT count(*) FROM errortracking.client_keys WHERE project_id = {id} AND revoked_at IS NULL");
    assert_eq!(sql(&living), "0");
}

#[test]
fn what_a_selector_cannot_mean_is_refused() {
    let _turn = beside_others();
    let namespace = Namespace::new("selectors");
    let expression = |operator: &str, values: &str| {
        format!("{{from: Selector, selector: {{matchExpressions: [{{key: team, operator: {operator}{values}}}]}}}}")
    };
    for (allowed, says) in [
        ("{from: Selector}".to_owned(), "needs a selector with from: Selector"),
        ("{selector: {}}".to_owned(), "takes none otherwise"),
        ("{from: Some}".to_owned(), "Selector"),
        (expression("Near", ", values: [web]"), "matchExpressions"),
        (expression("In", ""), "needs values"),
        (expression("Exists", ", values: [web]"), "takes none with Exists"),
    ] {
        let refused = namespace.try_apply(&format!(
            "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: shop}}\nspec: {{allowedNamespaces: {allowed}}}\n"
        ));
        let refused = refused.expect_err(&allowed);
        assert!(refused.contains(says), "{allowed}: {refused}");
    }
    let refused = namespace.try_apply(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {name: shop}\nspec: {projectRef: {name: shop, namespace: Web}}\n",
    );
    assert!(refused.unwrap_err().contains("projectRef.namespace must be the name of a namespace"));
}
