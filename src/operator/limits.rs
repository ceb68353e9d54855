//! Which objects of a namespace its limit lets in: the oldest. Pure.

use kube::api::ObjectMeta;

/// Whether the object is past the limit of its namespace: `all` are the objects of its kind, in any namespace. Those
/// that are being deleted make room.
#[must_use]
pub fn exceeded<'a>(object: &ObjectMeta, all: impl Iterator<Item = &'a ObjectMeta>, limit: u32) -> bool {
    let rank = |object: &ObjectMeta| (object.creation_timestamp.as_ref().map(|time| time.0), object.name.clone());
    let own = rank(object);
    let older = all
        .filter(|other| other.namespace == object.namespace && other.deletion_timestamp.is_none())
        .filter(|other| rank(other) < own)
        .take(limit as usize)
        .count();
    older >= limit as usize
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn object(namespace: &str, name: &str, created: i64) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            creation_timestamp: Some(Time(Timestamp::from_second(created).unwrap())),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn the_oldest_of_a_namespace_are_let_in_and_names_decide_between_equals() {
        let leaving = ObjectMeta {
            deletion_timestamp: Some(Time(Timestamp::from_second(9).unwrap())),
            ..object("web", "leaving", 1)
        };
        let all =
            [leaving, object("web", "b", 2), object("web", "a", 2), object("web", "c", 3), object("other", "d", 1)];
        for (name, limit, past) in
            [("a", 1, false), ("b", 1, true), ("b", 2, false), ("c", 2, true), ("c", 3, false), ("a", 0, true)]
        {
            let own = all.iter().find(|object| object.name.as_deref() == Some(name)).unwrap();
            assert_eq!(exceeded(own, all.iter(), limit), past, "{name} of at most {limit}");
        }
        assert!(!exceeded(&all[4], all.iter(), 1), "other namespaces do not count");
    }
}
