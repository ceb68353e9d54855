//! The deletion of an object of any kind: undoes what the object has outside of itself, then lets it go. Each thing has its
//! time, whatever the server on the other side does.

use std::time::Duration;

use kube::api::ObjectMeta;
use tokio::time::timeout;

use super::{context::Context, failure::Failure, kind::Kind};
use crate::{
    crd::FINALIZER,
    operator::{
        databases::tombstones::Tombstone,
        engine::{
            controller::{Action, PassFailed},
            pass::{self, StepFailure},
        },
        objects::{apply, child::ChildKind},
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
    /// What Postgres cannot do now becomes a tombstone: an object never waits for a database.
    Settle {
        step: &'static str,
        tombstone: Tombstone,
    },
}

impl Undo {
    fn step(&self) -> &'static str {
        match self {
            Self::DeleteChild { step, .. } | Self::OrphanChild { step, .. } | Self::Settle { step, .. } => step,
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
        let performed = perform(undo, deleted.namespace, deleted.uid, context);
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

async fn perform(undo: &Undo, namespace: &str, uid: &str, context: &Context) -> Result<(), Failure> {
    let (client, databases) = (&context.client, &context.databases);
    match undo {
        Undo::DeleteChild { kind, name, .. } => in_time(apply::delete(client, *kind, namespace, name, uid)).await,
        Undo::OrphanChild { kind, name, .. } => in_time(apply::orphan(client, *kind, namespace, name, uid)).await,
        Undo::Settle { tombstone, .. } => {
            context.tombstones.settle_or_record(databases, tombstone, UNDO_LIMIT).await?;
            Ok(())
        }
    }
}

async fn in_time<E: Into<Failure>>(undoing: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    match timeout(UNDO_LIMIT, undoing).await {
        Ok(undone) => undone.map_err(Into::into),
        Err(_) => Err(Failure::no_answer()),
    }
}
