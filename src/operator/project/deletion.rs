//! A project goes: its pods, its keys, its login and, with `Delete`, its schema.

use std::time::Duration;

use kube::{Api, ResourceExt, runtime::controller::Action};
use tracing::info;

use super::ingest_name;
use crate::{
    crd::{ErrorTrackingProject, FINALIZER},
    operator::{
        Context, apply,
        child::ChildKind,
        controller::PassFailed,
        database::State,
        failure::Failure,
        tombstones::{self, Tombstone},
    },
};

/// Undoes what the project has outside the cluster, then lets the object go. What Postgres cannot do now becomes
/// a tombstone: an object never waits for a database.
pub async fn finish(project: &ErrorTrackingProject, context: &Context) -> Result<Action, PassFailed> {
    if !project.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    finish_steps(project, context).await.map_err(|failure| PassFailed(failure.to_string()))?;
    Ok(Action::requeue(Duration::from_mins(1)))
}

async fn finish_steps(project: &ErrorTrackingProject, context: &Context) -> Result<(), Failure> {
    let (namespace, name) = (project.namespace().unwrap_or_default(), project.name_any());
    let uid = project.uid().unwrap_or_default();
    // Pods go first: nothing may be refused by a login that is gone while a pod still answers.
    apply::delete(&context.client, ChildKind::Deployment, &namespace, &ingest_name(&name), &uid).await?;

    let tombstone = Tombstone::project(&uid, &namespace, &name, project.spec.deletion_policy);
    let done = match context.database() {
        State::Ready(database) => match tombstones::settle(&database.admin, &tombstone).await {
            Ok(()) => true,
            Err(error) if error.retryable() => false,
            Err(error) => return Err(error.into()),
        },
        State::Connecting | State::Unavailable { .. } => false,
    };
    context.count_step("project", "retire", done);
    if !done {
        context.tombstones.bury(&tombstone).await?;
        info!(namespace, project = name, "Postgres is away: what is left of the project is retired later.");
    }
    let api: Api<ErrorTrackingProject> = Api::namespaced(context.client.clone(), &namespace);
    apply::set_finalizer(&api, project, false).await?;
    context.forget(project, &ingest_name(&name));
    Ok(())
}
