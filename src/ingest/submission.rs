//! One request on its way: authenticate → decode → understand → store → answer.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::Stream;
use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{
    body::{self, BodyReader, Reservation},
    database::Database,
    keys::Keys,
    lookups::KeyState,
    metrics::Metrics,
    outcomes::Reason,
    path::{Endpoint, Target},
    pipeline::Pipeline,
    prepare,
    refusal::Refusal,
};
use crate::{
    dsn::{ProjectId, PublicKey},
    protocol::{
        auth::{self, AuthError},
        encoding::{self, DecodeError, Encoding},
        envelope::{self, Envelope, ItemKind},
        event::{EventId, MAX_BYTES as MAX_EVENT_BYTES},
    },
    store::ingest::Row,
};

/// Largest envelope after decompression; Sentry's documented limit.
const MAX_ENVELOPE_BYTES: usize = 100 << 20;

/// Largest `/store/` body after decompression: an event in base64, with room for line ends.
const MAX_STORE_BYTES: usize = 2 * MAX_EVENT_BYTES;

/// What is done on the spot: to inflate this much, or to read a payload of this size, takes a few
/// milliseconds at most. The rest moves to a thread of its own.
const INLINE_INFLATED_BYTES: usize = 1 << 20;
const INLINE_BYTES: usize = 64 << 10;

/// Large bodies at a time: each may grow to [`MAX_ENVELOPE_BYTES`] in memory, beside the memory of all other
/// bodies.
const LARGE_BODIES: usize = 1;

const ENVELOPE_TYPE: &str = "application/x-sentry-envelope";

/// What all requests share.
#[derive(Clone)]
pub struct Ingest {
    pub project: ProjectId,
    pub keys: Arc<Keys>,
    pub database: Database,
    pub pipeline: Pipeline,
    pub metrics: Metrics,
    pub bodies: BodyReader,
    /// Bodies that bring their key themselves.
    pub strangers: BodyReader,
    pub large_bodies: LargeBodies,
}

/// Turns for large bodies. Clones share them.
#[derive(Clone)]
pub struct LargeBodies(Arc<Semaphore>);

impl LargeBodies {
    /// Does heavy work on a thread of its own, one request at a time. What covers its memory comes back with
    /// the result.
    async fn apart<T, F>(&self, mut cover: Cover, work: F) -> Result<(T, Cover), Refusal>
    where
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        if cover.turn.is_none() {
            cover.turn = Arc::clone(&self.0).acquire_owned().await.ok();
        }
        let covered = move || Ok((work()?, cover));
        tokio::task::spawn_blocking(covered).await.unwrap_or(Err(Refusal::Overloaded))
    }
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES)))
    }
}

/// One request. `key` is kept for the log line of a refusal.
pub struct Submission<'a> {
    ingest: &'a Ingest,
    target: Target,
    headers: &'a HeaderMap,
    query: &'a str,
    received_at: Timestamp,
    key: Option<PublicKey>,
}

/// What covers a body's memory. It goes along to the threads that work on the body: a client that leaves ends
/// its request, but not those.
struct Cover {
    reservation: Reservation,
    /// For what is too large to be reserved.
    turn: Option<OwnedSemaphorePermit>,
}

/// A decoded body, and how much more memory it takes than it took on the wire.
struct Decoded {
    content: Content,
    unpacked_bytes: usize,
}

enum Content {
    Envelope(Envelope),
    Event(Bytes),
}

impl<'a> Submission<'a> {
    pub fn new(ingest: &'a Ingest, target: Target, headers: &'a HeaderMap, query: &'a str) -> Self {
        Self { ingest, target, headers, query, received_at: Timestamp::now(), key: None }
    }

    /// The key that was sent, as far as it was understood.
    pub fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// Returns when what was sent is durable: with the event's id, if there was an event.
    pub async fn accept<S, B>(&mut self, body: S) -> Result<Option<EventId>, Refusal>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let mut body = std::pin::pin!(body);
        let encoding = match self.authenticate().await {
            Ok(encoding) => encoding,
            Err(refusal) => {
                body::discard(self.headers, body).await;
                return Err(refusal);
            }
        };
        let reader = if self.key.is_some() { &self.ingest.bodies } else { &self.ingest.strangers };
        let received = reader.read(self.headers, body.as_mut()).await?;
        if received.bytes.is_empty() {
            return Err(Refusal::EmptyBody);
        }
        let cover = Cover { reservation: received.reservation, turn: None };
        let (content, cover) = self.decode(encoding, received.bytes, cover).await?;
        let (row, cover) = match content {
            Content::Envelope(envelope) => {
                self.check_envelope_dsn(&envelope).await?;
                let envelope_id = envelope.event_id;
                match self.event_of(envelope) {
                    Some(payload) => self.row(payload, envelope_id, cover).await?,
                    // Nothing to store; Relay confirms the id all the same.
                    None => return Ok(envelope_id),
                }
            }
            Content::Event(payload) => self.row(payload, None, cover).await?,
        };
        // The row holds what is needed from here on: let the next body in.
        drop(cover);
        let event_id = row.event_id;
        self.ingest.pipeline.store(row).await?;
        Ok(Some(event_id))
    }

    /// Checks all that the head of the request tells. Without a key there, an envelope may name one.
    async fn authenticate(&mut self) -> Result<Encoding, Refusal> {
        let project = self.target.project.ok_or(Refusal::BadProjectId)?;
        let header = text(self.headers, "x-sentry-auth")?;
        let authorization = text(self.headers, header::AUTHORIZATION.as_str())?;
        self.key = auth::parse(header, authorization, self.query)?.map(|auth| auth.key);
        if project != self.ingest.project {
            return Err(if self.key.is_some() { Refusal::UnknownKey } else { AuthError::Missing.into() });
        }
        match self.key.clone() {
            Some(key) => self.admit(&key).await?,
            None if self.target.endpoint == Endpoint::Envelope => {}
            None => return Err(AuthError::Missing.into()),
        }
        let coding = self.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        // Two header lines are two codings.
        let several = self.headers.get_all(header::CONTENT_ENCODING).iter().count() > 1;
        Ok(Encoding::parse(if several { Some("several") } else { coding })?)
    }

    async fn admit(&self, key: &PublicKey) -> Result<(), Refusal> {
        match self.ingest.keys.state(key, &self.ingest.database).await {
            KeyState::Accepted => {
                self.ingest.keys.used(key, self.received_at);
                Ok(())
            }
            KeyState::Unknown => Err(Refusal::UnknownKey),
            KeyState::Unavailable => Err(Refusal::KeysUnavailable),
        }
    }

    /// The envelope's own DSN may not contradict the request; it is the key of a request without one.
    async fn check_envelope_dsn(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        if let Some(key) = &self.key {
            return Ok(envelope.check_dsn(self.ingest.project, key)?);
        }
        let dsn = envelope.dsn.as_ref().ok_or(AuthError::Missing)?;
        self.key = Some(dsn.public_key.clone());
        envelope.check_dsn(self.ingest.project, &dsn.public_key)?;
        self.admit(&dsn.public_key).await
    }

    async fn decode(&self, encoding: Encoding, bytes: Bytes, mut cover: Cover) -> Result<(Content, Cover), Refusal> {
        let content_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_envelope = self.target.endpoint == Endpoint::Envelope
            || content_type.is_some_and(|value| value.trim_start().starts_with(ENVELOPE_TYPE));
        let limit = match (is_envelope, &self.key) {
            (false, _) => MAX_STORE_BYTES,
            (true, Some(_)) => MAX_ENVELOPE_BYTES,
            // Nobody inflates more for a stranger than what fits on the spot.
            (true, None) => INLINE_INFLATED_BYTES,
        };
        if bytes.len() <= INLINE_BYTES {
            let inline = if encoding == Encoding::Identity { limit } else { limit.min(INLINE_INFLATED_BYTES) };
            match decoded(encoding, bytes.clone(), inline, is_envelope) {
                Err(Refusal::Decode(DecodeError::TooLarge(_))) if inline < limit => {}
                Err(refusal) => return Err(refusal),
                Ok(decoded) => {
                    cover.reservation.grow_to(bytes.len() + decoded.unpacked_bytes)?;
                    return Ok((decoded.content, cover));
                }
            }
        }
        let length = bytes.len();
        let (decoded, mut cover) =
            self.ingest.large_bodies.apart(cover, move || decoded(encoding, bytes, limit, is_envelope)).await?;
        if decoded.unpacked_bytes <= INLINE_INFLATED_BYTES {
            cover.reservation.grow_to(length + decoded.unpacked_bytes)?;
            cover.turn = None;
        }
        Ok((decoded.content, cover))
    }

    /// The event of an envelope; everything else in it is counted and dropped.
    fn event_of(&self, envelope: Envelope) -> Option<Bytes> {
        let mut event = None;
        for item in envelope.items {
            let dropped = match item.kind {
                ItemKind::Event if event.is_none() => {
                    event = Some(item.payload);
                    continue;
                }
                ItemKind::Event => Reason::DuplicateItem,
                ItemKind::Session | ItemKind::Sessions => Reason::Session,
                ItemKind::ClientReport => Reason::ClientReport,
                ItemKind::Attachment => Reason::Attachment,
                _ => Reason::UnsupportedItem,
            };
            self.ingest.metrics.outcomes.count(dropped, 1);
        }
        event
    }

    async fn row(&self, payload: Bytes, envelope_id: Option<EventId>, cover: Cover) -> Result<(Row, Cover), Refusal> {
        let (received_at, project) = (self.received_at, self.ingest.project);
        let generated_id = EventId(Uuid::new_v4().into_bytes());
        let small = payload.len() <= INLINE_BYTES;
        let prepared = move || prepare::row(&payload, received_at, envelope_id, generated_id, project);
        if small { Ok((prepared()?, cover)) } else { self.ingest.large_bodies.apart(cover, prepared).await }
    }
}

fn decoded(encoding: Encoding, bytes: Bytes, limit: usize, is_envelope: bool) -> Result<Decoded, Refusal> {
    let body = encoding::decode(encoding, bytes, limit)?;
    let inflated = if encoding == Encoding::Identity { 0 } else { body.len() };
    if is_envelope {
        return Ok(Decoded { content: Content::Envelope(envelope::parse(&body)?), unpacked_bytes: inflated });
    }
    let event = encoding::store_body(body.clone(), MAX_EVENT_BYTES)?;
    // Of base64 it is another copy.
    let unpacked = if event.as_ptr() == body.as_ptr() { 0 } else { event.len() };
    Ok(Decoded { content: Content::Event(event), unpacked_bytes: inflated + unpacked })
}

/// A header's value; one that is not text cannot be credentials.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    headers.get(name).map(|value| value.to_str().map_err(|_| AuthError::Malformed)).transpose()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::stream;

    use super::*;
    use crate::ingest::{
        body::{MAX_BUFFERED_BYTES, MAX_STRANGERS_BYTES},
        pipeline::{BATCH_BYTES, QUEUE_BYTES},
        writer::WRITERS,
    };

    /// Default memory limit of an ingest pod, and what a process without a request takes, generously.
    const POD_BYTES: usize = 256 << 20;
    const BASE_BYTES: usize = 32 << 20;

    #[test]
    fn everything_at_its_maximum_fits_into_the_pod() {
        let bodies = LARGE_BODIES * MAX_ENVELOPE_BYTES + MAX_BUFFERED_BYTES + MAX_STRANGERS_BYTES;
        // A batch under way is copied into the statement and into the connection's buffer.
        let events = QUEUE_BYTES + 2 * WRITERS * BATCH_BYTES;
        assert!(bodies + events <= POD_BYTES - BASE_BYTES, "{bodies} {events}");
    }

    async fn cover(reader: &BodyReader) -> Cover {
        let body = stream::iter([Ok::<_, warp::Error>(Bytes::from_static(b"body"))]);
        let body = reader.read(&HeaderMap::new(), body).await.unwrap();
        Cover { reservation: body.reservation, turn: None }
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
        let mut request = Box::pin(large_bodies.apart(cover(&reader).await, work));
        assert!(futures::poll!(&mut request).is_pending());
        tokio::task::spawn_blocking(move || has_started.recv()).await.unwrap().unwrap();
        drop(request);
        assert!(reader.free_bytes() < untouched);
        assert_eq!(large_bodies.0.available_permits(), LARGE_BODIES - 1);

        finish.send(()).unwrap();
        let _turn = large_bodies.0.acquire().await.unwrap();
        assert_eq!(reader.free_bytes(), untouched);
    }

    #[test]
    fn what_a_body_unpacks_to_is_known() {
        let plain = br#"{"message":"hello"}"#;
        let gzip = |plain: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, plain).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let base64 = Bytes::from_static(b"eyJtZXNzYWdlIjoiaGVsbG8ifQ==");
        for (name, encoding, bytes, expected) in [
            ("plain", Encoding::Identity, Bytes::from_static(plain), 0),
            ("gzip", Encoding::Gzip, gzip(plain), plain.len()),
            ("base64", Encoding::Identity, base64.clone(), plain.len()),
            ("gzip of base64", Encoding::Gzip, gzip(&base64), base64.len() + plain.len()),
        ] {
            let decoded = decoded(encoding, bytes, MAX_STORE_BYTES, false).unwrap();
            assert_eq!(decoded.unpacked_bytes, expected, "{name}");
        }
    }
}
