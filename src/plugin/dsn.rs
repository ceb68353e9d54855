//! Prints the DSN of a key.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::{
    PluginError,
    cluster::{Cluster, name},
    keys::{condition, conditions},
    output::print,
};
use crate::{
    crd::{ClientKey, ConditionType},
    kubernetes::names::CLIENT_KEY_LABEL,
};

/// Print the DSN of a key. Whoever has it can send events to the project, and read none: keep it out of logs and tickets.
///
/// It is read from the Secret that the operator wrote, so it needs the right to get Secrets of the namespace.
#[derive(Clone, Debug, clap::Args)]
pub struct Dsn {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
}

pub async fn dsn(command: &Dsn, cluster: &Cluster) -> Result<(), PluginError> {
    let key = cluster.key(&command.key).await?.key;
    let secret_name = secret_of(&key).map_err(PluginError::Refused)?;
    let object = cluster.object::<Secret>(secret_name).await?;
    let unreadable = |_| PluginError::Refused(format!("Secret {secret_name} cannot be read"));
    let secret: Secret = object.try_parse().map_err(unreadable)?;
    let dsn = dsn_in(&secret, &command.key).map_err(PluginError::Refused)?;
    print(&format!("{dsn}\n"))
}

/// Name of the Secret that was written for the key.
fn secret_of(key: &ClientKey) -> Result<&str, String> {
    let written = key.status.as_ref().and_then(|status| status.secret_name.as_deref());
    written.ok_or_else(|| {
        let name = key.name_any();
        let why = condition(conditions(key), ConditionType::Ready).map(|ready| ready.message.as_str());
        format!("ClientKey {name} has no Secret yet: {}", why.unwrap_or("the operator has not seen it"))
    })
}

fn dsn_in(secret: &Secret, key: &str) -> Result<String, String> {
    let name = secret.name_any();
    if secret.labels().get(CLIENT_KEY_LABEL).is_none_or(|owner| owner != key) {
        return Err(format!("Secret {name} is not that of ClientKey {key}: look at `kubectl errors status`"));
    }
    let dsn = secret.data.as_ref().and_then(|data| data.get("SENTRY_DSN"));
    let dsn = dsn.and_then(|value| String::from_utf8(value.0.clone()).ok());
    dsn.ok_or_else(|| format!("Secret {name} holds no SENTRY_DSN; the operator puts it back within seconds"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn only_the_secret_of_the_key_is_printed() {
        let secret = |owner: &str, entry: &str| Secret {
            metadata: kube::api::ObjectMeta {
                name: Some("shop-dsn".into()),
                labels: Some([(CLIENT_KEY_LABEL.to_owned(), owner.to_owned())].into()),
                ..Default::default()
            },
            data: Some([(entry.to_owned(), ByteString(b"http://fa@shop/1".to_vec()))].into()),
            ..Secret::default()
        };
        assert_eq!(dsn_in(&secret("shop", "SENTRY_DSN"), "shop").as_deref(), Ok("http://fa@shop/1"));
        assert!(dsn_in(&secret("other", "SENTRY_DSN"), "shop").is_err());
        assert!(dsn_in(&secret("shop", "password"), "shop").is_err());
        assert!(dsn_in(&Secret::default(), "shop").is_err());
    }

    #[test]
    fn a_key_without_a_secret_says_why() {
        let mut key: ClientKey = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "shop"}, "spec": {"projectRef": {"name": "shop"}},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "SecretConflict",
                "message": "Secret shop-dsn is not ours", "lastTransitionTime": "2026-11-29T10:00:00Z"}]},
        }))
        .unwrap();
        let refused = secret_of(&key).unwrap_err();
        assert_eq!(refused, "ClientKey shop has no Secret yet: Secret shop-dsn is not ours");
        key.status = None;
        assert!(secret_of(&key).unwrap_err().contains("the operator has not seen it"));
        key.status = Some(crate::crd::ClientKeyStatus { secret_name: Some("shop-dsn".into()), ..Default::default() });
        assert_eq!(secret_of(&key), Ok("shop-dsn"));
    }
}
