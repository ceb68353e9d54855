//! `/{namespace}/{project}/issues/{issue}`: one error with one of its events.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    attributes::{self, AttributeGroup},
    chart::{DayChart, Hours},
    format::{Moment, count, full, in_raw_json},
    grouped::GroupedView,
    stacktrace::{self, StackView},
    untrusted::visible,
};
use crate::{
    protocol::event::{Event, EventId, MAX_MESSAGE_CHARS},
    store::console::{Issue, Project},
};

#[derive(Debug, Template)]
#[template(path = "issue.html")]
pub struct IssuePage {
    shell: Shell,
    project: ProjectHead,
    /// Within its project, from 1.
    number: u32,
    title: String,
    culprit: String,
    level: &'static str,
    status: &'static str,
    events: String,
    users: String,
    first_seen: Moment,
    last_seen: Moment,
    day: DayChart,
    event: EventState,
    /// Whether the address names the event: else it is the latest.
    named: bool,
}

/// The event below the numbers.
#[derive(Debug)]
pub enum EventState {
    Shown(Box<EventView>),
    /// Stored, but the bytes are not an event (any more); the id.
    Unreadable(String),
    /// None is left.
    Expired,
    /// The caller may see the numbers, not the events.
    NotPermitted,
}

#[derive(Debug)]
pub struct EventView {
    id: String,
    received_at: Moment,
    message: Option<String>,
    /// What is said of a message too long to be kept.
    message_cut: Option<String>,
    omitted_exceptions: Option<String>,
    stacks: Vec<StackView>,
    grouped: GroupedView,
    attributes: Vec<AttributeGroup>,
    omitted_contexts: Option<String>,
}

impl EventState {
    /// `payload` is the JSON that `event` was read from.
    #[must_use]
    pub fn shown(id: EventId, received_at: Timestamp, event: &Event, payload: &[u8], now: Timestamp) -> Self {
        let message = event.log_entry.as_ref().map(|entry| entry.formatted.as_str());
        let attributes = attributes::of_event(event, payload);
        Self::Shown(Box::new(EventView {
            id: id.to_string(),
            received_at: Moment::new(received_at, now),
            message: message.map(visible).filter(|message| !message.trim().is_empty()),
            message_cut: full(message, MAX_MESSAGE_CHARS),
            omitted_exceptions: in_raw_json(event.dropped_exceptions, "more exception"),
            stacks: stacktrace::stacks(event),
            grouped: GroupedView::new(event),
            attributes: attributes.groups,
            omitted_contexts: attributes.omitted_contexts,
        }))
    }

    #[must_use]
    pub fn unreadable(id: EventId) -> Self {
        Self::Unreadable(id.to_string())
    }
}

impl IssuePage {
    #[must_use]
    pub fn new(
        shell: Shell,
        project: &Project,
        issue: &Issue,
        hours: &Hours,
        event: EventState,
        named: bool,
        now: Timestamp,
    ) -> Self {
        Self {
            shell,
            project: ProjectHead::from(project),
            number: issue.number(),
            title: visible(&issue.title),
            culprit: visible(&issue.culprit),
            level: issue.level.name(),
            status: issue.status.as_str(),
            events: count(issue.events),
            users: count(issue.users),
            first_seen: Moment::new(issue.first_seen, now),
            last_seen: Moment::new(issue.last_seen, now),
            day: DayChart::from(hours),
            event,
            named,
        }
    }
}
