//! What this process does beside serving: follows the keys and settings, tells the store that it lives and which keys
//! were used, and sends the counts of what was dropped with the batches.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    database::{Database, Failure},
    keys::{Keys, POLL_INTERVAL},
    metrics::Metrics,
    outcomes::Outcomes,
    pipeline::{Pipeline, Unit},
};
use crate::{
    dsn::ProjectId,
    store::ingest::{self, Heartbeat as Report},
    telemetry::Readiness,
};

/// How often the store is told.
const INTERVAL: Duration = Duration::from_secs(10);

/// A heartbeat that takes longer is sent again with the next one.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Everything the two loops need; clones share it.
#[derive(Clone)]
pub struct Heartbeat {
    pub project: ProjectId,
    pub instance: Arc<str>,
    pub database: Database,
    pub keys: Arc<Keys>,
    pub metrics: Metrics,
}

impl Heartbeat {
    /// Polls keys and settings until `shutdown`; the first poll that works makes the process ready, unless it is
    /// `draining` by then.
    pub async fn follow_keys(self, readiness: Readiness, draining: CancellationToken, shutdown: CancellationToken) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = Polls::Starting;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.keys.poll(&self.database).await {
                Ok(changed) => {
                    if changed || state != Polls::Working {
                        let (keys, version) = (self.keys.len(), self.keys.version());
                        info!(keys, version, "Following the client keys and settings.");
                        self.metrics.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
                    }
                    if state != Polls::Working {
                        readiness.set(!draining.is_cancelled());
                    }
                    state = Polls::Working;
                }
                Err(error) if state == Polls::Failing => debug!(%error, "Still cannot poll the client keys."),
                Err(error) => {
                    warn!(%error, "Could not poll the client keys.");
                    state = Polls::Failing;
                }
            }
        }
    }

    /// Puts the counts of what was dropped among the batches every ten seconds, and a last time at `shutdown`.
    pub async fn send_outcomes(outcomes: Outcomes, pipeline: Pipeline, shutdown: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = shutdown.run_until_cancelled(ticks.tick()).await.is_none();
            let counts = outcomes.take(Timestamp::now());
            if !counts.is_empty() {
                let unit = Unit { outcomes: counts.clone(), ..Unit::default() };
                if let Err(error) = pipeline.store(unit).await {
                    // Told twice if only the answer was lost: no count is worth more than a lost one here.
                    debug!(%error, "The counts of what was dropped are sent with the next batch.");
                    outcomes.give_back(counts);
                }
            }
            if last {
                return;
            }
        }
    }

    /// Tells the store every ten seconds until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.send_or_warn().await;
        }
    }

    /// One heartbeat, also the last one of a process that ends.
    pub async fn send_or_warn(&self) {
        if let Err(error) = self.send().await {
            warn!(%error, "Could not send the heartbeat.");
        }
    }

    async fn send(&self) -> Result<(), Failure> {
        let key_usage = self.keys.take_usage();
        let report = Report { instance: &self.instance, settings_version: self.keys.version(), key_usage: &key_usage };
        let project = self.project;
        let send = |pool| async move { ingest::heartbeat(&pool, project, &report).await };
        let result = self.database.run(TIMEOUT, send).await;
        if result.is_err() {
            self.keys.give_back(&key_usage);
        }
        result
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Polls {
    Starting,
    Working,
    Failing,
}
