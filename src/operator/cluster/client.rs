//! The way to the API server: every request is counted, and a write needs a lease that has not run out.
//!
//! A process that was stopped and goes on later does not know that another one leads. Its writes fail here before
//! they are sent. A write that was sent before is cut off at the deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use prometheus::IntCounterVec;
use tokio::time::{Instant, timeout, timeout_at};
use tower::{BoxError, Layer, Service};

/// An API server that does not accept a connection in this time is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the beginning of an answer. Then the connection is dropped with the request, and the next request
/// gets another one. The events of a watch may come at any later time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Until when this process may write. Measured by the machine's clock since boot, which goes on while a process is
/// stopped and does not jump.
#[derive(Clone, Debug)]
pub struct Fence {
    began: Instant,
    /// Milliseconds after `began`; 0: not yet.
    deadline: Arc<AtomicU64>,
}

impl Default for Fence {
    fn default() -> Self {
        Self { began: Instant::now(), deadline: Arc::default() }
    }
}

impl Fence {
    /// The lease was renewed: writes may go on until then.
    pub fn extend(&self, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.began).as_millis();
        self.deadline.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The lease is lost or given up.
    pub fn close(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.deadline.load(Ordering::Acquire))
    }
}

/// A write by a process whose lease has run out. It was not sent, or it was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the lease has run out: another process may lead")]
struct LeaseOver;

#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
struct NoAnswer;

/// A client whose requests are counted; with a fence, writes need a lease.
pub async fn connect(requests: &IntCounterVec, fence: Option<Fence>) -> Result<Client, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let watched = WatchedLayer { requests: requests.clone(), fence };
    Ok(ClientBuilder::try_from(config)?.with_layer(&watched).build())
}

#[derive(Clone)]
struct WatchedLayer {
    requests: IntCounterVec,
    fence: Option<Fence>,
}

impl<S> Layer<S> for WatchedLayer {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
struct Watched<S> {
    inner: S,
    layer: WatchedLayer,
}

impl<S, B> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.method().clone();
        let fence = self.layer.fence.clone().filter(|_| !matches!(method, Method::GET | Method::HEAD));
        let requests = self.layer.requests.clone();
        let sent = self.inner.call(request);
        Box::pin(async move {
            let sent = async { timeout(ANSWER_TIMEOUT, sent).await.unwrap_or_else(|_| Err(NoAnswer.into())) };
            let answer = match fence {
                Some(fence) if Instant::now() >= fence.deadline() => Err(LeaseOver.into()),
                Some(fence) => timeout_at(fence.deadline(), sent).await.unwrap_or_else(|_| Err(LeaseOver.into())),
                None => sent.await,
            };
            let code = answer.as_ref().map_or(0, |response| response.status().as_u16());
            requests.with_label_values(&[method.as_str(), &code.to_string()]).inc();
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn send(fence: &Fence, method: Method, takes: Duration) -> (bool, usize) {
        let reached = Arc::new(AtomicUsize::new(0));
        let counted = reached.clone();
        let server = service_fn(move |_request: Request<Body>| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(takes).await;
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let requests =
            crate::operator::engine::metrics::Metrics::register(&prometheus::Registry::new()).unwrap().requests;
        let service = WatchedLayer { requests, fence: Some(fence.clone()) }.layer(server);
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        (service.oneshot(request).await.is_ok(), reached.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_write_needs_a_lease_and_a_read_does_not() {
        let fence = Fence::default();
        let (now, soon) = (Duration::ZERO, Duration::from_millis(30));
        assert_eq!(send(&fence, Method::PATCH, now).await, (false, 0), "no lease yet");
        assert_eq!(send(&fence, Method::GET, now).await, (true, 1));
        fence.extend(Instant::now() + Duration::from_mins(1));
        assert_eq!(send(&fence, Method::PATCH, now).await, (true, 1));
        fence.extend(Instant::now() + soon);
        assert_eq!(send(&fence, Method::POST, Duration::from_mins(1)).await, (false, 1), "it was cut off");
        assert_eq!(send(&fence, Method::PATCH, now).await, (false, 0), "it was not sent");
        fence.extend(Instant::now() + Duration::from_mins(1));
        fence.close();
        assert_eq!(send(&fence, Method::DELETE, now).await, (false, 0), "given up");
    }
}
