//! What pages show, for programs: the JSON of `console_api`, made of what the store knows. Text stays as it was sent.

use std::collections::BTreeSet;

use super::{
    outcome::why,
    short_id,
    stacktrace::{MAX_FRAMES, relation},
    triage::sentence,
};
use crate::{
    console_api as api,
    protocol::event::{Event, Exception, Frame},
    store::console::{
        Activity, Happened, Issue, Outcome, Project, ProjectAddress, StatusRule, StoredEvent, issue_number,
    },
};

#[must_use]
pub fn project(project: &Project) -> api::Project {
    api::Project { namespace: project.namespace.clone(), name: project.name.clone(), id: project.id.get() }
}

#[must_use]
pub fn issue(project: &Project, issue: &Issue) -> api::Issue {
    api::Issue {
        id: issue.id,
        number: issue.number(),
        short_id: short_id(&project.name, issue.number()),
        title: issue.title.clone(),
        culprit: issue.culprit.clone(),
        level: issue.level.name().to_owned(),
        status: issue.status.as_str().to_owned(),
        rule: rule(&issue.rule),
        assignee: issue.assignee.clone(),
        events: issue.events,
        users: issue.users,
        merged: issue.merged,
        first_seen: issue.first_seen,
        last_seen: issue.last_seen,
    }
}

fn rule(rule: &StatusRule) -> Option<api::Rule> {
    let none = api::Rule::default();
    Some(match rule {
        StatusRule::Plain => return None,
        StatusRule::ResolvedIn(release) => api::Rule { resolved_in: Some(release.clone()), ..none },
        StatusRule::ResolvedInNext => api::Rule { resolved_in_next_release: Some(true), ..none },
        StatusRule::IgnoredUntil(until) => api::Rule { ignored_until: Some(*until), ..none },
        StatusRule::IgnoredUntilEvents(events) => api::Rule { ignored_until_events: Some(*events), ..none },
        StatusRule::IgnoredUntilUsers(users) => api::Rule { ignored_until_users: Some(*users), ..none },
    })
}

#[must_use]
pub fn event(stored: &StoredEvent, event: &Event) -> api::Event {
    let outermost_first: Vec<_> = event.exceptions.iter().rev().collect();
    let exceptions = (0..outermost_first.len()).map(|index| exception(index, &outermost_first));
    let (stacktrace, omitted_frames) = frames(&event.stacktrace, event.dropped_frames);
    let user = event.user.clone();
    api::Event {
        id: stored.event_id.to_string(),
        received_at: stored.received_at,
        timestamp: event.timestamp,
        platform: event.platform.clone(),
        release: event.release.clone(),
        environment: event.environment.clone(),
        transaction: event.transaction.clone(),
        server_name: event.server_name.clone(),
        message: event.log_entry.as_ref().map(|entry| entry.formatted.clone()),
        exceptions: exceptions.collect(),
        omitted_exceptions: event.dropped_exceptions,
        stacktrace,
        omitted_frames,
        request_url: event.request_url.clone(),
        user: api::User { id: user.id, username: user.username, email: user.email, ip_address: user.ip_address },
        tags: event.tags.iter().cloned().collect(),
    }
}

fn exception(index: usize, outermost_first: &[&Exception]) -> api::Exception {
    let exception = outermost_first[index];
    let (frames, omitted_frames) = frames(&exception.frames, exception.dropped_frames);
    let named = |kind: &String| match &exception.module {
        Some(module) if !kind.starts_with(module.as_str()) => format!("{module}.{kind}"),
        _ => kind.clone(),
    };
    api::Exception {
        kind: exception.r#type.as_ref().filter(|_| !exception.synthetic).map(named),
        value: exception.value.clone(),
        relation: relation(index, outermost_first),
        handled: exception.handled,
        frames,
        omitted_frames,
    }
}

/// Newest first, as the page has them; source round a line only where it has it open.
fn frames(oldest_first: &[Frame], dropped: usize) -> (Vec<api::Frame>, usize) {
    let newest_first = || oldest_first.iter().rev().take(MAX_FRAMES);
    let mut open: BTreeSet<usize> =
        newest_first().enumerate().filter(|(_, frame)| frame.in_app == Some(true)).map(|(index, _)| index).collect();
    if open.is_empty() {
        open.extend(newest_first().position(|frame| frame.context_line.is_some()));
    }
    let frames = newest_first().enumerate().map(|(index, shown)| frame(shown, open.contains(&index)));
    (frames.collect(), oldest_first.len().saturating_sub(MAX_FRAMES) + dropped)
}

fn frame(frame: &Frame, open: bool) -> api::Frame {
    let named = |text: &&String| !text.trim().is_empty();
    let places = [&frame.filename, &frame.module, &frame.package, &frame.abs_path];
    let around = |lines: &Vec<String>| if open { lines.clone() } else { Vec::new() };
    api::Frame {
        function: frame.function.clone(),
        file: places.into_iter().flatten().find(named).cloned(),
        line: frame.lineno,
        in_app: frame.in_app == Some(true),
        pre_context: around(&frame.pre_context),
        context_line: frame.context_line.clone(),
        post_context: around(&frame.post_context),
    }
}

#[must_use]
pub fn activity(project: &Project, activity: &Activity) -> api::Activity {
    let comment = match &activity.what {
        Happened::Comment(text) if activity.undone.is_none() => Some(text.clone()),
        _ => None,
    };
    api::Activity {
        at: activity.at,
        text: sentence(project, activity),
        comment,
        undone_by: activity.undone.as_ref().map(|undone| undone.actor.clone()),
    }
}

/// What came of an action for each issue, by number.
#[must_use]
pub fn outcomes(project: &ProjectAddress, outcomes: &[(i64, Outcome)]) -> Vec<api::Outcome> {
    let told = |(id, outcome): &(i64, Outcome)| api::Outcome {
        number: issue_number(*id),
        short_id: short_id(&project.name, issue_number(*id)),
        changed: *outcome == Outcome::Changed,
        refused: why(*outcome).map(str::to_owned),
    };
    let mut outcomes: Vec<_> = outcomes.iter().map(told).collect();
    outcomes.sort_by_key(|outcome| outcome.number);
    outcomes
}
