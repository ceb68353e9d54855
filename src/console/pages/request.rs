//! The request that an event happened in, and a command that sends it again. Pure.

use serde_json::Value;

use super::{
    attributes::scalar,
    format::{cut_note, in_raw_json},
    untrusted::visible,
};

const MAX_HEADERS: usize = 30;
const MAX_HEADER_CHARS: usize = 300;
const MAX_BODY_CHARS: usize = 2000;
const MAX_URL_CHARS: usize = 2000;

/// What a command does not send: who somebody is, and what curl says by itself.
const LEFT_OUT: [&str; 14] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "proxy-authorization",
    "set-cookie",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Parts of the names of headers that say who somebody is.
const SECRET: [&str; 8] = ["token", "secret", "auth", "api-key", "apikey", "session", "csrf", "password"];

/// What the scrubber leaves in the place of what it took out.
const SCRUBBED: &str = "[Filtered]";

#[derive(Debug, PartialEq, Eq)]
pub struct RequestView {
    /// `POST https://shop.example/checkout?step=2`; text, never a link: whoever sent the event chose it.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub omitted: Option<String>,
    pub body: Option<String>,
    pub body_cut: Option<String>,
    /// `None`: it cannot be sent again as it was.
    pub curl: Option<String>,
}

/// Of the JSON of an event; `None`: it happened in no request.
#[must_use]
pub fn of_event(json: &Value) -> Option<RequestView> {
    let request = json.get("request")?.as_object()?;
    let text = |name: &str| request.get(name).and_then(scalar).filter(|text| !text.trim().is_empty());
    let method = text("method");
    let url = url(text("url"), request.get("query_string"));
    let all = headers(request.get("headers"));
    let body = request.get("data").and_then(body);
    if url.is_empty() && all.is_empty() && body.is_none() {
        return None;
    }
    let curl = curl(method.as_deref(), &url, &all, body.as_deref());
    let omitted = in_raw_json(all.len().saturating_sub(MAX_HEADERS), "more header");
    let shown = all.iter().take(MAX_HEADERS);
    let headers = shown.map(|(name, value)| (cut(name, MAX_HEADER_CHARS), cut(value, MAX_HEADER_CHARS))).collect();
    let line = format!("{} {}", method.as_deref().unwrap_or_default(), url);
    Some(RequestView {
        line: cut(line.trim(), MAX_URL_CHARS),
        headers,
        omitted,
        body_cut: body.as_ref().and_then(|body| cut_note(MAX_BODY_CHARS, body.chars().count())),
        body: body.as_deref().map(|body| cut(body, MAX_BODY_CHARS)),
        curl,
    })
}

fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    visible(&text[..end])
}

/// SDKs keep the query apart: as text, as pairs, or as an object.
fn url(url: Option<String>, query: Option<&Value>) -> String {
    let url = url.unwrap_or_default();
    let pair = |pair: &Value| Some((scalar(pair.get(0)?)?, pair.get(1).and_then(scalar).unwrap_or_default()));
    let pairs =
        |pairs: Vec<(String, String)>| form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let query = match query {
        Some(Value::String(query)) => query.trim_start_matches('?').to_owned(),
        Some(Value::Array(list)) => pairs(list.iter().filter_map(pair).collect()),
        Some(Value::Object(object)) => {
            pairs(object.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect())
        }
        _ => String::new(),
    };
    if query.is_empty() || url.is_empty() || url.contains('?') { url } else { format!("{url}?{query}") }
}

fn headers(headers: Option<&Value>) -> Vec<(String, String)> {
    let one = |value: &Value| match value {
        // A header that came several times.
        Value::Array(values) => Some(values.iter().filter_map(scalar).collect::<Vec<_>>().join(", ")),
        value => scalar(value),
    };
    match headers {
        Some(Value::Object(object)) => {
            object.iter().filter_map(|(name, value)| Some((name.clone(), one(value)?))).collect()
        }
        Some(Value::Array(pairs)) => {
            pairs.iter().filter_map(|pair| Some((scalar(pair.get(0)?)?, one(pair.get(1)?)?))).collect()
        }
        _ => Vec::new(),
    }
}

fn body(data: &Value) -> Option<String> {
    match data {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        data => Some(data.to_string()),
    }
}

/// A line for a POSIX shell. Everything of the event stands in single quotes, and none of it can be an option, the name
/// of a file, another scheme or a range of addresses.
fn curl(method: Option<&str>, url: &str, headers: &[(String, String)], body: Option<&str>) -> Option<String> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_web = scheme.is_some_and(|scheme| scheme == "http" || scheme == "https");
    let is_plain = |text: &str| !text.chars().any(char::is_control) && visible(text) == text;
    // A name and a password before the host say who somebody is.
    let has_login = url.split('/').nth(2).is_some_and(|host| host.contains('@'));
    if !is_web || !is_plain(url) || has_login || url.chars().count() > MAX_URL_CHARS {
        return None;
    }
    let mut words = vec!["curl --globoff".to_owned()];
    match method {
        None => {}
        Some(method) if method.len() <= 20 && method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            words.push(format!("--request {method}"));
        }
        Some(_) => return None,
    }
    words.push(format!("--url {}", quoted(url)));
    let sent = headers.iter().take(MAX_HEADERS).filter(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_secret = LEFT_OUT.contains(&&*lower) || SECRET.iter().any(|part| lower.contains(part));
        is_name && !is_secret && is_plain(value) && !value.contains(SCRUBBED) && value.len() <= MAX_HEADER_CHARS
    });
    words.extend(sent.map(|(name, value)| format!("--header {}", quoted(&format!("{name}: {value}")))));
    match body {
        None => {}
        // Lines may end within quotes.
        Some(body) if is_plain(&body.replace(['\n', '\t'], " ")) && body.chars().count() <= MAX_BODY_CHARS => {
            words.push(format!("--data-raw {}", quoted(body)));
        }
        Some(_) => return None,
    }
    Some(words.join(" "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_sends_the_request_again_without_who_sent_it() {
        let request = json!({"request": {
            "method": "POST",
            "url": "https://shop.example/checkout",
            "query_string": [["step", "2"], ["name", "a b"]],
            "headers": {
                "Accept": "*/*", "Cookie": "a=b", "authorization": "Bearer x", "X-Auth-Token": "x", "Host": "a.example",
                "X-Trace": ["1", "2"], "X-Scrubbed": "[Filtered]", "Content-Length": "9",
            },
            "data": {"cart": []},
        }});
        let view = of_event(&request).unwrap();
        assert_eq!(view.line, "POST https://shop.example/checkout?step=2&name=a+b");
        assert_eq!(
            view.curl.unwrap(),
            "curl --globoff --request POST --url 'https://shop.example/checkout?step=2&name=a+b' \
             --header 'Accept: */*' --header 'X-Trace: 1, 2' --data-raw '{\"cart\":[]}'"
        );
        assert_eq!((view.headers.len(), view.body.as_deref()), (8, Some(r#"{"cart":[]}"#)));
    }

    /// Whoever sends events writes what is pasted into a shell.
    #[test]
    fn a_command_does_nothing_else_whatever_the_event_says() {
        let curl = |request: Value| of_event(&json!({ "request": request })).and_then(|view| view.curl);
        for (request, expected) in [
            (
                json!({"url": "https://a/'; rm -rf ~; '$(id)`id`!!"}),
                Some(r"curl --globoff --url 'https://a/'\''; rm -rf ~; '\''$(id)`id`!!'"),
            ),
            (json!({"url": "https://a/[1-99]{a,b}"}), Some("curl --globoff --url 'https://a/[1-99]{a,b}'")),
            (
                json!({"url": "https://a/", "data": "@/etc/passwd"}),
                Some("curl --globoff --url 'https://a/' --data-raw '@/etc/passwd'"),
            ),
            (
                json!({
                    "url": "https://a/",
                    "headers": [["@/etc/passwd", "x"], ["-o", "x\nA: b"], ["A b", "c"], ["X", "it's"]],
                }),
                Some(r"curl --globoff --url 'https://a/' --header 'X: it'\''s'"),
            ),
            (
                json!({"url": "https://a/", "data": "{\n\t1}"}),
                Some("curl --globoff --url 'https://a/' --data-raw '{\n\t1}'"),
            ),
            (json!({"url": "file:///etc/passwd"}), None),
            (json!({"url": "-o/tmp/x"}), None),
            (json!({"url": "/checkout"}), None),
            (json!({"url": "https://a/\nid"}), None),
            (json!({"url": "https://ada:secret@a/"}), None),
            (json!({"url": "https://a/\u{202e}"}), None),
            (json!({"url": "https://a/", "method": "GET; id"}), None),
            (json!({"url": "https://a/", "method": "--config"}), None),
            (json!({"url": "https://a/", "data": "\u{1b}]0;x\u{7}"}), None),
            (json!({"url": "https://a/", "data": "x".repeat(MAX_BODY_CHARS + 1)}), None),
        ] {
            assert_eq!(curl(request.clone()).as_deref(), expected, "{request}");
        }
    }

    #[test]
    fn requests_that_are_none_are_not_shown() {
        for json in [
            json!({}),
            json!({"request": null}),
            json!({"request": {}}),
            json!({"request": [1]}),
            json!({"request": {"url": {}}}),
        ] {
            assert_eq!(of_event(&json), None, "{json}");
        }
        let long =
            of_event(&json!({"request": {"url": "x".repeat(1_000_000), "data": "é".repeat(1_000_000)}})).unwrap();
        assert_eq!((long.line.len(), long.body.unwrap().chars().count()), (MAX_URL_CHARS, MAX_BODY_CHARS));
        assert_eq!(long.body_cut.as_deref(), Some("The first 2,000 of 1,000,000 characters; the raw JSON has all."));
    }
}
