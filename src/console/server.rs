//! The console's HTTP/1 server: an accept loop with timeouts and a connection limit around the routes.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use warp::{Filter, Reply};

/// Who port-forwards is one person; a browser opens six connections.
const MAX_CONNECTIONS: usize = 128;

/// A client that does not finish its request head within this time is disconnected.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests under way may take once the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Wait after a failed `accept` (as EMFILE), which otherwise fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown`, then finishes what is under way.
pub async fn serve<R>(listener: TcpListener, shutdown: CancellationToken, routes: R)
where
    R: Filter<Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    R::Extract: Reply,
    R::Future: Send,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // With all slots taken new clients wait in the listener's backlog.
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_finished) = connections.join_next(), if !connections.is_empty() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(warp::service(routes.clone()));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                let connection = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(%error, "A connection ended early.");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "Could not accept a connection.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!(seconds = DRAIN.as_secs(), "Stopped with requests under way.");
    }
}
