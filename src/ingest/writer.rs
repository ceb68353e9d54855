//! Commits what waits, exactly once. Every batch carries (stream, sequence): after a lost connection the
//! same batch is sent again under the same mark, and the store applies it only if it has not yet.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};
use uuid::Uuid;

use super::{
    database::{Database, Failure},
    keys::Keys,
    limits::{Limits, QUOTA_WINDOW},
    metrics::Metrics,
    outcomes::{Category, Reason},
    pipeline::{NotStored, Queue, Share, Taken},
};
use crate::{
    dsn::{ProjectId, PublicKey},
    store::{
        StoreError,
        ingest::{self, Applied, Batch, OutcomeRow, Quarantined, Row, UsageLimit},
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
    pub queue: Queue,
    pub database: Database,
    pub project: ProjectId,
    pub keys: Arc<Keys>,
    pub limits: Arc<Limits>,
    pub metrics: Metrics,
    pub stream: Uuid,
    /// Of all writers of this process.
    pub streams: Arc<[Uuid]>,
    pub sequence: i64,
}

/// What became of one row, or of everything else of one unit.
type PartResult = Result<(), NotStored>;

/// What is committed together: rows, and what else some units have.
struct Part {
    rows: Range<usize>,
    /// Whose sessions, reports and counts go along.
    beside: Range<usize>,
}

impl Writer {
    /// Writes until the queue has ended.
    pub async fn run(mut self) {
        while let Some(taken) = self.queue.take().await {
            let results = self.write(&taken).await;
            for (waiting, result) in taken.waiting.into_iter().zip(results) {
                waiting.answer(result);
            }
        }
    }

    /// One result for each unit. A batch that the store rejects is taken apart: what is beside the rows goes unit by
    /// unit, and the rows are halved until the one is found that it does not take; the others are stored.
    async fn write(&mut self, taken: &Taken) -> Vec<PartResult> {
        let mut rows = vec![Err(NotStored::Unavailable); taken.rows.len()];
        let mut beside = vec![Err(NotStored::Unavailable); taken.shares.len()];
        let mut parts = vec![Part { rows: 0..taken.rows.len(), beside: 0..taken.shares.len() }];
        while let Some(part) = parts.pop() {
            let deadline = at_least_the_shortest(taken.deadline);
            let result = match self.commit(taken, &part, deadline).await {
                Ok(applied) => {
                    self.count_applied(&applied, part.rows.len());
                    Ok(())
                }
                Err(Failure::Store(StoreError::Rejected { message, .. })) => match (part.rows.len(), part.beside.len())
                {
                    (0, 1) => {
                        self.drop_beside(&taken.shares[part.beside.start], &message);
                        Ok(())
                    }
                    (1, 0) => self.quarantine(taken, part.rows.start, &message, deadline).await,
                    _ => {
                        parts.extend(halves(taken, &part));
                        continue;
                    }
                },
                Err(failure) => {
                    // What is left would wait as long again for the same database.
                    let result = Err(not_stored(&failure));
                    parts.push(part);
                    let lost: usize = parts.iter().map(|part| part.rows.len()).sum();
                    for part in parts.drain(..) {
                        rows[part.rows].fill(result);
                        beside[part.beside].fill(result);
                    }
                    self.count_events("lost", lost as u64);
                    warn!(error = %failure, events = lost, "Could not store events.");
                    break;
                }
            };
            rows[part.rows].fill(result);
            beside[part.beside].fill(result);
        }
        let of_unit = |(share, beside): (&Share, PartResult)| {
            let beside = if share.has_only_rows() { Ok(()) } else { beside };
            rows[share.rows.clone()].iter().fold(beside, |all, row| all.and(*row))
        };
        taken.shares.iter().zip(beside).map(of_unit).collect()
    }

    /// Commits a part as one batch, trying again until `deadline`. A batch that was given up is never
    /// applied later: the next one of this stream moves the mark past it.
    async fn commit(&mut self, taken: &Taken, part: &Part, deadline: Instant) -> Result<Applied, Failure> {
        self.sequence += 1;
        self.metrics.batch_events.observe(u32::try_from(part.rows.len()).map_or(f64::INFINITY, f64::from));
        let timer = self.metrics.commit_seconds.start_timer();
        let mut outcomes = accepted(taken, &part.rows);
        let limits = self.limits_of(&outcomes);
        let mut batch = Batch {
            stream: self.stream,
            sequence: self.sequence,
            rows: &taken.rows[part.rows.clone()],
            ..Batch::default()
        };
        let units = &taken.shares[part.beside.clone()];
        if let (Some(first), Some(last)) = (units.first(), units.last()) {
            batch.sessions = &taken.sessions[first.sessions.start..last.sessions.end];
            batch.feedback = &taken.feedback[first.feedback.start..last.feedback.end];
            outcomes.extend_from_slice(&taken.outcomes[first.outcomes.start..last.outcomes.end]);
        }
        batch.outcomes = &outcomes;
        batch.limits = &limits;
        batch.own_streams = &self.streams;
        let project = self.project;
        let send = |pool| async move { ingest::ingest_batch(&pool, project, &batch).await };
        let result = self.attempt(deadline, send).await;
        timer.observe_duration();
        if let Ok(applied) = &result {
            self.limits.heard(&applied.usage);
        }
        result
    }

    /// The limits that the events of a batch count towards.
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

    /// Nobody would ever take it: what else the unit has is not lost with it.
    fn drop_beside(&self, share: &Share, message: &str) {
        let (sessions, feedback) = (share.sessions.len() as u64, share.feedback.len() as u64);
        warn!(error = message, sessions, feedback, counts = share.outcomes.len(), "The database does not take these.");
        for (category, dropped) in [(Category::Session, sessions), (Category::Feedback, feedback)] {
            if dropped > 0 {
                self.metrics.outcomes.count(share.key.as_ref(), category, Reason::Rejected, dropped);
            }
        }
    }

    /// Keeps a row that no table takes, with what the server said, so that it is not lost unseen.
    async fn quarantine(&self, taken: &Taken, row: usize, message: &str, deadline: Instant) -> PartResult {
        let share = taken.shares.iter().find(|share| share.rows.contains(&row));
        let row = &taken.rows[row];
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
                let key = share.and_then(|share| share.key.as_ref());
                self.metrics.outcomes.count(key, category(row), Reason::Quarantined, 1);
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

    fn count_applied(&self, applied: &Applied, rows: usize) {
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

impl Share {
    fn has_only_rows(&self) -> bool {
        self.sessions.is_empty() && self.feedback.is_empty() && self.outcomes.is_empty()
    }
}

/// What a rejected part is taken apart into: first what is beside the rows, unit by unit, then the rows in halves.
fn halves(taken: &Taken, part: &Part) -> Vec<Part> {
    let middle = part.rows.start + part.rows.len() / 2;
    let rows = if part.beside.is_empty() {
        vec![middle..part.rows.end, part.rows.start..middle]
    } else {
        vec![part.rows.clone()]
    };
    let rows = rows.into_iter().filter(|rows| !rows.is_empty()).map(|rows| Part { rows, beside: 0..0 });
    let beside = part.beside.clone().filter(|unit| !taken.shares[*unit].has_only_rows());
    rows.chain(beside.map(|unit| Part { rows: 0..0, beside: unit..unit + 1 })).collect()
}

fn category(row: &Row) -> Category {
    if row.kind == "csp" { Category::Security } else { Category::Error }
}

/// How many of `rows` each key brought, to be counted as accepted with them.
fn accepted(taken: &Taken, rows: &Range<usize>) -> Vec<OutcomeRow> {
    let mut counts = BTreeMap::<(Option<&str>, &str), (&Share, &Row, u64)>::new();
    let shares = taken.shares.iter().filter(|share| share.rows.start < rows.end && share.rows.end > rows.start);
    for share in shares {
        for row in &taken.rows[share.rows.start.max(rows.start)..share.rows.end.min(rows.end)] {
            let slot = (share.key.as_ref().map(PublicKey::as_str), category(row).as_str());
            counts.entry(slot).or_insert((share, row, 0)).2 += 1;
        }
    }
    let row = |((_, category), (share, row, quantity)): ((_, &'static str), (&Share, &Row, u64))| OutcomeRow {
        received_at: row.received_at,
        key: share.key.clone(),
        category: category.into(),
        outcome: "accepted",
        reason: "".into(),
        quantity,
    };
    counts.into_iter().map(row).collect()
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
