//! One request on its way: authenticate → decode → read → store → answer.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bytes::{Buf, Bytes};
use futures::Stream;
use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    answer::{Accepted, Answer},
    body::{self, BodyError, BodyReader, DISCARD_TIMEOUT},
    content::{Content, Decoded, MAX_ENVELOPE_BYTES, MAX_STORE_BYTES},
    database::Database,
    decoding::{Decoding, INLINE_INFLATED_BYTES},
    groupings::Groupings,
    keys::Keys,
    large_bodies::{BodyMemory, Class, LargeBodies},
    limits::{Exceeded, Limit, Limits},
    lookups::KeyLookup,
    metrics::Metrics,
    outcomes::Category,
    path::{Addressed, Endpoint, Target},
    pipeline::{Pipeline, Unit},
    reading::{Read, Reading, ReportQuery},
    refusal::Refusal,
    refused_keys::{self, RefusedKeys},
    rules::Rules,
};
use crate::{
    dsn::{ProjectId, PublicKey},
    protocol::{
        auth::{self, Auth, AuthError},
        encoding::{self, Encoding},
        envelope::{Envelope, ItemKind},
        event::MAX_BYTES as MAX_EVENT_BYTES,
    },
    server::Peer,
};

/// To read a payload of this size takes a few milliseconds at most. The rest moves to a thread of its own.
pub const INLINE_BYTES: usize = 64 << 10;

const ENVELOPE_TYPE: &str = "application/x-sentry-envelope";

/// What all requests share.
#[derive(Clone)]
pub struct Ingest {
    pub project: ProjectId,
    pub keys: Arc<Keys>,
    pub refused_keys: Arc<RefusedKeys>,
    pub limits: Arc<Limits>,
    pub groupings: Arc<Groupings>,
    pub database: Database,
    pub pipeline: Pipeline,
    pub metrics: Metrics,
    pub bodies: BodyReader,
    /// Bodies that bring their key themselves.
    pub unknown_senders: BodyReader,
    pub large_bodies: LargeBodies,
}

/// One request. `key` is kept for the log line of a refusal.
pub struct Submission<'a> {
    ingest: &'a Ingest,
    target: Target,
    headers: &'a HeaderMap,
    query: &'a str,
    received_at: Timestamp,
    key: Option<PublicKey>,
    /// The SDK, as it names itself beside the key.
    client: Option<String>,
    admitted: bool,
    /// The key is one of the project's that is not accepted any more.
    of_refused_key: bool,
    /// Events that are counted towards the limits.
    charged: usize,
    /// What was lost is counted by what it was.
    counted: bool,
    rules: Arc<Rules>,
    peer: Option<Peer>,
}

impl<'a> Submission<'a> {
    pub fn new(ingest: &'a Ingest, target: Target, headers: &'a HeaderMap, peer: Option<Peer>, query: &'a str) -> Self {
        Self {
            ingest,
            target,
            headers,
            query,
            received_at: ingest.keys.now(),
            key: None,
            client: None,
            admitted: false,
            of_refused_key: false,
            charged: 0,
            counted: false,
            rules: ingest.keys.rules(),
            peer,
        }
    }

    /// The key that was sent, as far as it was understood.
    pub fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// The key that was sent, if it is one of the project's, also one that has ended.
    pub fn known_key(&self) -> Option<&PublicKey> {
        self.key.as_ref().filter(|_| self.admitted || self.of_refused_key)
    }

    /// The key that was sent, if the project accepts it.
    fn admitted_key(&self) -> Option<&PublicKey> {
        self.key.as_ref().filter(|_| self.admitted)
    }

    /// Whether what the refused request brought is counted already.
    pub fn counted(&self) -> bool {
        self.counted
    }

    /// What a refusal of the whole request is about.
    pub fn category(&self) -> Category {
        match self.target.endpoint {
            Endpoint::Security | Endpoint::Nel => Category::Security,
            Endpoint::Envelope | Endpoint::Store | Endpoint::Minidump => Category::Error,
        }
    }

    /// Returns when what was sent is durable.
    pub async fn accept<S, B>(&mut self, body: S) -> Result<Accepted, Refusal>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let accepted = self.accept_body(body).await;
        if accepted.is_err() {
            self.settle(0);
        }
        accepted
    }

    async fn accept_body<S, B>(&mut self, body: S) -> Result<Accepted, Refusal>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let mut body = std::pin::pin!(body);
        let encoding = match self.admit_head().await {
            Ok(encoding) => encoding,
            Err(refusal) => {
                match self.key.as_ref().filter(|key| self.may_name_server(key)) {
                    Some(key) => self.read_server_name(key, body).await,
                    None => body::discard(self.headers, body).await,
                }
                return Err(refusal);
            }
        };
        let received = self.reader().read(self.headers, self.key.as_ref(), body.as_mut()).await?;
        if received.bytes.is_empty() {
            return Err(Refusal::EmptyBody);
        }
        let memory = BodyMemory::new(received.reservation);
        let (content, memory) = self.decode(encoding, received.bytes, memory).await?;
        self.take(content, memory).await
    }

    /// An event in the query of an image's address, as base64.
    pub async fn accept_query(&mut self) -> Result<Accepted, Refusal> {
        let accepted = self.take_query().await;
        if accepted.is_err() {
            self.settle(0);
        }
        accepted.map(|accepted| Accepted { answer: Answer::Pixel, ..accepted })
    }

    async fn take_query(&mut self) -> Result<Accepted, Refusal> {
        self.admit_head().await?;
        let event = form_urlencoded::parse(self.query.as_bytes()).find(|(name, _)| name == "sentry_data");
        let event = event.map(|(_, event)| event.into_owned()).ok_or(Refusal::EmptyBody)?;
        // Some pages forget that a plus of base64 is a blank in a query.
        let event = if event.starts_with('{') { event } else { event.replace(' ', "+") };
        let event = encoding::store_body(event.into(), MAX_EVENT_BYTES)?;
        let mut reservation = self.ingest.bodies.small().reservation(self.key.as_ref());
        reservation.grow_to(self.query.len() + event.len()).map_err(BodyError::from)?;
        self.take(Content::Event(event), BodyMemory::new(reservation)).await
    }

    /// Reads and stores what was decoded.
    async fn take(&mut self, content: Content, memory: BodyMemory) -> Result<Accepted, Refusal> {
        let mut exceeded = None;
        if let Content::Envelope(envelope) = &content {
            if let Err(refusal) = self.check_envelope_dsn(envelope).await {
                if let Some(key) = self.key.as_ref().filter(|key| self.may_name_server(key)) {
                    self.note_server_name(key, &content);
                }
                return Err(refusal);
            }
            self.check_origin()?;
            if envelope.items.iter().any(|item| matches!(item.kind, ItemKind::Event | ItemKind::Security)) {
                exceeded = self.admit_event().err();
            }
        }
        let endpoint = self.target.endpoint;
        let (mut read, memory) = self.read(content, exceeded, memory).await?;
        let exceeded = read.exceeded().cloned();
        self.settle(read.unit.rows.len());
        while read.unit.rows.len() > self.charged {
            if let Err(exceeded) = self.admit_event() {
                // The rest of a list of reports.
                read.cut_events(self.charged, Category::Security, Refusal::RateLimited(exceeded).reason());
            }
        }
        let refusal = read.take_refusal();
        let Read { unit, event_id, items } = read;
        self.ingest.metrics.outcomes.count_items(self.admitted_key(), items);
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        // The rows hold what is needed from here on: let the next body in.
        drop(memory);
        if !unit.is_empty() {
            let (key, contents) = (self.key.clone(), unit.contents());
            let stored = self.ingest.pipeline.store(Unit { key, ..unit }).await;
            if let Err(refusal) = &stored {
                // What has reached a writer is counted there, whether anybody waits for the answer or not.
                if matches!(refusal, Refusal::Overloaded) {
                    self.ingest.metrics.lost(self.admitted_key(), contents, refusal.reason());
                }
                self.counted = true;
            }
            stored?;
        }
        let answer = match endpoint {
            Endpoint::Envelope | Endpoint::Store => Answer::Id(event_id),
            Endpoint::Security | Endpoint::Nel => Answer::Nothing,
            Endpoint::Minidump => event_id.map_or(Answer::Nothing, Answer::Uuid),
        };
        Ok(Accepted { answer, exceeded })
    }

    /// Checks all that the head of the request tells. Without a key there, an envelope may name one.
    async fn admit_head(&mut self) -> Result<Encoding, Refusal> {
        let header = text(self.headers, "x-sentry-auth")?;
        let authorization = text(self.headers, header::AUTHORIZATION.as_str())?;
        let of_other_project = match self.target.project {
            Addressed::Project(project) => project != self.ingest.project,
            Addressed::OfKey => false,
            Addressed::Invalid => return Err(Refusal::BadProjectId),
        };
        if let Some(Auth { key, client, .. }) = auth::parse(header, authorization, self.query)? {
            (self.key, self.client) = (Some(key), client);
        }
        if of_other_project {
            return Err(if self.key.is_some() { Refusal::UnknownKey } else { AuthError::Missing.into() });
        }
        match self.key.clone() {
            Some(key) => self.admit(&key).await?,
            None if self.target.endpoint == Endpoint::Envelope => {}
            None => return Err(AuthError::Missing.into()),
        }
        if self.admitted {
            self.check_origin()?;
        }
        // What else an envelope brings is not limited.
        if !matches!(self.format(), Endpoint::Envelope | Endpoint::Nel) {
            self.admit_event().map_err(Refusal::RateLimited)?;
        }
        self.encoding()
    }

    fn encoding(&self) -> Result<Encoding, Refusal> {
        let coding = self.headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        // Two header lines are two codings.
        let several = self.headers.get_all(header::CONTENT_ENCODING).iter().count() > 1;
        Ok(Encoding::parse(if several { Some("several") } else { coding })?)
    }

    async fn admit(&mut self, key: &PublicKey) -> Result<(), Refusal> {
        match self.ingest.keys.state(key, &self.ingest.database).await {
            KeyLookup::Accepted => {
                self.ingest.keys.used(key, Instant::now());
                self.admitted = true;
                // Those from before the first poll are nobody's.
                self.rules = self.ingest.keys.rules();
                if self.rules.active { Ok(()) } else { Err(Refusal::Inactive) }
            }
            KeyLookup::Refused => {
                self.of_refused_key = true;
                let address = self.peer.as_ref().map(|Peer(peer)| peer.ip());
                self.ingest.refused_keys.note(key, self.client.as_deref(), address, Instant::now());
                Err(Refusal::InactiveKey)
            }
            KeyLookup::Unknown => Err(Refusal::UnknownKey),
            KeyLookup::Unavailable => Err(Refusal::KeysUnavailable),
        }
    }

    /// Whether the body of this refused request may be looked into for where it came from. A client that waits for `100
    /// Continue` is not asked for it.
    fn may_name_server(&self, key: &PublicKey) -> bool {
        self.of_refused_key
            && !self.headers.contains_key(header::EXPECT)
            && self.ingest.refused_keys.may_read(key, Instant::now())
    }

    /// Reads a body that is refused as if its sender were unknown, and for no longer than it would be thrown away.
    async fn read_server_name<S, B>(&self, key: &PublicKey, body: S)
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let reading = self.ingest.unknown_senders.read(self.headers, None, body);
        let (Ok(Ok(mut received)), Ok(encoding)) = (timeout(DISCARD_TIMEOUT, reading).await, self.encoding()) else {
            return;
        };
        let length = received.bytes.len();
        let Ok(decoded) = Decoded::new(encoding, received.bytes, INLINE_INFLATED_BYTES, self.format()) else { return };
        if received.reservation.grow_to(length + decoded.unpacked_bytes).is_ok() {
            self.note_server_name(key, &decoded.content);
        }
    }

    fn note_server_name(&self, key: &PublicKey, content: &Content) {
        if let Some(name) = refused_keys::server_name(content) {
            self.ingest.refused_keys.name_server(key, &name, Instant::now());
        }
    }

    /// Pages of other origins than the project allows; what is no browser names none.
    fn check_origin(&self) -> Result<(), Refusal> {
        let named = [header::ORIGIN, header::REFERER].into_iter().find_map(|name| self.headers.get(name));
        let origin = named.and_then(|value| value.to_str().ok());
        if self.rules.filters.allows_origin(origin) { Ok(()) } else { Err(Refusal::ForbiddenOrigin) }
    }

    /// Counts an event towards the limits of its key and project.
    fn admit_event(&mut self) -> Result<(), Exceeded> {
        if let Some(key) = self.admitted_key() {
            self.ingest.limits.admit(key, self.limits(key), 1, self.received_at)?;
        }
        self.charged += 1;
        Ok(())
    }

    /// Gives back what was counted for more events than `events`: what a filter stops, or nobody can read, uses
    /// up no limit.
    fn settle(&mut self, events: usize) {
        let unused = self.charged.saturating_sub(events);
        if let Some(key) = self.admitted_key().filter(|_| unused > 0) {
            self.ingest.limits.give_back(key, self.limits(key), unused as u64, self.received_at);
        }
        self.charged -= unused;
    }

    fn limits(&self, key: &PublicKey) -> [(bool, Option<Limit>); 2] {
        let of_key = self.ingest.keys.rate_limit(key);
        let of_key = of_key.map(|limit| Limit { events: limit.events.into(), window: limit.window_seconds });
        [(false, of_key), (true, self.rules.quota)]
    }

    /// The envelope's own DSN may not contradict the request; it is the key of a request without one.
    async fn check_envelope_dsn(&mut self, envelope: &Envelope) -> Result<(), Refusal> {
        if let Some(key) = &self.key {
            return Ok(envelope.check_dsn(self.ingest.project, key)?);
        }
        let dsn = envelope.dsn.as_ref().ok_or(AuthError::Missing)?;
        self.key = Some(dsn.public_key.clone());
        envelope.check_dsn(self.ingest.project, &dsn.public_key)?;
        let key = dsn.public_key.clone();
        self.admit(&key).await
    }

    async fn decode(
        &self,
        encoding: Encoding,
        bytes: Bytes,
        memory: BodyMemory,
    ) -> Result<(Content, BodyMemory), Refusal> {
        let endpoint = self.format();
        let limit = match (endpoint, &self.key) {
            (Endpoint::Store | Endpoint::Security | Endpoint::Nel, _) => MAX_STORE_BYTES,
            (Endpoint::Envelope | Endpoint::Minidump, Some(_)) => MAX_ENVELOPE_BYTES,
            // Nobody inflates more for a stranger than what fits on the spot.
            (Endpoint::Envelope | Endpoint::Minidump, None) => INLINE_INFLATED_BYTES,
        };
        let decoding = Decoding {
            reader: self.reader(),
            large_bodies: &self.ingest.large_bodies,
            key: self.key.as_ref(),
            encoding,
            endpoint,
            limit,
        };
        decoding.decode(bytes, memory).await
    }

    /// Who reads the body, and whose memory it takes.
    fn reader(&self) -> &BodyReader {
        if self.key.is_some() { &self.ingest.bodies } else { &self.ingest.unknown_senders }
    }

    /// Who sent it, as far as the project trusts the proxies between.
    fn client_ip(&self) -> Option<IpAddr> {
        // A line that is no text hides those before it.
        let forwarded = self.headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or_default());
        let forwarded: Vec<&str> = forwarded.collect();
        self.peer.as_ref().map(|Peer(peer)| self.rules.proxies.client_ip(peer.ip(), forwarded.into_iter()))
    }

    /// The endpoint whose bodies are like this one: some clients send envelopes to `/store/`.
    fn format(&self) -> Endpoint {
        let is_envelope = self.content_type().is_some_and(|value| value.trim_start().starts_with(ENVELOPE_TYPE));
        match self.target.endpoint {
            Endpoint::Store if is_envelope => Endpoint::Envelope,
            endpoint => endpoint,
        }
    }

    fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    async fn read(
        &self,
        content: Content,
        exceeded: Option<Exceeded>,
        memory: BodyMemory,
    ) -> Result<(Read, BodyMemory), Refusal> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let reading = Reading {
            project: self.ingest.project,
            rules: Arc::clone(&self.rules),
            groupings: Arc::clone(&self.ingest.groupings),
            received_at: self.received_at,
            client_ip: self.client_ip(),
            user_agent: text(header::USER_AGENT),
            referer: text(header::REFERER),
            exceeded,
        };
        let (content_type, query) = (self.content_type().map(str::to_owned), self.report_query());
        let length = content.len();
        let work = move || match content {
            Content::Envelope(envelope) => Ok(reading.envelope(envelope)),
            Content::Event(payload) => Ok(reading.event(&payload)),
            Content::Security(body) => reading.security(content_type.as_deref(), &body, &query),
            Content::NetworkErrors(body) => Reading::network_errors(&body),
            Content::Minidump(body) => reading.minidump(content_type.as_deref(), &body),
        };
        if length <= INLINE_BYTES {
            return Ok((work()?, memory));
        }
        self.ingest.large_bodies.run_on_thread(memory, Class::of(length), work).await
    }

    /// Browsers cannot add to a report: its address says what the page is.
    fn report_query(&self) -> ReportQuery {
        let mut query = ReportQuery::default();
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            match &*name {
                "sentry_release" => query.release = Some(value.into_owned()),
                "sentry_environment" => query.environment = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }
}

/// A header's value; one that is not text cannot be credentials.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    headers.get(name).map(|value| value.to_str().map_err(|_| AuthError::Malformed)).transpose()
}
