//! The kinds of custom resources: for each one `observe → plan → apply`, deletion and status. Names of objects come in from
//! the queues; objects, rows and statuses go out. `operator` alone calls it.

mod caches;
pub mod client_key;
mod context;
mod failure;
#[cfg(test)]
mod health_states;
mod limits;
pub mod project;
mod warnings;

use kube::{Resource, core::NamespaceResourceScope};

use self::failure::Failure;
pub use self::{
    caches::{Caches, Queues, Users, start},
    context::Context,
};
use crate::{
    crd::PAUSED_ANNOTATION,
    operator::engine::{
        controller::{Action, PassFailed},
        pass::{self, Pass},
    },
};

/// A pass over an object that may be paused.
async fn run<K, P>(object: &K, pass: P, context: &Context) -> Result<Action, PassFailed>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    P: Pass<Failure = Failure>,
{
    let metadata = object.meta();
    if metadata.annotations.as_ref().and_then(|all| all.get(PAUSED_ANNOTATION)).is_some_and(|value| value == "true") {
        return pass::finished(context.statuses.report_paused::<K>(metadata).await.map_err(Failure::from));
    }
    pass::run(pass, &context.metrics).await
}
