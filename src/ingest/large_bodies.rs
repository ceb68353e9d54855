//! Bodies that take more time or memory than what is done on the spot, one after the other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{body::Reservation, refusal::Refusal};

/// Large bodies at a time: each may grow to [`super::content::MAX_ENVELOPE_BYTES`] in memory, beside the memory of all
/// other bodies.
const LARGE_BODIES: usize = 1;

/// Turns for large bodies. Clones share them.
#[derive(Clone)]
pub struct LargeBodies(Arc<Semaphore>);

impl LargeBodies {
    /// Does heavy work on a thread of its own, one request at a time. What covers its memory comes back with
    /// the result.
    pub async fn run_on_thread<T, F>(&self, mut memory: BodyMemory, work: F) -> Result<(T, BodyMemory), Refusal>
    where
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        if memory.turn.is_none() {
            memory.turn = Arc::clone(&self.0).acquire_owned().await.ok();
        }
        let holding = move || Ok((work()?, memory));
        tokio::task::spawn_blocking(holding).await.unwrap_or(Err(Refusal::Overloaded))
    }
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES)))
    }
}

/// What covers a body's memory. It goes along to the threads that work on the body: a client that leaves ends
/// its request, but not those.
pub struct BodyMemory {
    pub reservation: Reservation,
    /// For what is too large to be reserved.
    pub turn: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    pub fn new(reservation: Reservation) -> Self {
        Self { reservation, turn: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use futures::stream;
    use http::HeaderMap;

    use super::*;
    use crate::ingest::{
        body::{BodyReader, MAX_BUFFERED_BYTES, MAX_UNKNOWN_SENDERS_BYTES},
        content::MAX_ENVELOPE_BYTES,
        pipeline::{BATCH_BYTES, QUEUE_BYTES},
        writer::WRITERS,
    };

    /// Default memory limit of an ingest pod, and what a process without a request takes, generously.
    const POD_BYTES: usize = 256 << 20;
    const BASE_BYTES: usize = 32 << 20;

    #[test]
    fn everything_at_its_maximum_fits_into_the_pod() {
        let bodies = LARGE_BODIES * MAX_ENVELOPE_BYTES + MAX_BUFFERED_BYTES + MAX_UNKNOWN_SENDERS_BYTES;
        // A batch under way is copied into the statement and into the connection's buffer.
        let events = QUEUE_BYTES + 2 * WRITERS * BATCH_BYTES;
        assert!(bodies + events <= POD_BYTES - BASE_BYTES, "{bodies} {events}");
    }

    async fn memory(reader: &BodyReader) -> BodyMemory {
        let body = stream::iter([Ok::<_, warp::Error>(Bytes::from_static(b"body"))]);
        let body = reader.read(&HeaderMap::new(), body).await.unwrap();
        BodyMemory::new(body.reservation)
    }

    #[tokio::test]
    async fn a_client_that_leaves_does_not_free_memory_that_is_still_worked_on() {
        let (reader, large_bodies) = (BodyReader::default(), LargeBodies::default());
        let untouched = reader.free_bytes();
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let work = move || {
            started.send(()).unwrap();
            may_finish.recv().unwrap();
            Ok(())
        };
        let mut request = Box::pin(large_bodies.run_on_thread(memory(&reader).await, work));
        assert!(futures::poll!(&mut request).is_pending());
        tokio::task::spawn_blocking(move || has_started.recv()).await.unwrap().unwrap();
        drop(request);
        assert!(reader.free_bytes() < untouched);
        assert_eq!(large_bodies.0.available_permits(), LARGE_BODIES - 1);

        finish.send(()).unwrap();
        let _turn = large_bodies.0.acquire().await.unwrap();
        assert_eq!(reader.free_bytes(), untouched);
    }
}
