//! One server on the web: requests with a deadline and bounded answers, and no redirect followed.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    AllowedBackends, ServerError,
    addresses::Reach,
    connector::{Connector, tls},
    url::ServerUrl,
};

/// For a whole answer, its body included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest body of an answer: a page of 100 keys of Sentry is some 200 KB.
const BODY_LIMIT: usize = 2 << 20;
/// Largest head of an answer. hyper looks at it after it has read as much again.
const HEAD_LIMIT: usize = 32 << 10;
/// How long a connection waits for the next call of the same pass.
const IDLE: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("error-tracking-operator/", env!("CARGO_PKG_VERSION"));

/// The way to one server. Cheap to clone; clones share its connections.
#[derive(Clone)]
pub struct Web {
    url: Arc<ServerUrl>,
    client: Client<Connector, Full<Bytes>>,
    deadline: Duration,
}

/// What a server answered, within the limits.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Web {
    /// `ca_pem`: the only authorities that are trusted, as PEM; absent: the public ones.
    pub fn new(url: &str, ca_pem: Option<&[u8]>, allowed: &AllowedBackends) -> Result<Self, ServerError> {
        let url: ServerUrl = url.parse()?;
        let reach = allowed.reach(&url).ok_or_else(|| ServerError::HostNotAllowed { host: url.entry() })?;
        Self::within(reach, url, ca_pem)
    }

    pub(super) fn within(reach: Reach, url: ServerUrl, ca_pem: Option<&[u8]>) -> Result<Self, ServerError> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(HEAD_LIMIT)
            .build(Connector::new(reach, tls(ca_pem)?));
        Ok(Self { url: Arc::new(url), client, deadline: DEADLINE })
    }

    #[cfg(test)]
    pub(super) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.url.origin()
    }

    /// The path of an address that an answer names, if it is on this server.
    pub(super) fn path_here<'a>(&self, location: &'a str) -> Option<&'a str> {
        let Some(scheme) = location.find("://") else {
            // Two slashes begin the name of another host.
            return Some(location).filter(|path| path.starts_with('/') && !path.starts_with("//"));
        };
        let path = scheme + 3 + location.get(scheme + 3..)?.find('/')?;
        let (server, path) = location.split_at(path);
        let server: ServerUrl = server.parse().ok()?;
        (server.origin() == self.origin()).then_some(path)
    }

    /// Asks for `path`, which begins with a slash and is encoded. Answers of every status are given out.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        (name, value): (HeaderName, HeaderValue),
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ServerError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json")
            .header(name, value);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(body.map(Bytes::from).unwrap_or_default());
        let request = request.body(body).map_err(|_| ServerError::BadUrl)?;
        tokio::time::timeout(self.deadline, self.answer(request)).await.unwrap_or(Err(ServerError::NoAnswer))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, ServerError> {
        let response = self.client.request(request).await.map_err(|error| self.failed(&error))?;
        let (head, body) = response.into_parts();
        let body = self.read(body).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ServerError> {
        if body.size_hint().lower() > BODY_LIMIT as u64 {
            return Err(ServerError::TooLarge);
        }
        match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ServerError::TooLarge),
            Err(error) => Err(self.failed(error.as_ref())),
        }
    }

    fn failed(&self, error: &(dyn Error + 'static)) -> ServerError {
        let seen = classify(error);
        if seen == ServerError::Unreachable {
            tracing::debug!(server = %self.url, causes = %causes(error), "Could not reach a server that keeps keys.");
        }
        seen
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Web").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

/// What went wrong before there was an answer.
fn classify(error: &(dyn Error + 'static)) -> ServerError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return ServerError::NotVerified;
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return ServerError::TooLarge;
        }
        cause = below(error);
    }
    ServerError::Unreachable
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| below(*error));
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The cause of an error. That of an [`io::Error`] is what it holds, which its `source` leaves out.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}
