//! What the leader tells of each project: what its object says as the watch showed it last, and how much it has stored as the
//! job that removes expired events found it.
//!
//! Names of objects are labels here, which counters never have: an alert has to say which project it is about. There are
//! five gauges for each project, and they are made anew for each scrape: a series goes with its project.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use prometheus::{
    IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::operator::cluster::cache::Cache;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Clones share everything.
#[derive(Clone)]
pub struct ProjectMetrics(Arc<Shared>);

struct Shared {
    ready: IntGaugeVec,
    stalled: IntGaugeVec,
    schema_bytes: IntGaugeVec,
    oldest_event: IntGaugeVec,
    retention: IntGaugeVec,
    /// `None`: another process leads.
    led: Mutex<Option<Led>>,
}

/// What is told while this process leads.
struct Led {
    projects: Arc<Cache>,
    /// By uid.
    stored: HashMap<Box<str>, Stored>,
}

/// How much a project has stored, as far as it was read.
#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    bytes: Option<i64>,
    oldest_event: Option<Timestamp>,
}

/// Ends the series of all projects when it is dropped.
pub struct Leading(ProjectMetrics);

impl Drop for Leading {
    fn drop(&mut self) {
        *self.0.led() = None;
    }
}

impl ProjectMetrics {
    /// Fails only if `registry` has one of the names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["namespace", "project"]);
        let metrics = Self(Arc::new(Shared {
            ready: gauge("errortracking_operator_project_ready", "1 while the condition Ready is True, else 0.")?,
            stalled: gauge(
                "errortracking_operator_project_stalled",
                "1 while the condition Stalled is True: the owner must act.",
            )?,
            schema_bytes: gauge(
                "errortracking_operator_project_schema_bytes",
                "Size of the schema in Postgres, indexes included.",
            )?,
            oldest_event: gauge(
                "errortracking_operator_project_oldest_event_timestamp_seconds",
                "When the oldest stored event was received.",
            )?,
            retention: gauge("errortracking_operator_project_retention_seconds", "How long an event is kept.")?,
            led: Mutex::default(),
        }));
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    /// Tells of these projects until what it returns is dropped.
    #[must_use]
    pub fn lead(&self, projects: Arc<Cache>) -> Leading {
        *self.led() = Some(Led { projects, stored: HashMap::new() });
        Leading(self.clone())
    }

    pub fn set_bytes(&self, uid: &str, bytes: i64) {
        self.set(uid, |stored| stored.bytes = Some(bytes));
    }

    /// `None`: nothing is stored.
    pub fn set_oldest_event(&self, uid: &str, received_at: Option<Timestamp>) {
        self.set(uid, |stored| stored.oldest_event = received_at);
    }

    /// Forgets how much projects had stored that are gone.
    pub fn forget_gone(&self) {
        if let Some(led) = &mut *self.led() {
            let living: HashSet<_> =
                led.projects.summaries(|all| all.map(|(_, summary)| summary.uid.clone()).collect());
            led.stored.retain(|uid, _| living.contains(uid));
        }
    }

    fn set(&self, uid: &str, set: impl FnOnce(&mut Stored)) {
        if let Some(led) = &mut *self.led() {
            set(led.stored.entry(uid.into()).or_default());
        }
    }

    fn led(&self) -> MutexGuard<'_, Option<Led>> {
        self.0.led.lock()
    }

    fn gauges(&self) -> [&IntGaugeVec; 5] {
        let Shared { ready, stalled, schema_bytes, oldest_event, retention, .. } = &*self.0;
        [ready, stalled, schema_bytes, oldest_event, retention]
    }

    fn tell(&self, led: &Led) {
        let all = &*self.0;
        led.projects.summaries(|projects| {
            for (name, summary) in projects {
                let labels = [&*name.namespace, &*name.name];
                let (facts, stored) = (&summary.facts, led.stored.get(&summary.uid).copied().unwrap_or_default());
                all.ready.with_label_values(&labels).set(facts.ready.into());
                all.stalled.with_label_values(&labels).set(facts.stalled.into());
                if facts.retention_days > 0 {
                    let seconds = i64::from(facts.retention_days) * SECONDS_A_DAY;
                    all.retention.with_label_values(&labels).set(seconds);
                }
                if let Some(bytes) = stored.bytes {
                    all.schema_bytes.with_label_values(&labels).set(bytes);
                }
                if let Some(received_at) = stored.oldest_event {
                    all.oldest_event.with_label_values(&labels).set(received_at.as_second());
                }
            }
        });
    }
}

impl Collector for ProjectMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end: scrapes that overlap must not take each other's series away.
        let led = self.led();
        self.gauges().into_iter().for_each(IntGaugeVec::reset);
        if let Some(led) = &*led {
            self.tell(led);
        }
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use prometheus::TextEncoder;
    use serde_json::json;

    use super::*;
    use crate::operator::{cluster::cache::Caching, kinds::project::facts};

    fn project(name: &str, ready: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"namespace": "web", "name": name, "uid": format!("uid-{name}"), "resourceVersion": ready},
            "spec": {"backend": {"integrated": {"retentionDays": 30}}},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "Stalled", "status": "False"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_series_lives_as_long_as_its_project_and_the_leadership() {
        let registry = Registry::new();
        let metrics = ProjectMetrics::register(&registry).unwrap();
        let told = || {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("errortracking_operator_project_"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        metrics.set_bytes("uid-shop", 1);
        assert_eq!(told(), [""; 0], "nobody leads");

        let cache = Arc::new(Cache::new(Caching { facts: facts::read, ..Caching::default() }));
        cache.put(&mut project("shop", "True"));
        cache.put(&mut project("blog", "False"));
        let leading = metrics.lead(cache.clone());
        metrics.set_bytes("uid-shop", 4096);
        metrics.set_oldest_event("uid-shop", Some(Timestamp::from_second(1_700_000_000).unwrap()));
        metrics.set_oldest_event("uid-blog", None);
        let shop = [
            r#"oldest_event_timestamp_seconds{namespace="web",project="shop"} 1700000000"#,
            r#"ready{namespace="web",project="shop"} 1"#,
            r#"retention_seconds{namespace="web",project="shop"} 2592000"#,
            r#"schema_bytes{namespace="web",project="shop"} 4096"#,
            r#"stalled{namespace="web",project="shop"} 0"#,
        ];
        let of_blog = |line: &&String| line.contains("blog");
        assert_eq!(told().iter().filter(|line| !of_blog(line)).collect::<Vec<_>>(), shop);
        let blog = [
            r#"ready{namespace="web",project="blog"} 0"#,
            r#"retention_seconds{namespace="web",project="blog"} 2592000"#,
            r#"stalled{namespace="web",project="blog"} 0"#,
        ];
        assert_eq!(told().iter().filter(of_blog).collect::<Vec<_>>(), blog, "nothing is stored of it");

        cache.put(&mut project("blog", "True"));
        assert!(told().contains(&r#"ready{namespace="web",project="blog"} 1"#.to_owned()));
        cache.remove(&project("blog", "True"));
        assert_eq!(told(), shop);
        metrics.forget_gone();
        assert_eq!(told(), shop);
        cache.remove(&project("shop", "True"));
        metrics.forget_gone();
        cache.put(&mut project("shop", "True"));
        assert!(told().iter().all(|line| !line.starts_with("schema_bytes")), "it was forgotten");

        drop(leading);
        assert_eq!(told(), [""; 0], "another process leads");
    }
}
