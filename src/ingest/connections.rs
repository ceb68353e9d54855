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
    server::conn::auto,
};
use prometheus::IntGauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
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

/// Longest list of headers of HTTP/2; auth, trace and baggage headers take a few KiB.
const MAX_HEADER_BYTES: u32 = 32 << 10;

/// Longest head of HTTP/1, which may hold an event in its query, and most that is read of a body at a time: every
/// connection may take as much.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// An HTTP/2 connection is sent away after this, with what is under way answered. Pings keep it alive however
/// long it rests, and clients that nobody uses any more would take all the slots.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Dead HTTP/2 peers are noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after a failed `accept` (as EMFILE), which otherwise fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// While draining, how long every answer tells its client to leave before connections that rest are
/// closed: a client that sends again on one of those would lose its request.
const FAREWELL: Duration = Duration::from_secs(1);

/// The other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves one listener.
pub struct Connections {
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    open: IntGauge,
    slots: Arc<Semaphore>,
    tasks: JoinSet<()>,
    max_age: Duration,
    /// Cancelled: connections end as soon as nothing is under way.
    farewell: CancellationToken,
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
            tasks: JoinSet::new(),
            max_age: MAX_AGE,
            farewell: CancellationToken::new(),
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
        let Self { listener, farewell, mut tasks, .. } = self;
        drop(listener);
        farewell.cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, ended).await.is_err() {
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
                    multiplexed: Arc::default(),
                    max_age: self.max_age,
                    farewell: self.farewell.clone(),
                };
                let open = Open::count(&self.open);
                self.tasks.spawn(async move {
                    conversation.hold(stream, peer).await;
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
    /// It was of HTTP/2.
    multiplexed: Arc<AtomicBool>,
    max_age: Duration,
    farewell: CancellationToken,
}

impl Conversation {
    async fn hold(self, stream: TcpStream, peer: SocketAddr) {
        // An answer is one small packet that should not wait for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "Could not set TCP_NODELAY.");
        }
        let (asked, multiplexed) = (Arc::clone(&self.asked), Arc::clone(&self.multiplexed));
        let (farewell, aged) = (self.farewell.clone(), Instant::now() + self.max_age);
        let service = service_fn(move |request: Request<Incoming>| self.answer(request, peer));
        let builder = builder();
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        // `auto` waits for the first bytes, which tell the version, without a limit of its own.
        let first_head = Instant::now() + HEAD_TIMEOUT;
        let unheard = async {
            sleep_until(first_head).await;
            if asked.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        // Of HTTP/1 a connection that rests ends by itself; one in use could lose what is on its way to us.
        let too_old = async {
            sleep_until(aged).await;
            if !multiplexed.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = unheard => return,
            () = async { tokio::select! { () = farewell.cancelled() => {}, () = too_old => {} } } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, error, "A connection ended early.");
        }
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        request.extensions_mut().insert(Peer(peer));
        self.multiplexed.store(request.version() == Version::HTTP_2, Ordering::Release);
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
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(true)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };
    use warp::{Filter, Reply};

    use super::*;

    #[tokio::test]
    async fn an_old_http2_connection_is_sent_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let routes = warp::any().map(|| warp::reply().into_response()).boxed();
        let mut connections = Connections::new(listener, routes, IntGauge::new("open", "-").unwrap());
        connections.max_age = Duration::from_millis(200);
        let stop = CancellationToken::new();
        let serving = connections.serve(&stop);
        let conversation = async {
            // Preface, empty SETTINGS, and HEADERS of `GET http://a/`.
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            client.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a").await.unwrap();
            let ended = async {
                let mut head = [0; 9];
                while client.read_exact(&mut head).await.is_ok() {
                    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
                    client.read_exact(&mut payload).await.unwrap();
                    // A PING is answered as every client does, so that it looks alive.
                    if head[3..5] == [6, 0] {
                        head[4] = 1;
                        client.write_all(&head).await.unwrap();
                        client.write_all(&payload).await.unwrap();
                    }
                }
            };
            assert!(timeout(Duration::from_secs(10), ended).await.is_ok(), "it goes on");
            stop.cancel();
        };
        tokio::join!(serving, conversation);
    }
}
