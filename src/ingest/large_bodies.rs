//! Bodies that take more time or memory than what is done on the spot: on threads of their own, in turns.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    body::{BodyError, SMALL_BODY_BYTES},
    refusal::Refusal,
    room::Reservation,
};

/// Bodies of each class that are worked on at a time.
pub const MEDIUM_TURNS: usize = 2;
pub const LARGE_TURNS: usize = 1;

/// Who has no turn by then is told to come back: the client gives up after 30 s at most.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What is read at once, but takes milliseconds: waits for its like only.
    Medium,
    /// What may take seconds.
    Large,
}

impl Class {
    /// Of a payload that is too long to be read on the spot.
    pub fn of(bytes: usize) -> Self {
        if bytes <= SMALL_BODY_BYTES { Self::Medium } else { Self::Large }
    }
}

/// Turns for bodies. Clones share them.
#[derive(Clone)]
pub struct LargeBodies {
    medium: Arc<Semaphore>,
    large: Arc<Semaphore>,
    turn_timeout: Duration,
}

impl LargeBodies {
    /// Waits for a turn, unless `memory` has one.
    pub async fn wait_for_turn(&self, memory: &mut BodyMemory, class: Class) -> Result<(), Refusal> {
        if memory.turn.is_none() {
            let turns = match class {
                Class::Medium => &self.medium,
                Class::Large => &self.large,
            };
            let turn = timeout(self.turn_timeout, Arc::clone(turns).acquire_owned()).await;
            // The semaphores are never closed.
            memory.turn = Some(turn.ok().and_then(Result::ok).ok_or(BodyError::Overloaded)?);
        }
        Ok(())
    }

    /// Does heavy work on a thread of its own when it is its turn. What covers its memory comes back with the result.
    pub async fn run_on_thread<T, F>(
        &self,
        mut memory: BodyMemory,
        class: Class,
        work: F,
    ) -> Result<(T, BodyMemory), Refusal>
    where
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        self.wait_for_turn(&mut memory, class).await?;
        let holding = move || Ok((work()?, memory));
        tokio::task::spawn_blocking(holding).await.unwrap_or(Err(Refusal::Overloaded))
    }
}

impl Default for LargeBodies {
    fn default() -> Self {
        let [medium, large] = [MEDIUM_TURNS, LARGE_TURNS].map(|turns| Arc::new(Semaphore::new(turns)));
        Self { medium, large, turn_timeout: TURN_TIMEOUT }
    }
}

/// What covers a body's memory. It goes along to the threads that work on the body: a client that leaves ends
/// its request, but not those.
pub struct BodyMemory {
    /// Of what was sent.
    _sent: Reservation,
    /// Of what it was inflated to.
    pub inflated: Option<Reservation>,
    pub turn: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    pub fn new(sent: Reservation) -> Self {
        Self { _sent: sent, inflated: None, turn: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        ingest::{
            body::{BodyReader, LARGE_BODIES_BYTES, MAX_UNKNOWN_SENDERS_BYTES, SMALL_BODIES_BYTES},
            pipeline::{BATCH_BYTES, QUEUE_BYTES},
            room::Room,
            runtime, server,
            submission::INLINE_BYTES,
            writer::WRITERS,
        },
        protocol::event,
    };

    /// Default memory limit of an ingest pod, and what a process without a request takes, generously.
    const POD_BYTES: usize = 256 << 20;
    const BASE_BYTES: usize = 12 << 20;

    /// What one thread keeps of the expressions that it has used, once texts were made to fill them: 3.5 MiB were measured.
    const EXPRESSIONS_BYTES: usize = 4 << 20;

    /// An event that is prepared: its JSON as it came, cleaned and compressed, and the texts of it.
    const PREPARED_TIMES: usize = 4;

    #[test]
    fn everything_at_its_maximum_fits_into_the_pod() {
        let threads = runtime::WORKERS + runtime::BLOCKING_THREADS;
        let prepared =
            LARGE_TURNS * event::MAX_BYTES + MEDIUM_TURNS * SMALL_BODY_BYTES + runtime::WORKERS * INLINE_BYTES;
        let terms = [
            ("process", BASE_BYTES),
            ("connections, heads and requests", server::LIMITS.memory()),
            ("small bodies", SMALL_BODIES_BYTES),
            ("large bodies and what is inflated", LARGE_BODIES_BYTES),
            ("bodies of unknown senders", MAX_UNKNOWN_SENDERS_BYTES),
            ("events that are prepared", PREPARED_TIMES * prepared),
            ("expressions", threads * EXPRESSIONS_BYTES),
            ("queue", QUEUE_BYTES),
            // A batch under way is copied into the statement and into the connection's buffer.
            ("batches", 2 * WRITERS * BATCH_BYTES),
        ];
        for (name, bytes) in terms {
            println!("{:>6} KiB {name}", bytes >> 10);
        }
        let sum = terms.iter().map(|(_, bytes)| bytes).sum::<usize>();
        assert!(sum <= POD_BYTES, "{} KiB too many", (sum - POD_BYTES) >> 10);
    }

    fn memory(room: &Room) -> BodyMemory {
        let mut reservation = room.reservation(None);
        reservation.grow_to(10).unwrap();
        BodyMemory::new(reservation)
    }

    #[tokio::test]
    async fn a_client_that_leaves_does_not_free_memory_that_is_still_worked_on() {
        let (reader, large_bodies) = (BodyReader::default(), LargeBodies::default());
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let work = move || {
            started.send(()).unwrap();
            may_finish.recv().unwrap();
            Ok(())
        };
        let mut request = Box::pin(large_bodies.run_on_thread(memory(reader.small()), Class::Large, work));
        assert!(futures::poll!(&mut request).is_pending());
        tokio::task::spawn_blocking(move || has_started.recv()).await.unwrap().unwrap();
        drop(request);
        assert!(reader.small().free_bytes() < SMALL_BODIES_BYTES);
        assert_eq!(large_bodies.large.available_permits(), LARGE_TURNS - 1);

        finish.send(()).unwrap();
        let _turn = large_bodies.large.acquire().await.unwrap();
        assert_eq!(reader.small().free_bytes(), SMALL_BODIES_BYTES);
    }

    #[tokio::test]
    async fn medium_bodies_do_not_wait_behind_large_ones() {
        let (reader, large_bodies) = (BodyReader::default(), LargeBodies::default());
        let mut large = memory(reader.large());
        large_bodies.wait_for_turn(&mut large, Class::Large).await.unwrap();
        for bytes in [0, SMALL_BODY_BYTES] {
            let done = large_bodies.run_on_thread(memory(reader.small()), Class::of(bytes), || Ok(7)).await;
            assert!(matches!(done, Ok((7, _))), "{bytes}");
        }
        assert_eq!(Class::of(SMALL_BODY_BYTES + 1), Class::Large);
        let (again, _) = large_bodies.run_on_thread(large, Class::Large, || Ok(8)).await.ok().unwrap();
        assert_eq!(again, 8, "who has a turn does not wait for another");
    }

    #[tokio::test]
    async fn who_has_no_turn_in_time_is_refused_and_who_leaves_gives_everything_back() {
        let reader = BodyReader::default();
        let large_bodies = LargeBodies { turn_timeout: Duration::from_millis(20), ..LargeBodies::default() };
        let mut first = memory(reader.large());
        large_bodies.wait_for_turn(&mut first, Class::Large).await.unwrap();
        let refused = large_bodies.run_on_thread(memory(reader.large()), Class::Large, || Ok(())).await;
        assert!(matches!(refused, Err(Refusal::Body(BodyError::Overloaded))));

        let patient = LargeBodies { turn_timeout: TURN_TIMEOUT, ..large_bodies.clone() };
        let mut leaves = Box::pin(patient.run_on_thread(memory(reader.large()), Class::Large, || Ok(())));
        assert!(futures::poll!(&mut leaves).is_pending());
        drop(leaves);
        drop(first);
        assert_eq!(reader.large().free_bytes(), LARGE_BODIES_BYTES);
        assert_eq!(large_bodies.large.available_permits(), LARGE_TURNS);
    }
}
