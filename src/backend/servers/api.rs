//! Calls of a server's API: in turn, with the token, and what every refusal means.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    ServerError, Turns, Web,
    error::detail,
    pauses::pause,
    turns::{Gate, limited},
    web::Answer,
};
use crate::dsn::{DsnParts, PublicKey};

/// Pages of one list that are read.
const MOST_PAGES: usize = 100;
/// Longest DSN.
const DSN_LIMIT: usize = 1024;
/// All that RFC 3986 does not reserve stays.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How a server wants to be given the token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scheme {
    /// `Authorization: Bearer`
    Bearer,
    /// `PRIVATE-TOKEN`
    PrivateToken,
}

/// One server with one token.
#[derive(Clone)]
pub(super) struct Api {
    web: Web,
    gate: Arc<Gate>,
    token: SecretString,
    scheme: Scheme,
}

/// One call, and the words for what becomes of it.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// With its query; every segment encoded.
    pub(super) path: &'a str,
    pub(super) body: Option<Value>,
    /// What a 404 says is not there.
    pub(super) what: &'static str,
    /// What a 403 says the token lacks.
    pub(super) needs: &'static str,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str, what: &'static str, needs: &'static str) -> Self {
        Self { method: Method::GET, path, body: None, what, needs }
    }
}

impl Api {
    pub(super) fn new(web: Web, turns: &Turns, token: &SecretString, scheme: Scheme) -> Self {
        // A line break at the end is how files end, and no token has it.
        let token = SecretString::from(token.expose_secret().trim());
        let gate = turns.gate(&web.origin(), &token);
        Self { web, gate, token, scheme }
    }

    /// The answer to a call that succeeded.
    pub(super) async fn ask(&self, call: Call<'_>) -> Result<Answer, ServerError> {
        let (what, needs) = (call.what, call.needs);
        let answer = self.send(call).await?;
        self.accepted(answer, what, needs)
    }

    /// The same, with the answers in which a 404 can mean several things.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, ServerError> {
        let authorization = self.authorization().ok_or(ServerError::Unauthorized)?;
        let body = call.body.map(|body| body.to_string().into_bytes());
        let turn = self.gate.pass().await?;
        let answer = self.web.send(call.method, call.path, authorization, body).await?;
        let pause = pause(answer.status, &answer.headers, Timestamp::now());
        if let Some(pause) = pause {
            turn.close(pause);
        }
        match (answer.status, pause) {
            (StatusCode::TOO_MANY_REQUESTS, Some(pause)) => Err(limited(pause)),
            (StatusCode::UNAUTHORIZED, _) => Err(ServerError::Unauthorized),
            (status, _) if status.is_redirection() => Err(ServerError::Moved { to: self.new_slug(&answer) }),
            (status, _) if status.is_server_error() => Err(ServerError::Failing { status: status.as_u16() }),
            _ => Ok(answer),
        }
    }

    pub(super) fn accepted(
        &self,
        answer: Answer,
        what: &'static str,
        needs: &'static str,
    ) -> Result<Answer, ServerError> {
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::FORBIDDEN => Err(ServerError::Forbidden { needs }),
            StatusCode::NOT_FOUND => Err(ServerError::NotFound { what }),
            status => {
                let words = answer.words();
                let detail = detail(&words, self.token.expose_secret());
                Err(ServerError::Rejected { status: status.as_u16(), detail })
            }
        }
    }

    /// `None`: what is given can be no token.
    fn authorization(&self) -> Option<(HeaderName, HeaderValue)> {
        let token = self.token.expose_secret();
        if token.is_empty() {
            return None;
        }
        let (name, text) = match self.scheme {
            Scheme::Bearer => (header::AUTHORIZATION, Cow::from(format!("Bearer {token}"))),
            Scheme::PrivateToken => (HeaderName::from_static("private-token"), Cow::from(token)),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// The new name of a project that was renamed. Sentry tells it in the body, and in the path of the new address,
    /// which counts on this server alone.
    fn new_slug(&self, answer: &Answer) -> Option<String> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let told = body["slug"].as_str().or_else(|| body["detail"]["extra"]["slug"].as_str());
        let location = answer.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        let slug = told.or_else(|| {
            // `/api/0/projects/{organization}/{project}/…`
            let (_, below) = self.web.path_here(location?)?.split_once("/projects/")?;
            below.split('/').nth(1)
        })?;
        is_slug(slug).then(|| slug.to_owned())
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("web", &self.web).finish_non_exhaustive()
    }
}

impl Answer {
    /// `what`: what it should have been, for people.
    pub(super) fn json<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, ServerError> {
        serde_json::from_slice(&self.body).map_err(|_| ServerError::NotUnderstood { what })
    }

    /// The server's own words in an answer that refuses; empty for a page of HTML.
    pub(super) fn words(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let named = ["detail", "message", "error_description", "error"].into_iter().map(|name| &body[name]);
        match named.into_iter().find(|words| !words.is_null()).unwrap_or(&body) {
            Value::Null => String::new(),
            Value::String(words) => words.clone(),
            Value::Object(words) if words.get("message").is_some_and(Value::is_string) => {
                words["message"].as_str().unwrap_or_default().to_owned()
            }
            // The faults of each field.
            words => words.to_string(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}

/// One segment of a path. Dots alone would name another place.
pub(super) fn segment(text: &str) -> Result<String, ServerError> {
    if ["", ".", ".."].contains(&text) { Err(ServerError::BadUrl) } else { Ok(encoded(text)) }
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &SEGMENT).to_string()
}

/// A name of a project or organization as it may be shown.
pub(super) fn is_slug(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(letter)
}

/// The key and the DSN of it that a server tells, if the one is in the other.
pub(super) fn key_and_dsn(public: &str, dsn: &str) -> Result<(PublicKey, SecretString), ServerError> {
    let wrong = ServerError::NotUnderstood { what: "a key with its DSN" };
    let key: PublicKey = public.parse().map_err(|_| wrong.clone())?;
    let plain = dsn.len() <= DSN_LIMIT && dsn.bytes().all(|byte| byte.is_ascii_graphic());
    let web = dsn.starts_with("https://") || dsn.starts_with("http://");
    let parts = DsnParts::of(dsn).map_err(|_| wrong.clone())?;
    let held = parts.public_key().parse::<PublicKey>();
    if plain && web && held.is_ok_and(|held| held == key) { Ok((key, SecretString::from(dsn))) } else { Err(wrong) }
}

/// What a list has brought so far, page by page, each entry with its id. A server that moves its pages while they are
/// read shows an entry twice.
pub(super) struct Pages<T> {
    entries: Vec<T>,
    ids: HashSet<String>,
    count: usize,
}

impl<T> Pages<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), ids: HashSet::new(), count: 0 }
    }

    /// A page that brings nothing new is one that was there before: such a list never ends.
    pub(super) fn add(&mut self, page: Vec<(String, T)>) -> Result<(), ServerError> {
        self.count += 1;
        if self.count > MOST_PAGES {
            return Err(ServerError::TooLarge);
        }
        let (before, empty) = (self.entries.len(), page.is_empty());
        for (id, entry) in page {
            if self.ids.insert(id) {
                self.entries.push(entry);
            }
        }
        if !empty && self.entries.len() == before {
            return Err(ServerError::NotUnderstood { what: "a list with an end" });
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn finish(self) -> Vec<T> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_of_a_path_is_one() {
        for (text, encoded) in [
            ("shop", Some("shop")),
            ("group/sub group/shop", Some("group%2Fsub%20group%2Fshop")),
            ("a?b#c%2F", Some("a%3Fb%23c%252F")),
            ("ä.b~c_d-e", Some("%C3%A4.b~c_d-e")),
            ("", None),
            (".", None),
            ("..", None),
        ] {
            assert_eq!(segment(text).ok().as_deref(), encoded, "{text:?}");
        }
    }

    #[test]
    fn a_dsn_is_one_of_the_key_it_comes_with() {
        let key = "fafafafafafafafafafafafafafafafa";
        for (dsn, valid) in [
            (format!("https://{key}@o1.ingest.sentry.io/42"), true),
            (format!("http://{key}:5ec7e7@sentry.web.svc:9000/42"), true),
            (format!("https://{key}@gitlab.example.com/errortracking/api/v1/projects/5"), true),
            ("https://other@o1.ingest.sentry.io/42".into(), false),
            (format!("ftp://{key}@o1.ingest.sentry.io/42"), false),
            (format!("https://{key}@o1.ingest.sentry.io"), false),
            (format!("https://{key}@o1.ingest.sentry.io/42\nA=b"), false),
            (format!("https://{key}@o1.ingest.sentry.io/{}", "4".repeat(2000)), false),
            (String::new(), false),
        ] {
            assert_eq!(key_and_dsn(key, &dsn).is_ok(), valid, "{dsn}");
        }
        assert!(
            key_and_dsn("9ec79c33-ec99-42ab-8353-589fcb2e04dc", "https://9ec79c33ec9942ab8353589fcb2e04dc@h/1").is_ok()
        );
        assert!(key_and_dsn("a b", "https://a b@h/1").is_err());
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_but_no_page() {
        for (body, words) in [
            (r#"{"detail":"Invalid name."}"#, "Invalid name."),
            (r#"{"detail":{"code":"x","message":"Moved."}}"#, "Moved."),
            (r#"{"message":"400 Bad request"}"#, "400 Bad request"),
            (r#"{"message":{"name":["is too long"]}}"#, r#"{"name":["is too long"]}"#),
            (r#"{"name":["This field is required."]}"#, r#"{"name":["This field is required."]}"#),
            (r#"{"error":"active is missing"}"#, "active is missing"),
            ("<html>Bad</html>", ""),
            ("", ""),
            ("[]", "[]"),
        ] {
            let body = bytes::Bytes::from(body);
            let answer = Answer { status: StatusCode::BAD_REQUEST, headers: http::HeaderMap::new(), body };
            assert_eq!(answer.words(), words);
        }
    }
}
