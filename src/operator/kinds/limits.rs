//! What the installation lets the users of a namespace have. A limit lets the oldest objects in. Pure.

use kube::api::ObjectMeta;

use crate::operator::{cluster::cache::Summary, engine::queue::ObjectName};

/// Guards that the platform team sets; by default there is none but the number of rollouts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Projects that a namespace may have; absent: any number.
    #[arg(long = "max-projects-per-namespace", env = "ERROR_TRACKING_MAX_PROJECTS_PER_NAMESPACE")]
    pub projects_per_namespace: Option<u32>,
    /// Client keys that a namespace may have; absent: any number.
    #[arg(long = "max-keys-per-namespace", env = "ERROR_TRACKING_MAX_KEYS_PER_NAMESPACE")]
    pub keys_per_namespace: Option<u32>,
    /// Projects whose ingest pods are taken to a new version at the same time.
    #[arg(long = "max-rollouts", env = "ERROR_TRACKING_MAX_ROLLOUTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rollouts: u32,
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
