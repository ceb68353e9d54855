//! Reads request bodies with a cap on their size, their duration and the memory of all of them.
//! `warp::body::bytes` has no cap, and `content_length_limit` refuses the Node SDK, which sends
//! chunks without a Content-Length.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// Largest body as it is sent, before decompression; sentry.io's own limit for envelopes.
pub const MAX_BODY_BYTES: usize = 20 << 20;

/// Bodies of all connections together while they are read and understood, with what is inflated of them on the
/// spot. More is answered 503: a pod
/// that is killed for its memory loses the events of all its clients.
pub const MAX_BUFFERED_BYTES: usize = 64 << 20;

/// The same for bodies whose request names no key: the key is inside, so nobody knows yet who sends. Strangers
/// who fill this keep only each other out.
pub const MAX_UNKNOWN_SENDERS_BODY_BYTES: usize = 1 << 20;
pub const MAX_UNKNOWN_SENDERS_BYTES: usize = 4 << 20;

/// A client that sends nothing for this long is given up (PHP itself gives up after 5 s).
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body has to be here within this time; Python's transport gives up after 30 s.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// How long, and how much of it, the rest of a refused body is read and thrown away: closing a socket
/// that holds unread data resets it, and the client would see that instead of our answer.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
const DISCARD_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Permits are counted in units of this many bytes, as a semaphore counts in `u32`.
const PERMIT_BYTES: usize = 1 << 10;

/// Room for the first chunk whatever the client claims its length to be.
const FIRST_ALLOCATION: usize = 64 << 10;

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Carries the limit in bytes.
    #[error("request body exceeds {0} bytes")]
    TooLarge(usize),
    #[error("request body did not arrive in time")]
    TimedOut,
    #[error("request body ended early")]
    Broken,
    #[error("too many request bodies at once")]
    Overloaded,
}

/// A body and its share of the reader's memory, which is free again when this is dropped.
pub struct Body {
    pub bytes: Bytes,
    pub reservation: Reservation,
}

/// Reads bodies; clones share the memory for all of them.
#[derive(Clone)]
pub struct BodyReader {
    memory: Arc<Semaphore>,
    max_body_bytes: usize,
    chunk_timeout: Duration,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self::new(MAX_BODY_BYTES, MAX_BUFFERED_BYTES)
    }
}

impl BodyReader {
    /// Reads bodies of clients that are not known yet.
    pub fn for_unknown_senders() -> Self {
        Self::new(MAX_UNKNOWN_SENDERS_BODY_BYTES, MAX_UNKNOWN_SENDERS_BYTES)
    }

    fn new(max_body_bytes: usize, max_bytes: usize) -> Self {
        let memory = Arc::new(Semaphore::new(max_bytes / PERMIT_BYTES));
        Self { memory, max_body_bytes, chunk_timeout: CHUNK_TIMEOUT }
    }

    /// Reads the whole of `stream`. On an error the rest has been read and thrown away, as far as that
    /// is sensible, so that the client can read our answer.
    pub async fn read<S, B, E>(&self, headers: &HeaderMap, stream: S) -> Result<Body, BodyError>
    where
        S: Stream<Item = Result<B, E>>,
        B: Buf,
    {
        let mut stream = std::pin::pin!(stream);
        let result = if announced_length(headers).is_some_and(|length| length > self.max_body_bytes) {
            Err(BodyError::TooLarge(self.max_body_bytes))
        } else {
            self.collect(stream.as_mut()).await
        };
        if matches!(result, Err(BodyError::TooLarge(_) | BodyError::Overloaded)) {
            discard(headers, stream).await;
        }
        result
    }

    /// Of a request without a body.
    pub fn nothing(&self) -> Reservation {
        Reservation { memory: Arc::clone(&self.memory), permits: None }
    }

    #[cfg(test)]
    pub fn free_bytes(&self) -> usize {
        self.memory.available_permits() * PERMIT_BYTES
    }

    async fn collect<S, B, E>(&self, mut stream: Pin<&mut S>) -> Result<Body, BodyError>
    where
        S: Stream<Item = Result<B, E>>,
        B: Buf,
    {
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut reservation = self.nothing();
        // Most bodies are one chunk, which is kept as it is.
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        loop {
            let patience = deadline.min(Instant::now() + self.chunk_timeout);
            let Some(chunk) = timeout_at(patience, stream.next()).await.map_err(|_| BodyError::TimedOut)? else {
                break;
            };
            let mut chunk = chunk.map_err(|_| BodyError::Broken)?;
            let length = first.len() + joined.len() + chunk.remaining();
            if length > self.max_body_bytes {
                return Err(BodyError::TooLarge(self.max_body_bytes));
            }
            reservation.grow_to(length)?;
            if first.is_empty() && joined.is_empty() {
                first = chunk.copy_to_bytes(chunk.remaining());
                continue;
            }
            if joined.is_empty() {
                joined.reserve(FIRST_ALLOCATION.max(length));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.put(chunk);
        }
        let bytes = if joined.is_empty() { first } else { joined.freeze() };
        Ok(Body { bytes, reservation })
    }
}

/// Reads what is left of a body that nobody wants, bounded in time and size. A client that waits for
/// `100 Continue` is not asked to send it.
pub async fn discard<S, B, E>(headers: &HeaderMap, stream: S)
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut stream = std::pin::pin!(stream);
    let drained = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            seen += chunk.remaining();
            if seen > DISCARD_BYTES {
                break;
            }
        }
    };
    let _complete = timeout(DISCARD_TIMEOUT, drained).await;
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A share of the memory for bodies.
pub struct Reservation {
    memory: Arc<Semaphore>,
    permits: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// To `bytes` in all. Never waits: bodies that wait for each other's memory would all time out.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let held = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(PERMIT_BYTES).saturating_sub(held);
        let missing = u32::try_from(missing).map_err(|_| BodyError::Overloaded)?;
        if missing == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.memory).try_acquire_many_owned(missing).map_err(|_| BodyError::Overloaded)?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http::HeaderValue;

    use super::*;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn chunks_are_joined_up_to_the_limit() {
        for (sizes, expected) in [
            (vec![], Ok(0)),
            (vec![0, 5], Ok(5)),
            (vec![3, 4, 5], Ok(12)),
            (vec![MAX_BODY_BYTES], Ok(MAX_BODY_BYTES)),
            (vec![MAX_BODY_BYTES, 1], Err(BodyError::TooLarge(MAX_BODY_BYTES))),
        ] {
            let read = BodyReader::default().read(&HeaderMap::new(), chunks(&sizes)).await;
            assert_eq!(read.map(|body| body.bytes.len()), expected, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused_before_it_comes() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(MAX_BODY_BYTES + 1));
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        let never = stream::pending::<Result<Bytes, Infallible>>();
        assert_eq!(BodyReader::default().read(&headers, never).await.err(), Some(BodyError::TooLarge(MAX_BODY_BYTES)));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let reader = BodyReader { chunk_timeout: Duration::from_millis(20), ..BodyReader::default() };
        let stalls = chunks(&[5]).chain(stream::pending());
        assert_eq!(reader.read(&HeaderMap::new(), stalls).await.err(), Some(BodyError::TimedOut));
    }

    #[tokio::test]
    async fn bodies_share_memory_that_comes_back() {
        let (headers, reader) = (HeaderMap::new(), BodyReader::default());
        let mut held = Vec::new();
        for _ in 0..MAX_BUFFERED_BYTES / MAX_BODY_BYTES {
            held.push(reader.read(&headers, chunks(&[MAX_BODY_BYTES])).await.ok().unwrap());
        }
        let one_more = reader.read(&headers, chunks(&[MAX_BODY_BYTES])).await;
        assert_eq!(one_more.err(), Some(BodyError::Overloaded));
        held.clear();
        assert!(reader.read(&headers, chunks(&[MAX_BODY_BYTES])).await.is_ok());
    }

    #[tokio::test]
    async fn strangers_have_little_memory() {
        let (headers, reader) = (HeaderMap::new(), BodyReader::for_unknown_senders());
        let too_large = reader.read(&headers, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES, 1])).await;
        assert_eq!(too_large.err(), Some(BodyError::TooLarge(MAX_UNKNOWN_SENDERS_BODY_BYTES)));
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(reader.read(&headers, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES])).await.ok().unwrap());
        }
        let one_more = reader.read(&headers, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES])).await;
        assert_eq!(one_more.err(), Some(BodyError::Overloaded));
    }
}
