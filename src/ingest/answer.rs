//! Turns what became of a request into its HTTP answer. Every answer, refusals too, carries the CORS
//! headers, else a browser's SDK cannot read why it was refused.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use warp::reply::Response as WarpResponse;

use super::refusal::Refusal;
use crate::protocol::event::EventId;

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

/// Exactly 200 (sentry-java takes every other status for a failure), with the id of the event if the
/// request carried one.
pub fn accepted(id: Option<EventId>) -> WarpResponse {
    let body = id.map_or_else(|| "{}".to_owned(), |id| format!(r#"{{"id":"{id}"}}"#));
    json(StatusCode::OK, body)
}

pub fn refused(refusal: &Refusal) -> WarpResponse {
    let detail = refusal.to_string();
    let body = ErrorBody { detail: &detail, causes: refusal.causes() };
    // Two strings always serialize.
    let mut response = json(refusal.status(), serde_json::to_string(&body).unwrap_or_default());
    let headers = response.headers_mut();
    if let Ok(detail) = HeaderValue::from_str(&detail) {
        headers.insert("x-sentry-error", detail);
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
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
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
        let response = accepted(Some(EventId([0xab; 16])));
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, r#"{"id":"abababababababababababababababab"}"#);
        assert_eq!(body(accepted(None)).await, "{}");
    }

    #[tokio::test]
    async fn a_refusal_says_why_in_body_and_header_and_lets_browsers_read_it() {
        let response = refused(&EnvelopeError::MissingHeader.into());
        assert_eq!(response.headers()["x-sentry-error"], "invalid event envelope");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(body(response).await, r#"{"detail":"invalid event envelope","causes":["missing envelope header"]}"#);

        let response = refused(&Refusal::Overloaded);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(refused(&Refusal::Method).headers()["allow"], "POST, OPTIONS");
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
