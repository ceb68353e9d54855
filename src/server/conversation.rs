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
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::debug;

use super::{Limits, Versions};

/// Longest list of headers of HTTP/2; auth, trace and baggage headers take a few KiB.
const MAX_HEADER_BYTES: u32 = 32 << 10;

/// Longest head of HTTP/1, which may hold an event in its query, and most that is read of a body at a time: every
/// connection may take as much.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Dead HTTP/2 peers are noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What one connection is served with.
pub(super) struct Conversation<S> {
    pub service: S,
    pub limits: Limits,
    /// Set: every answer closes its connection.
    pub leaving: Arc<AtomicBool>,
    /// Cancelled: the connection ends as soon as nothing is under way.
    pub farewell: CancellationToken,
}

/// What has been seen of the client.
#[derive(Default)]
struct Seen {
    /// A whole request head has come.
    request: AtomicBool,
    /// It was of HTTP/2.
    http2: AtomicBool,
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
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // An answer is one small packet that should not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "Could not set TCP_NODELAY.");
        }
        let Self { service, limits, leaving, farewell } = self;
        let opened = Instant::now();
        let seen = Arc::new(Seen::default());
        let answering = service_fn({
            let seen = Arc::clone(&seen);
            move |request| answer(service.clone(), request, peer, &seen, Arc::clone(&leaving))
        });
        let builder = builder(&limits);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answering));
        // `auto` waits for the first bytes, which tell the version, without a limit of its own.
        let silent = async {
            sleep_until(opened + limits.head_timeout).await;
            if seen.request.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        // Of HTTP/1 a connection that rests ends by itself; one in use could lose what is on its way to us.
        let too_old = async {
            match limits.versions {
                Versions::Http1And2 { max_age, .. } => sleep_until(opened + max_age).await,
                Versions::Http1 => std::future::pending().await,
            }
            if !seen.http2.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = silent => return,
            () = async { tokio::select! { () = farewell.cancelled() => {}, () = too_old => {} } } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, error, "A connection ended early.");
        }
    }
}

fn answer<S, B>(
    service: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    seen: &Seen,
    leaving: Arc<AtomicBool>,
) -> impl Future<Output = Result<Response<B>, Infallible>> + Send + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    request.extensions_mut().insert(Peer(peer));
    seen.http2.store(request.version() == Version::HTTP_2, Ordering::Release);
    seen.request.store(true, Ordering::Release);
    // HTTP/2 says so with GOAWAY, and forbids the header.
    let closable = request.version() < Version::HTTP_2;
    async move {
        let mut response = service.oneshot(request).await?;
        if closable && leaving.load(Ordering::Acquire) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .keep_alive(true)
        .max_buf_size(MAX_HEAD_BYTES);
    match limits.versions {
        Versions::Http1 => builder.http1_only(),
        Versions::Http1And2 { streams, .. } => {
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(streams)
                .max_header_list_size(MAX_HEADER_BYTES)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT);
            builder
        }
    }
}
