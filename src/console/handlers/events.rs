//! `/{namespace}/{project}/issues/{issue}/events?after=`: the events of an error; with `/latest` and `/oldest` the one
//! at an end of them.

use std::str::FromStr;

use jiff::Timestamp;

use super::shown_issue;
use crate::{
    console::{
        context::Context,
        pages::{EVENTS_PAGE_SIZE, EventsPage, ListedEvents, project_path},
        problem::Problem,
        web::{
            answer::{Page, SeeOther},
            request::{FromRequest, Request, field},
        },
    },
    protocol::event::EventId,
    store::console::{EventKey, Project, ProjectAddress, Snapshot, Towards},
};

pub struct EventsRequest {
    project: ProjectAddress,
    /// Within its project, from 1.
    issue: i64,
    after: Option<Cursor>,
}

/// A place in the list, as an address has it: microseconds and id of the last event before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor(EventKey);

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "after is a place in the list, as the link to the next page has it";
        let (at, id) = text.split_once('.').ok_or(WRONG)?;
        let at: u64 = at.parse().map_err(|_| WRONG)?;
        let received_at = i64::try_from(at).ok().and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or(WRONG)?;
        let event_id: EventId = id.parse().map_err(|_| WRONG)?;
        Ok(Self(EventKey { received_at, event_id }))
    }
}

impl FromRequest for EventsRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let after = field(request.query.as_bytes(), "after").map(|after| after.parse::<Cursor>()).transpose();
        Ok(Self {
            project: ProjectAddress::from_request(request)?,
            issue: request.parameter("issue")?,
            after: after.map_err(Problem::BadQuery)?,
        })
    }
}

pub async fn list(context: Context, request: EventsRequest) -> Result<Page<EventsPage>, Problem> {
    let EventsRequest { project: address, issue, after } = request;
    let after = after.map(|Cursor(key)| key);
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let issue = shown_issue(&mut snapshot, &project, issue, "/events").await?;
        // One more says whether there is another page.
        let events = snapshot.events(project.id, issue.id, after, EVENTS_PAGE_SIZE + 1).await?;
        snapshot.end().await?;
        Ok((project, issue, events))
    };
    let (project, issue, events) = context.read(&address, reading).await?;
    let listed = ListedEvents { issue: &issue, is_first: after.is_none(), events: &events };
    Ok(Page(EventsPage::new(context.shell, &project, &listed, context.now)))
}

pub async fn latest(context: Context, request: EventsRequest) -> Result<SeeOther, Problem> {
    end(context, request, Towards::Older).await
}

pub async fn oldest(context: Context, request: EventsRequest) -> Result<SeeOther, Problem> {
    end(context, request, Towards::Newer).await
}

/// To the event that the list begins with in that direction.
async fn end(context: Context, request: EventsRequest, towards: Towards) -> Result<SeeOther, Problem> {
    let rest = if towards == Towards::Older { "/events/latest" } else { "/events/oldest" };
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let issue = shown_issue(&mut snapshot, &project, request.issue, rest).await?;
        let event = snapshot.event_beside(project.id, issue.id, None, towards).await?;
        snapshot.end().await?;
        Ok((issue.number(), event.ok_or(Problem::NotFound("event"))?.event_id))
    };
    let (number, event) = context.read(&request.project, reading).await?;
    let place = format!("{}{}/issues/{number}/events/{event}", context.shell.root, project_path(&request.project));
    Ok(SeeOther { place, cookie: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_is_a_time_and_an_id() {
        let id = "0123456789abcdef0123456789abcdef";
        let key = EventKey { received_at: Timestamp::UNIX_EPOCH, event_id: id.parse().unwrap() };
        assert_eq!(format!("0.{id}").parse(), Ok(Cursor(key)));
        for text in [
            String::new(),
            id.to_owned(),
            format!("-1.{id}"),
            format!("x.{id}"),
            "0.".to_owned(),
            format!("0.{id}0"),
            format!("99999999999999999999.{id}"),
            format!("9223372036854775807.{id}"),
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
