//! What an event says besides its stack trace, as groups of names and values: the event itself, the
//! user, the request, tags and contexts. Pure.

use serde_json::Value;

use super::untrusted::visible;
use crate::protocol::event::{Event, repaired};

/// Groups and values that are put on the page; the rest is in the raw JSON.
const MAX_CONTEXTS: usize = 12;
const MAX_ATTRIBUTES: usize = 50;
const MAX_VALUE_CHARS: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeGroup {
    pub title: String,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: String,
}

/// The groups that have something to say. `payload` is the JSON that `event` was read from.
#[must_use]
pub fn groups(event: &Event, payload: &[u8]) -> Vec<AttributeGroup> {
    let json = json(payload);
    let mut groups = vec![about(event, &json), user(event), request(event, &json), tags(event)];
    groups.extend(contexts(&json));
    groups.retain(|group| !group.attributes.is_empty());
    groups
}

/// What was accepted although strict parsers refuse it is read the same way here.
fn json(payload: &[u8]) -> Value {
    let read = |payload: &[u8]| serde_json::from_slice(payload).ok();
    read(payload).or_else(|| read(&repaired(payload)?)).unwrap_or(Value::Null)
}

fn group(title: &str, attributes: impl IntoIterator<Item = (String, Option<String>)>) -> AttributeGroup {
    let attributes = attributes
        .into_iter()
        .filter_map(|(name, value)| Some(Attribute { name: visible(&name), value: shortened(&value?) }))
        .filter(|attribute| !attribute.value.trim().is_empty())
        .take(MAX_ATTRIBUTES);
    AttributeGroup { title: visible(title), attributes: attributes.collect() }
}

fn shortened(text: &str) -> String {
    let text = visible(text);
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn about(event: &Event, json: &Value) -> AttributeGroup {
    let sdk = json.get("sdk").and_then(|sdk| {
        let part = |name| sdk.get(name).and_then(scalar);
        Some([part("name")?, part("version").unwrap_or_default()].join(" "))
    });
    group(
        "Event",
        [
            ("time", Some(event.timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())),
            ("level", Some(event.level.name().to_owned())),
            ("environment", event.environment.clone()),
            ("release", event.release.clone()),
            ("transaction", event.transaction.clone()),
            ("logger", event.logger.clone()),
            ("server", event.server_name.clone()),
            ("platform", Some(event.platform.clone())),
            ("sdk", sdk),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

fn user(event: &Event) -> AttributeGroup {
    let user = event.user.clone();
    group(
        "User",
        [("id", user.id), ("username", user.username), ("email", user.email), ("ip address", user.ip_address)]
            .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// The address is text, never a link: whoever sent the event chose it.
fn request(event: &Event, json: &Value) -> AttributeGroup {
    let method = json.get("request").and_then(|request| request.get("method")).and_then(scalar);
    group("Request", [("method".to_owned(), method), ("url".to_owned(), event.request_url.clone())])
}

fn tags(event: &Event) -> AttributeGroup {
    group("Tags", event.tags.iter().map(|(name, value)| (name.clone(), Some(value.clone()))))
}

/// `contexts` is an object of objects; only plain values are shown, and `type` only repeats the name.
fn contexts(json: &Value) -> impl Iterator<Item = AttributeGroup> {
    let contexts = json.get("contexts").and_then(Value::as_object).into_iter().flatten();
    contexts.take(MAX_CONTEXTS).filter_map(|(name, context)| {
        let attributes = context.as_object()?.iter().filter(|(name, _)| *name != "type");
        Some(group(&capitalised(name), attributes.map(|(name, value)| (name.replace('_', " "), scalar(value)))))
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `runtime` → `Runtime`, `os` → `OS`
fn capitalised(name: &str) -> String {
    if matches!(name, "os" | "gpu") {
        return name.to_uppercase();
    }
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_show_their_plain_values() {
        let json = serde_json::json!({"contexts": {
            "os": {"type": "os", "name": "Linux", "kernel_version": "6.1"},
            "trace": {"data": {"deep": true}, "sampled": false},
            "odd": "not an object",
            "empty": {},
        }});
        let groups: Vec<_> = contexts(&json).filter(|group| !group.attributes.is_empty()).collect();
        let seen: Vec<_> = groups
            .iter()
            .flat_map(|group| {
                group.attributes.iter().map(|attribute| (&*group.title, &*attribute.name, &*attribute.value))
            })
            .collect();
        assert_eq!(seen, [("OS", "kernel version", "6.1"), ("OS", "name", "Linux"), ("Trace", "sampled", "false")]);
    }

    #[test]
    fn json_that_is_almost_right_shows_its_contexts_too() {
        for payload in [r#"{"extra":NaN,"sdk":{"name":"x"}}"#, r#"{"message":"\ud83d","sdk":{"name":"x"}}"#] {
            let groups = groups(&Event::default(), payload.as_bytes());
            let sdk = groups[0].attributes.iter().find(|attribute| attribute.name == "sdk");
            assert_eq!(sdk.map(|attribute| attribute.value.trim()), Some("x"), "{payload}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(MAX_VALUE_CHARS + 1);
        let shown = shortened(&long);
        assert_eq!(shown.chars().count(), MAX_VALUE_CHARS + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(shortened("short"), "short");
    }
}
