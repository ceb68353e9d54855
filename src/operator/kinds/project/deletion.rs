//! A project goes: its pods, its keys, its login and, with `Delete`, its schema.

use kube::api::ObjectMeta;

use super::names::ingest_name;
use crate::{
    crd::{DeletionPolicy, ErrorTrackingProject, FINALIZER},
    operator::{
        databases::tombstones::Tombstone,
        engine::{
            controller::{Action, PassFailed},
            pass,
        },
        kinds::{Context, failure::Failure},
        objects::{apply, child::ChildKind},
    },
};

/// Undoes what the project has outside the cluster, then lets the object go. What Postgres cannot do now becomes
/// a tombstone: an object never waits for a database.
pub async fn finish(project: &ObjectMeta, policy: DeletionPolicy, context: &Context) -> Result<Action, PassFailed> {
    if !project.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    pass::finished(finish_steps(project, policy, context).await)
}

async fn finish_steps(project: &ObjectMeta, policy: DeletionPolicy, context: &Context) -> Result<(), Failure> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (namespace, name, uid) = (text(&project.namespace), text(&project.name), text(&project.uid));
    // Pods go first: nothing may be refused by a login that is gone while a pod still answers.
    let ingest = ingest_name(&name);
    let deleted = apply::delete(&context.client, ChildKind::Deployment, &namespace, &ingest, &uid);
    pass::step(&context.metrics, "project", "delete-workload", deleted).await?;

    let tombstone = Tombstone::project(&uid, &namespace, &name, policy);
    pass::step(
        &context.metrics,
        "project",
        "retire",
        Box::pin(context.tombstones.settle_or_record(&context.databases, &tombstone)),
    )
    .await?;
    let freed = context.statuses.set_finalizer::<ErrorTrackingProject>(project, false);
    pass::step(&context.metrics, "project", "remove-finalizer", freed).await?;
    context.children.forget(&namespace, &ingest);
    Ok(())
}
