//! What a key can ask of a project that another server keeps.

use super::{KeyPass, plan::Observed};
use crate::{
    backend::Backend,
    crd::{ClientKey, Endpoint, ErrorTrackingProject, Holders, ServerKind},
    operator::{
        engine::queue::ObjectName,
        kinds::failure::{Failure, Unmet},
    },
};

/// For fields that say what is so anyway, or ask for nothing, nobody has to do anything.
const TAKE_OUT: &str = "take it out of the spec";

impl KeyPass<'_> {
    /// What the spec asks for and the server has nothing for.
    pub(super) fn unmet_at_server(&self, observed: &Observed) -> Option<Unmet> {
        // Nearly every key is in the operator's own store: its project need not be read for this.
        if !self.context.caches.is_elsewhere(&self.project_object()) {
            return None;
        }
        let project = self.project();
        let server = project.as_ref()?.0.as_ref().ok()?.server()?.kind();
        let unmet = unsupported(self.key, server).or_else(|| no_maximum(self.key, server));
        let limit_refused = observed.rate_limit.is_some() && self.keys.living().any(|key| key.limit_refused);
        unmet.or_else(|| limit_refused.then_some(Unmet::RateLimit { server: server.as_str() }))
    }

    /// A project that goes takes back the keys that the ledger has then: one that was made after that ends here.
    pub(super) async fn end_if_project_goes(&self, backend: &Backend) -> Result<(), Failure> {
        if backend.server().is_none() {
            return Ok(());
        }
        let goes = match self.project() {
            None => true,
            Some(project) => project.0.as_ref().is_ok_and(|project| project.metadata.deletion_timestamp.is_some()),
        };
        if !goes {
            return Ok(());
        }
        backend.revoke_keys_of(&self.uid).await?;
        Ok(backend.settle(&self.uid).await?)
    }

    pub(super) fn wake_project(&self) {
        self.context.caches.wake::<ErrorTrackingProject>(&self.project_object());
    }

    fn project_object(&self) -> ObjectName {
        ObjectName::new(self.key.project_namespace(), &self.key.spec.project_ref.name)
    }

    /// Whether those who hold the key are seen: where another server receives, only if the spec says so.
    pub(super) fn holders_seen(&self) -> bool {
        self.key.holders(self.keys.are_elsewhere()) == Holders::Visible
    }
}

fn unsupported(key: &ClientKey, server: ServerKind) -> Option<Unmet> {
    let extra = key.spec.extra_keys.clone().unwrap_or_default();
    if server == ServerKind::Sentry {
        return None;
    }
    let (field, cure) = if !key.spec.enabled {
        ("spec.enabled: false", "delete this ClientKey, or revoke its key, and the key is deleted there")
    } else if key.spec.rate_limit.is_some() {
        ("spec.rateLimit", TAKE_OUT)
    } else if extra.security_endpoint {
        ("spec.extraKeys.securityEndpoint", TAKE_OUT)
    } else if extra.deprecated_dsn {
        ("spec.extraKeys.deprecatedDSN", TAKE_OUT)
    } else if key.spec.endpoint == Endpoint::External {
        ("spec.endpoint: External", "the DSN is GitLab's own, take endpoint out of the spec")
    } else {
        return None;
    };
    Some(Unmet::NotSupported { field, server: server.as_str(), cure })
}

fn no_maximum(key: &ClientKey, server: ServerKind) -> Option<Unmet> {
    let rotation = key.spec.rotation.as_ref()?;
    let ends = rotation.overlap.as_ref().is_some_and(|overlap| overlap.maximum.is_some());
    (rotation.interval.is_some() && !ends).then_some(Unmet::NoMaximum { server: server.as_str() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_has_nothing_for_is_named() {
        for (spec, gitlab) in [
            (json!({}), None),
            (json!({"extraKeys": {"environment": "production"}}), None),
            (json!({"enabled": false}), Some("spec.enabled: false")),
            (json!({"rateLimit": {"events": 10, "window": "60s"}}), Some("spec.rateLimit")),
            (json!({"extraKeys": {"securityEndpoint": true}}), Some("spec.extraKeys.securityEndpoint")),
            (json!({"extraKeys": {"deprecatedDSN": true}}), Some("spec.extraKeys.deprecatedDSN")),
            (json!({"endpoint": "External"}), Some("spec.endpoint: External")),
        ] {
            let mut with_project = spec.clone();
            with_project["projectRef"] = json!({"name": "shop"});
            let key = ClientKey::new("shop", serde_json::from_value(with_project).unwrap());
            let field = |server| match unsupported(&key, server) {
                Some(Unmet::NotSupported { field, .. }) => Some(field),
                _ => None,
            };
            assert_eq!(field(ServerKind::Gitlab), gitlab, "{spec}");
            assert_eq!(field(ServerKind::Sentry), None, "{spec}");
        }
    }

    #[test]
    fn an_interval_needs_an_end_of_the_overlap() {
        for (rotation, missing) in [
            (json!({}), false),
            (json!({"interval": "2160h"}), true),
            (json!({"interval": "2160h", "overlap": {"minimum": "1h"}}), true),
            (json!({"interval": "2160h", "overlap": {"maximum": "720h"}}), false),
            (json!({"overlap": {"minimum": "1h"}}), false),
        ] {
            let spec = json!({"projectRef": {"name": "shop"}, "rotation": rotation});
            let key = ClientKey::new("shop", serde_json::from_value(spec).unwrap());
            assert_eq!(no_maximum(&key, ServerKind::Sentry).is_some(), missing, "{rotation}");
        }
    }
}
