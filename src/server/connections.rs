//! The accept loop. `warp::serve` has no time or connection limits, and its graceful end has no deadline.

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

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use prometheus::IntGauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::warn;

use super::{
    Limits, WhenFull,
    conversation::Conversation,
    presence::{Among, Places, Presences},
};

/// Wait after a failed `accept` (as EMFILE), which otherwise fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of one listener. Dropped, it ends them at once.
pub struct Connections<S> {
    listener: TcpListener,
    service: S,
    limits: Limits,
    open: Option<IntGauge>,
    places: Places,
    presences: Presences,
    /// Accepted, and waits for its place.
    next: Option<(TcpStream, SocketAddr)>,
    tasks: JoinSet<()>,
    /// Cancelled: connections end as soon as nothing is under way.
    farewell: CancellationToken,
    /// Set: every answer closes its connection.
    leaving: Arc<AtomicBool>,
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub fn new(listener: TcpListener, service: S, limits: Limits) -> Self {
        Self {
            listener,
            service,
            limits,
            open: None,
            places: Places::new(&limits),
            presences: Presences::default(),
            next: None,
            tasks: JoinSet::new(),
            farewell: CancellationToken::new(),
            leaving: Arc::default(),
        }
    }

    /// `open` follows the number of open connections.
    #[must_use]
    pub fn counted_by(self, open: IntGauge) -> Self {
        Self { open: Some(open), ..self }
    }

    /// Accepts until `stop`. Connections that are open then stay.
    pub async fn serve(&mut self, stop: &CancellationToken) {
        stop.run_until_cancelled(self.accept_all()).await;
    }

    /// Accepts, and from now on every answer tells its client to leave: one that sends again on a connection that
    /// rests would lose its request when that is closed. Clients that reconnect at once are still served, one request
    /// a connection. Never ends by itself.
    pub async fn send_away(&mut self) {
        self.leaving.store(true, Ordering::Release);
        self.accept_all().await;
    }

    /// Listens no more, and returns when what is under way has been answered.
    pub async fn drain(self) {
        let Self { listener, next, farewell, mut tasks, .. } = self;
        drop((listener, next));
        farewell.cancel();
        while tasks.join_next().await.is_some() {}
    }

    async fn accept_all(&mut self) {
        loop {
            self.accept().await;
        }
    }

    /// Takes one connection, and collects those that have ended. Safe to cancel: a client that was accepted keeps its
    /// turn.
    async fn accept(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        if self.next.is_none() {
            match self.listener.accept().await {
                Ok(accepted) => self.next = Some(accepted),
                Err(error) => {
                    warn!(%error, "Could not accept a connection.");
                    return sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let place = match self.limits.when_full {
            WhenFull::Wait => self.presences.place(&self.places.connections, Among::Everybody).await,
            WhenFull::Close => Arc::clone(&self.places.connections).try_acquire_owned().ok(),
        };
        let (Some((stream, peer)), Some(place)) = (self.next.take(), place) else { return };
        let open = OpenConnection::take(place, self.open.clone());
        let conversation = Conversation {
            service: self.service.clone(),
            limits: self.limits,
            places: self.places.clone(),
            presences: self.presences.clone(),
            entered: self.presences.enter(),
            leaving: Arc::clone(&self.leaving),
            farewell: self.farewell.clone(),
        };
        self.tasks.spawn(async move {
            conversation.serve(stream, peer).await;
            drop(open);
        });
    }
}

/// An open connection, counted until it ends, also when its task is aborted.
struct OpenConnection {
    _place: OwnedSemaphorePermit,
    open: Option<IntGauge>,
}

impl OpenConnection {
    fn take(place: OwnedSemaphorePermit, open: Option<IntGauge>) -> Self {
        open.iter().for_each(IntGauge::inc);
        Self { _place: place, open }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.iter().for_each(IntGauge::dec);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;
    use crate::server::Versions;

    const LIMITS: Limits = Limits {
        connections: 1,
        when_full: WhenFull::Wait,
        head_timeout: Duration::from_secs(30),
        large_heads: 1,
        versions: Versions::Http1And2 {
            connections: 1,
            streams: 64,
            more_requests: 1,
            max_age: Duration::from_millis(200),
        },
    };

    /// Preface, empty SETTINGS, and HEADERS of `GET http://a/`.
    const HTTP2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn connect(address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.unwrap()
    }

    async fn empty(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::default()))
    }

    async fn get(client: &mut TcpStream) -> std::io::Result<String> {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let mut answer = [0; 1024];
        let length = client.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    #[tokio::test]
    async fn an_old_http2_connection_is_sent_away() {
        let (listener, address) = listen().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut connections = Connections::new(listener, tower::service_fn(empty), LIMITS);
        let stop = CancellationToken::new();
        let serving = connections.serve(&stop);
        let conversation = async {
            client.write_all(HTTP2_REQUEST).await.unwrap();
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

    #[tokio::test]
    async fn a_client_without_a_place_waits_or_is_closed() {
        for (when_full, served) in [(WhenFull::Wait, true), (WhenFull::Close, false)] {
            let (listener, address) = listen().await;
            let limits = Limits { when_full, ..LIMITS };
            let mut connections = Connections::new(listener, tower::service_fn(empty), limits);
            let stop = CancellationToken::new();
            let clients = async {
                let mut first = TcpStream::connect(address).await.unwrap();
                assert!(get(&mut first).await.unwrap().starts_with("HTTP/1.1 200"));
                let mut second = TcpStream::connect(address).await.unwrap();
                let leaving = async {
                    sleep(Duration::from_millis(100)).await;
                    drop(first);
                };
                let (answer, ()) = tokio::join!(get(&mut second), leaving);
                assert_eq!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), served, "{when_full:?}");
                stop.cancel();
            };
            tokio::join!(connections.serve(&stop), clients);
        }
    }

    #[tokio::test]
    async fn a_client_without_a_place_takes_that_of_one_who_is_idle() {
        for idle in [&b""[..], b"P", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP2_REQUEST] {
            let (listener, address) = listen().await;
            let mut connections = Connections::new(listener, tower::service_fn(empty), LIMITS);
            let stop = CancellationToken::new();
            let clients = async {
                let mut first = TcpStream::connect(address).await.unwrap();
                first.write_all(idle).await.unwrap();
                let mut second = TcpStream::connect(address).await.unwrap();
                let answer = timeout(Duration::from_secs(10), get(&mut second)).await.expect("it has a place").unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                let mut rest = Vec::new();
                let ended = timeout(Duration::from_secs(10), first.read_to_end(&mut rest)).await;
                assert!(ended.is_ok(), "{idle:?} is still open");
                stop.cancel();
            };
            tokio::join!(connections.serve(&stop), clients);
        }
    }

    /// Answers when what was sent to it has come.
    async fn slow(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        Ok(Response::new(Full::new(body.unwrap_or_default())))
    }

    #[tokio::test]
    async fn a_client_whose_request_is_under_way_keeps_its_place() {
        let (listener, address) = listen().await;
        let mut connections = Connections::new(listener, tower::service_fn(slow), LIMITS);
        let stop = CancellationToken::new();
        let clients = async {
            let mut first = TcpStream::connect(address).await.unwrap();
            first.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na").await.unwrap();
            let mut second = TcpStream::connect(address).await.unwrap();
            assert!(timeout(Duration::from_millis(1500), get(&mut second)).await.is_err(), "there is no place");
            first.write_all(b"b").await.unwrap();
            let mut answer = [0; 1024];
            let length = first.read(&mut answer).await.unwrap();
            assert!(answer[..length].ends_with(b"ab"), "{:?}", String::from_utf8_lossy(&answer[..length]));
            let waiting = timeout(Duration::from_secs(10), second.read(&mut answer)).await;
            assert!(waiting.expect("the place is free now").unwrap() > 0);
            stop.cancel();
        };
        tokio::join!(connections.serve(&stop), clients);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_a_place_keeps_its_turn_when_serving_is_interrupted() {
        let (listener, address) = listen().await;
        let mut connections = Connections::new(listener, tower::service_fn(slow), LIMITS);
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na").await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let both_came = timeout(Duration::from_millis(300), connections.serve(&CancellationToken::new())).await;
        assert!(both_came.is_err() && connections.next.is_some());
        drop(first);
        let stop = CancellationToken::new();
        let client = async {
            let mut answer = [0; 1024];
            let answered = timeout(Duration::from_secs(10), second.read(&mut answer)).await;
            assert!(answered.expect("it is served").unwrap() > 0);
            stop.cancel();
        };
        tokio::join!(connections.serve(&stop), client);
    }

    #[tokio::test]
    async fn large_heads_are_read_one_at_a_time_and_small_ones_beside_them() {
        let (listener, address) = listen().await;
        let limits = Limits { connections: 3, ..LIMITS };
        let mut connections = Connections::new(listener, tower::service_fn(empty), limits);
        let stop = CancellationToken::new();
        let clients = async {
            let large = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(60_000));
            let (most, rest) = large.split_at(50_000);
            let [mut first, mut second, mut third] =
                [connect(address).await, connect(address).await, connect(address).await];
            first.write_all(most.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            second.write_all(large.as_bytes()).await.unwrap();
            let mut answer = [0; 1024];
            assert!(timeout(Duration::from_millis(300), second.read(&mut answer)).await.is_err(), "it has its turn");
            assert!(get(&mut third).await.unwrap().starts_with("HTTP/1.1 200"));
            first.write_all(rest.as_bytes()).await.unwrap();
            for client in [&mut first, &mut second] {
                let length = timeout(Duration::from_secs(10), client.read(&mut answer)).await.unwrap().unwrap();
                assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
            }
            stop.cancel();
        };
        tokio::join!(connections.serve(&stop), clients);
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let head_timeout = Duration::from_millis(100);
        for versions in [LIMITS.versions, Versions::Http1] {
            let (listener, address) = listen().await;
            let limits = Limits { head_timeout, versions, ..LIMITS };
            let mut connections = Connections::new(listener, tower::service_fn(empty), limits);
            let stop = CancellationToken::new();
            let client = async {
                for sent in [&b""[..], b"GET / HT"] {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    client.write_all(sent).await.unwrap();
                    let mut rest = Vec::new();
                    let ended = timeout(Duration::from_secs(10), client.read_to_end(&mut rest)).await;
                    assert!(ended.is_ok(), "{versions:?} {sent:?}");
                }
                stop.cancel();
            };
            tokio::join!(connections.serve(&stop), client);
        }
    }
}
