//! Reads request bodies with a cap on their size, their duration and the memory of all of them.
//! `warp::body::bytes` has no cap, and `content_length_limit` refuses the Node SDK, which sends
//! chunks without a Content-Length.

use std::{pin::Pin, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use tokio::time::{Instant, timeout, timeout_at};

use super::room::{Full, Reservation, Room};
use crate::dsn::PublicKey;

/// Largest body as it is sent, before decompression; sentry.io's own limit for envelopes.
pub const MAX_BODY_BYTES: usize = 20 << 20;

/// Bodies up to this, and what is inflated of them, have memory that larger ones cannot take. Most events have less than
/// a tenth.
pub const SMALL_BODY_BYTES: usize = 256 << 10;

/// What is kept for small bodies of all connections together, while they are read and understood.
pub const SMALL_BODIES_BYTES: usize = 8 << 20;

/// The same for larger bodies, and for what is inflated: one body of each kind at its largest. Small ones may take of it.
/// More is answered 503: a pod that is killed for its memory loses the events of all its clients.
pub const LARGE_BODIES_BYTES: usize = MAX_BODY_BYTES + super::content::MAX_ENVELOPE_BYTES;

/// The same for bodies whose request names no key: the key is inside, so nobody knows yet who sends. Strangers
/// who fill this keep only each other out.
pub const MAX_UNKNOWN_SENDERS_BODY_BYTES: usize = 1 << 20;
pub const MAX_UNKNOWN_SENDERS_BYTES: usize = 2 << 20;

/// A client that sends nothing for this long is given up (PHP itself gives up after 5 s).
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body has to be here within this time; Python's transport gives up after 30 s.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// How long, and how much of it, the rest of a refused body is read and thrown away: closing a socket
/// that holds unread data resets it, and the client would see that instead of our answer.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
const DISCARD_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Room for the first chunks whatever the client claims its length to be.
const FIRST_ALLOCATION: usize = 8 << 10;

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

impl From<Full> for BodyError {
    fn from(_: Full) -> Self {
        Self::Overloaded
    }
}

/// A body and its share of the reader's memory, which is free again when this is dropped.
pub struct Body {
    pub bytes: Bytes,
    pub reservation: Reservation,
}

/// Reads bodies; clones share the memory for all of them.
#[derive(Clone)]
pub struct BodyReader {
    small: Room,
    /// Of those above [`SMALL_BODY_BYTES`].
    large: Room,
    max_body_bytes: usize,
    chunk_timeout: Duration,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self::new(MAX_BODY_BYTES, Room::new(SMALL_BODIES_BYTES), Room::new(LARGE_BODIES_BYTES))
    }
}

impl BodyReader {
    /// Reads bodies of clients that are not known yet.
    pub fn for_unknown_senders() -> Self {
        let room = Room::new(MAX_UNKNOWN_SENDERS_BYTES);
        Self::new(MAX_UNKNOWN_SENDERS_BODY_BYTES, room.clone(), room)
    }

    fn new(max_body_bytes: usize, small: Room, large: Room) -> Self {
        Self { small, large, max_body_bytes, chunk_timeout: CHUNK_TIMEOUT }
    }

    /// Memory for small bodies.
    pub fn small(&self) -> &Room {
        &self.small
    }

    /// Memory for larger bodies, and for what is inflated.
    pub fn large(&self) -> &Room {
        &self.large
    }

    /// Reads the whole of `stream`, which `key` sends. On an error the rest has been read and thrown away, as far as that
    /// is sensible, so that the client can read our answer.
    pub async fn read<S, B, E>(
        &self,
        headers: &HeaderMap,
        key: Option<&PublicKey>,
        stream: S,
    ) -> Result<Body, BodyError>
    where
        S: Stream<Item = Result<B, E>>,
        B: Buf,
    {
        let mut stream = std::pin::pin!(stream);
        let announced = announced_length(headers);
        let result = if announced.is_some_and(|length| length > self.max_body_bytes) {
            Err(BodyError::TooLarge(self.max_body_bytes))
        } else {
            self.collect(announced, key, stream.as_mut()).await
        };
        if matches!(result, Err(BodyError::TooLarge(_) | BodyError::Overloaded)) {
            discard(headers, stream).await;
        }
        result
    }

    async fn collect<S, B, E>(
        &self,
        announced: Option<usize>,
        key: Option<&PublicKey>,
        mut stream: Pin<&mut S>,
    ) -> Result<Body, BodyError>
    where
        S: Stream<Item = Result<B, E>>,
        B: Buf,
    {
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut joined = Joined { bytes: Vec::new(), reservation: self.small.reservation(key), is_large: false };
        loop {
            let patience = deadline.min(Instant::now() + self.chunk_timeout);
            let Some(chunk) = timeout_at(patience, stream.next()).await.map_err(|_| BodyError::TimedOut)? else {
                break;
            };
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            let length = joined.bytes.len() + chunk.remaining();
            if length > self.max_body_bytes {
                return Err(BodyError::TooLarge(self.max_body_bytes));
            }
            if length > joined.bytes.capacity() {
                let doubled = FIRST_ALLOCATION.max(2 * joined.bytes.capacity()).min(announced.unwrap_or(usize::MAX));
                joined.grow_to(doubled.max(length), &self.large, key)?;
            }
            // A chunk is a part of a buffer that may be much larger: it is not kept.
            joined.bytes.put(chunk);
        }
        joined.finish()
    }
}

/// What has come of a body, and what covers the capacity of its vector.
struct Joined {
    bytes: Vec<u8>,
    reservation: Reservation,
    is_large: bool,
}

impl Joined {
    /// While the bytes are moved there are two vectors. Small bodies take of the memory of larger ones when theirs is full.
    fn grow_to(&mut self, capacity: usize, large: &Room, key: Option<&PublicKey>) -> Result<(), BodyError> {
        let both = self.bytes.capacity() + capacity;
        let until_moved = if self.is_large {
            self.reservation.resize(both)?;
            None
        } else if capacity <= SMALL_BODY_BYTES && self.reservation.resize(both).is_ok() {
            None
        } else {
            let mut reservation = large.reservation(key);
            reservation.resize(capacity)?;
            self.is_large = true;
            Some(std::mem::replace(&mut self.reservation, reservation))
        };
        self.bytes.reserve_exact(capacity - self.bytes.len());
        drop(until_moved);
        Ok(self.reservation.resize(self.bytes.capacity())?)
    }

    fn finish(self) -> Result<Body, BodyError> {
        let Self { mut bytes, mut reservation, .. } = self;
        bytes.shrink_to_fit();
        reservation.resize(bytes.capacity())?;
        Ok(Body { bytes: bytes.into(), reservation })
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http::HeaderValue;

    use super::*;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
        stream::iter(sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect::<Vec<_>>())
    }

    fn key(number: u8) -> PublicKey {
        PublicKey::from_random([number; 16])
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
            let read = BodyReader::default().read(&HeaderMap::new(), Some(&key(1)), chunks(&sizes)).await;
            assert_eq!(read.map(|body| body.bytes.len()), expected, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused_before_it_comes() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(MAX_BODY_BYTES + 1));
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        let never = stream::pending::<Result<Bytes, Infallible>>();
        let read = BodyReader::default().read(&headers, None, never).await;
        assert_eq!(read.err(), Some(BodyError::TooLarge(MAX_BODY_BYTES)));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let reader = BodyReader { chunk_timeout: Duration::from_millis(20), ..BodyReader::default() };
        let stalls = chunks(&[5]).chain(stream::pending());
        assert_eq!(reader.read(&HeaderMap::new(), None, stalls).await.err(), Some(BodyError::TimedOut));
        assert_eq!(reader.small.free_bytes(), SMALL_BODIES_BYTES);
    }

    /// What is held is what is counted, also of a buffer that is longer than what is in it.
    #[tokio::test]
    async fn capacities_are_counted_and_not_lengths() {
        const CHUNK: usize = 5000;
        for length in [1, CHUNK, 3 * CHUNK, SMALL_BODY_BYTES, SMALL_BODY_BYTES + 1, MAX_BODY_BYTES] {
            for announced in [false, true] {
                let reader = BodyReader::default();
                let mut headers = HeaderMap::new();
                if announced {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                }
                // Each chunk is one of a buffer that its owner keeps.
                let buffer = Bytes::from(vec![b'x'; MAX_BODY_BYTES]);
                let sent: Vec<_> = (0..length)
                    .step_by(CHUNK)
                    .map(|at| Ok::<_, Infallible>(buffer.slice(at..(at + CHUNK).min(length))))
                    .collect();
                let body = reader.read(&headers, Some(&key(1)), stream::iter(sent)).await.unwrap();
                drop(buffer);
                let free = (reader.small.free_bytes(), reader.large.free_bytes());
                let expected = if length <= SMALL_BODY_BYTES {
                    (SMALL_BODIES_BYTES - length, LARGE_BODIES_BYTES)
                } else {
                    (SMALL_BODIES_BYTES, LARGE_BODIES_BYTES - length)
                };
                assert_eq!(free, expected, "{length} announced {announced}");
                drop(body);
                assert_eq!(reader.large.free_bytes(), LARGE_BODIES_BYTES);
            }
        }
    }

    #[tokio::test]
    async fn a_vector_that_grows_is_covered_while_it_is_moved() {
        let room = Room::new(64 << 10);
        let reader = BodyReader::new(MAX_BODY_BYTES, room.clone(), room.clone());
        // 32 KiB and their double do not fit beside each other.
        let read = reader.read(&HeaderMap::new(), None, chunks(&[8 << 10, 8 << 10, 8 << 10, 20 << 10])).await;
        assert_eq!(read.err(), Some(BodyError::Overloaded));
        assert!(reader.read(&HeaderMap::new(), None, chunks(&[60 << 10])).await.is_ok());
        assert_eq!(room.free_bytes(), 64 << 10);
    }

    #[tokio::test]
    async fn bodies_share_memory_that_comes_back() {
        let (headers, reader) = (HeaderMap::new(), BodyReader::default());
        let mut held = Vec::new();
        for sender in 0..u8::try_from(LARGE_BODIES_BYTES / MAX_BODY_BYTES).unwrap() {
            let body = reader.read(&headers, Some(&key(sender)), chunks(&[MAX_BODY_BYTES])).await;
            held.push(body.ok().unwrap());
        }
        let one_more = async || reader.read(&headers, Some(&key(99)), chunks(&[MAX_BODY_BYTES])).await;
        assert_eq!(one_more().await.err(), Some(BodyError::Overloaded));
        assert!(reader.read(&headers, Some(&key(99)), chunks(&[SMALL_BODY_BYTES])).await.is_ok(), "a small one fits");
        held.clear();
        assert!(one_more().await.is_ok());
    }

    #[tokio::test]
    async fn a_key_that_takes_all_it_can_leaves_the_rest_to_others() {
        for size in [SMALL_BODY_BYTES, MAX_BODY_BYTES] {
            let (headers, reader) = (HeaderMap::new(), BodyReader::default());
            let mut held = Vec::new();
            let refused = loop {
                match reader.read(&headers, Some(&key(1)), chunks(&[size])).await {
                    Ok(body) => held.push(body),
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, BodyError::Overloaded, "{size}");
            let most = LARGE_BODIES_BYTES / 2 + if size <= SMALL_BODY_BYTES { SMALL_BODIES_BYTES / 2 } else { 0 };
            assert_eq!(held.len(), most / size, "{size}");
            assert!(reader.read(&headers, Some(&key(2)), chunks(&[size])).await.is_ok(), "{size}");
        }
    }

    #[tokio::test]
    async fn strangers_have_little_memory() {
        let (headers, reader) = (HeaderMap::new(), BodyReader::for_unknown_senders());
        let too_large = reader.read(&headers, None, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES, 1])).await;
        assert_eq!(too_large.err(), Some(BodyError::TooLarge(MAX_UNKNOWN_SENDERS_BODY_BYTES)));
        let mut held = Vec::new();
        for _ in 0..MAX_UNKNOWN_SENDERS_BYTES / MAX_UNKNOWN_SENDERS_BODY_BYTES {
            held.push(reader.read(&headers, None, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES])).await.ok().unwrap());
        }
        let one_more = reader.read(&headers, None, chunks(&[MAX_UNKNOWN_SENDERS_BODY_BYTES])).await;
        assert_eq!(one_more.err(), Some(BodyError::Overloaded));
    }
}
