//! What is said of keys that have ended and are still sent with: which pods have to be restarted, or that it is none of the
//! namespace. Pure.

use std::{net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    backend::RefusedUse,
    kubernetes::holders::{PodFacts, Published},
};

/// Pods and clients that a message names.
const MOST_NAMED: usize = 5;
/// A time in a message is rounded down to so many seconds: each change of it is a write.
const ROUNDED_TO: i64 = 600;

/// Everything that says who a sender is.
pub struct Senders<'a> {
    /// Of the Secret's namespace; `None`: they cannot be listed.
    pub pods: Option<&'a [PodFacts]>,
    /// Of which any may have given the key to a pod.
    pub secrets: &'a [String],
    /// When the Secret was written that names the key of now: a pod that has read it since is no such sender.
    pub published: Option<Timestamp>,
    pub now: Timestamp,
}

/// The sentence about the keys that were refused in the last hour.
#[must_use]
pub fn describe(uses: &[RefusedUse], senders: &Senders<'_>) -> String {
    let mut sentences = Vec::new();
    for used in uses.iter().take(MOST_NAMED) {
        let at = senders.now.checked_sub(signed(used.last_age)).unwrap_or(senders.now);
        let at = at.as_second() - at.as_second().rem_euclid(ROUNDED_TO);
        let at = Timestamp::from_second(at).unwrap_or(senders.now);
        let names = senders.pods_that_sent(used);
        let who = if names.is_empty() {
            let client = used.sentry_client.as_ref().map(|client| format!(" ({client})")).unwrap_or_default();
            format!(
                "by senders that are no pods of this namespace{client}: give them the key of now, or take it back with \
                 the annotation errortracking.dev/restore={}",
                used.key_id
            )
        } else {
            let more = if names.len() > MOST_NAMED { " and others" } else { "" };
            format!("by {}{more}: restart them", names[..names.len().min(MOST_NAMED)].join(", "))
        };
        sentences.push(format!(
            "Key {}… is refused, and events are still sent with it, last after {at}, {who}.",
            used.public_key_prefix
        ));
    }
    sentences.join(" ")
}

impl Senders<'_> {
    fn pods_that_sent(&self, used: &RefusedUse) -> Vec<String> {
        let pods = self.pods.unwrap_or_default();
        let sent = |pod: &&PodFacts| {
            let by_address = used.addresses.iter().any(|from| {
                let at = self.now.checked_sub(signed(from.last_age)).unwrap_or(self.now);
                is_alone_with(pods, pod, &from.address) && pod.created < at
            });
            let by_name = used.server_name.as_deref() == Some(&*pod.name);
            !pod.host_network && self.may_have_it(pod) && (by_address || by_name)
        };
        let mut names: Vec<_> = pods.iter().filter(sent).map(|pod| format!("pod {}", pod.name)).collect();
        names.sort();
        names
    }

    fn may_have_it(&self, pod: &PodFacts) -> bool {
        let published = self.published.map(|at| Published { at, minimum_is_over: true });
        self.secrets.iter().any(|secret| {
            let held = |published| pod.holds_former_key(secret, &published);
            pod.refers_to(secret) && published.is_none_or(held)
        })
    }
}

/// An address goes from one pod to the next, and pods on the node's network share one.
fn is_alone_with(pods: &[PodFacts], pod: &PodFacts, address: &IpAddr) -> bool {
    pod.addresses.contains(address)
        && pods.iter().all(|other| other.uid == pod.uid || !other.addresses.contains(address))
}

/// The age, in the arithmetic of timestamps.
pub fn signed(age: Duration) -> SignedDuration {
    SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::backend::RefusedAddress;

    const NOW: i64 = 100_000;

    fn pod(name: &str, created: i64, address: &str, secret: &str, host_network: bool) -> PodFacts {
        let created = Timestamp::from_second(created).unwrap().to_string();
        let container = json!({"name": "app", "envFrom": [{"secretRef": {"name": secret}}]});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": created},
            "spec": {"hostNetwork": host_network, "containers": [container]},
            "status": {"phase": "Running", "podIPs": [{"ip": address}]},
        }))
        .unwrap();
        PodFacts::of(&pod)
    }

    fn used(address: &str, ago: u64, server_name: Option<&str>) -> RefusedUse {
        let last_age = Duration::from_secs(ago);
        RefusedUse {
            key_id: 7,
            public_key_prefix: "abababab".into(),
            last_age,
            events: 3,
            sentry_client: Some("sentry.python/2.75.0".into()),
            server_name: server_name.map(str::to_owned),
            addresses: vec![RefusedAddress { address: address.parse().unwrap(), last_age }],
        }
    }

    #[test]
    fn only_a_pod_that_can_have_the_key_is_named() {
        let (old, new) = (50_000, 95_000);
        let shop = || pod("shop-1", old, "10.0.0.1", "shop-dsn", false);
        for (case, pods, used, names) in [
            ("its address", vec![shop()], used("10.0.0.1", 60, None), vec!["pod shop-1"]),
            ("its name", vec![shop()], used("10.9.9.9", 60, Some("shop-1")), vec!["pod shop-1"]),
            ("behind an ingress", vec![shop()], used("10.9.9.9", 60, None), vec![]),
            ("another name", vec![shop()], used("10.9.9.9", 60, Some("laptop")), vec![]),
            (
                "of another Secret",
                vec![pod("blog-1", old, "10.0.0.1", "blog-dsn", false)],
                used("10.0.0.1", 60, Some("blog-1")),
                vec![],
            ),
            (
                "on the node's network",
                vec![pod("shop-1", old, "10.0.0.1", "shop-dsn", true)],
                used("10.0.0.1", 60, Some("shop-1")),
                vec![],
            ),
            (
                "the address is another pod's as well",
                vec![shop(), pod("node-agent", old, "10.0.0.1", "other", true)],
                used("10.0.0.1", 60, None),
                vec![],
            ),
            (
                "the address was reused",
                vec![pod("shop-2", new, "10.0.0.1", "shop-dsn", false)],
                used("10.0.0.1", 6_000, None),
                vec![],
            ),
            (
                "it has read the key of now",
                vec![pod("shop-2", new, "10.0.0.1", "shop-dsn", false)],
                used("10.0.0.1", 60, Some("shop-2")),
                vec![],
            ),
        ] {
            let senders = Senders {
                pods: Some(&pods),
                secrets: &["shop-dsn".into(), "shop-binding".into()],
                published: Some(Timestamp::from_second(80_000).unwrap()),
                now: Timestamp::from_second(NOW).unwrap(),
            };
            assert_eq!(senders.pods_that_sent(&used), names, "{case}");
            let message = describe(std::slice::from_ref(&used), &senders);
            assert!(!message.contains("10."), "an address is nobody's business: {message}");
            let stranger = "by senders that are no pods of this namespace (sentry.python/2.75.0)";
            assert_eq!(message.contains(stranger), names.is_empty(), "{case}: {message}");
        }
    }
}
