//! Projects whose limits are met now.

use std::time::Duration;

use super::named::{Named, Question};
use crate::{
    crd::ErrorTrackingProject,
    operator::engine::queue::ObjectName,
    store::{
        StoreError,
        admin::{Admin, ProjectIdentity},
    },
};

pub struct Floods;

impl Question for Floods {
    type Kind = ErrorTrackingProject;

    const NAME: &'static str = "floods";
    // Each answer may be a write of the status of each of them.
    const INTERVAL: Duration = Duration::from_mins(1);

    async fn ask(admin: &Admin) -> Result<Vec<Named>, StoreError> {
        let projects = admin.flooded_projects().await?;
        let named = |project: ProjectIdentity| Named {
            object: ObjectName::new(&project.namespace, &project.name),
            uid: project.object_uid,
        };
        Ok(projects.into_iter().map(named).collect())
    }
}
