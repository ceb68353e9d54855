//! `/{namespace}/{project}/issues/{issue}/events`: the events of an error, the newest first.

use askama::Template;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ProjectHead, Shell,
    attributes::scalar,
    format::{Moment, count, counted},
    short_id,
    untrusted::visible,
};
use crate::store::console::{EventKey, Issue, ListedEvent, Project, StoredEvent};

/// Events on one page.
pub const EVENTS_PAGE_SIZE: u32 = 50;

/// Longest JSON that is read for a row, and longest name that a row shows.
const MAX_JSON_BYTES: usize = 256 * 1024;
const MAX_NAME_CHARS: usize = 60;

#[derive(Debug, Template)]
#[template(path = "events.html")]
pub struct EventsPage {
    shell: Shell,
    project: ProjectHead,
    /// Of the error, within its project.
    number: u32,
    short_id: String,
    title: String,
    rows: Vec<EventRow>,
    is_first: bool,
    /// `The first 50 of 234 events`
    summary: String,
    /// Query of the next page.
    next: Option<String>,
}

#[derive(Debug)]
struct EventRow {
    id: String,
    at: Moment,
    level: &'static str,
    release: Option<String>,
    environment: Option<String>,
    user: Option<String>,
    server: Option<String>,
}

/// The events of one page.
#[derive(Clone, Copy)]
pub struct ListedEvents<'r> {
    pub issue: &'r Issue,
    /// Whether nothing comes before them.
    pub is_first: bool,
    /// At most [`EVENTS_PAGE_SIZE`], and one more where there is a next page.
    pub events: &'r [ListedEvent],
}

impl EventsPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, listed: &ListedEvents<'_>, now: Timestamp) -> Self {
        let ListedEvents { issue, is_first, events } = *listed;
        let shown = &events[..events.len().min(EVENTS_PAGE_SIZE as usize)];
        let next = shown.last().filter(|_| events.len() > shown.len()).map(|last| query(last.key));
        let all = counted(issue.events, "event");
        // Those past their retention are counted, and are not there any more.
        let summary = match (is_first, next.is_some()) {
            (true, true) => format!("The first {} of {all}", shown.len()),
            (true, false) if shown.len() as u64 == issue.events => all,
            (true, false) => format!("{} of {all}: the others are past their retention", count(shown.len() as u64)),
            (false, _) => format!("{} more of {all}", shown.len()),
        };
        Self {
            shell,
            number: issue.number(),
            short_id: short_id(&project.name, issue.number()),
            title: visible(&issue.title),
            rows: shown.iter().map(|event| row(event, now)).collect(),
            is_first,
            summary,
            next,
            project: ProjectHead::from(project),
        }
    }
}

fn query(last: EventKey) -> String {
    format!("?after={}.{}", last.received_at.as_microsecond(), last.event_id)
}

fn row(event: &ListedEvent, now: Timestamp) -> EventRow {
    let who = event.stored.as_ref().map(who).unwrap_or_default();
    EventRow {
        id: event.key.event_id.to_string(),
        at: Moment::new(event.timestamp, now),
        level: event.level.name(),
        release: event.release.as_deref().and_then(name),
        environment: event.environment.as_deref().and_then(name),
        user: who.user.as_ref().and_then(user),
        server: who.server_name.as_ref().and_then(scalar).as_deref().and_then(name),
    }
}

/// What a row tells of a payload.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Who {
    user: Option<Value>,
    server_name: Option<Value>,
}

/// Nothing of what cannot be read: the page of the event says why.
fn who(stored: &StoredEvent) -> Who {
    stored.json_within(MAX_JSON_BYTES).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// As people know each other best.
fn user(user: &Value) -> Option<String> {
    let part = |field: &str| user.get(field).and_then(scalar).as_deref().and_then(name);
    ["email", "username", "id", "ip_address"].into_iter().find_map(part)
}

fn name(text: &str) -> Option<String> {
    let text = visible(text.trim());
    let cut: String = text.chars().take(MAX_NAME_CHARS).collect();
    let rest = if cut.len() < text.len() { "…" } else { "" };
    (!text.is_empty()).then(|| format!("{cut}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(json: &str) -> StoredEvent {
        let (at, payload) = (Timestamp::UNIX_EPOCH, zstd::encode_all(json.as_bytes(), 3).unwrap());
        let event_id = "0123456789abcdef0123456789abcdef".parse().unwrap();
        StoredEvent { event_id, received_at: at, timestamp: at, dictionary: None, payload }
    }

    #[test]
    fn a_row_tells_who_and_where_as_far_as_it_can_be_read() {
        let long = format!(r#"{{"pad":"{}","user":{{"id":1}}}}"#, "x".repeat(MAX_JSON_BYTES));
        for (json, expected) in [
            (
                r#"{"user":{"id":5,"email":"ada@example.org"},"server_name":"shop-1"}"#,
                (Some("ada@example.org"), Some("shop-1")),
            ),
            (r#"{"user":{"id":5,"email":" "}}"#, (Some("5"), None)),
            (r#"{"user":{"username":"\u202eada"},"server_name":{}}"#, (Some("\u{fffd}ada"), None)),
            (r#"{"user":["ada"],"server_name":null}"#, (None, None)),
            (r#"{"user":"#, (None, None)),
            (long.as_str(), (None, None)),
        ] {
            let who = who(&stored(json));
            let seen = (who.user.as_ref().and_then(user), who.server_name.as_ref().and_then(scalar));
            let expected = (expected.0.map(str::to_owned), expected.1.map(str::to_owned));
            assert_eq!(seen, expected, "{}", &json[..json.len().min(80)]);
        }
        assert_eq!(name(&"é".repeat(61)).unwrap(), "é".repeat(60) + "…");
    }
}
