//! A request as a double reads it, and the reply that it means to give.

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What the clock of the server says.
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Empty,
    Json(Value),
    Text { content_type: &'static str, text: String },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
    /// Replaces the Content-Type that belongs to the content.
    pub content_type: Option<String>,
}

impl Request {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of an Authorization header.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }

    /// What lies between the slashes of the path, decoded. `acme%2Fshop` is one segment.
    pub fn segments(&self) -> Vec<String> {
        let segments = self.path.trim_matches('/').split('/').filter(|segment| !segment.is_empty());
        segments.map(|it| percent_encoding::percent_decode_str(it).decode_utf8_lossy().into_owned()).collect()
    }

    /// The body, an empty one as an empty object; `None` when it is no object.
    pub fn object(&self) -> Option<serde_json::Map<String, Value>> {
        if self.body.is_empty() {
            return Some(serde_json::Map::new());
        }
        match serde_json::from_slice(&self.body).ok()? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The query without one parameter, encoded.
    pub fn query_without(&self, name: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.query.iter().filter(|(found, _)| found != name));
        query.finish()
    }
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(body), content_type: None }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty, content_type: None }
    }

    pub fn text(status: u16, content_type: &'static str, text: impl Into<String>) -> Self {
        let content = Content::Text { content_type, text: text.into() };
        Self { status, headers: Vec::new(), content, content_type: None }
    }

    /// As Sentry words an error.
    pub fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, json!({ "detail": detail }))
    }

    /// As GitLab words an error.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, json!({ "message": message }))
    }

    pub fn header(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// The header of that name becomes another.
    pub fn set_header(&mut self, name: &'static str, value: &impl ToString) {
        self.headers.retain(|(found, _)| *found != name);
        self.headers.push((name, value.to_string()));
    }

    /// How many objects a list has.
    pub fn array_length(&self) -> Option<usize> {
        match &self.content {
            Content::Json(Value::Array(objects)) => Some(objects.len()),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Bytes {
        match &self.content {
            Content::Empty => Bytes::new(),
            Content::Json(body) => body.to_string().into(),
            Content::Text { text, .. } => text.clone().into(),
        }
    }

    pub fn content_type(&self) -> Option<&str> {
        let own = match &self.content {
            Content::Empty => None,
            Content::Json(_) => Some("application/json"),
            Content::Text { content_type, .. } => Some(*content_type),
        };
        self.content_type.as_deref().or(own)
    }
}

/// "Sun, 06 Nov 1994 08:49:37 GMT"
pub fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
