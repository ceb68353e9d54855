//! What the leader tells of keys: since when one goes on beside the next. There is a series for each such key and for no
//! other, made anew for each scrape.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::operator::cluster::cache::Cache;

/// Clones share everything.
#[derive(Clone)]
pub struct KeyMetrics(Arc<Shared>);

struct Shared {
    overlap_since: IntGaugeVec,
    /// The keys; `None`: another process leads.
    led: Mutex<Option<Arc<Cache>>>,
}

/// Ends the series of all keys when it is dropped.
pub struct Leading(KeyMetrics);

impl Drop for Leading {
    fn drop(&mut self) {
        *self.0.0.led.lock() = None;
    }
}

impl KeyMetrics {
    /// Fails only if `registry` has the name already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = "errortracking_operator_client_key_overlap_since_timestamp_seconds";
        let help = "Since when a former key of the object is accepted beside the active one.";
        let overlap_since = IntGaugeVec::new(Opts::new(name, help), &["namespace", "client_key"])?;
        let metrics = Self(Arc::new(Shared { overlap_since, led: Mutex::default() }));
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    /// Tells of these keys until what it returns is dropped.
    #[must_use]
    pub fn lead(&self, keys: Arc<Cache>) -> Leading {
        *self.0.led.lock() = Some(keys);
        Leading(self.clone())
    }
}

impl Collector for KeyMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.overlap_since.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end: scrapes that overlap must not take each other's series away.
        let led = self.0.led.lock();
        self.0.overlap_since.reset();
        if let Some(keys) = &*led {
            keys.summaries(|all| {
                for (name, key) in all.filter(|(_, key)| key.facts.number > 0) {
                    let labels = [&*name.namespace, &*name.name];
                    self.0.overlap_since.with_label_values(&labels).set(key.facts.number);
                }
            });
        }
        self.0.overlap_since.collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use prometheus::TextEncoder;
    use serde_json::json;

    use super::*;
    use crate::{
        crd::ClientKey,
        operator::{cluster::cache::Caching, kinds::kind::Kind as _},
    };

    #[test]
    fn a_series_lives_as_long_as_the_overlap_and_the_leadership() {
        let key = |name: &str, since: Option<&str>, version: &str| -> DynamicObject {
            serde_json::from_value(json!({
                "metadata": {"namespace": "web", "name": name, "uid": name, "resourceVersion": version},
                "spec": {"projectRef": {"name": "shop"}},
                "status": {"retiring": since.map(|since| json!({"since": since}))},
            }))
            .unwrap()
        };
        let registry = Registry::new();
        let metrics = KeyMetrics::register(&registry).unwrap();
        let told = || {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        let cache = Arc::new(Cache::new(Caching { facts: ClientKey::facts, ..Caching::default() }));
        cache.put(&mut key("quiet", None, "1"));
        cache.put(&mut key("app", Some("2023-11-14T22:13:20Z"), "1"));
        assert_eq!(told(), [""; 0], "nobody leads");
        let leading = metrics.lead(cache.clone());
        let name = "errortracking_operator_client_key_overlap_since_timestamp_seconds";
        assert_eq!(told(), [format!(r#"{name}{{client_key="app",namespace="web"}} 1700000000"#)]);
        cache.put(&mut key("app", None, "2"));
        assert_eq!(told(), [""; 0]);
        drop(leading);
    }
}
