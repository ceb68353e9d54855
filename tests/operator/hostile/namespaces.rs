//! Keys that a tenant makes for projects of other namespaces.

use super::{Attack, Bystander, Outcome};
use crate::world::{Namespace, sql};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "300 keys for a project of another namespace that lets nobody in", make: knocks },
    Attack { name: "a Secret and a status that say a key was let in once", make: claims_to_have_been_let_in },
];

/// Keys that a database holds of the bystander's project and the namespace does not.
fn strangers(bystander: &Bystander) -> String {
    let namespace = &bystander.namespace.0;
    sql(&format!(
        "SELECT count(*) FROM errortracking.client_keys JOIN errortracking.projects AS p USING (project_id)
         WHERE p.namespace = '{namespace}' AND client_keys.namespace <> p.namespace"
    ))
}

fn key(name: &str, bystander: &Bystander) -> String {
    format!(
        "---\napiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {{name: {name}}}\n\
         spec: {{projectRef: {{name: shop, namespace: {}}}}}\n",
        bystander.namespace.0
    )
}

fn knocks(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("knocks");
    let keys: String = (0..300).map(|number| key(&format!("key-{number}"), bystander)).collect();
    namespace.apply(&keys);
    let waited = bystander.waits_for_a_key().max(bystander.waits_for_a_project());
    let held = match strangers(bystander).as_str() {
        "0" if !namespace.exists("secret/key-0-dsn") => Ok("nobody got a key".to_owned()),
        found => Err(format!("{found} keys of another namespace")),
    };
    Outcome { held, waited }
}

fn claims_to_have_been_let_in(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("claims-permission");
    namespace.apply(&key("shop", bystander));
    let forged = r#"{"status":{"active":{"keyID":"1","publicKeyPrefix":"01234567","createdAt":"2026-01-01T00:00:00Z"},"secretName":"shop-dsn"}}"#;
    namespace.kubectl(&["patch", "etk/shop", "--subresource=status", "--type=merge", "--patch", forged]);
    let uid = namespace.get("etk/shop", ".metadata.uid");
    // In the form in which the operator would find its own.
    namespace.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop-dsn\n  \
         labels: {{app.kubernetes.io/managed-by: error-tracking-operator, errortracking.dev/client-key: shop}}\n  \
         ownerReferences: [{{apiVersion: errortracking.dev/v1alpha1, kind: ClientKey, name: shop, uid: {uid}, controller: true}}]\n"
    ));
    let waited = bystander.waits_for_a_key();
    let told = namespace.condition("etk/shop", "Ready", "message");
    let entries = namespace.get("secret/shop-dsn", ".data");
    let held = match strangers(bystander).as_str() {
        "0" if entries.is_empty() && !told.contains("is being deleted") => Ok(told),
        found => Err(format!("{found} keys, the Secret holds {entries}, and it is told: {told}")),
    };
    Outcome { held, waited }
}
