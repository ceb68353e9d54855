//! One connection from its first byte to its end.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::debug;

use super::{
    Limits, Versions,
    inflow::{self, Inflow},
    limits::{
        FRAME_BYTES, MAX_HEAD_BYTES, MAX_HEADER_LIST_BYTES, SMALL_ADDRESS_BYTES, SMALL_HEAD_BYTES, SMALL_HEAD_HEADERS,
        WINDOW_BYTES,
    },
    presence::{Among, Entered, Places, Presence, Presences},
};

/// Dead HTTP/2 peers are noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that we reset for an error of the peer, until its connection ends.
const MAX_RESET_STREAMS: usize = 64;

/// For an HTTP/2 peer to learn that it is sent away.
const GOODBYE: Duration = Duration::from_secs(1);

/// The other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// An extension of a request that is one too many, by [`Limits::large_heads`] or [`Versions::Http1And2`]: it is to be
/// answered at once, and its body is not to be read.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

/// What one connection is served with.
pub(super) struct Conversation<S> {
    pub service: S,
    pub limits: Limits,
    pub places: Places,
    pub presences: Presences,
    pub entered: Entered,
    /// Set: every answer closes its connection.
    pub leaving: Arc<AtomicBool>,
    /// Cancelled: the connection ends as soon as nothing is under way.
    pub farewell: CancellationToken,
}

impl<S, B> Conversation<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Answers requests until either side ends the connection.
    pub async fn serve(self, mut stream: TcpStream, peer: SocketAddr) {
        // An answer is one small packet that should not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "Could not set TCP_NODELAY.");
        }
        let Self { service, limits, places, presences, entered, leaving, farewell } = self;
        let presence = Arc::clone(&entered.presence);
        let opened = Instant::now();
        let head_deadline = opened + limits.head_timeout;
        let recognised = async {
            let Versions::Http1And2 { .. } = limits.versions else { return Some((Bytes::new(), None)) };
            let beginning = inflow::beginning(&mut stream).await.ok()?;
            if !inflow::is_http2(&beginning) {
                return Some((beginning, None));
            }
            let place = presences.place(&places.http2, Among::Http2).await?;
            presence.speaks_http2();
            Some((beginning, Some(place)))
        };
        let recognised = tokio::select! {
            // What has come when the server ends is still answered.
            biased;
            recognised = timeout_at(head_deadline, recognised) => recognised.ok().flatten(),
            () = farewell.cancelled() => None,
            () = presence.leaving.cancelled() => None,
        };
        let Some((beginning, http2_place)) = recognised else { return };
        let is_http2 = http2_place.is_some();
        let (builder, inflow) = if is_http2 {
            (builder(&limits).http2_only(), Inflow::http2(beginning, stream, Arc::clone(&presence)))
        } else {
            (builder(&limits).http1_only(), Inflow::http1(beginning, stream, Arc::clone(&presence), &places))
        };
        // A whole request head has come.
        let seen = Arc::new(AtomicBool::new(false));
        let answering = service_fn({
            let (seen, presence) = (Arc::clone(&seen), Arc::clone(&presence));
            move |request| {
                seen.store(true, Ordering::Release);
                answer(service.clone(), request, peer, &presence, &places, Arc::clone(&leaving))
            }
        });
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(inflow), answering));
        let silent = async {
            sleep_until(head_deadline).await;
            if seen.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        // Of HTTP/1 a connection that rests ends by itself; one in use could lose what is on its way to us.
        let too_old = async {
            match limits.versions {
                Versions::Http1And2 { max_age, .. } if is_http2 => sleep_until(opened + max_age).await,
                Versions::Http1And2 { .. } | Versions::Http1 => std::future::pending().await,
            }
        };
        let has_ended = |ended: Result<(), Box<dyn Error + Send + Sync>>| {
            if let Err(error) = ended {
                debug!(%peer, error, "A connection ended early.");
            }
        };
        tokio::select! {
            ended = connection.as_mut() => return has_ended(ended),
            () = silent => return,
            () = farewell.cancelled() => {}
            () = too_old => {}
            () = presence.leaving.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => return has_ended(ended),
            () = presence.leaving.cancelled() => {}
        }
        // Another waits for its place. hyper waits for the rest of a head, and for HTTP/2 peers that say nothing. A
        // request that began meanwhile is answered.
        let mut patience = if is_http2 { GOODBYE } else { Duration::ZERO };
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return has_ended(ended),
                () = sleep(patience) => {}
            }
            if presence.is_idle() {
                return;
            }
            patience = GOODBYE;
        }
    }
}

fn answer<S, B>(
    service: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    presence: &Arc<Presence>,
    places: &Places,
    leaving: Arc<AtomicBool>,
) -> impl Future<Output = Result<Response<B>, Infallible>> + Send + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let under_way = presence.begin(places, has_large_head(&request));
    request.extensions_mut().insert(Peer(peer));
    if under_way.is_crowded {
        request.extensions_mut().insert(Crowded);
    }
    // HTTP/2 says so with GOAWAY, and forbids the header.
    let closable = request.version() < Version::HTTP_2;
    async move {
        let answered = service.oneshot(request).await;
        drop(under_way);
        let mut response = answered?;
        if closable && leaving.load(Ordering::Acquire) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Whether the head takes more memory than every connection has for one.
fn has_large_head(request: &Request<Incoming>) -> bool {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers.len() > SMALL_HEAD_HEADERS || address > SMALL_ADDRESS_BYTES || address + bytes > SMALL_HEAD_BYTES
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .keep_alive(true)
        .max_buf_size(MAX_HEAD_BYTES);
    if let Versions::Http1And2 { streams, .. } = limits.versions {
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(FRAME_BYTES as usize)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .max_local_error_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
    }
    builder
}
