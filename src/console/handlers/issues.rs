//! `/{namespace}/{project}/issues?status=&sort=&after=`: the errors of a project.

use std::str::FromStr;

use uuid::Uuid;

use super::Decisions;
use crate::{
    console::{
        context::Context,
        pages::{Hours, IssuesPage, Listed, PAGE_SIZE},
        problem::Problem,
        web::{
            answer::Page,
            request::{FromRequest, Request},
        },
    },
    store::console::{IssueCursor, IssueOrder, IssueStatus, Project, ProjectAddress, Snapshot},
};

pub struct IssuesRequest {
    project: ProjectAddress,
    selection: Selection,
}

/// A place in the list, as an address has it: `1764489600000000.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    key: i64,
    /// Of the last error before it, within the project.
    number: u32,
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "after is a place in the list, as the link to the next page has it";
        let (key, number) = text.split_once('.').ok_or(WRONG)?;
        Ok(Self { key: key.parse().map_err(|_| WRONG)?, number: number.parse().map_err(|_| WRONG)? })
    }
}

/// Which errors, from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Selection {
    status: IssueStatus,
    order: IssueOrder,
    after: Option<Cursor>,
    /// What was done just before.
    done: Option<Uuid>,
}

impl FromRequest for IssuesRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let selection = Selection::parse(request.query).map_err(Problem::BadQuery)?;
        Ok(Self { project: ProjectAddress::from_request(request)?, selection })
    }
}

impl Selection {
    /// All parts are optional; the error is the sentence to show.
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut parsed =
            Self { status: IssueStatus::Unresolved, order: IssueOrder::default(), after: None, done: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "status" => {
                    parsed.status = value.parse().map_err(|_| "status is one of unresolved, resolved and ignored")?;
                }
                "sort" => {
                    let named = IssueOrder::ALL.into_iter().find(|order| order.as_str() == value);
                    parsed.order = named.ok_or("sort is one of last_seen, first_seen, events and users")?;
                }
                "after" => parsed.after = Some(value.parse()?),
                "done" => parsed.done = value.parse().ok(),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

pub async fn list(context: Context, request: IssuesRequest) -> Result<Page<IssuesPage>, Problem> {
    let IssuesRequest { project: address, selection } = request;
    let since = Hours::first(context.now);
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let counts = snapshot.status_counts(project.id).await?;
        let Selection { status, order, after, .. } = selection;
        let after = after.map(|Cursor { key, number }| IssueCursor { key, issue: project.issue_id(number) });
        // One more says whether there is another page.
        let issues = snapshot.issues(project.id, status, order, after, PAGE_SIZE + 1).await?;
        let ids: Vec<_> = issues.iter().take(PAGE_SIZE as usize).map(|issue| issue.id).collect();
        let hours = snapshot.hours(project.id, &ids, since).await?;
        let decisions = Decisions::read(&mut snapshot, &project, selection.done).await?;
        snapshot.end().await?;
        Ok((project, counts, issues, hours, decisions))
    };
    let (project, counts, issues, mut hours, decisions) = context.read(&address, reading).await?;
    let acting = decisions.acting(&context, &address).await?;
    let with_hours = issues.into_iter().map(|issue| {
        let counted = hours.remove(&issue.id).unwrap_or_default();
        (issue, Hours::new(context.now, counted))
    });
    let issues: Vec<_> = with_hours.collect();
    let Selection { status, order, after, .. } = selection;
    let listed = Listed { status, order, is_first: after.is_none(), counts, issues: &issues };
    Ok(Page(IssuesPage::new(context.shell, &project, &listed, acting, context.now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_status_order_and_place() {
        let selection = |status, order, after| Ok(Selection { status, order, after, done: None });
        let place = |key, number| Some(Cursor { key, number });
        for (text, parsed) in [
            ("", selection(IssueStatus::Unresolved, IssueOrder::LastSeen, None)),
            ("status=resolved", selection(IssueStatus::Resolved, IssueOrder::LastSeen, None)),
            (
                "sort=users&after=12.3&status=ignored&later=parameter",
                selection(IssueStatus::Ignored, IssueOrder::Users, place(12, 3)),
            ),
            ("status=open", Err("status is one of unresolved, resolved and ignored")),
            ("sort=title", Err("sort is one of last_seen, first_seen, events and users")),
            ("after=", Err("after is a place in the list, as the link to the next page has it")),
            ("after=1.x", Err("after is a place in the list, as the link to the next page has it")),
            ("after=1.-2", Err("after is a place in the list, as the link to the next page has it")),
            ("after=99999999999999999999.1", Err("after is a place in the list, as the link to the next page has it")),
        ] {
            assert_eq!(Selection::parse(text), parsed, "{text:?}");
        }
    }
}
