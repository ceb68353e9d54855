//! What this process does beside serving: follows the keys and settings, tells the store that it lives, which settings it
//! follows and which keys were used, and sends the counts of what was dropped with the batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    database::{Database, Failure},
    keys::{Keys, POLL_INTERVAL},
    metrics::Metrics,
    outcomes::Outcomes,
    pipeline::{Pipeline, Unit},
    refused_keys::RefusedKeys,
};
use crate::{
    dsn::ProjectId,
    store::ingest::{self, Report},
    telemetry::Readiness,
};

/// How often the store is told at least.
const INTERVAL: Duration = Duration::from_secs(10);

/// A report that takes longer is sent again with the next one.
const TIMEOUT: Duration = Duration::from_secs(5);

/// For the report that is under way when the process ends, and for the last one.
pub const LAST_TIMEOUT: Duration = Duration::from_secs(8);

/// Everything the two loops need; clones share it.
#[derive(Clone)]
pub struct Heartbeat {
    pub project: ProjectId,
    pub database: Database,
    pub keys: Arc<Keys>,
    pub refused_keys: Arc<RefusedKeys>,
    pub metrics: Metrics,
    instance: Arc<str>,
    /// Wakes the reports: other settings are followed than the store was told.
    unreported: Arc<Notify>,
    /// Version of the settings that the store was told.
    reported: Arc<AtomicI64>,
}

impl Heartbeat {
    pub fn new(project: ProjectId, instance: &str, database: Database, metrics: Metrics) -> Self {
        Self {
            project,
            database,
            keys: Arc::new(Keys::new(project)),
            refused_keys: Arc::default(),
            metrics,
            instance: instance.into(),
            unreported: Arc::default(),
            reported: Arc::default(),
        }
    }

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
                    if self.keys.version() != self.reported.load(Ordering::Relaxed) {
                        self.unreported.notify_one();
                    }
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
    pub async fn send_outcomes(outcomes: Outcomes, keys: Arc<Keys>, pipeline: Pipeline, shutdown: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = shutdown.run_until_cancelled(ticks.tick()).await.is_none();
            let counts = outcomes.take(keys.now());
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

    /// Tells the store every ten seconds until `shutdown`, and at once when other settings are followed: the operator
    /// waits for that before it publishes a new key.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let due = async {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.unreported.notified() => {}
                }
            };
            if shutdown.run_until_cancelled(due).await.is_none() {
                return;
            }
            failing = match self.send(false).await {
                Ok(()) => false,
                Err(error) if failing => {
                    debug!(%error, "Still cannot send the report.");
                    true
                }
                Err(error) => {
                    warn!(%error, "Could not send the report.");
                    true
                }
            };
        }
    }

    /// The last report of a process that ends; `all_committed`: nothing that it accepted is left. One that says so is
    /// told from one that is gone.
    pub async fn end(&self, all_committed: bool) {
        if let Err(error) = self.send(all_committed).await {
            warn!(%error, "Could not send the last report.");
        }
    }

    async fn send(&self, ending: bool) -> Result<(), Failure> {
        let (used, refused) = (self.keys.take_usage(), self.refused_keys.take());
        let key_usage: Vec<_> = used.iter().map(|(key, at)| (key.clone(), at.elapsed())).collect();
        let settings_version = self.keys.version();
        let report = Report {
            instance: &self.instance,
            settings_version,
            ending,
            key_usage: &key_usage,
            refused: &refused.iter().map(|(key, sent)| sent.told(key)).collect::<Vec<_>>(),
        };
        let project = self.project;
        let send = |pool| async move { ingest::report(&pool, project, &report).await };
        let result = self.database.run(TIMEOUT, send).await;
        if result.is_ok() {
            self.reported.store(settings_version, Ordering::Relaxed);
        } else {
            self.keys.give_back(&used);
            self.refused_keys.give_back(refused);
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
