//! What the console answers programs, at addresses that end in `.json`: the console writes it, `kubectl errors` reads
//! it. Pure. Text is as it was sent: who shows it has to make it fit to be shown. Fields may be added; a reader passes
//! over those that it does not know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whom a token must be made for: `kubectl create token NAME --audience errortracking`.
pub const AUDIENCE: &str = "errortracking";

/// `GET /{namespace}/{project}/issues.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueList {
    pub project: Project,
    /// By status, of the project or of its environment and period that were asked for.
    pub counts: Counts,
    /// Errors of the query, on all pages.
    pub total: u64,
    pub issues: Vec<Issue>,
    /// `after` of the next page; `null` on the last one.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub namespace: String,
    pub name: String,
    /// As in a DSN.
    pub id: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub unresolved: u64,
    pub resolved: u64,
    pub ignored: u64,
}

/// An error: all events of one group, and of those that were merged into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// `project id << 32 | number`
    pub id: i64,
    /// Within its project, from 1.
    pub number: u32,
    /// `SHOP-12`
    #[serde(rename = "shortID")]
    pub short_id: String,
    pub title: String,
    pub culprit: String,
    /// `debug`, `info`, `warning`, `error` or `fatal`
    pub level: String,
    /// `unresolved`, `resolved` or `ignored`
    pub status: String,
    /// Which event reopens it; absent when the status says so alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    pub assignee: Option<String>,
    pub events: u64,
    pub users: u64,
    /// How many errors were merged into it.
    pub merged: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// At most one of these, as `{"resolvedIn": "shop@1.2"}`: an event of a later release reopens it, one of a release that
/// was not seen before, one from that time on, that with which it has so many events or users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_in: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_in_next_release: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_until_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_until_users: Option<u64>,
}

/// `GET /{namespace}/{project}/issues/{number}.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownIssue {
    pub project: Project,
    pub issue: Issue,
    /// The latest one.
    pub event: LatestEvent,
    /// Newest first.
    pub activity: Vec<Activity>,
}

/// As `{"state": "expired"}`, or with the fields of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum LatestEvent {
    Shown(Box<Event>),
    /// Stored, but the bytes are not an event (any more).
    Unreadable {
        id: String,
    },
    /// Past its retention.
    Expired,
    /// The caller may see the numbers, not the events.
    NotPermitted,
}

/// What is understood of an event. The whole of it is at `/{namespace}/{project}/events/{id}/json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub id: String,
    pub received_at: Timestamp,
    pub timestamp: Timestamp,
    pub platform: String,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub transaction: Option<String>,
    /// The pod, where the SDK runs in one.
    pub server_name: Option<String>,
    pub message: Option<String>,
    /// Outermost first.
    pub exceptions: Vec<Exception>,
    /// How many more it came with.
    pub omitted_exceptions: usize,
    /// Of a message without an exception, newest call first.
    pub stacktrace: Vec<Frame>,
    pub omitted_frames: usize,
    pub request_url: Option<String>,
    pub user: User,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// With its module; absent when the SDK made it up.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub value: Option<String>,
    /// How it belongs to the others, as `Caused by`; `null` for the outermost.
    pub relation: Option<String>,
    pub handled: Option<bool>,
    /// Newest call first, at most 200.
    pub frames: Vec<Frame>,
    /// How many older ones it came with.
    pub omitted_frames: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    pub function: Option<String>,
    /// The file, or what names the place else.
    pub file: Option<String>,
    pub line: Option<u32>,
    /// Whether it is the application's own.
    pub in_app: bool,
    /// The line of source that was reached, with those around it in frames of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_context: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_line: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_context: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: Option<String>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub ip_address: Option<String>,
}

/// What happened to an error once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    pub at: Timestamp,
    /// `ada resolved it in shop@1.2`
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
}

/// `POST /{namespace}/{project}/issues.json` and `…/issues/{number}.json`: what came of it for each error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// What it can be undone by; `null` when nothing changed.
    pub batch: Option<String>,
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub number: u32,
    #[serde(rename = "shortID")]
    pub short_id: String,
    pub changed: bool,
    /// Why it could not be done; `null` too for what was so already.
    pub refused: Option<String>,
}

/// `POST /-/ticket.json`: begins a session in the browser that comes with it to `/-/ticket?ticket=`, once and within a
/// minute.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub ticket: String,
}

/// What a token may be used for, in the order in which people are shown them.
pub const SCOPES: [&str; 6] =
    ["org:read", "project:read", "project:releases", "event:read", "event:write", "key:write"];

/// `POST /-/tokens.json` with `name`, `days` (1 to 366) and one `scope` or several: a token that is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Any answer that is not what was asked for, with the status of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub status: u16,
    /// A sentence for people.
    pub error: String,
    /// Shows whether a right is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
