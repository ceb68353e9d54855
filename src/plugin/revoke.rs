//! Asks for the end of a key, as of one that leaked.

use kube::ResourceExt as _;

use super::{
    PluginError,
    annotations::{Request, keys_of, request},
    cluster::{Cluster, key_id, name},
    output::{Output, print_object},
};
use crate::crd::{ClientKey, REVOKE_ANNOTATION};

/// Refuse a key for good, within seconds, whoever holds it: for one that leaked.
///
/// Sets the annotation errortracking.dev/revoke. An active key gets a successor in the Secret first; events that
/// applications send with the revoked one, until they have restarted, are lost.
#[derive(Clone, Debug, clap::Args)]
pub struct Revoke {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
    /// Id of the key; that of the retiring one when absent. `kubectl errors keys` has them.
    #[arg(value_parser = key_id)]
    key_id: Option<String>,
    /// Do not ask before the active key is revoked.
    #[arg(short, long)]
    yes: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

pub async fn revoke(command: &Revoke, cluster: &Cluster) -> Result<(), PluginError> {
    let asked = command.key_id.as_deref();
    let (id, object) = request(cluster, &command.key, REVOKE_ANNOTATION, command.yes, |key| decide(key, asked)).await?;
    print_object(command.output, object, &format!("revocation of key {id} requested"))
}

fn decide(key: &ClientKey, asked: Option<&str>) -> Result<Request, String> {
    let name = key.name_any();
    let (active, retiring) = keys_of(key);
    let Some(id) = asked.or(retiring) else {
        let active =
            active.map_or(String::new(), |id| format!(" Its active one is `kubectl errors revoke {name} {id}`."));
        return Err(format!("ClientKey {name} has no retiring key: say which one is to be revoked.{active}"));
    };
    let before = key.annotations().get(REVOKE_ANNOTATION).map(String::as_str).filter(|&before| before != id);
    if let Some(before) = before.filter(|before| [active, retiring].contains(&Some(before))) {
        return Err(format!("key {before} is still to be revoked: try again when that is done"));
    }
    let question = (Some(id) == active).then(|| {
        format!(
            "Key {id} is the active key of ClientKey {name}: until they restart, its applications lose their events."
        )
    });
    Ok(Request { value: id.to_owned(), question })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(active: Option<&str>, retiring: Option<&str>, annotation: Option<&str>) -> ClientKey {
        let mut key = json!({"metadata": {"name": "shop"}, "spec": {"projectRef": {"name": "shop"}}, "status": {}});
        let named = |id: &str| json!({"keyID": id, "publicKeyPrefix": "1a2b3c4d", "createdAt": "2026-11-29T10:00:00Z", "since": "2026-11-29T10:00:00Z"});
        if let Some(id) = active {
            key["status"]["active"] = named(id);
        }
        if let Some(id) = retiring {
            key["status"]["retiring"] = named(id);
        }
        if let Some(id) = annotation {
            key["metadata"]["annotations"] = json!({REVOKE_ANNOTATION: id});
        }
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn the_retiring_key_is_meant_and_the_active_one_is_asked_about() {
        for (active, retiring, annotation, asked, id, asks, refusal) in [
            (Some("43"), Some("42"), None, None, "42", false, ""),
            (Some("43"), Some("42"), None, Some("43"), "43", true, ""),
            (Some("43"), None, None, Some("17"), "17", false, ""),
            (Some("43"), None, None, None, "", false, "Its active one is `kubectl errors revoke shop 43`"),
            (None, None, None, None, "", false, "no retiring key"),
            // Done already, asked for again, and not done yet.
            (Some("43"), Some("42"), Some("41"), None, "42", false, ""),
            (Some("43"), Some("42"), Some("42"), None, "42", false, ""),
            (Some("43"), Some("42"), Some("43"), None, "", false, "key 43 is still to be revoked"),
        ] {
            let decided = decide(&key(active, retiring, annotation), asked);
            if refusal.is_empty() {
                let request = decided.unwrap();
                assert_eq!((request.value.as_str(), request.question.is_some()), (id, asks), "{asked:?}");
            } else {
                let said = decided.unwrap_err();
                assert!(said.contains(refusal), "{said}");
            }
        }
    }
}
