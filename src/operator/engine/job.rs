//! Periodic work beside the passes: each job runs now and then, one run at a time, and one that takes too long is cut
//! off.

use std::{fmt::Display, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{Instrument, error, info_span, warn};

use super::metrics::Metrics;

/// Work that is done again and again. Repeating it changes nothing.
pub trait Job: Send + 'static {
    type Error: Display + Send;

    /// Label of its metrics.
    const NAME: &'static str;
    /// From the beginning of a run to that of the next; the first begins at once.
    const INTERVAL: Duration;
    /// Longest run.
    const LIMIT: Duration;

    fn run(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns when a run should begin before its time.
    fn wanted(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Runs jobs until it is dropped.
pub struct Jobs {
    tasks: JoinSet<()>,
    metrics: Metrics,
}

impl Jobs {
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { tasks: JoinSet::new(), metrics }
    }

    pub fn start<J: Job>(&mut self, job: J) {
        let metrics = self.metrics.clone();
        self.tasks.spawn(keep_running(job, metrics).instrument(info_span!("job", job = J::NAME)));
    }

    /// Returns when a job has panicked: none ends otherwise.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }
}

async fn keep_running<J: Job>(mut job: J, metrics: Metrics) {
    let mut ticks = interval(J::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = job.wanted() => {}
        }
        let started = Instant::now();
        let outcome = match timeout(J::LIMIT, job.run()).await {
            Ok(Ok(())) => "success",
            Ok(Err(error)) => {
                error!(%error, "A job failed; it runs again.");
                "error"
            }
            Err(_) => {
                warn!(limit = ?J::LIMIT, "A job took too long; it goes on the next time.");
                "timeout"
            }
        };
        metrics.job_runs.with_label_values(&[J::NAME, outcome]).inc();
        metrics.job_seconds.with_label_values(&[J::NAME]).observe(started.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use prometheus::Registry;
    use tokio::{sync::Notify, time::sleep};

    use super::*;

    struct Slow {
        runs: Arc<AtomicU32>,
        wanted: Arc<Notify>,
    }

    impl Job for Slow {
        type Error = String;

        const NAME: &'static str = "slow";
        const INTERVAL: Duration = Duration::from_millis(1_500);
        const LIMIT: Duration = Duration::from_millis(50);

        async fn run(&mut self) -> Result<(), String> {
            match self.runs.fetch_add(1, Ordering::Relaxed) {
                0 => Err("refused".into()),
                1 => Ok(()),
                _ => {
                    sleep(Duration::from_hours(9)).await;
                    Ok(())
                }
            }
        }

        async fn wanted(&mut self) {
            self.wanted.notified().await;
        }
    }

    #[tokio::test]
    async fn a_job_runs_at_once_when_it_is_wanted_and_in_time_and_never_longer_than_its_limit() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let (runs, wanted) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let mut jobs = Jobs::new(metrics.clone());
        jobs.start(Slow { runs: runs.clone(), wanted: wanted.clone() });
        let reached = async |expected: [u64; 3]| {
            let outcomes =
                || ["error", "success", "timeout"].map(|of| metrics.job_runs.with_label_values(&["slow", of]).get());
            let reaching = async {
                while outcomes() != expected {
                    sleep(Duration::from_millis(2)).await;
                }
            };
            timeout(Duration::from_secs(20), reaching).await.unwrap_or_else(|_| panic!("{:?}", outcomes()));
        };
        let started = Instant::now();
        reached([1, 0, 0]).await;
        wanted.notify_one();
        reached([1, 1, 0]).await;
        assert!(started.elapsed() < Slow::INTERVAL, "nobody waited for the interval");
        reached([1, 1, 1]).await;
        assert!(started.elapsed() >= Slow::INTERVAL);
    }
}
