//! The accept loop around warp's service. `warp::serve` has no time or connection limits, and its
//! graceful end has no deadline.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use prometheus::IntGauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, warn};
use warp::{filters::BoxedFilter, reply::Response};

/// Open connections at a time; more wait in the listener's backlog until one ends.
const MAX_CONNECTIONS: usize = 1024;

/// For the head of a request, and so how long a kept-alive connection may rest.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests that one HTTP/2 connection may have under way; Python's transport uses it.
const MAX_STREAMS: u32 = 64;

/// Longest list of headers; auth, trace and baggage headers take a few KiB.
const MAX_HEADER_BYTES: u32 = 32 << 10;

/// Dead HTTP/2 peers are noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after a failed `accept` (as EMFILE), which otherwise fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// While draining, how long every answer tells its client to leave before connections that rest are
/// closed: a client that sends again on one of those would lose its request.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one listener.
pub struct Connections {
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    open: IntGauge,
    slots: Arc<Semaphore>,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
    /// Set: every answer closes its connection.
    leaving: Arc<AtomicBool>,
}

impl Connections {
    pub fn new(listener: TcpListener, routes: BoxedFilter<(Response,)>, open: IntGauge) -> Self {
        Self {
            listener,
            routes,
            open,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            graceful: GracefulShutdown::new(),
            tasks: JoinSet::new(),
            leaving: Arc::default(),
        }
    }

    /// Accepts until `stop`.
    pub async fn serve(&mut self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.accept()).await.is_some() {}
    }

    /// Sends the clients away, waits until `deadline` for what is under way and drops what is left.
    pub async fn drain(mut self, deadline: Instant) {
        self.leaving.store(true, Ordering::Release);
        // Clients that reconnect at once are still served, one request a connection.
        let farewell = async { while self.accept().await {} };
        let _over = timeout_at(deadline.min(Instant::now() + FAREWELL), farewell).await;
        let Self { listener, graceful, mut tasks, .. } = self;
        drop(listener);
        if timeout_at(deadline, graceful.shutdown()).await.is_err() {
            warn!(connections = tasks.len(), "Connections did not end in time.");
        }
        tasks.shutdown().await;
    }

    /// Takes one connection, and collects those that have ended. Always `true`; safe to cancel.
    async fn accept(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return true };
        match self.listener.accept().await {
            Ok((stream, peer)) => {
                let conversation = Conversation {
                    routes: self.routes.clone(),
                    leaving: Arc::clone(&self.leaving),
                    asked: Arc::default(),
                };
                let (watcher, open) = (self.graceful.watcher(), Open::count(&self.open));
                self.tasks.spawn(async move {
                    conversation.hold(stream, peer, watcher).await;
                    drop((open, slot));
                });
            }
            Err(error) => {
                warn!(%error, "Could not accept a connection.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        true
    }
}

/// An open connection in the gauge, also when its task is aborted.
struct Open(IntGauge);

impl Open {
    fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What one connection is served with.
struct Conversation {
    routes: BoxedFilter<(Response,)>,
    leaving: Arc<AtomicBool>,
    /// A whole request head has come.
    asked: Arc<AtomicBool>,
}

impl Conversation {
    async fn hold(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        // An answer is one small packet that should not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "Could not set TCP_NODELAY.");
        }
        let asked = Arc::clone(&self.asked);
        let service = service_fn(move |request: Request<Incoming>| self.answer(request));
        let builder = builder();
        let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
        let mut connection = std::pin::pin!(connection);
        // `auto` waits for the first bytes, which tell the version, without a limit of its own.
        let ended = match timeout(HEAD_TIMEOUT, connection.as_mut()).await {
            Err(_elapsed) if !asked.load(Ordering::Acquire) => return,
            Err(_elapsed) => connection.await,
            Ok(ended) => ended,
        };
        if let Err(error) = ended {
            debug!(%peer, error, "A connection ended early.");
        }
    }

    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        self.asked.store(true, Ordering::Release);
        let leaving = Arc::clone(&self.leaving);
        // HTTP/2 says so with GOAWAY, and forbids the header.
        let closable = request.version() < Version::HTTP_2;
        let answered = warp::service(self.routes.clone()).call(request);
        async move {
            let mut response = answered.await?;
            if closable && leaving.load(Ordering::Acquire) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
