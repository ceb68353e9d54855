//! Turns what became of a request into its HTTP answer. Every answer, refusals too, carries the CORS
//! headers, else a browser's SDK cannot read why it was refused.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use warp::reply::Response as WarpResponse;

use super::{limits::Exceeded, refusal::Refusal};
use crate::protocol::{
    event::EventId,
    rate_limits::{self, Categories, QuotaLimit, ReasonCode, Scope},
};

/// What `X-Sentry-*` headers a page may send, as Relay lists them, and the tracing headers SDKs add.
const ALLOWED_HEADERS: &str = "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, \
    content-type, authentication, authorization, content-encoding, transfer-encoding, sentry-trace, baggage";

const EXPOSED_HEADERS: &str = "x-sentry-error, x-sentry-rate-limits, retry-after";

#[derive(Serialize)]
struct ErrorBody<'a> {
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

/// The smallest transparent GIF, for pages that send an event with an image.
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// What a client is told of what was taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    pub answer: Answer,
    /// Of the request a part was taken, and the events were not.
    pub exceeded: Option<Exceeded>,
}

/// The body that belongs to an endpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the id of the event, if the request carried one.
    Id(Option<EventId>),
    Pixel,
    /// Browsers do not read what they are answered to a report.
    Nothing,
    /// Crash reporters show people the id as a UUID.
    Uuid(EventId),
}

/// Exactly 200: sentry-java takes every other status for a failure.
pub fn accepted(accepted: &Accepted) -> WarpResponse {
    let mut response = match &accepted.answer {
        Answer::Id(Some(id)) => json(StatusCode::OK, format!(r#"{{"id":"{id}"}}"#)),
        Answer::Id(None) => json(StatusCode::OK, "{}".to_owned()),
        Answer::Pixel => plain(StatusCode::OK, "image/gif", PIXEL),
        Answer::Nothing => plain(StatusCode::OK, "text/plain", Bytes::new()),
        Answer::Uuid(id) => {
            let uuid = uuid::Uuid::from_bytes(id.0).hyphenated().to_string();
            plain(StatusCode::OK, "text/plain", uuid.into_bytes())
        }
    };
    if let Some(exceeded) = &accepted.exceeded {
        add_rate_limits(response.headers_mut(), exceeded);
    }
    response
}

/// PHP reads the limits only of an answer without a body.
fn limited(exceeded: &Exceeded) -> WarpResponse {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "text/plain", Bytes::new());
    let headers = response.headers_mut();
    add_rate_limits(headers, exceeded);
    if let Some(seconds) = rate_limits::retry_after(&[limit(exceeded)]) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn add_rate_limits(headers: &mut HeaderMap, exceeded: &Exceeded) {
    if let Some(value) = rate_limits::header(&[limit(exceeded)]).and_then(|header| header.parse().ok()) {
        headers.insert("x-sentry-rate-limits", value);
    }
}

fn limit(exceeded: &Exceeded) -> QuotaLimit {
    let (scope, reason) = if exceeded.project {
        (Scope::Project, ReasonCode::ProjectQuota)
    } else {
        (Scope::Key, ReasonCode::KeyRateLimit)
    };
    QuotaLimit { seconds: exceeded.seconds, categories: Categories::Events, scope, reason }
}

pub fn refused(refusal: &Refusal) -> WarpResponse {
    if let Refusal::RateLimited(exceeded) = refusal {
        return limited(exceeded);
    }
    let detail = refusal.to_string();
    let body = ErrorBody { detail: &detail, causes: refusal.causes() };
    // Two strings always serialize.
    let mut response = json(refusal.status(), serde_json::to_string(&body).unwrap_or_default());
    let headers = response.headers_mut();
    // Ruby logs this header, and nothing else.
    if let Ok(explained) = HeaderValue::from_str(&refusal.explained()) {
        headers.insert("x-sentry-error", explained);
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(refusal, Refusal::Method) {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    }
    response
}

/// The answer to a browser's question whether it may send (`OPTIONS`).
pub fn preflight() -> WarpResponse {
    let mut response = Response::new(String::new().into());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    add_cors(headers);
    response
}

fn json(status: StatusCode, body: String) -> WarpResponse {
    plain(status, "application/json", body)
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> WarpResponse {
    let body: Bytes = body.into();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    add_cors(response.headers_mut());
    response
}

fn add_cors(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::protocol::envelope::EnvelopeError;

    async fn body(response: WarpResponse) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_accepted_event_is_answered_with_its_id() {
        for (answer, expected) in [
            (Answer::Id(Some(EventId([0xab; 16]))), r#"{"id":"abababababababababababababababab"}"#),
            (Answer::Id(None), "{}"),
            (Answer::Nothing, ""),
            (Answer::Uuid(EventId([0xab; 16])), "abababab-abab-abab-abab-abababababab"),
        ] {
            let response = accepted(&Accepted { answer, exceeded: None });
            assert_eq!(response.status(), 200);
            assert_eq!(body(response).await, expected);
        }
    }

    #[tokio::test]
    async fn a_refusal_says_why_in_body_and_header_and_lets_browsers_read_it() {
        let response = refused(&EnvelopeError::MissingHeader.into());
        assert_eq!(response.headers()["x-sentry-error"], "invalid event envelope: missing envelope header");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(body(response).await, r#"{"detail":"invalid event envelope","causes":["missing envelope header"]}"#);

        let response = refused(&Refusal::Overloaded);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(refused(&Refusal::Method).headers()["allow"], "POST, OPTIONS");
    }

    #[tokio::test]
    async fn a_limit_is_told_as_every_sdk_reads_it() {
        let exceeded = Exceeded { project: false, seconds: 17 };
        let response = refused(&Refusal::RateLimited(exceeded.clone()));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["x-sentry-rate-limits"], "17:default;error;security:key:key_rate_limit");
        assert_eq!(response.headers()["retry-after"], "17");
        assert_eq!(response.headers()["access-control-expose-headers"], EXPOSED_HEADERS);
        assert_eq!(body(response).await, "", "PHP reads the limits only of an empty answer");
        let response = refused(&Refusal::RateLimited(Exceeded { project: true, seconds: 86_400 }));
        assert_eq!(response.headers()["retry-after"], rate_limits::MAX_SECONDS.to_string().as_str());

        let response = accepted(&Accepted { answer: Answer::Id(None), exceeded: Some(exceeded) });
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("x-sentry-rate-limits"));
        assert!(
            !response.headers().contains_key("retry-after"),
            "Ruby, PHP and Rust take it for a limit on everything"
        );
    }

    #[test]
    fn a_browser_may_post_with_every_header_an_sdk_sends() {
        let response = preflight();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["access-control-allow-methods"], "POST");
        let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
        for name in ["x-sentry-auth", "content-type", "content-encoding", "sentry-trace", "baggage"] {
            assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}");
        }
    }
}
