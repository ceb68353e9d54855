//! What the console's HTTP/1 server takes on, and how it ends.

use std::{convert::Infallible, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::{Filter, Reply};

use crate::server::{Connections, Limits, Shutdown, Versions, WhenFull};

const LIMITS: Limits = Limits {
    // Behind an Ingress its proxies keep some open, by a port-forward each browser six. An idle one ends for a new one.
    connections: 512,
    when_full: WhenFull::Wait,
    head_timeout: Duration::from_secs(10),
    // Cookies of other pages of the same host come along.
    large_heads: 32,
    versions: Versions::Http1,
};

/// How long requests under way may take once the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Answers on `listener` until `shutdown`, then finishes what is under way.
pub async fn serve<R>(listener: TcpListener, shutdown: CancellationToken, routes: R)
where
    R: Filter<Error = Infallible> + Clone + Send + Sync + 'static,
    R::Extract: Reply,
    R::Future: Send,
{
    let mut connections = Connections::new(listener, warp::service(routes), LIMITS);
    connections.serve(&shutdown).await;
    let mut ending = Shutdown::begin();
    ending.finish("drain", DRAIN, connections.drain()).await;
    ending.end();
}
