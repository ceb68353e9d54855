//! From accepted requests to the writers: a bounded queue without a timer. A free writer takes what waits,
//! so that batches are large exactly when there is much to do.

use std::{sync::Arc, time::Duration};

use prometheus::IntGauge;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};

use super::{
    durable::{NotStored, Verdict},
    outcomes::Contents,
    prepare,
    refusal::Refusal,
    room::{Reservation, Room},
};
use crate::{
    dsn::PublicKey,
    protocol::user_report::UserReport,
    store::ingest::{FeedbackRow, OutcomeRow, Row, SessionRow},
};

/// What a session, a report or a count takes in memory and on the wire, roughly.
const ITEM_BYTES: usize = 256;

/// Requests that may wait; with all connections busy there are fewer.
const QUEUE_EVENTS: usize = 2048;

/// Compressed bytes that may wait or be under way to Postgres; half of them of one key.
pub const QUEUE_BYTES: usize = 12 << 20;

/// Most events, and most bytes, of one batch.
pub const BATCH_EVENTS: usize = 512;
pub const BATCH_BYTES: usize = 4 << 20;

/// How long an event may wait until it is durable. Longer, and PHP's 5 s for a request are over anyway.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// Takes events in. Clones feed the same writers, who stop when the last clone is gone and all that
/// waited is written.
#[derive(Clone)]
pub struct Pipeline {
    sender: mpsc::Sender<Queued>,
    room: Room,
    queued: IntGauge,
}

/// What one request brings to the store: durable together before it is answered.
#[derive(Debug, Default)]
pub struct Unit {
    /// Whose it is; `None` for what the process itself tells.
    pub key: Option<PublicKey>,
    pub rows: Vec<Row>,
    pub sessions: Vec<SessionRow>,
    pub feedback: Vec<FeedbackRow>,
    pub outcomes: Vec<OutcomeRow>,
}

impl Unit {
    /// What counts towards [`BATCH_EVENTS`].
    fn items(&self) -> usize {
        self.rows.len() + self.sessions.len() + self.feedback.len()
    }

    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents::of(&self.rows, self.sessions.len(), self.feedback.len())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sessions.is_empty() && self.feedback.is_empty() && self.outcomes.is_empty()
    }

    /// Bytes that it counts for, in the queue and in a batch.
    fn size(&self) -> usize {
        let feedback = self.feedback.iter().map(|row| {
            let UserReport { name, email, message, url, .. } = &row.report;
            [name, email, message, url].map(String::len).iter().sum::<usize>()
        });
        let sessions =
            self.sessions.iter().map(|row| row.release.len() + row.environment.as_ref().map_or(0, String::len));
        let items = (self.sessions.len() + self.feedback.len() + self.outcomes.len() + 1) * ITEM_BYTES;
        self.rows.iter().map(prepare::size).chain(feedback).chain(sessions).sum::<usize>() + items
    }
}

/// A unit and the request that waits for it.
struct Queued {
    unit: Unit,
    waiting: Waiting,
}

/// The request's half: dropped without an answer, it is told [`NotStored::Unavailable`].
pub struct Waiting {
    since: Instant,
    answer: oneshot::Sender<Verdict>,
    _room: Reservation,
}

impl Waiting {
    /// The request may have gone away meanwhile; what it brought is stored all the same.
    pub fn answer(self, verdict: Verdict) {
        let _gone = self.answer.send(verdict);
    }
}

/// What one writer takes at a time.
pub struct Taken {
    pub units: Vec<Unit>,
    /// The request of each unit.
    pub waiting: Vec<Waiting>,
    /// When the first of them has waited for [`COMMIT_DEADLINE`].
    pub deadline: Instant,
}

impl Taken {
    fn new(Queued { unit, waiting }: Queued) -> Self {
        let deadline = waiting.since + COMMIT_DEADLINE;
        Self { units: vec![unit], waiting: vec![waiting], deadline }
    }

    fn add(&mut self, Queued { unit, waiting }: Queued) {
        self.units.push(unit);
        self.waiting.push(waiting);
    }
}

/// The writers' end; clones take from the same queue.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Mutex<Inner>>,
    queued: IntGauge,
}

struct Inner {
    receiver: mpsc::Receiver<Queued>,
    /// Did not fit into the last batch.
    left_over: Option<Queued>,
}

/// The two ends of an empty queue; `queued` follows its length.
pub fn open(queued: IntGauge) -> (Pipeline, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
    let inner = Arc::new(Mutex::new(Inner { receiver, left_over: None }));
    (Pipeline { sender, room: Room::new(QUEUE_BYTES), queued: queued.clone() }, Queue { inner, queued })
}

impl Pipeline {
    /// Returns when the unit is durable, or will not be. Does not wait for room in the queue: the
    /// client learns at once that it should come back later.
    pub async fn store(&self, unit: Unit) -> Result<(), Refusal> {
        let mut room = self.room.reservation(unit.key.as_ref());
        room.resize(unit.size()).map_err(|_| Refusal::Overloaded)?;
        let (answer, durable) = oneshot::channel();
        let waiting = Waiting { since: Instant::now(), answer, _room: room };
        // Counted first, so that a quick writer does not take the gauge below zero.
        self.queued.inc();
        if self.sender.try_send(Queued { unit, waiting }).is_err() {
            self.queued.dec();
            return Err(Refusal::Overloaded);
        }
        durable.await.unwrap_or(Err(NotStored::Unavailable)).map_err(Refusal::from)
    }
}

impl Queue {
    /// Waits for a unit and takes what waits with it, up to [`BATCH_EVENTS`] and 4 MiB.
    /// `None`: all pipelines are gone and nothing is left.
    pub async fn take(&self) -> Option<Taken> {
        // A writer that waits here holds the lock, and the others wait behind it.
        let mut inner = self.inner.lock().await;
        let first = match inner.left_over.take() {
            Some(first) => first,
            None => inner.receiver.recv().await?,
        };
        let (mut items, mut bytes) = (first.unit.items(), first.unit.size());
        let mut taken = Taken::new(first);
        while items < BATCH_EVENTS {
            let Ok(next) = inner.receiver.try_recv() else { break };
            items += next.unit.items();
            bytes += next.unit.size();
            if bytes > BATCH_BYTES {
                inner.left_over = Some(next);
                break;
            }
            taken.add(next);
        }
        self.queued.sub(i64::try_from(taken.waiting.len()).unwrap_or(i64::MAX));
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn unit(payload_bytes: usize) -> Unit {
        let mut row = prepare::tests::row(b"{}");
        row.payload = vec![0; payload_bytes];
        Unit { rows: vec![row], ..Unit::default() }
    }

    fn gauge() -> IntGauge {
        IntGauge::new("queued", "-").unwrap()
    }

    #[tokio::test]
    async fn a_writer_takes_what_waits_up_to_the_limits() {
        for (events, payload_bytes, expected) in
            [(1, 10, vec![1]), (600, 10, vec![512, 88]), (9, 1 << 20, vec![3, 3, 3]), (1, 5 << 20, vec![1])]
        {
            let (pipeline, queue) = open(gauge());
            let requests = join_all((0..events).map(|_| pipeline.store(unit(payload_bytes))));
            let writer = async {
                let mut sizes = Vec::<usize>::new();
                while sizes.iter().sum::<usize>() < events {
                    let taken = queue.take().await.unwrap();
                    sizes.push(taken.units.iter().map(|unit| unit.rows.len()).sum());
                    taken.waiting.into_iter().for_each(|waiting| waiting.answer(Ok(())));
                }
                sizes
            };
            let (answers, sizes) = tokio::join!(requests, writer);
            assert_eq!(sizes, expected, "{events} events of {payload_bytes} bytes");
            assert!(answers.into_iter().all(|answer| answer.is_ok()));
            assert_eq!((pipeline.room.free_bytes(), pipeline.queued.get()), (QUEUE_BYTES, 0));
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (pipeline, _queue) = open(gauge());
        let mut waiting: Vec<_> = (0..QUEUE_EVENTS).map(|_| Box::pin(pipeline.store(unit(1)))).collect();
        for request in &mut waiting {
            assert!(futures::poll!(request).is_pending());
        }
        assert!(matches!(pipeline.store(unit(1)).await, Err(Refusal::Overloaded)));
        assert_eq!(pipeline.queued.get(), i64::try_from(QUEUE_EVENTS).unwrap());

        let (pipeline, _queue) = open(gauge());
        let mut large = Box::pin(pipeline.store(unit(QUEUE_BYTES - (4 << 10))));
        assert!(futures::poll!(&mut large).is_pending());
        assert!(matches!(pipeline.store(unit(8 << 10)).await, Err(Refusal::Overloaded)), "bytes are bounded too");
    }

    #[tokio::test]
    async fn a_key_that_floods_the_queue_leaves_room_for_others() {
        let (pipeline, _queue) = open(gauge());
        let of_key = |number, bytes| Unit { key: Some(PublicKey::from_random([number; 16])), ..unit(bytes) };
        let mut flood = Box::pin(pipeline.store(of_key(1, QUEUE_BYTES / 2 - (4 << 10))));
        assert!(futures::poll!(&mut flood).is_pending());
        assert!(matches!(pipeline.store(of_key(1, 8 << 10)).await, Err(Refusal::Overloaded)));
        let mut other = Box::pin(pipeline.store(of_key(2, QUEUE_BYTES / 4)));
        assert!(futures::poll!(&mut other).is_pending());
    }

    #[tokio::test]
    async fn a_writer_that_dies_answers_and_the_end_is_told() {
        let (pipeline, queue) = open(gauge());
        let request = pipeline.store(unit(1));
        let (answer, ()) = tokio::join!(request, async { drop(queue.take().await) });
        assert!(matches!(answer, Err(Refusal::DatabaseUnavailable)));
        drop(pipeline);
        assert!(queue.take().await.is_none());
    }
}
