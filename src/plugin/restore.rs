//! Asks for a retired key to be accepted again.

use kube::ResourceExt as _;

use super::{
    PluginError,
    annotations::{Request, keys_of, request},
    cluster::{Cluster, key_id, name},
    output::{Output, note, print_object},
};
use crate::crd::{ClientKey, RESTORE_ANNOTATION};

/// Accept a key again that has retired: for senders that nobody can restart.
///
/// Sets the annotation errortracking.dev/restore; the key is accepted for as long as that is there. Keys that were
/// revoked, or retired more than 90 days ago, do not come back.
#[derive(Clone, Debug, clap::Args)]
pub struct Restore {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
    /// Id of the retired key.
    #[arg(value_parser = key_id)]
    key_id: String,
    /// Do not ask before another restored key ends.
    #[arg(short, long)]
    yes: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

pub async fn restore(command: &Restore, cluster: &Cluster) -> Result<(), PluginError> {
    let decide = |key: &ClientKey| decide(key, &command.key_id);
    let (id, object) = request(cluster, &command.key, RESTORE_ANNOTATION, command.yes, decide).await?;
    print_object(command.output, object, &format!("restoration of key {id} requested"))?;
    note(&format!(
        "To end it: kubectl annotate --namespace {} clientkey {} {RESTORE_ANNOTATION}-",
        cluster.namespace, command.key
    ));
    Ok(())
}

fn decide(key: &ClientKey, id: &str) -> Result<Request, String> {
    let name = key.name_any();
    let (active, _) = keys_of(key);
    if active == Some(id) {
        return Err(format!("key {id} is the active key of ClientKey {name}: nothing has to be restored"));
    }
    let before = key.annotations().get(RESTORE_ANNOTATION).map(String::as_str).filter(|&before| before != id);
    let question = before.map(|before| format!("Key {before} is restored by the same annotation, and would end."));
    Ok(Request { value: id.to_owned(), question })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_key_is_restored_at_a_time() {
        let key = |annotation: Option<&str>| -> ClientKey {
            let annotations = annotation.map_or(json!({}), |id| json!({RESTORE_ANNOTATION: id}));
            serde_json::from_value(json!({
                "metadata": {"name": "shop", "annotations": annotations},
                "spec": {"projectRef": {"name": "shop"}},
                "status": {"active": {"keyID": "43", "publicKeyPrefix": "1a2b3c4d", "createdAt": "2026-11-29T10:00:00Z"}},
            }))
            .unwrap()
        };
        let asked = |annotation, id: &str| decide(&key(annotation), id);
        assert_eq!(asked(None, "41"), Ok(Request { value: "41".into(), question: None }));
        assert_eq!(asked(Some("41"), "41"), Ok(Request { value: "41".into(), question: None }));
        let other = asked(Some("40"), "41").unwrap();
        assert_eq!(other.question.as_deref(), Some("Key 40 is restored by the same annotation, and would end."));
        assert!(asked(None, "43").unwrap_err().contains("active"));
    }
}
