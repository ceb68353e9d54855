//! Drops what is stored of a project that was deleted and kept. Nothing brings it back but a backup.

use std::{
    collections::BTreeSet,
    io::{BufRead, IsTerminal, Write, stderr, stdin},
};

use super::{CommandError, RetainedState, size, state};
use crate::{
    dsn::ProjectId,
    store::{
        Admin,
        admin::{CatalogProject, Phase},
    },
};

/// Drops it, after a question unless `yes`; returns the sentence that says so. `living` are the uids of the objects.
pub(super) async fn drop(
    admin: &Admin,
    living: &BTreeSet<String>,
    id: ProjectId,
    yes: bool,
) -> Result<String, CommandError> {
    let projects = admin.catalog_projects().await?;
    let project = projects.iter().find(|project| project.project_id == id);
    let project = retained(id, project, living).map_err(CommandError::Refused)?;
    let (schema, bytes) = (id.schema(), size(admin.project_bytes(id).await?));
    let name = format!("{}/{}", project.namespace, project.name);
    if !yes && !confirmed(&format!("Schema {schema} with all events of {name} ({bytes}) is dropped for good."), &name)?
    {
        return Err(CommandError::Refused("Nothing was dropped.".to_owned()));
    }
    let Some(roles) = admin.drop_retained(id).await? else {
        return Err(CommandError::Refused(format!(
            "Project {id} was given to an object meanwhile. Nothing was dropped."
        )));
    };
    let logins = if roles.is_empty() { String::new() } else { format!(", then the logins {}", roles.join(", ")) };
    Ok(format!("Dropped schema {schema} of {name} ({bytes}){logins}. The number {id} is not used again."))
}

/// The project, if it is retained in this database; else why it is not dropped.
fn retained<'a>(
    id: ProjectId,
    project: Option<&'a CatalogProject>,
    living: &BTreeSet<String>,
) -> Result<&'a CatalogProject, String> {
    let Some(project) = project else {
        return Err(format!("There is no project {id} in this database that is retained."));
    };
    let name = format!("ErrorTrackingProject {}/{}", project.namespace, project.name);
    if let Some(location) = &project.location {
        return Err(format!(
            "Project {id} is in a database of its own ({}): drop schema {} there.",
            location.server,
            id.schema()
        ));
    }
    // Between its adoption and its next pass, an object has a project that is retained.
    if project.phase == Phase::Retained && living.contains(&project.object_uid) {
        return Err(format!("Project {id} is that of {name}, which exists."));
    }
    match state(project, living) {
        Some(RetainedState::Retained) => Ok(project),
        None => Err(format!(
            "Project {id} is that of {name}, which exists: delete it with deletionPolicy: Delete, and its events go."
        )),
        Some(RetainedState::Lost) => Err(format!(
            "Project {id} is not retained: {name} is gone without having been deleted by the operator, and takes the \
             project over when it is applied again. Apply it, and delete it with deletionPolicy: Delete."
        )),
        Some(RetainedState::Owed) => {
            Err(format!("Project {id} is not retained: the operator is dropping it. What it waits for is in the list."))
        }
    }
}

/// Whether somebody at a terminal writes the name of what goes.
fn confirmed(what: &str, name: &str) -> Result<bool, CommandError> {
    if !stdin().is_terminal() {
        return Err(CommandError::Refused(
            "This asks before it drops anything: run it at a terminal (kubectl exec --stdin --tty), or with --yes."
                .to_owned(),
        ));
    }
    write!(stderr().lock(), "{what} Write {name} to go on: ")?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::admin::Location;

    #[test]
    fn only_what_is_retained_in_this_database_is_dropped() {
        let id = ProjectId::try_from(7).unwrap();
        let project = |phase, location: Option<Location>| CatalogProject {
            project_id: id,
            namespace: "web".into(),
            name: "shop".into(),
            object_uid: "u".into(),
            phase,
            since: None,
            location,
        };
        let (nobody, living) = (BTreeSet::new(), BTreeSet::from(["u".to_owned()]));
        let elsewhere = Location { secret: "pg".into(), server: "pg:5432/errors".into() };
        assert!(retained(id, Some(&project(Phase::Retained, None)), &nobody).is_ok());
        for (found, objects, says) in [
            (None, &nobody, "There is no project 7"),
            (Some(project(Phase::Active, None)), &living, "web/shop, which exists: delete it"),
            (Some(project(Phase::Active, None)), &nobody, "takes the project over"),
            (Some(project(Phase::Deleted, None)), &nobody, "the operator is dropping it"),
            (Some(project(Phase::Retained, None)), &living, "which exists"),
            (Some(project(Phase::Retained, Some(elsewhere))), &nobody, "(pg:5432/errors): drop schema project_7 there"),
        ] {
            let refusal = retained(id, found.as_ref(), objects).unwrap_err();
            assert!(refusal.contains(says), "{refusal}");
        }
    }
}
