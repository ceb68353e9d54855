//! `/{namespace}/{project}/health`: whether a project receives, and what became of what was sent to it.

use jiff::ToSpan;

use crate::{
    console::{
        auth::Right,
        context::Context,
        pages::{HealthPage, Healthy, Hours},
        problem::Problem,
        web::answer::Page,
    },
    store::console::{Project, ProjectAddress, Snapshot},
};

/// Hours that the sums go back.
const HOURS: i64 = 14 * 24;

pub async fn show(context: Context, address: ProjectAddress) -> Result<Page<HealthPage>, Problem> {
    let hours_since = Hours::first(context.now);
    let since = context.now.checked_sub(HOURS.hours()).unwrap_or(hours_since);
    let may_see_keys = context.also(Right::ReadKeys, &address).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let reception = snapshot.reception(project.id).await?;
        let deliveries = snapshot.deliveries(project.id, since, hours_since).await?;
        let keys = if may_see_keys { Some(snapshot.client_keys(project.id).await?) } else { None };
        snapshot.end().await?;
        Ok((project, reception, deliveries, keys))
    };
    let (project, reception, deliveries, keys) = context.read(&address, reading).await?;
    let healthy = Healthy { reception: &reception, deliveries: &deliveries, keys: keys.as_deref() };
    Ok(Page(HealthPage::new(context.shell, &project, &healthy, context.now)))
}
