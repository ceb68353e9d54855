//! What the operator counts, with the meanings that controller-runtime and client-go gave these names.
//!
//! Names begin with `errortracking_operator_`. Object names are never labels here: their number has no bound.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// Passes take from under a millisecond to as long as a migration.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

#[derive(Clone, Debug)]
pub struct Metrics {
    /// By controller and result: success, `requeue_after` or error.
    pub reconciles: IntCounterVec,
    /// Passes that ended in an error, by controller.
    pub reconcile_errors: IntCounterVec,
    /// Those of them that only a user can mend.
    pub terminal_errors: IntCounterVec,
    pub panics: IntCounterVec,
    pub reconcile_seconds: HistogramVec,
    pub max_concurrent: IntGaugeVec,
    pub active_workers: IntGaugeVec,
    /// By controller, step and outcome: applied or failed.
    pub steps: IntCounterVec,
    /// By job and outcome: success, error or timeout.
    pub job_runs: IntCounterVec,
    pub job_seconds: HistogramVec,
    /// By kind and what happened: list, watch, `list_failed`, `watch_failed`, relist, silent.
    pub watches: IntCounterVec,
    /// Requests to the API server by method and status code; code 0: no answer, or refused here because the lease ran
    /// out.
    pub requests: IntCounterVec,
    pub leader: IntGaugeVec,
    /// 1 when everything that was there at the start has had a pass.
    pub synced: IntGauge,
    pub database_ready: IntGauge,
    /// Deletions whose work in Postgres is still owed.
    pub tombstones: IntGauge,
    depth: IntGaugeVec,
    adds: IntCounterVec,
    queue_seconds: HistogramVec,
    work_seconds: HistogramVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    retries: IntCounterVec,
}

fn name(name: &str) -> String {
    format!("errortracking_operator_{name}")
}

impl Metrics {
    /// Makes and registers all of them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |id: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name(id), help), labels)?)
        };
        let gauge = |id: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name(id), help), labels)?)
        };
        let float = |id: &str, help: &str, labels: &[&str]| {
            registered(registry, GaugeVec::new(Opts::new(name(id), help), labels)?)
        };
        let seconds = |id: &str, help: &str, label: &str| {
            let options = HistogramOpts::new(name(id), help).buckets(SECONDS.to_vec());
            registered(registry, HistogramVec::new(options, &[label])?)
        };
        let single = |id: &str, help: &str| registered(registry, IntGauge::new(name(id), help)?);
        Ok(Self {
            reconciles: counter(
                "reconcile_total",
                "Passes over an object, by result: success, requeue_after or error.",
                &["controller", "result"],
            )?,
            reconcile_errors: counter("reconcile_errors_total", "Passes that ended in an error.", &["controller"])?,
            terminal_errors: counter(
                "terminal_reconcile_errors_total",
                "Passes that ended in an error that only a user can mend.",
                &["controller"],
            )?,
            panics: counter("reconcile_panics_total", "Passes that panicked.", &["controller"])?,
            reconcile_seconds: seconds("reconcile_time_seconds", "How long a pass took.", "controller")?,
            max_concurrent: gauge(
                "max_concurrent_reconciles",
                "Passes that may be under way at once.",
                &["controller"],
            )?,
            active_workers: gauge("active_workers", "Passes under way.", &["controller"])?,
            steps: counter("steps_total", "Steps of plans, by outcome.", &["controller", "step", "outcome"])?,
            job_runs: counter(
                "job_runs_total",
                "Runs of periodic work, by outcome: success, error or timeout.",
                &["job", "outcome"],
            )?,
            job_seconds: seconds("job_time_seconds", "How long a run of periodic work took.", "job")?,
            watches: counter(
                "watch_operations_total",
                "What watches did, and how they failed.",
                &["kind", "operation"],
            )?,
            requests: counter(
                "rest_client_requests_total",
                "Requests to the API server; code 0: no answer, or refused here because the lease had run out.",
                &["method", "code"],
            )?,
            leader: gauge("leader_election_master_status", "1 while this process leads.", &["name"])?,
            synced: single("synced", "1 when everything that was there at the start has had a pass.")?,
            database_ready: single("database_ready", "1 while Postgres answers.")?,
            tombstones: single("tombstones", "Deleted objects whose work in Postgres is still owed.")?,
            depth: gauge("workqueue_depth", "Objects that wait for a pass.", &["name"])?,
            adds: counter("workqueue_adds_total", "Objects put into the queue.", &["name"])?,
            queue_seconds: seconds(
                "workqueue_queue_duration_seconds",
                "How long an object waited for its pass.",
                "name",
            )?,
            work_seconds: seconds("workqueue_work_duration_seconds", "How long an object was worked on.", "name")?,
            unfinished: float("workqueue_unfinished_work_seconds", "Time spent in passes under way.", &["name"])?,
            longest: float(
                "workqueue_longest_running_processor_seconds",
                "Time spent in the longest pass under way.",
                &["name"],
            )?,
            retries: counter("workqueue_retries_total", "Attempts after a failure.", &["name"])?,
        })
    }

    /// Shows what is counted of a controller before anything has happened: of a counter that begins with 1, nobody sees
    /// that it has risen.
    pub fn begin(&self, controller: &str) {
        for counter in [&self.reconcile_errors, &self.terminal_errors, &self.panics] {
            counter.with_label_values(&[controller]).inc_by(0);
        }
        for result in ["success", "requeue_after", "error"] {
            self.reconciles.with_label_values(&[controller, result]).inc_by(0);
        }
        self.active_workers.with_label_values(&[controller]).set(0);
    }

    /// The share of one queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> QueueMetrics {
        QueueMetrics {
            depth: self.depth.with_label_values(&[name]),
            adds: self.adds.with_label_values(&[name]),
            queue_seconds: self.queue_seconds.with_label_values(&[name]),
            work_seconds: self.work_seconds.with_label_values(&[name]),
            unfinished: self.unfinished.with_label_values(&[name]),
            longest: self.longest.with_label_values(&[name]),
            retries: self.retries.with_label_values(&[name]),
        }
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// What one queue counts.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    depth: IntGauge,
    adds: IntCounter,
    queue_seconds: Histogram,
    work_seconds: Histogram,
    unfinished: Gauge,
    longest: Gauge,
    pub retries: IntCounter,
}

impl QueueMetrics {
    /// Counted, and not shown to anybody.
    #[cfg(test)]
    pub fn unregistered() -> Self {
        Metrics::register(&Registry::new()).unwrap().queue("test")
    }

    pub fn added(&self, objects: u32) {
        self.adds.inc_by(objects.into());
        self.depth.add(objects.into());
    }

    pub fn taken(&self, waited: Duration) {
        self.depth.dec();
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    pub fn worked(&self, took: Duration) {
        self.work_seconds.observe(took.as_secs_f64());
    }

    pub fn unfinished(&self, sum: f64, longest: f64) {
        self.unfinished.set(sum);
        self.longest.set(longest);
    }
}
