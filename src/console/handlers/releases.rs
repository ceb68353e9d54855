//! `/{namespace}/{project}/releases?after=`: the releases of a project; `…/releases/{release}`: one of them.

use jiff::{Timestamp, ToSpan};

use crate::{
    console::{
        context::Context,
        pages::{RELEASES_PAGE_SIZE, ReleasesPage},
        problem::Problem,
        web::{
            answer::Page,
            request::{FromRequest, Request, field},
        },
    },
    store::console::{Project, ProjectAddress, Snapshot},
};

/// Hours in which sessions count.
const HOURS: i64 = 14 * 24;

pub struct ReleasesRequest {
    project: ProjectAddress,
    /// The last release before the page.
    after: Option<i32>,
}

impl FromRequest for ReleasesRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        const WRONG: Problem = Problem::BadQuery("after is a place in the list, as the link to the next page has it");
        let after = field(request.query.as_bytes(), "after").map(|after| after.parse::<i32>()).transpose();
        Ok(Self { project: ProjectAddress::from_request(request)?, after: after.map_err(|_| WRONG)? })
    }
}

pub struct ReleaseRequest {
    project: ProjectAddress,
    release: String,
}

impl FromRequest for ReleaseRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { project: ProjectAddress::from_request(request)?, release: request.parameter("release")? })
    }
}

pub async fn list(context: Context, request: ReleasesRequest) -> Result<Page<ReleasesPage>, Problem> {
    let since = since(context.now);
    let after = request.after;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        // One more says whether there is another page.
        let releases = snapshot.releases(project.id, after, since, RELEASES_PAGE_SIZE + 1).await?;
        snapshot.end().await?;
        Ok((project, releases))
    };
    let (project, releases) = context.read(&request.project, reading).await?;
    Ok(Page(ReleasesPage::new(context.shell, &project, &releases, after.is_none(), context.now)))
}

pub async fn show(context: Context, request: ReleaseRequest) -> Result<Page<ReleasesPage>, Problem> {
    let since = since(context.now);
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let release = snapshot.release(project.id, &request.release, since).await?;
        snapshot.end().await?;
        Ok((project, release.ok_or(Problem::NotFound("release"))?))
    };
    let (project, release) = context.read(&request.project, reading).await?;
    Ok(Page(ReleasesPage::of_one(context.shell, &project, &release, context.now)))
}

fn since(now: Timestamp) -> Timestamp {
    now.checked_sub(HOURS.hours()).unwrap_or(now)
}
