//! What the installation lets the users of a namespace have. A limit lets the oldest objects in. Pure.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;

use crate::{
    crd::Ingest,
    operator::{cluster::cache::Summary, engine::queue::ObjectName},
};

/// Guards that the platform team sets; by default there is none here but the number of rollouts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Projects that a namespace may have; absent: any number.
    #[arg(long = "max-projects-per-namespace", env = "ERROR_TRACKING_MAX_PROJECTS_PER_NAMESPACE")]
    pub projects_per_namespace: Option<u32>,
    /// Client keys that a namespace may have; absent: any number.
    #[arg(long = "max-keys-per-namespace", env = "ERROR_TRACKING_MAX_KEYS_PER_NAMESPACE")]
    pub keys_per_namespace: Option<u32>,
    /// Ingest pods that the projects of a namespace may have together in the operator's own database: each holds up to
    /// three of its connections, twice as many in a rollout. Absent: any number.
    #[arg(long = "max-ingest-pods-per-namespace", env = "ERROR_TRACKING_MAX_INGEST_PODS_PER_NAMESPACE")]
    pub ingest_pods_per_namespace: Option<u32>,
    /// Projects whose ingest pods are taken to a new version at the same time.
    #[arg(long = "max-rollouts", env = "ERROR_TRACKING_MAX_ROLLOUTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rollouts: u32,
}

/// Keys of labels and annotations that controllers act upon: a project has the operator write them on an Ingress and on
/// pods, which its author need not have the right to make.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AllowedKeys {
    /// Prefix that the keys of a project's ingress annotations and of its pods' labels and annotations may have: the part
    /// before the slash, `*.suffix` for every prefix below it, or `*` for all. A key without a prefix is its user's own.
    #[arg(
        long = "allowed-key-prefix",
        env = "ERROR_TRACKING_ALLOWED_KEY_PREFIXES",
        value_delimiter = ',',
        default_value = "app.kubernetes.io,cert-manager.io,prometheus.io"
    )]
    pub allowed_key_prefixes: Vec<String>,
}

impl AllowedKeys {
    #[must_use]
    pub fn allows(&self, key: &str) -> bool {
        let Some((prefix, _)) = key.split_once('/') else { return true };
        self.allowed_key_prefixes.iter().any(|allowed| match allowed.strip_prefix('*') {
            // Of a prefix below, not of the suffix itself.
            Some(suffix) => suffix.is_empty() || (suffix.starts_with('.') && prefix.ends_with(suffix)),
            None => !prefix.is_empty() && prefix == allowed,
        })
    }

    /// Takes out what is not allowed; the sentence that names the first key of it, with the cure.
    pub fn enforce(&self, ingest: &mut Ingest) -> Option<String> {
        let ingress = ingest.ingress.as_mut().map(|route| ("ingress.annotations", &mut route.annotations));
        let pods = ingest.pod_template.as_mut().and_then(|template| template.metadata.as_mut());
        let pods = pods.into_iter().flat_map(|of| {
            [("podTemplate.metadata.labels", &mut of.labels), ("podTemplate.metadata.annotations", &mut of.annotations)]
        });
        let mut refused = None;
        for (field, keys) in ingress.into_iter().chain(pods) {
            refused = refused.or(self.first_refused(keys).map(|key| refusal(field, key)));
            keys.retain(|key, _| self.allows(key));
        }
        refused
    }

    fn first_refused<'a>(&self, keys: &'a BTreeMap<String, String>) -> Option<&'a str> {
        keys.keys().map(String::as_str).find(|key| !self.allows(key))
    }
}

/// The admission policy of the chart says the same.
fn refusal(field: &str, key: &str) -> String {
    format!(
        "spec.backend.integrated.ingest.{field} has the key {key}, whose prefix this installation does not allow: take it \
         out, or ask the platform team to add the prefix to guards.allowedKeyPrefixes. It is left out meanwhile, and \
         everything else is followed."
    )
}

/// Whether the object is past the limit of its namespace: `all` are the objects of its kind, in any namespace. Those
/// that are being deleted make room.
#[must_use]
pub fn exceeded<'a, 'b>(
    object: &ObjectMeta,
    all: impl Iterator<Item = (&'a ObjectName, &'b Summary)>,
    limit: u32,
) -> bool {
    let (namespace, name) =
        (object.namespace.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    let created = object.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let older = all
        .filter(|(other, summary)| *other.namespace == *namespace && !summary.deleting)
        .filter(|(other, summary)| (summary.created, &*other.name) < (created, name))
        .take(limit as usize)
        .count();
    older >= limit as usize
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn object(namespace: &str, name: &str, created: i64) -> (ObjectName, Summary) {
        (ObjectName::new(namespace, name), Summary { created, ..Summary::default() })
    }

    #[test]
    fn a_key_is_allowed_by_its_prefix_or_without_one() {
        let allowed = |list: &[&str]| AllowedKeys { allowed_key_prefixes: list.iter().map(|&of| of.into()).collect() };
        let some = allowed(&["prometheus.io", "*.example.com"]);
        for (key, allows) in [
            ("team", true),
            ("prometheus.io/scrape", true),
            ("a.b.example.com/x", true),
            ("example.com/x", false),
            ("badexample.com/x", false),
            ("sub.prometheus.io/x", false),
            ("sidecar.istio.io/inject", false),
            ("/x", false),
            ("prometheus.io", true),
        ] {
            assert_eq!(some.allows(key), allows, "{key}");
        }
        assert!(allowed(&["*"]).allows("sidecar.istio.io/inject"));
        assert!(!allowed(&[""]).allows("/x") && !allowed(&[]).allows("a.b/c"));
    }

    #[test]
    fn what_is_not_allowed_is_left_out_and_the_first_is_named() {
        let mut ingest: Ingest = serde_json::from_value(serde_json::json!({
            "ingress": {"host": "e.example", "annotations": {"note": "x", "nginx.org/server-snippets": "return 200;"}},
            "podTemplate": {"metadata": {
                "labels": {"team": "web", "linkerd.io/inject": "enabled"},
                "annotations": {"prometheus.io/scrape": "true", "sidecar.istio.io/inject": "true"},
            }},
        }))
        .unwrap();
        let keys = AllowedKeys { allowed_key_prefixes: vec!["prometheus.io".into()] };
        let refused = keys.enforce(&mut ingest).unwrap();
        assert!(refused.contains("ingest.ingress.annotations has the key nginx.org/server-snippets"), "{refused}");
        let left = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(left(&ingest.ingress.as_ref().unwrap().annotations), ["note"]);
        let pods = ingest.pod_template.as_ref().unwrap().metadata.as_ref().unwrap();
        assert_eq!(
            (left(&pods.labels), left(&pods.annotations)),
            (vec!["team".into()], vec!["prometheus.io/scrape".into()])
        );
        assert_eq!(keys.enforce(&mut ingest), None);
    }

    #[test]
    fn the_oldest_of_a_namespace_are_let_in_and_names_decide_between_equals() {
        let mut leaving = object("web", "leaving", 1);
        leaving.1.deleting = true;
        let all =
            [leaving, object("web", "b", 2), object("web", "a", 2), object("web", "c", 3), object("other", "d", 1)];
        let exceeded = |namespace: &str, name: &str, limit| {
            let (own, summary) = all.iter().find(|(of, _)| *of == ObjectName::new(namespace, name)).unwrap();
            let object = ObjectMeta {
                namespace: Some(own.namespace.to_string()),
                name: Some(own.name.to_string()),
                creation_timestamp: Some(Time(Timestamp::from_second(summary.created).unwrap())),
                ..ObjectMeta::default()
            };
            super::exceeded(&object, all.iter().map(|(name, summary)| (name, summary)), limit)
        };
        for (name, limit, past) in
            [("a", 1, false), ("b", 1, true), ("b", 2, false), ("c", 2, true), ("c", 3, false), ("a", 0, true)]
        {
            assert_eq!(exceeded("web", name, limit), past, "{name} of at most {limit}");
        }
        assert!(!exceeded("other", "d", 1), "other namespaces do not count");
    }
}
