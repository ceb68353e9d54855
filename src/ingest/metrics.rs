//! The numbers of one ingest process. Label values come from closed sets: a key or a project in a label
//! would let anybody who sends grow our memory.

use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::outcomes::{Category, Contents, OutcomeReason, Outcomes};
use crate::{
    dsn::PublicKey,
    telemetry::build_info::{self, Component},
};

/// Sizes of batches: powers of two up to the largest batch.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Seconds of one commit: from a local socket without fsync to the deadline.
const COMMIT_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Seconds of one request: from a refusal that reads nothing to a body that arrives slowly.
const REQUEST_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What became of an event that was ready to be stored.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    Stored,
    /// Its id was there already.
    Duplicate,
    Quarantined,
    Lost,
}

impl Written {
    const ALL: [Self; 4] = [Self::Stored, Self::Duplicate, Self::Quarantined, Self::Lost];

    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
        }
    }
}

/// All metrics of `ingest`; clones share them.
#[derive(Clone)]
pub struct Metrics {
    requests: IntCounterVec,
    request_seconds: Histogram,
    events: IntCounterVec,
    pub outcomes: Outcomes,
    pub batch_events: Histogram,
    pub commit_seconds: Histogram,
    pub queued_events: IntGauge,
    pub connections: IntGauge,
    pub keys: IntGauge,
}

impl Metrics {
    /// Registers everything; fails only if `registry` has one of the names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        build_info::register(registry, Component::Ingest)?;
        let requests = IntCounterVec::new(
            Opts::new("errortracking_ingest_requests_total", "Requests answered, by HTTP status."),
            &["status"],
        )?;
        let request_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "errortracking_ingest_request_duration_seconds",
                "From the head of a request to its answer, commit included.",
            )
            .buckets(REQUEST_BUCKETS.into()),
        )?;
        registry.register(Box::new(request_seconds.clone()))?;
        let events = IntCounterVec::new(
            Opts::new(
                "errortracking_ingest_events_total",
                "Events that were ready to be stored, by what became of them.",
            ),
            &["outcome"],
        )?;
        let outcomes = IntCounterVec::new(
            Opts::new(
                "errortracking_ingest_outcomes_total",
                "What was sent and is not an event in the store, by reason.",
            ),
            &["outcome", "reason"],
        )?;
        for written in Written::ALL {
            events.with_label_values(&[written.label()]).inc_by(0);
        }
        let batch_events = Histogram::with_opts(
            HistogramOpts::new("errortracking_ingest_batch_events", "Events of one batch.")
                .buckets(BATCH_BUCKETS.into()),
        )?;
        let commit_seconds = Histogram::with_opts(
            HistogramOpts::new("errortracking_ingest_commit_seconds", "Time to commit one batch, retries included.")
                .buckets(COMMIT_BUCKETS.into()),
        )?;
        let queued_events = IntGauge::new("errortracking_ingest_queued_events", "Events that wait for a writer.")?;
        let connections = IntGauge::new("errortracking_ingest_connections", "Open connections of clients.")?;
        let keys = IntGauge::new("errortracking_ingest_keys", "Client keys that are accepted.")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(outcomes.clone()))?;
        registry.register(Box::new(batch_events.clone()))?;
        registry.register(Box::new(commit_seconds.clone()))?;
        registry.register(Box::new(queued_events.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(keys.clone()))?;
        let outcomes = Outcomes::new(outcomes);
        Ok(Self {
            requests,
            request_seconds,
            events,
            outcomes,
            batch_events,
            commit_seconds,
            queued_events,
            connections,
            keys,
        })
    }

    /// Counts events that have left a writer.
    pub fn written(&self, written: Written, events: u64) {
        self.events.with_label_values(&[written.label()]).inc_by(events);
    }

    /// Counts what was ready to be stored and is not, wherever that shows: both metrics tell of the same events.
    pub fn lost(&self, key: Option<&PublicKey>, contents: Contents, reason: OutcomeReason) {
        for (category, quantity) in contents.0.into_iter().filter(|(_, quantity)| *quantity > 0) {
            if matches!(category, Category::Error | Category::Security) {
                self.written(Written::Lost, quantity);
            }
            self.outcomes.count(key, category, reason, quantity);
        }
    }

    /// Counts one answer and the time that it took. Every status is one of ours: clients cannot invent label values.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.requests.with_label_values(&[status.as_str()]).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_outcomes_show_from_the_start() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.answered(StatusCode::OK, Duration::from_millis(20));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains(r#"errortracking_ingest_requests_total{status="200"} 1"#), "{text}");
        for (bucket, requests) in [("0.01", 0), ("0.025", 1), ("+Inf", 1)] {
            let line = format!("errortracking_ingest_request_duration_seconds_bucket{{le=\"{bucket}\"}} {requests}\n");
            assert!(text.contains(&line), "{text}");
        }
        let zero = r#"errortracking_ingest_outcomes_total{outcome="refused",reason="unknown_key"} 0"#;
        assert!(text.contains(zero), "{text}");
        assert!(Metrics::register(&registry).is_err());
    }
}
