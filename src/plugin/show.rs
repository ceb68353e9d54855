//! Shows an error with its latest event, as `kubectl describe` shows an object.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    PluginError, cluster, console,
    issue_name::IssueName,
    output::{Output, print, print_document},
};
use crate::{
    console_api::{Event, Exception, Frame, Issue, LatestEvent, Rule, ShownIssue, User},
    kubernetes::table::age,
    text::in_one_line,
};

/// What happened to an error that is told.
const MAX_ACTIVITY: usize = 10;

/// Show an error: numbers, stack trace of its latest event, and what was decided about it.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// As SHOP-12, or shop/12: name of the project and number.
    #[arg(value_name = "ISSUE")]
    issue: IssueName,
    /// Show the frames of libraries as well.
    #[arg(long)]
    all_frames: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    console: console::Options,
}

pub async fn show(command: &Show, options: &cluster::Options) -> Result<(), PluginError> {
    let mut console = command.console.find(options).await?;
    let IssueName { project, number } = &command.issue;
    let path = format!("/{}/{project}/issues/{number}.json", console.namespace);
    let shown: ShownIssue = console.get(&path).await?;
    match command.output {
        Some(Output::Name) => print(&format!("issue/{}\n", shown.issue.short_id)),
        None | Some(Output::Wide) => print(&describe(&shown, Timestamp::now(), command.all_frames)),
        Some(output) => output.document().map_or(Ok(()), |document| print_document(document, &shown)),
    }
}

fn describe(shown: &ShownIssue, now: Timestamp, all_frames: bool) -> String {
    let ShownIssue { project, issue, event, activity } = shown;
    let mut page = Page::default();
    page.line(&format!("{}   {}", issue.short_id, issue.title));
    page.blank();
    page.field("Project", &format!("{}/{}", project.namespace, project.name));
    page.field("Culprit", &issue.culprit);
    page.field("Level", &issue.level);
    page.field("Status", &status(issue));
    page.field("Assignee", issue.assignee.as_deref().unwrap_or_default());
    page.field("Events", &issue.events.to_string());
    page.field("Users", &issue.users.to_string());
    page.field("First seen", &moment(issue.first_seen, now));
    page.field("Last seen", &moment(issue.last_seen, now));
    if issue.merged > 0 {
        page.field("Merged", &format!("{} other errors count for this one", issue.merged));
    }
    page.blank();
    match event {
        LatestEvent::Shown(event) => latest(&mut page, event, now, all_frames),
        LatestEvent::Unreadable { id } => page.line(&format!("Event {id} cannot be read.")),
        LatestEvent::Expired => page.line("No event of it is kept any more."),
        LatestEvent::NotPermitted => page.line(&format!(
            "You may see its numbers, not its events: kubectl auth can-i get errortrackingprojects/{} --subresource=events \
             -n {}",
            project.name, project.namespace
        )),
    }
    if !activity.is_empty() {
        page.blank();
        page.line("Activity:");
    }
    for row in activity.iter().take(MAX_ACTIVITY) {
        let undone = row.undone_by.as_deref().map(|by| format!(" (undone by {by})")).unwrap_or_default();
        page.line(&format!("  {:<5} {}{undone}", age(now.duration_since(row.at)), row.text));
        for line in row.comment.iter().flat_map(|comment| comment.lines()) {
            page.line(&format!("        {line}"));
        }
    }
    page.0
}

/// `resolved in shop@1.2`
fn status(issue: &Issue) -> String {
    let Rule { resolved_in, resolved_in_next_release, ignored_until, ignored_until_events, ignored_until_users } =
        issue.rule.clone().unwrap_or_default();
    let rule = resolved_in
        .map(|release| format!(" in {release}"))
        .or_else(|| resolved_in_next_release.map(|_| " in the next release".to_owned()))
        .or_else(|| ignored_until.map(|until| format!(" until {until}")))
        .or_else(|| ignored_until_events.map(|events| format!(" until it has {events} events")))
        .or_else(|| ignored_until_users.map(|users| format!(" until it has {users} users")));
    format!("{}{}", issue.status, rule.unwrap_or_default())
}

/// `2026-11-30T11:55:00Z (5m ago)`
fn moment(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({} ago)", at.strftime("%Y-%m-%dT%H:%M:%SZ"), age(now.duration_since(at)))
}

fn latest(page: &mut Page, event: &Event, now: Timestamp, all_frames: bool) {
    page.field("Event", &event.id);
    page.field("Received", &moment(event.received_at, now));
    for (name, value) in [
        ("Release", &event.release),
        ("Environment", &event.environment),
        ("Pod", &event.server_name),
        ("Transaction", &event.transaction),
        ("Request", &event.request_url),
        ("User", &user(&event.user)),
    ] {
        page.field(name, value.as_deref().unwrap_or_default());
    }
    let shown_above = ["release", "environment", "server_name", "transaction", "url", "level", "user"];
    let tags = event.tags.iter().filter(|(name, _)| !shown_above.contains(&name.as_str()));
    let tags: Vec<_> = tags.map(|(name, value)| format!("{name}={value}")).collect();
    page.field("Tags", &tags.join(", "));
    if let Some(message) = event.message.as_deref().filter(|_| event.exceptions.is_empty()) {
        page.blank();
        for line in message.lines() {
            page.line(&format!("  {line}"));
        }
    }
    for exception in &event.exceptions {
        page.blank();
        self::exception(page, exception, all_frames);
    }
    if !event.stacktrace.is_empty() {
        page.blank();
        page.line("Stack trace, newest call first:");
        frames(page, &event.stacktrace, event.omitted_frames, all_frames);
    }
}

fn user(user: &User) -> Option<String> {
    let User { id, username, email, ip_address } = user;
    let parts: Vec<_> = [id, username, email, ip_address].into_iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn exception(page: &mut Page, exception: &Exception, all_frames: bool) {
    let Exception { kind, value, relation, .. } = exception;
    let said = [kind, value].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(": ");
    let relation = relation.as_deref().map(|relation| format!("{relation} ")).unwrap_or_default();
    let unhandled = if exception.handled == Some(false) { "   (not handled)" } else { "" };
    let mut lines = said.lines();
    page.line(&format!("{relation}{}{unhandled}", lines.next().unwrap_or("Exception")));
    for line in lines {
        page.line(&format!("  {line}"));
    }
    frames(page, &exception.frames, exception.omitted_frames, all_frames);
}

/// Those of the application with their source; what libraries did between is counted.
fn frames(page: &mut Page, frames: &[Frame], omitted: usize, all: bool) {
    let all = all || !frames.iter().any(|frame| frame.in_app);
    let mut left_out = 0;
    for frame in frames {
        if all || frame.in_app {
            page.left_out(std::mem::take(&mut left_out));
            self::frame(page, frame);
        } else {
            left_out += 1;
        }
    }
    page.left_out(left_out);
    if omitted > 0 {
        page.line(&format!("  … {omitted} older ones, which the raw event has"));
    }
}

fn frame(page: &mut Page, frame: &Frame) {
    let file = frame.file.as_deref().unwrap_or("unknown file");
    let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
    page.line(&format!("  {file}{line} in {}", frame.function.as_deref().unwrap_or("<unknown>")));
    let Some(failing) = &frame.context_line else { return };
    let before = frame.pre_context.len();
    for (offset, text) in frame.pre_context.iter().chain([failing]).chain(&frame.post_context).enumerate() {
        let mark = if offset == before { '>' } else { ' ' };
        let number = frame.line.and_then(|line| (line as usize + offset).checked_sub(before));
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        page.line(format!("  {mark} {number:>5}  {}", text.replace('\t', "    ")).trim_end());
    }
}

/// Lines that are ours: text of an event neither begins one nor moves a cursor.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}", in_one_line(text));
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    /// Left out where there is nothing to say.
    fn field(&mut self, name: &str, value: &str) {
        if !value.trim().is_empty() {
            let name = format!("{name}:");
            self.line(&format!("{name:<14}{value}"));
        }
    }

    fn left_out(&mut self, number: usize) {
        match number {
            0 => {}
            1 => self.line("  … a frame of a library"),
            _ => self.line(&format!("  … {number} frames of libraries")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(event: &Value) -> ShownIssue {
        serde_json::from_value(json!({
            "project": {"namespace": "web", "name": "shop", "id": 7},
            "issue": {
                "id": 30_064_771_084_u64, "number": 12, "shortID": "SHOP-12", "title": "KeyError: 'plum'",
                "culprit": "shop.cart in total", "level": "error", "status": "resolved",
                "rule": {"resolvedIn": "shop@1.2"}, "assignee": "ada", "events": 41, "users": 7, "merged": 0,
                "firstSeen": "2026-11-28T12:00:00Z", "lastSeen": "2026-11-30T11:55:00Z",
            },
            "event": event,
            "activity": [
                {"at": "2026-11-30T11:00:00Z", "text": "ada wrote", "comment": "seen\nin the log\u{1b}[2J"},
                {"at": "2026-11-30T10:00:00Z", "text": "ada resolved it in shop@1.2", "undoneBy": "bob"},
            ],
        }))
        .unwrap()
    }

    const NOW: &str = "2026-11-30T12:00:00Z";

    #[test]
    fn an_error_is_described_with_its_own_frames() {
        let frame = |file: &str, in_app: bool| {
            json!({"function": "total", "file": file, "line": 12, "inApp": in_app, "preContext": ["def total(cart):"],
                "contextLine": "    return cart['plum']", "postContext": []})
        };
        let frames = [frame("shop/cart.py", true), frame("flask/app.py", false), frame("flask/wsgi.py", false)];
        let shown = shown(&json!({
            "state": "shown", "id": "0123456789abcdef0123456789abcdef", "receivedAt": "2026-11-30T11:55:00Z",
            "timestamp": "2026-11-30T11:55:00Z", "platform": "python", "release": "shop@1.1", "environment": null,
            "transaction": null, "serverName": "shop-7f4c9b79b5-x2x4z", "message": null,
            "exceptions": [
                {"type": "KeyError", "value": "'plum'\nSHOP-1   forged", "relation": null, "handled": false,
                    "frames": frames, "omittedFrames": 3},
                {"type": "OSError", "value": null, "relation": "Caused by", "handled": null, "frames": [],
                    "omittedFrames": 0},
            ],
            "omittedExceptions": 0, "stacktrace": [], "omittedFrames": 0, "requestUrl": "https://shop/cart",
            "user": {"id": "7", "username": null, "email": "ada@example.org", "ipAddress": null},
            "tags": {"release": "shop@1.1", "browser": "Firefox\u{202e}"},
        }));
        let text = describe(&shown, NOW.parse().unwrap(), false);
        assert_eq!(
            text,
            "SHOP-12   KeyError: 'plum'\n\
             \n\
             Project:      web/shop\n\
             Culprit:      shop.cart in total\n\
             Level:        error\n\
             Status:       resolved in shop@1.2\n\
             Assignee:     ada\n\
             Events:       41\n\
             Users:        7\n\
             First seen:   2026-11-28T12:00:00Z (2d ago)\n\
             Last seen:    2026-11-30T11:55:00Z (5m ago)\n\
             \n\
             Event:        0123456789abcdef0123456789abcdef\n\
             Received:     2026-11-30T11:55:00Z (5m ago)\n\
             Release:      shop@1.1\n\
             Pod:          shop-7f4c9b79b5-x2x4z\n\
             Request:      https://shop/cart\n\
             User:         7 ada@example.org\n\
             Tags:         browser=Firefox \n\
             \n\
             KeyError: 'plum'   (not handled)\n\
             \x20 SHOP-1   forged\n\
             \x20 shop/cart.py:12 in total\n\
             \x20      11  def total(cart):\n\
             \x20 >    12      return cart['plum']\n\
             \x20 … 2 frames of libraries\n\
             \x20 … 3 older ones, which the raw event has\n\
             \n\
             Caused by OSError\n\
             \n\
             Activity:\n\
             \x20 60m   ada wrote\n\
             \x20       seen\n\
             \x20       in the log [2J\n\
             \x20 120m  ada resolved it in shop@1.2 (undone by bob)\n"
        );
        let all = describe(&shown, NOW.parse().unwrap(), true);
        assert!(all.contains("flask/wsgi.py:12 in total") && !all.contains("frames of libraries"), "{all}");
        assert!(text.chars().all(|character| character == '\n' || !crate::text::acts(character)), "{text:?}");
    }

    #[test]
    fn without_an_event_the_numbers_stay() {
        for (event, says) in [
            (json!({"state": "expired"}), "No event of it is kept any more."),
            (json!({"state": "unreadable", "id": "abc"}), "Event abc cannot be read."),
            (json!({"state": "notPermitted"}), "errortrackingprojects/shop --subresource=events -n web"),
        ] {
            let text = describe(&shown(&event), NOW.parse().unwrap(), false);
            assert!(text.contains(says) && text.contains("Events:       41"), "{text}");
        }
    }
}
