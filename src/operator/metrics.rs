//! What the operator counts, with the meanings that controller-runtime gave these names.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of the operator. Object names are never labels: their number has no bound.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// By controller and result: success or error.
    pub reconciles: IntCounterVec,
    pub reconcile_seconds: HistogramVec,
    /// By controller, step and outcome: applied or failed.
    pub steps: IntCounterVec,
    pub watch_failures: IntCounter,
    pub leader: IntGauge,
    pub database_ready: IntGauge,
    /// Deletions whose work in Postgres is still owed.
    pub tombstones: IntGauge,
}

impl Metrics {
    /// Makes and registers all of them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("errortracking_operator_reconcile_total", "Passes over an object, by result."),
                &["controller", "result"],
            )?,
            reconcile_seconds: HistogramVec::new(
                HistogramOpts::new("errortracking_operator_reconcile_time_seconds", "How long a pass took."),
                &["controller"],
            )?,
            steps: IntCounterVec::new(
                Opts::new("errortracking_operator_steps_total", "Steps of plans, by outcome."),
                &["controller", "step", "outcome"],
            )?,
            watch_failures: IntCounter::new(
                "errortracking_operator_watch_failures_total",
                "Watches that failed and were started again.",
            )?,
            leader: IntGauge::new("errortracking_operator_leader", "1 while this process leads.")?,
            database_ready: IntGauge::new("errortracking_operator_database_ready", "1 while Postgres answers.")?,
            tombstones: IntGauge::new(
                "errortracking_operator_tombstones",
                "Deleted objects whose work in Postgres is still owed.",
            )?,
        };
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_seconds.clone()))?;
        registry.register(Box::new(metrics.steps.clone()))?;
        registry.register(Box::new(metrics.watch_failures.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.database_ready.clone()))?;
        registry.register(Box::new(metrics.tombstones.clone()))?;
        Ok(metrics)
    }
}
