//! The second Secret, in the form of the Service Binding specification (servicebinding.io): tools that project it into
//! workloads find it by `status.binding.name`. It stands apart, because `envFrom` would make variables of `type`, `uri`
//! and `host`, and because the type of a Secret cannot be changed.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::{Resource, ResourceExt, api::DynamicObject};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{
    KeyPass,
    plan::{Binding, Observed},
    secret::KEY_ID_ANNOTATION,
};
use crate::{
    backend::Key,
    crd::{BindingReference, ClientKey, ClientKeyStatus},
    dsn::DsnParts,
    kubernetes::names::{CLIENT_KEY_LABEL, PROJECT_LABEL},
    operator::{
        kinds::failure::{Failure, Unmet},
        objects::{
            ApplyError, EventReason, apply,
            child::{Child, ChildKind, Drift, Ownership, digest, holder, is_orphan_of, ownership, secret_data},
        },
    },
};

/// What kind of service it is: the entry `type`, and the type of the Secret behind `servicebinding.io/`.
const SERVICE: &str = "sentry";
const PROVIDER: &str = "error-tracking-operator";

/// What a pass knows ahead of the cache.
#[derive(Default)]
pub struct Seen {
    /// As the API server answered it in this pass.
    written: Option<Arc<DynamicObject>>,
    /// When it was written, by the API server's clock, if that was in this pass.
    written_at: Option<Timestamp>,
    /// Deleted in this pass.
    removed: bool,
}

/// The second Secret as it should be.
#[must_use]
pub fn desired(client_key: &ClientKey, key: &Key, dsn: &SecretString) -> Child {
    let labels = BTreeMap::from([
        (PROJECT_LABEL.into(), client_key.spec.project_ref.name.clone()),
        (CLIENT_KEY_LABEL.into(), client_key.name_any()),
    ]);
    let mut data =
        BTreeMap::from([("type", SecretString::from(SERVICE)), ("provider", PROVIDER.into()), ("uri", dsn.clone())]);
    // Every DSN that is published can be taken apart.
    if let Ok(parts) = DsnParts::of(dsn.expose_secret()) {
        let parts = [("host", parts.host()), ("port", parts.port()), ("username", parts.public_key())];
        data.extend(parts.map(|(entry, value)| (entry, value.into())));
    }
    let body = json!({"type": format!("servicebinding.io/{SERVICE}"), "data": secret_data(&data)});
    let (namespace, owner) = (client_key.namespace().unwrap_or_default(), client_key.controller_owner_ref(&()));
    Child::new(ChildKind::Secret, &namespace, &client_key.binding_name(), &labels, &owner.unwrap_or_default(), body)
        .annotated(&BTreeMap::from([(KEY_ID_ANNOTATION.into(), key.id.to_string())]))
}

/// What the status says of it, after `before`.
#[must_use]
pub fn reference(key: &ClientKey, before: &ClientKeyStatus, observed: &Observed) -> Option<BindingReference> {
    match observed.binding {
        Binding::NotAsked | Binding::Left => None,
        Binding::Asked(Drift::None) if !observed.living.is_empty() => {
            Some(BindingReference { name: key.binding_name() })
        }
        Binding::Asked(_) => before.binding.clone(),
    }
}

impl KeyPass<'_> {
    fn live_binding(&self) -> Option<Arc<DynamicObject>> {
        let name = self.key.binding_name();
        let cached = || self.context.caches.child(ChildKind::Secret, &self.namespace, &name);
        if self.binding.removed { None } else { self.binding.written.clone().or_else(cached) }
    }

    /// Reads it if the cache does not keep it.
    pub(super) async fn read_large_binding(&mut self) -> Result<(), Failure> {
        if self.binding.written.is_none() {
            self.binding.written = self.read_large(&self.key.binding_name()).await?;
        }
        Ok(())
    }

    /// Whether whoever reads the second Secret now gets the key.
    pub(super) fn binding_names(&self, key: &Key) -> bool {
        let (live, dsn) = (self.live_binding(), self.dsn(key));
        let named = live.as_ref().and_then(|live| live.data["data"]["uri"].as_str());
        named.is_some() && named == dsn.map(|dsn| digest(dsn.expose_secret().as_bytes())).as_deref()
    }

    /// Which of the object's keys the second Secret names; where there is none of ours, the one that the first does.
    pub(super) fn named_by_binding(&self, named: Option<usize>) -> Option<usize> {
        let owner = self.key.controller_owner_ref(&()).unwrap_or_default();
        let is_ours = self.live_binding().is_some_and(|live| ownership(&live, &owner) != Ownership::Foreign);
        if !self.key.spec.service_binding || !is_ours {
            return named;
        }
        self.keys.all().iter().rposition(|key| self.binding_names(key))
    }

    /// When the second Secret was written that names the key, by the API server's clock; `None`: none does.
    pub(super) async fn binding_written_at(&self, key: &Key) -> Result<Option<Timestamp>, Failure> {
        if !self.key.spec.service_binding || !self.binding_names(key) {
            return Ok(None);
        }
        if let Some(at) = self.binding.written_at {
            return Ok(Some(at));
        }
        let (client, kind) = (&self.context.client, ChildKind::Secret);
        let live = apply::read(client, kind, &self.namespace, &self.key.binding_name()).await?;
        // Whoever holds a key may have read it until now.
        Ok(Some(live.as_ref().and_then(apply::written_at).unwrap_or_else(Timestamp::now)))
    }

    /// `published`: the key and the DSN that it should hold, if they are known. `accepted`: the project takes keys.
    pub(super) fn observe_binding(&self, published: Option<&(&Key, SecretString)>, accepted: bool) -> Binding {
        let (owner, live) = (self.key.controller_owner_ref(&()).unwrap_or_default(), self.live_binding());
        if !self.key.spec.service_binding {
            // The first Secret may have the name. What is of a former object that left nothing goes with that one.
            let of_us = |live: &DynamicObject| ownership(live, &owner) == Ownership::Ours || is_orphan_of(live, &owner);
            let ours = live.is_some_and(|live| live.metadata.deletion_timestamp.is_none() && of_us(&live));
            let left = ours && self.key.binding_name() != self.key.secret_name();
            return if left { Binding::Left } else { Binding::NotAsked };
        }
        Binding::Asked(match (published, live) {
            (Some((key, dsn)), live) => self.context.children.drift(&desired(self.key, key, dsn), live),
            (None, Some(live)) => super::believed(&live, &owner, accepted),
            (None, None) => Drift::Absent,
        })
    }

    pub(super) fn binding_in_the_way(&self, observed: &Observed) -> Option<Failure> {
        let name = self.key.binding_name();
        match observed.binding {
            Binding::Asked(Drift::Foreign) => {
                let holder = self.live_binding().as_deref().and_then(holder);
                Some(Unmet::BindingName { secret: name, holder }.into())
            }
            Binding::Asked(Drift::Leaving) => Some(ApplyError::Leaving { kind: ChildKind::Secret, name }.into()),
            _ => None,
        }
    }

    pub(super) async fn publish_binding(&mut self) -> Result<(), Failure> {
        let Some(key) = self.target() else { return Ok(()) };
        let Some(dsn) = self.dsn(key) else { return Ok(()) };
        let desired = desired(self.key, key, &dsn);
        // One that nobody labelled as ours is in no cache: it is met here.
        let ensured = self.context.children.ensure(&desired).await.map_err(|error| match error {
            ApplyError::Conflict { name, holder, .. } => Unmet::BindingName { secret: name, holder }.into(),
            error => Failure::from(error),
        })?;
        self.binding = Seen { written: Some(Arc::new(ensured.live)), written_at: ensured.at, removed: false };
        if let Some(edit) = &ensured.edit {
            self.context.events.announce(self.key, EventReason::PutBack, &edit.to_string());
        } else if ensured.written {
            let note = format!("Secret {} holds the key for Service Binding.", desired.name);
            self.context.events.announce(self.key, EventReason::SecretPublished, &note);
        }
        Ok(())
    }

    pub(super) async fn delete_binding(&mut self) -> Result<(), Failure> {
        let (name, owner) = (self.key.binding_name(), self.key.controller_owner_ref(&()).unwrap_or_default());
        apply::delete_left(&self.context.client, ChildKind::Secret, &self.namespace, &name, &owner).await?;
        self.context.children.forget(&self.namespace, &name);
        self.binding = Seen { removed: true, ..Seen::default() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::admin::KeyRow;

    #[test]
    fn the_second_secret_has_the_well_known_entries_and_nothing_of_the_objects_metadata() {
        let spec = json!({
            "projectRef": {"name": "shop"}, "serviceBinding": true, "secretTemplate": {"labels": {"team": "web"}},
        });
        let mut client_key = ClientKey::new("shop", serde_json::from_value(spec).unwrap());
        client_key.metadata.namespace = Some("web".into());
        client_key.metadata.labels = Some(BTreeMap::from([("app.kubernetes.io/instance".into(), "gitops".into())]));
        let key = Key::from(KeyRow::sample(3, 7));
        let dsn = SecretString::from("https://fake@errors.example/team/7");
        let secret = desired(&client_key, &key, &dsn);
        assert_eq!(secret.name, "shop-binding");
        assert_eq!(secret.manifest["type"], "servicebinding.io/sentry");
        let expected = [
            ("type", "sentry"),
            ("provider", "error-tracking-operator"),
            ("uri", "https://fake@errors.example/team/7"),
            ("host", "errors.example"),
            ("port", "443"),
            ("username", "fake"),
        ];
        let expected = expected.map(|(entry, value)| (entry, SecretString::from(value)));
        assert_eq!(secret.manifest["data"], secret_data(&BTreeMap::from(expected)));
        let labels: Vec<_> = secret.manifest["metadata"]["labels"].as_object().unwrap().keys().collect();
        assert_eq!(
            labels,
            ["app.kubernetes.io/managed-by", "errortracking.dev/client-key", "errortracking.dev/project"]
        );
    }
}
