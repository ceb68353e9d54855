//! The Secret that an application takes by `envFrom`. Pure.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{
    backend::Key,
    crd::{ClientKey, ExtraKeys},
    dsn::DsnParts,
    kubernetes::names::{CLIENT_KEY_LABEL, DEPRECATED_DSN_ENTRY, DSN_ENTRY, PROJECT_LABEL},
    operator::objects::child::{Child, ChildKind, secret_data},
};

pub const KEY_ID_ANNOTATION: &str = "errortracking.dev/key-id";
const ROTATED_AT_ANNOTATION: &str = "errortracking.dev/rotated-at";
/// The public key before this one, while it is accepted: after a restore of an older database it is put back as well.
pub const RETIRING_KEY_ANNOTATION: &str = "errortracking.dev/retiring-key";

/// Holds `SENTRY_DSN` and what `extraKeys` asks for, so that `envFrom` is clean. Labels and annotations of the template come
/// first: ours win. The object's own are never copied: a GitOps tool would take the Secret for one of its objects.
///
/// `secret_key` is that of the deprecated DSN; without it, that one is left out.
#[must_use]
pub fn desired(
    client_key: &ClientKey,
    key: &Key,
    former: Option<&Key>,
    dsn: SecretString,
    secret_key: Option<&SecretString>,
) -> Child {
    let template = client_key.spec.secret_template.clone().unwrap_or_default();
    let mut labels = template.labels;
    labels.insert(PROJECT_LABEL.into(), client_key.spec.project_ref.name.clone());
    labels.insert(CLIENT_KEY_LABEL.into(), client_key.name_any());
    let mut annotations = template.annotations;
    annotations.insert(KEY_ID_ANNOTATION.into(), key.id.to_string());
    annotations.insert(ROTATED_AT_ANNOTATION.into(), format!("{:.0}", key.created_at));
    annotations.remove(RETIRING_KEY_ANNOTATION);
    if let Some(former) = former {
        annotations.insert(RETIRING_KEY_ANNOTATION.into(), former.public_key.as_str().into());
    }
    let owner = client_key.controller_owner_ref(&()).unwrap_or_default();
    let data = secret_data(&data(client_key.spec.extra_keys.clone().unwrap_or_default(), dsn, secret_key));
    let body = json!({"type": "Opaque", "data": data});
    Child::new(
        ChildKind::Secret,
        &client_key.namespace().unwrap_or_default(),
        &client_key.secret_name(),
        &labels,
        &owner,
        body,
    )
    .annotated(&annotations)
}

fn data(
    extra: ExtraKeys,
    dsn: SecretString,
    secret_key: Option<&SecretString>,
) -> BTreeMap<&'static str, SecretString> {
    let ExtraKeys { environment, release, deprecated_dsn, security_endpoint } = extra;
    // Every DSN that is published can be taken apart.
    let parts = DsnParts::of(dsn.expose_secret()).ok();
    let deprecated = parts.as_ref().zip(secret_key.filter(|_| deprecated_dsn));
    let deprecated = deprecated.map(|(parts, secret)| parts.deprecated(secret.expose_secret()));
    let security = parts.as_ref().filter(|_| security_endpoint).map(DsnParts::security_endpoint);
    let extra = [
        ("SENTRY_ENVIRONMENT", environment),
        ("SENTRY_RELEASE", release),
        (DEPRECATED_DSN_ENTRY, deprecated),
        ("SENTRY_SECURITY_ENDPOINT", security),
    ];
    let mut data: BTreeMap<_, SecretString> =
        extra.into_iter().filter_map(|(key, value)| Some((key, value?.into()))).collect();
    data.insert(DSN_ENTRY, dsn);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crd::{ClientKeySpec, ProjectRef, SecretTemplate},
        dsn::PublicKey,
        store::admin::KeyRow,
    };

    fn key() -> Key {
        KeyRow::sample(3, 7).into()
    }

    #[test]
    fn the_secret_holds_the_dsn_alone_and_our_labels_win() {
        let template = SecretTemplate {
            labels: BTreeMap::from([("team".into(), "web".into()), (CLIENT_KEY_LABEL.into(), "other".into())]),
            ..SecretTemplate::default()
        };
        let mut client_key = ClientKey::new(
            "shop",
            ClientKeySpec {
                project_ref: ProjectRef { name: "shop".into(), namespace: None },
                secret_template: Some(template),
                ..ClientKeySpec::default()
            },
        );
        client_key.metadata.namespace = Some("web".into());
        client_key.metadata.uid = Some("u1".into());
        client_key.metadata.labels = Some(BTreeMap::from([("app.kubernetes.io/instance".into(), "gitops".into())]));
        let secret = desired(&client_key, &key(), None, "http://fake@shop-ingest.web.svc/7".into(), Some(&"5e".into()));

        assert_eq!(secret.name, "shop-dsn");
        let data = secret.manifest["data"].as_object().unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["SENTRY_DSN"]);
        let metadata = &secret.manifest["metadata"];
        assert_eq!(metadata["labels"]["team"], "web");
        assert_eq!(metadata["labels"][CLIENT_KEY_LABEL], "shop");
        assert!(metadata["labels"].get("app.kubernetes.io/instance").is_none());
        assert_eq!(metadata["annotations"][KEY_ID_ANNOTATION], "3");
        assert_eq!(metadata["annotations"][ROTATED_AT_ANNOTATION], "1970-01-01T00:00:00Z");
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u1");
    }

    #[test]
    fn each_extra_key_is_in_the_secret_when_it_is_asked_for() {
        let dsn = "https://fake@errors.example/7";
        for (extra_keys, more) in [
            (json!({}), vec![]),
            (json!({"environment": "production"}), vec![("SENTRY_ENVIRONMENT", "production")]),
            (json!({"release": "shop@1.4"}), vec![("SENTRY_RELEASE", "shop@1.4")]),
            (json!({"deprecatedDSN": false, "securityEndpoint": false}), vec![]),
            (json!({"deprecatedDSN": true}), vec![("SENTRY_DSN_DEPRECATED", "https://fake:5e@errors.example/7")]),
            (
                json!({"securityEndpoint": true}),
                vec![("SENTRY_SECURITY_ENDPOINT", "https://errors.example/api/7/security/?sentry_key=fake")],
            ),
        ] {
            let spec = json!({"projectRef": {"name": "shop"}, "extraKeys": extra_keys});
            let client_key = ClientKey::new("shop", serde_json::from_value(spec).unwrap());
            let secret = desired(&client_key, &key(), None, dsn.into(), Some(&"5e".into()));
            let mut expected = BTreeMap::from([("SENTRY_DSN", SecretString::from(dsn))]);
            expected.extend(more.into_iter().map(|(key, value)| (key, SecretString::from(value))));
            assert_eq!(secret.manifest["data"], secret_data(&expected), "{extra_keys}");
        }
    }

    #[test]
    fn the_key_before_is_remembered_in_an_annotation() {
        let client_key = ClientKey::new("shop", ClientKeySpec::default());
        let former = Key { public_key: PublicKey::from_random([0xcd; 16]), ..key() };
        let annotations = |former| {
            let secret = desired(&client_key, &key(), former, "http://fake@shop-ingest.web.svc/7".into(), None);
            secret.manifest["metadata"]["annotations"][RETIRING_KEY_ANNOTATION].clone()
        };
        assert_eq!(annotations(Some(&former)), "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd");
        assert!(annotations(None).is_null());
    }
}
