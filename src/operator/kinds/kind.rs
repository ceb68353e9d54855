//! What a kind of custom resource must say of itself. Everything else follows from the list of kinds: its cache and
//! queue, its watch and controller, when it is synced and woken, its deletion, and what `release` frees.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::Context,
    deletion::{self, Deleted, Undo},
    failure::Failure,
};
use crate::{
    crd::PAUSED_ANNOTATION,
    operator::{
        cluster::{
            Guarded,
            cache::{Caching, Facts},
        },
        engine::{
            controller::{Action, PassFailed},
            pass::{self, Pass},
            queue::ObjectName,
        },
        objects::ApplyError,
    },
};

/// When it is looked again whether a large object may have its pass.
const NO_ROOM: Duration = Duration::from_secs(1);

/// A kind of custom resource.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    type Status: Clone + DeserializeOwned + Serialize + Default + PartialEq + Send + Sync;
    type Pass<'a>: Pass<Failure = Failure>;

    /// As `kind` of its objects says it.
    const NAME: &'static str;
    /// Label of its metrics, and the name of its queue.
    const CONTROLLER: &'static str;
    /// Label of a child that names the object that it belongs to.
    const CHILD_LABEL: &'static str;
    /// Controller of the kind that [`Facts::refers_to`] names: a change there wakes the objects that refer to it.
    const DEPENDS_ON: Option<&'static str>;
    /// Whether a pass may hold a connection to the operator's own Postgres.
    const USES_POSTGRES: bool = true;

    /// Facts that are looked up without reading the object.
    fn facts(object: &DynamicObject) -> Facts;

    /// Leaves the part of a large object that others depend on.
    fn reduce(object: &mut DynamicObject);

    /// The status that the object was read with.
    fn known_status(&self) -> Option<&Self::Status>;

    /// A pass over an object that is neither paused nor being deleted.
    fn pass<'a>(&'a self, context: &'a Context) -> Self::Pass<'a>;

    /// What a deletion undoes, in order, before the finalizer is taken off.
    fn deletion(object: &Deleted<'_, Self>, context: &Context) -> Vec<Undo>;

    fn conditions(status: &Self::Status) -> &[Condition];

    /// Every state that the operator can leave an object in.
    #[cfg(test)]
    fn health_states() -> Vec<super::health_states::HealthState> {
        Vec::new()
    }
}

/// A pass that has begun.
pub type Reconciling = BoxFuture<'static, Result<Action, PassFailed>>;

/// A kind, without its type.
pub struct Descriptor {
    /// As `kind` of its objects says it.
    pub name: &'static str,
    pub controller: &'static str,
    pub child_label: &'static str,
    pub depends_on: Option<&'static str>,
    pub uses_postgres: bool,
    pub resource: fn() -> ApiResource,
    pub caching: Caching,
    /// Begins the pass over an object; `None`: there is no such object any more.
    pub reconcile: fn(&ObjectName, &Arc<Context>) -> Option<Reconciling>,
    #[cfg(test)]
    pub health_states: fn() -> Vec<super::health_states::HealthState>,
}

impl Descriptor {
    #[must_use]
    pub const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            controller: K::CONTROLLER,
            child_label: K::CHILD_LABEL,
            depends_on: K::DEPENDS_ON,
            uses_postgres: K::USES_POSTGRES,
            resource: || ApiResource::erase::<K>(&()),
            caching: Caching { facts: K::facts, reduce: K::reduce },
            reconcile: reconcile::<K>,
            #[cfg(test)]
            health_states: K::health_states,
        }
    }
}

fn reconcile<K: Kind>(name: &ObjectName, context: &Arc<Context>) -> Option<Reconciling> {
    let objects = context.caches.of::<K>();
    let (object, large) = (objects.get(name)?, objects.cache.is_large(&name.namespace, &name.name));
    let (name, context) = (name.clone(), context.clone());
    Some(Box::pin(async move {
        if !large {
            return begin(&object, &context).await;
        }
        // Tenants choose how large an object is: passes over such ones have a bounded share of the memory.
        let Ok(_room) = context.large_objects.try_acquire() else { return Ok(Action::requeue(NO_ROOM)) };
        let api: Api<Guarded<K>> = Api::namespaced(context.client.clone(), &name.namespace);
        let failed = ApplyError::kubernetes("get", K::NAME, &name.name);
        match api.get_opt(&name.name).await.map_err(|error| PassFailed::new(failed(error)))? {
            Some(object) => begin(&object, &context).await,
            None => Ok(Action::await_change()),
        }
    }))
}

async fn begin<K: Kind>(object: &Guarded<K>, context: &Context) -> Result<Action, PassFailed> {
    match &object.0 {
        Err(invalid) if invalid.metadata.deletion_timestamp.is_some() => {
            deletion::finish::<K>(&invalid.metadata, None, context).await
        }
        Err(invalid) => {
            let reported = context.statuses.report_invalid::<K>(&invalid.metadata, &invalid.error).await;
            pass::finished(reported.map_err(Failure::from))
        }
        Ok(object) if object.meta().deletion_timestamp.is_some() => {
            deletion::finish::<K>(object.meta(), Some(object), context).await
        }
        Ok(object) if is_paused(object.meta()) => {
            let reported = context.statuses.report_paused::<K>(object.meta()).await;
            pass::finished(reported.map_err(Failure::from))
        }
        Ok(object) => pass::run(object.pass(context), &context.metrics).await,
    }
}

fn is_paused(metadata: &ObjectMeta) -> bool {
    pause(metadata) == Some("true")
}

fn pause(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(PAUSED_ANNOTATION).map(String::as_str)
}

/// The value of the annotation that pauses, when it says neither yes nor no.
#[must_use]
pub fn unread_pause(metadata: &ObjectMeta) -> Option<&str> {
    pause(metadata).filter(|value| !matches!(*value, "true" | "false" | ""))
}
