//! `/{namespace}/{project}/issues/{issue}`: one error with one of its events.

use askama::Template;
use jiff::Timestamp;

use super::{
    DoneBar, ProjectHead, Shell,
    attributes::{self, AttributeGroup, Highlight},
    breadcrumbs::{self, Breadcrumbs},
    chart::{DayChart, Days, Hours, Sparkline},
    format::{Moment, count, full, in_raw_json},
    grouped::GroupedView,
    request::{self, RequestView},
    short_id,
    stacktrace::{self, Reading, StackView},
    threads::{self, Threads},
    triage::{self, Acting, ActivityRow, Form},
    untrusted::visible,
};
use crate::{
    protocol::event::{Event, MAX_MESSAGE_CHARS},
    store::console::{Activity, EventKey, Issue, Project},
};

#[derive(Debug, Template)]
#[template(path = "issue.html")]
pub struct IssuePage {
    shell: Shell,
    project: ProjectHead,
    /// Within its project, from 1.
    number: u32,
    short_id: String,
    /// Of the window: `SHOP-12 KeyError: 'plum' · web/shop`.
    heading: String,
    title: String,
    culprit: String,
    level: &'static str,
    status: &'static str,
    events: String,
    users: String,
    first_seen: Moment,
    last_seen: Moment,
    day: DayChart,
    days: Sparkline,
    /// Which events reopen it, where not all or none do.
    state: Option<String>,
    assignee: Option<String>,
    merged: Option<String>,
    /// `None`: the caller may not change it.
    form: Option<Form>,
    /// The same for what leads back to the list.
    list: Form,
    may_delete: bool,
    done: Option<DoneBar>,
    activity: Vec<ActivityRow>,
    event: EventState,
    bar: Option<EventBar>,
    /// Whether the address names the event: else it is the latest.
    named: bool,
}

/// The event below the numbers.
#[derive(Debug)]
pub enum EventState {
    Shown(Box<EventView>),
    /// Stored, but the bytes are not an event (any more).
    Unreadable,
    /// None is left.
    Expired,
    /// The caller may see the numbers, not the events.
    NotPermitted,
}

#[derive(Debug)]
pub struct EventView {
    message: Option<String>,
    /// What is said of a message too long to be kept.
    message_cut: Option<String>,
    highlights: Vec<Highlight>,
    omitted_exceptions: Option<String>,
    stacks: Vec<StackView>,
    reading: Reading,
    breadcrumbs: Breadcrumbs,
    request: Option<RequestView>,
    threads: Threads,
    grouped: GroupedView,
    attributes: Vec<AttributeGroup>,
    omitted_contexts: Option<String>,
}

impl EventState {
    /// `payload` is the JSON that `event` was read from.
    #[must_use]
    pub fn shown(event: &Event, payload: &[u8], reading: Reading) -> Self {
        let message = event.log_entry.as_ref().map(|entry| entry.formatted.as_str());
        let json = attributes::json(payload);
        let attributes = attributes::of_event(event, &json);
        Self::Shown(Box::new(EventView {
            message: message.map(visible).filter(|message| !message.trim().is_empty()),
            message_cut: full(message, MAX_MESSAGE_CHARS),
            highlights: attributes::highlights(event, &json),
            omitted_exceptions: in_raw_json(event.dropped_exceptions, "more exception"),
            stacks: stacktrace::stacks(event, reading),
            reading,
            breadcrumbs: breadcrumbs::of_event(&json),
            request: request::of_event(&json),
            threads: threads::of_event(&json),
            grouped: GroupedView::new(event),
            attributes: attributes.groups,
            omitted_contexts: attributes.omitted_contexts,
        }))
    }
}

/// Which event is shown, and the way to those beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBar {
    id: String,
    received_at: Moment,
    older: Option<String>,
    newer: Option<String>,
}

impl EventBar {
    /// `beside`: the next older and the next newer one.
    #[must_use]
    pub fn new(shown: EventKey, beside: [Option<EventKey>; 2], now: Timestamp) -> Self {
        let [older, newer] = beside.map(|key| key.map(|key| key.event_id.to_string()));
        Self { id: shown.event_id.to_string(), received_at: Moment::new(shown.received_at, now), older, newer }
    }
}

/// What a page of an error shows beside the event.
pub struct Shown<'r> {
    pub project: &'r Project,
    pub issue: &'r Issue,
    pub hours: &'r Hours,
    pub days: &'r Days,
    /// Newest first.
    pub activity: &'r [Activity],
    /// Whether the address names the event.
    pub named: bool,
    pub bar: Option<EventBar>,
    pub acting: &'r Acting,
}

/// A window's title: at most 90 characters, of which the error's own are cut.
fn heading(short_id: &str, title: &str, project: &str) -> String {
    const MOST: usize = 90;
    let around = short_id.chars().count() + project.chars().count() + 4;
    let room = MOST.saturating_sub(around).max(20);
    let cut: String = title.chars().take(room).collect();
    let rest = if cut.len() < title.len() { "…" } else { "" };
    format!("{short_id} {cut}{rest} · {project}")
}

impl IssuePage {
    #[must_use]
    pub fn new(shell: Shell, shown: Shown<'_>, event: EventState, now: Timestamp) -> Self {
        let Shown { project, issue, hours, days, activity, named, bar, acting } = shown;
        let Acting { may_act, may_delete, done } = acting;
        let (number, head) = (issue.number(), ProjectHead::from(project));
        let short_id = short_id(&project.name, number);
        let title = visible(&issue.title);
        let back = Form { to: format!("{}/issues", head.address), ..Form::of(&shell) };
        let rows = activity.iter().map(|row| ActivityRow::new(&shell, project, row, *may_act, now)).collect();
        Self {
            heading: heading(&short_id, &title, &head.address),
            form: may_act.then(|| Form::of(&shell)),
            list: back,
            may_delete: *may_delete,
            done: done.clone(),
            activity: rows,
            state: triage::state(issue).filter(|state| state.contains(' ')),
            assignee: issue.assignee.as_deref().map(visible),
            merged: triage::merged(issue),
            shell,
            project: head,
            short_id,
            number,
            title,
            culprit: visible(&issue.culprit),
            level: issue.level.name(),
            status: issue.status.as_str(),
            events: count(issue.events),
            users: count(issue.users),
            first_seen: Moment::new(issue.first_seen, now),
            last_seen: Moment::new(issue.last_seen, now),
            day: DayChart::from(hours),
            days: Sparkline::from(days),
            event,
            bar,
            named,
        }
    }
}
