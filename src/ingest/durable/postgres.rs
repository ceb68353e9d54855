//! Durable after a commit, exactly once: after a lost connection the same record is sent again under the same mark, and
//! the store applies it only if it has not yet.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, debug, error, info_span, warn};

use super::{Durable, Kept, NotStored};
use crate::{
    dsn::ProjectId,
    ingest::{
        database::{Database, Failure},
        groupings::Groupings,
        keys::Keys,
        limits::{Limits, QUOTA_WINDOW},
        metrics::{Metrics, Written},
        outcomes::{Category, OutcomeReason},
        record::{Record, Stream, Streams},
    },
    store::{
        StoreError,
        ingest::{self, Applied, OutcomeRow, Quarantined, UsageLimit},
    },
};

/// A record gets at least this long, also when its events have waited longer than their deadline, and so does
/// each part of it once the database has answered about the part before.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// Pauses between attempts: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The schema of a project. Clones share everything.
#[derive(Clone)]
pub struct Postgres {
    pub database: Database,
    pub project: ProjectId,
    pub keys: Arc<Keys>,
    pub limits: Arc<Limits>,
    pub groupings: Arc<Groupings>,
    pub metrics: Metrics,
    /// Of all writers of this process.
    pub streams: Streams,
}

impl Durable for Postgres {
    /// A record that the store rejects is taken apart until the event is found that it does not take; the others are
    /// stored. That event goes into quarantine, where it is as durable.
    async fn keep(&self, record: Record, marks: &mut Stream, deadline: Instant) -> Kept {
        let (project, events) = (self.project.get(), record.rows.len());
        let span = info_span!("batch", project, stream = %record.mark.stream, sequence = record.mark.sequence, events);
        self.keep_parts(record, marks, deadline).instrument(span).await
    }
}

impl Postgres {
    async fn keep_parts(&self, record: Record, marks: &mut Stream, deadline: Instant) -> Kept {
        let mut kept = Kept::new(record.shares.len());
        // First in, first out: marks have to be used as they rise.
        let mut parts = VecDeque::from([record]);
        let mut unwanted = Vec::new();
        while let Some(part) = parts.pop_front() {
            let deadline = deadline.max(Instant::now() + SHORTEST_ATTEMPT);
            match self.commit(&part, deadline).await {
                Ok(applied) => self.count_applied(&applied, &part),
                Err(Failure::Store(StoreError::Rejected { message, .. })) => {
                    match (part.rows.len(), part.reporting_units()) {
                        (0, 1) => self.drop_reports(&part, &message),
                        (1, 0) => {
                            if let Err(reason) = self.quarantine(&part, &message, deadline).await {
                                unwanted.push((part, reason));
                            }
                        }
                        _ => parts.extend(part.split(marks)),
                    }
                }
                Err(failure) => {
                    // What is left would wait as long again for the same database.
                    parts.push_front(part);
                    let left: usize = parts.iter().map(|part| part.rows.len()).sum();
                    match &failure {
                        // Told once, by the database itself.
                        Failure::Away => debug!(left, "Could not store events: the database is away."),
                        failure => warn!(error = %failure, left, "Could not store events."),
                    }
                    parts.drain(..).for_each(|part| kept.leave(part, not_stored(&failure)));
                }
            }
        }
        for (part, reason) in unwanted {
            // Those after it have moved the mark past its own; it was not applied under that.
            kept.leave(Record { mark: marks.next_mark(), ..part }, reason);
        }
        kept
    }

    /// Commits a part, trying again until `deadline`. One that is given up is never applied later, unless under its own
    /// mark: the next one of its stream moves the mark past it.
    async fn commit(&self, part: &Record, deadline: Instant) -> Result<Applied, Failure> {
        self.metrics.batch_events.observe(u32::try_from(part.rows.len()).map_or(f64::INFINITY, f64::from));
        let timer = self.metrics.commit_seconds.start_timer();
        let mut outcomes = part.accepted();
        let limits = self.limits_of(&outcomes);
        outcomes.extend_from_slice(&part.outcomes);
        let streams = self.streams.ids();
        let batch = part.batch(&outcomes, &limits, &streams);
        let project = self.project;
        let send = |pool| async move { ingest::ingest_batch(&pool, project, &batch).await };
        let result = self.attempt(deadline, send).await;
        timer.observe_duration();
        if let Ok(applied) = &result {
            self.limits.observe(&applied.usage);
            self.groupings.learn(&part.rows);
        }
        result
    }

    /// The limits that the events of a part count towards.
    fn limits_of(&self, accepted: &[OutcomeRow]) -> Vec<UsageLimit> {
        let of_key = |row: &OutcomeRow| {
            let key = row.key.clone()?;
            let limit = self.keys.rate_limit(&key)?;
            Some(UsageLimit { key: Some(key), window_seconds: limit.window_seconds })
        };
        let mut limits: Vec<_> = accepted.iter().filter_map(of_key).collect();
        if !accepted.is_empty() && self.keys.rules().quota.is_some() {
            limits.push(UsageLimit { key: None, window_seconds: QUOTA_WINDOW });
        }
        limits.dedup_by(|a, b| a.key == b.key);
        limits
    }

    /// Nobody would ever take them: what else the unit has is not lost with them.
    fn drop_reports(&self, part: &Record, message: &str) {
        let (sessions, feedback) = (part.sessions.len() as u64, part.feedback.len() as u64);
        warn!(error = message, sessions, feedback, counts = part.outcomes.len(), "The database does not take these.");
        let key = part.shares.first().and_then(|share| share.key.as_ref());
        for (category, dropped) in [(Category::Session, sessions), (Category::Feedback, feedback)] {
            if dropped > 0 {
                self.metrics.outcomes.count(key, category, OutcomeReason::Rejected, dropped);
            }
        }
    }

    /// Keeps the one row of `part`, which no table takes, with what the server said, so that it is not lost unseen.
    async fn quarantine(&self, part: &Record, message: &str, deadline: Instant) -> Result<(), NotStored> {
        let Some(row) = part.rows.first() else { return Ok(()) };
        let kept = Quarantined {
            event_id: row.event_id,
            received_at: row.received_at,
            reason: message,
            payload: &row.payload,
        };
        let project = self.project;
        let keep = |pool| async move { ingest::quarantine(&pool, project, &kept).await };
        match self.attempt(deadline, keep).await {
            Ok(()) => {
                warn!(event_id = %row.event_id, error = message, "Put an event into quarantine.");
                self.metrics.written(Written::Quarantined, 1);
                let key = part.shares.first().and_then(|share| share.key.as_ref());
                self.metrics.outcomes.count(key, row.kind.into(), OutcomeReason::Quarantined, 1);
                Ok(())
            }
            Err(failure) => {
                error!(event_id = %row.event_id, error = %failure, "Could not put an event into quarantine.");
                Err(not_stored(&failure))
            }
        }
    }

    async fn attempt<T, F, R>(&self, deadline: Instant, operation: F) -> Result<T, Failure>
    where
        F: Fn(PgPool) -> R,
        R: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            match self.database.run(remaining, &operation).await {
                Err(failure) if failure.retryable() && Instant::now() + pause < deadline => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn count_applied(&self, applied: &Applied, part: &Record) {
        if applied.applied {
            self.metrics.written(Written::Stored, applied.stored);
            self.metrics.written(Written::Duplicate, applied.duplicates);
        } else {
            // Its first attempt was committed although its answer was lost; how it was split is not known.
            self.metrics.written(Written::Stored, part.rows.len() as u64);
        }
    }
}

fn not_stored(failure: &Failure) -> NotStored {
    match failure {
        Failure::Store(StoreError::Rejected { .. }) => NotStored::Rejected,
        failure if failure.passing() => NotStored::Unavailable,
        _ => NotStored::Refused,
    }
}
