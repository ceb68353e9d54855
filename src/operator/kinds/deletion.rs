//! The deletion of an object of any kind: undoes what the object has outside of itself, then lets it go. Each thing has its
//! time, whatever the server on the other side does.

use std::time::Duration;

use kube::{Resource, api::ObjectMeta, runtime::events::EventType};
use tokio::time::timeout;

use super::{context::Context, failure::Failure, kind::Kind, runner_binding};
use crate::{
    crd::{ErrorTrackingProject, FINALIZER},
    operator::{
        databases::tombstones::Tombstone,
        engine::{
            controller::{Action, PassFailed},
            pass::{self, StepFailure},
            queue::ObjectName,
        },
        objects::{EventReason, apply, child::ChildKind},
    },
};

/// Longest time that a deletion waits for one thing: then Postgres owes it, and the API server is asked again.
const UNDO_LIMIT: Duration = Duration::from_secs(20);

/// An object that is being deleted.
pub struct Deleted<'a, K> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    /// `None`: it cannot be read as its kind.
    pub object: Option<&'a K>,
}

/// One thing that a deletion undoes. Repeating it changes nothing.
pub enum Undo {
    DeleteChild {
        step: &'static str,
        kind: ChildKind,
        name: String,
    },
    /// The child outlives its owner.
    OrphanChild {
        step: &'static str,
        kind: ChildKind,
        name: String,
    },
    /// The project takes the keys back at the server that keeps them; the ledger remembers them until then.
    TakeBack {
        step: &'static str,
        project: ObjectName,
    },
    /// As much of a project as its server allows now.
    TakeAllBack {
        step: &'static str,
    },
    /// The DSN that a runner was configured with.
    TakeOutDsn {
        step: &'static str,
        written: runner_binding::Written,
    },
    /// What Postgres cannot do now becomes a tombstone: an object never waits for a database.
    Settle {
        step: &'static str,
        tombstone: Tombstone,
    },
}

impl Undo {
    fn step(&self) -> &'static str {
        match self {
            Self::DeleteChild { step, .. }
            | Self::OrphanChild { step, .. }
            | Self::TakeBack { step, .. }
            | Self::TakeAllBack { step }
            | Self::TakeOutDsn { step, .. }
            | Self::Settle { step, .. } => step,
        }
    }
}

/// Undoes what the kind says, and takes the finalizer off.
pub async fn finish<K: Kind>(
    metadata: &ObjectMeta,
    object: Option<&K>,
    context: &Context,
) -> Result<Action, PassFailed> {
    if !metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    pass::finished(Box::pin(finish_steps(metadata, object, context)).await)
}

async fn finish_steps<K: Kind>(metadata: &ObjectMeta, object: Option<&K>, context: &Context) -> Result<(), Failure> {
    let deleted = Deleted {
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
        uid: metadata.uid.as_deref().unwrap_or_default(),
        object,
    };
    let undone = K::deletion(&deleted, context);
    for undo in &undone {
        let performed = perform(undo, &deleted, context);
        pass::step(&context.metrics, K::CONTROLLER, undo.step(), performed).await?;
    }
    let freed = context.statuses.set_finalizer::<K>(metadata, false);
    pass::step(&context.metrics, K::CONTROLLER, "remove-finalizer", freed).await?;
    for undo in &undone {
        if let Undo::DeleteChild { name, .. } | Undo::OrphanChild { name, .. } = undo {
            context.children.forget(deleted.namespace, name);
        }
    }
    Ok(())
}

async fn perform<K: Kind>(undo: &Undo, deleted: &Deleted<'_, K>, context: &Context) -> Result<(), Failure> {
    let (client, databases) = (&context.client, &context.databases);
    let (namespace, uid) = (deleted.namespace, deleted.uid);
    match undo {
        Undo::DeleteChild { kind, name, .. } => in_time(apply::delete(client, *kind, namespace, name, uid)).await,
        Undo::OrphanChild { kind, name, .. } => in_time(apply::orphan(client, *kind, namespace, name, uid)).await,
        Undo::TakeBack { project, .. } => {
            context.caches.wake::<ErrorTrackingProject>(project);
            Ok(())
        }
        Undo::TakeAllBack { .. } => {
            take_all_back(namespace, deleted.name, context).await;
            Ok(())
        }
        Undo::TakeOutDsn { written, .. } => in_time(runner_binding::take_out(client, written)).await,
        Undo::Settle { tombstone, .. } => {
            context.tombstones.settle_or_record(databases, tombstone, UNDO_LIMIT).await?;
            Ok(())
        }
    }
}

/// Nothing waits for a server: what it does not do now stays in the ledger, for the next project that is the same one there.
async fn take_all_back(namespace: &str, name: &str, context: &Context) {
    let Some(found) = context.caches.project(namespace, name) else { return };
    let Ok(project) = &found.0 else { return };
    let databases = &context.databases;
    let taken = timeout(UNDO_LIMIT, async {
        // After a start of the operator nobody has connected for it yet.
        if let (None, Some(reference)) = (databases.servers.last(project), project.server()) {
            databases.servers.connect(project, reference).await;
        }
        match databases.leaving(project) {
            Some(elsewhere) => elsewhere.take_all_back().await.map_err(|error| error.to_string()),
            None => Err("the operator's database, which knows them, is away".to_owned()),
        }
    });
    let error = match taken.await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some("it did not answer in time".to_owned()),
    };
    if let Some(error) = error {
        let note = format!(
            "Keys of the project could not be taken back at the server that keeps them, and may be accepted still: {error}. \
             Disable or delete them there; a project that names the same one there takes them back."
        );
        let (reference, reason) = (project.object_ref(&()), EventReason::KeysLeft.as_str());
        context.events.publish(&reference, EventType::Warning, "Delete", reason, &note);
    }
    context.databases.servers.forget(namespace, name);
}

async fn in_time<E: Into<Failure>>(undoing: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    match timeout(UNDO_LIMIT, undoing).await {
        Ok(undone) => undone.map_err(Into::into),
        Err(_) => Err(Failure::no_answer()),
    }
}
