//! `/livez`, `/readyz` and `/metrics` on a port of their own, so that a flood on the serving port
//! cannot make the kubelet restart the pod, and metrics are not reachable from where users are.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Connections, Limits, Versions, WhenFull};
use crate::telemetry::Readiness;

const LIMITS: Limits = Limits {
    // The kubelet and one or two Prometheus servers ask; more at once is not a probe.
    connections: 32,
    // A probe is repeated anyway.
    when_full: WhenFull::Close,
    head_timeout: Duration::from_secs(5),
    large_heads: 4,
    versions: Versions::Http1,
};

/// For an answer that is under way when the process ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the probes cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen for probes on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to register the process metrics: {0}")]
    Register(#[from] prometheus::Error),
}

/// Listens on `address` and answers until `shutdown`. `registry` gains the process metrics
/// (CPU, memory, file descriptors).
pub async fn serve(
    address: SocketAddr,
    shutdown: CancellationToken,
    readiness: Readiness,
    registry: Registry,
) -> Result<(), Error> {
    let listener = bind(address).await?;
    serve_on(listener, shutdown, readiness, registry).await
}

/// A listener for [`serve_on`], for those who want to know the port first.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Answers on `listener` until `shutdown`.
pub async fn serve_on(
    listener: TcpListener,
    shutdown: CancellationToken,
    readiness: Readiness,
    registry: Registry,
) -> Result<(), Error> {
    register_process_metrics(&registry)?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "Serving probes and metrics.");
    }
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &readiness, &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut connections = Connections::new(listener, service, LIMITS);
    connections.serve(&shutdown).await;
    let _in_time = timeout(DRAIN_TIMEOUT, connections.drain()).await;
    Ok(())
}

fn register_process_metrics(registry: &Registry) -> Result<(), Error> {
    match registry.register(Box::new(ProcessCollector::for_self())) {
        Ok(()) | Err(prometheus::Error::AlreadyReg) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn answer(method: &Method, path: &str, readiness: &Readiness, registry: &Registry) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n");
    }
    match path {
        "/livez" => match readiness.liveness().silent() {
            silent if silent.is_empty() => text(StatusCode::OK, "ok\n"),
            silent => text(StatusCode::SERVICE_UNAVAILABLE, format!("no sign of life: {}\n", silent.join(", "))),
        },
        "/readyz" if readiness.is_ready() => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => {
                warn!(%error, "Could not encode the metrics.");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(prometheus::TEXT_FORMAT));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn readiness_follows_the_bit_and_metrics_have_the_process() {
        let (readiness, registry) = (Readiness::default(), Registry::new());
        register_process_metrics(&registry).unwrap();
        register_process_metrics(&registry).unwrap();
        let status = |path| answer(&Method::GET, path, &readiness, &registry).status().as_u16();
        assert_eq!((status("/livez"), status("/readyz"), status("/")), (200, 503, 404));
        readiness.set(true);
        assert_eq!(status("/readyz"), 200);
        assert_eq!(answer(&Method::POST, "/livez", &readiness, &registry).status().as_u16(), 405);

        let metrics = answer(&Method::GET, "/metrics", &readiness, &registry);
        let text = metrics.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains("process_resident_memory_bytes"));
    }
}
