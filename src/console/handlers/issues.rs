//! `/{namespace}/{project}/issues?status=&page=`: the errors of a project.

use uuid::Uuid;

use crate::{
    console::{
        auth::Right,
        context::Context,
        pages::{Acting, DoneBar, Hours, IssuesPage, MAX_PAGE, PAGE_SIZE},
        problem::Problem,
        web::{
            answer::Page,
            request::{FromRequest, Request},
        },
    },
    store::console::{IssueStatus, Project, ProjectAddress, Snapshot},
};

pub struct IssuesRequest {
    project: ProjectAddress,
    selection: Selection,
}

/// Which errors, from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Selection {
    status: IssueStatus,
    /// From 1.
    page: u32,
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
    /// Both parts are optional; the error is the sentence to show.
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut parsed = Self { status: IssueStatus::Unresolved, page: 1, done: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "status" => {
                    parsed.status = value.parse().map_err(|_| "status is one of unresolved, resolved and ignored")?;
                }
                "page" => {
                    parsed.page = value
                        .parse()
                        .ok()
                        .filter(|page| (1..=MAX_PAGE).contains(page))
                        .ok_or("page is a number from 1 to 10000")?;
                }
                "done" => parsed.done = value.parse().ok(),
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Errors before this page.
    fn offset(self) -> u32 {
        (self.page - 1) * PAGE_SIZE
    }
}

pub async fn list(context: Context, request: IssuesRequest) -> Result<Page<IssuesPage>, Problem> {
    let IssuesRequest { project: address, selection } = request;
    let since = Hours::first(context.now);
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let counts = snapshot.status_counts(project.id).await?;
        let issues = snapshot.issues(project.id, selection.status, PAGE_SIZE, selection.offset()).await?;
        let ids: Vec<_> = issues.iter().map(|issue| issue.id).collect();
        let hours = snapshot.hours(project.id, &ids, since).await?;
        let done = match selection.done {
            Some(batch) => snapshot.done(project.id, batch).await?.map(|done| (batch, done)),
            None => None,
        };
        snapshot.end().await?;
        Ok((project, counts, issues, hours, done))
    };
    let (project, counts, issues, mut hours, done) = context.read(&address, reading).await?;
    let may_act = context.also(Right::UpdateIssues, &address).await?;
    let may_delete = may_act && context.also(Right::DeleteIssues, &address).await?;
    let done = done.map(|(batch, done)| DoneBar::new(&context.shell, &address, may_act.then_some(batch), &done));
    let with_hours = issues.into_iter().map(|issue| {
        let counted = hours.remove(&issue.id).unwrap_or_default();
        (issue, Hours::new(context.now, counted))
    });
    let issues: Vec<_> = with_hours.collect();
    let Selection { status, page, .. } = selection;
    let acting = Acting { may_act, may_delete, done };
    Ok(Page(IssuesPage::new(context.shell, &project, status, page, counts, &issues, acting, context.now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_status_and_page() {
        let selection = |status, page| Ok(Selection { status, page, done: None });
        for (text, parsed) in [
            ("", selection(IssueStatus::Unresolved, 1)),
            ("status=resolved", selection(IssueStatus::Resolved, 1)),
            ("page=3&status=ignored&later=parameter", selection(IssueStatus::Ignored, 3)),
            ("status=open", Err("status is one of unresolved, resolved and ignored")),
            ("page=0", Err("page is a number from 1 to 10000")),
            ("page=-1", Err("page is a number from 1 to 10000")),
            ("page=99999999999999", Err("page is a number from 1 to 10000")),
        ] {
            assert_eq!(Selection::parse(text), parsed, "{text:?}");
        }
    }
}
