//! Asks the provider: with a deadline, for a bounded answer, and following no redirect.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::OidcError;
use crate::backend::servers::tls;

/// How long one whole answer is waited for, its connection included.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer: an id token with a thousand groups has some 50 KB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Largest head of one. hyper looks at it after it has read as much again.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The way to the provider.
pub struct Asking(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Asking {
    /// `authority`: the only certificates that are trusted, in PEM; absent: the public authorities.
    pub fn new(authority: Option<&[u8]>) -> Result<Self, OidcError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let tls = tls(authority).map_err(|_| OidcError::BadSecret("ca.crt"))?;
        // Sign-ins are rare: no connection is kept for the next one.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(HttpsConnector::from((http, tls)));
        Ok(Self(client))
    }

    /// The document at `address`. `what` names it to people.
    pub async fn get(&self, what: &'static str, address: &Uri) -> Result<Bytes, OidcError> {
        let request = Request::builder().method(Method::GET).uri(address).header(ACCEPT, "application/json");
        let request = request.body(Full::default()).map_err(|_| OidcError::NotUnderstood(what))?;
        match self.ask(what, request).await? {
            (StatusCode::OK, answer) => Ok(answer),
            (status, _) => Err(OidcError::Status { what, status: status.as_u16() }),
        }
    }

    /// Status and answer to a form.
    pub async fn post(
        &self,
        what: &'static str,
        address: &Uri,
        authorization: Option<HeaderValue>,
        form: String,
    ) -> Result<(StatusCode, Bytes), OidcError> {
        let request = Request::builder().method(Method::POST).uri(address).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut request = request.body(Full::from(form)).map_err(|_| OidcError::NotUnderstood(what))?;
        request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
        self.ask(what, request).await
    }

    async fn ask(&self, what: &'static str, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), OidcError> {
        let answering = async {
            let (head, body) = self.0.request(request).await.map_err(|error| failed(&error))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { OidcError::TooLarge(what) } else { failed(error.as_ref()) }
            })?;
            Ok((head.status, body.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, answering).await.unwrap_or(Err(OidcError::Silent))
    }
}

/// For the log alone: who signs in learns nothing of the network.
fn failed(error: &(dyn Error + 'static)) -> OidcError {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::warn!(causes, "Could not reach the identity provider.");
    OidcError::Unreachable
}
