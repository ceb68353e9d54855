//! What an event says besides its stack trace, as groups of names and values: the event itself, the
//! user, tags and contexts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    format::{self, in_raw_json},
    untrusted::visible,
};
use crate::protocol::event::{Event, repaired};

/// Groups and values that are put on the page; the rest is in the raw JSON.
const MAX_CONTEXTS: usize = 12;
const MAX_ATTRIBUTES: usize = 50;
const MAX_VALUE_CHARS: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Those that have something to say.
    pub groups: Vec<AttributeGroup>,
    /// What is said of contexts that are left out.
    pub omitted_contexts: Option<String>,
}

/// `None`: the event does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    pub name: &'static str,
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeGroup {
    pub title: String,
    pub attributes: Vec<Attribute>,
    /// What is said of attributes that are left out.
    pub omitted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: String,
    /// What is said of a value that is not shown whole.
    pub cut: Option<String>,
}

/// What is asked for first, whether or not the event says it: where it happened, to whom, in what.
#[must_use]
pub fn highlights(event: &Event, json: &Value) -> Vec<Highlight> {
    let user = &event.user;
    let who = [&user.email, &user.username, &user.id, &user.ip_address];
    let who = who.into_iter().flatten().find(|text| !text.trim().is_empty());
    let trace = json.pointer("/contexts/trace/trace_id").and_then(scalar);
    [
        ("Pod", event.server_name.clone()),
        ("Release", event.release.clone()),
        ("Environment", event.environment.clone()),
        ("User", who.cloned()),
        ("URL", event.request_url.clone()),
        ("Trace", trace),
    ]
    .map(|(name, value)| Highlight {
        name,
        value: value.filter(|value| !value.trim().is_empty()).map(|value| shortened(&value)),
    })
    .into()
}

/// `json` is what `event` was read from.
#[must_use]
pub fn of_event(event: &Event, json: &Value) -> Attributes {
    let mut groups = vec![about(event, json), user(event), tags(event, json)];
    let contexts = json.get("contexts").and_then(Value::as_object);
    groups.extend(contexts.into_iter().flatten().take(MAX_CONTEXTS).filter_map(|(name, value)| context(name, value)));
    groups.retain(|group| !group.attributes.is_empty() || group.omitted.is_some());
    let omitted = contexts.map_or(0, serde_json::Map::len).saturating_sub(MAX_CONTEXTS);
    Attributes { groups, omitted_contexts: in_raw_json(omitted, "more context") }
}

/// What was accepted although strict parsers refuse it is read the same way here.
#[must_use]
pub fn json(payload: &[u8]) -> Value {
    let read = |payload: &[u8]| serde_json::from_slice(payload).ok();
    read(payload).or_else(|| read(&repaired(payload)?)).unwrap_or(Value::Null)
}

/// Only what has a value.
fn group(title: &str, attributes: impl IntoIterator<Item = (String, Option<String>)>) -> AttributeGroup {
    let named = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut attributes: Vec<_> = named
        .filter(|(_, value)| !value.trim().is_empty())
        .map(|(name, value)| Attribute { name: visible(&name), cut: cut_note(&value), value: shortened(&value) })
        .collect();
    let omitted = attributes.len().saturating_sub(MAX_ATTRIBUTES);
    attributes.truncate(MAX_ATTRIBUTES);
    AttributeGroup { title: visible(title), attributes, omitted: in_raw_json(omitted, "more value") }
}

fn shortened(text: &str) -> String {
    let end = text.char_indices().nth(MAX_VALUE_CHARS).map_or(text.len(), |(end, _)| end);
    visible(&text[..end])
}

fn cut_note(text: &str) -> Option<String> {
    format::cut_note(MAX_VALUE_CHARS, text.chars().count())
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

/// Those that are kept for searching, with what the payload has beyond them.
fn tags(event: &Event, json: &Value) -> AttributeGroup {
    let mut group = group("Tags", event.tags.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    let sent = sent_tags(json);
    for (attribute, (name, value)) in group.attributes.iter_mut().zip(&event.tags) {
        if let Some(sent) = sent.get(name) {
            attribute.cut = format::cut_note(value.chars().count(), sent.trim().chars().count());
        }
    }
    let kept: BTreeSet<_> = event.tags.iter().map(|(name, _)| name.as_str()).collect();
    // Shown as an attribute of the event.
    let left_out = sent.keys().filter(|name| !kept.contains(name.as_str()) && *name != "environment");
    group.omitted = in_raw_json(left_out.count(), "more tag");
    group
}

/// The tags of the payload, an object or a list of pairs, by the name that is kept: blanks in it become dashes.
fn sent_tags(json: &Value) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let mut insert = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            tags.entry(name.trim().replace(' ', "-")).or_insert(value);
        }
    };
    match json.get("tags") {
        Some(Value::Object(object)) => object.iter().for_each(|(name, value)| insert(name, scalar(value))),
        Some(Value::Array(pairs)) => {
            for pair in pairs {
                let (name, value) = (pair.get(0).or(pair.get("key")), pair.get(1).or(pair.get("value")));
                if let Some(name) = name.and_then(scalar) {
                    insert(&name, value.and_then(scalar));
                }
            }
        }
        _ => {}
    }
    tags
}

/// A context is an object. Only its plain values are shown, and `type` only repeats the name.
fn context(name: &str, value: &Value) -> Option<AttributeGroup> {
    let attributes = || value.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
    value.as_object()?;
    let plain = attributes().map(|(name, value)| (name.replace('_', " "), scalar(value)));
    let mut group = group(&capitalised(name), plain);
    let nested = attributes().filter(|(_, value)| value.is_object() || value.is_array()).count();
    let more = attributes().filter(|(_, value)| scalar(value).is_some_and(|text| !text.trim().is_empty())).count();
    group.omitted = in_raw_json(nested + more.saturating_sub(MAX_ATTRIBUTES), "more value");
    Some(group)
}

pub(super) fn scalar(value: &Value) -> Option<String> {
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
            "trace": {"data": {"deep": true}, "links": [], "sampled": false},
            "odd": "not an object",
            "empty": {},
        }});
        let groups = of_event(&Event::default(), &json).groups;
        let seen: Vec<_> = groups
            .iter()
            .filter(|group| group.title != "Event")
            .flat_map(|group| group.attributes.iter().map(|found| (&*group.title, &*found.name, &*found.value)))
            .collect();
        assert_eq!(seen, [("OS", "kernel version", "6.1"), ("OS", "name", "Linux"), ("Trace", "sampled", "false")]);
        let omitted: Vec<_> = groups.iter().filter_map(|group| group.omitted.as_deref()).collect();
        assert_eq!(omitted, ["2 more values are in the raw JSON."]);
    }

    #[test]
    fn contexts_beyond_the_limit_are_counted() {
        let contexts: serde_json::Map<_, _> =
            (0..15).map(|number| (format!("c{number}"), serde_json::json!({"a": 1}))).collect();
        let attributes = of_event(&Event::default(), &serde_json::json!({ "contexts": contexts }));
        assert_eq!(attributes.omitted_contexts.as_deref(), Some("3 more contexts are in the raw JSON."));
    }

    #[test]
    fn tags_of_every_shape_are_counted() {
        for tags in [
            serde_json::json!({"a b": "v".repeat(300), "c": 5, "none": null, "environment": "e"}),
            serde_json::json!([["a b", "v".repeat(300)], {"key": "c", "value": 5}, ["none", null], 7, []]),
        ] {
            let event = Event { tags: vec![("a-b".to_owned(), "v".repeat(200))], ..Event::default() };
            let group = super::tags(&event, &serde_json::json!({ "tags": tags }));
            assert_eq!(group.omitted.as_deref(), Some("1 more tag is in the raw JSON."), "{tags}");
            let cut = group.attributes[0].cut.as_deref();
            assert_eq!(cut, Some("The first 200 of 300 characters; the raw JSON has all."), "{tags}");
        }
    }

    #[test]
    fn json_that_is_almost_right_shows_its_contexts_too() {
        for payload in [r#"{"extra":NaN,"sdk":{"name":"x"}}"#, r#"{"message":"\ud83d","sdk":{"name":"x"}}"#] {
            let groups = of_event(&Event::default(), &json(payload.as_bytes())).groups;
            let sdk = groups[0].attributes.iter().find(|attribute| attribute.name == "sdk");
            assert_eq!(sdk.map(|attribute| attribute.value.trim()), Some("x"), "{payload}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(MAX_VALUE_CHARS + 1);
        let group = group("G", [("long".to_owned(), Some(long)), ("short".to_owned(), Some("short".to_owned()))]);
        let [long, short] = &*group.attributes else { panic!("two attributes") };
        assert_eq!(long.value.chars().count(), MAX_VALUE_CHARS);
        assert_eq!(long.cut.as_deref(), Some("The first 300 of 301 characters; the raw JSON has all."));
        assert_eq!((short.value.as_str(), &short.cut), ("short", &None));
    }
}
