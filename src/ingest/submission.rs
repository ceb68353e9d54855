//! One request on its way: authenticate → decode → understand → store → answer.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::Stream;
use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{
    body::{self, BodyReader},
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

/// Large bodies at a time: each may grow to [`MAX_ENVELOPE_BYTES`] in memory.
const LARGE_BODIES: usize = 2;

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
    pub large_bodies: LargeBodies,
}

/// Turns for large bodies. Clones share them.
#[derive(Clone)]
pub struct LargeBodies(Arc<Semaphore>);

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
    turn: Option<OwnedSemaphorePermit>,
}

/// A decoded body.
enum Content {
    Envelope(Envelope),
    Event(Bytes),
}

impl<'a> Submission<'a> {
    pub fn new(ingest: &'a Ingest, target: Target, headers: &'a HeaderMap, query: &'a str) -> Self {
        Self { ingest, target, headers, query, received_at: Timestamp::now(), key: None, turn: None }
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
        let received = self.ingest.bodies.read(self.headers, body.as_mut()).await?;
        if received.bytes.is_empty() {
            return Err(Refusal::EmptyBody);
        }
        let content = self.decode(encoding, received.bytes.clone()).await?;
        let row = match content {
            Content::Envelope(envelope) => {
                self.check_envelope_dsn(&envelope).await?;
                let envelope_id = envelope.event_id;
                match self.event_of(envelope) {
                    Some(payload) => self.row(payload, envelope_id).await?,
                    // Nothing to store; Relay confirms the id all the same.
                    None => return Ok(envelope_id),
                }
            }
            Content::Event(payload) => self.row(payload, None).await?,
        };
        // The row holds what is needed from here on: let the next large body in.
        self.turn = None;
        drop(received);
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

    async fn decode(&mut self, encoding: Encoding, bytes: Bytes) -> Result<Content, Refusal> {
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
            match content(encoding, bytes.clone(), inline, is_envelope) {
                Err(Refusal::Decode(DecodeError::TooLarge(_))) if inline < limit => {}
                result => return result,
            }
        }
        self.apart(move || content(encoding, bytes, limit, is_envelope)).await
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

    async fn row(&mut self, payload: Bytes, envelope_id: Option<EventId>) -> Result<Row, Refusal> {
        let (received_at, project) = (self.received_at, self.ingest.project);
        let generated_id = EventId(Uuid::new_v4().into_bytes());
        let small = payload.len() <= INLINE_BYTES;
        let prepared = move || prepare::row(&payload, received_at, envelope_id, generated_id, project);
        if small { prepared() } else { self.apart(prepared).await }
    }

    /// Does heavy work on a thread of its own, a few requests at a time. The turn stays with the request
    /// until its row is made, as what was inflated stays in memory.
    async fn apart<T, F>(&mut self, work: F) -> Result<T, Refusal>
    where
        F: FnOnce() -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        if self.turn.is_none() {
            self.turn = Arc::clone(&self.ingest.large_bodies.0).acquire_owned().await.ok();
        }
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refusal::Overloaded))
    }
}

fn content(encoding: Encoding, bytes: Bytes, limit: usize, is_envelope: bool) -> Result<Content, Refusal> {
    let decoded = encoding::decode(encoding, bytes, limit)?;
    if is_envelope {
        Ok(Content::Envelope(envelope::parse(&decoded)?))
    } else {
        Ok(Content::Event(encoding::store_body(decoded, MAX_EVENT_BYTES)?))
    }
}

/// A header's value; one that is not text cannot be credentials.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    headers.get(name).map(|value| value.to_str().map_err(|_| AuthError::Malformed)).transpose()
}
