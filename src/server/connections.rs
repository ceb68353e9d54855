//! The accept loop. `warp::serve` has no time or connection limits, and its graceful end has no deadline.

use std::{
    convert::Infallible,
    error::Error,
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
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::warn;

use super::{Limits, WhenFull, conversation::Conversation};

/// Wait after a failed `accept` (as EMFILE), which otherwise fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of one listener. Dropped, it ends them at once.
pub struct Connections<S> {
    listener: TcpListener,
    service: S,
    limits: Limits,
    open: Option<IntGauge>,
    slots: Arc<Semaphore>,
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
            slots: Arc::new(Semaphore::new(limits.connections)),
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
        let Self { listener, farewell, mut tasks, .. } = self;
        drop(listener);
        farewell.cancel();
        while tasks.join_next().await.is_some() {}
    }

    async fn accept_all(&mut self) {
        loop {
            self.accept().await;
        }
    }

    /// Takes one connection, and collects those that have ended. Safe to cancel.
    async fn accept(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        let slot = match self.limits.when_full {
            // The semaphore is never closed.
            WhenFull::Wait => Arc::clone(&self.slots).acquire_owned().await.ok(),
            WhenFull::Close => None,
        };
        let (stream, peer) = match self.listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "Could not accept a connection.");
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        let Some(slot) = slot.or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok()) else { return };
        let conversation = Conversation {
            service: self.service.clone(),
            limits: self.limits,
            leaving: Arc::clone(&self.leaving),
            farewell: self.farewell.clone(),
        };
        let open = OpenConnection::take(slot, self.open.clone());
        self.tasks.spawn(async move {
            conversation.serve(stream, peer).await;
            drop(open);
        });
    }
}

/// An open connection, counted until it ends, also when its task is aborted.
struct OpenConnection {
    _slot: OwnedSemaphorePermit,
    open: Option<IntGauge>,
}

impl OpenConnection {
    fn take(slot: OwnedSemaphorePermit, open: Option<IntGauge>) -> Self {
        open.iter().for_each(IntGauge::inc);
        Self { _slot: slot, open }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.iter().for_each(IntGauge::dec);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::timeout,
    };

    use super::*;
    use crate::server::Versions;

    const LIMITS: Limits = Limits {
        connections: 1,
        when_full: WhenFull::Wait,
        head_timeout: Duration::from_secs(30),
        versions: Versions::Http1And2 { streams: 64, max_age: Duration::from_millis(200) },
    };

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
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
