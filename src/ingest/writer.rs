//! Commits what waits, exactly once. Every batch carries (stream, sequence): after a lost connection the
//! same batch is sent again under the same mark, and the store applies it only if it has not yet.

use std::{iter, ops::Range, time::Duration};

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};
use uuid::Uuid;

use super::{
    database::{Database, Failure},
    metrics::Metrics,
    outcomes::Reason,
    pipeline::{NotStored, Queue, Taken},
};
use crate::{
    dsn::ProjectId,
    store::{
        StoreError,
        ingest::{self, Applied, Batch, Quarantined, Row},
    },
};

/// Writers of one process: one prepares and sends its batch while the other waits for its commit.
pub const WRITERS: usize = 2;

/// A batch gets at least this long, also when its events have waited longer than their deadline, and so does
/// each part of it once the database has answered about the part before.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// Pauses between attempts: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// One of the writers. Its stream is its own for the life of the process.
pub struct Writer {
    queue: Queue,
    database: Database,
    project: ProjectId,
    metrics: Metrics,
    stream: Uuid,
    sequence: i64,
}

/// What became of one row.
type RowResult = Result<(), NotStored>;

impl Writer {
    pub fn new(queue: Queue, database: Database, project: ProjectId, metrics: Metrics) -> Self {
        Self { queue, database, project, metrics, stream: Uuid::new_v4(), sequence: 0 }
    }

    /// Writes until the queue has ended.
    pub async fn run(mut self) {
        while let Some(taken) = self.queue.take().await {
            let Taken { rows, waiting, deadline } = taken;
            let results = self.write(&rows, deadline).await;
            for (waiting, result) in waiting.into_iter().zip(results) {
                waiting.answer(result);
            }
        }
    }

    /// One result for each row. A batch that the store rejects is halved until the row is found that it
    /// does not take; the others are stored.
    async fn write(&mut self, rows: &[Row], deadline: Instant) -> Vec<RowResult> {
        let mut results = vec![Err(NotStored::Unavailable); rows.len()];
        let mut parts: Vec<Range<usize>> = iter::once(0..rows.len()).collect();
        while let Some(part) = parts.pop() {
            let result = match self.commit(&rows[part.clone()], at_least_the_shortest(deadline)).await {
                Ok(applied) => {
                    self.count_applied(applied, part.len());
                    Ok(())
                }
                Err(Failure::Store(StoreError::Rejected { message, .. })) if part.len() == 1 => {
                    self.quarantine(&rows[part.start], &message, at_least_the_shortest(deadline)).await
                }
                Err(Failure::Store(StoreError::Rejected { .. })) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                    continue;
                }
                Err(failure) => {
                    // What is left would wait as long again for the same database.
                    let rest = parts.drain(..).flatten().chain(part.clone());
                    let lost = rest.map(|row| results[row] = Err(not_stored(&failure))).count();
                    self.count_events("lost", lost as u64);
                    warn!(error = %failure, events = lost, "Could not store events.");
                    break;
                }
            };
            results[part].fill(result);
        }
        results
    }

    /// Commits `rows` as one batch, trying again until `deadline`. A batch that was given up is never
    /// applied later: the next one of this stream moves the mark past it.
    async fn commit(&mut self, rows: &[Row], deadline: Instant) -> Result<Applied, Failure> {
        self.sequence += 1;
        self.metrics.batch_events.observe(u32::try_from(rows.len()).map_or(f64::INFINITY, f64::from));
        let timer = self.metrics.commit_seconds.start_timer();
        let batch = Batch { stream: self.stream, sequence: self.sequence, rows };
        let project = self.project;
        let send = |pool| async move { ingest::ingest_batch(&pool, project, &batch).await };
        let result = self.attempt(deadline, send).await;
        timer.observe_duration();
        result
    }

    /// Keeps a row that no table takes, with what the server said, so that it is not lost unseen.
    async fn quarantine(&self, row: &Row, message: &str, deadline: Instant) -> RowResult {
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
                self.count_events("quarantined", 1);
                self.metrics.outcomes.count(Reason::Quarantined, 1);
                Ok(())
            }
            Err(failure) => {
                error!(event_id = %row.event_id, error = %failure, "Could not put an event into quarantine.");
                self.count_events("lost", 1);
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

    fn count_applied(&self, applied: Applied, rows: usize) {
        if applied.applied {
            self.count_events("stored", applied.stored);
            self.count_events("duplicate", applied.duplicates);
        } else {
            // Its first attempt was committed although its answer was lost; how it was split is not known.
            self.count_events("stored", rows as u64);
        }
    }

    fn count_events(&self, outcome: &str, quantity: u64) {
        self.metrics.events.with_label_values(&[outcome]).inc_by(quantity);
    }
}

fn at_least_the_shortest(deadline: Instant) -> Instant {
    deadline.max(Instant::now() + SHORTEST_ATTEMPT)
}

fn not_stored(failure: &Failure) -> NotStored {
    match failure {
        Failure::Store(StoreError::Rejected { .. }) => NotStored::Rejected,
        failure if failure.passing() => NotStored::Unavailable,
        _ => NotStored::Refused,
    }
}
